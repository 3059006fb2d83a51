//! What is answered: decided from the messages and the directive, the same for every vendor.

use serde_json::{Value, json};

use crate::directive::Directive;
use crate::schema;

/// What a request asks, read by its vendor's module.
#[derive(Debug)]
pub(crate) struct Conversation<'a> {
    pub(crate) messages: &'a [Value],
    /// `{"type":"function","function":{…}}` as both vendors have it.
    pub(crate) tools: Vec<&'a Value>,
    pub(crate) must_call: bool,
    /// The schema that the answer has to fit; `{}` for any object.
    pub(crate) schema: Option<Value>,
    /// Media types.
    pub(crate) images: Vec<String>,
}

/// An answer before it has any vendor's shape: text in pieces, or calls.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) reasoning: Vec<String>,
    pub(crate) pieces: Vec<String>,
    pub(crate) calls: Vec<Call>,
}

/// A tool call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) arguments: Value,
}

impl Conversation<'_> {
    pub(crate) fn answer(&self, directive: &Directive) -> Answer {
        let reasoning = if directive.reasoning { words(REASONING) } else { Vec::new() };
        let calls = self.calls(directive);
        if !calls.is_empty() {
            return Answer { reasoning, calls, ..Answer::default() };
        }
        let mut pieces = match (self.special_text(directive), directive.chunks) {
            (Some(text), None) => words(&text),
            (Some(text), Some(count)) => split(&text, count),
            (None, None) => words(TEXT),
            (None, Some(count)) => TEXT.split_inclusive(' ').cycle().take(count).map(str::to_owned).collect(),
        };
        if directive.huge_event {
            pieces.insert(0, "x".repeat(HUGE));
        }
        Answer { reasoning, pieces, ..Answer::default() }
    }

    /// A token for four characters of text, 85 an image, four a message.
    pub(crate) fn tokens(&self) -> usize {
        let text: usize = self.messages.iter().map(|message| text_of(message).len() / 4 + 4).sum();
        text + self.images.len() * 85
    }

    /// Directed calls come once: a conversation that holds results is answered with text.
    fn calls(&self, directive: &Directive) -> Vec<Call> {
        let has_results = self.messages.iter().any(|message| message["role"] == "tool");
        let count = if has_results { 0 } else { directive.tools };
        let required = usize::from(self.must_call && self.last_result().is_none());
        let default = json!({"function": {"name": "look_up", "parameters": {}}});
        let offered = if self.tools.is_empty() { vec![&default] } else { self.tools.clone() };
        let calls = offered.into_iter().cycle().take(count.max(required)).map(|tool| {
            let function = &tool["function"];
            let name = function["name"].as_str().unwrap_or_default().to_owned();
            Call { name, arguments: schema::sample(&function["parameters"]) }
        });
        calls.collect()
    }

    fn special_text(&self, directive: &Directive) -> Option<String> {
        let last_user = || self.messages.iter().rfind(|message| message["role"] == "user").map(text_of);
        if directive.echo {
            last_user()
        } else if let Some(schema) = &self.schema {
            let sample = schema::sample(schema);
            let is_any = schema["properties"].is_null() && sample == json!({});
            Some(if is_any { ANY_OBJECT.to_owned() } else { sample.to_string() })
        } else if directive.json {
            Some(ANY_OBJECT.to_owned())
        } else if let Some(result) = self.last_result() {
            Some(format!("The tool says: {result}"))
        } else {
            let plural = if self.images.len() == 1 { "" } else { "s" };
            let types = self.images.join(", ");
            (!self.images.is_empty()).then(|| format!("I see {} image{plural}: {types}", self.images.len()))
        }
    }

    fn last_result(&self) -> Option<String> {
        self.messages.last().filter(|message| message["role"] == "tool").map(text_of)
    }
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        self.pieces.concat()
    }

    pub(crate) fn reasoning_text(&self) -> String {
        self.reasoning.concat()
    }

    /// A token a piece, and eight a call.
    pub(crate) fn tokens(&self) -> usize {
        self.reasoning.len() + self.pieces.len() + self.calls.len() * 8
    }
}

/// A message's text: its content, or its text parts one after the other.
fn text_of(message: &Value) -> String {
    let parts = message["content"].as_array().into_iter().flatten();
    let joined = || parts.filter_map(|part| part["text"].as_str()).collect();
    message["content"].as_str().map_or_else(joined, str::to_owned)
}

fn words(text: &str) -> Vec<String> {
    text.split_inclusive(' ').map(str::to_owned).collect()
}

/// Exactly `count` pieces, the last of them empty where the text has fewer characters.
fn split(text: &str, count: usize) -> Vec<String> {
    let mut characters = text.chars();
    let size = text.chars().count().div_ceil(count.max(1));
    (0..count).map(|_| characters.by_ref().take(size).collect()).collect()
}

const TEXT: &str = "A gateway stands between callers and models, and passes on what each says.";
const REASONING: &str = "First I look at what was asked.";
const ANY_OBJECT: &str = r#"{"answer":"text"}"#;
/// More than any reader should hold for one event.
const HUGE: usize = 2 * 1024 * 1024;
