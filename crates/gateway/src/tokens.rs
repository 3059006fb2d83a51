//! Tokens, counted by ourselves: what accounting goes by before an answer, and after one whose usage is missing.
//!
//! All counts are made with `o200k_base`, the vocabulary of OpenAI's models since GPT-4o. For every other model they
//! are estimates.

use wire::openai::Facts;

/// What of a text is counted; the rest is taken to be like it.
const MAX_COUNTED_BYTES: usize = 1 << 20;
/// What frames one message, and its role; and what opens the answer. OpenAI Cookbook, "How to count tokens with
/// tiktoken", section 6: three tokens a message beside those of its role and content, and three for the reply's start.
const MESSAGE_TOKENS: u64 = 3 + 1;
const ANSWER_START_TOKENS: u64 = 3;
/// Room for what templates of other models put around a message, and for the system prompts that some of them add.
const MOST_MESSAGE_TOKENS: u64 = 8;
const MOST_START_TOKENS: u64 = 64;
/// Room for what a provider puts before a list of tools. Anthropic documents up to 530 tokens ("Tool use pricing and
/// tokens", Claude 3 Opus).
const MOST_TOOL_TOKENS: u64 = 1_000;
/// The most that one image costs at OpenAI: `gpt-4o-mini` takes 2,833 tokens, and 5,667 for each of at most eight tiles
/// ("Images and vision", calculating costs). Most other models take less than 2,000.
const MOST_IMAGE_TOKENS: u64 = 2_833 + 8 * 5_667;

/// The tokens of a text. Takes time in proportion to its length, up to a megabyte and no longer beyond: some 0.05 ms a
/// kilobyte, so texts above some 20 kB belong on `spawn_blocking`. The first call also unpacks the vocabulary, once for
/// the process: 0.1 s and 65 MB.
pub fn count(text: &str) -> u64 {
    let counted = text.get(..text.floor_char_boundary(MAX_COUNTED_BYTES)).unwrap_or_default();
    let tokens = bpe_openai::o200k_base().count(counted) as u64;
    if counted.len() == text.len() {
        return tokens;
    }
    let scaled = (u128::from(tokens) * text.len() as u128).div_ceil(counted.len() as u128);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// The tokens of a chat prompt that stand in no text: around each of its messages, and before the answer.
pub fn chat_overhead(messages: u32) -> u64 {
    u64::from(messages) * MESSAGE_TOKENS + ANSWER_START_TOKENS
}

/// A bound on the prompt tokens of a chat request, without reading its text: no byte-level vocabulary makes more tokens
/// than bytes. For English text it is some four times what it will be.
///
/// Audio and files are not in the text. For these the bound takes the bytes of the whole body, of which they are a part
/// where they are not sent by reference; what stands behind a file's id nobody can tell from the request. For an
/// embeddings request the length of the body is such a bound, lists of tokens included.
pub fn at_most(facts: &Facts, body_bytes: usize) -> u64 {
    let has_media = facts.audio || facts.files;
    let text = if has_media { facts.prompt_bytes.max(body_bytes as u64) } else { facts.prompt_bytes };
    let tools = if facts.tools { MOST_TOOL_TOKENS } else { 0 };
    text.saturating_add(u64::from(facts.messages) * MOST_MESSAGE_TOKENS)
        .saturating_add(u64::from(facts.images) * MOST_IMAGE_TOKENS)
        .saturating_add(MOST_START_TOKENS + tools)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_texts_have_their_known_counts() {
        for (text, tokens) in [
            ("", 0),
            ("a", 1),
            ("hello world", 2),
            ("Hello, world!", 4),
            ("tiktoken is great!", 6),
            ("antidisestablishmentarianism", 6),
            ("2 + 2 = 4", 7),
            ("お誕生日おめでとう", 8),
        ] {
            assert_eq!(count(text), tokens, "{text}");
        }
    }

    #[test]
    fn a_hostile_text_is_counted_as_fast_as_any() {
        let megabyte = |piece: &str| piece.repeat((1 << 20) / piece.len());
        for text in
            [megabyte("a"), megabyte(" "), megabyte(" \n"), megabyte("A"), megabyte("+-*/"), megabyte("é\u{301}")]
        {
            assert!((1..=text.len() as u64).contains(&count(&text)));
        }
    }

    #[test]
    fn beyond_a_megabyte_the_rest_is_taken_to_be_like_the_beginning() {
        let word = "hello ".repeat(200_000);
        let (part, whole) = (count(&word[..MAX_COUNTED_BYTES]), count(&word));

        assert_eq!(whole, (u128::from(part) * 1_200_000).div_ceil(1 << 20) as u64);
        assert!(count(&format!("a{}", "é".repeat(600_000))) > 0, "the bound falls inside a character");
    }

    #[test]
    fn the_overhead_of_a_chat_is_openais() {
        let text = count("You are a helpful assistant.") + count("Hello!");

        assert_eq!(text + chat_overhead(2), 19, "the `prompt_tokens` of the example in OpenAI's API reference");
        assert_eq!(chat_overhead(0), 3);
    }

    fn facts(body: &str) -> Facts {
        wire::openai::read(body.as_bytes()).unwrap().facts
    }

    #[test]
    fn the_bound_grows_with_what_a_request_holds() {
        let text = r#"{"model":"m","messages":[{"role":"user","content":"hello world"}]}"#;
        assert_eq!(at_most(&facts(text), text.len()), 11 + 8 + 64);

        let audio = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AAAA"}}]}]}"#;
        assert_eq!(at_most(&facts(audio), audio.len()), audio.len() as u64 + 8 + 64);

        let most = Facts { prompt_bytes: u64::MAX, messages: u32::MAX, images: u32::MAX, ..Facts::default() };
        assert_eq!(at_most(&most, usize::MAX), u64::MAX);
    }

    proptest! {
        #[test]
        fn no_prompt_has_more_tokens_than_the_bound(texts in proptest::collection::vec(any::<String>(), 1..4)) {
            let messages: Vec<_> = texts.iter().map(|text| serde_json::json!({"role": "user", "content": text})).collect();
            let body = serde_json::json!({"model": "m", "messages": messages}).to_string();
            let prompt = wire::openai::prompt(body.as_bytes()).unwrap();

            let tokens = prompt.text.scale(count(prompt.text.text())) + chat_overhead(prompt.messages);

            prop_assert!(tokens <= at_most(&facts(&body), body.len()));
        }
    }
}
