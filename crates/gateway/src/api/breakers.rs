//! `GET /api/circuit-breakers`: which models at which providers are asked at the moment, and why others are not.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::clock;
use crate::directory::{Directory, Provider};
use crate::gateway::Gateway;

#[derive(Debug, Serialize)]
pub(super) struct Breakers {
    circuit_breakers: Vec<Row>,
    providers: Vec<ProviderRow>,
}

/// One model at one provider that requests have been sent to.
#[derive(Debug, Serialize)]
struct Row {
    provider: String,
    model: String,
    /// `closed`, `half_open` or `open`.
    state: &'static str,
    failures_in_a_row: u32,
    /// Why it is not closed: `circuit_open`, `credentials_retired` or `resting`.
    reason: Option<&'static str>,
    /// Seconds until a request is let through.
    retry_in_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct ProviderRow {
    provider: String,
    credentials: usize,
    retired: Vec<Retired>,
}

/// A credential that is not used for a while.
#[derive(Debug, Serialize)]
struct Retired {
    /// Its place in the configuration, from 1.
    credential: usize,
    /// The code of the failure.
    reason: &'static str,
    retry_in_seconds: f64,
}

pub(super) async fn show(State(gateway): State<Arc<Gateway>>) -> Json<Breakers> {
    let live = gateway.registry.snapshot();
    let providers = live.directory.providers.iter().map(provider_row).collect();
    Json(Breakers { circuit_breakers: rows(&live.directory), providers })
}

fn rows(directory: &Directory) -> Vec<Row> {
    let now = clock::now();
    let reports = directory.offers.iter().map(|offer| (offer, offer.standing.report(offer, now)));
    let used = reports.filter(|(_, report)| report.is_touched);
    let row = |(offer, report): (&Arc<crate::directory::Offer>, crate::upstream::standing::Report)| Row {
        provider: offer.provider.name.to_string(),
        model: offer.model.to_string(),
        state: report.state.as_str(),
        failures_in_a_row: report.failures_in_a_row,
        reason: report.why.map(|why| why.as_str()),
        retry_in_seconds: report.until.map(|until| seconds(until.saturating_duration_since(now))),
    };
    used.map(row).collect()
}

fn provider_row(provider: &Arc<Provider>) -> ProviderRow {
    let now = clock::now();
    let credentials = provider.credentials.iter().enumerate();
    let retired = credentials.filter_map(|(place, credential)| {
        let (until, reason) = credential.retired(now)?;
        let retry_in_seconds = seconds(until.saturating_duration_since(now));
        Some(Retired { credential: place.saturating_add(1), reason, retry_in_seconds })
    });
    let retired = retired.collect();
    ProviderRow { provider: provider.name.to_string(), credentials: provider.credentials.len(), retired }
}

/// To the millisecond.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}
