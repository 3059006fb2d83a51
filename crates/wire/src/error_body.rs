//! What a provider's error answer says, whatever shape it has.

use serde_json::Value;

use crate::Dialect;

/// The longest error text that is kept, in bytes.
const MAX_MESSAGE_BYTES: usize = 1024;

/// A provider's error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorBody {
    /// The provider's words, at most 1,024 bytes; may be empty.
    pub message: String,
    /// `error.type`.
    pub kind: Option<String>,
    /// `error.code`.
    pub code: Option<String>,
    /// `error.param`.
    pub param: Option<String>,
    /// What it means.
    pub class: ErrorClass,
}

/// What a provider's error means, by its status, code, type and words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The prompt does not fit the model.
    ContextLength,
    /// The provider will not answer this prompt.
    ContentFilter,
    /// The account is out of money or quota.
    QuotaExhausted,
    /// The rate limit.
    RateLimited,
    /// Too much load.
    Overloaded,
    /// No such model.
    ModelNotFound,
    /// The credential is refused.
    Authentication,
    /// The request is at fault in another way.
    InvalidRequest,
    /// Anything else.
    Other,
}

/// Reads an error answer; a body that is no JSON gives an empty message.
pub fn read_error(dialect: Dialect, status: u16, body: &[u8]) -> ErrorBody {
    let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    match dialect {
        // Anthropic's `{"type": "error", "error": {…}}` and Ollama's `{"error": "…"}` are among the shapes that
        // OpenAI-compatible servers send as well.
        Dialect::OpenAi | Dialect::Anthropic | Dialect::Ollama => from_value(status, &value),
    }
}

/// Reads an error out of JSON that holds one: `{"error": {…}}`, `{"error": "…"}`, `{"message": …}`, `{"detail": …}`.
pub(crate) fn from_value(status: u16, value: &Value) -> ErrorBody {
    // Some providers wrap the object in a list.
    let value = value.get(0).unwrap_or(value);
    let error = value.get("error").filter(|error| !error.is_null()).unwrap_or(value);
    let text = |value: &Value, name: &str| match value.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let message = error.as_str().map(str::to_owned);
    let message = message.or_else(|| text(error, "message")).or_else(|| text(value, "detail")).unwrap_or_default();
    let (kind, code) = (text(error, "type"), text(error, "code"));
    let class = classify(status, kind.as_deref(), code.as_deref(), &message);
    ErrorBody { message: cut(message), kind, code, param: text(error, "param"), class }
}

fn classify(status: u16, kind: Option<&str>, code: Option<&str>, message: &str) -> ErrorClass {
    let names = [code.unwrap_or_default(), kind.unwrap_or_default()].map(str::to_ascii_lowercase);
    let message = message.to_ascii_lowercase();
    let named = |marks: &[&str]| names.iter().any(|name| marks.iter().any(|mark| name.contains(mark)));
    let says = |marks: &[&str]| marks.iter().any(|mark| message.contains(mark));
    let is_callers = matches!(status, 200 | 400 | 403 | 413 | 422 | 500);
    let too_long = ["maximum context length", "context length", "context window", "context size", "prompt is too long"];
    if named(&["context_length", "context_window", "exceed_context_size"]) || is_callers && says(&too_long) {
        ErrorClass::ContextLength
    } else if named(&["content_filter", "content_policy", "moderation"]) || says(&["content filtering policy"]) {
        ErrorClass::ContentFilter
    } else if named(&["insufficient_quota", "insufficient_balance", "billing", "payment"])
        || status == 402
        || status == 400 && says(&["credit balance is too low", "usage limits"])
    {
        ErrorClass::QuotaExhausted
    } else if named(&["rate_limit"]) || names[0] == "429" || status == 429 {
        ErrorClass::RateLimited
    } else if named(&["overloaded"]) || matches!(names[0].as_str(), "529" | "503") || status == 529 {
        ErrorClass::Overloaded
    } else if named(&["model_not_found"]) || status == 404 {
        ErrorClass::ModelNotFound
    } else if named(&["authentication", "invalid_api_key", "permission"]) || matches!(status, 401 | 403) {
        ErrorClass::Authentication
    } else if named(&["invalid_request", "invalid_value", "invalid_type"]) || matches!(status, 400 | 413 | 415 | 422) {
        ErrorClass::InvalidRequest
    } else {
        ErrorClass::Other
    }
}

fn cut(mut message: String) -> String {
    let mut end = message.len().min(MAX_MESSAGE_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> ErrorBody {
        read_error(Dialect::OpenAi, status, body.as_bytes())
    }

    #[test]
    fn every_shape_gives_its_words() {
        for body in [
            r#"{"error":{"message":"no","type":"t","code":null}}"#,
            r#"{"error":"no"}"#,
            r#"{"message":"no"}"#,
            r#"{"detail":"no"}"#,
            r#"[{"error":{"message":"no"}}]"#,
        ] {
            assert_eq!(read(500, body).message, "no", "{body}");
        }
        assert_eq!(read(500, "<html>").message, "");
    }

    /// WIRE 9.1.
    #[test]
    fn meaning_comes_from_code_words_and_status() {
        use ErrorClass::*;
        for (status, body, class) in [
            (400, r#"{"error":{"code":"context_length_exceeded","message":"m"}}"#, ContextLength),
            (400, r#"{"error":"the prompt exceeds the context window"}"#, ContextLength),
            (400, r#"{"error":{"code":"content_filter","message":"m"}}"#, ContentFilter),
            (429, r#"{"error":{"code":"insufficient_quota","message":"m"}}"#, QuotaExhausted),
            (402, "{}", QuotaExhausted),
            (429, "{}", RateLimited),
            (200, r#"{"error":{"code":429,"message":"m"}}"#, RateLimited),
            (529, "{}", Overloaded),
            (404, "{}", ModelNotFound),
            (401, "{}", Authentication),
            (400, r#"{"error":{"message":"bad field","param":"n"}}"#, InvalidRequest),
            (500, r#"{"error":{"message":"oops"}}"#, Other),
        ] {
            assert_eq!(read(status, body).class, class, "{status} {body}");
        }
    }

    #[test]
    fn a_long_message_is_cut_on_a_character() {
        let body = format!(r#"{{"error":"{}"}}"#, "é".repeat(2_000));

        assert_eq!(read(500, &body).message.len(), 1024);
    }
}
