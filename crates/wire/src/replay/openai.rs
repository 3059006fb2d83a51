//! Chat completions: one chunk with all of a choice's message, one with its end.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::chunks::{Choice, Form};
use super::{Ending, payloads};
use crate::event::Finish;
use crate::lenient::Lenient;
use crate::openai::encode::Counts;
use crate::usage::Usage;

/// Tool calls that are put together from one stream.
const MAX_CALLS: usize = 256;

pub(super) const FORM: Form =
    Form { object: r#""chat.completion.chunk""#, said: "delta", nothing: "{}", content: delta };

/// The message; in a stream every call has its number.
fn delta<'a>(choice: &Choice<'a>) -> Option<Cow<'a, str>> {
    let message = choice.message?.get();
    if !message.contains("tool_calls") {
        return message.starts_with('{').then_some(message.into());
    }
    let mut delta: Map<String, Value> = serde_json::from_str(message).ok()?;
    for (index, call) in delta.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten().enumerate() {
        if let Value::Object(call) = call {
            call.insert("index".to_owned(), index.into());
        }
    }
    serde_json::to_string(&delta).ok().map(Cow::from)
}

pub(super) fn whole(stream: &[u8], usage: &Usage) -> Option<Value> {
    let mut answer: Option<Map<String, Value>> = None;
    let (mut message, mut reason, mut told) = (Map::new(), None, None);
    let mut calls: Vec<Map<String, Value>> = Vec::new();
    message.insert("role".to_owned(), "assistant".into());
    message.insert("content".to_owned(), Value::Null);
    for mut chunk in payloads(stream)? {
        let choices = chunk.remove("choices");
        if let Some(counts) = chunk.remove("usage").filter(|counts| !counts.is_null()) {
            told = Some(counts);
        }
        if answer.is_none() && chunk.get("id").is_some_and(Value::is_string) {
            chunk.remove("x-gateway");
            chunk.insert("object".to_owned(), "chat.completion".into());
            answer = Some(chunk);
        }
        for choice in choices.as_ref().and_then(Value::as_array).into_iter().flatten() {
            if choice["index"].as_u64().unwrap_or(0) != 0 || !choice["logprobs"].is_null() {
                return None;
            }
            for (name, value) in choice["delta"].as_object().into_iter().flatten() {
                add(&mut message, &mut calls, name, value)?;
            }
            reason = choice["finish_reason"].as_str().map(str::to_owned).or(reason);
        }
    }
    if !calls.is_empty() {
        message.insert("tool_calls".to_owned(), calls.into_iter().map(Value::Object).collect());
    }
    let mut answer = answer?;
    answer.insert(
        "choices".to_owned(),
        json!([{"index": 0, "message": message, "logprobs": null, "finish_reason": reason?}]),
    );
    let counts = || Some(usage).filter(|usage| !usage.is_unknown()).and_then(counts_of);
    if let Some(counts) = told.or_else(counts) {
        answer.insert("usage".to_owned(), counts);
    }
    Some(Value::Object(answer))
}

pub(super) fn counts_of(usage: &Usage) -> Option<Value> {
    serde_json::to_value(Counts::from(usage)).ok()
}

/// Adds what one delta says under `name`.
fn add(message: &mut Map<String, Value>, calls: &mut Vec<Map<String, Value>>, name: &str, value: &Value) -> Option<()> {
    match (name, value) {
        (_, Value::Null) | ("role", _) => {}
        ("content" | "refusal" | "reasoning_content" | "reasoning", Value::String(text)) => {
            push_text(message, name, text);
        }
        ("annotations", Value::Array(items)) => match message.get_mut(name) {
            Some(Value::Array(held)) => held.extend(items.iter().cloned()),
            Some(_) | None => drop(message.insert(name.to_owned(), value.clone())),
        },
        ("tool_calls", Value::Array(pieces)) => pieces.iter().try_for_each(|piece| add_call(calls, piece))?,
        (_, _) => return None,
    }
    Some(())
}

fn push_text(object: &mut Map<String, Value>, name: &str, more: &str) {
    match object.get_mut(name) {
        Some(Value::String(text)) => text.push_str(more),
        Some(_) | None => drop(object.insert(name.to_owned(), more.into())),
    }
}

/// A piece of a call: its head once, its arguments bit by bit.
fn add_call(calls: &mut Vec<Map<String, Value>>, piece: &Value) -> Option<()> {
    let index = usize::try_from(piece["index"].as_u64()?).ok().filter(|index| *index < MAX_CALLS)?;
    if index == calls.len() {
        let call = json!({"id": piece["id"].as_str()?, "type": "function",
            "function": {"name": piece["function"]["name"].as_str()?, "arguments": ""}});
        calls.push(call.as_object()?.clone());
    }
    if let Some(more) = piece["function"]["arguments"].as_str() {
        push_text(calls.get_mut(index)?.get_mut("function")?.as_object_mut()?, "arguments", more);
    }
    Some(())
}

#[derive(Deserialize)]
struct AnswerBody<'a> {
    #[serde(borrow)]
    choices: Vec<ChoiceBody<'a>>,
}

#[derive(Deserialize)]
struct ChoiceBody<'a> {
    #[serde(borrow)]
    message: Said<'a>,
    #[serde(default)]
    finish_reason: Lenient<String>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(default)]
    content: Lenient<String>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
}

pub(super) fn ending(body: &[u8]) -> Option<Ending> {
    let answer: AnswerBody<'_> = serde_json::from_slice(body).ok()?;
    let mut ending = None;
    for choice in &answer.choices {
        let said = &choice.message;
        let is_said = |raw: &Option<&RawValue>| raw.is_some_and(|raw| !matches!(raw.get(), "null" | "[]"));
        let reason = Finish::parse(choice.finish_reason.0.as_deref()?);
        let is_empty = said.content.0.as_deref().is_none_or(|text| text.trim().is_empty());
        if is_said(&said.refusal) {
            return None;
        }
        ending = match (reason, is_said(&said.tool_calls), is_empty) {
            (Finish::Stop | Finish::ToolCalls, true, _) => Some(Ending::ToolCalls),
            (Finish::Stop, false, false) => ending.or(Some(Ending::Stop)),
            _ => return None,
        };
    }
    ending
}

pub(super) fn text(body: &[u8]) -> Option<String> {
    let answer: AnswerBody<'_> = serde_json::from_slice(body).ok()?;
    answer.choices.into_iter().next()?.message.content.0
}
