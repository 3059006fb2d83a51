//! What a simulated model answers: sentences about nothing in particular, marked as simulated, in the length that its
//! quality earns.

use serde_json::json;

use super::fate::chance;
use super::models::Model;
use super::question::{Directives, Form, Question, without_directives};
use super::sample;

/// An answer in the pieces in which it is streamed, one a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Tells this answer from others; the same question to the same model has the same.
    pub(crate) id: String,
    /// The function that is called; the pieces are its arguments then.
    pub(crate) called: Option<String>,
    /// Text or arguments, about four bytes each.
    pub(crate) pieces: Vec<String>,
    /// OpenAI's word for why it ended.
    pub(crate) finish_reason: &'static str,
    /// Tokens of the question.
    pub(crate) prompt_tokens: usize,
}

/// Longest answer in tokens, whatever the prompt asks for.
const LONGEST: usize = 20_000;
/// Bytes of a token, about.
const TOKEN_BYTES: usize = 4;
/// Bytes of the largest piece: its last character may begin at the last of a token's bytes.
const LARGEST_PIECE: usize = TOKEN_BYTES + 3;
/// Words of the prompt that an answer takes up.
const TOPIC_WORDS: usize = 3;

/// The answer of `model` to `question`; the same for the same seed, model and prompt.
pub(crate) fn compose(model: &Model, question: &Question, directives: Directives) -> Answer {
    let prompt = without_directives(&question.prompt());
    let mut chance = chance(&[&question.seed().to_le_bytes(), model.id.as_bytes(), prompt.as_bytes()]);
    let id = format!("{:016x}", chance.u64(..));
    let label = format!("[simulated {}] {}", model.id, topic(&prompt));
    let form = question.form(directives);
    // A directive shortens sentences only: JSON stays valid.
    let told = directives.tokens.filter(|_| matches!(form, Form::Text));
    let (called, content) = match form {
        Form::Text => (None, text(model, &prompt, told, &mut chance)),
        Form::Json(None) => (None, json!({"answer": label}).to_string()),
        Form::Json(Some(schema)) => (None, sample::of_schema(schema, &label).to_string()),
        Form::Call(function) => (
            Some(function.name.clone()),
            sample::of_schema(&object_schema(&function.parameters), &topic(&prompt)).to_string(),
        ),
    };
    let mut pieces = split(&content);
    pieces.truncate(told.unwrap_or(LONGEST).min(LONGEST));
    let finish_reason = match (&called, question.limit()) {
        (_, Some(limit)) if limit < pieces.len() => "length",
        (Some(_), _) => "tool_calls",
        (None, _) => "stop",
    };
    pieces.truncate(question.limit().unwrap_or(LONGEST));
    Answer { id, called, pieces, finish_reason, prompt_tokens: tokens(question.bytes()) }
}

/// About how many tokens `bytes` of text are.
pub(crate) fn tokens(bytes: usize) -> usize {
    bytes.div_ceil(TOKEN_BYTES)
}

fn text(model: &Model, prompt: &str, tokens: Option<usize>, chance: &mut fastrand::Rng) -> String {
    let topic = topic(prompt);
    let mut text = format!("[simulated {}] {}", model.id, about(OPENINGS[chance.usize(0..OPENINGS.len())], &topic));
    if asks_for_code(prompt) {
        text.push_str("\n\n```python\ndef solve(items):\n    return sorted(set(items))\n```\n\n");
    }
    let enough = |text: &str, sentences: usize| match tokens {
        Some(tokens) => text.len() >= tokens.min(LONGEST) * LARGEST_PIECE,
        None => sentences >= model.sentences,
    };
    let mut order: Vec<&str> = SENTENCES.to_vec();
    chance.shuffle(&mut order);
    for (count, sentence) in order.iter().cycle().enumerate() {
        if enough(&text, count) {
            break;
        }
        text.push_str(if count % 3 == 2 { "\n\n" } else { " " });
        text.push_str(&about(sentence, &topic));
    }
    text
}

fn about(sentence: &str, topic: &str) -> String {
    sentence.replace("{topic}", topic)
}

fn asks_for_code(prompt: &str) -> bool {
    let prompt = prompt.to_lowercase();
    ["code", "function", "python", "rust", "sql", "script", "```"].iter().any(|word| prompt.contains(word))
}

/// The longest words of the prompt, in its order.
fn topic(prompt: &str) -> String {
    let is_word = |word: &&str| (4..=24).contains(&word.len());
    let words: Vec<&str> = prompt.split(|letter: char| !letter.is_alphanumeric()).filter(is_word).take(200).collect();
    let mut longest: Vec<(usize, &str)> = words.into_iter().enumerate().collect();
    longest.sort_by_key(|(_, word)| std::cmp::Reverse(word.len()));
    longest.truncate(TOPIC_WORDS);
    longest.sort_unstable();
    let longest: Vec<String> = longest.into_iter().map(|(_, word)| word.to_lowercase()).collect();
    if longest.is_empty() { "your question".to_owned() } else { longest.join(" ") }
}

/// Arguments are an object even where the function states no parameters.
fn object_schema(parameters: &serde_json::Value) -> serde_json::Value {
    if parameters.get("properties").is_some() { parameters.clone() } else { json!({"type": "object"}) }
}

fn split(text: &str) -> Vec<String> {
    let mut pieces = Vec::with_capacity(tokens(text.len()));
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.ceil_char_boundary(TOKEN_BYTES));
        pieces.push(piece.to_owned());
        rest = after;
    }
    pieces
}

