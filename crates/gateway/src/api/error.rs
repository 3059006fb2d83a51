//! The one place that knows HTTP statuses: what a refusal is on the wire, in OpenAI's error shape.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use catalog::Nanodollars;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use wire::{Client, ErrorBody};

use crate::clock;
use crate::limits::budget::{ShortKind, Unit};
use crate::limits::budgets::Shortage;
use crate::limits::rates::{RateKind, RateRefusal};
use crate::refusal::Refusal;
use crate::upstream::{Failure, Kind};

/// Tells OpenAI's and Anthropic's SDKs whether their own retry makes sense.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// Clients wait this long after an overload, in seconds, when nothing better is known.
const OVERLOAD_WAIT: Duration = Duration::from_secs(1);

/// One refusal as an HTTP answer.
#[derive(Debug)]
pub struct ErrorAnswer<'a> {
    /// The status.
    pub status: StatusCode,
    /// `error.type`.
    pub kind: &'static str,
    /// `error.code`, which metrics and logs use as well.
    pub code: &'static str,
    /// `error.message`: what happened, which value, what to do.
    pub message: Cow<'a, str>,
    /// `error.param`.
    pub param: Option<&'a str>,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// `x-should-retry`; absent where the SDK's own judgement is right.
    pub should_retry: Option<bool>,
}

#[derive(Serialize)]
struct OpenAiBody<'a> {
    error: OpenAiError<'a>,
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

#[derive(Serialize)]
struct AnthropicBody<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: AnthropicError<'a>,
    request_id: &'a str,
}

/// Anthropic's members and, beyond them, what OpenAI's clients are told.
#[derive(Serialize)]
struct AnthropicError<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    message: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

const INVALID: &str = "invalid_request_error";
const API: &str = "api_error";
const TIMEOUT: &str = "timeout_error";
const AUTHENTICATION: &str = "authentication_error";
const RATE_LIMIT: &str = "rate_limit_error";
const QUOTA: &str = "insufficient_quota";

