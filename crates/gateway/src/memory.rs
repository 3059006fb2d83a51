//! How full the process's memory is, looked at twice a second: new requests are refused before the system ends the
//! process for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::live::Registry;

/// From this share of the limit on, requests are refused.
const FULL_PERCENT: u64 = 95;
/// From this share on, what can be done without makes room.
const TIGHT_PERCENT: u64 = 80;
const LOOK: Duration = Duration::from_millis(500);
/// The page size of every system that has `/proc/self/statm` in the form that is read here.
const PAGE_BYTES: u64 = 4_096;

/// What the last look found.
#[derive(Debug, Default)]
pub struct Memory {
    resident_bytes: AtomicU64,
    is_full: AtomicBool,
    is_tight: AtomicBool,
}

impl Memory {
    /// Whether nothing more should be taken in.
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Whether what can be done without should make room.
    pub fn is_tight(&self) -> bool {
        self.is_tight.load(Ordering::Relaxed)
    }

    /// The memory that the process occupies; 0 where the system does not tell.
    pub fn resident_bytes(&self) -> u64 {
        self.resident_bytes.load(Ordering::Relaxed)
    }

    /// Looks on until `stop`.
    pub async fn watch(self: Arc<Self>, registry: Arc<Registry>, stop: CancellationToken) {
        let limit_of_system = limit_of_system();
        loop {
            let limit = registry.snapshot().config.limits.memory_bytes.or(limit_of_system);
            self.look(limit);
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    pub(crate) fn look(&self, limit: Option<u64>) {
        let Some(resident) = resident() else { return };
        self.resident_bytes.store(resident, Ordering::Relaxed);
        let is_above =
            |percent| limit.is_some_and(|limit| resident.saturating_mul(100) > limit.saturating_mul(percent));
        self.is_tight.store(is_above(TIGHT_PERCENT), Ordering::Relaxed);
        let is_full = is_above(FULL_PERCENT);
        if self.is_full.swap(is_full, Ordering::Relaxed) != is_full {
            match is_full {
                true => warn!(resident, limit, "memory is nearly used up; new requests are refused"),
                false => info!(resident, limit, "there is memory again"),
            }
        }
    }
}

fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    text.split(' ').nth(1)?.parse::<u64>().ok()?.checked_mul(PAGE_BYTES)
}

/// What the control group allows, of either version.
fn limit_of_system() -> Option<u64> {
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = files.iter().find_map(|file| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok())?;
    // Version 1 says "no limit" by a number that no machine has.
    (limit < 1 << 60).then_some(limit)
}
