//! The HTTP surface: the route table and what every answer carries.

pub mod access;
mod admin;
mod breakers;
mod budget;
mod cache;
mod chat;
mod completions;
mod embeddings;
pub mod error;
mod feedback;
pub mod layers;
mod media;
mod messages;
mod models;
mod route;
mod status;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, patch, post};
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use serde::Deserialize;
use wire::Problem;

use crate::cache::{Outcome, Tier};
use crate::call::{Head, Surface};
use crate::clock::Instant;
use crate::keys::Caller;
use crate::limits::rates::RateStatus;
use crate::pipeline::{self, Origin, Reply, ReplyBody};
use crate::refusal::Refusal;
use crate::server::Worker;

/// The id of a request, on its answer and in the log.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROVIDER: HeaderName = HeaderName::from_static("x-gateway-provider");
const MODEL: HeaderName = HeaderName::from_static("x-gateway-model");
const CACHE: HeaderName = HeaderName::from_static("x-gateway-cache");
/// The answer is that of an earlier request with the same `Idempotency-Key`.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Limit, what is left of it, and when all of it is there again.
const REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

/// Every route, in one of five groups by who may call it. Those of the group `caller` have to say so themselves: their
/// handlers take an [`access::Client`], which there is for a caller only.
pub fn router(worker: Arc<Worker>) -> Router {
    let gateway = worker.gateway.clone();
    let public = Router::new()
        .route("/", get(status::root))
        .route("/health", get(status::health))
        .route("/health/live", get(status::live))
        .route("/health/ready", get(status::ready));
    let scraper = Router::new()
        .route("/metrics", get(status::metrics))
        .route_layer(from_fn_with_state(gateway.clone(), access::scraper));
    let reader = Router::new()
        .route("/api/budget", get(budget::show))
        .route("/api/cache/stats", get(cache::stats))
        .route("/api/circuit-breakers", get(breakers::show))
        .route_layer(from_fn_with_state(gateway.clone(), access::reader));
    let admin = Router::new()
        .route("/api/feedback", post(feedback::give))
        .route("/api/admin/routing", get(admin::routing::show).put(admin::routing::change))
        .route("/api/cache/entries", get(cache::entries))
        .route("/api/cache/invalidate", post(cache::invalidate))
        .route("/api/cache/feedback", post(cache::feedback))
        .route("/api/admin/keys", get(admin::keys::list).post(admin::keys::create))
        .route("/api/admin/keys/{id}", patch(admin::keys::update).delete(admin::keys::revoke))
        .route("/api/admin/keys/{id}/rotate", post(admin::keys::rotate))
        .route_layer(from_fn_with_state(gateway.clone(), access::admin));
    // Without a layer: a layer boxes every request's future once more.
    let caller = Router::new()
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/completions", post(completions::create))
        .route("/v1/messages", post(messages::create))
        .route("/v1/messages/count_tokens", post(messages::count_tokens))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/v1/route/explain", post(route::explain))
        .merge(media::routes())
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::retrieve))
        .with_state(worker);
    public
        .merge(scraper)
        .merge(reader)
        .merge(admin)
        .with_state(gateway)
        .merge(caller)
        .fallback(async || Refusal::UnknownUrl)
        .method_not_allowed_fallback(async || Refusal::MethodNotAllowed)
}

/// Sends one request through the pipeline and renders what comes out.
async fn answer(
    worker: Arc<Worker>,
    caller: Arc<Caller>,
    surface: Surface,
    request: Request<axum::body::Body>,
) -> Response {
    let (head, body) = take_apart(caller, request);
    let request_id = head.request_id.clone();
    match pipeline::run(&worker, surface, head, body).await {
        Ok(reply) => render(reply),
        Err(refusal) => refusal.response(surface.client(), &request_id),
    }
}

