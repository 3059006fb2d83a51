//! Messages, whole and streamed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use super::{error, ok};
use crate::conversation::{Answer, Conversation};
use crate::reply::{Asked, Content, Frames, Reply};

/// The answer to a well-formed request.
pub(super) fn answer(asked: &Asked<'_>) -> Reply {
    let message = Message::to(asked);
    if asked.body["stream"] == true { message.stream() } else { ok(&message.whole()) }
}

/// Tokens of a prompt.
pub(super) fn input_tokens(body: &Value) -> usize {
    let turns = turns(body);
    conversation(body, &turns, &[]).tokens()
}

/// What proves a block of reasoning: this imitation takes no other.
pub(super) fn signature(text: &str) -> String {
    STANDARD.encode(format!("signed:{}:{}", text.len(), text.bytes().map(usize::from).sum::<usize>()))
}

/// The conversation in the roles that every vendor's answer is worked out from.
fn turns(body: &Value) -> Vec<Value> {
    let mut turns = Vec::new();
    match &body["system"] {
        Value::Null => {}
        system => turns.push(json!({"role": "system", "content": system})),
    }
    for message in body["messages"].as_array().into_iter().flatten() {
        let blocks = message["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        let results = blocks.iter().filter(|block| block["type"] == "tool_result");
        turns.extend(results.map(|block| json!({"role": "tool", "content": block["content"]})));
        let others: Vec<&Value> = blocks.iter().filter(|block| block["type"] != "tool_result").collect();
        if message["content"].is_string() {
            turns.push(message.clone());
        } else if !others.is_empty() {
            turns.push(json!({"role": message["role"], "content": others}));
        }
    }
    turns
}

fn conversation<'a>(body: &'a Value, turns: &'a [Value], tools: &'a [Value]) -> Conversation<'a> {
    let parts = turns.iter().filter_map(|turn| turn["content"].as_array()).flatten();
    let images = parts.filter(|part| part["type"] == "image");
    let kind = |part: &Value| part["source"]["media_type"].as_str().unwrap_or("url").to_owned();
    let format = &body["output_config"]["format"];
    Conversation {
        messages: turns,
        tools: tools.iter().collect(),
        must_call: matches!(body["tool_choice"]["type"].as_str(), Some("any" | "tool")),
        schema: (format["type"] == "json_schema").then(|| format["schema"].clone()),
        images: images.map(kind).collect(),
    }
}

struct Message<'a> {
    asked: &'a Asked<'a>,
    answer: Answer,
    input_tokens: usize,
}

