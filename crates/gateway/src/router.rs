//! From the model a caller named to an ordered list of targets. What is weighed stands in the `routing` crate; here
//! names are resolved: virtual models, `provider/model`, bare names, aliases and groups.

use std::fmt;
use std::sync::Arc;

use catalog::Kind;
use routing::{
    Availability, Candidate, Complexity, Evidence, Goal, Latency, Needs, Policy, PreferLocal, Prior, Prompt, Quality,
    Strategy,
};
use wire::openai;

use crate::call::{Call, Payload, Surface};
use crate::config::{GroupKind, VIRTUAL_MODELS};
use crate::directory::Offer;
use crate::estimate;
use crate::keys::Caller;
use crate::live::Live;
use crate::refusal::Refusal;

/// Names suggested for a model that nobody has.
const SUGGESTIONS: usize = 3;

/// Where a request goes: targets in the order in which they are tried.
#[derive(Debug)]
pub struct Plan {
    /// At least one.
    pub targets: Vec<Target>,
    /// The strategy that the request counts under.
    pub strategy: Strategy,
}

/// One place to try.
#[derive(Debug, Clone)]
pub struct Target {
    /// The model at its provider.
    pub offer: Arc<Offer>,
    /// How it came into the plan.
    pub choice: Choice,
}

/// How a target was chosen.
#[derive(Debug, Clone, Copy)]
pub enum Choice {
    /// The caller named it.
    Direct,
    /// An alias or a group of the configuration named it.
    Configured,
    /// It was weighed against others.
    Ranked {
        /// What was ranked by.
        goal: Goal,
        /// Its score, 0 to 1.
        score: f64,
        /// How hard the prompt looked.
        complexity: Complexity,
        /// It is local and was put before a better one for that.
        is_local_first: bool,
    },
}

impl Target {
    /// The `routing_decision` of the answer's metadata.
    pub fn decision(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(move |f| {
            let model = &self.offer.model;
            match self.choice {
                Choice::Direct => write!(f, "direct: {model}"),
                Choice::Configured => write!(f, "configured: {model}"),
                Choice::Ranked { goal, score, complexity, is_local_first } => {
                    let (goal, complexity) = (goal.as_str(), complexity.as_str());
                    write!(f, "{goal}: {model} (score: {score:.2}, complexity: {complexity})")?;
                    if is_local_first { f.write_str(" [local-first]") } else { Ok(()) }
                }
            }
        })
    }
}

/// Plans one request.
///
/// # Errors
/// A model that nobody has or that the caller may not use, or a request that no model can serve.
pub fn plan(live: &Live, caller: &Caller, call: &Call) -> Result<Plan, Refusal> {
    let strategy = call.extensions.strategy.unwrap_or(live.config.routing.strategy);
    let name = call.payload.model();
    let mut targets = match (VIRTUAL_MODELS.contains(&name), &call.payload) {
        (true, Payload::Chat(request)) => ranked(live, caller, call, request, goal_of(name, strategy))?,
        (true, Payload::Embeddings(_) | Payload::Media(_)) | (false, _) => named(live, name, call.surface),
    };
    if targets.is_empty() {
        return Err(unknown_model(live, name));
    }
    targets.retain(|target| caller.may_use(name, &target.offer.provider.name, &target.offer.model));
    if targets.is_empty() {
        return Err(Refusal::ModelNotAllowed { model: name.to_owned() });
    }
    if let Some(preferred) = &call.extensions.prefer_provider {
        targets.sort_by_key(|target| &*target.offer.provider.name != preferred.as_str());
    }
    Ok(Plan { targets, strategy })
}

fn goal_of(name: &str, strategy: Strategy) -> Goal {
    match name {
        "fast" => Goal::Fastest,
        "cheap" => Goal::Cheapest,
        "quality" => Goal::Best,
        _ => Goal::Weighed(strategy),
    }
}

/// Every chat model, ranked for this request.
fn ranked(
    live: &Live,
    caller: &Caller,
    call: &Call,
    request: &openai::Request,
    goal: Goal,
) -> Result<Vec<Target>, Refusal> {
    let mut offers: Vec<&Arc<Offer>> =
        live.directory.offers.iter().filter(|offer| offer.facts.kind == Some(Kind::Chat)).collect();
    if offers.is_empty() {
        return Err(Refusal::NoModels);
    }
    offers.retain(|offer| caller.may_use(&request.model, &offer.provider.name, &offer.model));
    if offers.is_empty() {
        return Err(Refusal::ModelNotAllowed { model: request.model.clone() });
    }
    let qualities: Vec<Quality> = offers.iter().map(|offer| quality(offer)).collect();
    let candidates: Vec<Candidate<'_>> =
        offers.iter().zip(&qualities).map(|(offer, quality)| candidate(offer, quality)).collect();
    let prompt = Prompt::read(&wire::decode_chat(call.surface.client(), &call.body)?);
    let settings = &live.config.routing;
    let prefer_local = PreferLocal { ratio: settings.prefer_local_ratio, ..PreferLocal::default() };
    let policy = Policy { prefer_local: settings.prefer_local.then_some(prefer_local), ..Policy::of(goal) };
    let plan = routing::plan(&candidates, &needs(call, request), &prompt, &policy);
    if plan.ranked.is_empty() {
        let needs = plan.excluded.first().map_or("a chat model", |(_, reason)| reason.as_str());
        return Err(Refusal::NoCapableModel { needs });
    }
    let target = |(place, entry): (usize, &routing::Ranked)| {
        let is_local_first = place == 0 && plan.placement == routing::Placement::LocalFirst;
        let choice = Choice::Ranked { goal, score: entry.score, complexity: plan.complexity, is_local_first };
        offers.get(entry.candidate).map(|offer| Target { offer: Arc::clone(offer), choice })
    };
    Ok(plan.ranked.iter().enumerate().filter_map(target).collect())
}