/// Reads a body of ours: unknown fields are refused by name where its type says so.
fn read_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    let reader = &mut serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let path = error.path().to_string();
        let param = (path != ".").then_some(path);
        let message = format!("The body is not accepted: {}.", without_place(&error.into_inner().to_string()));
        Refusal::Invalid(wire::Error { param, problem: Problem::InvalidValue, message: message.into() })
    })
}

/// serde_json's message without its line and column, which mean nothing to somebody who sent one line.
fn without_place(message: &str) -> &str {
    message.split(" at line ").next().unwrap_or(message)
}

/// The head of a caller's request, and its body.
fn take_apart(caller: Arc<Caller>, request: Request<axum::body::Body>) -> (Head, axum::body::Body) {
    let (parts, body) = request.into_parts();
    let received = parts.extensions.get::<Instant>().copied().unwrap_or_else(crate::clock::now);
    let request_id = request_id(&parts.headers);
    (Head { request_id, headers: parts.headers, received, caller }, body)
}

fn request_id(headers: &HeaderMap) -> Arc<str> {
    headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default().into()
}

fn render(reply: Reply) -> Response {
    let kept = match &reply.body {
        ReplyBody::Again(answer) => Some(answer.clone()),
        ReplyBody::Whole(_)
        | ReplyBody::Raw(..)
        | ReplyBody::Events(_)
        | ReplyBody::Stream(_)
        | ReplyBody::Recorded(_) => None,
    };
    let mut media_type = None;
    let (body, is_stream) = match reply.body {
        ReplyBody::Whole(body) => (axum::body::Body::from(body), false),
        ReplyBody::Raw(body, kind) => {
            media_type = HeaderValue::try_from(kind).ok();
            (axum::body::Body::from(body), false)
        }
        ReplyBody::Events(body) => (axum::body::Body::from(body), true),
        ReplyBody::Stream(body) => (axum::body::Body::new(body), true),
        ReplyBody::Recorded(body) => (axum::body::Body::new(body), true),
        ReplyBody::Again(answer) => (axum::body::Body::from(answer.body.clone()), answer.is_stream),
    };
    let content_type = if is_stream { "text/event-stream; charset=utf-8" } else { "application/json" };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media_type.unwrap_or(HeaderValue::from_static(content_type)));
    if is_stream {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        // nginx would hold events back otherwise.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    }
    let cache = match (reply.origin, reply.cache) {
        (Origin::Coalesced, _) => "coalesced",
        (_, Outcome::Found(Tier::Semantic)) => "semantic",
        (_, Outcome::Found(Tier::Exact | Tier::Normalised)) => "hit",
        (_, Outcome::Missed) => "miss",
        (_, Outcome::Bypassed) => "bypass",
    };
    headers.insert(CACHE, HeaderValue::from_static(cache));
    if let Some(answer) = kept {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
        insert_target_headers(headers, &answer.provider, &answer.model);
    }
    insert_rate_headers(headers, &reply.rates);
    if let Some(target) = &reply.target {
        insert_target_headers(headers, &target.offer.provider.name, &target.offer.model);
    }
    response
}

/// OpenAI's headers of what is left; none for a limit that there is not.
fn insert_rate_headers(headers: &mut HeaderMap, status: &RateStatus) {
    for (names, window) in [(REQUESTS, &status.requests), (TOKENS, &status.tokens)] {
        let Some(window) = window else { continue };
        let [limit, remaining, reset] = names;
        headers.insert(limit, HeaderValue::from(window.limit));
        headers.insert(remaining, HeaderValue::from(window.remaining));
        if let Ok(value) = HeaderValue::try_from(duration(window.reset)) {
            headers.insert(reset, value);
        }
    }
}

/// A time as OpenAI's headers write it: `850ms`, `12.5s`.
fn duration(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{}ms", time.as_millis())
    } else {
        format!("{}s", time.as_millis() as f64 / 1e3)
    }
}

fn insert_target_headers(headers: &mut HeaderMap, provider: &str, model: &str) {
    for (name, value) in [(PROVIDER, provider), (MODEL, model)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}
