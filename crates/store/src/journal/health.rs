//! Whether the last call of a kind worked: logged when that changes, and kept for the health page.

use std::error::Error as _;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::Error;

/// How calls of one kind went.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Whether `failure` has something, for a look without the lock.
    is_failing: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Health {
    /// Why the last call failed, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        if self.is_failing() { self.failure.lock().clone() } else { None }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Takes note of how a call went.
    pub(super) fn note<T>(&self, result: &Result<T, Error>) {
        match result {
            Ok(_) if self.is_failing() => {
                *self.failure.lock() = None;
                self.is_failing.store(false, Ordering::Relaxed);
                tracing::info!("the journal works again");
            }
            Ok(_) => {}
            Err(error) => {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                let failure = format!("{error}{cause}");
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(error = failure, "the journal cannot be kept");
                }
                *self.failure.lock() = Some(failure);
            }
        }
    }
}
