//! A canonical chat as the body of Ollama's `/api/chat`.
//!
//! Fields that the caller did not set are not sent, so that the model's own defaults hold; `keep_alive` is sent only
//! where the caller wrote it. Two are always there: `num_ctx`, sized by [`window`], and `truncate: false`, by which a
//! prompt that still does not fit is an error instead of a shorter prompt.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::forced::{forced, instruction};
use super::window;
use crate::chat::{self, Chat, Part, ToolChoice};
use crate::loss::Loss;
use crate::openai::encode::to_json;
use crate::{Error, Problem, Target};

/// The body for `/api/chat`. What Ollama has no way to say is noted in `loss`.
///
/// # Errors
/// [`Problem::UnsupportedParameter`] for content that cannot be sent and must not be dropped (an image by `http` URL,
/// audio, a file), [`Problem::InvalidValue`] for a `data:` URL that is not base64.
pub fn encode_request(chat: &Chat<'_>, target: &Target<'_>, stream: bool, loss: &mut Loss) -> Result<Vec<u8>, Error> {
    let forced = forced(chat);
    let mut messages = Vec::with_capacity(chat.messages.len().saturating_add(1));
    if let Some(tool) = forced {
        loss.note("tool_choice", "the answer is held to the function's schema; Ollama cannot make a model call it");
        messages.push(Message { role: "system", content: instruction(tool), ..Message::default() });
    }
    for (position, message) in chat.messages.iter().enumerate() {
        messages.push(encode_message(position, message, loss)?);
    }
    let request = Request {
        model: target.model,
        messages,
        stream,
        tools: if forced.is_some() { Vec::new() } else { tools(chat, loss) },
        format: forced.map(|tool| Format::Parameters(parameters(tool))).or_else(|| format(&chat.format)),
        think: chat.reasoning_effort.as_deref().and_then(|effort| think(effort, target.model, loss)),
        truncate: false,
        keep_alive: chat.rest.iter().find(|(name, _)| name == KEEP_ALIVE).map(|(_, value)| *value),
        options: options(chat, target),
    };
    note_rest(chat, loss);
    Ok(to_json(&request))
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<Think>,
    truncate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_alive: Option<&'a RawValue>,
    options: Options<'a>,
}

#[derive(Default, Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

#[derive(Serialize)]
struct ToolCall<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    function: FunctionCall<'a>,
}

