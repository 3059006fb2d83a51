//! A share of the semantic hits is checked: the model is asked all the same, behind the request, and its answer compared
//! with the one that was given. What proves too loose is tightened; a frame that goes wrong again and again is switched
//! off.
//!
//! What the comparison can tell: two answers with the same canonical words agree; so do two that the embedded model
//! finds alike, unless both are short and name different numbers. It cannot tell which of two different answers is
//! right, and a model that answers differently each time looks like an error of ours: the measured rate is too high
//! rather than too low.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Semaphore;
use tracing::{info, warn};
use wire::replay;

use super::errand::Errands;
use super::meaning::Meaning;
use super::{Cache, Digest, Hit, Inquiry};
use crate::call::Call;
use crate::live::Live;
use crate::policy::Chain;
use crate::router::{Plan, Target};
use crate::tasks::Tasks;

/// Verifications that run at one time; more are left out.
const AT_ONCE: usize = 4;
/// Frames whose errors are remembered.
const MAX_FRAMES: usize = 1_000;
/// Verifications that must have come in before the threshold moves.
const FEWEST: u32 = 10;
/// Errors after which a frame can be switched off.
const MOST_ERRORS: u32 = 2;
/// The part of the way to 1 that the threshold goes at each step.
const STEP: f64 = 0.2;
/// Standard deviations of the interval that is reported: 95 of 100.
const DEVIATIONS: f64 = 1.96;
/// Answers that are at least so alike say the same.
const ALIKE: f32 = 0.8;
/// Answers up to here are so short that a number in them is the answer.
const SHORT_BYTES: usize = 80;

/// Checks hits and remembers what came of it.
#[derive(Debug)]
pub(super) struct Verifier {
    errands: Arc<Errands>,
    meaning: Arc<Meaning>,
    tasks: Tasks,
    places: Arc<Semaphore>,
    // A std mutex: held to count, never across an await.
    findings: Mutex<Findings>,
}

/// What verification has found.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    all: Count,
    /// Since the threshold moved last.
    recent: Count,
    frames: HashMap<Digest, Count>,
    /// The part of the way from the configured threshold to 1.
    tightened: f64,
}

/// Verifications, those that found an error, and whether that was enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    checked: u32,
    wrong: u32,
    is_off: bool,
}

/// What is shown of it.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Report {
    checked: u32,
    wrong: u32,
    false_hit_rate: Option<f64>,
    /// The interval in which the true rate lies in 95 of 100 cases (Wilson).
    lowest: Option<f64>,
    highest: Option<f64>,
    frames_switched_off: usize,
}

impl Verifier {
    pub(super) fn new(errands: Arc<Errands>, meaning: Arc<Meaning>, tasks: Tasks) -> Verifier {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Verifier { errands, meaning, tasks, places, findings: Mutex::default() }
    }

    /// The threshold in force, from the configured one.
    pub(super) fn threshold(&self, configured: f64) -> f32 {
        let tightened = self.findings.lock().tightened;
        (configured + (1.0 - configured) * tightened) as f32
    }

    /// Whether a frame was switched off.
    pub(super) fn is_off(&self, frame: &Digest) -> bool {
        self.findings.lock().frames.get(frame).is_some_and(|count| count.is_off)
    }

    pub(super) fn report(&self) -> Report {
        let findings = self.findings.lock();
        let Count { checked, wrong, .. } = findings.all;
        let interval = wilson(wrong, checked);
        Report {
            checked,
            wrong,
            false_hit_rate: (checked > 0).then(|| f64::from(wrong) / f64::from(checked)),
            lowest: interval.map(|(lowest, _)| lowest),
            highest: interval.map(|(_, highest)| highest),
            frames_switched_off: findings.frames.values().filter(|count| count.is_off).count(),
        }
    }

