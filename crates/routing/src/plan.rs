//! The plan: candidates in order, each with its score, and those left out with the reason.

use catalog::Nanodollars;

use crate::score::Scale;
use crate::{Candidate, Complexity, Difficulty, Needs, Strategy, predict};

/// What the ranking is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// `auto`: the strategy's weighted score.
    Weighed(Strategy),
    /// `fast`: the lowest measured latency.
    Fastest,
    /// `cheap`: the lowest estimated cost.
    Cheapest,
    /// `quality`: the best predicted quality.
    Best,
}

impl Goal {
    /// The word that opens the decision.
    pub fn as_str(self) -> &'static str {
        match self {
            Goal::Weighed(strategy) => strategy.as_str(),
            Goal::Fastest => "fast",
            Goal::Cheapest => "cheap",
            Goal::Best => "quality",
        }
    }
}

/// How the operator wants ties and near-ties settled.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// What to rank by.
    pub goal: Goal,
    /// A local model close enough to the best wins over it; applies to [`Goal::Weighed`] only.
    pub prefer_local: bool,
    /// How close: the share of the best score that a local model needs.
    pub prefer_local_ratio: f64,
}

/// One candidate's place in the plan.
#[derive(Clone, Copy, Debug)]
pub struct Ranked {
    /// Position in the slice that was given to [`crate::plan`].
    pub candidate: usize,
    /// The score it was ordered by, 0 to 1.
    pub score: f64,
    /// Predicted quality, 0 to 1.
    pub quality: f64,
    /// Estimated cost of this request; `None` when the price is unknown.
    pub cost: Option<Nanodollars>,
}

/// Why a candidate was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Prompt and answer do not fit its context window.
    ContextWindow,
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
    /// Nothing is known of its quality.
    UnknownQuality,
    /// Its price is unknown and the goal is to spend little.
    UnknownPrice,
}

impl Reason {
    /// What the request needs and the candidate lacks, for the caller's message.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::ContextWindow => "a context window large enough for this prompt",
            Reason::Vision => "image input",
            Reason::Audio => "audio input",
            Reason::Files => "file input",
            Reason::Tools => "tool calls",
            Reason::JsonSchema => "structured output",
            Reason::UnknownQuality => "a known quality",
            Reason::UnknownPrice => "a known price",
        }
    }
}

/// The outcome of routing one request.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Candidates that can serve, best first.
    pub ranked: Vec<Ranked>,
    /// Candidates that cannot, by position, with the first reason found.
    pub excluded: Vec<(usize, Reason)>,
    /// How hard the prompt looks.
    pub complexity: Complexity,
    /// The goal that was ranked by.
    pub goal: Goal,
    /// A local model was put first although another scored higher.
    pub is_local_first: bool,
}

impl Plan {
    /// The decision in one line, for example `balanced: llama3.2 (score: 0.87, complexity: simple)`.
    pub fn decision(&self, model: &str, score: f64) -> String {
        let local = if self.is_local_first { " [local-first]" } else { "" };
        format!("{}: {model} (score: {score:.2}, complexity: {}){local}", self.goal.as_str(), self.complexity.as_str())
    }
}

pub(crate) fn build(candidates: &[Candidate<'_>], needs: &Needs, difficulty: Difficulty, policy: &Policy) -> Plan {
    let mut excluded = Vec::new();
    let mut ranked: Vec<Ranked> = Vec::with_capacity(candidates.len());
    for (index, candidate) in candidates.iter().enumerate() {
        match missing(candidate, needs, policy.goal) {
            Some(reason) => excluded.push((index, reason)),
            None => ranked.push(Ranked {
                candidate: index,
                score: 0.0,
                quality: predict::quality(candidate, difficulty),
                cost: predict::cost(candidate, needs),
            }),
        }
    }
    score_all(&mut ranked, candidates, policy.goal);
    ranked.sort_by(|a, b| {
        let healthy = |ranked: &Ranked| candidates.get(ranked.candidate).is_some_and(|c| c.is_healthy);
        healthy(b).cmp(&healthy(a)).then(b.score.total_cmp(&a.score)).then(a.candidate.cmp(&b.candidate))
    });
    let is_local_first = put_local_first(&mut ranked, candidates, policy);
    Plan { ranked, excluded, complexity: difficulty.complexity(), goal: policy.goal, is_local_first }
}

/// The first thing the request needs that the candidate lacks.
fn missing(candidate: &Candidate<'_>, needs: &Needs, goal: Goal) -> Option<Reason> {
    let has = &candidate.capabilities;
    let tokens = needs.input_tokens.saturating_add(needs.max_tokens.unwrap_or(0));
    let checks = [
        (candidate.context_window.is_some_and(|window| tokens > window), Reason::ContextWindow),
        (needs.vision && !has.vision, Reason::Vision),
        (needs.audio && !has.audio, Reason::Audio),
        (needs.files && !has.files, Reason::Files),
        (needs.tools && !has.tools, Reason::Tools),
        (needs.json_schema && !has.json_schema, Reason::JsonSchema),
        (candidate.quality.is_none(), Reason::UnknownQuality),
        (goal == Goal::Cheapest && candidate.price.is_none() && !candidate.is_local, Reason::UnknownPrice),
    ];
    checks.into_iter().find_map(|(is_missing, reason)| is_missing.then_some(reason))
}

/// The share that settles ties between candidates equal in what a single-minded goal asks for.
const TIE_BREAK: f64 = 0.02;

fn score_all(ranked: &mut [Ranked], candidates: &[Candidate<'_>], goal: Goal) {
    let latency = |r: &Ranked| candidates.get(r.candidate).and_then(|candidate| candidate.latency_ms);
    let dollars = |r: &Ranked| r.cost.map(|cost| cost.to_usd());
    let scale = Scale::over(ranked.iter().filter_map(dollars), ranked.iter().filter_map(latency));
    let balanced = Strategy::Balanced.weights();
    for entry in ranked.iter_mut() {
        let (cost, speed, quality) = (scale.cost(dollars(entry)), scale.latency(latency(entry)), entry.quality);
        let weigh = |w: crate::Weights| w.cost * cost + w.quality * quality + w.latency * speed;
        let mostly = |main: f64| (1.0 - TIE_BREAK) * main + TIE_BREAK * weigh(balanced);
        entry.score = match goal {
            Goal::Weighed(strategy) => weigh(strategy.weights()),
            Goal::Fastest => mostly(speed),
            Goal::Cheapest => mostly(cost),
            Goal::Best => mostly(quality),
        };
    }
}

/// Moves the best healthy local model to the front where the policy says so; tells whether it did.
fn put_local_first(ranked: &mut [Ranked], candidates: &[Candidate<'_>], policy: &Policy) -> bool {
    let (true, Goal::Weighed(_), Some(best)) = (policy.prefer_local, policy.goal, ranked.first()) else {
        return false;
    };
    let enough = best.score * policy.prefer_local_ratio;
    let local = ranked.iter().position(|entry| {
        let candidate = candidates.get(entry.candidate);
        candidate.is_some_and(|candidate| candidate.is_local && candidate.is_healthy) && entry.score >= enough
    });
    match local {
        Some(position) if position > 0 => {
            if let Some(front) = ranked.get_mut(..=position) {
                front.rotate_right(1);
            }
            true
        }
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests;
