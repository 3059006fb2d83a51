//! Chat completions, whole and streamed.

use http::StatusCode;
use serde_json::{Value, json};

use crate::conversation::{Answer, Conversation};
use crate::openai::{CREATED, error, ok};
use crate::reply::{Asked, Content, Frames, Reply};

/// The answer to a well-formed chat.
pub(crate) fn answer(asked: &Asked<'_>) -> Reply {
    let conversation = read(asked.body);
    let mut answer = conversation.answer(asked.directive);
    if asked.body["parallel_tool_calls"] == false {
        answer.calls.truncate(1);
    }
    let choices = asked.body["n"].as_u64().unwrap_or(1).min(128);
    let chat = Chat { asked, answer, choices, prompt_tokens: conversation.tokens() };
    if asked.body["stream"] == true { chat.stream() } else { ok(&chat.whole()) }
}

fn read(body: &Value) -> Conversation<'_> {
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let parts = messages.iter().filter_map(|message| message["content"].as_array()).flatten();
    let choice = &body["tool_choice"];
    let named = choice["function"]["name"].as_str();
    let tools = body["tools"].as_array().into_iter().flatten();
    let format = &body["response_format"];
    Conversation {
        messages,
        tools: tools.filter(|tool| named.is_none_or(|name| tool["function"]["name"] == name)).collect(),
        must_call: choice == "required" || named.is_some(),
        schema: match format["type"].as_str() {
            Some("json_schema") => Some(format["json_schema"]["schema"].clone()),
            Some("json_object") => Some(json!({})),
            _ => None,
        },
        images: parts.filter_map(|part| part["image_url"]["url"].as_str()).map(media_type).collect(),
    }
}

/// A data URL's media type; `url` for other URLs.
fn media_type(url: &str) -> String {
    let data = url.strip_prefix("data:").and_then(|rest| rest.split_once(';'));
    data.map_or_else(|| "url".to_owned(), |(kind, _)| kind.to_owned())
}

struct Chat<'a> {
    asked: &'a Asked<'a>,
    answer: Answer,
    choices: u64,
    prompt_tokens: usize,
}

