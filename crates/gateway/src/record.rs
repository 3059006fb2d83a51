//! The one record of a request: opened with it, closed exactly once, whatever happens in between.
//!
//! Closing settles the money, frees the request's place, moves the metrics and writes the log line. A record that is
//! dropped open belongs to a client that left.

use std::sync::Arc;

use catalog::Nanodollars;
use serde::Serialize;
use serde_json::value::RawValue;
use tracing::{debug, warn};
use wire::Generated;
use wire::loss::Loss;
use wire::usage::Usage;

use crate::admission::Place;
use crate::api::error::ErrorAnswer;
use crate::cache::{Hit, Inquiry};
use crate::call::{Call, Head, Surface};
use crate::clock::{self, Instant};
use crate::directory::Offer;
use crate::estimate;
use crate::ledger::{Attempt, Held, Used};
use crate::live::Recollection;
use crate::refusal::Refusal;
use crate::router::{Plan, Routed, Target};
use crate::telemetry::metrics::Metrics;
use crate::upstream::standing::{Pass, Why};
use crate::upstream::{Charge, Failure};

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
    place: Option<Place>,
    money: Option<(Held, Arc<Call>)>,
    /// What the router saw, and where it remembers that.
    routed: Option<(Routed, Arc<Recollection>)>,
    /// Where the offers are that the plan chose: they tell them from others and are never followed.
    choices: Vec<usize>,
    /// Who answered the identical request that this one waited for.
    coalesced: Option<Target>,
    /// Where its answer is kept.
    inquiry: Option<Box<Inquiry>>,
    /// The answer of before that it got.
    hit: Option<Box<Hit>>,
    attempts: Vec<Attempt>,
    /// Targets that were not asked, each with how many attempts came before.
    skipped: Vec<(usize, Target, Why)>,
    /// The way in at the provider that is serving.
    pass: Option<Pass>,
    /// What the serving provider could not be told.
    loss: Loss,
    first_content: Option<Instant>,
    stopped: Option<&'static str>,
    is_closed: bool,
}

/// The `x-gateway` object of an answer.
#[derive(Serialize)]
struct Metadata<'a> {
    provider: &'a str,
    model: &'a str,
    routing_decision: String,
    latency_ms: f64,
    cost_usd: Option<f64>,
    /// What an answer from the cache had cost; else beside always using the best model, where the router chose.
    savings_usd: Option<f64>,
    /// The token counts are ours: the provider told none that can be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    estimated: bool,
    /// Why the gateway ended the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<&'static str>,
    cache_hit: bool,
    /// Where the answer came from that was made before.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<CacheMetadata<'a>>,
    /// The answer is that of an identical request which was in flight.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    coalesced: bool,
    fallback_used: bool,
    attempts: Vec<AttemptMetadata<'a>>,
    /// What the provider could not be told of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    losses: Vec<LossMetadata<'a>>,
}

#[derive(Serialize)]
struct CacheMetadata<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity: Option<f32>,
    age_seconds: u64,
    id: &'a str,
}

