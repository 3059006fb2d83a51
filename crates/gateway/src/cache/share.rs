//! The cache of several replicas through Redis: a key an entry, and one bounded log of what happened, which each replica
//! follows. Lookups never come here. While Redis is away each replica has what it has; it catches up from where it was.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use redis::Script;
use tracing::warn;

use super::feedback::Rejected;
use super::keeper::{Change, bounds};
use super::{Cache, Entry, Selector};
use crate::clock;
use crate::live::Live;
use crate::policy::Chain;
use crate::shared::{Shared, Unavailable};

const LOG: &str = "gw:cache:log";
/// Changes of ours that wait for Redis; beyond that the oldest is not told.
const MAX_UNTOLD: usize = 4_096;
/// Larger entries stay here: Redis answers within its patience or counts as away.
const MAX_SHARED_BYTES: usize = 64 * 1024;
/// Items of the log in one look, and entries that are fetched at once.
const ITEMS: usize = 64;
const FETCHED: usize = 8;
/// Looks in one turn, so that a long log does not keep everything else waiting.
const LOOKS: usize = 16;
/// Invalidations that late entries are held against.
const REMEMBERED: usize = 64;
/// Changes that are told in one turn.
const TOLD: usize = 64;

/// One replica's part in it.
pub(super) struct Sharing {
    shared: Arc<Shared>,
    /// Marks what is ours in the log.
    origin: String,
    /// How far the log was read.
    place: String,
    /// What the others are to do, which is told first and never left out.
    orders: VecDeque<Change>,
    untold: VecDeque<Change>,
    /// What was chosen to go lately, and when.
    selected: VecDeque<(i64, Selector)>,
    scripts: Scripts,
}

struct Scripts {
    put: Script,
    note: Script,
    forget: Script,
    look: Script,
    fetch: Script,
}

/// An item of the log.
struct Item {
    place: String,
    origin: String,
    kind: String,
    what: String,
}

impl Sharing {
    pub(super) fn new(shared: Arc<Shared>) -> Sharing {
        let scripts = Scripts {
            put: Script::new(include_str!("put.lua")),
            note: Script::new(include_str!("note.lua")),
            forget: Script::new(include_str!("forget.lua")),
            look: Script::new(include_str!("look.lua")),
            fetch: Script::new(include_str!("fetch.lua")),
        };
        let origin = uuid::Uuid::now_v7().simple().to_string();
        let (orders, untold, selected) = Default::default();
        Sharing { shared, origin, place: "0".to_owned(), orders, untold, selected, scripts }
    }

    /// Notes what others are to do.
    pub(super) fn order(&mut self, orders: Vec<Change>) {
        self.orders.extend(orders);
        // After so many while Redis was away, the others better begin anew.
        if self.orders.len() > MAX_UNTOLD {
            self.orders = VecDeque::from([Change::Selected(Selector::default())]);
        }
    }

    /// Notes what others are to be told. What only this replica had no room for concerns nobody else.
    pub(super) fn queue(&mut self, changes: &[Change]) {
        let concerns_others = |change: &&Change| !matches!(change, Change::Dropped(_));
        self.untold.extend(changes.iter().filter(concerns_others).cloned());
        while self.untold.len() > MAX_UNTOLD {
            self.untold.pop_front();
        }
    }

    /// Tells what waits and takes what others told. The entries that are new here come back.
    pub(super) async fn turn(&mut self, cache: &Cache, live: &Live) -> Vec<Arc<Entry>> {
        if !self.shared.is_up() || self.tell(cache, live).await.is_err() {
            return Vec::new();
        }
        let mut news = Vec::new();
        for _ in 0..LOOKS {
            match self.look(cache, live, &mut news).await {
                Ok(true) => {}
                Ok(false) | Err(Unavailable) => break,
            }
        }
        news
    }

    /// Tells what waits: orders first, then as much of the rest as one turn has time for.
    pub(super) async fn tell(&mut self, cache: &Cache, live: &Live) -> Result<(), Unavailable> {
        while let Some(order) = self.orders.front() {
            self.tell_one(order, cache, live).await?;
            self.orders.pop_front();
        }
        for _ in 0..TOLD {
            let Some(change) = self.untold.front() else { return Ok(()) };
            self.tell_one(change, cache, live).await?;
            self.untold.pop_front();
        }
        Ok(())
    }

