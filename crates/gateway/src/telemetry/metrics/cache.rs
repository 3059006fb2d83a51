//! The metrics of the cache. Tiers and reasons are the only labels.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use catalog::Nanodollars;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::Dollars;

/// Upper bounds of the buckets of a look, in seconds: from a digest to a patience that is over.
const LOOKUP_BUCKETS: [f64; 10] = [0.000_01, 0.000_025, 0.000_1, 0.000_5, 0.001, 0.0025, 0.006, 0.015, 0.05, 0.15];

/// Every metric of the cache.
#[derive(Debug)]
pub struct CacheMetrics {
    hits: Family<TierLabels, Counter>,
    misses: Family<ReasonLabels, Counter>,
    tokens_saved: Counter,
    dollars_saved: Dollars,
    verified: Family<OutcomeLabels, Counter>,
    lookup: Histogram,
    looks: AtomicU64,
    looked_nanos: AtomicU64,
    /// Entries in memory.
    pub entries: Gauge<i64, AtomicI64>,
    /// Their bytes.
    pub bytes: Gauge<i64, AtomicI64>,
    /// Entries that had to make room.
    pub evictions: Counter,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TierLabels {
    tier: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

impl CacheMetrics {
    pub(super) fn new() -> CacheMetrics {
        CacheMetrics {
            hits: Family::default(),
            misses: Family::default(),
            tokens_saved: Counter::default(),
            dollars_saved: Dollars::default(),
            verified: Family::default(),
            lookup: Histogram::new(LOOKUP_BUCKETS),
            looks: AtomicU64::new(0),
            looked_nanos: AtomicU64::new(0),
            entries: Gauge::default(),
            bytes: Gauge::default(),
            evictions: Counter::default(),
        }
    }

    /// Counts an answer that was given again, with what it saved.
    pub fn hit(&self, tier: &'static str, tokens: u64, cost: Nanodollars) {
        self.hits.get_or_create(&TierLabels { tier }).inc();
        self.tokens_saved.inc_by(tokens);
        self.dollars_saved.add(cost);
    }

    /// Counts a look that found nothing.
    pub fn miss(&self, reason: &'static str) {
        self.misses.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Observes how long a look took.
    pub fn looked(&self, time: Duration) {
        self.lookup.observe(time.as_secs_f64());
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.looked_nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The mean time of a look in milliseconds; `None` before the first.
    pub fn mean_lookup_ms(&self) -> Option<f64> {
        let looks = self.looks.load(Ordering::Relaxed);
        (looks > 0).then(|| self.looked_nanos.load(Ordering::Relaxed) as f64 / looks as f64 / 1e6)
    }

    /// Counts a semantic hit that was checked.
    pub fn verified(&self, is_right: bool) {
        let outcome = if is_right { "right" } else { "wrong" };
        self.verified.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("cache_hits", "Requests answered from the cache", self.hits.clone());
        registry.register("cache_misses", "Looks that found nothing, by reason", self.misses.clone());
        registry.register("cache_tokens_saved", "Tokens that hits did not use", self.tokens_saved.clone());
        let saved = "What hits would have cost, as far as that is known";
        registry.register("cache_saved_dollars", saved, self.dollars_saved.clone());
        let verified = "Semantic hits that were checked by asking again";
        registry.register("cache_verified", verified, self.verified.clone());
        let lookup = "Time that a look at the cache takes";
        registry.register_with_unit("cache_lookup", lookup, Unit::Seconds, self.lookup.clone());
        registry.register("cache_entries", "Entries in memory", self.entries.clone());
        registry.register_with_unit("cache_size", "Memory that entries take", Unit::Bytes, self.bytes.clone());
        registry.register("cache_evictions", "Entries that had to make room", self.evictions.clone());
    }
}
