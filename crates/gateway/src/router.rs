//! From the model a caller named to an ordered list of targets. What is weighed stands in the `routing` crate; here
//! names are resolved: virtual models, `provider/model`, bare names, aliases and groups.

pub mod ranking;

use std::fmt;
use std::sync::Arc;

use routing::{Complexity, Goal, Prompt, Strategy};

use crate::call::{Call, Payload, Surface};
use crate::config::{GroupKind, VIRTUAL_MODELS};
use crate::conversations;
use crate::directory::Offer;
use crate::keys::Caller;
use crate::live::Live;
use crate::refusal::Refusal;
use crate::upstream::composite::Composite;

/// Names suggested for a model that nobody has.
const SUGGESTIONS: usize = 3;

/// Where a request goes: targets in the order in which they are tried.
#[derive(Debug)]
pub struct Plan {
    /// At least one.
    pub targets: Vec<Target>,
    /// The strategy that the request counts under.
    pub strategy: Strategy,
    /// What becomes of the first targets, where several work on one answer.
    pub composite: Option<Composite>,
    /// What the router saw, where it was asked to choose.
    pub routed: Option<Routed>,
}

/// What the router saw of a request.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The prompt in numbers.
    pub prompt: Prompt,
    /// The conversation that it belongs to, where its turns stay with one model.
    pub conversation: Option<conversations::Id>,
    /// The model that is best before anything is known of the prompt: what savings are measured against.
    pub best: Option<Arc<Offer>>,
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
        /// What else decided, as the end of the decision's line.
        mark: &'static str,
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
                Choice::Ranked { goal, score, complexity, mark } => {
                    let (goal, complexity) = (goal.as_str(), complexity.as_str());
                    write!(f, "{goal}: {model} (score: {score:.2}, complexity: {complexity}){mark}")
                }
            }
        })
    }
}

impl Plan {
    /// Leaves the targets that pass. Several models work on one answer only while all of them are there, with one to
    /// follow.
    pub fn retain(&mut self, passes: impl Fn(&Target) -> bool) {
        let needed = self.composite.map_or(0, |composite| composite.members.saturating_add(1));
        if !self.targets.iter().take(needed).all(&passes) {
            self.composite = None;
        }
        self.targets.retain(passes);
    }
}

/// Plans one request.
///
/// # Errors
/// A model that nobody has or that the caller may not use, or a request that no model can serve.
pub fn plan(live: &Live, caller: &Caller, call: &Call) -> Result<Plan, Refusal> {
    let name = call.payload.model();
    if let (true, Payload::Chat(request)) = (VIRTUAL_MODELS.contains(&name), &call.payload) {
        return ranking::plan(live, caller, call, request);
    }
    let mut targets = named(live, name, call.surface);
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
    let strategy = ranking::strategy_of(&live.routing, call);
    Ok(Plan { targets, strategy, composite: None, routed: None })
}

/// Whether a request for `name` may be answered by that offer, as far as names go.
pub fn stands_for(live: &Live, name: &str, surface: Surface, offer: &Offer) -> bool {
    let is_it = |other: &Offer| other.provider.name == offer.provider.name && other.model == offer.model;
    if VIRTUAL_MODELS.contains(&name) {
        return live.directory.offers.iter().any(|other| is_it(other));
    }
    named(live, name, surface).iter().any(|target| is_it(&target.offer))
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
