//! `POST /api/feedback`: what somebody thought of an answer.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use wire::Problem;

use crate::feedback;
use crate::gateway::Gateway;
use crate::refusal::Refusal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Opinion {
    /// The `X-Request-ID` of an answer whose model the router chose.
    request_id: String,
    /// Share of a perfect answer, 0 to 1.
    score: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Taken {
    object: &'static str,
    request_id: String,
    provider: String,
    model: String,
    score: f64,
}

pub(super) async fn give(
    State(gateway): State<Arc<Gateway>>,
    body: Bytes,
) -> Result<(StatusCode, Json<Taken>), Refusal> {
    let Opinion { request_id, score } = super::read_json(&body)?;
    if !(0.0..=1.0).contains(&score) {
        let message = "`score` is a number from 0, useless, to 1, perfect.";
        return Err(wire::Error::at("score", Problem::InvalidValue, message).into());
    }
    let answered = feedback::give(&gateway, &request_id, score).await?;
    let (provider, model) = (answered.provider.to_string(), answered.model.to_string());
    Ok((StatusCode::CREATED, Json(Taken { object: "feedback", request_id, provider, model, score })))
}
