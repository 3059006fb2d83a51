//! The request, top to bottom. Each step's result is the next step's argument, so that the order cannot be broken.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use serde_json::value::RawValue;

use crate::admission::{self, Place};
use crate::affordable::{self, Cap};
use crate::cache::{self, Hit, Look as CacheLook, OWN_MODEL, OWN_PROVIDER, Outcome};
use crate::call::{Call, Head, Payload, Surface};
use crate::clock;
use crate::coalesce::{self, Answered};
use crate::gateway::Gateway;
use crate::idempotency::{Answer, Look, Recording, Ticket};
use crate::keys::Caller;
use crate::ledger::{self, Used};
use crate::limits::rates::RateStatus;
use crate::live::Live;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::router::{self, Plan, Target};
use crate::server::Worker;
use crate::streaming::{Begun, Opening, StreamBody, StreamLimits};
use crate::upstream::{self, Client, Content, Deadline};

/// An answer on its way to the client.
#[derive(Debug)]
pub struct Reply {
    /// Who answered; `None` when the stream began before that was known.
    pub target: Option<Target>,
    /// What is left of the caller's limits.
    pub rates: RateStatus,
    /// Where it comes from.
    pub origin: Origin,
    /// What became of it at the cache.
    pub cache: Outcome,
    /// The answer.
    pub body: ReplyBody,
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was made for this request.
    Provider,
    /// It was made for an identical one in flight.
    Coalesced,
    /// It was made for an earlier request with the same `Idempotency-Key`.
    Replayed,
}

/// The shapes of an answer.
#[derive(Debug)]
pub enum ReplyBody {
    /// JSON in the client's format, metadata included.
    Whole(Bytes),
    /// What is not JSON, of that media type.
    Raw(Bytes, String),
    /// Server-Sent Events, all of them there.
    Events(Bytes),
    /// Server-Sent Events.
    Stream(StreamBody),
    /// The same, kept for whoever asks again.
    Recorded(Recording),
    /// What was kept.
    Again(Arc<Answer>),
}

/// Answers one request. Dropping the future cancels it, upstream included.
///
/// # Errors
/// Everything that the client must be told instead of an answer.
pub async fn run(worker: &Worker, surface: Surface, head: Head, body: Body) -> Result<Reply, Refusal> {
    let gateway = &worker.gateway;
    let live = gateway.registry.snapshot();
    let mut record = Record::open(live.metrics.clone(), surface, &head, live.routing.strategy);
    let asked =
        read(gateway, &live, surface, head, body, &mut record).await.map_err(|refusal| record.refuse(refusal))?;
    if is_embedded_here(&live, &asked.call) {
        return own_embeddings(gateway, asked, record).await;
    }
    let look = gateway.repeats.look(&asked.caller.id, &asked.call).await;
    let ticket = match look.map_err(|refusal| record.refuse(refusal))? {
        Some(Look::Again(answer)) => return Ok(again(answer, asked, record)),
        Some(Look::First(ticket)) => Some(ticket),
        None => None,
    };
    let (reply, outcome) = match gateway.cache.look(&live, &asked.caller, &asked.call).await {
        CacheLook::Hit(hit) => match given_again(*hit, asked, record) {
            Ok((reply, outcome)) => (reply, outcome),
            Err((asked, record)) => (answered(worker, live, asked, record, None).await?, Outcome::Missed),
        },
        CacheLook::Miss(inquiry) => {
            let identity = inquiry.identity();
            record.inquired(inquiry);
            (answered(worker, live, asked, record, identity).await?, Outcome::Missed)
        }
        CacheLook::Bypass => (answered(worker, live, asked, record, None).await?, Outcome::Bypassed),
    };
    let reply = Reply { cache: outcome, ..reply };
    Ok(match ticket {
        Some(ticket) => kept(reply, ticket),
        None => reply,
    })
}

/// Has a provider answer. `identity` is what requests of one caller have in common that may have the same answer, where
/// the cache says so.
async fn answered(
    worker: &Worker,
    live: Arc<Live>,
    asked: Asked,
    record: Record,
    identity: Option<[u8; 32]>,
) -> Result<Reply, Refusal> {
    let is_stream = asked.call.payload.is_stream();
    let identity = identity.filter(|_| !is_stream).or_else(|| coalesce::identity(&asked.caller.id, &asked.call));
    match identity.filter(|_| live.config.upstream.coalesce) {
        Some(identity) => joined(worker, live, asked, record, identity).await,
        None if is_stream => streamed(worker, live, asked, record).await,
        None => Ok(whole(ask(&worker.gateway, &worker.client, &live, asked, record).await?)),
    }
}

