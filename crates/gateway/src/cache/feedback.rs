//! Pairs of which somebody said that one's answer does not serve the other.

use std::collections::{HashSet, VecDeque};

use parking_lot::RwLock;

use super::Digest;

/// Pairs that are remembered; beyond that the oldest is forgotten.
pub(super) const MAX_PAIRS: usize = 10_000;

/// An entry, and a question in canonical words that it does not answer.
pub(super) type Pair = (Digest, Digest);

/// The pairs.
#[derive(Debug, Default)]
pub(super) struct Rejected {
    held: RwLock<Held>,
}

#[derive(Debug, Default)]
struct Held {
    pairs: HashSet<Pair>,
    order: VecDeque<Pair>,
}

impl Rejected {
    /// The id of a pair.
    pub(super) fn pair(entry: &Digest, phrase: &Digest) -> String {
        format!("{entry}-{phrase}")
    }

    /// Reads what [`Rejected::pair`] writes.
    pub(super) fn read(id: &str) -> Option<Pair> {
        let (entry, phrase) = id.split_once('-')?;
        Some((Digest::parse(entry)?, Digest::parse(phrase)?))
    }

    /// Whether the two must not meet.
    pub(super) fn has(&self, entry: &Digest, phrase: &Digest) -> bool {
        let held = self.held.read();
        !held.pairs.is_empty() && held.pairs.contains(&(*entry, *phrase))
    }

    /// Keeps the two apart from now on.
    pub(super) fn note(&self, pair: Pair) {
        let mut held = self.held.write();
        if !held.pairs.insert(pair) {
            return;
        }
        held.order.push_back(pair);
        if held.order.len() > MAX_PAIRS
            && let Some(oldest) = held.order.pop_front()
        {
            held.pairs.remove(&oldest);
        }
    }
}
