//! Virtual models: every chat model that the caller may use, ranked for one request.

use std::sync::Arc;

use catalog::Kind;
use routing::{
    Availability, Candidate, Constraints, Goal, Latency, Needs, Permission, Policy, PreferLocal, Prompt, Strategy,
};
use wire::chat::{Chat, Format, Message, Part, ToolChoice};
use wire::conclusion::Form;
use wire::openai;

use super::{Choice, Plan, Routed, Target};
use crate::call::{Call, PlanWish, Surface};
use crate::clock::{self, Instant};
use crate::config::{CompositePlans, Routing};
use crate::conversations;
use crate::directory::Offer;
use crate::estimate;
use crate::keys::Caller;
use crate::live::Live;
use crate::refusal::Refusal;
use crate::upstream::composite::{Composite, Kind as CompositeKind};

/// A request as the router sees it.
#[derive(Debug)]
pub struct Question {
    /// The prompt in numbers.
    pub prompt: Prompt,
    /// What the request itself demands.
    pub needs: Needs,
    /// How it is to be placed, but for the model that has its conversation.
    pub policy: Policy,
    conversation: Option<conversations::Id>,
    form: Form,
    wants_json: bool,
}

impl Question {
    /// Reads a chat request that leaves the choice to the router.
    ///
    /// # Errors
    /// It is no chat request, or asks for what is switched off.
    pub fn of(live: &Live, routing: &Routing, call: &Call, request: &openai::Request) -> Result<Question, Refusal> {
        let chat = wire::decode_chat(call.surface.client(), &call.body)?;
        let prompt = Prompt::read(&chat);
        let is_sticky = routing.sticky;
        let conversation = is_sticky.then(|| live.memory.conversations.id(&call.caller_id, &chat)).flatten();
        let strategy = strategy_of(routing, call);
        let goal = goal_of(&request.model, strategy);
        let can_be_composite = request.n == 1
            && call.extensions.prefer_provider.is_none()
            // What several calls cost together cannot be bounded by what each may.
            && call.extensions.max_cost.is_none()
            && matches!(call.surface, Surface::Chat | Surface::Messages);
        let permission = permission(routing.composite_plans, call.extensions.plan)?;
        Ok(Question {
            needs: needs(request, &chat, estimate::likely_input(call)),
            policy: Policy {
                composite: if can_be_composite { permission } else { Permission::Never },
                ..policy(routing, goal, strategy)
            },
            conversation,
            form: form_of(&chat),
            wants_json: wants_json(&chat),
            prompt,
        })
    }

    /// Notes which of `offers` has the conversation, if one has and this is a later turn.
    pub fn find_partner<'a>(&mut self, live: &Live, offers: impl Iterator<Item = &'a Arc<Offer>>) {
        let is_later_turn = self.prompt.features().turns > 1;
        let conversation = self.conversation.filter(|_| is_later_turn);
        self.policy.sticky = conversation.and_then(|id| live.memory.conversations.partner(id, offers));
    }

    /// The decision.
    pub fn rank(&self, candidates: &[Candidate<'_>]) -> routing::Plan {
        routing::plan(candidates, &self.needs, &self.prompt, &self.policy)
    }
}

/// The strategy that a request counts under.
pub fn strategy_of(routing: &Routing, call: &Call) -> Strategy {
    call.extensions.strategy.unwrap_or(routing.strategy)
}

/// Plans a request that leaves the choice to the router.
///
/// # Errors
/// The caller may use no chat model, or none can serve the request.
pub fn plan(live: &Live, caller: &Caller, call: &Call, request: &openai::Request) -> Result<Plan, Refusal> {
    let offers = offers(live, caller, &request.model)?;
    let now = clock::now();
    let candidates: Vec<Candidate<'_>> = offers.iter().map(|offer| candidate(offer, now)).collect();
    let mut question = Question::of(live, &live.routing, call, request)?;
    question.find_partner(live, offers.iter().copied());
    let mut ranked = question.rank(&candidates);
    if let Some(preferred) = &call.extensions.prefer_provider {
        ranked.prefer(|index| offers.get(index).is_some_and(|offer| *offer.provider.name == **preferred));
    }
    if ranked.ranked.is_empty() {
        let needs = ranked.excluded.first().map_or("a chat model", |(_, reason)| reason.as_str());
        return Err(Refusal::NoCapableModel { needs });
    }
    let Question { prompt, conversation, .. } = question;
    let mut plan = Plan {
        targets: targets(&offers, &ranked),
        strategy: strategy_of(&live.routing, call),
        composite: None,
        routed: Some(Routed { prompt, conversation, best: best(&offers).cloned() }),
    };
    put_in_chain(&mut plan.targets, &live.routing.fallback_chain);
    if let Some(composite) = &ranked.composite {
        put_first(&mut plan, &offers, composite, &question);
    }
    if let Some(preferred) = &call.extensions.prefer_provider {
        plan.targets.sort_by_key(|target| &*target.offer.provider.name != preferred.as_str());
    }
    Ok(plan)
}

