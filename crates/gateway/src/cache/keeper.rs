//! What happens to entries behind the requests: their questions are embedded, they are written to the database, told to
//! other replicas, and removed when their time is over or memory runs short.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use store::CachedAnswer;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::feedback::{MAX_PAIRS, Rejected};
use super::share::Sharing;
use super::shelf::Bounds;
use super::{Cache, Digest, Entry, MAX_WAITING, PAGE, Selector};
use crate::clock::{self, Instant};
use crate::live::{Live, Registry};
use crate::policy::Chain;

/// How often what waits is written, told and read.
const TURN: Duration = Duration::from_millis(200);
/// Changes that are worked on together.
const BATCH: usize = 32;
/// Pause after the database did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// How often entries past their time are removed.
const SWEEP: Duration = Duration::from_secs(10);
/// And from the database.
const PURGE: Duration = Duration::from_secs(300);
/// How often room is made while memory is short: as often as that is looked at.
const SHRINK: Duration = Duration::from_millis(500);
/// What is left of the entries each time that memory runs short, in percent.
const KEPT_PERCENT: usize = 80;

/// Something that happened to the cache.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// An answer was kept.
    Kept(Arc<Entry>),
    /// An entry had to make room.
    Dropped(Digest),
    /// Entries were chosen to go.
    Selected(Selector),
    /// Entries that went here are to go from Redis.
    Forgotten(Vec<Digest>),
    /// A pair was rejected.
    Rejected(String),
}

/// Looks after the cache until `stop`; what waits then is written before it returns.
pub async fn run(cache: Arc<Cache>, registry: Arc<Registry>, stop: CancellationToken) {
    let Some(mut waiting) = cache.waiting.lock().take() else { return };
    let mut keeper = Keeper::new(&cache);
    keeper.turn(&registry.snapshot()).await;
    // At most one batch at a time has its questions embedded, while everything else goes on.
    let mut directing = FuturesUnordered::new();
    while !stop.is_cancelled() {
        // Those that are new here come first: there may be thousands without a direction after a change of the model.
        if directing.is_empty() && waiting.is_empty() && !keeper.undirected.is_empty() {
            let some = keeper.undirected.len().min(BATCH);
            let entries = keeper.undirected.drain(..some).collect();
            directing.push(direct(&cache, registry.snapshot(), entries));
        }
        let mut batch = Vec::new();
        tokio::select! {
            Some(()) = directing.next(), if !directing.is_empty() => keeper.directed(&registry.snapshot()),
            _ = waiting.recv_many(&mut batch, BATCH), if directing.is_empty() => {}
            () = tokio::time::sleep(TURN) => {}
            () = stop.cancelled() => {}
        }
        let live = registry.snapshot();
        if !batch.is_empty() {
            let entries = batch.iter().filter_map(kept).collect();
            keeper.under_way = batch;
            directing.push(direct(&cache, live.clone(), entries));
        }
        keeper.turn(&live).await;
    }
    drop(directing);
    keeper.last(&registry.snapshot(), &mut waiting).await;
}

/// Embeds the questions of entries that have no direction, and makes them findable by it.
async fn direct(cache: &Cache, live: Arc<Live>, entries: Vec<Arc<Entry>>) {
    if cache.meaning.is_on(&live) {
        cache.meaning.direct(&entries).await;
        entries.iter().filter(|entry| entry.row.get().is_some()).for_each(|entry| cache.shelf.join(entry));
    }
}

fn kept(change: &Change) -> Option<Arc<Entry>> {
    match change {
        Change::Kept(entry) => Some(entry.clone()),
        Change::Dropped(_) | Change::Selected(_) | Change::Forgotten(_) | Change::Rejected(_) => None,
    }
}

