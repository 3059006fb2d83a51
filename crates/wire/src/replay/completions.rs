//! The older completions: one chunk of text a choice, one with its end.

use serde_json::{Map, Value, json};

use super::chunks::Form;
use super::openai::counts_of;
use super::{Ending, payloads};
use crate::usage::Usage;

pub(super) const FORM: Form = Form {
    object: r#""text_completion""#,
    said: "text",
    nothing: r#""""#,
    content: |choice| Some(choice.text?.get().into()),
};

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
