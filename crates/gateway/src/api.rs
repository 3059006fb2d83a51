//! The HTTP surface: the route table and what every answer carries.

mod chat;
mod embeddings;
pub mod error;
pub mod layers;
mod models;
mod status;

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};

use crate::call::{Head, Surface};
use crate::clock::Instant;
use crate::pipeline::{self, Reply, ReplyBody};
use crate::refusal::Refusal;
use crate::server::Worker;

/// The id of a request, on its answer and in the log.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROVIDER: HeaderName = HeaderName::from_static("x-gateway-provider");
const MODEL: HeaderName = HeaderName::from_static("x-gateway-model");
const CACHE: HeaderName = HeaderName::from_static("x-gateway-cache");

/// Every route, grouped by who may call it. There are no gateway keys yet, so the groups are public and caller.
pub fn router(worker: Worker) -> Router {
    let public = Router::new()
        .route("/", get(status::root))
        .route("/health", get(status::health))
        .route("/health/live", get(status::live))
        .route("/health/ready", get(status::ready))
        .route("/metrics", get(status::metrics));
    let caller = Router::new()
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::retrieve));
    public
        .merge(caller)
        .fallback(async || Refusal::UnknownUrl)
        .method_not_allowed_fallback(async || Refusal::MethodNotAllowed)
        .with_state(worker)
}

/// Sends one request through the pipeline and renders what comes out.
async fn answer(worker: &Worker, surface: Surface, request: Request<axum::body::Body>) -> Response {
    let (parts, body) = request.into_parts();
    let received = parts.extensions.get::<Instant>().copied().unwrap_or_else(crate::clock::now);
    let request_id = parts.headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default().into();
    let head = Head { request_id, headers: parts.headers, received };
    match pipeline::run(worker, surface, head, body).await {
        Ok(reply) => render(reply),
        Err(refusal) => axum::response::IntoResponse::into_response(refusal),
    }
}

fn render(reply: Reply) -> Response {
    let (body, content_type) = match reply.body {
        ReplyBody::Whole(body) => (axum::body::Body::from(body), "application/json"),
        ReplyBody::Stream(body) => (axum::body::Body::new(body), "text/event-stream; charset=utf-8"),
    };
    let is_stream = content_type != "application/json";
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if is_stream {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        // nginx would hold events back otherwise.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    }
    headers.insert(CACHE, HeaderValue::from_static("bypass"));
    if let Some(target) = &reply.target {
        insert_target_headers(headers, &target.offer.provider.name, &target.offer.model);
    }
    response
}

fn insert_target_headers(headers: &mut HeaderMap, provider: &str, model: &str) {
    for (name, value) in [(PROVIDER, provider), (MODEL, model)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}
