//! What the accounts are made of: holds, entries, and the month they belong to.

use std::fmt;

use catalog::Nanodollars;
use serde::{Deserialize, Serialize};

/// A calendar month in UTC, as `202611`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Period(pub i32);

impl fmt::Display for Period {
    /// As `2026-11`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0 / 100, self.0 % 100)
    }
}

/// The key id under which requests without a key are accounted.
pub const ANONYMOUS: &str = "anonymous";

/// The number of a hold: unique in one data directory, rising.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HoldId(pub u64);

/// Money set aside for one request before a byte of it goes to a provider. The journal's names for the fields are short:
/// two records a request are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The request's id as its client knows it; a client may use one id twice.
    #[serde(rename = "r")]
    pub request_id: String,
    /// The gateway key that pays, or [`ANONYMOUS`].
    #[serde(rename = "k")]
    pub key_id: String,
    /// The provider that is asked first.
    #[serde(rename = "p")]
    pub provider: String,
    /// The model that is asked first.
    #[serde(rename = "m")]
    pub model: String,
    /// The most that the request can cost; `None` where no price is known.
    #[serde(rename = "c", with = "nanodollars")]
    pub cost: Option<Nanodollars>,
    /// The most tokens that it can use, input and output.
    #[serde(rename = "t")]
    pub tokens: i64,
    /// When it began, in milliseconds since the Unix epoch.
    #[serde(rename = "at")]
    pub at_ms: i64,
    /// The month that pays.
    pub period: Period,
}

/// One attempt at a provider, as it is accounted. The entries of a request explain what it cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The hold that it settles.
    #[serde(rename = "h")]
    pub hold: HoldId,
    /// Its number within the request, from 0.
    #[serde(rename = "n", default, skip_serializing_if = "is_zero")]
    pub attempt: i64,
    /// The request's id as its client knows it.
    #[serde(rename = "r")]
    pub request_id: String,
    /// The gateway key that pays, or [`ANONYMOUS`].
    #[serde(rename = "k")]
    pub key_id: String,
    /// Who was asked.
    #[serde(rename = "p")]
    pub provider: String,
    /// Which model.
    #[serde(rename = "m")]
    pub model: String,
    /// `ok`, the code of what failed, `client_closed_request`, or `estimated_crash`.
    #[serde(rename = "o")]
    pub outcome: String,
    /// When it ended, in milliseconds since the Unix epoch.
    #[serde(rename = "at")]
    pub at_ms: i64,
    /// The month that pays: the one in which the request began.
    pub period: Period,
    /// Prompt tokens, cached ones included.
    #[serde(rename = "i")]
    pub input_tokens: i64,
    /// Prompt tokens read from the provider's cache.
    #[serde(rename = "ci", default, skip_serializing_if = "is_zero")]
    pub cached_input_tokens: i64,
    /// Prompt tokens written to the provider's cache.
    #[serde(rename = "cw", default, skip_serializing_if = "is_zero")]
    pub cache_write_tokens: i64,
    /// Generated tokens, reasoning included.
    #[serde(rename = "g")]
    pub output_tokens: i64,
    /// Generated tokens that were reasoning.
    #[serde(rename = "rt", default, skip_serializing_if = "is_zero")]
    pub reasoning_tokens: i64,
    /// What it cost; `None` where the price is not known, which is not zero.
    #[serde(rename = "c", with = "nanodollars")]
    pub cost: Option<Nanodollars>,
    /// The counts, and so the cost, are our estimate and not the provider's word.
    #[serde(rename = "e", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_estimated: bool,
}

/// What one key used in one month: the sums of its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// The gateway key, or [`ANONYMOUS`].
    pub key_id: String,
    /// The sum of all known costs.
    pub cost: Nanodollars,
    /// Input and output tokens.
    pub tokens: i64,
    /// Requests that reached a provider.
    pub requests: i64,
    /// Entries whose price is not known.
    pub unpriced: i64,
}

/// A place in the journal: everything before it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The number of the segment file.
    pub segment: u64,
    /// The byte within it.
    pub offset: u64,
}

/// What most entries have none of is left out of the journal.
fn is_zero(count: &i64) -> bool {
    *count == 0
}

/// Money as a whole number of nanodollars: the journal holds no fraction.
mod nanodollars {
    use catalog::Nanodollars;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(cost: &Option<Nanodollars>, serializer: S) -> Result<S::Ok, S::Error> {
        cost.map(|cost| cost.0).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Nanodollars>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(Nanodollars))
    }
}