/// The chat models that the caller may use under that virtual name.
///
/// # Errors
/// There is none.
pub fn offers<'a>(live: &'a Live, caller: &Caller, name: &str) -> Result<Vec<&'a Arc<Offer>>, Refusal> {
    let is_chat = |offer: &&Arc<Offer>| offer.facts.kind == Some(Kind::Chat);
    let mut offers: Vec<&Arc<Offer>> = live.directory.offers.iter().filter(is_chat).collect();
    if offers.is_empty() {
        return Err(Refusal::NoModels);
    }
    offers.retain(|offer| caller.may_use(name, &offer.provider.name, &offer.model));
    if offers.is_empty() {
        return Err(Refusal::ModelNotAllowed { model: name.to_owned() });
    }
    Ok(offers)
}

/// What a virtual model ranks by.
pub fn goal_of(name: &str, strategy: Strategy) -> Goal {
    match name {
        "fast" => Goal::Fastest,
        "cheap" => Goal::Cheapest,
        "quality" => Goal::Best,
        _ => Goal::Weighed(strategy),
    }
}

/// An offer as the router sees it.
pub fn candidate(offer: &Offer, now: Instant) -> Candidate<'_> {
    Candidate {
        model: &offer.model,
        price: offer.facts.price.as_ref(),
        quality: &offer.quality,
        latency: latency(offer),
        cold_start_ms: offer.cold_start_ms(),
        context_window: offer.facts.context_window,
        max_output_tokens: offer.facts.max_output_tokens,
        capabilities: offer.facts.capabilities,
        is_local: offer.provider.config.is_local,
        availability: availability(offer, now),
    }
}

fn latency(offer: &Offer) -> Option<Latency> {
    let stats = &offer.stats;
    match stats.first_content.median_ms() {
        Some(first_content_ms) => {
            Some(Latency { first_content_ms, per_token_ms: stats.per_token.median_ms().unwrap_or(0.0) })
        }
        // Of whole answers nobody knows when they began.
        None => stats.total.median_ms().map(|total| Latency { first_content_ms: total, per_token_ms: 0.0 }),
    }
}

fn availability(offer: &Offer, now: Instant) -> Availability {
    match offer.provider.is_healthy() {
        true => offer.standing.availability(offer, now),
        false => Availability::Unreachable,
    }
}

/// What the request itself demands.
fn needs(request: &openai::Request, chat: &Chat<'_>, input_tokens: u64) -> Needs {
    let facts = &request.facts;
    let is_forced = !matches!(chat.tool_choice, ToolChoice::Auto | ToolChoice::None);
    Needs {
        input_tokens,
        max_tokens: request.max_tokens,
        vision: facts.images > 0,
        audio: facts.audio,
        files: facts.files,
        tools: facts.tools,
        json_schema: facts.json_schema,
        has_comparable_answer: wants_json(chat) || facts.tools && is_forced,
    }
}

fn wants_json(chat: &Chat<'_>) -> bool {
    matches!(chat.format, Format::JsonObject | Format::JsonSchema(_))
}

/// What the operator wants, without what the request says of it.
fn policy(routing: &Routing, goal: Goal, strategy: Strategy) -> Policy {
    let prefer_local = PreferLocal { ratio: routing.prefer_local_ratio, quality_floor: routing.local_quality_floor };
    Policy {
        weights: routing.weights_for(strategy),
        prefer_local: routing.prefer_local.then_some(prefer_local),
        constraints: Constraints {
            max_cost_per_1k_tokens: routing.max_cost_per_1k,
            max_latency_ms: routing.max_latency_ms,
        },
        ..Policy::of(goal)
    }
}