impl<'a> ErrorAnswer<'a> {
    /// What the client is told.
    pub fn of(refusal: &'a Refusal) -> ErrorAnswer<'a> {
        match refusal {
            Refusal::Invalid(error) => {
                let answer = fault(StatusCode::BAD_REQUEST, error.problem.code(), error.message.as_ref());
                ErrorAnswer { param: error.param.as_deref(), ..answer }
            }
            Refusal::TooLarge { limit } => fault(
                StatusCode::PAYLOAD_TOO_LARGE,
                "request_too_large",
                format!("The request body is larger than the limit of {limit} bytes."),
            ),
            Refusal::BodyTimeout => {
                fault(StatusCode::REQUEST_TIMEOUT, "request_timeout", "The request body did not arrive in time.")
            }
            Refusal::BodyBroken => {
                fault(StatusCode::BAD_REQUEST, "invalid_body", "The request body ended before it was complete.")
            }
            Refusal::ContentEncoding => fault(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_content_encoding",
                "Compressed request bodies are not accepted; send the JSON as it is.",
            ),
            Refusal::UnknownModel { model, close } => {
                let answer = fault(StatusCode::NOT_FOUND, "model_not_found", unknown_model(model, close));
                ErrorAnswer { param: Some("model"), ..answer }
            }
            Refusal::NoCapableModel { needs } => {
                let message = format!("No configured model can serve this request: it needs {needs}.");
                ErrorAnswer { param: Some("model"), ..fault(StatusCode::BAD_REQUEST, "no_capable_model", message) }
            }
            Refusal::CompositePlansOff => {
                let message = "`x-routing-plan` asks several models for one answer, which is switched off here; leave it out, or let the operator set `COMPOSITE_PLANS=requested`.";
                ErrorAnswer {
                    param: Some("x-routing-plan"),
                    ..fault(StatusCode::BAD_REQUEST, "composite_plans_off", message)
                }
            }
            Refusal::NoModels => ErrorAnswer {
                retry_after: Some(OVERLOAD_WAIT),
                ..server(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "no_provider_available",
                    "No configured provider offers a chat model right now. Set a provider's key, for example \
                     OPENAI_API_KEY, or start Ollama; `llm-gateway check` tells what is missing.",
                )
            },
            Refusal::MissingKey => ErrorAnswer {
                kind: AUTHENTICATION,
                ..fault(
                    StatusCode::UNAUTHORIZED,
                    "missing_api_key",
                    "This gateway needs a key: send `Authorization: Bearer gw-…`. Whoever runs the gateway makes one \
                     with `llm-gateway keys create`.",
                )
            },
            Refusal::InvalidKey => ErrorAnswer {
                kind: AUTHENTICATION,
                ..fault(
                    StatusCode::UNAUTHORIZED,
                    "invalid_api_key",
                    "This key opens nothing here: it is unknown, revoked, disabled or past its time.",
                )
            },
            Refusal::MissingAdminKey => ErrorAnswer {
                kind: AUTHENTICATION,
                ..fault(
                    StatusCode::UNAUTHORIZED,
                    "missing_admin_key",
                    "This needs the admin key: send `Authorization: Bearer <ADMIN_API_KEY>`.",
                )
            },
            Refusal::InvalidAdminKey => ErrorAnswer {
                kind: AUTHENTICATION,
                ..fault(StatusCode::UNAUTHORIZED, "invalid_admin_key", "This is not the admin key of this gateway.")
            },
            Refusal::TooManyWrongKeys { retry_after } => ErrorAnswer {
                retry_after: Some(*retry_after),
                should_retry: Some(false),
                ..answer(
                    StatusCode::TOO_MANY_REQUESTS,
                    AUTHENTICATION,
                    "too_many_wrong_keys",
                    "Too many wrong keys came from this address; wait before the next try.",
                )
            },
            Refusal::KeysUnavailable => unavailable(
                "keys_unavailable",
                "The gateway could not read its keys from the database yet, and lets nobody in unseen; try again \
                 shortly.",
            ),
            Refusal::ModelNotAllowed { model } => {
                let message = format!("This key may not use the model `{}`.", shown(model));
                ErrorAnswer {
                    kind: "permission_error",
                    param: Some("model"),
                    ..fault(StatusCode::FORBIDDEN, "model_not_allowed", message)
                }
            }
            Refusal::RateLimited(refusal) => rate_limited(refusal),
            Refusal::Budget(shortage) => budget(shortage),
            Refusal::LedgerUnavailable => unavailable(
                "ledger_unavailable",
                "The gateway cannot write down what this request would cost, so it does not send it; try again shortly.",
            ),
            Refusal::UnknownPrice { model } => {
                let message = format!(
                    "The price of the model `{}` is not known and a limit in dollars applies. Set its price in \
                     `gateway.toml`, or `UNKNOWN_PRICE=allow` to count its tokens only.",
                    shown(model)
                );
                ErrorAnswer { param: Some("model"), ..fault(StatusCode::BAD_REQUEST, "unknown_price", message) }
            }
            Refusal::MaxCost { cap, worst_case } => {
                let message = format!(
                    "This request can cost ${worst_case}, and its `x-max-cost-usd` is ${cap}; lower `max_tokens`, or \
                     allow more."
                );
                ErrorAnswer {
                    param: Some("x-max-cost-usd"),
                    ..fault(StatusCode::BAD_REQUEST, "max_cost_exceeded", message)
                }
            }
            Refusal::NotFound { what } => {
                fault(StatusCode::NOT_FOUND, "not_found", format!("There is no {what} of this id."))
            }
            Refusal::Conflict(what) => fault(StatusCode::CONFLICT, "conflict", *what),
            Refusal::StoreUnavailable => {
                unavailable("database_unavailable", "The gateway's database does not answer; try again shortly.")
            }
            Refusal::Overloaded => ErrorAnswer {
                kind: "overloaded_error",
                retry_after: Some(OVERLOAD_WAIT + Duration::from_secs(fastrand::u64(..4))),
                should_retry: Some(true),
                ..server(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "overloaded",
                    "The gateway is at its limit of concurrent requests or of memory; try again shortly.",
                )
            },
            Refusal::UnknownUrl => {
                fault(StatusCode::NOT_FOUND, "unknown_url", "There is nothing at this path; see `GET /`.")
            }
            Refusal::MethodNotAllowed => fault(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_supported",
                "This path does not support that method; see the `Allow` header.",
            ),
            Refusal::BadRequestLine { problem } => fault(StatusCode::BAD_REQUEST, "invalid_request", *problem),
            Refusal::UriTooLong => {
                fault(StatusCode::URI_TOO_LONG, "uri_too_long", "The path and query are longer than 16 KiB.")
            }
            Refusal::DeadlineExceeded { allowed } => ErrorAnswer {
                kind: TIMEOUT,
                should_retry: Some(false),
                ..server(
                    StatusCode::GATEWAY_TIMEOUT,
                    "deadline_exceeded",
                    format!("No provider answered within the {} ms that this request had.", allowed.as_millis()),
                )
            },
            Refusal::Upstream { failure, attempts } => upstream(failure, *attempts),
            Refusal::NoProviderAvailable { retry_after } => ErrorAnswer {
                retry_after: Some(*retry_after),
                should_retry: Some(true),
                ..server(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "no_provider_available",
                    "Every provider that could serve this request has been failing; the next try is after `Retry-After`.",
                )
            },
            Refusal::ProvidersRest { retry_after } => ErrorAnswer {
                retry_after: Some(*retry_after),
                should_retry: Some(true),
                ..answer(
                    StatusCode::TOO_MANY_REQUESTS,
                    RATE_LIMIT,
                    "provider_rate_limited",
                    "Every provider that could serve this request is limiting the gateway's rate.",
                )
            },
            Refusal::Interrupted(failure) => interrupted(failure),
            Refusal::StreamDeadline => ErrorAnswer {
                kind: TIMEOUT,
                ..server(
                    StatusCode::GATEWAY_TIMEOUT,
                    "deadline_exceeded",
                    "The stream ran longer than it may and was ended.",
                )
            },
            Refusal::ShuttingDown => server(
                StatusCode::SERVICE_UNAVAILABLE,
                "server_shutting_down",
                "The gateway is shutting down and ended this stream; ask again.",
            ),
            Refusal::IdempotencyInFlight => ErrorAnswer {
                retry_after: Some(OVERLOAD_WAIT),
                should_retry: Some(true),
                ..fault(
                    StatusCode::CONFLICT,
                    "idempotency_in_flight",
                    "A request with this `Idempotency-Key` is still running; ask again for its answer.",
                )
            },
            Refusal::IdempotencyKeyReused => ErrorAnswer {
                param: Some("Idempotency-Key"),
                ..fault(
                    StatusCode::BAD_REQUEST,
                    "idempotency_key_reused",
                    "This `Idempotency-Key` was sent with another request; use a new one for each.",
                )
            },
            Refusal::Coalesced(refusal) => ErrorAnswer::of(refusal),
            Refusal::Internal => ErrorAnswer {
                kind: "server_error",
                ..server(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal_error",
                    "Something went wrong in the gateway; its log has the details under this request's id.",
                )
            },
        }
    }

    /// The body in the client's shape.
    pub fn body(&self, client: Client, request_id: &str) -> String {
        match client {
            Client::OpenAi | Client::Completions => self.openai_body(),
            Client::Anthropic => {
                let error = AnthropicError {
                    kind: self.anthropic_kind(),
                    message: &self.message,
                    param: self.param,
                    code: self.code,
                };
                serde_json::to_string(&AnthropicBody { kind: "error", error, request_id }).unwrap_or_default()
            }
        }
    }

    /// The same as the last event of a stream.
    pub fn frame(&self, client: Client, request_id: &str) -> Bytes {
        let name = match client {
            Client::OpenAi | Client::Completions => "",
            Client::Anthropic => "event: error\n",
        };
        format!("{name}data: {}\n\n", self.body(client, request_id)).into()
    }

    /// `error.type` as Anthropic names it, by the status.
    fn anthropic_kind(&self) -> &'static str {
        match self.status.as_u16() {
            _ if self.kind == "overloaded_error" => "overloaded_error",
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            408 | 504 => "timeout_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            500.. => "api_error",
            _ => "invalid_request_error",
        }
    }

