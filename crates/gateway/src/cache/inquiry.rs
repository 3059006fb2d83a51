//! What a request asks of the cache: the digests that it is found by, and what may be done for it.

use std::sync::Arc;

use http::HeaderMap;
use wire::Asked;

use super::{Answer, Cache, Digest};
use crate::call::{Call, Payload, PlanWish, Surface};
use crate::config::VIRTUAL_MODELS;
use crate::keys::Caller;
use crate::live::Live;
use crate::router::Target;

/// Keys that carry the same tag of this beginning share their entries.
const SHARING_TAG: &str = "cache:";
/// Longer questions are only answered by the very same request.
const MAX_QUESTION_BYTES: usize = equivalence::MOST_BYTES;
/// A stream whose bytes are more is not kept.
const MAX_RECORDED_BYTES: usize = 1024 * 1024;
/// One of so many bytes is put together at once: a fraction of a millisecond.
const SHORT_STREAM_BYTES: usize = 32 * 1024;

/// One request as the cache sees it.
#[derive(Debug)]
pub struct Inquiry {
    cache: Arc<Cache>,
    live: Arc<Live>,
    /// All of it.
    pub(super) exact: Digest,
    /// Its question, where that is one text among nothing but text.
    pub(super) phrase: Option<Phrase>,
    /// Whose key it is.
    pub(super) owner: Arc<str>,
    /// Which API.
    pub(super) surface: Surface,
    /// The model asked for.
    pub(super) model: String,
    /// The least similarity that the caller accepts.
    pub(super) threshold: f32,
    /// An answer of before will do.
    pub(super) may_be_served: bool,
    /// The conversation is short enough to be compared by meaning.
    pub(super) may_mean_the_same: bool,
    /// What was sent of a stream so far; `None` where it will not be kept.
    recorded: Option<Vec<u8>>,
}

/// A question in words.
#[derive(Debug)]
pub(super) struct Phrase {
    /// Everything with the question in canonical words.
    pub(super) digest: Digest,
    /// Everything but the question.
    pub(super) frame: Digest,
    /// The question.
    pub(super) text: String,
}

impl Inquiry {
    /// Takes a request apart; `None` where it is not answered from the cache and its answer is not kept.
    pub(super) fn of(cache: &Arc<Cache>, live: &Arc<Live>, caller: &Caller, call: &Call) -> Option<Inquiry> {
        let settings = &live.config.cache;
        let wish = &call.extensions;
        if !settings.enabled || wish.cache == Some(false) || wish.cache_control.no_store {
            return None;
        }
        let (facts, is_chat) = match &call.payload {
            Payload::Chat(request) => (request.facts, true),
            Payload::Embeddings(_) => (Default::default(), false),
            Payload::Media(_) => return None,
        };
        let asked = Asked::read(call.surface.client(), &call.body)?;
        let frame = frame(live, caller, call, &asked.frame);
        let raw = asked.question.as_ref().map_or("", |question| &question.raw);
        let exact = Digest::of([frame.bytes().as_slice(), b"exact", raw.as_bytes()]);
        let is_text = is_chat && asked.is_plain && facts.images == 0 && !facts.audio && !facts.files && !facts.logprobs;
        let question = asked.question.filter(|question| is_text && question.text.len() <= MAX_QUESTION_BYTES);
        let turns = question.as_ref().and_then(|question| question.turns);
        let phrase = question.and_then(|question| Phrase::new(frame, question.text));
        Some(Inquiry {
            cache: cache.clone(),
            live: live.clone(),
            exact,
            may_mean_the_same: phrase.is_some() && turns.is_some_and(|turns| turns <= settings.semantic_turns),
            phrase,
            owner: caller.id.clone(),
            surface: call.surface,
            model: call.payload.model().to_owned(),
            threshold: wish.cache_threshold.unwrap_or(0.0),
            may_be_served: !wish.cache_control.no_cache,
            recorded: call.payload.is_stream().then(Vec::new),
        })
    }

    /// What identical requests of one caller have in common; `None` for one whose answer shall be made anew.
    pub fn identity(&self) -> Option<[u8; 32]> {
        let digest = Digest::of([self.exact.bytes().as_slice(), b"caller", self.owner.as_bytes()]);
        self.may_be_served.then(|| *digest.bytes())
    }

