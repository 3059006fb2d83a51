//! Identical requests in flight: one of them asks a provider, the others wait for its answer and cost nothing.
//!
//! Only where the answer does not depend on chance: embeddings, and whole chat answers at temperature 0. Only within one
//! gateway key. Whoever waits drives the call on, so that it ends well though the client that began it has left; when
//! nobody waits any more it is dropped, and its provider stops.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Shared, WeakShared};
use parking_lot::{Mutex, MutexGuard};
use ring::digest::{SHA256, digest};
use serde_json::value::RawValue;

use crate::call::{Call, Payload};
use crate::limits::rates::RateStatus;
use crate::refusal::Refusal;
use crate::router::Target;

/// A call that several may wait for.
pub type Calling = Pin<Box<dyn Future<Output = Result<Arc<Answered>, Arc<Refusal>>> + Send>>;

/// What came of it.
#[derive(Debug)]
pub struct Answered {
    /// Who answered.
    pub target: Target,
    /// The answer in the client's format, without metadata.
    pub body: Bytes,
    /// Its media type, where that is not JSON.
    pub media_type: Option<String>,
    /// The metadata of the request that asked.
    pub metadata: Box<RawValue>,
    /// What is left of its caller's limits.
    pub rates: RateStatus,
}

impl Answered {
    /// The answer as a stream for the client of `call`, with its metadata; `None` where it is no answer to a chat.
    pub fn as_stream(&self, call: &Call) -> Option<Bytes> {
        let Payload::Chat(request) = &call.payload else { return None };
        let metadata = self.metadata.get().as_bytes();
        wire::replay::stream(call.surface.client(), &self.body, request.include_usage, metadata).ok()
    }
}

/// By identity, each with its number.
type Calls = HashMap<[u8; 32], (u64, WeakShared<Calling>)>;

/// The calls in flight that others may join.
#[derive(Debug, Default)]
pub struct Flights {
    // A std mutex: held to look into a map, never across an await.
    calls: Mutex<Calls>,
    /// Numbers the calls, so that each takes out itself only.
    next: AtomicU64,
}

/// What identical requests of one caller have in common, if theirs can be one call.
pub fn identity(caller_id: &str, call: &Call) -> Option<[u8; 32]> {
    let is_certain = match &call.payload {
        Payload::Chat(request) => request.facts.is_greedy && !request.stream && request.n <= 1,
        Payload::Embeddings(_) => true,
        Payload::Media(_) => false,
    };
    if !is_certain || call.extensions.cache == Some(false) || call.extensions.cache_control.no_cache {
        return None;
    }
    let mut joined = Vec::with_capacity(call.body.len() + caller_id.len() + 16);
    joined.extend_from_slice(&(caller_id.len() as u64).to_be_bytes());
    joined.extend_from_slice(caller_id.as_bytes());
    joined.extend_from_slice(call.surface.path().as_bytes());
    joined.push(0);
    for (name, value) in &call.passed_on {
        joined.extend_from_slice(name.as_str().as_bytes());
        joined.extend_from_slice(value.as_bytes());
        joined.push(0);
    }
    joined.extend_from_slice(&call.body);
    digest(&SHA256, &joined).as_ref().try_into().ok()
}

impl Flights {
    /// Joins the call of that identity, or begins it.
    pub fn join(self: &Arc<Self>, identity: [u8; 32], begin: impl FnOnce() -> Calling) -> Shared<Calling> {
        let mut calls = self.calls();
        if let Some(call) = calls.get(&identity).and_then(|(_, call)| call.upgrade()) {
            return call;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let landing = Landing { flights: self.clone(), identity, number };
        let calling = begin();
        let call: Calling = Box::pin(async move {
            let answered = calling.await;
            drop(landing);
            answered
        });
        let call = call.shared();
        if let Some(weak) = call.downgrade() {
            calls.insert(identity, (number, weak));
        }
        call
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock()
    }
}

/// Takes a call out of the map when it ends or is dropped.
struct Landing {
    flights: Arc<Flights>,
    identity: [u8; 32],
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut calls = self.flights.calls();
        // Another may have begun since this one was left by everybody.
        if calls.get(&self.identity).is_some_and(|(number, _)| *number == self.number) {
            calls.remove(&self.identity);
        }
    }
}