#[derive(Serialize)]
struct FunctionCall<'a> {
    name: &'a str,
    arguments: Arguments<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Arguments<'a> {
    Object(&'a RawValue),
    Raw { _raw: &'a str },
    None {},
}

#[derive(Serialize)]
struct Tool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: Parameters<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Parameters<'a> {
    Schema(&'a RawValue),
    None { r#type: &'static str, properties: Empty },
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(untagged)]
enum Format<'a> {
    Word(&'static str),
    Schema(&'a RawValue),
    Parameters(Parameters<'a>),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Think {
    Switch(bool),
    Level(&'static str),
}

#[derive(Serialize)]
struct Options<'a> {
    num_ctx: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_predict: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'a [Cow<'a, str>],
}

fn options<'a>(chat: &'a Chat<'a>, target: &Target<'_>) -> Options<'a> {
    Options {
        num_ctx: window::for_chat(chat, target.context_window),
        // The runner counts in 32 bits.
        num_predict: chat.max_tokens.map(|tokens| tokens.min(i32::MAX as u64)),
        temperature: chat.temperature,
        top_p: chat.top_p,
        top_k: chat.top_k,
        seed: chat.seed,
        presence_penalty: chat.presence_penalty,
        frequency_penalty: chat.frequency_penalty,
        stop: &chat.stop,
    }
}

fn encode_message<'a>(position: usize, message: &'a chat::Message<'a>, loss: &mut Loss) -> Result<Message<'a>, Error> {
    let path = format!("messages[{position}]");
    Ok(match message {
        chat::Message::System(content) => with_content("system", &path, content)?,
        chat::Message::User(content) => with_content("user", &path, content)?,
        chat::Message::Assistant { content, thoughts, tool_calls } => Message {
            thinking: thinking(thoughts),
            tool_calls: tool_calls
                .iter()
                .enumerate()
                .map(|(index, call)| encode_call(call, &format!("{path}.tool_calls[{index}]"), loss))
                .collect(),
            ..with_content("assistant", &path, content)?
        },
        chat::Message::Tool { tool_call_id, name, content, is_error } => {
            if name.is_none() {
                loss.note(format!("{path}.tool_call_id"), "answers no call of this conversation; sent without a name");
            }
            let mut result = with_content("tool", &path, content)?;
            if *is_error {
                result.content.to_mut().insert_str(0, chat::FAILED_TOOL);
            }
            Message {
                tool_name: name.as_deref(),
                tool_call_id: Some(tool_call_id.as_ref()).filter(|id| !id.is_empty()),
                ..result
            }
        }
    })
}

/// Text parts become one text, a line each; images stand beside it.
fn with_content<'a>(role: &'static str, path: &str, content: &'a [Part<'a>]) -> Result<Message<'a>, Error> {
    let mut message = Message { role, ..Message::default() };
    let mut has_text = false;
    for (index, part) in content.iter().enumerate() {
        let text = match part {
            Part::Text(text) => Cow::Borrowed(text.as_ref()),
            Part::Image { url } => {
                message.images.push(image(url, path, index)?);
                continue;
            }
            Part::CacheUntilHere(_) => continue,
            Part::File { .. } => return Err(text_and_images_only(path, index)),
            Part::Other { kind, raw } => Cow::Owned(refusal_text(kind, raw, path, index)?),
        };
        if has_text {
            let joined = message.content.to_mut();
            joined.push('\n');
            joined.push_str(&text);
        } else {
            message.content = text;
        }
        has_text = true;
    }
    Ok(message)
}

/// The base64 of a `data:` URL.
fn image<'a>(url: &'a str, path: &str, index: usize) -> Result<&'a str, Error> {
    let param = || format!("{path}.content[{index}].image_url");
    let Some((head, data)) = url.split_once(',').filter(|(head, _)| starts_with_ignoring_case(head, "data:")) else {
        return Err(Error::at(
            param(),
            Problem::UnsupportedParameter,
            "This model takes images as `data:` URLs only: the gateway fetches nothing on a caller's behalf.",
        ));
    };
    let is_base64 = head.rsplit(';').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("base64"));
    if is_base64 {
        Ok(data.trim())
    } else {
        Err(Error::at(param(), Problem::InvalidValue, "A `data:` URL of an image must be base64-encoded."))
    }
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// A refusal that the assistant gave is text like any other; no other kind of part may be dropped.
fn refusal_text(kind: &str, raw: &RawValue, path: &str, index: usize) -> Result<String, Error> {
    #[derive(serde::Deserialize)]
    struct Refusal {
        refusal: String,
    }
    match serde_json::from_str::<Refusal>(raw.get()) {
        Ok(part) if kind == "refusal" => Ok(part.refusal),
        Ok(_) | Err(_) => Err(text_and_images_only(path, index)),
    }
}

fn text_and_images_only(path: &str, index: usize) -> Error {
    let param = format!("{path}.content[{index}]");
    Error::at(param, Problem::UnsupportedParameter, "This model takes text and images only.")
}