/// An answer from the cache, in the shape that was asked for; the request comes back where it has none.
#[expect(clippy::result_large_err, reason = "what comes back goes on at once")]
fn given_again(hit: Hit, asked: Asked, mut record: Record) -> Result<(Reply, Outcome), (Asked, Record)> {
    let (outcome, target) = (Outcome::Found(hit.tier), hit.target.clone());
    let (client, call) = (asked.call.surface.client(), asked.call.clone());
    let body = wire::replay::renamed(client, hit.entry.answer.as_bytes(), &call.request_id, clock::unix_seconds());
    record.found(hit);
    let metadata = record.metadata();
    let body = if call.payload.is_stream() {
        let include_usage = matches!(&call.payload, Payload::Chat(request) if request.include_usage);
        match wire::replay::stream(client, &body, include_usage, metadata.get().as_bytes()) {
            Ok(events) => ReplyBody::Events(events),
            Err(_) => {
                record.not_found();
                return Err((asked, record));
            }
        }
    } else {
        ReplyBody::Whole(wire::splice::append_member(&body, "x-gateway", metadata.get().as_bytes()).into())
    };
    let rates = asked.place.status();
    record.admitted(asked.place);
    record.close(StatusCode::OK.as_u16(), None);
    Ok((Reply { target: Some(target), rates, origin: Origin::Provider, cache: outcome, body }, outcome))
}

/// The tokens of a prompt: counted by the provider that would answer it where it can, else by our own tokenizer.
/// Nothing is generated and nothing is paid.
///
/// # Errors
/// As [`run`], up to the plan.
pub async fn count_tokens(worker: &Worker, head: Head, body: Body) -> Result<u64, Refusal> {
    let gateway = &worker.gateway;
    let live = gateway.registry.snapshot();
    let surface = Surface::CountTokens;
    let mut record = Record::open(live.metrics.clone(), surface, &head, live.routing.strategy);
    let counted = async {
        let Asked { call, caller, place } = read(gateway, &live, surface, head, body, &mut record).await?;
        record.admitted(place);
        let plan = router::plan(&live, &caller, &call)?;
        match upstream::count_tokens(&worker.client, &live, &plan, &call).await {
            Some(tokens) => Ok(tokens),
            None => Ok(ledger::count_prompt(call).await),
        }
    };
    let counted = counted.await;
    match counted {
        Ok(tokens) => {
            record.close(StatusCode::OK.as_u16(), None);
            Ok(tokens)
        }
        Err(refusal) => Err(record.refuse(refusal)),
    }
}

/// A request that was read, of somebody who may ask.
struct Asked {
    call: Arc<Call>,
    caller: Arc<Caller>,
    place: Place,
}

/// A request that may go to its providers.
struct Prepared {
    plan: Plan,
    rates: RateStatus,
    cap: Option<Cap>,
}

/// Who it is, and the body.
async fn read(
    gateway: &Gateway,
    live: &Live,
    surface: Surface,
    head: Head,
    body: Body,
    record: &mut Record,
) -> Result<Asked, Refusal> {
    let place = admission::admit(gateway, live, &head).await?;
    let caller = head.caller.clone();
    let call = Arc::new(Call::read(&live.config.limits, surface, head, body).await?);
    record.asked(&call);
    let caller = admission::payer(gateway, caller, &call)?;
    Ok(Asked { call, caller, place })
}

/// The plan and the money: all that has to be before a provider is asked.
async fn prepare(gateway: &Gateway, live: &Live, asked: Asked, record: &mut Record) -> Result<Prepared, Refusal> {
    let Asked { call, caller, mut place } = asked;
    let mut plan = router::plan(live, &caller, &call)?;
    let cap = affordable::keep(&live.config, &caller, &call, &mut plan).await?;
    record.planned(&plan, &live.memory);
    place.take_tokens(gateway, &call).await?;
    let rates = place.status();
    record.admitted(place);
    let held = gateway.ledger.reserve(&live.config, &caller, &call, &plan).await?;
    record.reserved(held, call);
    Ok(Prepared { plan, rates, cap })
}