    /// The body in OpenAI's shape.
    fn openai_body(&self) -> String {
        let error = OpenAiError { message: &self.message, kind: self.kind, param: self.param, code: self.code };
        serde_json::to_string(&OpenAiBody { error }).unwrap_or_default()
    }
}

/// A fault of the caller's: asking again does not help.
fn fault<'a>(status: StatusCode, code: &'static str, message: impl Into<Cow<'a, str>>) -> ErrorAnswer<'a> {
    ErrorAnswer { should_retry: Some(false), ..answer(status, INVALID, code, message) }
}

/// Something of ours is away and comes back by itself.
fn unavailable<'a>(code: &'static str, message: &'static str) -> ErrorAnswer<'a> {
    ErrorAnswer {
        retry_after: Some(OVERLOAD_WAIT),
        should_retry: Some(true),
        ..server(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }
}

fn rate_limited(refusal: &RateRefusal) -> ErrorAnswer<'_> {
    let (code, what) = match refusal.kind {
        RateKind::Requests => ("rate_limit_exceeded", "requests a minute"),
        RateKind::Concurrency => ("rate_limit_exceeded", "requests at one time"),
        RateKind::Tokens => ("tokens_rate_limit_exceeded", "tokens a minute"),
    };
    let message = format!("This key has used up its {what}; the `Retry-After` header says when there is more.");
    ErrorAnswer {
        retry_after: Some(refusal.retry_after),
        should_retry: Some(true),
        ..answer(StatusCode::TOO_MANY_REQUESTS, RATE_LIMIT, code, message)
    }
}

