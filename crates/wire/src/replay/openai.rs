//! Chat completions: one chunk with all of a choice's message, one with its end.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Ending, data, last, payloads, taken};
use crate::event::Finish;
use crate::lenient::Lenient;
use crate::openai::encode::Counts;
use crate::types::{BadAnswer, Piece};
use crate::usage::Usage;

/// Tool calls that are put together from one stream.
const MAX_CALLS: usize = 256;

pub(super) fn pieces(mut answer: Map<String, Value>, include_usage: bool) -> Result<Vec<Piece>, BadAnswer> {
    let choices = taken(&mut answer, "choices")?;
    let usage = answer.remove("usage").filter(|usage| include_usage && !usage.is_null());
    answer.insert("object".to_owned(), "chat.completion.chunk".into());
    let chunk = |choices: Value| {
        let mut chunk = answer.clone();
        chunk.insert("choices".to_owned(), choices);
        chunk
    };
    let mut pieces = Vec::with_capacity(choices.len().saturating_mul(2).saturating_add(2));
    let mut ends = Vec::with_capacity(choices.len());
    for choice in choices {
        let Value::Object(mut choice) = choice else { return Err(BadAnswer::NoChoices) };
        let Some(Value::Object(mut delta)) = choice.remove("message") else { return Err(BadAnswer::NoChoices) };
        number_calls(&mut delta);
        let index = choice.get("index").cloned().unwrap_or_else(|| 0.into());
        let logprobs = choice.remove("logprobs").unwrap_or_default();
        let reason = choice.remove("finish_reason").unwrap_or_default();
        pieces.push(data(&Value::Object(chunk(
            json!([{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": null}]),
        ))));
        let end = json!([{"index": index, "delta": {}, "logprobs": null, "finish_reason": reason}]);
        ends.push(Value::Object(chunk(end)));
    }
    if let Some(usage) = usage {
        let mut counts = chunk(json!([]));
        counts.insert("usage".to_owned(), usage);
        ends.push(Value::Object(counts));
    }
    let end = ends.pop().ok_or(BadAnswer::NoChoices)?;
    pieces.extend(ends.iter().map(data));
    pieces.extend([last(&end), Piece::Done]);
    Ok(pieces)
}

/// In a stream every call has its number.
fn number_calls(delta: &mut Map<String, Value>) {
    let Some(Value::Array(calls)) = delta.get_mut("tool_calls") else { return };
    for (index, call) in calls.iter_mut().enumerate() {
        if let Value::Object(call) = call {
            call.insert("index".to_owned(), index.into());
        }
    }
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
