//! `/api/chat`: one object, or a line of JSON for every piece.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use crate::conversation::{Answer, Conversation};
use crate::ollama::{CREATED_AT, error, error_inside, facts, ok};
use crate::reply::{Asked, Content, Frames, Reply};

/// The answer to a chat whose model exists.
pub(crate) fn answer(asked: &Asked<'_>) -> Reply {
    let model = asked.model();
    if !facts(model).capabilities.contains(&"completion") {
        return error(StatusCode::BAD_REQUEST, &format!("\"{model}\" does not support chat"));
    }
    let messages = asked.body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(message) = messages.iter().find_map(mistake) {
        return error(StatusCode::BAD_REQUEST, message);
    }
    let conversation = read(asked.body, messages);
    // Without messages Ollama only loads the model, and says so in an answer without text.
    let is_load = messages.is_empty();
    let answer = if is_load { Answer::default() } else { conversation.answer(asked.directive) };
    let chat = Chat { asked, answer, is_load, prompt_tokens: conversation.tokens() };
    if asked.body["stream"] == false || is_load { ok(&chat.whole()) } else { chat.stream() }
}

/// What Ollama's strict types do not take.
fn mistake(message: &Value) -> Option<&'static str> {
    let mut images = message["images"].as_array().into_iter().flatten();
    let mut calls = message["tool_calls"].as_array().into_iter().flatten();
    if !(message["content"].is_string() || message["content"].is_null()) {
        Some("json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string")
    } else if images.any(|image| STANDARD.decode(image.as_str().unwrap_or("?")).is_err()) {
        Some("illegal base64 data at input byte 4")
    } else if calls.any(|call| !call["function"]["arguments"].is_object()) {
        Some("json: cannot unmarshal string into Go struct field ChatRequest.messages.tool_calls.function.arguments")
    } else {
        None
    }
}

fn read<'a>(body: &'a Value, messages: &'a [Value]) -> Conversation<'a> {
    let images = messages.iter().filter_map(|message| message["images"].as_array()).flatten();
    Conversation {
        messages,
        tools: body["tools"].as_array().into_iter().flatten().collect(),
        must_call: false,
        schema: match &body["format"] {
            Value::String(format) if format == "json" => Some(json!({})),
            schema @ Value::Object(_) => Some(schema.clone()),
            _ => None,
        },
        images: images.filter_map(Value::as_str).map(|image| media_type(image).to_owned()).collect(),
    }
}

/// By the first bytes, as they look in base64.
fn media_type(image: &str) -> &'static str {
    let known = [("iVBORw0KGgo", "png"), ("/9j/", "jpeg"), ("R0lGOD", "gif"), ("UklGR", "webp")];
    match known.into_iter().find(|(magic, _)| image.starts_with(magic)) {
        Some((_, "png")) => "image/png",
        Some((_, "jpeg")) => "image/jpeg",
        Some((_, "gif")) => "image/gif",
        Some(_) => "image/webp",
        None => "application/octet-stream",
    }
}

struct Chat<'a> {
    asked: &'a Asked<'a>,
    answer: Answer,
    is_load: bool,
    prompt_tokens: usize,
}

impl Chat<'_> {
    fn whole(&self) -> Value {
        let mut message = json!({"content": self.answer.text()});
        if !self.answer.reasoning.is_empty() {
            message["thinking"] = json!(self.answer.reasoning_text());
        }
        if !self.answer.calls.is_empty() {
            message["tool_calls"] = self.calls().collect();
        }
        self.last(message)
    }

    fn stream(&self) -> Reply {
        let thinking = self.answer.reasoning.iter().map(|piece| json!({"content": "", "thinking": piece}));
        let text = self.answer.pieces.iter().map(|piece| json!({"content": piece}));
        let calls = self.calls().map(|call| json!({"content": "", "tool_calls": [call]}));
        let pieces = thinking.chain(text).chain(calls).enumerate();
        let mut frames = Frames {
            content: pieces.map(|(place, message)| line(&self.piece(message, place + 1))).collect(),
            broken: format!("{{\"model\":\"{}\",\"message\":{{\"role\":\"assis\n", self.asked.model()),
            error: line(&error_inside(self.asked)),
            ..Frames::default()
        };
        if self.asked.directive.empty_choices {
            frames.content.clear();
        }
        if !self.asked.directive.no_done {
            frames.after.push(line(&self.last(json!({"content": ""}))));
        }
        Reply { status: StatusCode::OK, content_type: "application/x-ndjson", content: Content::Stream(frames) }
    }

    fn calls(&self) -> impl Iterator<Item = Value> {
        self.answer.calls.iter().map(|call| json!({"function": {"name": call.name, "arguments": call.arguments}}))
    }

    /// A line after which so many tokens were written.
    fn piece(&self, message: Value, tokens: usize) -> Value {
        let mut piece = self.envelope(message, false);
        if self.asked.directive.usage_every_chunk {
            self.count(&mut piece, tokens);
        }
        piece
    }

    fn last(&self, message: Value) -> Value {
        let mut last = self.envelope(message, true);
        if !self.asked.directive.no_finish {
            last["done_reason"] = json!(if self.is_load { "load" } else { "stop" });
        }
        if !self.is_load {
            last["total_duration"] = json!(191_683_332);
            last["load_duration"] = json!(37_411_250);
            if !self.asked.directive.no_usage {
                self.count(&mut last, self.answer.tokens());
            }
        }
        last
    }

    /// Without its message where the directive says so.
    fn envelope(&self, mut message: Value, is_done: bool) -> Value {
        let mut envelope = json!({"model": self.asked.model(), "created_at": CREATED_AT});
        if !self.asked.directive.empty_choices {
            envelope["message"] = json!({"role": "assistant"});
            for name in ["content", "thinking", "tool_calls"] {
                if let Some(value) = message.get_mut(name) {
                    envelope["message"][name] = value.take();
                }
            }
        }
        envelope["done"] = json!(is_done);
        envelope
    }

    fn count(&self, piece: &mut Value, tokens: usize) {
        piece["prompt_eval_count"] = json!(self.prompt_tokens);
        piece["prompt_eval_duration"] = json!(53_154_708);
        piece["eval_count"] = json!(tokens);
        piece["eval_duration"] = json!(100_553_125);
    }
}

fn line(payload: &Value) -> String {
    format!("{payload}\n")
}
