//! `POST /v1/route/explain`: where a chat request would go, and why. Nothing is sent to a provider.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wire::{Client as Dialect, Problem};

use super::access::Client;
use crate::admission;
use crate::call::{self, Call, Head, Surface};
use crate::explain::{self, CandidateForm, Explanation, Given};
use crate::keys::Caller;
use crate::live::Live;
use crate::refusal::Refusal;
use crate::server::Worker;
use crate::steering::Changes;

/// Requests that may be explained at once.
const MOST: usize = 1_000;
/// Requests times candidates: the answer has a row for each, of some 400 bytes.
const MOST_ROWS: usize = 100_000;

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

#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Explanation>,
}

/// One explanation, or one for each request of a batch.
enum Answer {
    One(Box<Explanation>),
    Many(Vec<Explanation>),
}

pub(super) async fn explain(State(worker): State<Arc<Worker>>, Client(caller): Client, request: Request) -> Response {
    let (head, body) = super::take_apart(caller.clone(), request);
    let request_id = head.request_id.clone();
    let live = worker.gateway.registry.snapshot();
    let explained = async {
        let place = admission::admit(&worker.gateway, &live, &head).await?;
        let body = call::read_body(&live.config.limits, &head.headers, body).await?;
        // A batch is work for a processor, and this thread serves others.
        // It goes on though its client leaves, and keeps its place until then.
        let work = tokio::task::spawn_blocking(move || {
            let answer = answer(&live, &caller, &head, &body);
            drop(place);
            answer
        });
        work.await.unwrap_or(Err(Refusal::Internal))
    };
    match explained.await {
        Ok(Answer::One(explanation)) => Json(explanation).into_response(),
        Ok(Answer::Many(data)) => Json(List { object: "list", data }).into_response(),
        Err(refusal) => refusal.response(Dialect::OpenAi, &request_id),
    }
}

fn answer(live: &Live, caller: &Caller, head: &Head, body: &Bytes) -> Result<Answer, Refusal> {
    let Envelope { requests, candidates, policy } = super::read_json(body)?;
    let policy = policy.unwrap_or_default();
    policy.check()?;
    let routing = policy.apply(&live.routing);
    let given = candidates.map(|forms| Given::read(live, forms)).transpose()?;
    let explain = |body: Bytes| {
        let call = Call::of(Surface::Chat, head.clone(), body)?;
        explain::explain(live, &routing, caller, &call, given.as_deref())
    };
    let Some(requests) = requests else { return explain(body.clone()).map(Box::new).map(Answer::One) };
    if requests.is_empty() || requests.len() > MOST {
        let message = "`requests` holds 1 to 1000 chat requests.";
        return Err(wire::Error::at("requests", Problem::InvalidValue, message).into());
    }
    let rows = requests.len().saturating_mul(given.as_ref().map_or(live.directory.offers.len(), Vec::len));
    if rows > MOST_ROWS {
        let message =
            format!("{rows} rows would come of these requests and candidates; send fewer than {MOST_ROWS} at once.");
        return Err(wire::Error::at("requests", Problem::InvalidValue, message).into());
    }
    let explained = requests.iter().enumerate().map(|(place, request)| {
        explain(Bytes::copy_from_slice(request.get().as_bytes())).map_err(|refusal| within(place, refusal))
    });
    explained.collect::<Result<_, _>>().map(Answer::Many)
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
