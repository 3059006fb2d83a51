//! The one record of a request: opened with it, closed exactly once, whatever happens in between.
//!
//! Closing moves the metrics and writes the log line. A record that is dropped open belongs to a client that left.

use std::sync::Arc;

use catalog::Nanodollars;
use serde::Serialize;
use serde_json::value::RawValue;
use tracing::{debug, warn};
use wire::usage::Usage;

use crate::api::error::ErrorAnswer;
use crate::call::{Call, Head, Surface};
use crate::clock::{self, Instant};
use crate::refusal::Refusal;
use crate::router::{Plan, Target};
use crate::telemetry::metrics::Metrics;
use crate::upstream::Failure;

/// The status under which a request counts whose client left before the end.
pub const CLIENT_CLOSED_REQUEST: u16 = 499;

/// What happened to one request so far.
#[derive(Debug)]
pub struct Record {
    metrics: Arc<Metrics>,
    request_id: Arc<str>,
    surface: Surface,
    received: Instant,
    model: String,
    tags: Vec<String>,
    strategy: routing::Strategy,
    attempts: Vec<Attempt>,
    target: Option<Target>,
    first_content: Option<Instant>,
    usage: Usage,
    is_closed: bool,
}

#[derive(Debug)]
struct Attempt {
    target: Target,
    failure: Option<&'static str>,
}

/// The `x-gateway` object of an answer.
#[derive(Serialize)]
struct Metadata<'a> {
    provider: &'a str,
    model: &'a str,
    routing_decision: String,
    latency_ms: f64,
    cost_usd: Option<f64>,
    cache_hit: bool,
    fallback_used: bool,
    attempts: Vec<AttemptMetadata<'a>>,
}

#[derive(Serialize)]
struct AttemptMetadata<'a> {
    provider: &'a str,
    model: &'a str,
    outcome: &'a str,
}

impl Record {
    /// Opens the record of a request that has just arrived.
    pub fn open(metrics: Arc<Metrics>, surface: Surface, head: &Head, strategy: routing::Strategy) -> Record {
        metrics.active_requests.inc();
        Record {
            metrics,
            request_id: head.request_id.clone(),
            surface,
            received: head.received,
            model: String::new(),
            tags: Vec::new(),
            strategy,
            attempts: Vec::new(),
            target: None,
            first_content: None,
            usage: Usage::default(),
            is_closed: false,
        }
    }

    /// Notes what was asked for.
    pub fn asked(&mut self, call: &Call) {
        self.model = call.payload.model().to_owned();
        self.tags.clone_from(&call.extensions.tags);
    }

    /// Notes how it is routed.
    pub fn planned(&mut self, plan: &Plan) {
        self.strategy = plan.strategy;
    }

    /// Notes that an attempt begins.
    pub fn begin_attempt(&mut self, target: &Target) {
        self.target = Some(target.clone());
        self.attempts.push(Attempt { target: target.clone(), failure: None });
    }

    /// Notes how the latest attempt failed.
    pub fn attempt_failed(&mut self, failure: &Failure) {
        let code = failure.kind.code();
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.failure = Some(code);
            attempt.target.offer.metrics.failure(code);
        }
        let (provider, model) = (&failure.provider, &failure.model);
        warn!(request.id = %self.request_id, %provider, %model, code, detail = failure.detail, "attempt failed");
    }

    /// How many attempts were made.
    pub fn attempts(&self) -> usize {
        self.attempts.len()
    }

    /// The target that is serving, or was tried last.
    pub fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// Notes that the first content of a stream has arrived. Of a whole answer nobody knows when it began.
    pub fn content_began(&mut self) {
        if self.first_content.is_none() {
            let now = clock::now();
            self.first_content = Some(now);
            if let Some(target) = &self.target {
                target.offer.stats.first_content.record(now.duration_since(self.received));
            }
        }
    }

    /// Notes what the provider counted so far; later counts replace earlier ones.
    pub fn counted(&mut self, usage: Usage) {
        self.usage = usage;
    }

    /// What the answer cost at the catalogue's price; `None` when the price or the token counts are unknown.
    pub fn cost(&self) -> Option<Nanodollars> {
        let price = self.target.as_ref()?.offer.facts.price.as_ref()?;
        (!self.usage.is_unknown()).then(|| price.cost(&self.usage))
    }

    /// The `x-gateway` object as JSON; `null` before any target was tried.
    pub fn metadata(&self) -> Box<RawValue> {
        let Some(target) = &self.target else {
            return RawValue::NULL.to_owned();
        };
        let attempts = self.attempts.iter().map(|attempt| AttemptMetadata {
            provider: &attempt.target.offer.provider.name,
            model: &attempt.target.offer.model,
            outcome: attempt.failure.unwrap_or("ok"),
        });
        let latency = clock::now().duration_since(self.received);
        let metadata = Metadata {
            provider: &target.offer.provider.name,
            model: &target.offer.model,
            routing_decision: target.decision().to_string(),
            latency_ms: (latency.as_secs_f64() * 1e6).round() / 1e3,
            cost_usd: self.cost().map(|cost| cost.to_usd()),
            cache_hit: false,
            fallback_used: self.attempts.len() > 1,
            attempts: attempts.collect(),
        };
        serde_json::value::to_raw_value(&metadata).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }

    /// Closes the record of a request that gets no answer, and hands the reason back.
    pub fn refuse(&mut self, refusal: Refusal) -> Refusal {
        let answer = ErrorAnswer::of(&refusal);
        self.close(answer.status.as_u16(), Some(answer.code));
        refusal
    }

    /// Closes the record with the status that the client got, or would have got, and the error's code.
    pub fn close(&mut self, status: u16, error: Option<&'static str>) {
        if std::mem::replace(&mut self.is_closed, true) {
            return;
        }
        self.metrics.active_requests.dec();
        let total = clock::now().duration_since(self.received);
        match &self.target {
            Some(target) => {
                let offer = &target.offer;
                let first = self.first_content.map(|at| at.duration_since(self.received));
                offer.metrics.request(status, self.strategy);
                offer.metrics.usage(&self.usage, self.cost());
                if status == 200 {
                    offer.metrics.latency(first, total);
                    offer.stats.total.record(total);
                }
                if self.attempts.len() > 1 && status == 200 {
                    offer.metrics.fallback();
                }
            }
            None => self.metrics.refused(status, self.strategy),
        }
        debug!(
            request.id = %self.request_id,
            surface = ?self.surface,
            gen_ai.request.model = self.model,
            gen_ai.response.model = self.target.as_ref().map(|target| &*target.offer.model),
            provider = self.target.as_ref().map(|target| &*target.offer.provider.name),
            decision = self.target.as_ref().map(|target| target.decision().to_string()),
            tags = ?self.tags,
            status,
            error,
            attempts = self.attempts.len(),
            gen_ai.usage.input_tokens = self.usage.input,
            gen_ai.usage.output_tokens = self.usage.output,
            duration_ms = total.as_millis() as u64,
            "request"
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.close(CLIENT_CLOSED_REQUEST, Some("client_closed_request"));
    }
}
