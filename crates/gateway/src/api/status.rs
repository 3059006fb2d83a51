//! Who we are and how we are: `GET /`, `/health` and its kin, `/metrics`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;

use crate::clock;
use crate::directory::{HealthState, Provider};
use crate::gateway::Gateway;
use crate::latency::Quantiles;
use crate::refusal::Refusal;

#[derive(Serialize)]
pub(super) struct Root {
    name: &'static str,
    version: &'static str,
    endpoints: [&'static str; 8],
}

pub(super) async fn root() -> Json<Root> {
    Json(Root {
        name: "llm-gateway",
        version: env!("CARGO_PKG_VERSION"),
        endpoints: [
            "POST /v1/chat/completions",
            "POST /v1/embeddings",
            "GET /v1/models",
            "GET /v1/models/{id}",
            "GET /health",
            "GET /health/live",
            "GET /health/ready",
            "GET /metrics",
        ],
    })
}

#[derive(Serialize)]
struct HealthReport {
    /// `ok`; `degraded` while some provider fails; `unavailable` while none answers; `draining` before the end.
    status: &'static str,
    version: &'static str,
    uptime_seconds: u64,
    active_requests: usize,
    providers: ProvidersReport,
}

#[derive(Serialize)]
struct ProvidersReport {
    healthy: usize,
    total: usize,
    details: Vec<ProviderReport>,
}

#[derive(Serialize)]
struct ProviderReport {
    name: String,
    /// `healthy`, `unhealthy`, or `unknown` before the first check.
    status: &'static str,
    /// What was wrong at the last check, without addresses.
    problem: Option<String>,
    models: Vec<ModelReport>,
}

#[derive(Serialize)]
struct ModelReport {
    model: String,
    first_content_ms: Option<Quantiles>,
    total_ms: Option<Quantiles>,
}

pub(super) async fn health(State(gateway): State<Arc<Gateway>>) -> Response {
    let live = gateway.registry.snapshot();
    let providers = &live.directory.providers;
    let healthy = providers.iter().filter(|provider| provider.health.state() == HealthState::Healthy).count();
    let unhealthy = providers.iter().filter(|provider| !provider.is_healthy()).count();
    let status = match (gateway.tasks.draining().is_cancelled(), unhealthy) {
        (true, _) => "draining",
        (false, 0) => "ok",
        (false, count) if count < providers.len() => "degraded",
        (false, _) => "unavailable",
    };
    let code = match status {
        "ok" | "degraded" => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let details = providers.iter().map(|provider| report(provider, &live.directory.offers)).collect();
    let report = HealthReport {
        status,
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: clock::now().duration_since(gateway.started).as_secs(),
        active_requests: gateway.concurrency.active(),
        providers: ProvidersReport { healthy, total: providers.len(), details },
    };
    (code, Json(report)).into_response()
}

fn report(provider: &Provider, offers: &[Arc<crate::directory::Offer>]) -> ProviderReport {
    let measured = offers.iter().filter(|offer| offer.provider.name == provider.name).filter_map(|offer| {
        let (first_content_ms, total_ms) = (offer.stats.first_content.quantiles(), offer.stats.total.quantiles());
        total_ms.is_some().then(|| ModelReport { model: offer.model.to_string(), first_content_ms, total_ms })
    });
    ProviderReport {
        name: provider.name.to_string(),
        status: match provider.health.state() {
            HealthState::Unknown => "unknown",
            HealthState::Healthy => "healthy",
            HealthState::Unhealthy => "unhealthy",
        },
        problem: provider.health.problem(),
        models: measured.collect(),
    }
}

pub(super) async fn live() -> StatusCode {
    StatusCode::OK
}

/// Ready to take traffic: not while draining.
pub(super) async fn ready(State(gateway): State<Arc<Gateway>>) -> StatusCode {
    if gateway.tasks.draining().is_cancelled() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

pub(super) async fn metrics(State(gateway): State<Arc<Gateway>>) -> Response {
    let live = gateway.registry.snapshot();
    if !live.config.enable_metrics {
        return Refusal::UnknownUrl.into_response();
    }
    let text = live.metrics.render();
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}
