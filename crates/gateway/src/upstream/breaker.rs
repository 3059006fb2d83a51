//! The circuit breaker of one model at one provider: a value. Its owner brings time, chance and locking.
//!
//! Closed lets all through and counts. Open lets nobody through until its cool-down is over; half-open then lets one
//! probe at a time through, and closes after two good ones. The figures are those of `docs/reliability.md`.

use std::time::Duration;

use crate::clock::Instant;

/// Failures in a row that open it.
const IN_A_ROW: u32 = 5;
/// It also opens when this many of a window's requests have ended, and at least half of them badly.
const ENOUGH: u32 = 20;
/// The window: so many slots, each so long.
const SLOTS: usize = 6;
const SLOT: Duration = Duration::from_secs(5);
/// The first cool-down; each further one is twice as long.
const COOL_DOWN: Duration = Duration::from_secs(15);
/// The longest cool-down.
const LONGEST: Duration = Duration::from_secs(300);
/// Good probes that close it.
const GOOD_PROBES: u32 = 2;
/// Where nobody else can serve, an open breaker lets one request through this often.
const TRICKLE: Duration = Duration::from_secs(1);

/// The breaker. The default is closed and has seen nothing.
#[derive(Debug, Default)]
pub struct Breaker {
    state: State,
    window: Window,
    /// How often it has opened since it was closed last.
    openings: u32,
    trickled: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failures_in_a_row: u32 },
    Open { until: Instant },
    HalfOpen { good_probes: u32, is_probing: bool },
}

impl Default for State {
    fn default() -> State {
        State::Closed { failures_in_a_row: 0 }
    }
}

/// What a breaker says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Go.
    Pass,
    /// Go: the outcome decides whether others may.
    Probe,
    /// Not before this.
    Refused(Instant),
}

/// What the world sees of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// All is well.
    Closed,
    /// Probes find out whether it is.
    HalfOpen,
    /// Nobody goes there.
    Open,
}

impl BreakerState {
    /// The word that answers and logs use.
    pub fn as_str(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::HalfOpen => "half_open",
            BreakerState::Open => "open",
        }
    }
}

