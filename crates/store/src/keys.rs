//! Gateway keys as they are kept: everything but the key itself.

use catalog::Nanodollars;

/// One gateway key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its public name in the API: `key_` and random letters.
    pub id: String,
    /// The keyed hash of the secret.
    pub hash: [u8; 32],
    /// The secret's beginning and end, for people to recognise it.
    pub hint: String,
    /// What people call it.
    pub name: String,
    /// `development`, `staging` or `production`.
    pub environment: String,
    /// Whether it opens anything at present.
    pub enabled: bool,
    /// What it may spend in a calendar month; `None` is no limit.
    pub monthly_budget_usd: Option<Nanodollars>,
    /// Tokens that it may use in a calendar month.
    pub monthly_budget_tokens: Option<i64>,
    /// Requests a minute.
    pub rpm: Option<i64>,
    /// Tokens a minute.
    pub tpm: Option<i64>,
    /// Requests at one time.
    pub max_concurrent: Option<i64>,
    /// Models and `provider/model` names that it may use; empty allows all.
    pub allowed_models: Vec<String>,
    /// Labels of the operator's.
    pub tags: Vec<String>,
    /// When it ends by itself, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<i64>,
    /// When it was made.
    pub created_at_ms: i64,
    /// When it was changed last.
    pub updated_at_ms: i64,
    /// When it was revoked, for good.
    pub revoked_at_ms: Option<i64>,
}
