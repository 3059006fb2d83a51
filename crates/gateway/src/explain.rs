//! Why a request would go where it would go: the decision that serves, made for people to read, and nothing is sent.
//!
//! Candidates can be given with the question, with prices and qualities of their own, so that a policy can be tried on
//! data from elsewhere through the very function that serves.

mod candidates;

use routing::{Availability, Candidate, Composite, Placement, Predicted, Prompt, Ranked, Verdict};
use serde::Serialize;

pub use candidates::{CandidateForm, Given};

use crate::call::{Call, Payload};
use crate::clock;
use crate::config::{Routing, VIRTUAL_MODELS};
use crate::estimate;
use crate::keys::Caller;
use crate::live::Live;
use crate::refusal::Refusal;
use crate::router::{self, ranking};
use crate::steering::WeightsForm;

/// One request's decision.
#[derive(Debug, Serialize)]
pub struct Explanation {
    object: &'static str,
    /// The name that was asked for.
    pub model: String,
    /// What it ranks by, where it leaves the choice to the router.
    pub strategy: Option<&'static str>,
    /// The weights in force.
    pub weights: Option<WeightsForm>,
    /// `simple`, `moderate` or `complex`.
    pub complexity: &'static str,
    /// How hard the prompt looks, 0 to 1.
    pub difficulty: f64,
    /// What it mostly asks for.
    pub task: &'static str,
    /// Tokens of the prompt, estimated.
    pub input_tokens: u64,
    /// Tokens that the answer is expected to have.
    pub output_tokens: u64,
    /// The line that an answer's metadata would have.
    pub routing_decision: String,
    /// What put the first candidate first: `score`, `local-first`, `sticky`, `guard` or `named`.
    pub placement: &'static str,
    /// Several models that would work on the answer.
    pub plan: Option<CompositeView>,
    /// Every candidate, those that can serve first and in the order in which they would be tried.
    pub candidates: Vec<CandidateView>,
}

/// Several models that would work on one answer.
#[derive(Debug, Serialize)]
pub struct CompositeView {
    /// `cascade` or `escalate`.
    pub kind: &'static str,
    /// The models, the last of them asked where the others do not do.
    pub models: Vec<String>,
    /// The predicted share of a perfect answer.
    pub quality: f64,
    /// The predicted cost, all calls together.
    pub cost_usd: f64,
    /// The predicted time, in milliseconds.
    pub latency_ms: Option<f64>,
    /// The score beside those of single models.
    pub score: f64,
}

/// One candidate.
#[derive(Debug, Serialize)]
pub struct CandidateView {
    /// 1 is tried first; `null` where it cannot serve.
    pub rank: Option<usize>,
    /// Who serves it.
    pub provider: String,
    /// The model.
    pub model: String,
    /// Whether it would be asked first.
    pub taken: bool,
    /// Why it was taken or not.
    pub reason: String,
    /// The score, 0 to 1.
    pub score: Option<f64>,
    /// The predicted quality, and what that rests on.
    pub quality: QualityView,
    /// The predicted cost of this request; `null` when the price is unknown.
    pub cost_usd: Option<f64>,
    /// The predicted time to the whole answer, in milliseconds; `null` before the first measurement.
    pub latency_ms: Option<f64>,
    /// Runs on the operator's own machines.
    pub is_local: bool,
    /// `ready`, `short` of its rate limit, or `unreachable`.
    pub availability: &'static str,
}

/// A predicted quality.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QualityView {
    /// Share of a perfect answer, 0 to 1.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// How much each layer of evidence weighs; the sum is 1.
    pub evidence: EvidenceView,
}

/// What a prediction rests on.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct EvidenceView {
    /// What the catalogue says, or the default of a model that nobody knows.
    pub prior: f64,
    /// Graded prompts.
    pub benchmarks: f64,
    /// What people thought of its answers.
    pub feedback: f64,
}

/// Explains one request. `given` takes the place of the configured models, where there is any.
///
/// # Errors
/// As for the request itself, up to the plan.
pub fn explain(
    live: &Live,
    routing: &Routing,
    caller: &Caller,
    call: &Call,
    given: Option<&[Given]>,
) -> Result<Explanation, Refusal> {
    let name = call.payload.model();
    let Payload::Chat(request) = &call.payload else { return Err(Refusal::Internal) };
    if given.is_none() && !VIRTUAL_MODELS.contains(&name) {
        return named(live, caller, call);
    }
    let mut question = ranking::Question::of(live, routing, call, request)?;
    match given {
        Some(given) => {
            let candidates: Vec<Candidate<'_>> = given.iter().map(Given::candidate).collect();
            let names: Vec<(&str, &str)> = given.iter().map(|given| (&*given.provider, &*given.model)).collect();
            Ok(view(name, &question, &ranked(&question, call, &candidates, &names), &candidates, &names))
        }
        None => {
            let offers = ranking::offers(live, caller, name)?;
            let now = clock::now();
            question.find_partner(live, offers.iter().copied());
            let candidates: Vec<Candidate<'_>> = offers.iter().map(|offer| ranking::candidate(offer, now)).collect();
            let names: Vec<(&str, &str)> = offers.iter().map(|offer| (&*offer.provider.name, &*offer.model)).collect();
            Ok(view(name, &question, &ranked(&question, call, &candidates, &names), &candidates, &names))
        }
    }
}

