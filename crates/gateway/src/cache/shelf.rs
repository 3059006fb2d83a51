//! The entries in memory: found by their digests, and within one frame by their direction. Bounded in number and bytes;
//! what was not used for longest goes first, as near as a sample of sixteen tells.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use embedding::{DIMENSIONS, Row, Rows};
use indexmap::IndexMap;
use parking_lot::RwLock;

use super::{Digest, Entry};

/// Entries that are compared to find one to evict.
const SAMPLE: usize = 16;

/// How much the shelf holds at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

/// All entries.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    held: RwLock<Held>,
    /// Counts uses, so that they have an order.
    uses: AtomicU64,
}

#[derive(Debug, Default)]
struct Held {
    entries: IndexMap<Digest, Arc<Entry>>,
    phrases: HashMap<Digest, Digest>,
    scopes: HashMap<Digest, Arc<Scope>>,
    bytes: usize,
}

/// The entries of one frame whose direction is known. Locked for itself, so that a search holds up nobody else.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) members: RwLock<Members>,
}

/// Side by side: each entry, its question's direction, and that of its words alone.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) entries: Vec<Arc<Entry>>,
    pub(super) rows: Rows,
    pub(super) hints: Rows,
}

impl Shelf {
    /// The entry of the very same request.
    pub(super) fn exact(&self, id: &Digest, now_ms: i64) -> Option<Arc<Entry>> {
        let entry = self.held.read().entries.get(id).filter(|entry| entry.expires_at_ms > now_ms).cloned()?;
        self.touch(&entry);
        Some(entry)
    }

    /// The entry of the same words.
    pub(super) fn phrased(&self, phrase: &Digest, now_ms: i64) -> Option<Arc<Entry>> {
        let held = self.held.read();
        let entry =
            held.entries.get(held.phrases.get(phrase)?).filter(|entry| entry.expires_at_ms > now_ms).cloned()?;
        drop(held);
        self.touch(&entry);
        Some(entry)
    }

    /// The entries of a frame, where any has a direction.
    pub(super) fn scope(&self, frame: &Digest) -> Option<Arc<Scope>> {
        self.held.read().scopes.get(frame).cloned()
    }

    /// Notes that an entry was used.
    pub(super) fn touch(&self, entry: &Entry) {
        entry.used.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Puts an entry in the place of the one with its id, and returns those that had to go.
    pub(super) fn put(&self, entry: Arc<Entry>, bounds: Bounds) -> Vec<Arc<Entry>> {
        self.touch(&entry);
        let mut held = self.held.write();
        held.take(&entry.id);
        held.bytes = held.bytes.saturating_add(entry.bytes());
        if let Some(phrase) = entry.phrase {
            held.phrases.insert(phrase, entry.id);
        }
        held.entries.insert(entry.id, entry.clone());
        if entry.row.get().is_some() {
            held.join(&entry);
        }
        held.shrink(bounds)
    }

    /// Puts an entry that came from elsewhere, unless there is one of its id that is as new.
    pub(super) fn put_older(&self, entry: Arc<Entry>, bounds: Bounds) -> Vec<Arc<Entry>> {
        let is_known = self.held.read().entries.get(&entry.id).is_some_and(|held| held.made_at_ms >= entry.made_at_ms);
        if is_known { Vec::new() } else { self.put(entry, bounds) }
    }

    /// Makes an entry findable by its direction, which is known now, if it is still here.
    pub(super) fn join(&self, entry: &Arc<Entry>) {
        let mut held = self.held.write();
        if held.entries.get(&entry.id).is_some_and(|known| Arc::ptr_eq(known, entry)) {
            held.join(entry);
        }
    }

    /// Whether this very entry is still here.
    pub(super) fn holds(&self, entry: &Arc<Entry>) -> bool {
        self.held.read().entries.get(&entry.id).is_some_and(|known| Arc::ptr_eq(known, entry))
    }

    /// Whether there is an entry of that id.
    pub(super) fn holds_id(&self, id: &Digest) -> bool {
        self.held.read().entries.contains_key(id)
    }

    /// Takes out what is chosen. Who looks something up meanwhile waits for one entry at most.
    pub(super) fn take_where(&self, is_chosen: impl Fn(&Entry) -> bool) -> Vec<Arc<Entry>> {
        let all: Vec<Arc<Entry>> = self.held.read().entries.values().cloned().collect();
        let chosen = all.into_iter().filter(|entry| is_chosen(entry));
        chosen.filter(|entry| self.held.write().take(&entry.id).is_some()).collect()
    }

    /// Makes room until the bounds hold.
    pub(super) fn shrink(&self, bounds: Bounds) -> Vec<Arc<Entry>> {
        self.held.write().shrink(bounds)
    }

    /// How many entries there are, and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        let held = self.held.read();
        (held.entries.len(), held.bytes)
    }

