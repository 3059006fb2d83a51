//! Answers that are given again: to the same request, to the same words written differently, to the same meaning.
//!
//! A wrong answer is worse than a miss. What a request asks becomes an [`Inquiry`] (`inquiry.rs`): a digest of all of it,
//! one with the question in canonical words, and its *frame*, everything but the question, which is the partition in
//! which meanings are compared. Who asks is part of each, so that no entry is ever found from outside its scope. The
//! `shelf.rs` holds entries in memory and finds them; `meaning.rs` proposes by vectors and lets the guards decide;
//! `keeper.rs` embeds, writes and shares new entries behind the requests; `share.rs` tells other replicas; `verify.rs`
//! asks again now and then, and tightens what has proved too loose. No lookup touches the network or the database.

mod digest;
mod entry;
mod errand;
mod feedback;
mod inquiry;
mod keeper;
mod meaning;
mod own_model;
mod selector;
mod share;
mod shelf;
mod stats;
mod verify;

use std::sync::Arc;

use store::Store;
use tokio::sync::mpsc;
use wire::replay::{self, Ending};

pub use digest::Digest;
pub use entry::Entry;
pub use inquiry::Inquiry;
pub use keeper::run;
pub use meaning::CALIBRATION;
pub use own_model::{MODEL as OWN_MODEL, OWNER as OWN_PROVIDER, OwnModel, embed_request};
pub use selector::Selector;
pub use stats::{Report, Why};

use crate::call::{Call, Surface};
use crate::clock;
use crate::keys::Caller;
use crate::ledger::Ledger;
use crate::live::{Live, Registry};
use crate::memory::Memory;
use crate::router::{self, Choice, Target};
use crate::shared::Shared;
use crate::tasks::Tasks;
use crate::upstream::Client;
use errand::Errands;
use feedback::Rejected;
use keeper::Change;
use meaning::Meaning;
use shelf::{Bounds, Shelf};
use stats::Stats;
use verify::Verifier;

/// The largest answer that is kept.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Changes that wait to be embedded, written and shared; more are kept in this process alone.
const MAX_WAITING: usize = 4_096;
/// Entries in one page that is read from the database.
const PAGE: i64 = 200;
/// Entries that Redis forgets in one call.
const FORGOTTEN: usize = 64;

/// The cache of one gateway.
#[derive(Debug)]
pub struct Cache {
    shelf: Shelf,
    meaning: Arc<Meaning>,
    rejected: Rejected,
    verifier: Verifier,
    stats: Stats,
    memory: Arc<Memory>,
    store: Arc<Store>,
    shared: Option<Arc<Shared>>,
    changes: mpsc::Sender<Change>,
    waiting: parking_lot::Mutex<Option<mpsc::Receiver<Change>>>,
    /// What replicas are to do, in its order: admins' and verification's work, a few at a time.
    orders: parking_lot::Mutex<Vec<Change>>,
    /// Held while a page of the database is read into memory.
    reading: tokio::sync::Mutex<()>,
}

/// What the cache is made of.
#[derive(Debug)]
pub struct Parts {
    /// Configuration and providers.
    pub registry: Arc<Registry>,
    /// The way to providers, for vectors and for verification.
    pub client: Client,
    /// The money of both.
    pub ledger: Arc<Ledger>,
    /// Whether there is room.
    pub memory: Arc<Memory>,
    /// Where entries survive a restart.
    pub store: Arc<Store>,
    /// Where replicas meet.
    pub shared: Option<Arc<Shared>>,
    /// Where background work runs.
    pub tasks: Tasks,
}

/// How an answer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// The same request.
    Exact,
    /// The same words.
    Normalised,
    /// The same meaning.
    Semantic,
}

impl Tier {
    /// The word for metadata and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Exact => "exact",
            Tier::Normalised => "normalised",
            Tier::Semantic => "semantic",
        }
    }
}

/// What became of a request at the cache, for the header `x-gateway-cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered from here.
    Found(Tier),
    /// There was no answer.
    Missed,
    /// It was not looked for.
    Bypassed,
}