    /// Keeps a whole answer in the client's format.
    pub fn keep(self, body: &[u8], target: &Target, usage: &wire::usage::Usage, cost: Option<catalog::Nanodollars>) {
        let tokens = usage.input.unwrap_or(0).saturating_add(usage.output.unwrap_or(0));
        let (cache, live) = (self.cache.clone(), self.live.clone());
        cache.keep(&live, self, Answer { body, target, tokens, cost });
    }

    /// Notes what the client gets of a stream.
    pub fn record(&mut self, bytes: &[u8]) {
        let Some(recorded) = &mut self.recorded else { return };
        let is_long = recorded.len().saturating_add(bytes.len()) > MAX_RECORDED_BYTES;
        if is_long || self.cache.memory.is_tight() {
            self.recorded = None;
        } else {
            recorded.extend_from_slice(bytes);
        }
    }

    /// Keeps the stream that was recorded, now that it is complete; a long one behind whoever reads it.
    pub fn keep_stream(mut self, target: &Target, usage: &wire::usage::Usage, cost: Option<catalog::Nanodollars>) {
        let Some(recorded) = self.recorded.take() else { return };
        if recorded.len() <= SHORT_STREAM_BYTES {
            return self.keep_recorded(&recorded, target, usage, cost);
        }
        let (target, usage) = (target.clone(), *usage);
        tokio::task::spawn_blocking(move || self.keep_recorded(&recorded, &target, &usage, cost));
    }

    fn keep_recorded(
        self,
        recorded: &[u8],
        target: &Target,
        usage: &wire::usage::Usage,
        cost: Option<catalog::Nanodollars>,
    ) {
        if let Some(body) = wire::replay::whole(self.surface.client(), recorded, usage) {
            self.keep(&body, target, usage, cost);
        }
    }
}

impl Phrase {
    fn new(frame: Digest, text: String) -> Option<Phrase> {
        let words = equivalence::canonical(&text);
        let digest = Digest::of([frame.bytes().as_slice(), b"words", words.as_bytes()]);
        (!words.is_empty()).then_some(Phrase { digest, frame, text })
    }
}

/// Everything that must be the same but the question: who asks, of which API, what decides who answers, the headers that
/// go upstream, and the rest of the body.
fn frame(live: &Live, caller: &Caller, call: &Call, body: &[u8]) -> Digest {
    let wish = &call.extensions;
    // A named model answers whatever the strategy is.
    let is_virtual = VIRTUAL_MODELS.contains(&call.payload.model());
    let strategy = if is_virtual { wish.strategy.unwrap_or(live.routing.strategy).as_str() } else { "" };
    let cost = wish.max_cost.map_or(0, |cost| cost.0).to_be_bytes();
    let plan = match wish.plan {
        None => 0,
        Some(PlanWish::Single) => 1,
        Some(PlanWish::Cascade) => 2,
        Some(PlanWish::Escalate) => 3,
    };
    let headers = headers(&call.passed_on);
    Digest::of([
        audience(caller).as_bytes(),
        call.surface.path().as_bytes(),
        strategy.as_bytes(),
        wish.prefer_provider.as_deref().unwrap_or_default().as_bytes(),
        cost.as_slice(),
        &[u8::from(wish.strict), plan],
        &headers,
        body,
    ])
}

/// Who shares entries: one key, the keys of one group, or everybody who has none.
fn audience(caller: &Caller) -> String {
    let Some(key) = &caller.key else { return "anonymous".to_owned() };
    match key.tags.iter().find_map(|tag| tag.strip_prefix(SHARING_TAG)).filter(|group| !group.is_empty()) {
        Some(group) => format!("group:{group}"),
        None => format!("key:{}", key.id),
    }
}

fn headers(headers: &HeaderMap) -> Vec<u8> {
    let mut joined = Vec::new();
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), value.as_bytes()] {
            joined.extend_from_slice(&(part.len() as u64).to_be_bytes());
            joined.extend_from_slice(part);
        }
    }
    joined
}