const OPENINGS: [&str; 4] = [
    "Here is what can be said about {topic}.",
    "A short view of {topic} first, the details after it.",
    "There are several ways to look at {topic}.",
    "The question about {topic} has a plain core.",
];

const SENTENCES: [&str; 12] = [
    "Most of {topic} rests on one idea that is easy to miss at first sight.",
    "Begin with the smallest case, because it shows where the difficulty lies.",
    "The usual mistake is to treat an exception as if it were the rule.",
    "A second point is worth a check: do the figures still hold when the input doubles?",
    "In practice {topic} is decided by its limits, not by its average.",
    "Two terms are often confused here, and keeping them apart settles half of the matter.",
    "If time is short, the first step alone brings most of the benefit.",
    "An example helps: take three items, change one, and compare the outcome.",
    "The opposite view has its merits too, above all where little is known in advance.",
    "Whoever wants certainty can test it on a copy before anything depends on it.",
    "None of this needs special tools; pen and paper go a long way with {topic}.",
    "To sum up: keep it small, measure it, and write down why.",
];

#[cfg(test)]
mod tests {
    use super::super::models::{Kind, MODELS};
    use super::*;

    fn question(fields: serde_json::Value) -> Question {
        let mut body =
            json!({"model": "sim-swift", "messages": [{"role": "user", "content": "Explain tidal locking"}]});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(body).unwrap()
    }

    fn answer(id: &str, fields: serde_json::Value) -> Answer {
        let question = question(fields);
        let model = MODELS.iter().find(|model| model.id == id).unwrap();
        compose(model, &question, Directives::of(&question.prompt()))
    }

    fn says(prompt: &str) -> serde_json::Value {
        json!({"messages": [{"role": "user", "content": prompt}]})
    }

    #[test]
    fn every_chat_model_labels_its_answer() {
        for model in MODELS.iter().filter(|model| model.kind == Kind::Chat) {
            let text = answer(model.id, json!({})).pieces.concat();
            assert!(text.starts_with(&format!("[simulated {}] ", model.id)), "{text}");
            assert!(text.contains("explain tidal locking"), "{text}");
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer_and_another_seed_another() {
        let asked = |seed: i64| answer("sim-frontier", json!({"seed": seed}));

        assert_eq!(asked(1), asked(1));
        assert_ne!(asked(1), asked(2));
    }

    #[test]
    fn the_better_model_says_more() {
        let length = |id: &str| answer(id, json!({})).pieces.len();

        assert!(length("sim-frontier") > length("sim-standard"));
        assert!(length("sim-standard") > length("sim-swift"));
        assert!(length("sim-swift") > length("sim-local"));
    }

    #[test]
    fn the_prompt_sets_the_length() {
        let long = answer("sim-local", says("Hello [sim tokens=200]"));
        assert_eq!((long.pieces.len(), long.finish_reason), (200, "stop"));
        assert_eq!(answer("sim-local", says("Größenverhältnisse 日本語日本語 [sim tokens=200]")).pieces.len(), 200);
        assert_eq!(answer("sim-local", says("Hello [sim tokens=1]")).pieces, ["[sim"]);
        assert_eq!(answer("sim-local", says("Hello [sim tokens=999999999999]")).pieces.len(), LONGEST);
    }

    #[test]
    fn a_limit_shortens_the_answer_and_says_so() {
        let short = answer("sim-swift", json!({"max_completion_tokens": 5}));

        assert_eq!((short.pieces.len(), short.finish_reason), (5, "length"));
    }

    #[test]
    fn json_is_valid_json() {
        let free = answer("sim-swift", json!({"response_format": {"type": "json_object"}})).pieces.concat();
        assert_eq!(free, r#"{"answer":"[simulated sim-swift] explain tidal locking"}"#);

        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
        let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
        assert_eq!(answer("sim-swift", json!({"response_format": format})).pieces.concat(), r#"{"n":1}"#);
    }

    #[test]
    fn a_tool_is_called_when_required_named_or_told_and_only_once() {
        let function = |name: &str| {
            json!({"type": "function", "function": {"name": name, "parameters":
            {"type": "object", "properties": {"city": {"type": "string"}}}}})
        };
        let tools = json!([function("first"), function("second")]);
        let called = |fields: serde_json::Value| answer("sim-swift", fields).called;

        assert_eq!(called(json!({"tools": tools})), None);
        assert_eq!(called(json!({"tools": tools, "tool_choice": "required"})).as_deref(), Some("first"));
        let named = json!({"type": "function", "function": {"name": "second"}});
        assert_eq!(called(json!({"tools": tools, "tool_choice": named})).as_deref(), Some("second"));
        let told = json!([{"role": "user", "content": "Weather? [sim tool]"}]);
        let call = answer("sim-swift", json!({"tools": tools, "messages": told}));
        assert_eq!((call.called.as_deref(), call.finish_reason), (Some("first"), "tool_calls"));
        assert_eq!(call.pieces.concat(), r#"{"city":"weather"}"#);
        let done = json!([{"role": "user", "content": "Weather? [sim tool]"}, {"role": "tool", "content": "rain"}]);
        assert_eq!(called(json!({"tools": tools, "messages": done})), None);
    }

    #[test]
    fn pieces_never_break_a_character() {
        assert_eq!(split("añ😀b").concat(), "añ😀b");
    }
}
