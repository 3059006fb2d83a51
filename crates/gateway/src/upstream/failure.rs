//! What can go wrong with a provider, and what each fault means for the next step: one table.

use std::sync::Arc;
use std::time::Duration;

use wire::error_body::{ErrorBody, ErrorClass};

/// One failed attempt at one target.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What happened.
    pub kind: Kind,
    /// The provider that failed.
    pub provider: Arc<str>,
    /// The model that was asked of it.
    pub model: Arc<str>,
    /// How long the provider asked us to wait.
    pub retry_after: Option<Duration>,
    /// The cause for the log. Clients never see it.
    pub detail: String,
}

/// Kinds of failure, as the client, the loop and the metrics tell them apart.
#[derive(Debug, Clone)]
pub enum Kind {
    /// The name did not resolve, the connection was refused or broke before an answer.
    Unreachable,
    /// No connection within the connect timeout.
    ConnectTimeout,
    /// The TLS handshake failed.
    Tls,
    /// No answer headers in time.
    HeadersTimeout,
    /// Headers, and then no content in time.
    FirstContentTimeout,
    /// Content began, and then nothing came in time.
    IdleTimeout,
    /// The provider finds fault with the request itself.
    InvalidRequest(ErrorBody),
    /// The prompt does not fit the model.
    ContextLength(ErrorBody),
    /// The provider will not answer this prompt.
    ContentFilter(ErrorBody),
    /// The provider refuses our credential.
    Authentication,
    /// The provider's account is out of money or quota.
    QuotaExhausted,
    /// The provider does not have the model.
    ModelNotFound,
    /// The provider's rate limit.
    RateLimited,
    /// The provider is overloaded.
    Overloaded,
    /// The provider failed in another way, with this status.
    ServerError(u16),
    /// A success status with a body that is not an answer.
    BadResponse,
    /// The answer ended before it was complete.
    Truncated,
    /// The answer is larger than any answer may be.
    TooLarge,
    /// The target's dialect cannot say what the request says.
    Untranslatable(wire::Error),
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Another target may do better.
    NextTarget,
    /// Only a target with a larger context window can do better.
    LargerWindow,
    /// No target will do better: the request is at fault.
    Stop,
}

/// What a provider may have charged for an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// Nothing: it never worked on the request.
    Nothing,
    /// The prompt and what it had generated, which nobody told us in whole.
    Received,
}

impl Kind {
    /// What an error answer of the provider means, by its status and body.
    pub fn from_answer(status: u16, body: ErrorBody) -> Kind {
        match (body.class, status) {
            (ErrorClass::ContextLength, _) => Kind::ContextLength(body),
            (ErrorClass::ContentFilter, _) => Kind::ContentFilter(body),
            (ErrorClass::QuotaExhausted, _) | (_, 402) => Kind::QuotaExhausted,
            (_, 401 | 403) => Kind::Authentication,
            (_, 404) => Kind::ModelNotFound,
            (_, 429) => Kind::RateLimited,
            (_, 529) => Kind::Overloaded,
            (_, 400 | 413 | 415 | 422) => Kind::InvalidRequest(body),
            (ErrorClass::Authentication, _) => Kind::Authentication,
            (ErrorClass::ModelNotFound, _) => Kind::ModelNotFound,
            (ErrorClass::RateLimited, _) => Kind::RateLimited,
            (ErrorClass::Overloaded, _) => Kind::Overloaded,
            (ErrorClass::InvalidRequest, 200) => Kind::InvalidRequest(body),
            (ErrorClass::InvalidRequest | ErrorClass::Other, status) => Kind::ServerError(status),
        }
    }

    /// What the fallback loop does next.
    pub fn verdict(&self) -> Verdict {
        match self {
            Kind::InvalidRequest(_) | Kind::ContentFilter(_) => Verdict::Stop,
            Kind::ContextLength(_) => Verdict::LargerWindow,
            Kind::Unreachable
            | Kind::ConnectTimeout
            | Kind::Tls
            | Kind::HeadersTimeout
            | Kind::FirstContentTimeout
            | Kind::IdleTimeout
            | Kind::Authentication
            | Kind::QuotaExhausted
            | Kind::ModelNotFound
            | Kind::RateLimited
            | Kind::Overloaded
            | Kind::ServerError(_)
            | Kind::BadResponse
            | Kind::Truncated
            | Kind::TooLarge
            | Kind::Untranslatable(_) => Verdict::NextTarget,
        }
    }

