//! The plan: candidates in order, each with its score and what became of it, and those left out with the reason.

use std::cmp::Ordering;

use catalog::Nanodollars;
use wire::usage::Usage;

use crate::composite;
use crate::heads::BASIS;
use crate::score::Scale;
use crate::{
    Availability, Candidate, Complexity, Composite, Goal, Needs, Permission, Policy, Predicted, Prompt, Quality,
    Strategy, Task, Weights,
};

/// One candidate's place in the plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// Position in the slice that was given to [`crate::plan`].
    pub candidate: usize,
    /// The score it was ordered by, 0 to 1.
    pub score: f64,
    /// Predicted quality.
    pub quality: Predicted,
    /// Predicted cost of this request; `None` when the price is unknown.
    pub cost: Option<Nanodollars>,
    /// Predicted milliseconds to the whole answer; `None` before the first measurement.
    pub latency_ms: Option<f64>,
    /// Why it stands where it stands.
    pub verdict: Verdict,
}

/// Why a candidate was taken, or was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is asked first.
    Taken,
    /// Another scored higher.
    Outscored,
    /// It scored higher, but a local model was close enough.
    BehindLocal,
    /// It scored higher, but another has this conversation.
    BehindSticky,
    /// It scored higher, but by less than the error of its prediction.
    WithinError,
    /// It scored higher, but the request prefers another's provider.
    BehindPreferred,
    /// Little is left of its rate limit.
    Short,
    /// It cannot be reached.
    Unreachable,
}

impl Verdict {
    /// The reason in words, for explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Taken => "taken",
            Verdict::Outscored => "another scored higher",
            Verdict::BehindLocal => "a local model is close enough",
            Verdict::BehindSticky => "another model has this conversation",
            Verdict::WithinError => "its lead is within the error of the prediction",
            Verdict::BehindPreferred => "the request prefers another provider",
            Verdict::Short => "little is left of its rate limit",
            Verdict::Unreachable => "it cannot be reached now",
        }
    }
}

/// What put the first candidate first, where that was not its score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Its score did.
    Score,
    /// It is local and close enough.
    LocalFirst,
    /// The request prefers its provider.
    Preferred,
    /// It has this conversation.
    Sticky,
    /// It is best on the whole, and the lead of others on this prompt is not sure enough.
    Guard,
}

/// Why a candidate was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Prompt and answer do not fit its context window.
    ContextWindow,
    /// It gives no answer as long as the caller wants it.
    OutputLimit,
    /// It takes no images.
    Vision,
    /// It takes no audio.
    Audio,
    /// It takes no files.
    Files,
    /// It calls no functions.
    Tools,
    /// It cannot hold to a JSON Schema.
    JsonSchema,
    /// Its price is unknown and the goal is to spend little.
    UnknownPrice,
    /// It costs more than the policy allows.
    Cost,
    /// It takes longer than the policy allows.
    Latency,
}

impl Reason {
    /// What the request needs and the candidate lacks, for the caller's message.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::ContextWindow => "a context window large enough for this prompt",
            Reason::OutputLimit => "an answer of that length",
            Reason::Vision => "image input",
            Reason::Audio => "audio input",
            Reason::Files => "file input",
            Reason::Tools => "tool calls",
            Reason::JsonSchema => "structured output",
            Reason::UnknownPrice => "a known price",
            Reason::Cost => "a cost within the limit",
            Reason::Latency => "a latency within the limit",
        }
    }
}

/// The outcome of routing one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Candidates that can serve, best first.
    pub ranked: Vec<Ranked>,
    /// Candidates that cannot, by position, with the first reason found.
    pub excluded: Vec<(usize, Reason)>,
    /// How hard the prompt looks.
    pub complexity: Complexity,
    /// What it mostly asks for.
    pub task: Task,
    /// The goal that was ranked by.
    pub goal: Goal,
    /// What put the first candidate first.
    pub placement: Placement,
    /// A way to answer with several models that beats the first candidate, or that the caller asked for.
    pub composite: Option<Composite>,
}

impl Plan {
    /// Puts those candidates first that the request prefers, in their order.
    pub fn prefer(&mut self, is_preferred: impl Fn(usize) -> bool) {
        let first = self.ranked.first().map(|entry| entry.candidate);
        self.ranked.sort_by_key(|entry| !is_preferred(entry.candidate));
        if self.ranked.first().map(|entry| entry.candidate) == first {
            return;
        }
        for (place, entry) in self.ranked.iter_mut().enumerate() {
            entry.verdict = match entry.verdict {
                _ if place == 0 => Verdict::Taken,
                Verdict::Taken => Verdict::BehindPreferred,
                other => other,
            };
        }
        self.placement = Placement::Preferred;
    }