struct Keeper<'a> {
    cache: &'a Cache,
    sharing: Option<Sharing>,
    /// Changes whose entries are being embedded.
    under_way: Vec<Change>,
    /// Entries that came without a direction.
    undirected: Vec<Arc<Entry>>,
    /// What the database does not have yet.
    unwritten: Vec<Change>,
    is_loaded: bool,
    /// The database holds nothing, because it shall not.
    is_cleared: bool,
    is_told: bool,
    turn_after: Instant,
    write_after: Instant,
    shrink_after: Instant,
    sweep_after: Instant,
    purge_after: Instant,
}

impl<'a> Keeper<'a> {
    fn new(cache: &'a Cache) -> Keeper<'a> {
        let now = clock::now();
        Keeper {
            cache,
            sharing: cache.shared.clone().map(Sharing::new),
            under_way: Vec::new(),
            undirected: Vec::new(),
            unwritten: Vec::new(),
            is_loaded: false,
            is_cleared: false,
            is_told: false,
            turn_after: now,
            write_after: now,
            shrink_after: now,
            sweep_after: now + SWEEP,
            purge_after: now,
        }
    }

    /// Has the changes told and written whose entries have their direction now.
    fn directed(&mut self, live: &Live) {
        let batch = std::mem::take(&mut self.under_way);
        if let Some(sharing) = &mut self.sharing {
            sharing.queue(&batch);
        }
        if live.config.cache.persist {
            let room = MAX_WAITING.saturating_sub(self.unwritten.len());
            self.unwritten.extend(batch.into_iter().take(room));
        }
    }

    /// What is due by now.
    async fn turn(&mut self, live: &Live) {
        let now = clock::now();
        if now < self.turn_after {
            return;
        }
        self.turn_after = now + TURN;
        if now >= self.write_after
            && let Err(problem) = self.persist(live).await
        {
            self.write_after = now + PAUSE;
            if !std::mem::replace(&mut self.is_told, true) {
                warn!(error = %Chain(&problem), "the database takes no cache entries; they stay in memory");
            }
        }
        let orders = std::mem::take(&mut *self.cache.orders.lock());
        if let Some(sharing) = &mut self.sharing {
            sharing.order(orders);
            let news = sharing.turn(self.cache, live).await;
            self.undirected.extend(news.into_iter().filter(|entry| entry.row.get().is_none()));
        }
        if now >= self.sweep_after {
            self.sweep_after = now + SWEEP;
            self.sweep(live);
        }
        if self.cache.memory.is_tight() && now >= self.shrink_after {
            self.shrink_after = now + SHRINK;
            self.shrink(live);
        }
    }

    async fn persist(&mut self, live: &Live) -> Result<(), store::Error> {
        let settings = &live.config.cache;
        if !settings.persist || !settings.enabled {
            if !settings.persist && !self.is_cleared {
                self.cache.store.forget_all_cached().await?;
                self.is_cleared = true;
            }
            return Ok(());
        }
        self.is_cleared = false;
        if !self.is_loaded {
            self.load(live).await?;
            self.is_loaded = true;
        }
        let now = clock::now();
        if now >= self.purge_after {
            self.cache.store.forget_expired(clock::unix_millis()).await?;
            self.purge_after = now + PURGE;
        }
        self.write().await?;
        self.is_told = false;
        Ok(())
    }

    /// Reads the newest entries, as many as there is room for.
    async fn load(&mut self, live: &Live) -> Result<(), store::Error> {
        for pair in self.cache.store.rejected_pairs(MAX_PAIRS as i64).await? {
            Rejected::read(&pair).into_iter().for_each(|pair| self.cache.rejected.note(pair));
        }
        let bounds = bounds(live);
        let mut before: Option<(i64, String)> = None;
        let mut read = 0_usize;
        while self.cache.shelf.size().0 < bounds.entries {
            let place = before.as_ref().map(|(made_at_ms, id)| (*made_at_ms, id.as_str()));
            let _reading = self.cache.reading.lock().await;
            let page = self.cache.store.cached(clock::unix_millis(), place, PAGE).await?;
            let Some(last) = page.last() else { break };
            before = Some((last.made_at_ms, last.id.clone()));
            for answer in &page {
                let Some(entry) = Entry::read(&answer.entry, self.cache.meaning.embedder()).map(Arc::new) else {
                    continue;
                };
                read = read.saturating_add(1);
                if self.cache.shelf.put_older(entry.clone(), bounds).is_empty() && entry.row.get().is_none() {
                    self.undirected.push(entry);
                }
            }
        }
        if read > 0 {
            info!(entries = read, "the cache is back");
            self.cache.show_size(live);
        }
        Ok(())
    }

    /// Writes what waits. An entry that is gone from memory meanwhile is not written any more.
    async fn write(&mut self) -> Result<(), store::Error> {
        let store = &self.cache.store;
        let (mut answers, mut gone) = (Vec::new(), Vec::new());
        for change in &self.unwritten {
            match change {
                Change::Kept(entry) if self.cache.shelf.holds(entry) => answers.extend(self.row(entry)),
                Change::Kept(entry) => gone.push(entry.id.to_string()),
                Change::Dropped(id) => gone.push(id.to_string()),
                Change::Selected(_) | Change::Forgotten(_) | Change::Rejected(_) => {}
            }
        }
        if !gone.is_empty() {
            store.forget_cached(&gone).await?;
        }
        for answers in answers.chunks(BATCH) {
            store.keep_cached(answers).await?;
        }
        // What was invalidated while it was being written would come back with a restart.
        let is_gone = |change: &Change| match change {
            Change::Kept(entry) => !self.cache.shelf.holds_id(&entry.id),
            Change::Dropped(_) | Change::Selected(_) | Change::Forgotten(_) | Change::Rejected(_) => false,
        };
        let late: Vec<String> = self.unwritten.iter().filter(|change| is_gone(change)).filter_map(id_of).collect();
        if !late.is_empty() {
            store.forget_cached(&late).await?;
        }
        self.unwritten.clear();
        Ok(())
    }

    fn row(&self, entry: &Entry) -> Option<CachedAnswer> {
        Some(CachedAnswer {
            id: entry.id.to_string(),
            owner: entry.owner.to_string(),
            made_at_ms: entry.made_at_ms,
            expires_at_ms: entry.expires_at_ms,
            entry: entry.write(self.cache.meaning.embedder())?,
        })
    }

    fn sweep(&self, live: &Live) {
        let now_ms = clock::unix_millis();
        self.cache.shelf.take_where(|entry| entry.expires_at_ms <= now_ms);
        self.cache.shelf.shrink(bounds(live));
        self.cache.show_size(live);
    }

    /// Makes room while the process is short of memory.
    fn shrink(&self, live: &Live) {
        let (entries, bytes) = self.cache.shelf.size();
        let part = |whole: usize| whole / 100 * KEPT_PERCENT + whole % 100 * KEPT_PERCENT / 100;
        let gone = self.cache.shelf.shrink(Bounds { entries: part(entries), bytes: part(bytes) });
        live.metrics.cache.evictions.inc_by(gone.len() as u64);
        self.cache.show_size(live);
    }

    async fn last(mut self, live: &Live, waiting: &mut mpsc::Receiver<Change>) {
        let orders = std::mem::take(&mut *self.cache.orders.lock());
        if let Some(sharing) = &mut self.sharing {
            sharing.order(orders);
            // Where Redis is away now, nobody is left to tell it later.
            let _ = sharing.tell(self.cache, live).await;
        }
        let mut rest = std::mem::take(&mut self.under_way);
        while let Ok(change) = waiting.try_recv() {
            rest.push(change);
        }
        if live.config.cache.persist {
            self.unwritten.extend(rest);
            if let Err(problem) = self.write().await {
                warn!(error = %Chain(&problem), "the newest cache entries are not in the database");
            }
        }
    }
}

fn id_of(change: &Change) -> Option<String> {
    kept(change).map(|entry| entry.id.to_string())
}

/// What the configuration allows.
pub(super) fn bounds(live: &Live) -> Bounds {
    Bounds { entries: live.config.cache.max_entries, bytes: live.config.cache.max_bytes }
}
