//! Ollama's answer objects: the body of a whole answer, and equally one line of a stream.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::forced::Forced;
use super::stream::split;
use super::tags::Tags;
use crate::event::{Answer, Event, Finish, ToolCallHead};
use crate::lenient::Lenient;
use crate::usage::{Usage, count};
use crate::{BadAnswer, Dialect};

/// Reads the body of a whole answer, whose text is the arguments of `forced_call` where there is one.
///
/// # Errors
/// [`BadAnswer::Error`] for an error in a success status; [`BadAnswer::NoChoices`] when nothing was generated because
/// the model was only being loaded or unloaded, or when there is no message at all.
pub fn decode_answer(body: &[u8], forced_call: Option<&str>) -> Result<Answer, BadAnswer> {
    let object: Object<'_> = serde_json::from_slice(body).map_err(|_| BadAnswer::NotJson)?;
    if object.error.is_some() {
        return Err(BadAnswer::Error(crate::read_error(Dialect::Ollama, 200, body)));
    }
    if object.message.is_none() || object.is_only_loading() {
        return Err(BadAnswer::NoChoices);
    }
    let mut events = Vec::new();
    object.events(&mut 0, &mut events);
    let (mut tags, mut answer, mut told) = (Tags::default(), Answer::default(), Vec::new());
    split(events, &mut tags, &mut told);
    tags.end(&mut told);
    let mut forced = Forced::new(forced_call);
    told.into_iter().for_each(|event| answer.fold(forced.told(event)));
    Ok(answer)
}

/// One object that Ollama sends.
#[derive(Deserialize)]
pub(super) struct Object<'a> {
    #[serde(default)]
    message: Option<Message<'a>>,
    #[serde(default)]
    pub(super) done: bool,
    #[serde(default)]
    done_reason: Option<String>,
    // Counts are read as floats, if they are: a proxy that sends `12.0` or `"12"` must not lose an answer.
    #[serde(default)]
    prompt_eval_count: Lenient<f64>,
    #[serde(default)]
    eval_count: Lenient<f64>,
    #[serde(default, borrow)]
    pub(super) error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default, borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(borrow)]
    function: Function<'a>,
}

#[derive(Deserialize)]
struct Function<'a> {
    name: String,
    #[serde(default, borrow)]
    arguments: Option<&'a RawValue>,
}

impl<'a> Object<'a> {
    /// True when it ends an answer only because the model was loaded or unloaded.
    pub(super) fn is_only_loading(&self) -> bool {
        let is_empty = self.message.as_ref().is_none_or(Message::is_empty);
        self.done && is_empty && matches!(self.done_reason.as_deref(), Some("load" | "unload"))
    }

    /// What the object says, in order. `calls` counts the tool calls of the whole answer: Ollama numbers them per
    /// object, if at all.
    pub(super) fn events(self, calls: &mut u32, out: &mut Vec<Event>) {
        let Object { message, done, done_reason, prompt_eval_count, eval_count, error: _ } = self;
        if let Some(message) = message {
            message.events(calls, out);
        }
        let usage = Usage { input: count(prompt_eval_count), output: count(eval_count), ..Usage::default() };
        if !usage.is_unknown() {
            out.push(Event::Usage(usage));
        }
        if done {
            out.push(Event::Finish { choice: 0, reason: finish(done_reason, *calls > 0) });
        }
    }
}

impl Message<'_> {
    fn is_empty(&self) -> bool {
        let Message { content, thinking, tool_calls } = self;
        [content, thinking].into_iter().all(|text| text.as_deref().is_none_or(str::is_empty))
            && tool_calls.as_ref().is_none_or(Vec::is_empty)
    }

    fn events(self, calls: &mut u32, out: &mut Vec<Event>) {
        if let Some(text) = self.thinking.filter(|text| !text.is_empty()) {
            out.push(Event::Thinking { choice: 0, text });
        }
        if let Some(text) = self.content.filter(|text| !text.is_empty()) {
            out.push(Event::Text { choice: 0, text });
        }
        for ToolCall { id, function } in self.tool_calls.unwrap_or_default() {
            let head = ToolCallHead { id: id.unwrap_or_default(), name: function.name };
            let arguments = arguments(function.arguments);
            out.push(Event::ToolCall { choice: 0, index: *calls, head: Some(head), arguments });
            *calls = calls.saturating_add(1);
        }
    }
}

/// Arguments as JSON text. They are an object; some imitations send the text of one.
fn arguments(raw: Option<&RawValue>) -> String {
    let Some(raw) = raw.map(RawValue::get).filter(|raw| *raw != "null") else {
        return "{}".to_owned();
    };
    serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned())
}

/// Versions before `done_reason` existed knew no other end than a natural one.
fn finish(reason: Option<String>, has_calls: bool) -> Finish {
    match reason.as_deref().unwrap_or_default() {
        "" | "stop" if has_calls => Finish::ToolCalls,
        "" => Finish::Stop,
        reason => Finish::parse(reason),
    }
}