/// Whether several models may work on the answer.
///
/// # Errors
/// The request asks for what is switched off.
fn permission(plans: CompositePlans, wish: Option<PlanWish>) -> Result<Permission, Refusal> {
    match (plans, wish) {
        (_, Some(PlanWish::Single)) | (CompositePlans::Off | CompositePlans::Requested, None) => Ok(Permission::Never),
        (CompositePlans::Off, Some(PlanWish::Cascade | PlanWish::Escalate)) => Err(Refusal::CompositePlansOff),
        (CompositePlans::Requested | CompositePlans::Automatic, Some(PlanWish::Cascade)) => Ok(Permission::Cascade),
        (CompositePlans::Requested | CompositePlans::Automatic, Some(PlanWish::Escalate)) => Ok(Permission::Escalate),
        (CompositePlans::Automatic, None) => Ok(Permission::Automatic),
    }
}

fn targets(offers: &[&Arc<Offer>], plan: &routing::Plan) -> Vec<Target> {
    let target = |(place, entry): (usize, &routing::Ranked)| {
        let mark = if place == 0 { plan.placement.mark() } else { "" };
        let choice = Choice::Ranked { goal: plan.goal, score: entry.score, complexity: plan.complexity, mark };
        offers.get(entry.candidate).map(|offer| Target { offer: Arc::clone(offer), choice })
    };
    plan.ranked.iter().enumerate().filter_map(target).collect()
}

/// The model that is best before anything is known of the prompt; of equal ones the dearest, so that savings are not
/// made smaller by a discount that nobody takes.
fn best<'a>(offers: &[&'a Arc<Offer>]) -> Option<&'a Arc<Offer>> {
    let known = offers.iter().copied().filter(|offer| offer.facts.price.is_some() && offer.facts.quality.is_some());
    let price = |offer: &Arc<Offer>| offer.facts.price.as_ref().map_or(0, |price| price.output.0);
    known.max_by(|one, other| {
        let quality = |offer: &Arc<Offer>| offer.facts.quality.unwrap_or(0.0);
        quality(one).total_cmp(&quality(other)).then(price(one).cmp(&price(other)))
    })
}

/// Puts the models that share the answer in front, the last of them where the rest follows.
fn put_first(plan: &mut Plan, offers: &[&Arc<Offer>], composite: &routing::Composite, question: &Question) {
    let (kind, order) = match *composite {
        routing::Composite::Cascade { cheap: [one, other], strong, .. } => {
            (CompositeKind::Cascade, vec![one, other, strong])
        }
        routing::Composite::Escalate { cheap, strong, .. } => (CompositeKind::Escalate, vec![cheap, strong]),
    };
    let place = |target: &Target| {
        let is_it = |index: &usize| offers.get(*index).is_some_and(|offer| Arc::ptr_eq(offer, &target.offer));
        order.iter().position(is_it).unwrap_or(order.len())
    };
    let mark = match kind {
        CompositeKind::Cascade => " [cascade]",
        CompositeKind::Escalate => " [escalate]",
    };
    plan.targets.sort_by_key(place);
    for target in plan.targets.iter_mut().take(order.len()) {
        if let Choice::Ranked { mark: shown, .. } = &mut target.choice {
            *shown = mark;
        }
    }
    let members = order.len().saturating_sub(1);
    plan.composite = Some(Composite { kind, members, form: question.form, wants_json: question.wants_json });
}

/// What form the result has, by the words of the last question.
fn form_of(chat: &Chat<'_>) -> Form {
    let last = chat.messages.iter().rev().find_map(|message| match message {
        Message::User(parts) => Some(parts),
        Message::System(_) | Message::Assistant { .. } | Message::Tool { .. } => None,
    });
    let mut texts = last.into_iter().flatten().filter_map(|part| match part {
        Part::Text(text) => Some(text),
        Part::Image { .. } | Part::File { .. } | Part::CacheUntilHere(_) | Part::Other { .. } => None,
    });
    texts.next_back().map_or(Form::Any, |text| Form::asked_in(text))
}

/// Puts the operator's chain behind the first target; others come after it.
fn put_in_chain(targets: &mut [Target], chain: &[String]) {
    let Some((_, rest)) = targets.split_first_mut() else { return };
    if !chain.is_empty() {
        rest.sort_by_key(|target| {
            let (provider, model) = (&*target.offer.provider.name, &*target.offer.model);
            let is_it = |name: &String| name == model || name.split_once('/').is_some_and(|it| it == (provider, model));
            chain.iter().position(is_it).unwrap_or(chain.len())
        });
    }
}
