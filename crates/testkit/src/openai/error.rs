//! OpenAI's errors: `{"error":{message, type, param, code}}`.

use http::StatusCode;
use serde_json::{Value, json};

use crate::directive::Kind;
use crate::openai::JSON;
use crate::reply::{Asked, Reply};

/// The error that the directive names, or the one of its status.
pub(crate) fn directed(asked: &Asked<'_>) -> Reply {
    let (status, error) = match (asked.directive.error, asked.directive.status) {
        (Some(kind), _) => of_kind(kind, asked.model()),
        (None, status) => of_status(status.unwrap_or(500), asked.model()),
    };
    Reply::json(asked.status_or(status), JSON, &error)
}

/// The error inside a stream, or under status 200.
pub(crate) fn inside(asked: &Asked<'_>) -> Value {
    asked.directive.error.map_or_else(|| of_status(500, "").1, |kind| of_kind(kind, asked.model()).1)
}

/// The caller's mistake.
pub(crate) fn bad_request(message: &str, param: Option<&str>, code: Option<&str>) -> Reply {
    Reply::json(StatusCode::BAD_REQUEST, JSON, &body(message, INVALID, param, code))
}

pub(crate) fn model_not_found(model: &str) -> Reply {
    Reply::json(StatusCode::NOT_FOUND, JSON, &of_kind(Kind::NotFound, model).1)
}

pub(crate) fn unknown_url(method: &str, path: &str) -> Reply {
    let message = format!("Invalid URL ({method} {path})");
    Reply::json(StatusCode::NOT_FOUND, JSON, &body(&message, INVALID, None, None))
}

fn of_kind(kind: Kind, model: &str) -> (u16, Value) {
    match kind {
        Kind::ContextLength => {
            let message = "This model's maximum context length is 128000 tokens, the messages hold 130001 tokens.";
            (400, body(message, INVALID, Some("messages"), Some("context_length_exceeded")))
        }
        Kind::ContentFilter => {
            let message = "The prompt was refused by the content management policy.";
            (400, body(message, INVALID, Some("prompt"), Some("content_filter")))
        }
        Kind::Quota => {
            let message = "You exceeded your current quota: check your plan and billing.";
            (429, body(message, "insufficient_quota", None, Some("insufficient_quota")))
        }
        Kind::Auth => (401, body("Incorrect API key provided.", INVALID, None, Some("invalid_api_key"))),
        Kind::NotFound => {
            let message = format!("The model `{model}` does not exist or you do not have access to it.");
            (404, body(&message, INVALID, None, Some("model_not_found")))
        }
        Kind::Overloaded => (503, body("The engine is currently overloaded.", "server_error", None, None)),
    }
}

fn of_status(status: u16, model: &str) -> (u16, Value) {
    let error = match status {
        401 => of_kind(Kind::Auth, model).1,
        403 => body("This project may not use the model.", INVALID, None, Some("model_not_allowed")),
        404 => of_kind(Kind::NotFound, model).1,
        429 => {
            let message = "Rate limit reached for requests per minute: limit 500, used 500.";
            body(message, "requests", None, Some("rate_limit_exceeded"))
        }
        503 | 529 => of_kind(Kind::Overloaded, model).1,
        400..=499 => body("Invalid value in the request.", INVALID, None, Some("invalid_value")),
        _ => body("The server had an error while processing your request.", "server_error", None, None),
    };
    (status, error)
}

fn body(message: &str, kind: &str, param: Option<&str>, code: Option<&str>) -> Value {
    json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
}

const INVALID: &str = "invalid_request_error";