/// A budget that is used up comes back with the next month; one that is set aside, when requests in flight end.
fn budget(shortage: &Shortage) -> ErrorAnswer<'_> {
    let short = match shortage {
        Shortage::Key(short) | Shortage::Global(short) => short,
        Shortage::SharedUnavailable => {
            return unavailable(
                "budget_unavailable",
                "The gateway cannot reach the place where budgets are shared, and spends nothing unseen; try again \
                 shortly.",
            );
        }
    };
    let is_global = matches!(shortage, Shortage::Global(_));
    let whose = if is_global { "The budget of the whole gateway" } else { "This key's budget" };
    let amount = |figure: i64| match short.unit {
        Unit::Usd => format!("${}", Nanodollars(figure)),
        Unit::Tokens => format!("{figure} tokens"),
    };
    let (limit, spent) = (amount(short.limit), amount(short.spent));
    let reset = clock::until_next_period(clock::unix_millis());
    let next = clock::next_period_begins(clock::unix_millis());
    let used_up = |message: String| ErrorAnswer {
        retry_after: Some(reset),
        should_retry: Some(false),
        ..answer(
            StatusCode::TOO_MANY_REQUESTS,
            QUOTA,
            if is_global { "global_budget_exceeded" } else { "budget_exceeded" },
            message,
        )
    };
    match short.kind {
        ShortKind::Spent => {
            used_up(format!("{whose} of {limit} a month is used up ({spent}); it begins anew at {next}."))
        }
        ShortKind::TooLarge => used_up(format!(
            "{whose} of {limit} a month does not allow this request: {spent} is spent and it can cost {}. Lower \
             `max_tokens`, or wait until {next}.",
            amount(short.amount)
        )),
        ShortKind::Reserved => ErrorAnswer {
            retry_after: Some(OVERLOAD_WAIT),
            should_retry: Some(true),
            ..answer(
                StatusCode::TOO_MANY_REQUESTS,
                RATE_LIMIT,
                "budget_reserved",
                format!(
                    "{whose} of {limit} a month is set aside for requests that still run ({} beside {spent} spent); \
                     try again when they have ended.",
                    amount(short.reserved)
                ),
            )
        },
    }
}

/// As much of a name as a message needs.
fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}

/// A fault on our side or the provider's.
fn server<'a>(status: StatusCode, code: &'static str, message: impl Into<Cow<'a, str>>) -> ErrorAnswer<'a> {
    answer(status, API, code, message)
}

fn answer<'a>(
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    message: impl Into<Cow<'a, str>>,
) -> ErrorAnswer<'a> {
    ErrorAnswer { status, kind, code, message: message.into(), param: None, retry_after: None, should_retry: None }
}

