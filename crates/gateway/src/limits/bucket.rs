//! The arithmetic of a limit a minute: the generic cell rate algorithm, in whole numbers.
//!
//! A plain value without a clock. `rates.lua` does the same sums in Redis; a test holds the two together. What was
//! taken is counted in units of which a request or token has [`UNIT`]; they drain at `per_minute` units a millisecond,
//! so nothing is ever rounded. A Lua number is exact up to 2^53, and the largest figure here is far below.

#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic)]

use std::time::Duration;

/// Units of one request or token: the milliseconds of a minute.
pub const UNIT: u64 = 60_000;
/// The highest limit a minute that is counted.
pub const MOST_PER_MINUTE: u64 = 1_000_000_000;
/// Debt beyond this is forgiven: 50 bits.
const MOST_DEBT: u64 = 1 << 50;

/// What was taken lately of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    debt: u64,
    at_ms: i64,
}

/// How a limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The limit a minute.
    pub limit: u64,
    /// What can be taken at once.
    pub remaining: u64,
    /// Until all of it can be taken again.
    pub reset: Duration,
}

impl Bucket {
    /// Takes `cost` at once; a cost above the limit waits for a full bucket and takes all of it.
    ///
    /// # Errors
    /// How long to wait until it can be taken. Nothing was taken.
    pub fn take(&mut self, per_minute: u64, cost: u64, now_ms: i64) -> Result<(), Duration> {
        self.wait(per_minute, cost, now_ms)?;
        self.debt = self.debt.saturating_add(units(cost.min(per_minute)));
        Ok(())
    }

    /// Whether `cost` could be taken at once.
    ///
    /// # Errors
    /// How long to wait until it can.
    pub fn wait(&mut self, per_minute: u64, cost: u64, now_ms: i64) -> Result<(), Duration> {
        self.drain(per_minute, now_ms);
        let wanted = self.debt.saturating_add(units(cost.min(per_minute)));
        match wanted.saturating_sub(units(per_minute)) {
            0 => Ok(()),
            over => Err(Duration::from_millis(over.div_ceil(per_minute.max(1)))),
        }
    }

    /// Corrects what was taken by `delta`: more was used, or less. What is given back never makes more than all.
    pub fn adjust(&mut self, per_minute: u64, delta: i64, now_ms: i64) {
        self.drain(per_minute, now_ms);
        let change = units(delta.unsigned_abs().min(MOST_PER_MINUTE));
        let debt = if delta < 0 { self.debt.saturating_sub(change) } else { self.debt.saturating_add(change) };
        self.debt = debt.min(MOST_DEBT);
    }

    /// How it stands.
    pub fn window(&mut self, per_minute: u64, now_ms: i64) -> Window {
        self.drain(per_minute, now_ms);
        Window {
            limit: per_minute,
            remaining: units(per_minute).saturating_sub(self.debt) / UNIT,
            reset: Duration::from_millis(self.debt.div_ceil(per_minute.max(1))),
        }
    }

    /// A clock that went back drains nothing until it has caught up.
    fn drain(&mut self, per_minute: u64, now_ms: i64) {
        let elapsed = u64::try_from(now_ms.saturating_sub(self.at_ms)).unwrap_or(0);
        self.debt = self.debt.saturating_sub(elapsed.saturating_mul(per_minute));
        self.at_ms = self.at_ms.max(now_ms);
    }
}

fn units(cost: u64) -> u64 {
    cost.min(MOST_PER_MINUTE).saturating_mul(UNIT)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "made-up numbers within small bounds")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_800_000_000_000;

    #[test]
    fn a_minutes_worth_at_once_and_then_one_by_one() {
        let mut bucket = Bucket::default();
        for _ in 0..60 {
            assert_eq!(bucket.take(60, 1, START), Ok(()));
        }

        assert_eq!(bucket.take(60, 1, START), Err(Duration::from_secs(1)));
        assert_eq!(bucket.window(60, START), Window { limit: 60, remaining: 0, reset: Duration::from_secs(60) });
        assert_eq!(bucket.take(60, 1, START + 999), Err(Duration::from_millis(1)));
        assert_eq!(bucket.take(60, 1, START + 1_000), Ok(()));
        assert_eq!(bucket.take(60, 2, START + 1_000), Err(Duration::from_secs(2)));
    }

    #[test]
    fn a_cost_above_the_limit_waits_for_a_full_bucket() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(100, 5_000, START), Ok(()));
        assert_eq!(bucket.take(100, 5_000, START), Err(Duration::from_secs(60)));
    }

    #[test]
    fn debt_is_paid_before_anything_is_left() {
        let mut bucket = Bucket::default();
        bucket.take(60, 10, START).unwrap();
        bucket.adjust(60, 110, START);

        assert_eq!(bucket.window(60, START).remaining, 0);
        assert_eq!(bucket.take(60, 1, START), Err(Duration::from_secs(61)));
        bucket.adjust(60, -1_000, START);
        assert_eq!(bucket.window(60, START).remaining, 60);
    }

    #[test]
    fn a_clock_that_goes_back_neither_locks_nor_frees() {
        let mut bucket = Bucket::default();
        for _ in 0..60 {
            bucket.take(60, 1, START).unwrap();
        }
        assert_eq!(bucket.take(60, 1, START - 3_600_000), Err(Duration::from_secs(1)));
        assert_eq!(bucket.take(60, 1, START + 1_000), Ok(()));
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_and_what_came_back_meanwhile(
            per_minute in 1..1_000_u64,
            steps in prop::collection::vec((0..5_000_i64, 1..50_u64), 1..200),
        ) {
            let (mut bucket, mut now, mut taken) = (Bucket::default(), START, 0);
            for (pause, cost) in steps {
                now += pause;
                let before = bucket;
                match bucket.take(per_minute, cost, now) {
                    Ok(()) => taken += cost.min(per_minute),
                    Err(wait) => {
                        let wait = i64::try_from(wait.as_millis()).unwrap();
                        prop_assert!(wait > 0);
                        let (mut early, mut late) = (before, before);
                        prop_assert!(early.take(per_minute, cost, now + wait - 1).is_err());
                        prop_assert_eq!(late.take(per_minute, cost, now + wait), Ok(()));
                    }
                }
                let elapsed = u64::try_from(now - START).unwrap();
                prop_assert!(taken * UNIT <= per_minute * UNIT + elapsed * per_minute);
            }
        }
    }
}
