//! Answers in OpenAI's form: whole, or as the events of a stream.

use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::Answer;
use super::models::Model;
use crate::clock;

/// One event of a stream.
#[derive(Debug)]
pub(crate) struct Event {
    /// It carries content, so it comes at the model's pace.
    pub(crate) is_content: bool,
    /// The event with its blank line.
    pub(crate) bytes: Bytes,
}

/// The whole answer as one object.
pub(crate) fn whole(model: &Model, answer: &Answer) -> Bytes {
    let content = answer.pieces.concat();
    let message = match &answer.called {
        None => json!({"role": "assistant", "content": content, "refusal": null}),
        Some(name) => {
            let call = json!({"id": call_id(answer), "type": "function",
                "function": {"name": name, "arguments": content}});
            json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": [call]})
        }
    };
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": answer.finish_reason});
    let object = json!({"id": completion_id(answer), "object": "chat.completion", "created": clock::unix_seconds(),
        "model": model.id, "system_fingerprint": "simulated", "choices": [choice], "usage": usage(answer)});
    Bytes::from(object.to_string())
}

/// The events of the answer's stream: role, content, finish, usage if wanted, end.
pub(crate) fn events(model: &'static Model, answer: Answer, wants_usage: bool) -> impl Iterator<Item = Event> + Send {
    let base = json!({"id": completion_id(&answer), "object": "chat.completion.chunk",
        "created": clock::unix_seconds(), "model": model.id, "system_fingerprint": "simulated"});
    let chunk = move |choices: Value, usage: Value| {
        let mut chunk = base.clone();
        chunk["choices"] = choices;
        if wants_usage {
            chunk["usage"] = usage;
        }
        event(&chunk.to_string())
    };
    let step = move |delta: Value, finish_reason: Option<&str>| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}]);
    let first = chunk(step(opening(&answer), None), Value::Null);
    let last = chunk(step(json!({}), Some(answer.finish_reason)), Value::Null);
    let total = wants_usage.then(|| chunk(json!([]), usage(&answer)));
    let is_call = answer.called.is_some();
    let content = answer.pieces.into_iter().map(move |piece| {
        let delta = if is_call {
            json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        } else {
            json!({"content": piece})
        };
        Event { is_content: true, bytes: chunk(step(delta, None), Value::Null) }
    });
    let plain = |bytes: Bytes| Event { is_content: false, bytes };
    let end = [last].into_iter().chain(total).chain([event("[DONE]")]);
    [first].into_iter().map(plain).chain(content).chain(end.map(plain))
}

fn opening(answer: &Answer) -> Value {
    match &answer.called {
        None => json!({"role": "assistant", "content": "", "refusal": null}),
        Some(name) => {
            let call = json!({"index": 0, "id": call_id(answer), "type": "function",
                "function": {"name": name, "arguments": ""}});
            json!({"role": "assistant", "content": null, "tool_calls": [call], "refusal": null})
        }
    }
}

fn usage(answer: &Answer) -> Value {
    let (prompt, completion) = (answer.prompt_tokens, answer.pieces.len());
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}})
}

fn completion_id(answer: &Answer) -> String {
    format!("chatcmpl-sim{}", answer.id)
}

fn call_id(answer: &Answer) -> String {
    format!("call_sim{}", answer.id)
}

fn event(data: &str) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}