    /// The decision in one line, for example `balanced: llama3.2 (score: 0.87, complexity: simple)`.
    pub fn decision(&self, model: &str, score: f64) -> String {
        let (goal, complexity) = (self.goal.as_str(), self.complexity.as_str());
        format!("{goal}: {model} (score: {score:.2}, complexity: {complexity}){}", self.mark())
    }

    /// What the decision's line ends in: how the answer was placed, where its score alone did not decide.
    pub fn mark(&self) -> &'static str {
        match (self.composite, self.placement) {
            (Some(Composite::Cascade { .. }), _) => " [cascade]",
            (Some(Composite::Escalate { .. }), _) => " [escalate]",
            (None, placement) => placement.mark(),
        }
    }
}

impl Placement {
    /// What the line of a decision for one model ends in.
    pub fn mark(self) -> &'static str {
        match self {
            Placement::LocalFirst => " [local-first]",
            Placement::Score | Placement::Preferred | Placement::Sticky | Placement::Guard => "",
        }
    }
}

pub(crate) fn build(candidates: &[Candidate<'_>], needs: &Needs, prompt: &Prompt, policy: &Policy) -> Plan {
    let mut excluded = Vec::new();
    let mut ranked: Vec<Ranked> = Vec::with_capacity(candidates.len());
    for (index, candidate) in candidates.iter().enumerate() {
        let entry = Ranked {
            candidate: index,
            score: 0.0,
            quality: candidate.quality.predict(prompt),
            cost: cost(candidate, needs, prompt),
            latency_ms: latency(candidate, needs, prompt),
            verdict: Verdict::Outscored,
        };
        match missing(candidate, &entry, needs, prompt, policy) {
            Some(reason) => excluded.push((index, reason)),
            None => ranked.push(entry),
        }
    }
    let scale = Scoring::over(&ranked, candidates, policy);
    for entry in &mut ranked {
        entry.score = scale.score(entry, entry.quality.value);
    }
    let availability = |entry: &Ranked| candidates.get(entry.candidate).map(|candidate| candidate.availability);
    ranked.sort_by(|a, b| {
        let by_score = b.score.total_cmp(&a.score).then(a.candidate.cmp(&b.candidate));
        availability(b).cmp(&availability(a)).then(by_score)
    });
    let placement = place(&mut ranked, candidates, policy, &scale);
    // Unasked, several models answer only where the score decides: they are no local model and have no conversation.
    let permission = match (policy.composite, placement) {
        (permission, Placement::Score) => permission,
        (Permission::Automatic, _) => Permission::Never,
        (permission, _) => permission,
    };
    let composite = composite::best(&ranked, candidates, needs, prompt, permission, &scale);
    Plan {
        ranked,
        excluded,
        complexity: prompt.complexity(),
        task: prompt.task(),
        goal: policy.goal,
        placement,
        composite,
    }
}

/// Predicted cost of the request; `None` when the price is unknown.
fn cost(candidate: &Candidate<'_>, needs: &Needs, prompt: &Prompt) -> Option<Nanodollars> {
    let usage =
        Usage { input: Some(needs.input_tokens), output: Some(output_tokens(needs, prompt)), ..Usage::default() };
    candidate.price.map(|price| price.cost(&usage))
}

fn output_tokens(needs: &Needs, prompt: &Prompt) -> u64 {
    needs.max_tokens.map_or(prompt.output_tokens(), |limit| limit.min(prompt.output_tokens()))
}

/// Predicted milliseconds to the whole answer.
fn latency(candidate: &Candidate<'_>, needs: &Needs, prompt: &Prompt) -> Option<f64> {
    let answer = output_tokens(needs, prompt) as f64;
    let of = |measured: crate::Latency| measured.first_content_ms + measured.per_token_ms * answer;
    candidate.latency.map(|measured| candidate.cold_start_ms + of(measured))
}

/// The first thing that the request or the policy needs and the candidate lacks.
fn missing(
    candidate: &Candidate<'_>,
    entry: &Ranked,
    needs: &Needs,
    prompt: &Prompt,
    policy: &Policy,
) -> Option<Reason> {
    let has = &candidate.capabilities;
    let tokens = needs.input_tokens.saturating_add(needs.max_tokens.unwrap_or(0));
    let is_beyond = |limit: Option<u64>, wanted: Option<u64>| matches!((limit, wanted), (Some(l), Some(w)) if w > l);
    let limits = &policy.constraints;
    let checks = [
        (is_beyond(candidate.context_window, Some(tokens)), Reason::ContextWindow),
        (is_beyond(candidate.max_output_tokens, needs.max_tokens), Reason::OutputLimit),
        (needs.vision && !has.vision, Reason::Vision),
        (needs.audio && !has.audio, Reason::Audio),
        (needs.files && !has.files, Reason::Files),
        (needs.tools && !has.tools, Reason::Tools),
        (needs.json_schema && !has.json_schema, Reason::JsonSchema),
        (policy.goal == Goal::Cheapest && candidate.price.is_none() && !candidate.is_local, Reason::UnknownPrice),
        (is_too_dear(entry.cost, limits.max_cost_per_1k_tokens, needs, prompt), Reason::Cost),
        (matches!((entry.latency_ms, limits.max_latency_ms), (Some(ms), Some(limit)) if ms > limit), Reason::Latency),
    ];
    checks.into_iter().find_map(|(is_missing, reason)| is_missing.then_some(reason))
}

fn is_too_dear(cost: Option<Nanodollars>, limit: Option<Nanodollars>, needs: &Needs, prompt: &Prompt) -> bool {
    let Some(limit) = limit else { return false };
    let Some(cost) = cost else { return true };
    let tokens = needs.input_tokens.saturating_add(output_tokens(needs, prompt)).max(1);
    i128::from(cost.0).saturating_mul(1_000) > i128::from(limit.0).saturating_mul(i128::from(tokens))
}

/// The share that settles ties between candidates equal in what a single-minded goal asks for.
const TIE_BREAK: f64 = 0.02;

/// What scores are measured against: the cheapest, the fastest, the best of the candidates.
pub(crate) struct Scoring {
    policy: Policy,
    scale: Scale,
    best: f64,
    /// The prompt that candidates are compared at on the whole.
    common: [f64; BASIS],
}

impl Scoring {
    fn over(ranked: &[Ranked], candidates: &[Candidate<'_>], policy: &Policy) -> Scoring {
        let known = ranked.iter().filter_map(|entry| entry.cost.map(Nanodollars::to_usd));
        let best = ranked.iter().map(|entry| entry.quality.value).fold(0.0, f64::max);
        let common = Quality::common_basis(candidates.iter().map(|candidate| candidate.quality));
        let scale = Scale::over(known, ranked.iter().filter_map(|entry| entry.latency_ms));
        Scoring { policy: *policy, scale, best, common }
    }

    /// The score of that quality at the candidate's cost and latency.
    fn score(&self, entry: &Ranked, quality: f64) -> f64 {
        self.score_of(entry.cost, entry.latency_ms, quality)
    }

    pub(crate) fn score_of(&self, cost: Option<Nanodollars>, latency_ms: Option<f64>, quality: f64) -> f64 {
        let (cost, speed) = (self.scale.cost(cost.map(Nanodollars::to_usd)), self.scale.latency(latency_ms));
        let weigh = |weights: Weights| weights.weigh(cost, quality, speed, weights.adequacy(quality, self.best));
        let mostly = |main: f64| (1.0 - TIE_BREAK) * main + TIE_BREAK * weigh(Strategy::Balanced.weights());
        match self.policy.goal {
            Goal::Weighed(_) => weigh(self.policy.weights),
            Goal::Fastest => mostly(speed),
            Goal::Cheapest => mostly(cost),
            Goal::Best => mostly(quality),
        }
    }
}

/// Standard errors that a lead must exceed before the best model on the whole is left for the best on this prompt: the
/// largest of many predictions is one that errs upwards.
const GUARD_ERRORS: f64 = 1.0;

/// Which of the reachable candidates is best on the whole: by its quality over all prompts, less what is not sure of it.
fn incumbent(ranked: &[Ranked], candidates: &[Candidate<'_>], scoring: &Scoring) -> Option<usize> {
    let overall = |entry: &Ranked| {
        let predicted = candidates.get(entry.candidate).map(|candidate| candidate.quality.predict_at(&scoring.common));
        predicted.map_or(0.0, |predicted| predicted.value - predicted.standard_error)
    };
    let front = ranked.first().and_then(|first| candidates.get(first.candidate))?.availability;
    let is_level = |entry: &Ranked| candidates.get(entry.candidate).is_some_and(|c| c.availability == front);
    let level = ranked.iter().enumerate().filter(|(_, entry)| is_level(entry));
    level
        .map(|(place, entry)| (place, overall(entry)))
        .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
        .map(|(place, _)| place)
}

/// Where the incumbent stands, if the first candidate's lead over it is within the error of the prediction. Only
/// [`Goal::Best`] is guarded: what else is ranked by is known, and a shortfall of quality is held by the adequacy.
fn guarded(ranked: &[Ranked], candidates: &[Candidate<'_>], scoring: &Scoring) -> Option<usize> {
    let (Goal::Best, Some(first)) = (scoring.policy.goal, ranked.first()) else { return None };
    let place = incumbent(ranked, candidates, scoring)?;
    let held = ranked.get(place)?;
    let error = first.quality.standard_error.hypot(held.quality.standard_error);
    let is_sure = first.quality.value - held.quality.value > GUARD_ERRORS * error;
    (place > 0 && !is_sure).then_some(place)
}

/// Where the candidate stands that has this conversation, if it can be asked and the first would not answer clearly
/// better.
fn kept(ranked: &[Ranked], candidates: &[Candidate<'_>], policy: &Policy) -> Option<usize> {
    // Who asks for the cheapest or the fastest gets that one, whoever had the conversation.
    if matches!(policy.goal, Goal::Cheapest | Goal::Fastest) {
        return None;
    }
    let place = ranked.iter().position(|entry| Some(entry.candidate) == policy.sticky)?;
    let (entry, first) = (ranked.get(place)?, ranked.first()?);
    let availability = candidates.get(entry.candidate)?.availability;
    let error = first.quality.standard_error.hypot(entry.quality.standard_error);
    let is_better = first.quality.value - entry.quality.value > GUARD_ERRORS * error;
    (availability != Availability::Unreachable && !is_better).then_some(place)
}

/// Puts first what the policy wants first, and says of every candidate what became of it.
fn place(ranked: &mut [Ranked], candidates: &[Candidate<'_>], policy: &Policy, scoring: &Scoring) -> Placement {
    let found = kept(ranked, candidates, policy)
        .map(|place| (place, Placement::Sticky, Verdict::BehindSticky))
        .or_else(|| {
            local_first(ranked, candidates, policy).map(|place| (place, Placement::LocalFirst, Verdict::BehindLocal))
        })
        .or_else(|| guarded(ranked, candidates, scoring).map(|place| (place, Placement::Guard, Verdict::WithinError)));
    let (position, placement, passed_over) = found.unwrap_or((0, Placement::Score, Verdict::Outscored));
    for (place, entry) in ranked.iter_mut().enumerate() {
        let availability = candidates.get(entry.candidate).map(|candidate| candidate.availability);
        entry.verdict = match (availability, place.cmp(&position)) {
            (_, Ordering::Equal) => Verdict::Taken,
            (Some(Availability::Unreachable), _) => Verdict::Unreachable,
            (_, Ordering::Less) => passed_over,
            (Some(Availability::Short), _) => Verdict::Short,
            (Some(Availability::Ready) | None, Ordering::Greater) => Verdict::Outscored,
        };
    }
    if let Some(front) = ranked.get_mut(..=position) {
        front.rotate_right(1);
    }
    if position == 0 && placement != Placement::Sticky { Placement::Score } else { placement }
}

/// Where the best local model stands, if the policy wants it first.
fn local_first(ranked: &[Ranked], candidates: &[Candidate<'_>], policy: &Policy) -> Option<usize> {
    let (Some(prefer), Goal::Weighed(_), Some(best)) = (policy.prefer_local, policy.goal, ranked.first()) else {
        return None;
    };
    ranked.iter().position(|entry| {
        let is_local = candidates
            .get(entry.candidate)
            .is_some_and(|candidate| candidate.is_local && candidate.availability == Availability::Ready);
        let is_good = prefer.quality_floor.is_none_or(|floor| entry.quality.value >= floor);
        is_local && is_good && entry.score >= best.score * prefer.ratio
    })
}

#[cfg(test)]
mod tests;
