//! The Prometheus metrics: one typed field each, label values from the configuration only.
//!
//! Counters of an offer are resolved once, when the directory is built, so that a request touches atomics and no map.

mod cache;

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use catalog::Nanodollars;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Registry, Unit};
use routing::Strategy;
use wire::usage::Usage;

pub use cache::CacheMetrics;

use crate::upstream::BreakerState;

/// Upper bounds of the latency buckets in seconds: from a cache hit to a long answer.
const LATENCY_BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The statuses that get a label of their own; any other is `other`.
const STATUSES: [u16; 16] = [200, 400, 401, 403, 404, 405, 408, 413, 415, 429, 499, 500, 502, 503, 504, 0];

/// Every metric of the gateway.
#[derive(Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
    latency: Family<StageLabels, Histogram, fn() -> Histogram>,
    cost: Family<ModelLabels, Dollars>,
    failures: Family<FailureLabels, Counter>,
    fallbacks: Family<ModelLabels, Counter>,
    retries: Family<ModelLabels, Counter>,
    mismatches: Family<ModelLabels, Counter>,
    hedges: Family<ModelLabels, Counter>,
    breakers: Family<ModelLabels, Gauge>,
    retired: Family<ProviderLabels, Gauge>,
    budget_alerts: Family<AlertLabels, Counter>,
    budget_remaining: Family<BudgetLabels, Gauge<f64, AtomicU64>>,
    /// The cache.
    pub cache: CacheMetrics,
    /// Requests with a key that opens nothing.
    pub wrong_keys: Counter,
    /// Requests that were answered by an identical one in flight.
    pub coalesced: Counter,
    /// Whether the database answers, 1 or 0.
    pub database_up: Gauge<i64, AtomicI64>,
    /// Whether Redis answers, 1 or 0; 1 where there is none to ask.
    pub redis_up: Gauge<i64, AtomicI64>,
    /// Whether the journal of money can be written, 1 or 0.
    pub ledger_up: Gauge<i64, AtomicI64>,
    /// Providers that answered the last health check.
    pub active_providers: Gauge<i64, AtomicI64>,
    /// Requests in flight.
    pub active_requests: Gauge<i64, AtomicI64>,
    /// Memory that the process occupies.
    pub resident_memory: Gauge,
    /// Requests that ended in a panic of ours, caught.
    pub panics: Counter,
    /// Configuration reloads that were refused.
    pub config_errors: Counter,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    provider: Arc<str>,
    model: Arc<str>,
    status: &'static str,
    routing_strategy: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TokenLabels {
    direction: &'static str,
    provider: Arc<str>,
    model: Arc<str>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StageLabels {
    provider: Arc<str>,
    model: Arc<str>,
    stage: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ModelLabels {
    provider: Arc<str>,
    model: Arc<str>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ProviderLabels {
    provider: Arc<str>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FailureLabels {
    provider: Arc<str>,
    model: Arc<str>,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AlertLabels {
    api_key: String,
    r#type: &'static str,
    percent: u8,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BudgetLabels {
    api_key: String,
    r#type: &'static str,
}

/// A sum of money: whole nanodollars inside, dollars where it is read. Adding floats would not be exact.
#[derive(Clone, Debug, Default)]
struct Dollars(Arc<AtomicI64>);

impl Dollars {
    fn add(&self, amount: Nanodollars) {
        self.0.fetch_add(amount.0, Ordering::Relaxed);
    }
}

impl EncodeMetric for Dollars {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.encode_gauge(&Nanodollars(self.0.load(Ordering::Relaxed)).to_usd())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

impl TypedMetric for Dollars {
    const TYPE: MetricType = MetricType::Gauge;
}

/// The counters of one model at one provider.
#[derive(Debug)]
pub struct OfferMetrics {
    labels: ModelLabels,
    requests: Family<RequestLabels, Counter>,
    // By strategy and status, resolved at the first request that needs them.
    resolved: [[OnceLock<Counter>; STATUSES.len()]; Strategy::ALL.len()],
    input: Counter,
    output: Counter,
    cached: Counter,
    reasoning: Counter,
    first_content: Histogram,
    total: Histogram,
    cost: Dollars,
    failures: Family<FailureLabels, Counter>,
    fallbacks: Family<ModelLabels, Counter>,
    retries: Family<ModelLabels, Counter>,
    mismatches: Family<ModelLabels, Counter>,
    hedges: Family<ModelLabels, Counter>,
}

impl Metrics {
    /// Nothing counted yet.
    #[expect(clippy::new_without_default, reason = "a default would hide that the buckets are set here")]
    pub fn new() -> Metrics {
        Metrics {
            requests: Family::default(),
            tokens: Family::default(),
            latency: Family::new_with_constructor(latency_histogram),
            cost: Family::default(),
            failures: Family::default(),
            fallbacks: Family::default(),
            retries: Family::default(),
            mismatches: Family::default(),
            hedges: Family::default(),
            breakers: Family::default(),
            retired: Family::default(),
            budget_alerts: Family::default(),
            budget_remaining: Family::default(),
            cache: CacheMetrics::new(),
            wrong_keys: Counter::default(),
            coalesced: Counter::default(),
            database_up: Gauge::default(),
            redis_up: Gauge::default(),
            ledger_up: Gauge::default(),
            active_providers: Gauge::default(),
            active_requests: Gauge::default(),
            resident_memory: Gauge::default(),
            panics: Counter::default(),
            config_errors: Counter::default(),
        }
    }

    /// The counters of one offer. `provider` and `model` come from the configuration or the catalogue, never from a
    /// request.
    pub fn offer(&self, provider: &Arc<str>, model: &str) -> Arc<OfferMetrics> {
        let labels = ModelLabels { provider: provider.clone(), model: model.into() };
        let ModelLabels { provider, model } = labels.clone();
        let tokens = |direction| {
            let labels = TokenLabels { direction, provider: provider.clone(), model: model.clone() };
            self.tokens.get_or_create_owned(&labels)
        };
        let latency = |stage| {
            let labels = StageLabels { provider: provider.clone(), model: model.clone(), stage };
            self.latency.get_or_create_owned(&labels)
        };
        Arc::new(OfferMetrics {
            requests: self.requests.clone(),
            resolved: Default::default(),
            input: tokens("input"),
            output: tokens("output"),
            cached: tokens("cached_input"),
            reasoning: tokens("reasoning"),
            first_content: latency("first_content"),
            total: latency("total"),
            cost: self.cost.get_or_create_owned(&labels),
            failures: self.failures.clone(),
            fallbacks: self.fallbacks.clone(),
            retries: self.retries.clone(),
            mismatches: self.mismatches.clone(),
            hedges: self.hedges.clone(),
            labels,
        })
    }

    /// Counts a request that was refused before a target was found.
    pub fn refused(&self, status: u16, strategy: Strategy) {
        let (_, status) = status_label(status);
        let none: Arc<str> = Arc::from("none");
        let labels = RequestLabels { provider: none.clone(), model: none, status, routing_strategy: strategy.as_str() };
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts an alert. `api_key` is a key's id or `global`.
    pub fn budget_alert(&self, api_key: &str, unit: &'static str, percent: u8) {
        let labels = AlertLabels { api_key: api_key.to_owned(), r#type: unit, percent };
        self.budget_alerts.get_or_create(&labels).inc();
    }

    /// Says how the breakers stand, and how many credentials of each provider are retired, in place of what was said
    /// before.
    pub fn standings<'a>(
        &self,
        breakers: impl Iterator<Item = (&'a Arc<str>, &'a str, BreakerState)>,
        retired: impl Iterator<Item = (&'a Arc<str>, usize)>,
    ) {
        self.breakers.clear();
        for (provider, model, state) in breakers {
            let state = match state {
                BreakerState::Closed => 0,
                BreakerState::HalfOpen => 1,
                BreakerState::Open => 2,
            };
            let labels = ModelLabels { provider: provider.clone(), model: model.into() };
            self.breakers.get_or_create(&labels).set(state);
        }
        for (provider, count) in retired {
            let labels = ProviderLabels { provider: provider.clone() };
            self.retired.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Says what is left of the budgets, in place of what was said before. `api_key` is a key's id or `global`.
    pub fn budgets_left(&self, left: impl Iterator<Item = (String, &'static str, f64)>) {
        self.budget_remaining.clear();
        for (api_key, unit, amount) in left {
            self.budget_remaining.get_or_create(&BudgetLabels { api_key, r#type: unit }).set(amount);
        }
    }

    /// All metrics in OpenMetrics text.
    pub fn render(&self) -> String {
        let mut registry = Registry::with_prefix("gateway");
        registry.register("requests", "Requests by outcome", self.requests.clone());
        registry.register("tokens", "Tokens by direction", self.tokens.clone());
        registry.register_with_unit("latency", "Latency by stage", Unit::Seconds, self.latency.clone());
        registry.register("cost_dollars", "Cost at the catalogue's prices", self.cost.clone());
        registry.register("upstream_failures", "Failed attempts by cause", self.failures.clone());
        registry.register("fallbacks", "Requests served by another than the first target", self.fallbacks.clone());
        registry.register(
            "upstream_retries",
            "Attempts at a provider that had failed the request",
            self.retries.clone(),
        );
        let mismatches = "Answers whose token counts cannot be true";
        registry.register("usage_mismatch", mismatches, self.mismatches.clone());
        registry.register("hedges", "Requests sent to a second target while the first was slow", self.hedges.clone());
        let state = "Circuit breakers: 0 closed, 1 half-open, 2 open";
        registry.register("circuit_breaker_state", state, self.breakers.clone());
        let retired = "Credentials that a provider refuses or that are out of money";
        registry.register("credentials_retired", retired, self.retired.clone());
        registry.register("budget_alerts", "Budgets that passed a threshold", self.budget_alerts.clone());
        let left = "What is left of this month's budgets, dollars or tokens";
        registry.register("budget_remaining", left, self.budget_remaining.clone());
        self.cache.register(&mut registry);
        let coalesced = "Requests answered by an identical one in flight";
        registry.register("coalesced", coalesced, self.coalesced.clone());
        registry.register("wrong_keys", "Requests with a key that opens nothing", self.wrong_keys.clone());
        registry.register("database_up", "Whether the database answers", self.database_up.clone());
        registry.register("redis_up", "Whether Redis answers, where one is set", self.redis_up.clone());
        registry.register("ledger_up", "Whether the journal of money can be written", self.ledger_up.clone());
        registry.register("active_providers", "Providers that answer", self.active_providers.clone());
        registry.register("active_requests", "Requests in flight", self.active_requests.clone());
        let memory = "Memory that the process occupies";
        registry.register_with_unit("resident_memory", memory, Unit::Bytes, self.resident_memory.clone());
        registry.register("panics", "Requests that ended in a caught panic", self.panics.clone());
        registry.register("config_errors", "Configuration reloads refused", self.config_errors.clone());
        let mut text = String::with_capacity(16 * 1024);
        // Writing to a `String` cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

impl OfferMetrics {
    /// Counts one finished request.
    pub fn request(&self, status: u16, strategy: Strategy) {
        let (index, status) = status_label(status);
        let row = Strategy::ALL.iter().position(|known| *known == strategy).unwrap_or(0);
        let Some(cell) = self.resolved.get(row).and_then(|row| row.get(index)) else {
            return;
        };
        cell.get_or_init(|| {
            let ModelLabels { provider, model } = self.labels.clone();
            let labels = RequestLabels { provider, model, status, routing_strategy: strategy.as_str() };
            self.requests.get_or_create_owned(&labels)
        })
        .inc();
    }

    /// Counts the tokens of one answer and what they cost.
    pub fn usage(&self, usage: &Usage, cost: Option<Nanodollars>) {
        self.input.inc_by(usage.input.unwrap_or(0));
        self.output.inc_by(usage.output.unwrap_or(0));
        self.cached.inc_by(usage.cached_input.unwrap_or(0));
        self.reasoning.inc_by(usage.reasoning.unwrap_or(0));
        if let Some(cost) = cost {
            self.cost.add(cost);
        }
    }

    /// Observes the time to the first content, where there was one, and to the end.
    pub fn latency(&self, first_content: Option<Duration>, total: Duration) {
        if let Some(first_content) = first_content {
            self.first_content.observe(first_content.as_secs_f64());
        }
        self.total.observe(total.as_secs_f64());
    }

    /// Counts one failed attempt.
    pub fn failure(&self, code: &'static str) {
        let ModelLabels { provider, model } = self.labels.clone();
        self.failures.get_or_create(&FailureLabels { provider, model, code }).inc();
    }

    /// Counts a request that was sent here because another target was slow.
    pub fn hedge(&self) {
        self.hedges.get_or_create(&self.labels).inc();
    }

    /// Counts an answer whose token counts cannot be true.
    pub fn usage_mismatch(&self) {
        self.mismatches.get_or_create(&self.labels).inc();
    }

    /// Counts an attempt at a provider that has failed the same request before.
    pub fn retry(&self) {
        self.retries.get_or_create(&self.labels).inc();
    }

    /// Counts a request that this offer served in another's place.
    pub fn fallback(&self) {
        self.fallbacks.get_or_create(&self.labels).inc();
    }
}

fn latency_histogram() -> Histogram {
    Histogram::new(LATENCY_BUCKETS)
}

fn status_label(status: u16) -> (usize, &'static str) {
    const TEXT: [&str; STATUSES.len()] = [
        "200", "400", "401", "403", "404", "405", "408", "413", "415", "429", "499", "500", "502", "503", "504",
        "other",
    ];
    let index = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
    (index, TEXT.get(index).copied().unwrap_or("other"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_were_promised() {
        let metrics = Metrics::new();
        let offer = metrics.offer(&Arc::from("openai"), "gpt-4o-mini");
        offer.request(200, Strategy::Balanced);
        offer.request(418, Strategy::Cost);
        offer.usage(&Usage { input: Some(3), output: Some(5), ..Usage::default() }, Some(Nanodollars(2_000_000_000)));
        offer.latency(Some(Duration::from_millis(20)), Duration::from_millis(40));

        let text = metrics.render();

        for line in [
            r#"gateway_requests_total{provider="openai",model="gpt-4o-mini",status="200",routing_strategy="balanced"} 1"#,
            r#"gateway_requests_total{provider="openai",model="gpt-4o-mini",status="other",routing_strategy="cost"} 1"#,
            r#"gateway_tokens_total{direction="output",provider="openai",model="gpt-4o-mini"} 5"#,
            r#"gateway_cost_dollars{provider="openai",model="gpt-4o-mini"} 2.0"#,
            r#"gateway_latency_seconds_count{provider="openai",model="gpt-4o-mini",stage="first_content"} 1"#,
            "gateway_active_providers 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