/// What a client is told of the failure that ended a request. Of the provider's own words it gets only those that
/// concern its request.
fn upstream(failure: &Failure, attempts: usize) -> ErrorAnswer<'_> {
    let provider = &failure.provider;
    let code = failure.kind.code();
    let told = match &failure.kind {
        Kind::InvalidRequest(body) => return callers_fault(body, "invalid_value", provider),
        Kind::ContextLength(body) => return callers_fault(body, code, provider),
        Kind::ContentFilter(body) => return callers_fault(body, code, provider),
        Kind::Untranslatable(error) => {
            let answer = fault(StatusCode::BAD_REQUEST, error.problem.code(), error.message.as_ref());
            return ErrorAnswer { param: error.param.as_deref(), ..answer };
        }
        Kind::Unresolved | Kind::Unreachable => (StatusCode::BAD_GATEWAY, API, "could not be reached"),
        Kind::Reset | Kind::NotProcessed => (StatusCode::BAD_GATEWAY, API, "closed the connection without an answer"),
        Kind::GivenUp => (StatusCode::BAD_GATEWAY, API, "gave the request up"),
        Kind::ConnectTimeout => (StatusCode::GATEWAY_TIMEOUT, TIMEOUT, "did not accept a connection in time"),
        Kind::Tls => (StatusCode::BAD_GATEWAY, API, "could not be reached securely: its certificate was refused"),
        Kind::HeadersTimeout => (StatusCode::GATEWAY_TIMEOUT, TIMEOUT, "did not answer in time"),
        Kind::FirstContentTimeout => (StatusCode::GATEWAY_TIMEOUT, TIMEOUT, "began an answer and sent no content"),
        Kind::IdleTimeout => (StatusCode::GATEWAY_TIMEOUT, TIMEOUT, "stopped sending in the middle of an answer"),
        Kind::Authentication => (StatusCode::BAD_GATEWAY, API, "refused the gateway's own credential"),
        Kind::QuotaExhausted => {
            (StatusCode::SERVICE_UNAVAILABLE, API, "refused the request: the gateway's account there is out of quota")
        }
        Kind::ModelNotFound => (StatusCode::BAD_GATEWAY, API, "does not have the model that was asked of it"),
        Kind::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "is limiting the gateway's rate"),
        Kind::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded_error", "is overloaded"),
        Kind::ServerError(status @ (503 | 504)) => (server_status(*status), API, "is failing"),
        Kind::ServerError(_) => (StatusCode::BAD_GATEWAY, API, "is failing"),
        Kind::BadResponse => (StatusCode::BAD_GATEWAY, API, "sent something that is not an answer"),
        Kind::Truncated => (StatusCode::BAD_GATEWAY, API, "broke off its answer"),
        Kind::TooLarge => (StatusCode::BAD_GATEWAY, API, "sent an answer that is too large"),
    };
    let (status, kind, what) = told;
    let tried = if attempts > 1 { format!(" {attempts} attempts were made.") } else { String::new() };
    let waits = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    ErrorAnswer {
        retry_after: failure.retry_after.or_else(|| waits.then_some(OVERLOAD_WAIT)),
        should_retry: should_retry(&failure.kind, attempts),
        ..answer(status, kind, code, format!("The provider `{provider}` {what}.{tried}"))
    }
}

/// `false` where waiting does not cure the failure, or where the gateway has tried again already.
fn should_retry(kind: &Kind, attempts: usize) -> Option<bool> {
    match kind {
        Kind::RateLimited => Some(true),
        Kind::Authentication | Kind::QuotaExhausted | Kind::ModelNotFound | Kind::Tls => Some(false),
        _ => (attempts > 1).then_some(false),
    }
}

fn server_status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// The provider finds fault with the request: the caller hears its words, cut and without secrets.
fn callers_fault<'a>(body: &'a ErrorBody, code: &'static str, provider: &str) -> ErrorAnswer<'a> {
    let message: Cow<'a, str> = match body.message.as_str() {
        "" => format!("The provider `{provider}` finds fault with this request.").into(),
        message => redact(message),
    };
    ErrorAnswer { param: body.param.as_deref(), ..fault(StatusCode::BAD_REQUEST, code, message) }
}

/// Cuts out what looks like a key or a URL: a provider may quote ours.
fn redact(message: &str) -> Cow<'_, str> {
    let is_secret = |word: &str| {
        let word = word.trim_start_matches(|c: char| !c.is_alphanumeric());
        ["sk-", "gw-", "gsk_", "AIza", "Bearer", "http://", "https://"].iter().any(|mark| word.starts_with(mark))
    };
    if !message.split_whitespace().any(is_secret) {
        return message.into();
    }
    let words = message.split(' ').map(|word| if is_secret(word) { "[redacted]" } else { word });
    words.collect::<Vec<_>>().join(" ").into()
}

/// A stream that broke: the code says how where that helps, else just that it did.
fn interrupted(failure: &Failure) -> ErrorAnswer<'_> {
    let answer = upstream(failure, 1);
    match failure.kind {
        Kind::Truncated | Kind::Reset | Kind::GivenUp => ErrorAnswer {
            code: "stream_interrupted",
            message: format!("The provider `{}` broke off in the middle of its answer.", failure.provider).into(),
            ..answer
        },
        _ => answer,
    }
}