/// Asks for a whole answer, and accounts it.
async fn ask(
    gateway: &Gateway,
    client: &Client,
    live: &Live,
    asked: Asked,
    mut record: Record,
) -> Result<Answered, Refusal> {
    let call = asked.call.clone();
    let prepared = prepare(gateway, live, asked, &mut record).await;
    let Prepared { plan, rates, .. } = prepared.map_err(|refusal| record.refuse(refusal))?;
    let answer = match upstream::execute(client, live, &plan, &call, &mut record).await {
        Ok(Content::Whole(answer)) => answer,
        Ok(Content::Stream(_)) => return Err(record.refuse(Refusal::Internal)),
        Err(refusal) => return Err(record.refuse(refusal)),
    };
    accounted(live, &call, answer, rates, record).await
}

/// A whole answer, accounted.
async fn accounted(
    live: &Live,
    call: &Arc<Call>,
    answer: wire::Whole,
    rates: RateStatus,
    mut record: Record,
) -> Result<Answered, Refusal> {
    let used = ledger::used_by_answer(call, &answer).await;
    if !matches!(used, Used::Reported(_)) {
        record.counted_against(&answer.usage);
    }
    record.used(used);
    let Some(target) = record.target().cloned() else { return Err(record.refuse(Refusal::Internal)) };
    live.vault.keep(&call.caller_id, &target.offer.provider.name, answer.kept.clone());
    record.keep(&answer.body);
    let metadata = record.metadata();
    record.close(StatusCode::OK.as_u16(), None);
    Ok(Answered { target, body: answer.body, media_type: answer.media_type, metadata, rates })
}

fn whole(answered: Answered) -> Reply {
    let Answered { target, body, media_type, metadata, rates } = answered;
    if let Some(media_type) = media_type {
        let (origin, cache) = (Origin::Provider, Outcome::Bypassed);
        return Reply { target: Some(target), rates, origin, cache, body: ReplyBody::Raw(body, media_type) };
    }
    reply(target, &body, &metadata, rates, Origin::Provider)
}

/// A whole answer with its metadata in it.
fn reply(target: Target, body: &[u8], metadata: &RawValue, rates: RateStatus, origin: Origin) -> Reply {
    let body = wire::splice::append_member(body, "x-gateway", metadata.get().as_bytes());
    Reply { target: Some(target), rates, origin, cache: Outcome::Bypassed, body: ReplyBody::Whole(body.into()) }
}

/// One call for all identical requests that are in flight.
async fn joined(
    worker: &Worker,
    live: Arc<Live>,
    asked: Asked,
    record: Record,
    identity: [u8; 32],
) -> Result<Reply, Refusal> {
    let deadline = Deadline::of(&live, &asked.call);
    let mut mine = Some((asked, record));
    let joined = worker.gateway.flights.join(identity, || {
        let (gateway, client, live, mine) = (worker.gateway.clone(), worker.client.clone(), live.clone(), mine.take());
        Box::pin(async move {
            let Some((asked, record)) = mine else { return Err(Arc::new(Refusal::Internal)) };
            ask(&gateway, &client, &live, asked, record).await.map(Arc::new).map_err(Arc::new)
        })
    });
    let Some((asked, mut record)) = mine else {
        let answered = joined.await.map_err(Refusal::Coalesced)?;
        let Answered { target, body, metadata, rates, .. } = &*answered;
        return Ok(reply(target.clone(), body, metadata, *rates, Origin::Provider));
    };
    let rates = asked.place.status();
    record.admitted(asked.place);
    let answered = match tokio::time::timeout_at(deadline.at(), joined).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(refusal)) => return Err(record.refuse(Refusal::Coalesced(refusal))),
        Err(_) => return Err(record.refuse(Refusal::DeadlineExceeded { allowed: deadline.allowed() })),
    };
    record.coalesced(&answered.target);
    let metadata = record.metadata();
    record.close(StatusCode::OK.as_u16(), None);
    Ok(reply(answered.target.clone(), &answered.body, &metadata, rates, Origin::Coalesced))
}

