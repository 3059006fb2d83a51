//! What happens to entries behind the requests: their questions are embedded, they are written to the database, told to
//! other replicas, and removed when their time is over or memory runs short.

use std::sync::Arc;
use std::time::Duration;

use store::CachedAnswer;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::feedback::{MAX_PAIRS, Rejected};
use super::share::Sharing;
use super::shelf::Bounds;
use super::{Cache, Digest, Entry, MAX_WAITING, Selector};
use crate::clock::{self, Instant};
use crate::live::{Live, Registry};
use crate::policy::Chain;

/// How often what waits is written, told and read.
const TURN: Duration = Duration::from_millis(200);
/// Changes that are worked on together.
const BATCH: usize = 32;
/// Entries in one page that is read from the database.
const PAGE: i64 = 200;
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
    /// Entries were chosen to go; those that went here.
    Selected(Selector, Vec<Digest>),
    /// A pair was rejected.
    Rejected(String),
}

/// Looks after the cache until `stop`; what waits then is written before it returns.
pub async fn run(cache: Arc<Cache>, registry: Arc<Registry>, stop: CancellationToken) {
    let Some(mut waiting) = cache.waiting.lock().take() else { return };
    let mut keeper = Keeper::new(&cache);
    keeper.turn(&registry.snapshot()).await;
    while !stop.is_cancelled() {
        let mut batch = Vec::new();
        tokio::select! {
            _ = waiting.recv_many(&mut batch, BATCH) => {}
            () = tokio::time::sleep(TURN) => {}
            () = stop.cancelled() => {}
        }
        let live = registry.snapshot();
        keeper.take(&live, batch).await;
        keeper.turn(&live).await;
    }
    keeper.last(&registry.snapshot(), &mut waiting).await;
}

struct Keeper<'a> {
    cache: &'a Cache,
    sharing: Option<Sharing>,
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

    /// Works on what happened.
    async fn take(&mut self, live: &Live, batch: Vec<Change>) {
        if batch.is_empty() {
            return;
        }
        let kept = |change: &Change| match change {
            Change::Kept(entry) => Some(entry.clone()),
            Change::Dropped(_) | Change::Selected(..) | Change::Rejected(_) => None,
        };
        self.direct(live, batch.iter().filter_map(kept).collect()).await;
        if let Some(sharing) = &mut self.sharing {
            sharing.queue(&batch);
        }
        if live.config.cache.persist {
            let room = MAX_WAITING.saturating_sub(self.unwritten.len());
            let is_row = |change: &Change| matches!(change, Change::Kept(_) | Change::Dropped(_));
            self.unwritten.extend(batch.into_iter().filter(is_row).take(room));
        }
    }

    /// Embeds the questions of entries that have no direction, and makes them findable by it.
    async fn direct(&self, live: &Live, entries: Vec<Arc<Entry>>) {
        if !self.cache.meaning.is_on(live) {
            return;
        }
        self.cache.meaning.direct(&entries).await;
        entries.iter().filter(|entry| entry.row.get().is_some()).for_each(|entry| self.cache.shelf.join(entry));
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
        if let Some(sharing) = &mut self.sharing {
            let news = sharing.turn(self.cache, live).await;
            self.direct(live, news).await;
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
    async fn load(&self, live: &Live) -> Result<(), store::Error> {
        for pair in self.cache.store.rejected_pairs(MAX_PAIRS as i64).await? {
            Rejected::read(&pair).into_iter().for_each(|pair| self.cache.rejected.note(pair));
        }
        let bounds = bounds(live);
        let mut before: Option<(i64, String)> = None;
        let mut undirected = Vec::new();
        let mut read = 0_usize;
        while self.cache.shelf.size().0 < bounds.entries {
            let place = before.as_ref().map(|(made_at_ms, id)| (*made_at_ms, id.as_str()));
            let page = self.cache.store.cached(clock::unix_millis(), place, PAGE).await?;
            let Some(last) = page.last() else { break };
            before = Some((last.made_at_ms, last.id.clone()));
            for answer in &page {
                let Some(entry) = Entry::read(&answer.entry, self.cache.meaning.embedder()).map(Arc::new) else {
                    continue;
                };
                read = read.saturating_add(1);
                if self.cache.shelf.put_older(entry.clone(), bounds).is_empty() && entry.row.get().is_none() {
                    undirected.push(entry);
                }
            }
        }
        if read > 0 {
            info!(entries = read, "the cache is back");
            self.cache.show_size(live);
        }
        for entries in undirected.chunks(BATCH) {
            self.direct(live, entries.to_vec()).await;
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
                Change::Selected(..) | Change::Rejected(_) => {}
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
            Change::Dropped(_) | Change::Selected(..) | Change::Rejected(_) => false,
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
        let mut rest = Vec::new();
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
    match change {
        Change::Kept(entry) => Some(entry.id.to_string()),
        Change::Dropped(_) | Change::Selected(..) | Change::Rejected(_) => None,
    }
}

/// What the configuration allows.
pub(super) fn bounds(live: &Live) -> Bounds {
    Bounds { entries: live.config.cache.max_entries, bytes: live.config.cache.max_bytes }
}