    async fn tell_one(&self, change: &Change, cache: &Cache, live: &Live) -> Result<(), Unavailable> {
        let (log, origin) = (LOG.to_owned(), self.origin.clone());
        let length = live.config.cache.max_entries.to_string();
        match change {
            Change::Kept(entry) => {
                let written = entry.write(cache.meaning.embedder()).filter(|text| text.len() <= MAX_SHARED_BYTES);
                let left_ms = entry.expires_at_ms.saturating_sub(clock::unix_millis());
                // What an order took meanwhile is not told any more.
                let Some(text) = written.filter(|_| left_ms > 0 && cache.shelf.holds(entry)) else { return Ok(()) };
                let id = entry.id.to_string();
                let arguments = [origin, length, id.clone(), text, left_ms.to_string()];
                self.shared.run(&self.scripts.put, &[log, key(&id)], &arguments).await
            }
            Change::Selected(selector) => {
                let what = serde_json::to_string(selector).unwrap_or_default();
                self.shared.run(&self.scripts.note, &[log], &[origin, length, "select".to_owned(), what]).await
            }
            Change::Forgotten(ids) => {
                let keys: Vec<String> = ids.iter().map(|id| key(&id.to_string())).collect();
                self.shared.run(&self.scripts.forget, &keys, &[]).await
            }
            Change::Rejected(pair) => {
                let arguments = [origin, length, "reject".to_owned(), pair.clone()];
                self.shared.run(&self.scripts.note, &[log], &arguments).await
            }
            Change::Dropped(_) => Ok(()),
        }
    }

    /// Takes the next items of the log; whether there may be more.
    async fn look(&mut self, cache: &Cache, live: &Live, news: &mut Vec<Arc<Entry>>) -> Result<bool, Unavailable> {
        let arguments = [ITEMS.to_string(), self.place.clone()];
        let flat: Vec<String> = self.shared.run(&self.scripts.look, &[LOG.to_owned()], &arguments).await?;
        let items: Vec<Item> = flat.chunks_exact(4).filter_map(Item::of).collect();
        let entries = self.fetch(&items).await?;
        for item in &items {
            self.place.clone_from(&item.place);
            if item.kind == "select" {
                self.remember(item);
            }
            if item.origin == self.origin {
                continue;
            }
            match item.kind.as_str() {
                "put" => {
                    let read = entries.get(&item.what).and_then(|text| Entry::read(text, cache.meaning.embedder()));
                    let read = read.filter(|entry| entry.id.to_string() == item.what && !self.is_selected(entry));
                    let Some(entry) = read.map(Arc::new) else { continue };
                    cache.shelf.put_older(entry.clone(), bounds(live));
                    news.push(entry);
                }
                "select" => {
                    if let Ok(selector) = serde_json::from_str::<Selector>(&item.what)
                        && let (_, Err(problem)) = cache.drop_selected(live, &selector).await
                    {
                        warn!(error = %Chain(&problem), "the database keeps what another replica has invalidated");
                    }
                }
                "reject" => Rejected::read(&item.what).into_iter().for_each(|pair| cache.rejected.note(pair)),
                _ => {}
            }
        }
        if !items.is_empty() {
            cache.show_size(live);
        }
        Ok(items.len() == ITEMS)
    }

    /// Notes what was chosen to go, for entries that were made before and are told later.
    fn remember(&mut self, item: &Item) {
        let at_ms = item.place.split('-').next().and_then(|at_ms| at_ms.parse().ok());
        if let (Some(at_ms), Ok(selector)) = (at_ms, serde_json::from_str(&item.what)) {
            self.selected.push_back((at_ms, selector));
        }
        if self.selected.len() > REMEMBERED {
            self.selected.pop_front();
        }
    }

    fn is_selected(&self, entry: &Entry) -> bool {
        self.selected.iter().any(|(at_ms, selector)| entry.made_at_ms <= *at_ms && selector.choice()(entry))
    }

    /// The entries that others have put, by id.
    async fn fetch(&self, items: &[Item]) -> Result<HashMap<String, String>, Unavailable> {
        let is_news = |item: &&Item| item.kind == "put" && item.origin != self.origin;
        let ids: Vec<&String> = items.iter().filter(is_news).map(|item| &item.what).collect();
        let mut found = HashMap::new();
        for ids in ids.chunks(FETCHED) {
            let keys: Vec<String> = ids.iter().map(|id| key(id)).collect();
            let texts: Vec<String> = self.shared.run(&self.scripts.fetch, &keys, &[]).await?;
            found.extend(ids.iter().map(|id| (*id).clone()).zip(texts));
        }
        Ok(found)
    }
}

impl Item {
    fn of(parts: &[String]) -> Option<Item> {
        let [place, origin, kind, what] = parts else { return None };
        Some(Item { place: place.clone(), origin: origin.clone(), kind: kind.clone(), what: what.clone() })
    }
}

fn key(id: &str) -> String {
    format!("gw:cache:entry:{id}")
}
