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
    /// The provider's name did not resolve.
    Unresolved,
    /// The connection was refused, or could not be made for another reason.
    Unreachable,
    /// No connection within the connect timeout.
    ConnectTimeout,
    /// The TLS handshake failed.
    Tls,
    /// The connection broke before a byte of an answer.
    Reset,
    /// The provider said that it did not begin with the request: HTTP/2's GOAWAY or REFUSED_STREAM.
    NotProcessed,
    /// The provider gave the request up that it had begun: HTTP/2's RST_STREAM, a GOAWAY that covers it.
    GivenUp,
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

/// What a failure means: a row of the fault matrix in `docs/reliability.md`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// The `code` that clients, logs and metrics use for it.
    pub code: &'static str,
    /// Whether the same target is asked again.
    pub retry: Retry,
    /// Who may be asked next.
    pub verdict: Verdict,
    /// What it says about the provider's health.
    pub harm: Harm,
    /// What it may have cost.
    pub charge: Charge,
}

/// Whether the same target is asked once more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Retry {
    /// It is not: the next try would fail like this one, or must not happen.
    Never,
    /// At once, on another connection.
    AtOnce,
    /// After a wait drawn evenly between these.
    After(Duration, Duration),
    /// The same, where no other target is left.
    AfterIfLast(Duration, Duration),
    /// After the time that the provider named, where that is short and no other target is left.
    AsToldIfLast,
}

/// Who may be asked after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Another target may do better.
    NextTarget,
    /// Only a target with a larger context window can do better.
    LargerWindow,
    /// No target will do better: the request is at fault.
    Stop,
}

/// What a failure says about the health of its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Nothing: the request was at fault, or the provider is well.
    None,
    /// Nothing, the first time: connections break. It counts when the retry fails as well.
    IfAgain,
    /// It counts.
    Counts,
    /// Every further request to this model would fail like this: nobody is sent there for a while.
    Opens,
    /// The credential is of no use for a while; another may be.
    Retires,
    /// The credential has a rest until the time that the provider named.
    Rests,
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

    /// The row of the matrix.
    pub fn rule(&self) -> Rule {
        use Charge::{Nothing, Received};
        use Verdict::{LargerWindow, NextTarget, Stop};
        let rule = |code, retry, verdict, harm, charge| Rule { code, retry, verdict, harm, charge };
        match self {
            Kind::Unresolved => rule("provider_unreachable", SOON, NextTarget, Harm::Counts, Nothing),
            Kind::Unreachable => rule("provider_unreachable", Retry::Never, NextTarget, Harm::Counts, Nothing),
            Kind::ConnectTimeout => rule("provider_timeout", Retry::Never, NextTarget, Harm::Counts, Nothing),
            Kind::Tls => rule("provider_tls_error", Retry::Never, NextTarget, Harm::Opens, Nothing),
            Kind::Reset => rule("provider_unreachable", Retry::AtOnce, NextTarget, Harm::IfAgain, Received),
            Kind::NotProcessed => rule("provider_unreachable", Retry::AtOnce, NextTarget, Harm::None, Nothing),
            Kind::GivenUp => rule("provider_error", Retry::Never, NextTarget, Harm::Counts, Received),
            Kind::HeadersTimeout => rule("provider_timeout", Retry::Never, NextTarget, Harm::Counts, Received),
            Kind::FirstContentTimeout => rule("first_token_timeout", Retry::Never, NextTarget, Harm::Counts, Received),
            Kind::IdleTimeout => rule("stream_idle_timeout", Retry::Never, NextTarget, Harm::Counts, Received),
            Kind::InvalidRequest(_) => rule("invalid_request", Retry::Never, Stop, Harm::None, Nothing),
            Kind::ContextLength(_) => rule("context_length_exceeded", Retry::Never, LargerWindow, Harm::None, Nothing),
            Kind::ContentFilter(_) => rule("content_filter", Retry::Never, Stop, Harm::None, Nothing),
            Kind::Authentication => rule("provider_auth_error", Retry::Never, NextTarget, Harm::Retires, Nothing),
            Kind::QuotaExhausted => rule("provider_quota_exhausted", Retry::Never, NextTarget, Harm::Retires, Nothing),
            Kind::ModelNotFound => rule("provider_model_not_found", Retry::Never, NextTarget, Harm::Opens, Nothing),
            Kind::RateLimited => rule("provider_rate_limited", Retry::AsToldIfLast, NextTarget, Harm::Rests, Nothing),
            Kind::Overloaded => rule("provider_overloaded", LATER_IF_LAST, NextTarget, Harm::Counts, Nothing),
            // A conflict is not a fault of the provider.
            Kind::ServerError(409) => rule("provider_error", SOON, NextTarget, Harm::None, Nothing),
            Kind::ServerError(408 | 500 | 502..=504) => rule("provider_error", SOON, NextTarget, Harm::Counts, Nothing),
            Kind::ServerError(_) => rule("provider_error", Retry::Never, NextTarget, Harm::Counts, Nothing),
            Kind::BadResponse => rule("provider_bad_response", Retry::Never, NextTarget, Harm::Counts, Received),
            Kind::Truncated => rule("provider_truncated", Retry::Never, NextTarget, Harm::Counts, Received),
            Kind::TooLarge => rule("provider_response_too_large", Retry::Never, NextTarget, Harm::Counts, Received),
            Kind::Untranslatable(_) => rule("unsupported_parameter", Retry::Never, NextTarget, Harm::None, Nothing),
        }
    }

    /// The `code` that clients, logs and metrics use for it.
    pub fn code(&self) -> &'static str {
        self.rule().code
    }
}

/// A first backoff with full jitter, over a pause in which a name or a process can come back.
const SOON: Retry = Retry::After(Duration::from_millis(100), Duration::from_millis(400));
/// An overloaded provider gets longer.
const LATER_IF_LAST: Retry = Retry::AfterIfLast(Duration::from_millis(500), Duration::from_millis(1_500));

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
            assert_eq!((kind.code(), kind.rule().verdict), (code, verdict), "{status} {class:?}");
        }
    }
}
