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
    /// Types of tools that are no functions: what the vendor itself runs. No other dialect has them.
    pub hosted_tools: Vec<Cow<'a, str>>,
    /// Which tool the model may or must call.
    pub tool_choice: ToolChoice<'a>,
    /// Whether several tools may be called at once.
    pub parallel_tool_calls: Option<bool>,
    /// Shape the answer must have.
    pub format: Format<'a>,
    /// `max_completion_tokens`, or `max_tokens` when only that was given.
    pub max_tokens: Option<u64>,
    /// Sampling temperature, 0 to 2.
    pub temperature: Option<f64>,
    /// Nucleus sampling mass.
    pub top_p: Option<f64>,
    /// How many of the likeliest tokens are sampled from.
    pub top_k: Option<u64>,
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
    /// Tokens that the model may think for, where the caller set them.
    pub thinking_budget: Option<u64>,
    /// The caller's name for its own user.
    pub user: Option<Cow<'a, str>>,
    /// Fields that are not typed above, by name, in the order of the body. Extension fields (`x-…`) are left out.
    pub rest: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl Chat<'_> {
    /// Gives every turn of tool calls that came back without proven reasoning what `of_call` has of it.
    pub(crate) fn recall(&mut self, of_call: impl Fn(&str) -> Option<Vec<Thought<'static>>>) {
        for message in &mut self.messages {
            if let Message::Assistant { thoughts, tool_calls, .. } = message
                && !thoughts.iter().any(Thought::is_proven)
                && let Some(recalled) = tool_calls.iter().find_map(|call| of_call(&call.id))
            {
                *thoughts = recalled;
            }
        }
    }
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
        /// Reasoning that the client sent back, in order. It came before the content.
        thoughts: Vec<Thought<'a>>,
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
        /// The call failed; only Anthropic's dialect can say so.
        is_error: bool,
    },
}

/// A block of reasoning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thought<'a> {
    /// Reasoning in words, or what was told of it.
    Text {
        /// The words; empty where they are withheld.
        text: Cow<'a, str>,
        /// The vendor's proof that they are its model's own.
        signature: Option<Cow<'a, str>>,
    },
    /// Reasoning that only the vendor can read.
    Redacted(Cow<'a, str>),
}

impl Thought<'_> {
    /// Whether its vendor can tell that it is its own.
    pub fn is_proven(&self) -> bool {
        !matches!(self, Thought::Text { signature: None, .. })
    }

    /// The words.
    pub fn text(&self) -> &str {
        match self {
            Thought::Text { text, .. } => text,
            Thought::Redacted(_) => "",
        }
    }

    /// The same, borrowed from nothing.
    pub fn into_owned(self) -> Thought<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Thought::Text { text, signature } => Thought::Text { text: own(text), signature: signature.map(own) },
            Thought::Redacted(data) => Thought::Redacted(own(data)),
        }
    }
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
    /// A document.
    File {
        /// The URL as the caller wrote it: `https://…` or `data:…`.
        url: Cow<'a, str>,
        /// Its name.
        name: Option<Cow<'a, str>>,
    },
    /// Everything up to here may be kept in the provider's prompt cache: a `cache_control` object, as Anthropic's
    /// dialect has it.
    CacheUntilHere(&'a RawValue),
    /// A part without a typed form (audio, refusal, …): its `type` and the whole object.
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
    /// Arguments must fit the schema.
    pub strict: Option<bool>,
    /// All tools up to this one may be kept in the provider's prompt cache.
    pub cache_control: Option<&'a RawValue>,
}

/// What the result of a tool that failed begins with, in dialects that do not tell such results apart.
pub(crate) const FAILED_TOOL: &str = "Error: ";

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

/// The text of a `data:` URL of text, plain or in base64; `None` where it is no text.
pub(crate) fn text_of_data_url(url: &str) -> Option<String> {
    use base64::Engine;
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    if !head.ends_with(";base64") {
        return Some(data.to_owned());
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(data.trim()).ok()?;
    String::from_utf8(bytes).ok()
}

/// The media type that an image in base64 has by its first bytes; what callers say of it is not always true.
pub(crate) fn media_type_of(base64: &str) -> Option<&'static str> {
    let starts =
        [("iVBORw0KGgo", "image/png"), ("/9j/", "image/jpeg"), ("R0lGODdh", "image/gif"), ("R0lGODlh", "image/gif")];
    let is_webp = base64.starts_with("UklGR") && base64.get(12..16) == Some("RUJQ");
    let found = starts.iter().find(|(start, _)| base64.starts_with(start)).map(|(_, kind)| *kind);
    found.or(is_webp.then_some("image/webp"))
}

/// True for what is carried elsewhere and for values that ask for what happens anyway.
pub(crate) fn says_nothing(name: &str, value: &str) -> bool {
    matches!(
        (name, value),
        ("model" | "messages" | "stream" | "stream_options", _)
            | (_, "null")
            | ("n", "1")
            | ("logprobs" | "store", "false")
            | ("logit_bias" | "metadata", "{}")
            | ("service_tier", "\"auto\"" | "\"default\"")
    )
}