impl Breaker {
    /// Whether a request may go. A [`Admission::Probe`] has to end in [`Breaker::succeeded`], [`Breaker::failed`] or
    /// [`Breaker::released`].
    pub fn admit(&mut self, now: Instant) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Pass,
            State::Open { until } if now < until => Admission::Refused(until),
            State::Open { .. } => {
                self.state = State::HalfOpen { good_probes: 0, is_probing: true };
                Admission::Probe
            }
            State::HalfOpen { is_probing: true, .. } => Admission::Refused(now + TRICKLE),
            State::HalfOpen { good_probes, is_probing: false } => {
                self.state = State::HalfOpen { good_probes, is_probing: true };
                Admission::Probe
            }
        }
    }

    /// Whether a request may go that nobody else can serve: a trickle, for refusing all of them would never find out.
    pub fn admit_last(&mut self, now: Instant) -> Admission {
        match self.admit(now) {
            Admission::Refused(_) => self.trickle(now),
            admitted => admitted,
        }
    }

    /// One request a second, whatever the state.
    pub fn trickle(&mut self, now: Instant) -> Admission {
        let next = self.trickled.map_or(now, |last| last + TRICKLE);
        if now < next {
            return Admission::Refused(next);
        }
        self.trickled = Some(now);
        Admission::Probe
    }

    /// A request that was let through had its answer.
    pub fn succeeded(&mut self, admission: Admission, now: Instant) {
        match (self.state, admission) {
            (State::Closed { .. }, _) => {
                self.window.note(now, true);
                self.state = State::Closed { failures_in_a_row: 0 };
            }
            (State::Open { .. }, Admission::Probe) => {
                self.state = State::HalfOpen { good_probes: 1, is_probing: false };
            }
            (State::HalfOpen { good_probes, .. }, Admission::Probe) if good_probes + 1 >= GOOD_PROBES => {
                *self = Breaker::default();
            }
            (State::HalfOpen { good_probes, .. }, Admission::Probe) => {
                self.state = State::HalfOpen { good_probes: good_probes + 1, is_probing: false };
            }
            // It began before the breaker opened, and says nothing about now.
            (State::Open { .. } | State::HalfOpen { .. }, _) => {}
        }
    }

    /// A request that was let through failed by the provider's fault. `jitter` is drawn evenly from 0 to 1.
    pub fn failed(&mut self, admission: Admission, now: Instant, jitter: f64) {
        match (self.state, admission) {
            (State::Closed { failures_in_a_row }, _) => {
                self.window.note(now, false);
                let failures_in_a_row = failures_in_a_row + 1;
                self.state = State::Closed { failures_in_a_row };
                if failures_in_a_row >= IN_A_ROW || self.window.is_bad(now) {
                    self.open(now, jitter);
                }
            }
            (State::HalfOpen { .. }, Admission::Probe) => self.open(now, jitter),
            // A trickle that failed says what was known.
            (State::Open { .. } | State::HalfOpen { .. }, _) => {}
        }
    }

    /// A request that was let through ended without a word about the provider: its client left, or it was at fault.
    pub fn released(&mut self, admission: Admission) {
        if let (State::HalfOpen { good_probes, .. }, Admission::Probe) = (self.state, admission) {
            self.state = State::HalfOpen { good_probes, is_probing: false };
        }
    }

    /// Opens it at once, whatever was counted: the failure was of a kind that the next request meets too.
    pub fn open(&mut self, now: Instant, jitter: f64) {
        let doubled = COOL_DOWN.saturating_mul(1 << self.openings.min(8)).min(LONGEST);
        self.openings = self.openings.saturating_add(1);
        self.state = State::Open { until: now + doubled.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0)) };
    }

    /// What it would say at `now`, and until when where that is no.
    pub fn state(&self, now: Instant) -> (BreakerState, Option<Instant>) {
        match self.state {
            State::Closed { .. } => (BreakerState::Closed, None),
            State::Open { until } if now < until => (BreakerState::Open, Some(until)),
            State::Open { .. } | State::HalfOpen { .. } => (BreakerState::HalfOpen, None),
        }
    }

    /// Failures since the last success.
    pub fn failures_in_a_row(&self) -> u32 {
        match self.state {
            State::Closed { failures_in_a_row } => failures_in_a_row,
            State::Open { .. } | State::HalfOpen { .. } => IN_A_ROW,
        }
    }
}

/// Outcomes of the last 30 seconds.
#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    slots: [Slot; SLOTS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    number: u64,
    good: u32,
    bad: u32,
}

impl Window {
    fn note(&mut self, now: Instant, is_good: bool) {
        let number = self.number(now);
        let Some(slot) = self.slots.get_mut((number % SLOTS as u64) as usize) else { return };
        if slot.number != number {
            *slot = Slot { number, ..Slot::default() };
        }
        let count = if is_good { &mut slot.good } else { &mut slot.bad };
        *count = count.saturating_add(1);
    }

    fn is_bad(&mut self, now: Instant) -> bool {
        let oldest = self.number(now).saturating_sub(SLOTS as u64 - 1);
        let recent = self.slots.iter().filter(|slot| slot.number >= oldest);
        let (good, bad) = recent
            .fold((0_u32, 0_u32), |(good, bad), slot| (good.saturating_add(slot.good), bad.saturating_add(slot.bad)));
        good.saturating_add(bad) >= ENOUGH && bad >= good
    }

    fn number(&mut self, now: Instant) -> u64 {
        let began = *self.began.get_or_insert(now);
        now.saturating_duration_since(began).as_secs() / SLOT.as_secs()
    }
}

#[cfg(test)]
mod tests;