#[derive(Serialize)]
struct LossMetadata<'a> {
    param: &'a str,
    what: &'a str,
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
            place: None,
            money: None,
            routed: None,
            choices: Vec::new(),
            coalesced: None,
            inquiry: None,
            hit: None,
            attempts: Vec::new(),
            skipped: Vec::new(),
            pass: None,
            loss: Loss::default(),
            first_content: None,
            stopped: None,
            is_closed: false,
        }
    }

    /// Notes what was asked for.
    pub fn asked(&mut self, call: &Call) {
        self.model = call.payload.model().to_owned();
        self.tags.clone_from(&call.extensions.tags);
    }

    /// Notes how it is routed.
    pub fn planned(&mut self, plan: &Plan, memory: &Arc<Recollection>) {
        self.strategy = plan.strategy;
        self.routed = plan.routed.clone().map(|routed| (routed, memory.clone()));
        // Every model of a composite plan is a choice; only what comes after them is a fallback.
        let choices = plan.composite.map_or(1, |composite| composite.members.saturating_add(1));
        self.choices = plan.targets.iter().take(choices).map(|target| address(&target.offer)).collect();
    }

    /// Takes the request's place among those that run; free again when the record is closed.
    pub fn admitted(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// Takes the money that was set aside; settled when the record is closed.
    pub fn reserved(&mut self, held: Held, call: Arc<Call>) {
        self.money = Some((held, call));
    }

    /// Notes a target that is not asked.
    pub fn skipped(&mut self, target: &Target, why: Why) {
        self.skipped.push((self.attempts.len(), target.clone(), why));
    }

    /// Notes that an attempt begins. From here on its provider may charge for the prompt. Tells whether the provider had
    /// one of this request's before.
    pub fn begin_attempt(&mut self, target: &Target) -> bool {
        let provider = &target.offer.provider;
        let is_again = self.attempts_at(&provider.name) > 0;
        if is_again {
            target.offer.metrics.retry();
        } else {
            provider.retries.deposit();
        }
        self.push_attempt(target);
        is_again
    }

    /// Notes that a model is asked beside others which work on the same answer: no retry, wherever those are.
    pub fn begin_member(&mut self, target: &Target) {
        target.offer.provider.retries.deposit();
        self.push_attempt(target);
    }

    fn push_attempt(&mut self, target: &Target) {
        let used = Used::Counted { reported: Usage::default(), generated: Generated::default() };
        let began = clock::now();
        self.attempts.push(Attempt { target: target.clone(), failure: None, used, began, answered: None });
    }

    /// Keeps the way in at the provider that serves now, and what it could not be told; how the answer ends says how well it is.
    pub fn served(&mut self, pass: Pass, loss: Loss) {
        self.pass = Some(pass);
        self.loss = loss;
    }

    /// Notes how the latest attempt failed.
    pub fn attempt_failed(&mut self, failure: &Failure) {
        self.attempt_failed_at(self.attempts.len().saturating_sub(1), failure);
    }

    /// Notes why an attempt's answer is not the request's, although it did not fail.
    pub fn not_taken(&mut self, number: usize, outcome: &'static str) {
        if let Some(attempt) = self.attempts.get_mut(number) {
            attempt.failure = Some(outcome);
        }
    }

    /// Makes an attempt the one that answers: the latest.
    pub fn taken(&mut self, number: usize) {
        if number < self.attempts.len() {
            let mut attempt = self.attempts.remove(number);
            attempt.failure = None;
            self.attempts.push(attempt);
        }
    }

    /// Notes what an attempt used that has answered just now.
    pub fn used_at(&mut self, number: usize, used: Used) {
        if let Some(attempt) = self.attempts.get_mut(number) {
            attempt.used = used;
            attempt.answered = Some(clock::now());
        }
    }

    /// Notes how an attempt failed.
    pub fn attempt_failed_at(&mut self, number: usize, failure: &Failure) {
        let rule = failure.kind.rule();
        let code = rule.code;
        let mut pass = self.pass.take();
        if let Some(pass) = &mut pass {
            pass.failed(failure, true, clock::now());
        }
        if let Some(attempt) = self.attempts.get_mut(number) {
            attempt.failure = Some(code);
            attempt.target.offer.metrics.failure(code);
            // What has sent content has worked, whatever it says now.
            if rule.charge == Charge::Nothing && pass.is_none() {
                attempt.used = Used::Nothing;
            }
        }
        let (provider, model) = (&failure.provider, &failure.model);
        warn!(request.id = %self.request_id, %provider, %model, code, detail = failure.detail, "attempt failed");
    }

    /// How many attempts were made.
    pub fn attempts(&self) -> usize {
        self.attempts.len()
    }

    /// How many of them at one provider got no answer. One that answered and was not taken says nothing against asking
    /// there again.
    pub fn attempts_at(&self, provider: &str) -> usize {
        let is_there = |attempt: &&Attempt| &*attempt.target.offer.provider.name == provider;
        let has_answered = |attempt: &Attempt| matches!(attempt.used, Used::Reported(_) | Used::Estimated(_));
        self.attempts.iter().filter(is_there).filter(|attempt| !has_answered(attempt)).count()
    }

    /// Whether another than the plan's choice serves.
    fn is_fallback(&self) -> bool {
        let serving = self.target().map(|serving| address(&serving.offer));
        serving.is_some_and(|serving| !self.choices.is_empty() && !self.choices.contains(&serving))
    }

    /// The target that is serving, or was tried last.
    pub fn target(&self) -> Option<&Target> {
        let asked = self.attempts.last().map(|attempt| &attempt.target);
        asked.or(self.coalesced.as_ref()).or(self.hit.as_ref().map(|hit| &hit.target))
    }

    /// Keeps what the cache knows of the request, for its answer.
    pub fn inquired(&mut self, inquiry: Box<Inquiry>) {
        self.inquiry = Some(inquiry);
    }

    /// Notes that the answer is one of before.
    pub fn found(&mut self, hit: Hit) {
        self.hit = Some(Box::new(hit));
    }

    /// Takes that back.
    pub fn not_found(&mut self) {
        self.hit = None;
    }

    /// Gives the cache the whole answer.
    pub fn keep(&mut self, body: &[u8]) {
        if let (Some(inquiry), Some(target)) = (self.inquiry.take(), self.target()) {
            inquiry.keep(body, target, &self.usage(), self.cost());
        }
    }

    /// Shows the cache what the client gets of a stream.
    pub fn sends(&mut self, bytes: &[u8]) {
        if let Some(inquiry) = &mut self.inquiry {
            inquiry.record(bytes);
        }
    }

    /// Gives the cache the stream, which is complete.
    pub fn keep_stream(&mut self) {
        if let (Some(inquiry), Some(target)) = (self.inquiry.take(), self.target()) {
            inquiry.keep_stream(target, &self.usage(), self.cost());
        }
    }

    /// Notes that the answer is that of an identical request.
    pub fn coalesced(&mut self, target: &Target) {
        self.coalesced = Some(target.clone());
        self.metrics.coalesced.inc();
    }

    /// Notes that the first content of a stream has arrived. Of a whole answer nobody knows when it began.
    pub fn content_began(&mut self) {
        if self.first_content.is_none() {
            let now = clock::now();
            self.first_content = Some(now);
            if let Some(pass) = &mut self.pass {
                pass.succeeded(now);
            }
            if let (Some(target), Some(attempt)) = (self.target(), self.attempts.last()) {
                target.offer.stats.first_content_after(now.duration_since(attempt.began));
            }
        }
    }

    /// Notes what the latest attempt used; later counts replace earlier ones.
    pub fn used(&mut self, used: Used) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.used = used;
        }
    }

    /// Notes that our own count is used where the provider has told one: it cannot be true.
    pub fn counted_against(&self, reported: &Usage) {
        if let (Some(target), false) = (self.target(), reported.is_unknown()) {
            target.offer.metrics.usage_mismatch();
        }
    }

    /// Notes why the gateway ended an answer that would have gone on.
    pub fn stopped(&mut self, why: &'static str) {
        self.stopped = Some(why);
    }

    /// Whether the gateway ended the answer.
    pub fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// The tokens of the latest attempt, as far as they are known.
    fn usage(&self) -> Usage {
        match self.attempts.last().map(|attempt| &attempt.used) {
            Some(Used::Reported(usage) | Used::Estimated(usage) | Used::Counted { reported: usage, .. }) => *usage,
            Some(Used::Nothing) | None => Usage::default(),
        }
    }

    /// What the answer cost at the catalogue's price, with the answers that were asked for and not taken; `None` when
    /// a price or token counts are unknown.
    pub fn cost(&self) -> Option<Nanodollars> {
        let mut cost = estimate::cost(&self.target()?.offer, &self.usage())?;
        let (_, others) = self.attempts.split_last()?;
        for other in others {
            if let Used::Reported(usage) | Used::Estimated(usage) = &other.used {
                cost = cost.checked_add(estimate::cost(&other.target.offer, usage)?)?;
            }
        }
        Some(cost)
    }

    /// What an answer from the cache had cost; else what the same tokens would have cost at the model that is best
    /// whatever the prompt, less what was paid, which is negative where that model would have been cheaper.
    fn savings(&self) -> Option<Nanodollars> {
        if let Some(hit) = &self.hit {
            return hit.entry.cost();
        }
        let (routed, _) = self.routed.as_ref()?;
        let best = estimate::cost(routed.best.as_ref()?, &self.usage())?;
        best.checked_sub(self.cost()?)
    }

    /// The `x-gateway` object as JSON; `null` before any target was tried.
    pub fn metadata(&self) -> Box<RawValue> {
        let Some(target) = self.target() else {
            return RawValue::NULL.to_owned();
        };
        let latency = clock::now().duration_since(self.received);
        let metadata = Metadata {
            provider: &target.offer.provider.name,
            model: &target.offer.model,
            routing_decision: match &self.hit {
                Some(hit) => format!("cache: {} ({})", target.offer.model, hit.tier.as_str()),
                None => target.decision().to_string(),
            },
            latency_ms: (latency.as_secs_f64() * 1e6).round() / 1e3,
            savings_usd: self.savings().map(|savings| savings.to_usd()),
            cost_usd: match self.is_free() {
                true => Some(0.0),
                false => self.cost().map(|cost| cost.to_usd()),
            },
            estimated: matches!(self.attempts.last(), Some(Attempt { used: Used::Estimated(_), .. })),
            stopped: self.stopped,
            cache_hit: self.hit.is_some(),
            cache: self.hit.as_ref().map(|hit| CacheMetadata {
                kind: hit.tier.as_str(),
                similarity: hit.similarity.map(|similarity| (similarity * 1e4).round() / 1e4),
                age_seconds: hit.age_seconds(),
                id: &hit.id,
            }),
            coalesced: self.coalesced.is_some(),
            fallback_used: self.is_fallback(),
            attempts: self.trail(),
            losses: self.loss.items().iter().map(|lost| LossMetadata { param: &lost.path, what: &lost.what }).collect(),
        };
        serde_json::value::to_raw_value(&metadata).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }

    /// Whether somebody else has paid for the answer.
    fn is_free(&self) -> bool {
        self.coalesced.is_some() || self.hit.is_some()
    }

    /// The `x-gateway` object of an answer that the gateway made by itself.
    pub fn own_metadata(&self, provider: &str, model: &str) -> Box<RawValue> {
        let latency = clock::now().duration_since(self.received);
        let metadata = Metadata {
            provider,
            model,
            routing_decision: format!("direct: {model}"),
            latency_ms: (latency.as_secs_f64() * 1e6).round() / 1e3,
            cost_usd: Some(0.0),
            estimated: false,
            stopped: None,
            cache_hit: false,
            cache: None,
            savings_usd: None,
            coalesced: false,
            fallback_used: false,
            attempts: Vec::new(),
            losses: Vec::new(),
        };
        serde_json::value::to_raw_value(&metadata).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }

    /// Every target that was asked or skipped, in order.
    fn trail(&self) -> Vec<AttemptMetadata<'_>> {
        fn entry<'a>(target: &'a Target, outcome: &'a str) -> AttemptMetadata<'a> {
            AttemptMetadata { provider: &target.offer.provider.name, model: &target.offer.model, outcome }
        }
        let mut trail = Vec::with_capacity(self.attempts.len() + self.skipped.len());
        for number in 0..=self.attempts.len() {
            let skipped = self.skipped.iter().filter(|(before, ..)| *before == number);
            trail.extend(skipped.map(|(_, target, why)| entry(target, why.as_str())));
            trail.extend(
                self.attempts.get(number).map(|attempt| entry(&attempt.target, attempt.failure.unwrap_or("ok"))),
            );
        }
        trail
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
        let now = clock::now();
        let total = now.duration_since(self.received);
        let usage = self.usage();
        if let Some(mut pass) = self.pass.take()
            && status == 200
        {
            pass.succeeded(now);
        }
        match self.target() {
            Some(target) => {
                let offer = &target.offer;
                let first = self.first_content.map(|at| at.duration_since(self.received));
                offer.metrics.request(status, self.strategy);
                // What comes from the cache says nothing of how fast a provider is.
                if status == 200 && self.hit.is_none() {
                    offer.metrics.latency(first, total);
                }
                if let (200, Some(attempt)) = (status, self.attempts.last()) {
                    let streamed = self.first_content.map(|at| now.duration_since(at)).zip(usage.output);
                    let answered = attempt.answered.unwrap_or(now);
                    offer.stats.answered_after(answered.duration_since(attempt.began), streamed);
                }
                if status == 200 && self.is_fallback() {
                    offer.metrics.fallback();
                }
                if let (200, Some((routed, memory))) = (status, &self.routed) {
                    memory.answered(&self.request_id, routed, offer);
                }
            }
            None => self.metrics.refused(status, self.strategy),
        }
        debug!(
            request.id = %self.request_id,
            surface = ?self.surface,
            gen_ai.request.model = self.model,
            gen_ai.response.model = self.target().map(|target| &*target.offer.model),
            provider = self.target().map(|target| &*target.offer.provider.name),
            decision = self.target().map(|target| target.decision().to_string()),
            tags = ?self.tags,
            status,
            error,
            attempts = self.attempts.len(),
            gen_ai.usage.input_tokens = usage.input,
            gen_ai.usage.output_tokens = usage.output,
            duration_ms = total.as_millis() as u64,
            "request"
        );
        self.settle(error);
    }

    /// Pays for what was used and frees the place. An attempt that was under way when the end came has failed with it.
    fn settle(&mut self, error: Option<&'static str>) {
        let place = self.place.take();
        let Some((held, call)) = self.money.take() else { return };
        let mut attempts = std::mem::take(&mut self.attempts);
        if let (Some(attempt), Some(error)) = (attempts.last_mut(), error) {
            attempt.failure.get_or_insert(error);
        }
        if attempts.is_empty() {
            return;
        }
        let rates = place.map(Place::into_rates);
        held.settle(call, attempts, move |actual| {
            if let Some(rates) = rates {
                rates.settle_tokens(u64::try_from(actual.tokens).unwrap_or(0));
            }
        });
    }
}

fn address(offer: &Arc<Offer>) -> usize {
    Arc::as_ptr(offer).addr()
}

impl Drop for Record {
    fn drop(&mut self) {
        self.close(CLIENT_CLOSED_REQUEST, Some("client_closed_request"));
    }
}