fn quality(offer: &Offer) -> Quality {
    Quality::new(&Prior::overall(offer.facts.quality), &Evidence::none(), &Evidence::none())
}

fn candidate<'a>(offer: &'a Offer, quality: &'a Quality) -> Candidate<'a> {
    let first_content = offer.stats.first_content.median_ms().or_else(|| offer.stats.total.median_ms());
    let is_healthy = offer.provider.is_healthy();
    Candidate {
        model: &offer.model,
        price: offer.facts.price.as_ref(),
        quality,
        latency: first_content.map(|first_content_ms| Latency { first_content_ms, per_token_ms: 0.0 }),
        cold_start_ms: 0.0,
        context_window: offer.facts.context_window,
        max_output_tokens: offer.facts.max_output_tokens,
        capabilities: offer.facts.capabilities,
        is_local: offer.provider.config.is_local,
        availability: if is_healthy { Availability::Ready } else { Availability::Unreachable },
    }
}

fn needs(call: &Call, request: &openai::Request) -> Needs {
    let facts = &request.facts;
    Needs {
        input_tokens: estimate::likely_input(call),
        max_tokens: request.max_tokens,
        vision: facts.images > 0,
        audio: facts.audio,
        files: facts.files,
        tools: facts.tools,
        json_schema: facts.json_schema,
        has_comparable_answer: facts.json_schema,
    }
}

/// Targets of a name that is not virtual: group, alias, `provider/model`, or a bare model name. Empty when nobody has
/// it.
fn named(live: &Live, name: &str, surface: Surface) -> Vec<Target> {
    let configured = |offer| Target { offer, choice: Choice::Configured };
    if let Some(group) = live.config.groups.iter().find(|group| group.name == name) {
        let mut members = group.targets.clone();
        if group.kind == GroupKind::Weighted {
            shuffle_by_weight(&mut members);
        }
        return members.iter().flat_map(|(member, _)| offers_named(live, member, surface)).map(configured).collect();
    }
    if let Some(alias) = live.config.aliases.iter().find(|alias| alias.name == name) {
        return offers_named(live, &alias.target, surface).into_iter().map(configured).collect();
    }
    let direct = |offer| Target { offer, choice: Choice::Direct };
    offers_named(live, name, surface).into_iter().map(direct).collect()
}

/// Offers of `provider/model`, or of a bare name at every provider that has it: healthy ones first, then the cheapest.
fn offers_named(live: &Live, name: &str, surface: Surface) -> Vec<Arc<Offer>> {
    let at_provider = name.split_once('/').and_then(|(provider, model)| {
        let provider = live.directory.provider(provider)?;
        (!model.is_empty()).then(|| live.directory.offer_at(provider, model, surface, &live.metrics))
    });
    if let Some(offer) = at_provider {
        return vec![offer];
    }
    let mut offers: Vec<Arc<Offer>> = live.directory.offers_of(name).cloned().collect();
    if offers.len() > 1 {
        offers.sort_by_key(|offer| {
            let price = offer.facts.price.as_ref();
            let price = price.map_or(u64::MAX, |price| price.input.0.saturating_add(price.output.0));
            (!offer.provider.is_healthy(), price)
        });
    }
    offers
}

/// Puts the members in a random order in which each stands first as often as its weight says.
fn shuffle_by_weight(members: &mut [(String, u32)]) {
    let mut rest = members;
    while rest.len() > 1 {
        let total: u64 = rest.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut drawn = fastrand::u64(..total.max(1));
        let chosen = rest.iter().position(|(_, weight)| {
            let weight = u64::from(*weight);
            let is_drawn = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            is_drawn
        });
        rest.swap(0, chosen.unwrap_or(0));
        let Some((_, tail)) = rest.split_first_mut() else {
            return;
        };
        rest = tail;
    }
}

/// The refusal of a name that nobody has, with names that are like it.
pub fn unknown_model(live: &Live, name: &str) -> Refusal {
    let known = live.directory.offers.iter().map(|offer| &*offer.model).chain(VIRTUAL_MODELS);
    let close = catalog::close_matches(name, known, SUGGESTIONS).into_iter().map(str::to_owned).collect();
    Refusal::UnknownModel { model: name.to_owned(), close }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_decide_how_often_a_member_is_first() {
        fastrand::seed(7);
        let mut first = 0;

        for _ in 0..10_000 {
            let mut members = vec![("a".to_owned(), 3), ("b".to_owned(), 1), ("c".to_owned(), 0)];
            shuffle_by_weight(&mut members);
            assert_ne!(members[0].0, "c");
            first += u32::from(members[0].0 == "a");
        }

        assert!((7_300..7_700).contains(&first), "{first}");
    }
}
