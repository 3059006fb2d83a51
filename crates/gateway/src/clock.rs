//! The one source of time. Everything else takes an instant as an argument or asks here.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use store::Period;
pub use tokio::time::Instant;

/// The monotonic clock: rates, timeouts and latencies. Follows tokio's paused time in tests.
#[expect(clippy::disallowed_methods, reason = "this is the place that the lint points to")]
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds of the monotonic clock since this process first asked.
pub fn monotonic_millis() -> i64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    let now = now();
    let elapsed = now.saturating_duration_since(*BEGIN.get_or_init(|| now));
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
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

/// Milliseconds since the Unix epoch.
pub fn unix_millis() -> i64 {
    i64::try_from(unix().as_millis()).unwrap_or(i64::MAX)
}

/// The calendar month in UTC at a time in milliseconds since the Unix epoch.
pub fn period(at_ms: i64) -> Period {
    let date = Timestamp::from_millisecond(at_ms).unwrap_or_default().to_zoned(TimeZone::UTC).date();
    Period(i32::from(date.year()) * 100 + i32::from(date.month()))
}

/// When the next calendar month in UTC begins after a time in milliseconds since the Unix epoch.
pub fn next_period_begins(at_ms: i64) -> Timestamp {
    let now = Timestamp::from_millisecond(at_ms).unwrap_or_default().to_zoned(TimeZone::UTC);
    let next = now.date().first_of_month().checked_add(Span::new().months(1));
    next.and_then(|date| date.to_zoned(TimeZone::UTC)).map_or(now.timestamp(), |zoned| zoned.timestamp())
}

/// The month, as `2026-11`.
pub fn month() -> String {
    Timestamp::from_millisecond(unix_millis()).unwrap_or_default().strftime("%Y-%m").to_string()
}

/// From a time to the beginning of the next calendar month in UTC.
pub fn until_next_period(at_ms: i64) -> Duration {
    let left = next_period_begins(at_ms).as_millisecond().saturating_sub(at_ms);
    Duration::from_millis(u64::try_from(left).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn a_month_ends_at_midnight_in_utc() {
        for (time, month, left) in [
            ("2026-11-23T12:00:00Z", 202_611, Duration::from_secs(7 * 86_400 + 12 * 3_600)),
            ("2026-11-30T23:59:59.999Z", 202_611, Duration::from_millis(1)),
            ("2026-12-01T00:00:00Z", 202_612, Duration::from_secs(31 * 86_400)),
            ("2028-02-29T00:00:00Z", 202_802, Duration::from_secs(86_400)),
            ("2026-12-31T23:59:00Z", 202_612, Duration::from_secs(60)),
        ] {
            assert_eq!((period(at(time)), until_next_period(at(time))), (Period(month), left), "{time}");
        }
    }
}
