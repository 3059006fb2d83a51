//! The request, top to bottom. Each step's result is the next step's argument, so that the order cannot be broken.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;

use crate::call::{Call, Head, Surface};
use crate::concurrency::Slot;
use crate::gateway::Gateway;
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
    let (slot, call, plan) = prepared.map_err(|refusal| record.refuse(refusal))?;

    let client = worker.client.clone();
    let (is_stream, snapshot, asked) = (call.payload.is_stream(), live.clone(), call.clone());
    let opening = async move {
        let content = upstream::execute(&client, &snapshot, &plan, &asked, &mut record).await;
        (content, record, slot)
    };
    if !is_stream {
        let (content, mut record, _slot) = opening.await;
        return match content {
            Ok(Content::Whole(answer)) => Ok(whole(answer, record)),
            Ok(Content::Stream(_)) => Err(record.refuse(Refusal::Internal)),
            Err(refusal) => Err(record.refuse(refusal)),
        };
    }
    let limits = StreamLimits::of(&live, &call, gateway.tasks.closing().clone());
    stream(Box::pin(opening), limits).await
}

/// Everything before a provider is asked: admission, the body, the plan.
async fn prepare(
    gateway: &Gateway,
    live: &Live,
    surface: Surface,
    head: Head,
    body: Body,
    record: &mut Record,
) -> Result<(Slot, Arc<Call>, Plan), Refusal> {
    let limits = &live.config.limits;
    let slot = gateway.concurrency.admit(limits.concurrent_requests).ok_or(Refusal::Overloaded)?;
    let call = Call::read(limits, surface, head, body).await?;
    record.asked(&call);
    let plan = router::plan(live, &call)?;
    record.planned(&plan);
    Ok((slot, Arc::new(call), plan))
}

/// Waits for the first content; when it takes long, the stream goes out with keep-alives and waits further.
async fn stream(mut opening: Opening, limits: StreamLimits) -> Result<Reply, Refusal> {
    match tokio::time::timeout(limits.keepalive, &mut opening).await {
        Ok((Ok(Content::Stream(opened)), record, slot)) => {
            let target = record.target().cloned();
            Ok(Reply { target, body: ReplyBody::Stream(StreamBody::begun(opened, record, slot, limits)) })
        }
        Ok((Ok(Content::Whole(_)), mut record, _)) => Err(record.refuse(Refusal::Internal)),
        Ok((Err(refusal), mut record, _)) => Err(record.refuse(refusal)),
        Err(_) => Ok(Reply { target: None, body: ReplyBody::Stream(StreamBody::waiting(opening, limits)) }),
    }
}

fn whole(answer: wire::Whole, mut record: Record) -> Reply {
    record.counted(answer.usage);
    let body = wire::splice::append_member(&answer.body, "x-gateway", record.metadata().get().as_bytes());
    record.close(StatusCode::OK.as_u16(), None);
    Reply { target: record.target().cloned(), body: ReplyBody::Whole(body.into()) }
}
