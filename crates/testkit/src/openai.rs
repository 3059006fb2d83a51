//! OpenAI's routes: chat completions, embeddings, models, images, sound, moderations.

mod chat;
mod error;
mod media;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use crate::embedding;
use crate::reply::{Asked, Reply};

/// The content type of everything that is not streamed.
const JSON: &str = "application/json";
/// When everything was made: answers are the same in every run.
const CREATED: i64 = 1_760_000_000;

/// The vendor's answer to a request.
pub(crate) fn answer(asked: &Asked<'_>) -> Reply {
    match asked.route {
        ("GET", "/v1/models") => ok(&models()),
        ("POST", "/v1/chat/completions" | "/v1/embeddings") if asked.directive.refuses() => error::directed(asked),
        ("POST", path @ ("/v1/chat/completions" | "/v1/embeddings")) => refusal(asked, path).unwrap_or_else(|| {
            let is_chat = path.ends_with("completions");
            match asked.directive.error_in_200 {
                true => ok(&error::inside(asked)),
                false if is_chat => chat::answer(asked),
                false => ok(&embeddings(asked)),
            }
        }),
        ("POST", path) if media::PATHS.contains(&path) && asked.directive.refuses() => error::directed(asked),
        ("POST", path) if media::PATHS.contains(&path) => media::answer(asked, path),
        (method, path) => error::unknown_url(method, path),
    }
}

fn ok(body: &Value) -> Reply {
    Reply::json(StatusCode::OK, JSON, body)
}

/// What is wrong with the request, if anything.
fn refusal(asked: &Asked<'_>, path: &str) -> Option<Reply> {
    let needed = if path.ends_with("completions") { "messages" } else { "input" };
    if !asked.body.is_object() {
        Some(error::bad_request("We could not parse the JSON body of your request.", None, None))
    } else if asked.model().is_empty() {
        Some(error::bad_request("you must provide a model parameter", None, None))
    } else if asked.model().starts_with("made-up") {
        Some(error::model_not_found(asked.model()))
    } else if asked.body[needed].is_null() || (needed == "messages" && !asked.body[needed].is_array()) {
        let message = format!("Missing required parameter: '{needed}'.");
        Some(error::bad_request(&message, Some(needed), Some("missing_required_parameter")))
    } else {
        None
    }
}

fn models() -> Value {
    let model = |id: &str| json!({"id": id, "object": "model", "created": CREATED, "owned_by": "system"});
    let media = ["gpt-image-1", "whisper-1", "gpt-4o-transcribe", "tts-1", "omni-moderation-latest"];
    let chat = ["gpt-4o-mini", "gpt-4o", "gpt-4.1", "gpt-4.1-mini"];
    let all = chat.into_iter().chain(["text-embedding-3-small"]).chain(media);
    let data: Vec<Value> = all.map(model).collect();
    json!({"object": "list", "data": data})
}

fn embeddings(asked: &Asked<'_>) -> Value {
    let is_base64 = asked.body["encoding_format"] == "base64";
    let shape = |vector: Vec<f32>| {
        if is_base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            json!(STANDARD.encode(bytes))
        } else {
            embedding::numbers(&vector)
        }
    };
    let vectors = embedding::vectors(asked.body).into_iter().enumerate();
    let data: Vec<Value> = vectors
        .map(|(index, vector)| json!({"object": "embedding", "index": index, "embedding": shape(vector)}))
        .collect();
    let tokens = embedding::tokens(asked.body);
    let mut answer = json!({"object": "list", "data": data, "model": asked.model()});
    if !asked.directive.no_usage {
        answer["usage"] = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    }
    answer
}