impl Chat<'_> {
    fn whole(&self) -> Value {
        let mut message = json!({"role": "assistant", "content": self.answer.text(), "refusal": null});
        if !self.answer.reasoning.is_empty() {
            message["reasoning_content"] = json!(self.answer.reasoning_text());
        }
        let finish = self.finish();
        let choice = |index: u64| {
            let mut message = message.clone();
            if !self.answer.calls.is_empty() {
                message["content"] = Value::Null;
                message["tool_calls"] = (0..self.answer.calls.len()).map(|call| self.call(index, call)).collect();
            }
            message["annotations"] = json!([]);
            json!({"index": index, "message": message, "logprobs": null, "finish_reason": finish})
        };
        let directive = self.asked.directive;
        let choices = if directive.empty_choices { 0 } else { self.choices };
        let mut whole = self.envelope("chat.completion");
        whole["choices"] = (0..choices).map(choice).collect();
        if directive.null_message {
            whole["choices"][0]["message"] = Value::Null;
        }
        if directive.no_choices {
            whole.as_object_mut().map(|whole| whole.remove("choices"));
        }
        if !directive.no_usage {
            whole["usage"] = self.usage(self.answer.tokens());
        }
        whole["service_tier"] = json!("default");
        whole["system_fingerprint"] = json!(FINGERPRINT);
        whole
    }

    fn stream(&self) -> Reply {
        let directive = self.asked.directive;
        let first = if self.answer.calls.is_empty() { json!("") } else { Value::Null };
        let role = json!({"role": "assistant", "content": first, "refusal": null});
        let deltas = if directive.empty_choices { Vec::new() } else { self.deltas() };
        let content = deltas
            .iter()
            .enumerate()
            .map(|(place, (index, delta))| self.chunk(json!([choice(*index, delta, Value::Null)]), place + 1));
        let mut frames = Frames {
            comment: ": keep-alive\n\n".to_owned(),
            content: content.collect(),
            broken: format!("data: {{\"id\":\"{}\",\"choices\":[{{\"index\":0,\"delta\":{{\"cont\n\n", self.id()),
            error: frame(&error::inside(self.asked)),
            ..Frames::default()
        };
        if directive.empty_choices {
            frames.after.push(self.chunk(json!([]), 0));
        } else {
            frames.before =
                (0..self.choices).map(|index| self.chunk(json!([choice(index, &role, Value::Null)]), 0)).collect();
            if !directive.no_finish {
                let finish =
                    |index| self.chunk(json!([choice(index, &json!({}), self.finish())]), self.answer.tokens());
                frames.after.extend((0..self.choices).map(finish));
            }
        }
        if self.includes_usage() {
            let mut chunk = self.bare_chunk(json!([]));
            chunk["usage"] = self.usage(self.answer.tokens());
            frames.after.push(frame(&chunk));
        }
        if !directive.no_done {
            frames.after.push("data: [DONE]\n\n".to_owned());
        }
        Reply {
            status: StatusCode::OK,
            content_type: "text/event-stream; charset=utf-8",
            content: Content::Stream(frames),
        }
    }

    /// Every piece of every choice, in the order of a stream.
    fn deltas(&self) -> Vec<(u64, Value)> {
        let reasoning = self.answer.reasoning.iter().map(|piece| json!({"reasoning_content": piece}));
        let text = self.answer.pieces.iter().map(|piece| json!({"content": piece}));
        let texts: Vec<Value> = reasoning.chain(text).collect();
        let each = |delta: &Value| (0..self.choices).map(|index| (index, delta.clone())).collect::<Vec<_>>();
        let mut deltas: Vec<(u64, Value)> = texts.iter().flat_map(each).collect();
        for index in 0..self.choices {
            deltas.extend(
                (0..self.answer.calls.len()).flat_map(|call| self.call_deltas(index, call)).map(|delta| (index, delta)),
            );
        }
        deltas
    }

    /// Id and name come first, without arguments; then the arguments in pieces.
    fn call_deltas(&self, choice: u64, call: usize) -> Vec<Value> {
        let mut first = json!({"index": call});
        let mut whole = self.call(choice, call);
        let arguments = whole["function"]["arguments"].take();
        for name in ["id", "type", "function"] {
            first[name] = whole[name].take();
        }
        first["function"]["arguments"] = json!("");
        let pieces = arguments.as_str().unwrap_or_default().split_inclusive(':');
        let pieces = pieces.map(|piece| json!({"index": call, "function": {"arguments": piece}}));
        [first].into_iter().chain(pieces).map(|call| json!({"tool_calls": [call]})).collect()
    }

    fn call(&self, choice: u64, place: usize) -> Value {
        let id = format!("call_{:06}{choice:03}{place:03}", self.asked.number);
        let call = self.answer.calls.get(place).map(|call| (&call.name, call.arguments.to_string()));
        let (name, arguments) = call.unzip();
        json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
    }

    /// A chunk after which so many tokens were written.
    fn chunk(&self, choices: Value, tokens: usize) -> String {
        let mut chunk = self.bare_chunk(choices);
        if self.asked.directive.usage_every_chunk {
            chunk["usage"] = self.usage(tokens);
        } else if self.includes_usage() {
            chunk["usage"] = Value::Null;
        }
        frame(&chunk)
    }

    fn bare_chunk(&self, choices: Value) -> Value {
        let mut chunk = self.envelope("chat.completion.chunk");
        chunk["service_tier"] = json!("default");
        chunk["system_fingerprint"] = json!(FINGERPRINT);
        chunk["choices"] = choices;
        chunk
    }

    fn envelope(&self, object: &str) -> Value {
        json!({"id": self.id(), "object": object, "created": CREATED, "model": snapshot(self.asked.model())})
    }

    fn id(&self) -> String {
        format!("chatcmpl-Imitation{:08}", self.asked.number)
    }

    fn includes_usage(&self) -> bool {
        self.asked.body["stream_options"]["include_usage"] == true && !self.asked.directive.no_usage
    }

    fn usage(&self, completion_tokens: usize) -> Value {
        let absurd = if self.asked.directive.absurd_usage { 1_000_000 } else { 0 };
        let completion_tokens = completion_tokens + absurd;
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": self.answer.reasoning.len(),
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        })
    }

    fn finish(&self) -> Value {
        if let Some(reason) = &self.asked.directive.stop {
            return json!(reason);
        }
        match (self.asked.directive.no_finish, self.answer.calls.is_empty()) {
            (true, _) => Value::Null,
            (false, true) => json!("stop"),
            (false, false) => json!("tool_calls"),
        }
    }
}

fn choice(index: u64, delta: &Value, finish: Value) -> Value {
    json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": finish})
}

fn frame(payload: &Value) -> String {
    format!("data: {payload}\n\n")
}

/// The dated name under which an alias answers.
fn snapshot(model: &str) -> &str {
    match model {
        "gpt-4o-mini" => "gpt-4o-mini-2024-07-18",
        "gpt-4o" => "gpt-4o-2024-08-06",
        other => other,
    }
}

const FINGERPRINT: &str = "fp_0123456789";
