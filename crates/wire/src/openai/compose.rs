//! A canonical chat as the body of `/chat/completions`: for a client of another dialect.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::encode::to_json;
use crate::chat::{self, Chat, Format, Message, Part, Tool, ToolCall, ToolChoice};
use crate::loss::Loss;
use crate::{Quirk, Target};

/// The body. What the dialect has no way to say is noted in `loss`.
pub(crate) fn compose(chat: &Chat<'_>, target: &Target<'_>, stream: bool, loss: &mut Loss) -> Vec<u8> {
    let has = |quirk| target.quirks.contains(&quirk);
    let (max_tokens, max_completion_tokens) =
        if has(Quirk::MaxTokensOnly) { (chat.max_tokens, None) } else { (None, chat.max_tokens) };
    note_losses(chat, loss);
    let messages =
        chat.messages.iter().enumerate().flat_map(|(position, message)| self::messages(position, message, loss));
    let request = Request {
        model: target.model,
        messages: messages.collect(),
        stream,
        stream_options: (stream && !has(Quirk::NoStreamOptions)).then_some(StreamOptions { include_usage: true }),
        max_tokens,
        max_completion_tokens,
        temperature: chat.temperature,
        top_p: chat.top_p,
        stop: &chat.stop,
        reasoning_effort: effort(chat),
        tools: chat.tools.iter().map(tool).collect(),
        tool_choice: if chat.tools.is_empty() { None } else { tool_choice(&chat.tool_choice) },
        parallel_tool_calls: chat.parallel_tool_calls.filter(|_| !chat.tools.is_empty()),
        response_format: response_format(&chat.format),
        user: chat.user.as_deref(),
    };
    to_json(&request)
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Function<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Schema<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Function<'a> {
    r#type: &'static str,
    function: FunctionBody<'a>,
}

#[derive(Serialize)]
struct FunctionBody<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Schema<'a> {
    JsonObject,
    JsonSchema { json_schema: NamedSchema<'a> },
}

#[derive(Serialize)]
struct NamedSchema<'a> {
    name: &'static str,
    strict: bool,
    schema: &'a RawValue,
}

fn tool<'a>(tool: &'a Tool<'a>) -> Function<'a> {
    let Tool { name, description, parameters, strict, cache_control: _ } = tool;
    let function = FunctionBody { name, description: description.as_deref(), parameters: *parameters, strict: *strict };
    Function { r#type: "function", function }
}

fn tool_choice(choice: &ToolChoice<'_>) -> Option<Value> {
    match choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(json!("none")),
        ToolChoice::Required => Some(json!("required")),
        ToolChoice::Function(name) => Some(json!({"type": "function", "function": {"name": name}})),
    }
}

fn response_format<'a>(format: &Format<'a>) -> Option<Schema<'a>> {
    match format {
        Format::Text => None,
        Format::JsonObject => Some(Schema::JsonObject),
        Format::JsonSchema(schema) => {
            Some(Schema::JsonSchema { json_schema: NamedSchema { name: "answer", strict: true, schema } })
        }
    }
}

/// The effort, or the one that a budget of thinking tokens comes nearest to.
fn effort<'a>(chat: &'a Chat<'a>) -> Option<Cow<'a, str>> {
    let of_budget = |tokens: u64| match tokens {
        0..=2_048 => "low",
        2_049..=8_192 => "medium",
        _ => "high",
    };
    chat.reasoning_effort.as_deref().or(chat.thinking_budget.map(of_budget)).map(Cow::Borrowed)
}

/// A message, and behind a tool's result the pictures in it: a `tool` message is text.
fn messages(position: usize, message: &Message<'_>, loss: &mut Loss) -> Vec<Value> {
    let path = format!("messages[{position}]");
    match message {
        Message::System(content) => vec![json!({"role": "system", "content": self::content(content, &path, loss)})],
        Message::User(content) => vec![json!({"role": "user", "content": self::content(content, &path, loss)})],
        Message::Assistant { content, thoughts, tool_calls } => {
            let mut message = json!({"role": "assistant", "content": Value::Null});
            let content = self::content(content, &path, loss);
            if content != json!("") || tool_calls.is_empty() {
                message["content"] = content;
            }
            if !tool_calls.is_empty() {
                message["tool_calls"] = tool_calls.iter().map(call).collect();
            }
            if !thoughts.is_empty() {
                loss.note(&path, "reasoning of another model; left out");
            }
            vec![message]
        }
        Message::Tool { tool_call_id, content, is_error, name: _ } => {
            let (text, others): (Vec<&Part<'_>>, Vec<&Part<'_>>) =
                content.iter().partition(|part| matches!(part, Part::Text(_) | Part::CacheUntilHere(_)));
            let mut text: String =
                text.iter().map(|part| if let Part::Text(text) = part { text } else { "" }).collect();
            if *is_error {
                text.insert_str(0, chat::FAILED_TOOL);
            }
            let result = json!({"role": "tool", "tool_call_id": tool_call_id, "content": text});
            let parts: Vec<Value> = others.iter().filter_map(|part| self::part(part, &path, loss)).collect();
            if parts.is_empty() {
                return vec![result];
            }
            loss.note(&path, "what is no text in a tool's result was sent as a message of the user's");
            vec![result, json!({"role": "user", "content": parts})]
        }
    }
}

fn call(call: &ToolCall<'_>) -> Value {
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
}

/// Content as one string where it is text alone.
fn content(parts: &[Part<'_>], path: &str, loss: &mut Loss) -> Value {
    let is_text = |part: &Part<'_>| matches!(part, Part::Text(_) | Part::CacheUntilHere(_));
    if parts.iter().all(is_text) && parts.iter().filter(|part| matches!(part, Part::Text(_))).count() < 2 {
        return match parts.first() {
            Some(Part::Text(text)) => json!(text),
            _ => json!(""),
        };
    }
    parts.iter().filter_map(|part| self::part(part, path, loss)).collect()
}

fn part(part: &Part<'_>, path: &str, loss: &mut Loss) -> Option<Value> {
    match part {
        Part::Text(text) => Some(json!({"type": "text", "text": text})),
        Part::Image { url } => Some(json!({"type": "image_url", "image_url": {"url": url}})),
        Part::File { url, name } if url.starts_with("data:text/plain") => {
            let text = chat::text_of_data_url(url)?;
            let head = name.as_deref().map(|name| format!("{name}:\n")).unwrap_or_default();
            Some(json!({"type": "text", "text": head + &text}))
        }
        Part::File { url, name } if url.starts_with("data:") => {
            let name = name.as_deref().unwrap_or("document.pdf");
            Some(json!({"type": "file", "file": {"filename": name, "file_data": url}}))
        }
        Part::File { .. } => {
            loss.note(path, "a document by URL; left out, because the gateway fetches nothing on a caller's behalf");
            None
        }
        Part::CacheUntilHere(_) => None,
        Part::Other { kind, .. } => {
            loss.note(path, format!("a part of type `{kind}`; left out"));
            None
        }
    }
}

fn note_losses(chat: &Chat<'_>, loss: &mut Loss) {
    if chat.top_k.is_some() {
        loss.note("top_k", "OpenAI's API has no equivalent");
    }
    for kind in &chat.hosted_tools {
        loss.note("tools", format!("`{kind}` is a tool of another vendor's own"));
    }
    for (name, _) in &chat.rest {
        loss.note(name.as_ref(), "OpenAI's API has no equivalent");
    }
}
