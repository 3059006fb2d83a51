//! The older completions: one chunk of text a choice, one with its end.

use serde_json::{Map, Value, json};

use super::openai::counts_of;
use super::{Ending, data, last, payloads, taken};
use crate::types::{BadAnswer, Piece};
use crate::usage::Usage;

pub(super) fn pieces(mut answer: Map<String, Value>, include_usage: bool) -> Result<Vec<Piece>, BadAnswer> {
    let choices = taken(&mut answer, "choices")?;
    let usage = answer.remove("usage").filter(|usage| include_usage && !usage.is_null());
    let chunk = |choices: Value| {
        let mut chunk = answer.clone();
        chunk.insert("choices".to_owned(), choices);
        chunk
    };
    let mut pieces = Vec::with_capacity(choices.len().saturating_mul(2).saturating_add(2));
    let mut ends = Vec::with_capacity(choices.len());
    for choice in choices {
        let (index, reason) = (&choice["index"], &choice["finish_reason"]);
        let text =
            json!([{"text": choice["text"], "index": index, "logprobs": choice["logprobs"], "finish_reason": null}]);
        pieces.push(data(&Value::Object(chunk(text))));
        let end = json!([{"text": "", "index": index, "logprobs": null, "finish_reason": reason}]);
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

pub(super) fn whole(stream: &[u8], usage: &Usage) -> Option<Value> {
    let mut answer: Option<Map<String, Value>> = None;
    let (mut text, mut reason, mut told) = (String::new(), None, None);
    for mut chunk in payloads(stream)? {
        let choices = chunk.remove("choices");
        told = chunk.remove("usage").filter(|counts| !counts.is_null()).or(told);
        for choice in choices.as_ref().and_then(Value::as_array).into_iter().flatten() {
            if choice["index"].as_u64().unwrap_or(0) != 0 || !choice["logprobs"].is_null() {
                return None;
            }
            text.push_str(choice["text"].as_str().unwrap_or_default());
            reason = choice["finish_reason"].as_str().map(str::to_owned).or(reason);
        }
        chunk.remove("x-gateway");
        answer.get_or_insert(chunk);
    }
    let mut answer = answer?;
    let choice = json!([{"text": text, "index": 0, "logprobs": null, "finish_reason": reason?}]);
    answer.insert("choices".to_owned(), choice);
    let counts = || Some(usage).filter(|usage| !usage.is_unknown()).and_then(counts_of);
    if let Some(counts) = told.or_else(counts) {
        answer.insert("usage".to_owned(), counts);
    }
    Some(Value::Object(answer))
}

pub(super) fn ending(body: &[u8]) -> Option<Ending> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let choices = answer["choices"].as_array().filter(|choices| !choices.is_empty())?;
    let is_good = |choice: &Value| {
        choice["finish_reason"] == "stop" && choice["text"].as_str().is_some_and(|text| !text.trim().is_empty())
    };
    choices.iter().all(is_good).then_some(Ending::Stop)
}

pub(super) fn text(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    answer["choices"][0]["text"].as_str().map(str::to_owned)
}
