//! Answers that several models make together.

use std::cmp::Ordering;

use catalog::Nanodollars;

use crate::plan::Scoring;
use crate::{Availability, Candidate, Needs, Permission, Prompt, Ranked};

/// A way to answer with several models, by their positions in the slice that was given to [`crate::plan`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Composite {
    /// Both cheap ones are asked; where they agree their answer stands, else the strong one is asked.
    Cascade {
        /// Asked at once.
        cheap: [usize; 2],
        /// Asked where they differ.
        strong: usize,
        /// What the whole is predicted to give.
        expected: Expected,
    },
    /// The first is asked; where its answer fails a check (form, refusal, truncation, emptiness), the next.
    Escalate {
        /// Asked first.
        cheap: usize,
        /// Asked where that fails.
        strong: usize,
        /// What the whole is predicted to give.
        expected: Expected,
    },
}

/// What a composite is predicted to give, on the scales of a single model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Share of a perfect answer.
    pub quality: f64,
    /// Cost of all calls, weighed by how likely each is.
    pub cost: Nanodollars,
    /// Latency of all calls, weighed likewise; `None` where a member was not measured.
    pub latency_ms: Option<f64>,
    /// Score under the policy's weights.
    pub score: f64,
}

/// Candidates that pairs and strong members are drawn from: those best in score, so that the work stays bounded.
const MOST_MEMBERS: usize = 8;
/// How much two models err alike: 0 is by chance, 1 is always together. Models of one time share their training texts.
const SHARED_ERRORS: f64 = 0.4;
/// How often two that are both wrong give the same wrong answer: it is one of few that look right.
const SAME_ERROR: f64 = 0.35;
/// How many of the failed answers a check of form sees: refusals, cut answers, bad JSON.
const SEEN_FAILURES: f64 = 0.3;
/// A composite must lead by this to be taken unasked: it shows the prompt to more providers and holds streams back.
const LEAD: f64 = 0.02;

/// The composite that the policy asks for, or that scores higher than the first candidate where it may choose.
pub(crate) fn best(
    ranked: &[Ranked],
    candidates: &[Candidate<'_>],
    needs: &Needs,
    prompt: &Prompt,
    permission: Permission,
    scoring: &Scoring,
) -> Option<Composite> {
    let is_ready =
        |entry: &&Ranked| candidates.get(entry.candidate).is_some_and(|c| c.availability == Availability::Ready);
    let members: Vec<&Ranked> = ranked.iter().filter(is_ready).take(MOST_MEMBERS).collect();
    let is_comparable = needs.has_comparable_answer || needs.json_schema || prompt.has_comparable_answer();
    let cascade = || cascades(&members, scoring).max_by(compare);
    let escalate = || escalations(&members, scoring).max_by(compare);
    match permission {
        Permission::Never => None,
        Permission::Cascade => cascade().filter(|_| is_comparable),
        Permission::Escalate => escalate(),
        Permission::Automatic => {
            let least = ranked.iter().map(|entry| entry.score).fold(0.0, f64::max) + LEAD;
            let either =
                if is_comparable { cascade().into_iter().chain(escalate()).max_by(compare) } else { escalate() };
            either.filter(|composite| composite.expected().score > least)
        }
    }
}

fn compare(a: &Composite, b: &Composite) -> Ordering {
    a.expected().score.total_cmp(&b.expected().score)
}

/// Every two of the members before a dearer, better third.
fn cascades<'m>(members: &'m [&'m Ranked], scoring: &'m Scoring) -> impl Iterator<Item = Composite> + 'm {
    let pairs =
        members.iter().enumerate().flat_map(move |(place, a)| members.iter().skip(place + 1).map(move |b| (*a, *b)));
    pairs.flat_map(move |(a, b)| members.iter().filter_map(move |strong| cascade(a, b, strong, scoring)))
}

/// What two cheap ones and a strong one give together. Both right with the probability that errors shared in part leave;
/// both wrong and alike seldom; else the strong one is asked, and paid for besides.
fn cascade(a: &Ranked, b: &Ranked, strong: &Ranked, scoring: &Scoring) -> Option<Composite> {
    let (cost_a, cost_b, cost_strong) = (a.cost?.0, b.cost?.0, strong.cost?.0);
    let is_dearer = cost_strong > cost_a.max(cost_b);
    if !is_dearer || strong.quality.value <= a.quality.value.max(b.quality.value) {
        return None;
    }
    let (p, q, s) = (a.quality.value, b.quality.value, strong.quality.value);
    let both_right = p * q + SHARED_ERRORS * (p.min(q) - p * q);
    let both_wrong = 1.0 - p - q + both_right;
    let alike = both_right + SAME_ERROR * both_wrong;
    // What the strong one gets right more often where both are right, it gets right less often elsewhere.
    let rest = (1.0 - both_right).max(f64::MIN_POSITIVE);
    let strong_there = (s - SHARED_ERRORS * (1.0 - s) * both_right / rest).clamp(0.0, 1.0);
    let quality = both_right + (1.0 - alike) * strong_there;
    let cost = cost_a.saturating_add(cost_b).saturating_add(share_of(cost_strong, 1.0 - alike));
    let latency_ms = latency(a.latency_ms.zip(b.latency_ms).map(|(a, b)| a.max(b)), strong.latency_ms, 1.0 - alike);
    let expected = Expected::of(quality, cost, latency_ms, scoring);
    Some(Composite::Cascade { cheap: [a.candidate, b.candidate], strong: strong.candidate, expected })
}

/// Every member before a dearer, better one.
fn escalations<'m>(members: &'m [&'m Ranked], scoring: &'m Scoring) -> impl Iterator<Item = Composite> + 'm {
    members.iter().flat_map(move |cheap| members.iter().filter_map(move |strong| escalation(cheap, strong, scoring)))
}

fn escalation(cheap: &Ranked, strong: &Ranked, scoring: &Scoring) -> Option<Composite> {
    let (cost_cheap, cost_strong) = (cheap.cost?.0, strong.cost?.0);
    if cost_strong <= cost_cheap || strong.quality.value <= cheap.quality.value {
        return None;
    }
    let seen = (1.0 - cheap.quality.value) * SEEN_FAILURES;
    let quality = cheap.quality.value + seen * strong.quality.value * (1.0 - SHARED_ERRORS);
    let cost = cost_cheap.saturating_add(share_of(cost_strong, seen));
    let latency_ms = latency(cheap.latency_ms, strong.latency_ms, seen);
    let expected = Expected::of(quality, cost, latency_ms, scoring);
    Some(Composite::Escalate { cheap: cheap.candidate, strong: strong.candidate, expected })
}

fn share_of(cost: i64, share: f64) -> i64 {
    (cost as f64 * share) as i64
}

fn latency(first: Option<f64>, then: Option<f64>, share: f64) -> Option<f64> {
    first.zip(then).map(|(first, then)| first + share * then)
}

impl Expected {
    fn of(quality: f64, cost: i64, latency_ms: Option<f64>, scoring: &Scoring) -> Expected {
        let cost = Nanodollars(cost);
        Expected { quality, cost, latency_ms, score: scoring.score_of(Some(cost), latency_ms, quality) }
    }
}

impl Composite {
    /// What it is predicted to give.
    pub fn expected(&self) -> &Expected {
        match self {
            Composite::Cascade { expected, .. } | Composite::Escalate { expected, .. } => expected,
        }
    }
}
