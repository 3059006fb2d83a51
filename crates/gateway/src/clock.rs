//! The one source of time. Everything else takes an instant as an argument or asks here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use tokio::time::Instant;

/// The monotonic clock: rates, timeouts and latencies. Follows tokio's paused time in tests.
#[expect(clippy::disallowed_methods, reason = "this is the place that the lint points to")]
pub fn now() -> Instant {
    Instant::now()
}

/// Time since the Unix epoch by the wall clock; zero if the clock stands before it.
#[expect(clippy::disallowed_methods, reason = "this is the place that the lint points to")]
pub fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Seconds since the Unix epoch, as OpenAI's `created` has them.
pub fn unix_seconds() -> i64 {
    i64::try_from(unix().as_secs()).unwrap_or(i64::MAX)
}
