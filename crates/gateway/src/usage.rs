//! What keys are and what they used, as the admin API and the command line show it.

use catalog::Nanodollars;
use jiff::Timestamp;
use serde::Serialize;
use store::Key;

use crate::clock;
use crate::limits::budget::Ceiling;
use crate::limits::budgets::Account;

/// A key without its secret.
#[derive(Debug, Serialize)]
pub struct KeyReport {
    id: String,
    name: String,
    /// The secret's beginning and end.
    hint: String,
    environment: String,
    enabled: bool,
    monthly_budget_usd: Option<Nanodollars>,
    monthly_budget_tokens: Option<i64>,
    rpm: Option<i64>,
    tpm: Option<i64>,
    max_concurrent: Option<i64>,
    allowed_models: Vec<String>,
    tags: Vec<String>,
    expires_at: Option<Timestamp>,
    created_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

impl KeyReport {
    /// What may be shown of a key.
    pub fn of(key: &Key) -> KeyReport {
        let time = |at_ms: i64| Timestamp::from_millisecond(at_ms).ok();
        KeyReport {
            id: key.id.clone(),
            name: key.name.clone(),
            hint: key.hint.clone(),
            environment: key.environment.clone(),
            enabled: key.enabled,
            monthly_budget_usd: key.monthly_budget_usd,
            monthly_budget_tokens: key.monthly_budget_tokens,
            rpm: key.rpm,
            tpm: key.tpm,
            max_concurrent: key.max_concurrent,
            allowed_models: key.allowed_models.clone(),
            tags: key.tags.clone(),
            expires_at: key.expires_at_ms.and_then(time),
            created_at: time(key.created_at_ms),
            updated_at: time(key.updated_at_ms),
            revoked_at: key.revoked_at_ms.and_then(time),
        }
    }
}

/// What an account used this month, and what is left; `null` where there is no limit.
#[derive(Debug, Serialize)]
pub struct MonthReport {
    period: String,
    resets_at: Timestamp,
    spent_usd: Nanodollars,
    reserved_usd: Nanodollars,
    limit_usd: Option<Nanodollars>,
    remaining_usd: Option<Nanodollars>,
    tokens: i64,
    reserved_tokens: i64,
    limit_tokens: Option<i64>,
    remaining_tokens: Option<i64>,
}

impl MonthReport {
    /// The account's present month.
    pub fn of(account: &Account, ceiling: Ceiling) -> MonthReport {
        let at_ms = clock::unix_millis();
        let period = clock::period(at_ms);
        let status = account.status(ceiling, period);
        MonthReport {
            period: period.to_string(),
            resets_at: clock::next_period_begins(at_ms),
            spent_usd: status.spent.usd,
            reserved_usd: status.reserved.usd,
            limit_usd: ceiling.usd,
            remaining_usd: status.remaining.usd,
            tokens: status.spent.tokens,
            reserved_tokens: status.reserved.tokens,
            limit_tokens: ceiling.tokens,
            remaining_tokens: status.remaining.tokens,
        }
    }
}
