//! Anthropic's routes: messages, their count, models. Requests are checked as strictly as the vendor does.

mod check;
mod error;
mod message;

use http::StatusCode;
use serde_json::{Value, json};

use crate::reply::{Asked, Reply};

/// The content type of everything that is not streamed.
const JSON: &str = "application/json";

/// The vendor's answer to a request.
pub(crate) fn answer(asked: &Asked<'_>) -> Reply {
    match asked.route {
        ("GET", "/v1/models") => ok(&models()),
        ("POST", "/v1/messages" | "/v1/messages/count_tokens") if asked.directive.refuses() => error::directed(asked),
        ("POST", "/v1/messages/count_tokens") => match check::problem(asked, false) {
            Some(problem) => error::bad_request(asked, &problem),
            None => ok(&json!({"input_tokens": message::input_tokens(asked.body)})),
        },
        ("POST", "/v1/messages") => match check::problem(asked, true) {
            Some(problem) => error::bad_request(asked, &problem),
            None if asked.model().starts_with("made-up") => error::model_not_found(asked),
            None if asked.directive.error_in_200 => ok(&error::inside(asked)),
            None => message::answer(asked),
        },
        (_, path) => error::unknown_url(asked, path),
    }
}

fn ok(body: &Value) -> Reply {
    Reply::json(StatusCode::OK, JSON, body)
}

fn models() -> Value {
    let model = |id: &str, name: &str, created: &str, window: u64, most: u64| {
        json!({"type": "model", "id": id, "display_name": name, "created_at": created, "max_input_tokens": window,
            "max_tokens": most, "lifecycle": "active"})
    };
    let data = [
        model("claude-opus-5-5", "Claude Opus 5.5", "2026-09-10T00:00:00Z", 1_000_000, 128_000),
        model("claude-sonnet-4-5-20250929", "Claude Sonnet 4.5", "2025-09-29T00:00:00Z", 200_000, 64_000),
        model("claude-haiku-4-5-20251001", "Claude Haiku 4.5", "2025-10-01T00:00:00Z", 200_000, 64_000),
    ];
    json!({"data": data, "has_more": false, "first_id": "claude-opus-5-5", "last_id": "claude-haiku-4-5-20251001"})
}