    /// How many entries can be found by their direction.
    pub(super) fn directed(&self) -> usize {
        self.held.read().scopes.values().map(|scope| scope.members.read().entries.len()).sum()
    }

    /// The newest entries.
    pub(super) fn newest(&self, limit: usize) -> Vec<Arc<Entry>> {
        let mut all: Vec<Arc<Entry>> = self.held.read().entries.values().cloned().collect();
        all.sort_by_key(|entry| std::cmp::Reverse(entry.made_at_ms));
        all.truncate(limit);
        all
    }
}

impl Held {
    fn take(&mut self, id: &Digest) -> Option<Arc<Entry>> {
        let entry = self.entries.swap_remove(id)?;
        self.bytes = self.bytes.saturating_sub(entry.bytes());
        if let Some(phrase) = &entry.phrase
            && self.phrases.get(phrase) == Some(id)
        {
            self.phrases.remove(phrase);
        }
        if let Some(frame) = &entry.frame
            && let Some(scope) = self.scopes.get(frame)
            && scope.leave(id)
        {
            self.scopes.remove(frame);
        }
        Some(entry)
    }

    fn join(&mut self, entry: &Arc<Entry>) {
        let (Some(frame), Some(row), Some(question)) = (entry.frame, entry.row.get(), &entry.question) else { return };
        let scope = self.scopes.entry(frame).or_insert_with(|| Arc::new(Scope::new(row.bytes().len())));
        scope.join(entry, row, question);
    }

    fn shrink(&mut self, bounds: Bounds) -> Vec<Arc<Entry>> {
        let mut gone = Vec::new();
        while !self.entries.is_empty() && (self.entries.len() > bounds.entries || self.bytes > bounds.bytes) {
            let sampled = (0..SAMPLE).filter_map(|_| self.entries.get_index(fastrand::usize(..self.entries.len())));
            let oldest = sampled.min_by_key(|(_, entry)| entry.used.load(Ordering::Relaxed)).map(|(id, _)| *id);
            gone.extend(oldest.and_then(|id| self.take(&id)));
        }
        gone
    }
}

impl Scope {
    fn new(dimensions: usize) -> Scope {
        let members = Members { entries: Vec::new(), rows: Rows::new(dimensions), hints: Rows::new(DIMENSIONS) };
        Scope { members: RwLock::new(members) }
    }

    fn join(&self, entry: &Arc<Entry>, row: &Row, question: &str) {
        let mut members = self.members.write();
        if members.entries.iter().any(|known| known.id == entry.id) || !members.rows.push(row) {
            return;
        }
        members.hints.push(&super::meaning::hint(question));
        members.entries.push(entry.clone());
    }

    /// Takes an entry out; whether nothing is left.
    fn leave(&self, id: &Digest) -> bool {
        let mut members = self.members.write();
        if let Some(place) = members.entries.iter().position(|entry| entry.id == *id) {
            members.entries.swap_remove(place);
            members.rows.swap_remove(place);
            members.hints.swap_remove(place);
        }
        members.entries.is_empty()
    }
}
