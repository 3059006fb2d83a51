//! `Idempotency-Key`: a request that is sent again gets the answer of the first time, and costs nothing.
//!
//! A key belongs to the gateway key that sent it. It is claimed while the first request runs, holds its answer for a day,
//! and is free again where there was none: a request that failed, or whose client left, may be tried anew. With Redis
//! replicas share claims and answers; while Redis is away each has its own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use moka::sync::Cache;
use redis::Script;
use ring::digest::{SHA256, digest};
use wire::Problem;

use crate::call::Call;
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::streaming::StreamBody;
use crate::tasks::Tasks;

/// The request header.
pub const HEADER: &str = "idempotency-key";
/// What is kept of one answer, and of all: a larger one is not kept, and its key is free again.
const MAX_ANSWER_BYTES: usize = 1 << 20;
const MAX_BYTES: u64 = 64 << 20;
/// What an entry weighs besides its answer.
const ENTRY_BYTES: usize = 256;
/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(86_400);
/// A claim that outlives every request.
const LONGEST_CLAIM: Duration = Duration::from_secs(3_600);
const MAX_KEY_BYTES: usize = 255;

/// The keys of all requests that run or have run.
#[derive(Debug)]
pub struct Repeats {
    here: Cache<Id, Entry>,
    redis: Option<Arc<Shared>>,
    script: Script,
    tasks: Tasks,
}

/// Who sent which key.
type Id = [u8; 32];

#[derive(Clone, Debug)]
struct Entry {
    /// Hash of what was asked.
    asked: [u8; 32],
    /// `None` while it runs.
    answer: Option<Arc<Answer>>,
}

/// An answer that can be given again.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Answer {
    /// Whether it is Server-Sent Events.
    pub is_stream: bool,
    /// Who gave it.
    pub provider: String,
    /// By which model.
    pub model: String,
    /// The whole body.
    #[serde(with = "as_base64")]
    pub body: Bytes,
}

/// What a key says of a request.
#[derive(Debug)]
pub enum Look {
    /// It is the first; its answer is to be kept.
    First(Ticket),
    /// It was answered before.
    Again(Arc<Answer>),
}

/// The claim of a request that runs. Dropped without an answer it frees the key.
#[derive(Debug)]
pub struct Ticket {
    repeats: Arc<Repeats>,
    id: Id,
    asked: [u8; 32],
    is_done: bool,
}

impl Repeats {
    /// Nothing was asked yet.
    pub fn new(redis: Option<Arc<Shared>>, tasks: Tasks) -> Repeats {
        let weigh = |_: &Id, entry: &Entry| {
            let bytes = entry.answer.as_ref().map_or(0, |answer| answer.body.len()) + ENTRY_BYTES;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let here = Cache::builder().max_capacity(MAX_BYTES).weigher(weigh).time_to_live(KEPT).build();
        Repeats { here, redis, script: Script::new(include_str!("idempotency.lua")), tasks }
    }

    /// Looks a request's key up, and claims it for the first. `None` without a key.
    ///
    /// # Errors
    /// The key is malformed, belongs to another request, or that one still runs.
    pub async fn look(self: &Arc<Self>, caller_id: &str, call: &Call) -> Result<Option<Look>, Refusal> {
        let Some(key) = &call.idempotency_key else { return Ok(None) };
        let text = key.to_str().ok().filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()));
        let text = text.ok_or_else(|| {
            let message = "`Idempotency-Key` has to be 1 to 255 visible ASCII characters.";
            Refusal::Invalid(wire::Error::at("Idempotency-Key", Problem::InvalidValue, message.to_owned()))
        })?;
        let id = hash(&[caller_id.as_bytes(), text.as_bytes()]);
        let asked = hash(&[call.surface.path().as_bytes(), &call.body]);
        match self.claim(id, asked).await {
            None => Ok(Some(Look::First(Ticket { repeats: self.clone(), id, asked, is_done: false }))),
            Some(entry) if entry.asked != asked => Err(Refusal::IdempotencyKeyReused),
            Some(Entry { answer: Some(answer), .. }) => Ok(Some(Look::Again(answer))),
            Some(Entry { answer: None, .. }) => Err(Refusal::IdempotencyInFlight),
        }
    }

    /// Claims the key, or returns what holds it.
    async fn claim(&self, id: Id, asked: [u8; 32]) -> Option<Entry> {
        if let Some(redis) = &self.redis {
            let arguments = ["claim".to_owned(), STANDARD.encode(asked), LONGEST_CLAIM.as_millis().to_string()];
            if let Ok(held) = redis.run::<Vec<String>>(&self.script, &[redis_key(&id)], &arguments).await {
                let [held_asked, answer] = held.as_slice() else { return None };
                let held_asked: Option<[u8; 32]> =
                    STANDARD.decode(held_asked).ok().and_then(|hash| hash.try_into().ok());
                let answer = serde_json::from_str(answer).ok().map(Arc::new);
                return held_asked.map(|asked| Entry { asked, answer });
            }
        }
        let entry = self.here.entry(id).or_insert(Entry { asked, answer: None });
        (!entry.is_fresh()).then(|| entry.into_value())
    }
}

