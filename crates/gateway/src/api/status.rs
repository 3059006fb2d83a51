//! Who we are and how we are: `GET /`, `/health` and its kin, `/metrics`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;

use super::access;
use crate::clock;
use crate::config::Config;
use crate::directory::{Directory, HealthState, Provider};
use crate::gateway::Gateway;
use crate::latency::Quantiles;
use crate::ledger;
use crate::limits::budget::Ceiling;
use crate::limits::budgets::Account;
use crate::refusal::Refusal;
use crate::telemetry::metrics::Metrics;
use crate::usage::MonthReport;

#[derive(Serialize)]
pub(super) struct Root {
    name: &'static str,
    version: &'static str,
    endpoints: [&'static str; 21],
}

pub(super) async fn root() -> Json<Root> {
    Json(Root {
        name: "llm-gateway",
        version: env!("CARGO_PKG_VERSION"),
        endpoints: [
            "POST /v1/chat/completions",
            "POST /v1/completions",
            "POST /v1/messages",
            "POST /v1/messages/count_tokens",
            "POST /v1/embeddings",
            "GET /v1/models",
            "GET /v1/models/{id}",
            "POST /v1/route/explain",
            "GET /health",
            "GET /health/live",
            "GET /health/ready",
            "GET /metrics",
            "GET /api/budget",
            "POST /api/feedback",
            "GET /api/admin/routing",
            "PUT /api/admin/routing",
            "GET /api/admin/keys",
            "POST /api/admin/keys",
            "PATCH /api/admin/keys/{id}",
            "POST /api/admin/keys/{id}/rotate",
            "DELETE /api/admin/keys/{id or key}",
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
    storage: StorageReport,
    budget: MonthReport,
    providers: ProvidersReport,
}

/// What everybody may know who reaches the port.
#[derive(Serialize)]
struct Word {
    status: &'static str,
}

#[derive(Serialize)]
struct StorageReport {
    /// `sqlite` or `postgresql`.
    database: &'static str,
    /// What is wrong with it.
    database_problem: Option<String>,
    /// `none`, `up` or `down`.
    redis: &'static str,
    /// What is wrong with the journal of money. Requests that cost are refused while something is.
    ledger_problem: Option<String>,
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

pub(super) async fn health(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let live = gateway.registry.snapshot();
    let providers = &live.directory.providers;
    let healthy = providers.iter().filter(|provider| provider.health.state() == HealthState::Healthy).count();
    let unhealthy = providers.iter().filter(|provider| !provider.is_healthy()).count();
    let storage = storage(&gateway);
    let is_whole = storage.database_problem.is_none() && storage.redis != "down" && storage.ledger_problem.is_none();
    let status = match (gateway.tasks.leaving().is_cancelled(), unhealthy) {
        (true, _) => "draining",
        (false, 0) if is_whole => "ok",
        (false, count) if count < providers.len() || count == 0 => "degraded",
        (false, _) => "unavailable",
    };
    let code = match status {
        "ok" | "degraded" => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    if access::may_read(&gateway, &request).is_err() {
        return (code, Json(Word { status })).into_response();
    }
    let details = providers.iter().map(|provider| report(provider, &live.directory.offers)).collect();
    let report = HealthReport {
        status,
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: clock::now().duration_since(gateway.started).as_secs(),
        active_requests: gateway.concurrency.active(),
        storage,
        budget: MonthReport::of(gateway.ledger.budgets.global(), ledger::global_ceiling(&live.config)),
        providers: ProvidersReport { healthy, total: providers.len(), details },
    };
    (code, Json(report)).into_response()
}

fn storage(gateway: &Gateway) -> StorageReport {
    StorageReport {
        database: if gateway.store.is_postgres() { "postgresql" } else { "sqlite" },
        database_problem: gateway.store_health.problem(),
        redis: match &gateway.shared {
            None => "none",
            Some(shared) if shared.is_up() => "up",
            Some(_) => "down",
        },
        ledger_problem: gateway.ledger.problem(),
    }
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
    if gateway.tasks.leaving().is_cancelled() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

pub(super) async fn metrics(State(gateway): State<Arc<Gateway>>) -> Response {
    let live = gateway.registry.snapshot();
    if !live.config.enable_metrics {
        return Refusal::UnknownUrl.into_response();
    }
    let metrics = &live.metrics;
    let storage = storage(&gateway);
    metrics.resident_memory.set(i64::try_from(gateway.memory.resident_bytes()).unwrap_or(i64::MAX));
    metrics.database_up.set(i64::from(storage.database_problem.is_none()));
    metrics.redis_up.set(i64::from(storage.redis != "down"));
    metrics.ledger_up.set(i64::from(storage.ledger_problem.is_none()));
    standings(metrics, &live.directory);
    metrics.budgets_left(budgets_left(&gateway, &live.config).into_iter());
    let text = metrics.render();
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

/// Brings the gauges of breakers and credentials up to date.
fn standings(metrics: &Metrics, directory: &Directory) {
    let now = clock::now();
    let breakers = directory.offers.iter().filter_map(|offer| {
        let report = offer.standing.report(offer, now);
        report.is_touched.then(|| (&offer.provider.name, &*offer.model, report.state))
    });
    let retired = directory.providers.iter().map(|provider| {
        let retired = provider.credentials.iter().filter(|credential| credential.retired(now).is_some());
        (&provider.name, retired.count())
    });
    metrics.standings(breakers, retired);
}

/// What is left of each budget that there is.
fn budgets_left(gateway: &Gateway, config: &Config) -> Vec<(String, &'static str, f64)> {
    let budgets = &gateway.ledger.budgets;
    let period = clock::period(clock::unix_millis());
    let mut left = Vec::new();
    let mut add = |id: &str, account: &Account, ceiling: Ceiling| {
        let remaining = account.status(ceiling, period).remaining;
        left.extend(remaining.usd.map(|usd| (id.to_owned(), "usd", usd.to_usd())));
        left.extend(remaining.tokens.map(|tokens| (id.to_owned(), "tokens", tokens as f64)));
    };
    add(budgets.global().id(), budgets.global(), ledger::global_ceiling(config));
    for caller in gateway.keys.callers() {
        add(&caller.id, &caller.account, caller.ceiling);
    }
    left
}