impl<'a> Message<'a> {
    fn to(asked: &'a Asked<'a>) -> Message<'a> {
        let body = asked.body;
        let named = body["tool_choice"]["name"].as_str();
        let offered = body["tools"].as_array().into_iter().flatten();
        let offered = offered.filter(|tool| named.is_none_or(|name| tool["name"] == name));
        let as_function = |tool: &Value| json!({"type": "function", "function": {"name": tool["name"], "parameters": tool["input_schema"]}});
        let tools: Vec<Value> = offered.map(as_function).collect();
        let turns = turns(body);
        let conversation = conversation(body, &turns, &tools);
        let mut directive = asked.directive.clone();
        directive.reasoning |= matches!(body["thinking"]["type"].as_str(), Some("enabled" | "adaptive"));
        let mut answer = conversation.answer(&directive);
        if body["tool_choice"]["disable_parallel_tool_use"] == true {
            answer.calls.truncate(1);
        }
        Message { asked, answer, input_tokens: conversation.tokens() }
    }

    fn whole(&self) -> Value {
        let mut message = self.envelope();
        message["content"] = self
            .blocks()
            .into_iter()
            .map(|(mut block, deltas)| {
                for delta in deltas {
                    fold(&mut block, &delta);
                }
                block
            })
            .collect();
        message["stop_reason"] = self.stop_reason();
        message["usage"] = self.usage(self.answer.tokens());
        let directive = self.asked.directive;
        if directive.no_usage {
            message.as_object_mut().map(|message| message.remove("usage"));
        }
        if directive.no_choices || directive.empty_choices || directive.null_message {
            message["content"] = Value::Null;
        }
        message
    }

    fn stream(&self) -> Reply {
        let directive = self.asked.directive;
        let mut start = self.envelope();
        start["usage"] = self.usage(1);
        if directive.no_usage {
            start.as_object_mut().map(|start| start.remove("usage"));
        }
        let mut frames = Frames {
            comment: frame(&json!({"type": "ping"})),
            before: vec![frame(&json!({"type": "message_start", "message": start})), frame(&json!({"type": "ping"}))],
            broken: "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"del\n\n"
                .to_owned(),
            error: frame(&error::inside(self.asked)),
            ..Frames::default()
        };
        let blocks = if directive.empty_choices { Vec::new() } else { self.blocks() };
        for (index, (block, deltas)) in blocks.into_iter().enumerate() {
            let begin = frame(&json!({"type": "content_block_start", "index": index, "content_block": block}));
            let mut pieces: Vec<String> = deltas
                .into_iter()
                .map(|delta| frame(&json!({"type": "content_block_delta", "index": index, "delta": delta})))
                .collect();
            let end = frame(&json!({"type": "content_block_stop", "index": index}));
            match (pieces.first_mut(), index) {
                (Some(first), _) => *first = begin + first,
                (None, _) => pieces.push(begin),
            }
            if let Some(last) = pieces.last_mut() {
                last.push_str(&end);
            }
            frames.content.extend(pieces);
        }
        if !directive.no_finish {
            let mut delta = json!({"type": "message_delta",
                "delta": {"stop_reason": self.stop_reason(), "stop_sequence": null}});
            if !directive.no_usage {
                delta["usage"] = json!({"output_tokens": self.output_tokens()});
            }
            frames.after.push(frame(&delta));
        }
        if !directive.no_done {
            frames.after.push(frame(&json!({"type": "message_stop"})));
        }
        Reply {
            status: StatusCode::OK,
            content_type: "text/event-stream; charset=utf-8",
            content: Content::Stream(frames),
        }
    }

    /// Every block as it begins, and what is added to it.
    fn blocks(&self) -> Vec<(Value, Vec<Value>)> {
        let mut blocks = Vec::new();
        if !self.answer.reasoning.is_empty() {
            let text = self.answer.reasoning_text();
            let pieces = self.answer.reasoning.iter().map(|piece| json!({"type": "thinking_delta", "thinking": piece}));
            let proof = json!({"type": "signature_delta", "signature": signature(&text)});
            blocks
                .push((json!({"type": "thinking", "thinking": "", "signature": ""}), pieces.chain([proof]).collect()));
        }
        if !self.answer.pieces.is_empty() {
            let pieces = self.answer.pieces.iter().map(|piece| json!({"type": "text_delta", "text": piece}));
            blocks.push((json!({"type": "text", "text": ""}), pieces.collect()));
        }
        for (place, call) in self.answer.calls.iter().enumerate() {
            let id = format!("toolu_{:06}{place:03}", self.asked.number);
            let text = call.arguments.to_string();
            let pieces = [""].into_iter().chain(text.split_inclusive(':'));
            let pieces = pieces.map(|piece| json!({"type": "input_json_delta", "partial_json": piece}));
            blocks.push((json!({"type": "tool_use", "id": id, "name": call.name, "input": {}}), pieces.collect()));
        }
        blocks
    }

    fn envelope(&self) -> Value {
        json!({
            "id": format!("msg_Imitation{:08}", self.asked.number), "type": "message", "role": "assistant",
            "model": self.asked.model(), "content": [], "stop_reason": null, "stop_sequence": null, "usage": null,
        })
    }

    fn stop_reason(&self) -> Value {
        match (&self.asked.directive.stop, self.answer.calls.is_empty()) {
            (Some(reason), _) => json!(reason),
            (None, true) => json!("end_turn"),
            (None, false) => json!("tool_use"),
        }
    }

    fn output_tokens(&self) -> usize {
        self.answer.tokens() + if self.asked.directive.absurd_usage { 1_000_000 } else { 0 }
    }

    /// What the cache had, or was given, is not part of `input_tokens`.
    fn usage(&self, output_tokens: usize) -> Value {
        let cached = self.asked.directive.cached.min(self.input_tokens);
        let output_tokens = if output_tokens == 1 { 1 } else { self.output_tokens() };
        json!({
            "input_tokens": self.input_tokens - cached, "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": output_tokens, "service_tier": "standard",
        })
    }
}

fn fold(block: &mut Value, delta: &Value) {
    let add = |held: &mut Value, piece: &Value| {
        *held = json!(held.as_str().unwrap_or_default().to_owned() + piece.as_str().unwrap_or_default());
    };
    match delta["type"].as_str().unwrap_or_default() {
        "text_delta" => add(&mut block["text"], &delta["text"]),
        "thinking_delta" => add(&mut block["thinking"], &delta["thinking"]),
        "signature_delta" => block["signature"] = delta["signature"].clone(),
        _ => {
            let mut text = json!(block["input"].as_str().unwrap_or_default());
            add(&mut text, &delta["partial_json"]);
            block["input"] = match serde_json::from_str(text.as_str().unwrap_or_default()) {
                Ok(object @ Value::Object(_)) => object,
                Ok(_) | Err(_) => text,
            };
        }
    }
}

fn frame(payload: &Value) -> String {
    format!("event: {}\ndata: {payload}\n\n", payload["type"].as_str().unwrap_or_default())
}
