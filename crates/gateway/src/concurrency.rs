//! How many requests run at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the requests in flight.
#[derive(Clone, Debug, Default)]
pub struct Concurrency {
    active: Arc<AtomicUsize>,
}

/// One request's place; free again when dropped.
#[derive(Debug)]
pub struct Slot {
    active: Arc<AtomicUsize>,
}

impl Concurrency {
    /// A place for one more request, unless `limit` of them are taken.
    pub fn admit(&self, limit: usize) -> Option<Slot> {
        let slot = Slot { active: self.active.clone() };
        // Counted first and given back by the drop when it was one too many: no lock, no loop.
        (self.active.fetch_add(1, Ordering::AcqRel) < limit).then_some(slot)
    }

    /// Requests in flight.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.active.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_request_ends() {
        let concurrency = Concurrency::default();
        let first = concurrency.admit(1);

        assert!(first.is_some());
        assert!(concurrency.admit(1).is_none());
        assert_eq!(concurrency.active(), 1);

        drop(first);
        assert!(concurrency.admit(1).is_some());
    }
}