/// What the cache knows of a request.
#[derive(Debug)]
pub enum Look {
    /// An answer.
    Hit(Box<Hit>),
    /// None; what the providers answer may be kept under this.
    Miss(Box<Inquiry>),
    /// The request is none that is answered from here, or does not want to be.
    Bypass,
}

/// An answer that was found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The answer and what it answered.
    pub entry: Arc<Entry>,
    /// How it was found.
    pub tier: Tier,
    /// The calibrated similarity of the two questions, where they were compared by meaning.
    pub similarity: Option<f32>,
    /// The entry, and where it was found by meaning the pair, for feedback.
    pub id: String,
    /// Who had answered.
    pub target: Target,
}

impl Hit {
    /// How old the answer is, in seconds.
    pub fn age_seconds(&self) -> u64 {
        u64::try_from(clock::unix_millis().saturating_sub(self.entry.made_at_ms) / 1_000).unwrap_or(0)
    }
}

impl Cache {
    /// Nothing is held yet: [`run`] reads what the database has.
    pub fn new(parts: Parts) -> Cache {
        let Parts { registry, client, ledger, memory, store, shared, tasks } = parts;
        let (changes, waiting) = mpsc::channel(MAX_WAITING);
        let errands = Arc::new(Errands::new(registry, client, ledger));
        let meaning = Arc::new(Meaning::new(errands.clone(), tasks.clone()));
        Cache {
            shelf: Shelf::default(),
            verifier: Verifier::new(errands, meaning.clone(), tasks),
            meaning,
            rejected: Rejected::default(),
            stats: Stats::default(),
            memory,
            store,
            shared,
            changes,
            waiting: parking_lot::Mutex::new(Some(waiting)),
            orders: parking_lot::Mutex::default(),
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// The embedded model, which clients can use too.
    pub fn own_model(&self) -> &Arc<OwnModel> {
        self.meaning.own_model()
    }

    /// The vectors that a provider's model has for texts, paid for as the cache's own; `None` where it does not answer
    /// with one for each.
    pub async fn vectors_of(&self, model: &str, texts: &[String]) -> Option<Vec<Vec<f32>>> {
        self.meaning.vectors_of(model, texts).await
    }

    /// Looks for an answer: the same request, then the same words, then the same meaning.
    pub async fn look(self: &Arc<Self>, live: &Arc<Live>, caller: &Caller, call: &Arc<Call>) -> Look {
        let Some(inquiry) = Inquiry::of(self, live, caller, call) else { return Look::Bypass };
        let began = clock::now();
        let found = match inquiry.may_be_served {
            true => self.find(live, caller, &inquiry).await,
            false => Err(Why::NoCache),
        };
        live.metrics.cache.looked(clock::now().duration_since(began));
        match found {
            Ok(hit) => {
                self.stats.hit(live, &caller.id, &inquiry.model, &hit);
                if hit.tier == Tier::Semantic {
                    self.verifier.consider(self, live, call, &inquiry, &hit);
                }
                Look::Hit(Box::new(hit))
            }
            Err(why) => {
                self.stats.missed(live, why);
                Look::Miss(Box::new(inquiry))
            }
        }
    }

    async fn find(&self, live: &Arc<Live>, caller: &Caller, inquiry: &Inquiry) -> Result<Hit, Why> {
        let now_ms = clock::unix_millis();
        let usable = |entry: Arc<Entry>, tier| {
            let target = target(live, &entry, inquiry.surface)?;
            let offer = &target.offer;
            if !caller.may_use(&inquiry.model, &offer.provider.name, &offer.model) {
                return Err(Why::NotAllowed);
            }
            let id = entry.id.to_string();
            Ok(Hit { entry, tier, similarity: None, id, target })
        };
        if let Some(entry) = self.shelf.exact(&inquiry.exact, now_ms) {
            return usable(entry, Tier::Exact);
        }
        let Some(phrase) = &inquiry.phrase else { return Err(Why::Absent) };
        let found = self.shelf.phrased(&phrase.digest, now_ms);
        if let Some(entry) = found.filter(|entry| !self.rejected.has(&entry.id, &phrase.digest)) {
            let hit = usable(entry, Tier::Normalised)?;
            return Ok(Hit { id: Rejected::pair(&hit.entry.id, &phrase.digest), ..hit });
        }
        let settings = &live.config.cache;
        if !settings.semantic || !inquiry.may_mean_the_same || self.verifier.is_off(&phrase.frame) {
            return Err(Why::Absent);
        }
        let Some(scope) = self.shelf.scope(&phrase.frame) else { return Err(Why::Absent) };
        let threshold = self.verifier.threshold(settings.threshold).max(inquiry.threshold);
        let near = self.meaning.nearest(live, &scope, &phrase.text, threshold, |entry| {
            entry.expires_at_ms > now_ms && !self.rejected.has(&entry.id, &phrase.digest)
        });
        let (entry, similarity) = near.await?;
        self.shelf.touch(&entry);
        let hit = usable(entry, Tier::Semantic)?;
        Ok(Hit { id: Rejected::pair(&hit.entry.id, &phrase.digest), similarity: Some(similarity), ..hit })
    }

    /// Keeps an answer in the client's format, if it is whole and good. Costs no waiting: what takes long happens
    /// behind the request.
    fn keep(&self, live: &Live, inquiry: Inquiry, answer: Answer<'_>) {
        let settings = &live.config.cache;
        self.stats.answered(&inquiry.owner, &inquiry.model);
        let is_small = answer.body.len() <= MAX_ANSWER_BYTES;
        let body = std::str::from_utf8(answer.body).ok().filter(|_| is_small && !self.memory.is_tight());
        let Some(body) = body else { return };
        let is_text = match (inquiry.surface, replay::ending(inquiry.surface.client(), answer.body)) {
            (Surface::Embeddings, _) => false,
            (_, Some(Ending::Stop)) => true,
            (_, Some(Ending::ToolCalls)) if settings.tool_calls => false,
            (_, Some(Ending::ToolCalls) | None) => return,
        };
        let entry = Arc::new(Entry::new(inquiry, is_text, body, &answer, settings.ttl));
        self.put(live, entry.clone());
        self.tell(Change::Kept(entry));
    }

    fn put(&self, live: &Live, entry: Arc<Entry>) {
        let settings = &live.config.cache;
        let bounds = Bounds { entries: settings.max_entries, bytes: settings.max_bytes };
        for gone in self.shelf.put(entry, bounds) {
            live.metrics.cache.evictions.inc();
            self.tell(Change::Dropped(gone.id));
        }
        self.show_size(live);
    }

    fn show_size(&self, live: &Live) {
        let (entries, bytes) = self.shelf.size();
        live.metrics.cache.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        live.metrics.cache.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Hands a change on to whoever writes and shares it. When too many wait this one stays in this process.
    fn tell(&self, change: Change) {
        if self.changes.try_send(change).is_err() {
            self.stats.unkept();
        }
    }

    /// Has a change told to the replicas before any entry is.
    fn order(&self, change: Change) {
        self.orders.lock().push(change);
    }

    /// Removes what `selector` chooses, here, in the database and at every replica; how much it was here.
    ///
    /// # Errors
    /// The database does not answer: a restart would bring entries back, so this must be tried again.
    pub async fn invalidate(&self, live: &Live, selector: Selector) -> Result<usize, store::Error> {
        self.order(Change::Selected(selector.clone()));
        let (gone, kept) = self.drop_selected(live, &selector).await;
        for ids in gone.chunks(FORGOTTEN) {
            self.order(Change::Forgotten(ids.to_vec()));
        }
        kept?;
        Ok(gone.len())
    }

    /// Removes what `selector` chooses here and in the database; what it was here. The database may have entries that
    /// memory had no room for.
    async fn drop_selected(&self, live: &Live, selector: &Selector) -> (Vec<Digest>, Result<(), store::Error>) {
        // What is being read from the database comes first, and is found in memory then.
        let _page = self.reading.lock().await;
        let gone = self.shelf.take_where(selector.choice());
        self.show_size(live);
        let kept = match live.config.cache.persist {
            true => self.forget_selected(selector).await,
            false => Ok(()),
        };
        (gone.iter().map(|entry| entry.id).collect(), kept)
    }

    async fn forget_selected(&self, selector: &Selector) -> Result<(), store::Error> {
        if selector.is_all() {
            return self.store.forget_all_cached().await;
        }
        let mut before: Option<(i64, String)> = None;
        loop {
            let place = before.as_ref().map(|(made_at_ms, id)| (*made_at_ms, id.as_str()));
            let page = self.store.cached(0, place, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            before = Some((last.made_at_ms, last.id.clone()));
            let entry = |row: &store::CachedAnswer| Entry::read(&row.entry, self.meaning.embedder());
            let is_chosen = selector.choice();
            // One that cannot be read is of no use to anybody.
            let chosen = page.iter().filter(|row| entry(row).is_none_or(|entry| is_chosen(&entry)));
            let ids: Vec<String> = chosen.map(|row| row.id.clone()).collect();
            if !ids.is_empty() {
                self.store.forget_cached(&ids).await?;
            }
        }
    }

    /// Notes that an answer was bad: by an entry's id the entry goes, by a pair's the two never meet again. False where
    /// the id is none.
    ///
    /// # Errors
    /// The database does not answer, so that a restart would forget it.
    pub async fn reject(&self, live: &Live, id: &str) -> Result<bool, store::Error> {
        let Some(pair) = Rejected::read(id) else {
            let Some(entry) = Digest::parse(id) else { return Ok(false) };
            let selector = Selector { id: Some(entry.to_string()), ..Selector::default() };
            return Ok(self.invalidate(live, selector).await? > 0);
        };
        self.reject_pair(live, pair).await?;
        Ok(true)
    }

    /// Keeps a question from an entry for good.
    async fn reject_pair(&self, live: &Live, pair: (Digest, Digest)) -> Result<(), store::Error> {
        self.rejected.note(pair);
        let pair = Rejected::pair(&pair.0, &pair.1);
        self.order(Change::Rejected(pair.clone()));
        if live.config.cache.persist {
            self.store.reject_pair(&pair, clock::unix_millis()).await?;
        }
        Ok(())
    }

    /// How it does.
    pub fn report(&self, live: &Live) -> Report {
        let (entries, bytes) = self.shelf.size();
        self.stats.report(
            live,
            stats::Shape {
                entries,
                bytes,
                semantic: self.meaning.state(live, self.shelf.directed()),
                threshold: self.verifier.threshold(live.config.cache.threshold),
                verification: self.verifier.report(),
            },
        )
    }

    /// The newest entries, at most `limit`.
    pub fn entries(&self, limit: usize) -> Vec<Arc<Entry>> {
        self.shelf.newest(limit)
    }
}

/// An answer that may be kept.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Whole, in the client's format.
    pub body: &'a [u8],
    /// Who gave it.
    pub target: &'a Target,
    /// Tokens that it took.
    pub tokens: u64,
    /// What it cost, where that is known.
    pub cost: Option<catalog::Nanodollars>,
}

/// Who had answered, if that model is still one of those that the name stands for.
fn target(live: &Live, entry: &Entry, surface: Surface) -> Result<Target, Why> {
    let provider = live.directory.provider(&entry.provider).ok_or(Why::Gone)?;
    let offer = live.directory.offer_at(provider, &entry.model, surface, &live.metrics);
    let may_answer = router::stands_for(live, &entry.asked, surface, &offer);
    may_answer.then_some(Target { offer, choice: Choice::Direct }).ok_or(Why::Gone)
}

#[cfg(test)]
mod tests;