fn unknown_model(model: &str, close: &[String]) -> String {
    let model = shown(model);
    let hint = match close {
        [] => "see `GET /v1/models` for what there is.".to_owned(),
        close => format!("did you mean {}?", close.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" or ")),
    };
    format!("No provider has a model `{model}`; {hint}")
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.response(Client::OpenAi, "")
    }
}

impl Refusal {
    /// The answer in the client's shape.
    pub(super) fn response(&self, client: Client, request_id: &str) -> Response {
        let answer = ErrorAnswer::of(self);
        let json = HeaderValue::from_static("application/json");
        let body = answer.body(client, request_id);
        let mut response = (answer.status, [(header::CONTENT_TYPE, json)], body).into_response();
        let headers = response.headers_mut();
        if let Some(wait) = answer.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(should_retry) = answer.should_retry {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static(if should_retry { "true" } else { "false" }));
        }
        if let Refusal::RateLimited(refusal) = self {
            super::insert_rate_headers(headers, &refusal.status);
        }
        if let Refusal::Upstream { failure, .. } = self {
            super::insert_target_headers(headers, &failure.provider, &failure.model);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: Kind) -> Failure {
        let detail = "connect to 10.0.0.7:443 with sk-secret".to_owned();
        Failure { kind, provider: "openai".into(), model: "gpt-4o-mini".into(), retry_after: None, detail }
    }

    #[test]
    fn failures_of_the_matrix_reach_the_client_as_it_says() {
        for (kind, status, error_type, code) in [
            (Kind::Unreachable, 502, "api_error", "provider_unreachable"),
            (Kind::ConnectTimeout, 504, "timeout_error", "provider_timeout"),
            (Kind::Tls, 502, "api_error", "provider_tls_error"),
            (Kind::HeadersTimeout, 504, "timeout_error", "provider_timeout"),
            (Kind::FirstContentTimeout, 504, "timeout_error", "first_token_timeout"),
            (Kind::IdleTimeout, 504, "timeout_error", "stream_idle_timeout"),
            (Kind::Authentication, 502, "api_error", "provider_auth_error"),
            (Kind::QuotaExhausted, 503, "api_error", "provider_quota_exhausted"),
            (Kind::ModelNotFound, 502, "api_error", "provider_model_not_found"),
            (Kind::RateLimited, 429, "rate_limit_error", "provider_rate_limited"),
            (Kind::Overloaded, 503, "overloaded_error", "provider_overloaded"),
            (Kind::ServerError(500), 502, "api_error", "provider_error"),
            (Kind::ServerError(503), 503, "api_error", "provider_error"),
            (Kind::ServerError(504), 504, "api_error", "provider_error"),
            (Kind::ServerError(302), 502, "api_error", "provider_error"),
            (Kind::BadResponse, 502, "api_error", "provider_bad_response"),
            (Kind::Truncated, 502, "api_error", "provider_truncated"),
            (Kind::TooLarge, 502, "api_error", "provider_response_too_large"),
        ] {
            let refusal = Refusal::Upstream { failure: Box::new(failure(kind)), attempts: 1 };
            let answer = ErrorAnswer::of(&refusal);
            assert_eq!((answer.status.as_u16(), answer.kind, answer.code), (status, error_type, code));
            assert!(!answer.message.contains("10.0.0.7") && !answer.message.contains("sk-secret"));
        }
    }

    #[test]
    fn a_providers_words_pass_without_its_secrets() {
        assert_eq!(redact("max_tokens is too large"), "max_tokens is too large");
        assert_eq!(redact("key sk-abc123 at https://x.y is bad"), "key [redacted] at [redacted] is bad");
    }

    #[test]
    fn an_unknown_model_names_close_ones() {
        let refusal = Refusal::UnknownModel { model: "gpt4".into(), close: vec!["gpt-4o".into(), "gpt-4.1".into()] };

        let answer = ErrorAnswer::of(&refusal);

        assert_eq!(answer.message, "No provider has a model `gpt4`; did you mean `gpt-4o` or `gpt-4.1`?");
        assert_eq!(
            answer.body(Client::OpenAi, ""),
            r#"{"error":{"message":"No provider has a model `gpt4`; did you mean `gpt-4o` or `gpt-4.1`?","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#
        );
    }
}
