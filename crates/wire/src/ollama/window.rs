//! The context size to ask Ollama for (`num_ctx`).
//!
//! Ollama gives a model a small context unless told otherwise and drops the oldest text of what does not fit, so every
//! request says what it needs. The estimate errs upwards: too large costs memory, too small costs the caller's words.
//! Sizes are powers of two, because Ollama loads the model again whenever the number changes.

use crate::chat::{Chat, Format, Message, Part};

/// The size below which Ollama's own default lies; asking for less saves nothing worth a reload.
const SMALLEST: u64 = 4_096;
/// Cap for a model whose window is not known: what most current models have. Ollama lowers it to the model's own.
const LARGEST_UNKNOWN: u64 = 131_072;
/// Room for the answer of a request that sets no limit.
const ANSWER_TOKENS: u64 = 2_048;
/// Tokens of one image; vision models that Ollama runs use between 256 and about 1,500 for a common size.
const IMAGE_TOKENS: u64 = 1_536;
/// Role markers and separators that a chat template puts around one message.
const MESSAGE_TOKENS: u64 = 8;

/// `num_ctx` for a chat, in tokens. `context_window` is the model's own, where it is known.
pub(crate) fn for_chat(chat: &Chat<'_>, context_window: Option<u64>) -> u64 {
    let messages: u64 = chat.messages.iter().map(message_tokens).sum();
    let tools: u64 = chat
        .tools
        .iter()
        .map(|tool| {
            let parameters = tool.parameters.map_or(0, |schema| text_tokens(schema.get()));
            MESSAGE_TOKENS + parameters + text_tokens(&tool.name) + tool.description.as_deref().map_or(0, text_tokens)
        })
        .sum();
    let schema = match &chat.format {
        Format::Text | Format::JsonObject => 0,
        Format::JsonSchema(schema) => text_tokens(schema.get()),
    };
    let answer = chat.max_tokens.unwrap_or(ANSWER_TOKENS);
    rounded((messages + tools + schema).saturating_add(answer), context_window)
}

/// The power of two that holds `tokens`, within the bounds of this module and the model's own window.
pub(crate) fn rounded(tokens: u64, context_window: Option<u64>) -> u64 {
    let largest = context_window.unwrap_or(LARGEST_UNKNOWN);
    tokens.max(SMALLEST).checked_next_power_of_two().map_or(largest, |size| size.min(largest))
}

/// An upper estimate of a text's tokens: three bytes a token, which English stays well below and most other scripts
/// and code come near; digits count whole, because many tokenizers give each its own token.
pub(crate) fn text_tokens(text: &str) -> u64 {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    (text.len() as u64 + 2 * digits as u64).div_ceil(3)
}

fn message_tokens(message: &Message<'_>) -> u64 {
    MESSAGE_TOKENS
        + match message {
            Message::System(content) | Message::User(content) => content_tokens(content),
            Message::Assistant { content, thoughts, tool_calls } => {
                let calls = tool_calls.iter().map(|call| text_tokens(&call.name) + text_tokens(&call.arguments));
                content_tokens(content)
                    + thoughts.iter().map(|thought| text_tokens(thought.text())).sum::<u64>()
                    + calls.sum::<u64>()
            }
            Message::Tool { content, .. } => content_tokens(content),
        }
}

fn content_tokens(content: &[Part<'_>]) -> u64 {
    let tokens = content.iter().map(|part| match part {
        Part::Text(text) => text_tokens(text),
        Part::Image { .. } => IMAGE_TOKENS,
        Part::File { .. } | Part::CacheUntilHere(_) => 0,
        Part::Other { raw, .. } => text_tokens(raw.get()),
    });
    tokens.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_power_of_two_within_the_models_window() {
        let cases = [
            (0, None, 4_096),
            (4_096, None, 4_096),
            (4_097, None, 8_192),
            (20_000, Some(131_072), 32_768),
            (20_000, Some(30_000), 30_000),
            (100, Some(2_048), 2_048),
            (1_000_000, None, 131_072),
            (u64::MAX, Some(8_192), 8_192),
        ];
        for (tokens, window, expected) in cases {
            assert_eq!(rounded(tokens, window), expected, "{tokens} tokens, window {window:?}");
        }
    }

    #[test]
    fn digits_weigh_as_much_as_whole_tokens() {
        assert_eq!(text_tokens("abcdef"), 2);
        assert_eq!(text_tokens("123456"), 6);
        assert_eq!(text_tokens(""), 0);
    }
}