    /// What the attempt may have cost. A provider that refused charges nothing; one that went silent or broke off has
    /// worked.
    pub fn charge(&self) -> Charge {
        match self {
            Kind::Unreachable
            | Kind::ConnectTimeout
            | Kind::Tls
            | Kind::InvalidRequest(_)
            | Kind::ContextLength(_)
            | Kind::ContentFilter(_)
            | Kind::Authentication
            | Kind::QuotaExhausted
            | Kind::ModelNotFound
            | Kind::RateLimited
            | Kind::Overloaded
            | Kind::ServerError(_)
            | Kind::Untranslatable(_) => Charge::Nothing,
            Kind::HeadersTimeout
            | Kind::FirstContentTimeout
            | Kind::IdleTimeout
            | Kind::BadResponse
            | Kind::Truncated
            | Kind::TooLarge => Charge::Received,
        }
    }

    /// The `code` that clients, logs and metrics use for it.
    pub fn code(&self) -> &'static str {
        match self {
            Kind::Unreachable => "provider_unreachable",
            Kind::ConnectTimeout | Kind::HeadersTimeout => "provider_timeout",
            Kind::Tls => "provider_tls_error",
            Kind::FirstContentTimeout => "first_token_timeout",
            Kind::IdleTimeout => "stream_idle_timeout",
            Kind::InvalidRequest(_) => "invalid_request",
            Kind::ContextLength(_) => "context_length_exceeded",
            Kind::ContentFilter(_) => "content_filter",
            Kind::Authentication => "provider_auth_error",
            Kind::QuotaExhausted => "provider_quota_exhausted",
            Kind::ModelNotFound => "provider_model_not_found",
            Kind::RateLimited => "provider_rate_limited",
            Kind::Overloaded => "provider_overloaded",
            Kind::ServerError(_) => "provider_error",
            Kind::BadResponse => "provider_bad_response",
            Kind::Truncated => "provider_truncated",
            Kind::TooLarge => "provider_response_too_large",
            Kind::Untranslatable(_) => "unsupported_parameter",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(class: ErrorClass) -> ErrorBody {
        ErrorBody { message: String::new(), kind: None, code: None, param: None, class }
    }

    #[test]
    fn each_error_answer_of_the_fault_matrix_has_its_code_and_verdict() {
        use ErrorClass::{ContentFilter, ContextLength, Other, QuotaExhausted};
        let matrix = [
            (400, Other, "invalid_request", Verdict::Stop),
            (413, Other, "invalid_request", Verdict::Stop),
            (415, Other, "invalid_request", Verdict::Stop),
            (422, Other, "invalid_request", Verdict::Stop),
            (400, ContextLength, "context_length_exceeded", Verdict::LargerWindow),
            (400, ContentFilter, "content_filter", Verdict::Stop),
            (403, ContentFilter, "content_filter", Verdict::Stop),
            (401, Other, "provider_auth_error", Verdict::NextTarget),
            (403, Other, "provider_auth_error", Verdict::NextTarget),
            (402, Other, "provider_quota_exhausted", Verdict::NextTarget),
            (429, QuotaExhausted, "provider_quota_exhausted", Verdict::NextTarget),
            (404, Other, "provider_model_not_found", Verdict::NextTarget),
            (408, Other, "provider_error", Verdict::NextTarget),
            (409, Other, "provider_error", Verdict::NextTarget),
            (429, Other, "provider_rate_limited", Verdict::NextTarget),
            (500, Other, "provider_error", Verdict::NextTarget),
            (502, Other, "provider_error", Verdict::NextTarget),
            (503, Other, "provider_error", Verdict::NextTarget),
            (504, Other, "provider_error", Verdict::NextTarget),
            (529, Other, "provider_overloaded", Verdict::NextTarget),
            (302, Other, "provider_error", Verdict::NextTarget),
        ];

        for (status, class, code, verdict) in matrix {
            let kind = Kind::from_answer(status, body(class));
            assert_eq!((kind.code(), kind.verdict()), (code, verdict), "{status} {class:?}");
        }
    }
}