/// Waits for the first content; when it takes long, the stream goes out with keep-alives and waits further.
async fn streamed(worker: &Worker, live: Arc<Live>, asked: Asked, mut record: Record) -> Result<Reply, Refusal> {
    let call = asked.call.clone();
    let prepared = prepare(&worker.gateway, &live, asked, &mut record).await;
    let Prepared { plan, rates, cap } = prepared.map_err(|refusal| record.refuse(refusal))?;
    let limits = StreamLimits::of(&live, &call, cap, worker.gateway.tasks.closing().clone());
    let client = worker.client.clone();
    let (shared, asked) = (live.clone(), call.clone());
    let mut opening: Opening = Box::pin(async move {
        match upstream::execute(&client, &shared, &plan, &asked, &mut record).await {
            Ok(Content::Stream(opened)) => Ok(Begun::Stream(Box::new(opened), Box::new(record))),
            Ok(Content::Whole(answer)) => {
                accounted(&shared, &asked, answer, rates, record).await.map(|answered| Begun::Whole(Box::new(answered)))
            }
            Err(refusal) => Err(record.refuse(refusal)),
        }
    });
    let origin = Origin::Provider;
    // What passes through may be no stream although one was asked for: its head waits for that to be seen.
    let patience = if let Payload::Media(_) = call.payload { Duration::MAX } else { limits.keepalive };
    match tokio::time::timeout(patience, &mut opening).await {
        Ok(Ok(Begun::Stream(opened, record))) => {
            let target = record.target().cloned();
            let body = ReplyBody::Stream(StreamBody::begun(*opened, *record, limits));
            Ok(Reply { target, rates, origin, cache: Outcome::Bypassed, body })
        }
        Ok(Ok(Begun::Whole(answered))) => Ok(match answered.as_stream(&call) {
            Some(bytes) => {
                let (target, body) = (Some(answered.target), ReplyBody::Events(bytes));
                Reply { target, rates, origin, cache: Outcome::Bypassed, body }
            }
            None => whole(*answered),
        }),
        Ok(Err(refusal)) => Err(refusal),
        Err(_) => {
            let body = ReplyBody::Stream(StreamBody::waiting(opening, limits));
            Ok(Reply { target: None, rates, origin, cache: Outcome::Bypassed, body })
        }
    }
}

/// Whether the embedded model is asked for, and no provider has one of its name.
fn is_embedded_here(live: &Live, call: &Call) -> bool {
    let model = call.payload.model();
    let name = model.strip_prefix(OWN_PROVIDER).and_then(|name| name.strip_prefix('/')).unwrap_or(model);
    call.surface == Surface::Embeddings && name == OWN_MODEL && live.directory.offers_of(model).next().is_none()
}

/// Vectors of the embedded model: nobody else is asked, and nothing is paid.
async fn own_embeddings(gateway: &Gateway, asked: Asked, mut record: Record) -> Result<Reply, Refusal> {
    let Asked { call, caller, mut place } = asked;
    let embedded = async {
        let model = call.payload.model();
        if !caller.may_use(model, OWN_PROVIDER, OWN_MODEL) {
            return Err(Refusal::ModelNotAllowed { model: model.to_owned() });
        }
        place.take_tokens(gateway, &call).await?;
        cache::embed_request(gateway.cache.own_model(), &call).await
    };
    let body = embedded.await.map_err(|refusal| record.refuse(refusal))?;
    let rates = place.status();
    record.admitted(place);
    let metadata = record.own_metadata(OWN_PROVIDER, OWN_MODEL);
    record.close(StatusCode::OK.as_u16(), None);
    let body = wire::splice::append_member(&body, "x-gateway", metadata.get().as_bytes());
    let (origin, cache) = (Origin::Provider, Outcome::Bypassed);
    Ok(Reply { target: None, rates, origin, cache, body: ReplyBody::Whole(body.into()) })
}

/// The answer of the first time.
fn again(answer: Arc<Answer>, asked: Asked, mut record: Record) -> Reply {
    let rates = asked.place.status();
    record.admitted(asked.place);
    record.close(StatusCode::OK.as_u16(), None);
    let (origin, cache) = (Origin::Replayed, Outcome::Bypassed);
    Reply { target: None, rates, origin, cache, body: ReplyBody::Again(answer) }
}

/// Keeps the answer for whoever sends the same key again.
fn kept(reply: Reply, ticket: Ticket) -> Reply {
    let name =
        |name: fn(&Target) -> &Arc<str>| reply.target.as_ref().map_or(String::new(), |target| name(target).to_string());
    let (provider, model) = (name(|target| &target.offer.provider.name), name(|target| &target.offer.model));
    let body = match reply.body {
        ReplyBody::Whole(body) => {
            ticket.keep(Answer { is_stream: false, provider, model, body: body.clone() });
            ReplyBody::Whole(body)
        }
        ReplyBody::Events(body) => {
            ticket.keep(Answer { is_stream: true, provider, model, body: body.clone() });
            ReplyBody::Events(body)
        }
        ReplyBody::Stream(body) => ReplyBody::Recorded(Recording::new(body, ticket, provider, model)),
        // Sound is not kept: the key is free again.
        body @ (ReplyBody::Raw(..) | ReplyBody::Recorded(_) | ReplyBody::Again(_)) => body,
    };
    Reply { body, ..reply }
}
