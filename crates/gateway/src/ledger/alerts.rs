//! Budgets that are nearly used up: a line in the log, a metric, and a call of the operator's webhook.

use std::sync::Arc;
use std::time::Duration;

use catalog::Nanodollars;
use secrecy::ExposeSecret;
use serde::Serialize;
use tokio::sync::mpsc;
use tracing::warn;

use crate::gateway::Gateway;
use crate::limits::budget::Unit;
use crate::limits::budgets::BudgetAlert;
use crate::upstream::webhook;

/// Tries of a webhook, and the pause before each further one.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);

/// What the webhook gets.
#[derive(Debug, Serialize)]
struct Message<'a> {
    event: &'static str,
    /// A key's id, or `global`.
    budget: &'a str,
    /// The key's name.
    name: Option<&'a str>,
    unit: &'static str,
    percent: u8,
    spent: f64,
    limit: f64,
    period: String,
    message: &'a str,
}

/// Tells each alert as it comes, until the gateway drops its end.
pub async fn watch(gateway: Arc<Gateway>, mut alerts: mpsc::Receiver<BudgetAlert>) {
    let stop = gateway.tasks.closing().clone();
    loop {
        let alert = tokio::select! {
            alert = alerts.recv() => alert,
            () = stop.cancelled() => None,
        };
        let Some(alert) = alert else { return };
        tell(&gateway, &alert);
    }
}

fn tell(gateway: &Arc<Gateway>, alert: &BudgetAlert) {
    let live = gateway.registry.snapshot();
    let callers = gateway.keys.callers();
    let key = callers.iter().find(|caller| *caller.id == alert.account).and_then(|caller| caller.key.as_ref());
    let name = key.map(|key| key.name.as_str());
    let amount = |figure: i64| match alert.unit {
        Unit::Usd => format!("${}", Nanodollars(figure)),
        Unit::Tokens => format!("{figure} tokens"),
    };
    let number = |figure: i64| match alert.unit {
        Unit::Usd => Nanodollars(figure).to_usd(),
        Unit::Tokens => figure as f64,
    };
    let (spent, limit, percent) = (amount(alert.spent), amount(alert.limit), alert.percent);
    let text = format!("{percent} % of the budget of {limit} is used: {spent} in {}", alert.period);
    warn!(budget = alert.account, name, unit = alert.unit.as_str(), percent, spent, limit, "budget alert");
    live.metrics.budget_alert(&alert.account, alert.unit.as_str(), percent);
    let Some(url) = live.config.budget.webhook_url.clone() else { return };
    let message = Message {
        event: "budget_alert",
        budget: &alert.account,
        name,
        unit: alert.unit.as_str(),
        percent,
        spent: number(alert.spent),
        limit: number(alert.limit),
        period: alert.period.to_string(),
        message: &text,
    };
    let body = serde_json::to_vec(&message).unwrap_or_default();
    let client = gateway.client.clone();
    // As many as thresholds are passed: six a budget and month.
    gateway.tasks.spawn_companion("webhook", async move {
        for attempt in 1..=TRIES {
            match webhook::post(&client, url.expose_secret(), body.clone()).await {
                Ok(()) => return,
                Err(problem) => warn!(attempt, problem, "the webhook for budget alerts did not take it"),
            }
            tokio::time::sleep(PAUSE * attempt).await;
        }
    });
}
