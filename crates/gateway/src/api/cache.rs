//! `/api/cache`: how the cache does, what is in it, and what has to go.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wire::Problem;

use super::read_json;
use crate::cache::{Entry, Report, Selector};
use crate::gateway::Gateway;
use crate::refusal::Refusal;

/// Entries that are listed.
const LISTED: usize = 200;

pub(super) async fn stats(State(gateway): State<Arc<Gateway>>) -> Json<Report> {
    Json(gateway.cache.report(&gateway.registry.snapshot()))
}

#[derive(Debug, Serialize)]
pub(super) struct List {
    object: &'static str,
    data: Vec<Row>,
}

/// One entry without what it says.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    key: String,
    api: String,
    model_asked: String,
    provider: String,
    model: String,
    made_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    bytes: usize,
    hits: u64,
}

pub(super) async fn entries(State(gateway): State<Arc<Gateway>>) -> Json<List> {
    Json(List { object: "list", data: gateway.cache.entries(LISTED).iter().map(|entry| row(entry)).collect() })
}

fn row(entry: &Entry) -> Row {
    let time = |at_ms: i64| Timestamp::from_millisecond(at_ms).ok();
    Row {
        id: entry.id.to_string(),
        key: entry.owner.to_string(),
        api: format!("/v1{}", entry.surface),
        model_asked: entry.asked.to_string(),
        provider: entry.provider.to_string(),
        model: entry.model.to_string(),
        made_at: time(entry.made_at_ms),
        expires_at: time(entry.expires_at_ms),
        bytes: entry.answer.len(),
        hits: entry.hits.load(Ordering::Relaxed),
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Invalidated {
    /// Entries that this replica held; the others remove theirs within a second.
    removed: usize,
}

pub(super) async fn invalidate(State(gateway): State<Arc<Gateway>>, body: Bytes) -> Result<Json<Invalidated>, Refusal> {
    let selector: Selector = if body.is_empty() { Selector::default() } else { read_json(&body)? };
    let removed = gateway.cache.invalidate(&gateway.registry.snapshot(), selector).await;
    let removed = removed.map_err(|_| Refusal::StoreUnavailable)?;
    Ok(Json(Invalidated { removed }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Feedback {
    id: String,
    verdict: Verdict,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// The answer does not serve the question.
    Bad,
}

#[derive(Debug, Serialize)]
pub(super) struct Noted {
    noted: bool,
}

pub(super) async fn feedback(State(gateway): State<Arc<Gateway>>, body: Bytes) -> Result<Json<Noted>, Refusal> {
    let Feedback { id, verdict: Verdict::Bad } = read_json(&body)?;
    let rejected = gateway.cache.reject(&gateway.registry.snapshot(), &id).await;
    match rejected.map_err(|_| Refusal::StoreUnavailable)? {
        true => Ok(Json(Noted { noted: true })),
        false => {
            let message = "`id` is that of no entry: it stands in the answer's metadata under `cache.id`.";
            Err(wire::Error::at("id", Problem::InvalidValue, message.to_owned()).into())
        }
    }
}