/// Reasoning as one text; signatures mean nothing here.
fn thinking<'a>(thoughts: &'a [chat::Thought<'a>]) -> Option<Cow<'a, str>> {
    let texts: Vec<&str> = thoughts.iter().map(chat::Thought::text).filter(|text| !text.is_empty()).collect();
    match texts.as_slice() {
        [] => None,
        [one] => Some(Cow::Borrowed(one)),
        several => Some(Cow::Owned(several.join("\n"))),
    }
}

fn encode_call<'a>(call: &'a chat::ToolCall<'a>, path: &str, loss: &mut Loss) -> ToolCall<'a> {
    let text = call.arguments.trim();
    let arguments = match serde_json::from_str::<&RawValue>(text) {
        _ if text.is_empty() => Arguments::None {},
        Ok(object) if object.get().starts_with('{') => Arguments::Object(object),
        Ok(_) | Err(_) => {
            loss.note(format!("{path}.function.arguments"), "not a JSON object; sent whole under `_raw`");
            Arguments::Raw { _raw: &call.arguments }
        }
    };
    ToolCall { id: &call.id, function: FunctionCall { name: &call.name, arguments } }
}

/// The tools to offer, where none [must](forced) be called. Ollama has no `tool_choice`: `none` offers none, one
/// function is offered alone.
fn tools<'a>(chat: &'a Chat<'a>, loss: &mut Loss) -> Vec<Tool<'a>> {
    let only = match &chat.tool_choice {
        ToolChoice::None => return Vec::new(),
        ToolChoice::Auto => None,
        ToolChoice::Required => {
            loss.note("tool_choice", "Ollama cannot make a model call one of several tools");
            None
        }
        ToolChoice::Function(name) => {
            loss.note("tool_choice", "the function is offered alone; Ollama cannot make a model call it");
            Some(name)
        }
    };
    let offered = chat.tools.iter().filter(|tool| only.is_none_or(|name| tool.name == *name));
    offered.map(encode_tool).collect()
}

fn encode_tool<'a>(tool: &'a chat::Tool<'a>) -> Tool<'a> {
    let function =
        Function { name: &tool.name, description: tool.description.as_deref(), parameters: parameters(tool) };
    Tool { r#type: "function", function }
}

fn parameters<'a>(tool: &'a chat::Tool<'a>) -> Parameters<'a> {
    tool.parameters.map_or(Parameters::None { r#type: "object", properties: Empty {} }, Parameters::Schema)
}

fn format<'a>(format: &chat::Format<'a>) -> Option<Format<'a>> {
    match format {
        chat::Format::Text => None,
        chat::Format::JsonObject => Some(Format::Word("json")),
        chat::Format::JsonSchema(schema) => Some(Format::Schema(schema)),
    }
}

/// `think` for an effort. Levels go to the gpt-oss models only, which know nothing else; every version of Ollama takes
/// a switch for the other models, and older versions refuse them a level.
fn think(effort: &str, model: &str, loss: &mut Loss) -> Option<Think> {
    let has_levels = model.to_ascii_lowercase().contains("gpt-oss");
    let (think, what) = match (effort, has_levels) {
        ("none", false) => (Think::Switch(false), None),
        ("none" | "minimal", true) => (Think::Level("low"), Some("the model's least effort is `low`")),
        ("low", true) => (Think::Level("low"), None),
        ("medium", true) => (Think::Level("medium"), None),
        ("high", true) => (Think::Level("high"), None),
        ("xhigh" | "max", true) => (Think::Level("high"), Some("the model's greatest effort is `high`")),
        ("minimal", false) => (Think::Switch(false), Some("thinking is on or off with this model; off was sent")),
        ("low" | "medium" | "high" | "xhigh" | "max", false) => {
            (Think::Switch(true), Some("thinking is on or off with this model; on was sent"))
        }
        _ => {
            loss.note("reasoning_effort", "not a known effort; the model's default holds");
            return None;
        }
    };
    if let Some(what) = what {
        loss.note("reasoning_effort", what);
    }
    Some(think)
}

const KEEP_ALIVE: &str = "keep_alive";

fn note_rest(chat: &Chat<'_>, loss: &mut Loss) {
    if chat.parallel_tool_calls == Some(false) {
        loss.note("parallel_tool_calls", "Ollama has no equivalent");
    }
    for kind in &chat.hosted_tools {
        loss.note("tools", format!("`{kind}` is a tool of another vendor's own"));
    }
    for (name, value) in &chat.rest {
        if name != KEEP_ALIVE && !chat::says_nothing(name, value.get()) {
            loss.note(name.as_ref(), "Ollama has no equivalent");
        }
    }
}

#[cfg(test)]
mod tests;
