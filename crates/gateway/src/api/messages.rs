//! `POST /v1/messages` and `/v1/messages/count_tokens`: Anthropic's API, in front of any model.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use serde::Serialize;

use super::access::Client;
use crate::call::Surface;
use crate::pipeline;
use crate::refusal::Refusal;
use crate::server::Worker;

#[derive(Serialize)]
struct Count {
    input_tokens: u64,
}

pub(super) async fn create(
    State(worker): State<Arc<Worker>>,
    client: Result<Client, Refusal>,
    request: Request,
) -> Response {
    let request_id = super::request_id(request.headers());
    let response = match client {
        Ok(Client(caller)) => super::answer(worker, caller, Surface::Messages, request).await,
        Err(refusal) => refusal.response(Surface::Messages.client(), &request_id),
    };
    with_id(response, &request_id)
}

/// The request's id under the name that Anthropic's clients look for.
fn with_id(mut response: Response, request_id: &str) -> Response {
    if let Ok(id) = HeaderValue::try_from(request_id) {
        response.headers_mut().insert("request-id", id);
    }
    response
}

pub(super) async fn count_tokens(
    State(worker): State<Arc<Worker>>,
    client: Result<Client, Refusal>,
    request: Request,
) -> Response {
    let request_id = super::request_id(request.headers());
    let counted = match client {
        Ok(Client(caller)) => {
            let (head, body) = super::take_apart(caller, request);
            pipeline::count_tokens(&worker, head, body).await
        }
        Err(refusal) => Err(refusal),
    };
    let response = match counted {
        Ok(input_tokens) => Json(Count { input_tokens }).into_response(),
        Err(refusal) => refusal.response(Surface::CountTokens.client(), &request_id),
    };
    with_id(response, &request_id)
}
