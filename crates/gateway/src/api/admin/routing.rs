//! `/api/admin/routing`: how `auto` chooses, and changing it while the gateway runs.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use routing::Strategy;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::SettingChange;
use tracing::{info, warn};

use super::super::read_json;
use super::ACTOR;
use crate::clock;
use crate::config::{Config, Routing};
use crate::gateway::Gateway;
use crate::policy::{self, Chain};
use crate::refusal::Refusal;
use crate::steering::{self, Changes, WeightsForm};

/// Steps of the history that are shown.
const HISTORY: u32 = 50;

/// What is in force, and how it came about.
#[derive(Debug, Serialize)]
pub(in crate::api) struct Answer {
    #[serde(flatten)]
    in_force: InForce,
    /// What an admin changed; all else is as configured.
    changes: Changes,
    /// Nothing was written: this is what would be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    presets: Vec<Preset>,
    history: Vec<Step>,
}

#[derive(Debug, Serialize)]
struct InForce {
    strategy: &'static str,
    weights: WeightsForm,
    prefer_local: bool,
    prefer_local_ratio: f64,
    local_quality_floor: Option<f64>,
    max_cost_per_1k_usd: Option<f64>,
    max_latency_ms: Option<f64>,
    sticky: bool,
    composite_plans: &'static str,
    fallback_chain: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Preset {
    strategy: &'static str,
    weights: WeightsForm,
}

/// One change.
#[derive(Debug, Serialize)]
struct Step {
    /// RFC 3339.
    at: Option<jiff::Timestamp>,
    actor: String,
    before: Option<Box<RawValue>>,
    after: Option<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::api) struct Options {
    /// Checks and shows, and changes nothing.
    dry_run: bool,
}

pub(in crate::api) async fn show(State(gateway): State<Arc<Gateway>>) -> Result<Json<Answer>, Refusal> {
    let live = gateway.registry.snapshot();
    let changes = live.changes.as_ref().clone();
    answer(&gateway, &live.config, changes, false).await.map(Json)
}

/// Puts these changes in the place of those before: what is left out is as configured again.
pub(in crate::api) async fn change(
    State(gateway): State<Arc<Gateway>>,
    Query(options): Query<Options>,
    body: Bytes,
) -> Result<Json<Answer>, Refusal> {
    let changes: Changes = read_json(&body)?;
    changes.check()?;
    let live = gateway.registry.snapshot();
    if !options.dry_run {
        let value = serde_json::to_string(&changes).map_err(|_| Refusal::Internal)?;
        let change =
            SettingChange { name: steering::SETTING, value: &value, actor: ACTOR, at_ms: clock::unix_millis() };
        gateway.store.change_setting(change).await.map_err(|error| {
            warn!(error = %Chain(&error), "a change of the routing could not be written");
            Refusal::StoreUnavailable
        })?;
        info!(changes = value, "the routing was changed");
        policy::refresh(&gateway).await;
    }
    answer(&gateway, &live.config, changes, options.dry_run).await.map(Json)
}

async fn answer(gateway: &Gateway, config: &Config, changes: Changes, dry_run: bool) -> Result<Answer, Refusal> {
    let rows = gateway.store.audit_of(steering::SETTING, HISTORY).await.map_err(|error| {
        warn!(error = %Chain(&error), "the history of the routing cannot be read");
        Refusal::StoreUnavailable
    })?;
    let json = |text: Option<String>| text.and_then(|text| RawValue::from_string(text).ok());
    let step = |row: store::AuditRow| Step {
        at: jiff::Timestamp::from_millisecond(row.at_ms).ok(),
        actor: row.actor,
        before: json(row.before),
        after: json(row.after),
    };
    let preset = |strategy: Strategy| Preset { strategy: strategy.as_str(), weights: strategy.weights().into() };
    Ok(Answer {
        in_force: InForce::of(&changes.apply(&config.routing)),
        changes,
        dry_run,
        presets: Strategy::ALL.map(preset).into(),
        history: rows.into_iter().map(step).collect(),
    })
}

impl InForce {
    fn of(routing: &Routing) -> InForce {
        InForce {
            strategy: routing.strategy.as_str(),
            weights: routing.weights_for(routing.strategy).into(),
            prefer_local: routing.prefer_local,
            prefer_local_ratio: routing.prefer_local_ratio,
            local_quality_floor: routing.local_quality_floor,
            max_cost_per_1k_usd: routing.max_cost_per_1k.map(|cost| cost.to_usd()),
            max_latency_ms: routing.max_latency_ms,
            sticky: routing.sticky,
            composite_plans: routing.composite_plans.as_str(),
            fallback_chain: routing.fallback_chain.clone(),
        }
    }
}
