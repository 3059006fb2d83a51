//! `POST /v1/route/explain`: where a chat request would go, and why. Nothing is sent to a provider.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header;
use serde::Deserialize;
use serde_json::value::RawValue;
use wire::{Client as Dialect, Problem};

use super::access::Client;
use crate::admission;
use crate::call::{self, Call, Head, Surface};
use crate::explain::{self, CandidateForm, Given};
use crate::keys::Caller;
use crate::live::Live;
use crate::refusal::Refusal;
use crate::server::Worker;
use crate::steering::Changes;

/// Requests that may be explained at once.
const MOST: usize = 1_000;
/// The answer has some 350 bytes for each candidate of each request. More than this is not put together.
const MOST_BYTES: usize = 128 * 1024 * 1024;

/// What may stand around the request, or beside it.
#[derive(Deserialize)]
struct Envelope<'a> {
    /// Several requests in place of one.
    #[serde(borrow)]
    requests: Option<Vec<&'a RawValue>>,
    /// In place of the configured models.
    candidates: Option<Vec<CandidateForm>>,
    /// In place of the policy in force.
    policy: Option<Changes>,
}

pub(super) async fn explain(State(worker): State<Arc<Worker>>, Client(caller): Client, request: Request) -> Response {
    let (head, body) = super::take_apart(caller.clone(), request);
    let request_id = head.request_id.clone();
    let live = worker.gateway.registry.snapshot();
    let explained = async {
        let place = admission::admit(&worker.gateway, &live, &head).await?;
        let body = call::read_body(&live.config.limits, &head.headers, body).await?;
        let turn = worker.gateway.explaining.clone().acquire_owned().await.map_err(|_| Refusal::Internal)?;
        // A batch is work for a processor, and this thread serves others. It goes on though its client leaves, and keeps
        // its place and its turn until then.
        let work = tokio::task::spawn_blocking(move || {
            let answer = answer(&live, &caller, &head, &body);
            drop((place, turn));
            answer
        });
        work.await.unwrap_or(Err(Refusal::Internal))
    };
    match explained.await {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(refusal) => refusal.response(Dialect::OpenAi, &request_id),
    }
}

/// One explanation, or a list with one for each request of a batch, as JSON.
fn answer(live: &Live, caller: &Caller, head: &Head, body: &Bytes) -> Result<Vec<u8>, Refusal> {
    let Envelope { requests, candidates, policy } = super::read_json(body)?;
    let policy = policy.unwrap_or_default();
    policy.check()?;
    let routing = policy.apply(&live.routing);
    let given = candidates.map(|forms| Given::read(live, forms)).transpose()?;
    let explain = |body: Bytes, out: &mut Vec<u8>| {
        let call = Call::of(Surface::Chat, head.clone(), body)?;
        let explanation = explain::explain(live, &routing, caller, &call, given.as_deref())?;
        serde_json::to_writer(out, &explanation).map_err(|_| Refusal::Internal)
    };
    let mut out = Vec::new();
    let Some(requests) = requests else {
        explain(body.clone(), &mut out)?;
        return Ok(out);
    };
    let wrong = |message: &str| Err(wire::Error::at("requests", Problem::InvalidValue, message.to_owned()).into());
    if requests.is_empty() || requests.len() > MOST {
        return wrong("`requests` holds 1 to 1000 chat requests.");
    }
    out.extend_from_slice(br#"{"object":"list","data":["#);
    for (place, request) in requests.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        let body = Bytes::copy_from_slice(request.get().as_bytes());
        explain(body, &mut out).map_err(|refusal| within(place, refusal))?;
        if out.len() > MOST_BYTES {
            return wrong("The explanations would have more than 128 MiB; send fewer requests at once.");
        }
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

/// Which request of a batch a fault is in.
fn within(place: usize, refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Invalid(error) => {
            let param = error.param.map_or(String::new(), |param| format!(".{param}"));
            Refusal::Invalid(wire::Error { param: Some(format!("requests[{place}]{param}")), ..error })
        }
        other => other,
    }
}
