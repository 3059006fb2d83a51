//! The canonical chat request: what OpenAI's request says, borrowed from the body it was read from.
//!
//! Only what another dialect can carry is typed. Everything else stays in [`Chat::rest`] by name, so that an encoder
//! can report what it had to leave behind.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// One chat request, borrowed from the client's body.
#[derive(Debug)]
pub struct Chat<'a> {
    /// The conversation in order.
    pub messages: Vec<Message<'a>>,
    /// Tools on offer.
    pub tools: Vec<Tool<'a>>,
    /// Which tool the model may or must call.
    pub tool_choice: ToolChoice<'a>,
    /// Shape the answer must have.
    pub format: Format<'a>,
    /// `max_completion_tokens`, or `max_tokens` when only that was given.
    pub max_tokens: Option<u64>,
    /// Sampling temperature, 0 to 2.
    pub temperature: Option<f64>,
    /// Nucleus sampling mass.
    pub top_p: Option<f64>,
    /// Sampling seed.
    pub seed: Option<i64>,
    /// Presence penalty.
    pub presence_penalty: Option<f64>,
    /// Frequency penalty.
    pub frequency_penalty: Option<f64>,
    /// Stop sequences, at most four.
    pub stop: Vec<Cow<'a, str>>,
    /// `reasoning_effort` as the caller wrote it (`none`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max`).
    pub reasoning_effort: Option<Cow<'a, str>>,
    /// Fields that are not typed above, by name, in the order of the body. Extension fields (`x-…`) are left out.
    pub rest: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// One message.
#[derive(Debug)]
pub enum Message<'a> {
    /// `system` or `developer`.
    System(Vec<Part<'a>>),
    /// `user`.
    User(Vec<Part<'a>>),
    /// `assistant`: text, reasoning that came with it, and the tools it called.
    Assistant {
        /// Visible content; may be empty when tools were called.
        content: Vec<Part<'a>>,
        /// Reasoning that the client sent back (`reasoning_content` or `reasoning`).
        thinking: Option<Cow<'a, str>>,
        /// Calls in order.
        tool_calls: Vec<ToolCall<'a>>,
    },
    /// `tool` (or the older `function`): the result of one call.
    Tool {
        /// Which call it answers.
        tool_call_id: Cow<'a, str>,
        /// The function's name, looked up by the call's id in the conversation; `None` for an orphan.
        name: Option<Cow<'a, str>>,
        /// The result.
        content: Vec<Part<'a>>,
    },
}

/// One part of a message's content. A string content is a single [`Part::Text`].
#[derive(Debug)]
pub enum Part<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// An image by URL: `https://…` or `data:…`.
    Image {
        /// The URL as the caller wrote it.
        url: Cow<'a, str>,
    },
    /// A part without a typed form (audio, file, refusal, …): its `type` and the whole object.
    Other {
        /// The part's `type`.
        kind: Cow<'a, str>,
        /// The part as it stood in the body.
        raw: &'a RawValue,
    },
}

/// A call that the model made.
#[derive(Debug)]
pub struct ToolCall<'a> {
    /// Id of the call.
    pub id: Cow<'a, str>,
    /// Name of the function.
    pub name: Cow<'a, str>,
    /// Arguments as JSON text, exactly as the caller sent them (they may not parse).
    pub arguments: Cow<'a, str>,
}

/// A function on offer.
#[derive(Debug)]
pub struct Tool<'a> {
    /// Name of the function.
    pub name: Cow<'a, str>,
    /// What it does.
    pub description: Option<Cow<'a, str>>,
    /// JSON Schema of its parameters; `None` for a function without any.
    pub parameters: Option<&'a RawValue>,
}

/// `tool_choice`.
#[derive(Debug, PartialEq, Eq, Default)]
pub enum ToolChoice<'a> {
    /// Absent or `auto`.
    #[default]
    Auto,
    /// `none`.
    None,
    /// `required`.
    Required,
    /// One named function.
    Function(Cow<'a, str>),
}

/// `response_format`.
#[derive(Debug, Default)]
pub enum Format<'a> {
    /// Absent or `text`.
    #[default]
    Text,
    /// `json_object`.
    JsonObject,
    /// `json_schema`, with the schema.
    JsonSchema(&'a RawValue),
}
