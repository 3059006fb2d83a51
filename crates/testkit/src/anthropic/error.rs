//! Anthropic's errors: `{"type":"error","error":{type, message},"request_id"}`.

use http::StatusCode;
use serde_json::{Value, json};

use super::JSON;
use crate::directive::Kind;
use crate::reply::{Asked, Reply};

/// The error that the directive names, or the one of its status.
pub(super) fn directed(asked: &Asked<'_>) -> Reply {
    let (status, kind, message) = match (asked.directive.error, asked.directive.status) {
        (Some(kind), _) => of_kind(kind, asked.model()),
        (None, status) => of_status(status.unwrap_or(500), asked.model()),
    };
    Reply::json(asked.status_or(status), JSON, &body(asked, kind, &message))
}

/// The error inside a stream, or under status 200.
pub(super) fn inside(asked: &Asked<'_>) -> Value {
    let kind = asked.directive.error.unwrap_or(Kind::Overloaded);
    let (_, kind, message) = of_kind(kind, asked.model());
    json!({"type": "error", "error": {"details": null, "type": kind, "message": message}})
}

pub(super) fn bad_request(asked: &Asked<'_>, message: &str) -> Reply {
    Reply::json(StatusCode::BAD_REQUEST, JSON, &body(asked, INVALID, message))
}

pub(super) fn model_not_found(asked: &Asked<'_>) -> Reply {
    let message = format!("model: {}", asked.model());
    Reply::json(StatusCode::NOT_FOUND, JSON, &body(asked, "not_found_error", &message))
}

pub(super) fn unknown_url(asked: &Asked<'_>, _path: &str) -> Reply {
    Reply::json(StatusCode::NOT_FOUND, JSON, &body(asked, "not_found_error", "Not Found"))
}

fn body(asked: &Asked<'_>, kind: &str, message: &str) -> Value {
    let id = format!("req_{:032x}", asked.number);
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": id})
}

fn of_kind(kind: Kind, model: &str) -> (u16, &'static str, String) {
    match kind {
        Kind::ContextLength => (400, INVALID, "prompt is too long: 210000 tokens > 200000 maximum".to_owned()),
        Kind::ContentFilter => (400, INVALID, "Output blocked by content filtering policy".to_owned()),
        Kind::Quota => {
            let message = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.";
            (400, INVALID, message.to_owned())
        }
        Kind::Auth => (401, "authentication_error", "invalid x-api-key".to_owned()),
        Kind::NotFound => (404, "not_found_error", format!("model: {model}")),
        Kind::Overloaded => (529, "overloaded_error", "Overloaded".to_owned()),
    }
}

fn of_status(status: u16, model: &str) -> (u16, &'static str, String) {
    let (kind, message) = match status {
        401 => (of_kind(Kind::Auth, model).1, of_kind(Kind::Auth, model).2),
        402 => ("billing_error", "Your account has no credit left.".to_owned()),
        403 => ("permission_error", "Your API key does not have permission to use the model.".to_owned()),
        404 => ("not_found_error", format!("model: {model}")),
        413 => ("request_too_large", "Request exceeds the maximum size".to_owned()),
        429 => ("rate_limit_error", "This request would exceed your organization's rate limit.".to_owned()),
        504 => ("timeout_error", "The request timed out.".to_owned()),
        529 => ("overloaded_error", "Overloaded".to_owned()),
        400..=499 => (INVALID, "Invalid value in the request.".to_owned()),
        _ => ("api_error", "Internal server error".to_owned()),
    };
    (status, kind, message)
}

const INVALID: &str = "invalid_request_error";