impl Ticket {
    /// Keeps the answer for whoever sends the key again.
    pub fn keep(mut self, answer: Answer) {
        if answer.body.len() > MAX_ANSWER_BYTES {
            return;
        }
        self.is_done = true;
        let answer = Arc::new(answer);
        self.repeats.here.insert(self.id, Entry { asked: self.asked, answer: Some(answer.clone()) });
        let json = serde_json::to_string(&*answer).unwrap_or_default();
        self.tell(&["keep".to_owned(), STANDARD.encode(self.asked), KEPT.as_millis().to_string(), json]);
    }

    /// Tells Redis behind the request. Where it is away, a claim there ends by itself.
    fn tell(&self, arguments: &[String]) {
        let Some(redis) = self.repeats.redis.clone() else { return };
        let (repeats, key, arguments) = (self.repeats.clone(), redis_key(&self.id), arguments.to_vec());
        self.repeats.tasks.spawn("idempotency", async move {
            let _ = redis.run::<Vec<String>>(&repeats.script, &[key], &arguments).await;
        });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_done {
            self.repeats.here.invalidate(&self.id);
            self.tell(&["release".to_owned(), STANDARD.encode(self.asked)]);
        }
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut joined = Vec::new();
    for part in parts {
        joined.extend_from_slice(&(part.len() as u64).to_be_bytes());
        joined.extend_from_slice(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, &joined).as_ref());
    hash
}

fn redis_key(id: &Id) -> String {
    format!("gw:idempotency:{}", STANDARD.encode(id))
}

/// A stream whose bytes are kept if it comes to its end.
#[derive(Debug)]
pub struct Recording {
    body: StreamBody,
    bytes: BytesMut,
    ticket: Option<Ticket>,
    who: (String, String),
}

impl Recording {
    /// Records a stream of that provider and model.
    pub fn new(body: StreamBody, ticket: Ticket, provider: String, model: String) -> Recording {
        Recording { body, bytes: BytesMut::new(), ticket: Some(ticket), who: (provider, model) }
    }

    fn note(&mut self, bytes: &Bytes) {
        if self.ticket.is_none() {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > MAX_ANSWER_BYTES {
            self.ticket = None;
            self.bytes = BytesMut::new();
        } else if wire::is_end_of_stream(&self.bytes)
            && let Some(ticket) = self.ticket.take()
        {
            let (provider, model) = std::mem::take(&mut self.who);
            let body = std::mem::take(&mut self.bytes).freeze();
            ticket.keep(Answer { is_stream: true, provider, model, body });
        }
    }
}

impl Body for Recording {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::convert::Infallible>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(bytes) = frame.data_ref()
        {
            self.note(bytes);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

mod as_base64 {
    //! Bytes as text.

    use super::{Bytes, Engine, STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Bytes::from).map_err(de::Error::custom)
    }
}