    /// Verifies this hit if the lot falls on it and nobody has to pay.
    pub(super) fn consider(&self, cache: &Arc<Cache>, live: &Live, call: &Call, inquiry: &Inquiry, hit: &Hit) {
        let settings = &live.config.cache;
        if fastrand::f64() >= settings.verify_rate {
            return;
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else { return };
        let asked = self.errands.whole_like(call);
        let Some(mut plan) = self.errands.plan(live, &asked) else { return };
        plan.composite = None;
        if !settings.verify_paid {
            plan.targets.retain(is_free);
        }
        let Some(phrase) = inquiry.phrase.as_ref().filter(|_| !plan.targets.is_empty()) else { return };
        let (frame, pair) = (phrase.frame, (hit.entry.id, phrase.digest));
        let (cache, given) = (cache.clone(), hit.entry.answer.clone());
        self.tasks.spawn("cache verification", async move {
            cache.verifier.verify(&cache, asked, plan, &given, frame, pair).await;
            drop(place);
        });
    }

    async fn verify(
        &self,
        cache: &Cache,
        asked: Arc<Call>,
        plan: Plan,
        given: &str,
        frame: Digest,
        pair: (Digest, Digest),
    ) {
        let client = asked.surface.client();
        let Some(fresh) = self.errands.run(asked, plan).await else { return };
        let texts = replay::text(client, &fresh.body).zip(replay::text(client, given.as_bytes()));
        let Some((fresh, given)) = texts.filter(|_| replay::ending(client, &fresh.body).is_some()) else { return };
        let Some(is_right) = self.agree(&fresh, &given).await else { return };
        let live = self.errands.live();
        live.metrics.cache.verified(is_right);
        if !is_right && let Err(problem) = cache.reject_pair(&live, pair).await {
            warn!(error = %Chain(&problem), "the database does not take a pair that was wrong; a restart forgets it");
        }
        let most = live.config.cache.max_error_rate;
        let step = self.findings.lock().note(frame, is_right, most);
        match step {
            Step::Tightened(part) => info!(part, "semantic hits were wrong too often; the threshold is tightened"),
            Step::SwitchedOff => warn!(%frame, "semantic hits of one frame were wrong too often; it is switched off"),
            Step::None => {}
        }
    }

    /// Whether two answers say the same; `None` where that cannot be told.
    async fn agree(&self, one: &str, other: &str) -> Option<bool> {
        if equivalence::canonical(one) == equivalence::canonical(other) {
            return Some(true);
        }
        let are_short = one.len().max(other.len()) <= SHORT_BYTES;
        if are_short && numbers(one) != numbers(other) {
            return Some(false);
        }
        Some(self.meaning.likeness(one, other).await? >= ALIKE)
    }
}

#[derive(Debug, PartialEq)]
enum Step {
    None,
    Tightened(f64),
    SwitchedOff,
}

impl Findings {
    fn note(&mut self, frame: Digest, is_right: bool, most: f64) -> Step {
        self.all.note(is_right);
        self.recent.note(is_right);
        let mut step = Step::None;
        if self.frames.len() < MAX_FRAMES || self.frames.contains_key(&frame) {
            let count = self.frames.entry(frame).or_default();
            count.note(is_right);
            let lowest = wilson(count.wrong, count.checked).map_or(0.0, |(lowest, _)| lowest);
            if !count.is_off && count.wrong >= MOST_ERRORS && lowest > most {
                count.is_off = true;
                step = Step::SwitchedOff;
            }
        }
        if self.recent.checked >= FEWEST && f64::from(self.recent.wrong) > most * f64::from(self.recent.checked) {
            self.tightened += (1.0 - self.tightened) * STEP;
            self.recent = Count::default();
            return Step::Tightened(self.tightened);
        }
        step
    }
}

impl Count {
    fn note(&mut self, is_right: bool) {
        self.checked = self.checked.saturating_add(1);
        self.wrong = self.wrong.saturating_add(u32::from(!is_right));
    }
}

/// Whether asking costs nothing.
fn is_free(target: &Target) -> bool {
    let price = target.offer.facts.price.as_ref();
    target.offer.provider.config.is_local || price.is_some_and(|price| price.input.0 == 0 && price.output.0 == 0)
}

/// The runs of digits in a text.
fn numbers(text: &str) -> Vec<&str> {
    text.split(|letter: char| !letter.is_ascii_digit()).filter(|part| !part.is_empty()).collect()
}

/// The interval of a rate of which `wrong` of `checked` were seen: Wilson, "Probable Inference" (1927).
fn wilson(wrong: u32, checked: u32) -> Option<(f64, f64)> {
    if checked == 0 {
        return None;
    }
    let (n, z) = (f64::from(checked), DEVIATIONS);
    let rate = f64::from(wrong) / n;
    let middle = rate + z * z / (2.0 * n);
    let spread = z * (rate * (1.0 - rate) / n + z * z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + z * z / n;
    Some((((middle - spread) / whole).max(0.0), ((middle + spread) / whole).min(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u8) -> Digest {
        Digest::of([[number].as_slice()])
    }

    /// Values as R's `prop.test(correct = FALSE)` gives them.
    #[test]
    fn the_interval_is_wilsons() {
        let (lowest, highest) = wilson(1, 10).unwrap();
        assert!((lowest - 0.0179).abs() < 1e-3 && (highest - 0.4042).abs() < 1e-3, "{lowest} {highest}");
        let (lowest, highest) = wilson(0, 100).unwrap();
        assert!(lowest == 0.0 && (highest - 0.037).abs() < 1e-3, "{highest}");
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn errors_beyond_the_limit_tighten_the_threshold_step_by_step() {
        let mut findings = Findings::default();
        for number in 0..9 {
            assert_eq!(findings.note(frame(number), number > 0, 0.02), Step::None);
        }
        assert!(matches!(findings.note(frame(9), true, 0.02), Step::Tightened(part) if part == STEP));
        for number in 10..100 {
            assert_eq!(findings.note(frame(number), true, 0.02), Step::None);
        }
        assert_eq!(findings.all, Count { checked: 100, wrong: 1, is_off: false });
    }

    #[test]
    fn a_frame_that_goes_wrong_again_and_again_is_switched_off() {
        let mut findings = Findings::default();
        assert_eq!(findings.note(frame(0), false, 0.02), Step::None);
        assert_eq!(findings.note(frame(0), false, 0.02), Step::SwitchedOff);
        assert!(findings.frames[&frame(0)].is_off && !findings.frames.contains_key(&frame(1)));
    }
}
