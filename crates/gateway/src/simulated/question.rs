//! What a chat request asks for, as far as a simulated model cares, and the directives inside its prompt.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

/// A chat request. Fields that are not here change nothing.
#[derive(Debug, Deserialize)]
pub(crate) struct Question {
    /// The model's name.
    pub(crate) model: String,
    messages: Vec<Message>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    tools: Option<Vec<Tool>>,
    tool_choice: Option<Value>,
    response_format: Option<Value>,
    seed: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Tool {
    function: Option<Function>,
}

/// A function that the model may call.
#[derive(Debug, Deserialize)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// JSON schema of its arguments.
    #[serde(default)]
    pub(crate) parameters: Value,
}

/// What form the answer takes.
#[derive(Debug)]
pub(crate) enum Form<'a> {
    /// Sentences.
    Text,
    /// A JSON object, of the given schema if there is one.
    Json(Option<&'a Value>),
    /// A call of this function.
    Call(&'a Function),
}

/// What a prompt tells a simulated model to do, by words in `[sim …]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    /// Time to the first token: `slow_ms=2000`.
    pub(crate) slow: Option<Duration>,
    /// Answer with this error status: `fail=503`.
    pub(crate) fail: Option<StatusCode>,
    /// Length of the answer: `tokens=200`.
    pub(crate) tokens: Option<usize>,
    /// Call the first tool that is offered: `tool`.
    pub(crate) tool: bool,
    /// Break off in the middle: `cut`.
    pub(crate) cut: bool,
}

/// Longest wait that a prompt can ask for: longer than any timeout worth trying.
const SLOWEST_MS: u64 = 600_000;

impl Question {
    /// Text of the last message of the user; empty without one.
    pub(crate) fn prompt(&self) -> String {
        self.messages.iter().rev().find(|message| message.role == "user").map(Message::text).unwrap_or_default()
    }

    /// Bytes of text in all messages.
    pub(crate) fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.text().len()).sum()
    }

    /// Is the answer to come as a stream?
    pub(crate) fn is_streamed(&self) -> bool {
        self.stream == Some(true)
    }

    /// Does the stream end with the usage?
    pub(crate) fn wants_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|options| options.include_usage) == Some(true)
    }

    /// Most tokens that the answer may have, if the client says so.
    pub(crate) fn limit(&self) -> Option<usize> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    /// The seed of the answer.
    pub(crate) fn seed(&self) -> i64 {
        self.seed.unwrap_or_default()
    }

    /// What form the answer is to take.
    pub(crate) fn form(&self, directives: Directives) -> Form<'_> {
        if let Some(function) = self.called(directives) {
            return Form::Call(function);
        }
        let Some(format) = &self.response_format else { return Form::Text };
        match format.get("type").and_then(Value::as_str) {
            Some("json_schema") => Form::Json(format.pointer("/json_schema/schema")),
            Some("json_object") => Form::Json(None),
            _ => Form::Text,
        }
    }

    fn called(&self, directives: Directives) -> Option<&Function> {
        // The result of a call is there: a second call would never end.
        if self.messages.last().is_some_and(|message| message.role == "tool") {
            return None;
        }
        let mut offered = self.tools.iter().flatten().filter_map(|tool| tool.function.as_ref());
        match &self.tool_choice {
            Some(Value::String(choice)) if choice == "none" => None,
            Some(Value::String(choice)) if choice == "required" => offered.next(),
            Some(choice @ Value::Object(_)) => {
                let name = choice.pointer("/function/name").and_then(Value::as_str);
                offered.find(|function| Some(function.name.as_str()) == name)
            }
            _ => offered.next().filter(|_| directives.tool),
        }
    }
}

impl Message {
    fn text(&self) -> String {
        match &self.content {
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => {
                parts.iter().filter_map(|part| part.text.as_deref()).collect::<Vec<_>>().join("\n")
            }
            None => String::new(),
        }
    }
}

impl Directives {
    /// Reads every `[sim …]` of `prompt`; words that mean nothing are passed over.
    pub(crate) fn of(prompt: &str) -> Directives {
        let mut found = Directives::default();
        for group in prompt.split("[sim ").skip(1) {
            let Some((words, _)) = group.split_once(']') else { continue };
            words.split_whitespace().for_each(|word| found.add(word));
        }
        found
    }

    fn add(&mut self, word: &str) {
        match word.split_once('=').unwrap_or((word, "")) {
            ("slow_ms", value) => {
                self.slow = value.parse().ok().map(|ms: u64| Duration::from_millis(ms.min(SLOWEST_MS)))
            }
            ("fail", value) => {
                let status = value.parse().ok().and_then(|code: u16| StatusCode::from_u16(code).ok());
                self.fail = status.filter(|status| status.is_client_error() || status.is_server_error());
            }
            ("tokens", value) => self.tokens = value.parse().ok(),
            ("tool", _) => self.tool = true,
            ("cut", _) => self.cut = true,
            _ => {}
        }
    }
}

/// `prompt` without its directives.
pub(crate) fn without_directives(prompt: &str) -> String {
    let mut kept = String::with_capacity(prompt.len());
    for (place, group) in prompt.split("[sim ").enumerate() {
        kept.push_str(if place == 0 { group } else { group.split_once(']').map_or(group, |(_, rest)| rest) });
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_says_what_to_simulate() {
        let told = Directives::of("Hi [sim slow_ms=2000 fail=503] there [sim tokens=200] [sim tool cut nonsense=1]");

        let slow = Some(Duration::from_secs(2));
        let fail = Some(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(told, Directives { slow, fail, tokens: Some(200), tool: true, cut: true });
    }

    #[test]
    fn directives_that_make_no_sense_do_nothing() {
        for prompt in ["[sim ", "[sim fail=200]", "[sim fail=9999]", "[sim slow_ms=-1]", "[sim tokens=x]", "sim cut"] {
            assert_eq!(Directives::of(prompt), Directives::default(), "{prompt}");
        }
    }

    #[test]
    fn directives_are_no_part_of_the_topic() {
        assert_eq!(without_directives("a [sim cut]b [sim tool] c"), "a b  c");
        assert_eq!(without_directives("open [sim cut"), "open cut");
    }
}
