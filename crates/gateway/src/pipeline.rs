//! The request, top to bottom. Each step's result is the next step's argument, so that the order cannot be broken.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;

use crate::admission;
use crate::affordable::{self, Cap};
use crate::call::{Call, Head, Surface};
use crate::gateway::Gateway;
use crate::ledger::{self, Used};
use crate::limits::rates::RateStatus;
use crate::live::Live;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::router::{self, Plan, Target};
use crate::server::Worker;
use crate::streaming::{Opening, StreamBody, StreamLimits};
use crate::upstream::{self, Content};

/// An answer on its way to the client.
#[derive(Debug)]
pub struct Reply {
    /// Who answered; `None` when the stream began before that was known.
    pub target: Option<Target>,
    /// What is left of the caller's limits.
    pub rates: RateStatus,
    /// The answer.
    pub body: ReplyBody,
}

/// The two shapes of an answer.
#[derive(Debug)]
pub enum ReplyBody {
    /// JSON in the client's format, metadata included.
    Whole(Bytes),
    /// Server-Sent Events.
    Stream(StreamBody),
}

/// Answers one request. Dropping the future cancels it, upstream included.
///
/// # Errors
/// Everything that the client must be told instead of an answer.
pub async fn run(worker: &Worker, surface: Surface, head: Head, body: Body) -> Result<Reply, Refusal> {
    let gateway = &worker.gateway;
    let live = gateway.registry.snapshot();
    let mut record = Record::open(live.metrics.clone(), surface, &head, live.config.routing.strategy);
    let prepared = prepare(gateway, &live, surface, head, body, &mut record).await;
    let Prepared { call, plan, rates, cap } = prepared.map_err(|refusal| record.refuse(refusal))?;

    let client = worker.client.clone();
    let (is_stream, snapshot, asked) = (call.payload.is_stream(), live.clone(), call.clone());
    let opening = async move {
        let content = upstream::execute(&client, &snapshot, &plan, &asked, &mut record).await;
        (content, record)
    };
    if !is_stream {
        let (content, mut record) = opening.await;
        return match content {
            Ok(Content::Whole(answer)) => Ok(whole(answer, &call, record, rates).await),
            Ok(Content::Stream(_)) => Err(record.refuse(Refusal::Internal)),
            Err(refusal) => Err(record.refuse(refusal)),
        };
    }
    let limits = StreamLimits::of(&live, &call, cap, gateway.tasks.closing().clone());
    stream(Box::pin(opening), limits, rates).await
}

/// A request that may go to its providers.
struct Prepared {
    call: Arc<Call>,
    plan: Plan,
    rates: RateStatus,
    cap: Option<Cap>,
}

/// Everything before a provider is asked: who it is, the body, the plan, the money.
async fn prepare(
    gateway: &Gateway,
    live: &Live,
    surface: Surface,
    head: Head,
    body: Body,
    record: &mut Record,
) -> Result<Prepared, Refusal> {
    let mut place = admission::admit(gateway, live, &head).await?;
    let caller = head.caller.clone();
    let call = Arc::new(Call::read(&live.config.limits, surface, head, body).await?);
    record.asked(&call);
    let caller = admission::payer(gateway, caller, &call)?;
    let mut plan = router::plan(live, &caller, &call)?;
    let cap = affordable::keep(&live.config, &caller, &call, &mut plan).await?;
    record.planned(&plan);
    place.take_tokens(gateway, &call).await?;
    let rates = place.status();
    record.admitted(place);
    let held = gateway.ledger.reserve(&live.config, &caller, &call, &plan).await?;
    record.reserved(held, call.clone());
    Ok(Prepared { call, plan, rates, cap })
}

/// Waits for the first content; when it takes long, the stream goes out with keep-alives and waits further.
async fn stream(mut opening: Opening, limits: StreamLimits, rates: RateStatus) -> Result<Reply, Refusal> {
    match tokio::time::timeout(limits.keepalive, &mut opening).await {
        Ok((Ok(Content::Stream(opened)), record)) => {
            let target = record.target().cloned();
            Ok(Reply { target, rates, body: ReplyBody::Stream(StreamBody::begun(opened, record, limits)) })
        }
        Ok((Ok(Content::Whole(_)), mut record)) => Err(record.refuse(Refusal::Internal)),
        Ok((Err(refusal), mut record)) => Err(record.refuse(refusal)),
        Err(_) => Ok(Reply { target: None, rates, body: ReplyBody::Stream(StreamBody::waiting(opening, limits)) }),
    }
}

async fn whole(answer: wire::Whole, call: &Arc<Call>, mut record: Record, rates: RateStatus) -> Reply {
    let used = ledger::used_by_answer(call, &answer).await;
    if !matches!(used, Used::Reported(_)) {
        record.counted_against(&answer.usage);
    }
    record.used(used);
    let body = wire::splice::append_member(&answer.body, "x-gateway", record.metadata().get().as_bytes());
    let target = record.target().cloned();
    record.close(StatusCode::OK.as_u16(), None);
    Reply { target, rates, body: ReplyBody::Whole(body.into()) }
}
