//! `GET /api/budget`: what all requests together and each key used this month.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::gateway::Gateway;
use crate::keys::Caller;
use crate::ledger;
use crate::usage::MonthReport;

#[derive(Debug, Serialize)]
pub(super) struct Budgets {
    global: MonthReport,
    keys: Vec<KeyBudget>,
}

#[derive(Debug, Serialize)]
struct KeyBudget {
    id: String,
    /// `null` for requests without a key.
    name: Option<String>,
    #[serde(flatten)]
    month: MonthReport,
}

pub(super) async fn show(State(gateway): State<Arc<Gateway>>) -> Json<Budgets> {
    let config = &gateway.registry.snapshot().config;
    let callers = gateway.keys.callers();
    let all = std::iter::once(gateway.keys.anonymous()).chain(&callers);
    Json(Budgets {
        global: MonthReport::of(gateway.ledger.budgets.global(), ledger::global_ceiling(config)),
        keys: all.map(|caller| row(caller)).collect(),
    })
}

fn row(caller: &Caller) -> KeyBudget {
    KeyBudget {
        id: caller.id.to_string(),
        name: caller.key.as_ref().map(|key| key.name.clone()),
        month: MonthReport::of(&caller.account, caller.ceiling),
    }
}
