//! How the cache does: in all, and by gateway key and model.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use catalog::Nanodollars;
use parking_lot::Mutex;
use serde::Serialize;

use super::{Hit, Tier, meaning, verify};
use crate::live::Live;

/// Rows by key and model; further ones are counted in one row together.
const MAX_ROWS: usize = 1_000;
/// What that row is called.
const OTHER: &str = "other";

/// Why a request was not answered from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is nothing in its scope.
    Absent,
    /// It wanted a fresh answer.
    NoCache,
    /// Its key may not use the model that had answered.
    NotAllowed,
    /// The model that had answered is not on offer any more.
    Gone,
    /// Its question has no place in the semantic tier.
    Ineligible,
    /// Nothing is similar enough.
    NotNear,
    /// Something is, and a guard objected.
    Guard,
    /// Its vector was not there in time.
    Slow,
}

impl Why {
    /// Every reason.
    pub const ALL: [Why; 8] =
        [Why::Absent, Why::NoCache, Why::NotAllowed, Why::Gone, Why::Ineligible, Why::NotNear, Why::Guard, Why::Slow];

    /// The word for metrics and statistics.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Absent => "absent",
            Why::NoCache => "no_cache",
            Why::NotAllowed => "not_allowed",
            Why::Gone => "gone",
            Why::Ineligible => "ineligible",
            Why::NotNear => "not_near",
            Why::Guard => "guard",
            Why::Slow => "slow",
        }
    }
}

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Stats {
    // A std mutex: held to add to a row, never across an await.
    rows: Mutex<HashMap<(String, String), Row>>,
    misses: [AtomicU64; Why::ALL.len()],
    unkept: AtomicU64,
}

/// One key's requests for one model.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Row {
    exact: u64,
    normalised: u64,
    semantic: u64,
    /// Requests that a provider had to answer.
    misses: u64,
    tokens_saved: u64,
    saved_usd: Nanodollars,
}

/// The cache's statistics, as `GET /api/cache/stats` shows them.
#[derive(Debug, Serialize)]
pub struct Report {
    enabled: bool,
    entries: usize,
    max_entries: usize,
    bytes: usize,
    max_bytes: usize,
    hits: Hits,
    misses: HashMap<&'static str, u64>,
    hit_rate: Option<f64>,
    tokens_saved: u64,
    saved_usd: Nanodollars,
    lookup_mean_ms: Option<f64>,
    threshold: f32,
    semantic: meaning::State,
    verification: verify::Report,
    /// Entries that were not written or shared because too many waited.
    unkept: u64,
    by_key_and_model: Vec<KeyRow>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Hits {
    exact: u64,
    normalised: u64,
    semantic: u64,
}

#[derive(Debug, Serialize)]
struct KeyRow {
    key: String,
    model: String,
    #[serde(flatten)]
    row: Row,
}

/// What others know of the cache.
pub(super) struct Shape {
    pub(super) entries: usize,
    pub(super) bytes: usize,
    pub(super) semantic: meaning::State,
    pub(super) threshold: f32,
    pub(super) verification: verify::Report,
}

impl Stats {
    /// Counts an answer that was given again.
    pub(super) fn hit(&self, live: &Live, key: &str, model: &str, hit: &Hit) {
        let cost = hit.entry.cost().unwrap_or_default();
        live.metrics.cache.hit(hit.tier.as_str(), hit.entry.tokens, cost);
        hit.entry.hits.fetch_add(1, Ordering::Relaxed);
        self.row(key, model, |row| {
            match hit.tier {
                Tier::Exact => row.exact = row.exact.saturating_add(1),
                Tier::Normalised => row.normalised = row.normalised.saturating_add(1),
                Tier::Semantic => row.semantic = row.semantic.saturating_add(1),
            }
            row.tokens_saved = row.tokens_saved.saturating_add(hit.entry.tokens);
            row.saved_usd = row.saved_usd.checked_add(cost).unwrap_or(row.saved_usd);
        });
    }

    /// Counts a look that found nothing.
    pub(super) fn missed(&self, live: &Live, why: Why) {
        live.metrics.cache.miss(why.as_str());
        let place = Why::ALL.iter().position(|known| *known == why);
        if let Some(count) = place.and_then(|place| self.misses.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an answer that a provider had to give. Only here do names of models come in: this one exists.
    pub(super) fn answered(&self, key: &str, model: &str) {
        self.row(key, model, |row| row.misses = row.misses.saturating_add(1));
    }

    /// Counts an entry that stays in this process.
    pub(super) fn unkept(&self) {
        self.unkept.fetch_add(1, Ordering::Relaxed);
    }

    fn row(&self, key: &str, model: &str, change: impl FnOnce(&mut Row)) {
        let mut rows = self.rows.lock();
        let name = (key.to_owned(), model.to_owned());
        let is_room = rows.len() < MAX_ROWS;
        let row = if is_room || rows.contains_key(&name) {
            rows.entry(name).or_default()
        } else {
            rows.entry((OTHER.to_owned(), OTHER.to_owned())).or_default()
        };
        change(row);
    }

    pub(super) fn report(&self, live: &Live, shape: Shape) -> Report {
        let settings = &live.config.cache;
        let rows: Vec<((String, String), Row)> =
            self.rows.lock().iter().map(|(name, row)| (name.clone(), *row)).collect();
        let mut hits = Hits::default();
        let (mut tokens_saved, mut saved_usd) = (0_u64, Nanodollars::default());
        for (_, row) in &rows {
            hits.exact = hits.exact.saturating_add(row.exact);
            hits.normalised = hits.normalised.saturating_add(row.normalised);
            hits.semantic = hits.semantic.saturating_add(row.semantic);
            tokens_saved = tokens_saved.saturating_add(row.tokens_saved);
            saved_usd = saved_usd.checked_add(row.saved_usd).unwrap_or(saved_usd);
        }
        let misses: HashMap<&'static str, u64> = Why::ALL
            .iter()
            .zip(&self.misses)
            .map(|(why, count)| (why.as_str(), count.load(Ordering::Relaxed)))
            .collect();
        let found = hits.exact.saturating_add(hits.normalised).saturating_add(hits.semantic);
        let looked = found.saturating_add(misses.values().sum());
        let mut by_key_and_model: Vec<KeyRow> =
            rows.into_iter().map(|((key, model), row)| KeyRow { key, model, row }).collect();
        by_key_and_model.sort_by(|a, b| (&a.key, &a.model).cmp(&(&b.key, &b.model)));
        Report {
            enabled: settings.enabled,
            entries: shape.entries,
            max_entries: settings.max_entries,
            bytes: shape.bytes,
            max_bytes: settings.max_bytes,
            hits,
            misses,
            hit_rate: (looked > 0).then(|| found as f64 / looked as f64),
            tokens_saved,
            saved_usd,
            lookup_mean_ms: live.metrics.cache.mean_lookup_ms(),
            threshold: shape.threshold,
            semantic: shape.semantic,
            verification: shape.verification,
            unkept: self.unkept.load(Ordering::Relaxed),
            by_key_and_model,
        }
    }
}