fn ranked(
    question: &ranking::Question,
    call: &Call,
    candidates: &[Candidate<'_>],
    names: &[(&str, &str)],
) -> routing::Plan {
    let mut plan = question.rank(candidates);
    if let Some(preferred) = &call.extensions.prefer_provider {
        plan.prefer(|index| names.get(index).is_some_and(|(provider, _)| *provider == &**preferred));
    }
    plan
}

/// A request that names its model: the targets in the order in which they would be tried.
fn named(live: &Live, caller: &Caller, call: &Call) -> Result<Explanation, Refusal> {
    let plan = router::plan(live, caller, call)?;
    let now = clock::now();
    let prompt = Prompt::read(&wire::decode_chat(call.surface.client(), &call.body)?);
    let candidates = plan.targets.iter().enumerate().map(|(place, target)| {
        let (offer, reason) =
            (&target.offer, if place == 0 { "the request names it" } else { "if the one before fails" });
        CandidateView {
            rank: Some(place.saturating_add(1)),
            provider: offer.provider.name.to_string(),
            model: offer.model.to_string(),
            taken: place == 0,
            reason: reason.to_owned(),
            score: None,
            quality: quality_view(&offer.quality.predict(&prompt)),
            cost_usd: None,
            latency_ms: None,
            is_local: offer.provider.config.is_local,
            availability: availability(ranking::candidate(offer, now).availability),
        }
    });
    let routing_decision = plan.targets.first().map(|target| target.decision().to_string()).unwrap_or_default();
    Ok(Explanation {
        object: OBJECT,
        model: call.payload.model().to_owned(),
        strategy: None,
        weights: None,
        complexity: prompt.complexity().as_str(),
        difficulty: prompt.difficulty(),
        task: prompt.task().as_str(),
        input_tokens: estimate::likely_input(call),
        output_tokens: prompt.output_tokens(),
        routing_decision,
        placement: "named",
        plan: None,
        candidates: candidates.collect(),
    })
}

const OBJECT: &str = "route.explanation";

fn view(
    name: &str,
    question: &ranking::Question,
    plan: &routing::Plan,
    candidates: &[Candidate<'_>],
    names: &[(&str, &str)],
) -> Explanation {
    let full = |index: usize| names.get(index).map(|(provider, model)| full_name(provider, model)).unwrap_or_default();
    let ranked = plan.ranked.iter().enumerate().filter_map(|(place, entry)| {
        Some(ranked_view(place, entry, candidates.get(entry.candidate)?, names.get(entry.candidate)?))
    });
    let excluded = plan.excluded.iter().filter_map(|(index, reason)| {
        let (candidate, (provider, model)) = (candidates.get(*index)?, names.get(*index)?);
        Some(CandidateView {
            rank: None,
            provider: (*provider).to_owned(),
            model: (*model).to_owned(),
            taken: false,
            reason: format!("it lacks {}", reason.as_str()),
            score: None,
            quality: quality_view(&candidate.quality.predict(&question.prompt)),
            cost_usd: None,
            latency_ms: None,
            is_local: candidate.is_local,
            availability: availability(candidate.availability),
        })
    });
    let first = plan.ranked.first();
    let decision = first.map(|first| {
        let model = names.get(first.candidate).map_or("", |(_, model)| *model);
        plan.decision(model, first.score)
    });
    Explanation {
        object: OBJECT,
        model: name.to_owned(),
        strategy: Some(plan.goal.as_str()),
        weights: Some(question.policy.weights.into()),
        complexity: plan.complexity.as_str(),
        difficulty: question.prompt.difficulty(),
        task: plan.task.as_str(),
        input_tokens: question.needs.input_tokens,
        output_tokens: question.prompt.output_tokens(),
        routing_decision: decision.unwrap_or_else(|| "no model can serve this request".to_owned()),
        placement: match plan.placement {
            Placement::Score => "score",
            Placement::LocalFirst => "local-first",
            Placement::Preferred => "preferred",
            Placement::Sticky => "sticky",
            Placement::Guard => "guard",
        },
        plan: plan.composite.as_ref().map(|composite| composite_view(composite, full)),
        candidates: ranked.chain(excluded).collect(),
    }
}

fn ranked_view(place: usize, entry: &Ranked, candidate: &Candidate<'_>, name: &(&str, &str)) -> CandidateView {
    CandidateView {
        rank: Some(place.saturating_add(1)),
        provider: name.0.to_owned(),
        model: name.1.to_owned(),
        taken: entry.verdict == Verdict::Taken,
        reason: entry.verdict.as_str().to_owned(),
        score: Some(entry.score),
        quality: quality_view(&entry.quality),
        cost_usd: entry.cost.map(|cost| cost.to_usd()),
        latency_ms: entry.latency_ms,
        is_local: candidate.is_local,
        availability: availability(candidate.availability),
    }
}

fn composite_view(composite: &Composite, full: impl Fn(usize) -> String) -> CompositeView {
    let (kind, models, expected) = match composite {
        Composite::Cascade { cheap: [one, other], strong, expected } => {
            ("cascade", vec![full(*one), full(*other), full(*strong)], expected)
        }
        Composite::Escalate { cheap, strong, expected } => ("escalate", vec![full(*cheap), full(*strong)], expected),
    };
    CompositeView {
        kind,
        models,
        quality: expected.quality,
        cost_usd: expected.cost.to_usd(),
        latency_ms: expected.latency_ms,
        score: expected.score,
    }
}

/// The model with its provider in front, where that is known.
fn full_name(provider: &str, model: &str) -> String {
    if provider.is_empty() { model.to_owned() } else { format!("{provider}/{model}") }
}

fn quality_view(predicted: &Predicted) -> QualityView {
    let Predicted { value, standard_error, layers } = *predicted;
    let evidence = EvidenceView { prior: layers.prior, benchmarks: layers.benchmarks, feedback: layers.feedback };
    QualityView { value, standard_error, evidence }
}

fn availability(availability: Availability) -> &'static str {
    match availability {
        Availability::Ready => "ready",
        Availability::Short => "short",
        Availability::Unreachable => "unreachable",
    }
}
