//! Budgets that replicas share: each admits from a lease of its own and asks Redis only for a larger one.
//!
//! Redis adds up what every replica spent and what it leases out, in one script (`leases.lua`), so that all of it stays
//! within the limit. Everything that a replica says is absolute and numbered: said twice or late it does no harm, and
//! after Redis lost its data it is said again before anybody gets more. A replica that is cut off uses its lease for
//! `Terms::usable`; the others take the money over after `Terms::dropped`, when nothing of it can be in flight any
//! more. Only what a replica spent while it was cut off for longer than that is missing in the sum until it is back.
//!
//! Redis must be one primary (no cluster), and must not evict: `maxmemory-policy noeviction`.

#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use catalog::Nanodollars;
use redis::Script;
use store::Period;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::budget::{Amount, Ceiling, Marks, Month, Short, Threshold, Uncovered};
use super::budgets::{Account, Refused, State};
use crate::clock::{self, Instant};
use crate::shared::{Shared, Unavailable};

/// This replica's side of the leases.
#[derive(Debug)]
pub(super) struct Leases {
    instance: String,
    shared: Arc<Shared>,
    script: Script,
    terms: Terms,
    /// Redis' epoch as last heard: another one means that it may have forgotten something. 0 is none.
    epoch: AtomicI64,
    /// The number of the last report; begins at the wall clock, so a restart goes on above.
    turn: AtomicI64,
}

/// How long a lease outlives the word of its holder. The same on all replicas.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// How long a replica admits from a lease without hearing from Redis.
    pub(super) usable: Duration,
    /// How long the others respect it: `usable`, the 15 minutes that a request can run, and a minute.
    pub(super) dropped: Duration,
    /// How long nothing is granted after Redis lost its data: time to reconnect and to report.
    pub(super) lost: Duration,
    /// The same as a newcomer sees it, which cannot tell an empty Redis from a new one: time to report.
    pub(super) newcomer: Duration,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms {
            usable: Duration::from_secs(5 * 60),
            dropped: Duration::from_secs(21 * 60),
            lost: Duration::from_secs(15),
            newcomer: Duration::from_secs(1),
        }
    }
}

/// What Redis knows of one account in one month, as far as this replica can tell.
#[derive(Debug, Default)]
pub(super) struct Lease {
    pub(super) period: Period,
    /// When the last report that arrived was sent.
    heard: Option<Instant>,
    /// What it said: spent, and leased on top. `None` while one is under way or lost.
    reported: Option<(Amount, Amount)>,
    /// The epoch in which the others' records were told.
    told_epoch: Option<i64>,
    /// What was recorded for other replicas before this process began.
    others: Vec<(String, Amount)>,
    /// When and how much was set aside last: a lease that nobody uses goes back.
    last_change: Option<(Amount, Instant)>,
    /// Another replica was refused for the sake of leases.
    is_wanted: bool,
}

impl Leases {
    pub(super) fn new(instance: String, shared: Arc<Shared>, terms: Terms) -> Leases {
        let script = Script::new(include_str!("leases.lua"));
        let turn = i64::try_from(clock::unix().as_micros()).unwrap_or_default();
        Leases { instance, shared, script, terms, epoch: AtomicI64::new(0), turn: AtomicI64::new(turn) }
    }

    /// Sets `amount` aside within the lease, or within a larger one that Redis grants.
    ///
    /// Dropping the future sets nothing aside; a lease that was granted meanwhile is corrected by the next report.
    pub(super) async fn reserve(
        &self,
        account: &Account,
        ceiling: Ceiling,
        amount: Amount,
        period: Period,
    ) -> Result<Period, Refused> {
        for _ in 0..ASKS {
            if let Leased::Held(period) = self.reserve_leased(account, ceiling, amount, period)? {
                return Ok(period);
            }
            let _asking = account.asking.lock().await;
            // The answer to somebody before may have been enough.
            if let Leased::Held(period) = self.reserve_leased(account, ceiling, amount, period)? {
                return Ok(period);
            }
            let report = self.question(account, ceiling, amount, period).ok_or(Refused::Unavailable)?;
            let (_, verdicts) = self.say(&[(account, report)]).await.map_err(|_: Unavailable| Refused::Unavailable)?;
            match verdicts.first() {
                Some(Verdict::Granted) => {}
                Some(Verdict::Short) => {
                    if let Some(short) = self.shortage(account, ceiling, amount, period) {
                        return Err(Refused::Short(short));
                    }
                }
                Some(Verdict::Stale) => continue,
                Some(Verdict::Wait) | None => return Err(Refused::Unavailable),
            }
            if let Leased::Held(period) = self.reserve_leased(account, ceiling, amount, period)? {
                return Ok(period);
            }
        }
        Err(Refused::Unavailable)
    }

    fn reserve_leased(
        &self,
        account: &Account,
        ceiling: Ceiling,
        amount: Amount,
        period: Period,
    ) -> Result<Leased, Refused> {
        let mut state = account.state();
        let state = &mut *state;
        state.ceiling = ceiling;
        let period = state.cell.enter(period).period;
        let is_usable = self.is_usable(state.lease(period));
        let month = state.cell.enter(period);
        let held = match is_usable {
            true => month.reserve_leased(ceiling, amount),
            false => Err(month.used_up(ceiling).map_or(Uncovered::Lease, Uncovered::Short)),
        };
        match held {
            Ok(()) => Ok(Leased::Held(period)),
            Err(Uncovered::Lease) => Ok(Leased::TooSmall),
            Err(Uncovered::Short(short)) => Err(Refused::Short(short)),
        }
    }

    /// Redis was heard of lately enough for the others to respect the lease.
    fn is_usable(&self, lease: &Lease) -> bool {
        lease.heard.is_some_and(|heard| clock::now().duration_since(heard) < self.terms.usable)
    }

    /// The report that asks for a lease which covers `amount` as well.
    fn question(&self, account: &Account, ceiling: Ceiling, amount: Amount, period: Period) -> Option<Report> {
        let mut state = account.state();
        let period = state.cell.enter(period).period;
        let need = state.cell.enter(period).need(amount);
        Some(Report { question: Some((ceiling, need)), ..self.report(&mut state, period)? })
    }

    /// Why `amount` does not fit, by what was heard last.
    fn shortage(&self, account: &Account, ceiling: Ceiling, amount: Amount, period: Period) -> Option<Short> {
        account.state().cell.enter(period).short(ceiling, amount)
    }

    /// Learns Redis' epoch, and waits while a newcomer must.
    pub(super) async fn start(&self) {
        if let Ok((wait, _)) = self.say(&[]).await {
            tokio::time::sleep(wait.min(self.terms.newcomer)).await;
        }
    }

    /// Reports what changed, gives back what is idle, and at `stop` everything.
    pub(super) async fn run(&self, all: impl Fn() -> (Period, Vec<Arc<Account>>), stop: &CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let (period, accounts) = all();
            self.pass(&accounts, period, Pass::Regular).await;
        }
        let (period, accounts) = all();
        self.pass(&accounts, period, Pass::Last).await;
    }

    /// Reports all accounts that have something to report; ends early where Redis does not answer.
    async fn pass(&self, accounts: &[Arc<Account>], period: Period, pass: Pass) {
        let (mut batch, mut guards) = (Vec::new(), Vec::new());
        for account in accounts {
            let asking = match pass {
                Pass::Regular => account.asking.try_lock().ok(),
                Pass::Last => Some(account.asking.lock().await),
            };
            // Somebody asks just now, and reports with it.
            let Some(asking) = asking else { continue };
            let due = self.due(&mut account.state(), period, pass);
            if !due.is_empty() {
                batch.extend(due.into_iter().map(|report| (account.as_ref(), report)));
                guards.push(asking);
            }
            if batch.len() >= BATCH {
                if self.say(&batch).await.is_err() {
                    return;
                }
                batch.clear();
                guards.clear();
            }
        }
        // With nothing to report this still hears of a new epoch, in which there is everything to report.
        let _ = self.say(&batch).await;
    }

    /// The reports of an account that are due.
    fn due(&self, state: &mut State, period: Period, pass: Pass) -> Vec<Report> {
        state.cell.enter(period);
        let periods = state.cell.periods().into_iter().filter(|period| *period != Period::default());
        periods.filter_map(|period| self.due_month(state, period, pass)).collect()
    }

    fn due_month(&self, state: &mut State, period: Period, pass: Pass) -> Option<Report> {
        let now = clock::now();
        let (month, lease) = state.book(period)?;
        // What Redis may not hear of stays in use here.
        let is_heard = lease.heard.is_some_and(|heard| now.duration_since(heard) < HEARD);
        let is_idle = lease.is_idle(month, now);
        if matches!(pass, Pass::Last) || (is_heard && (is_idle || lease.is_wanted)) {
            // Before Redis learns of it, never after: what others may be granted is out of use here.
            month.give_back();
            lease.is_wanted = false;
        }
        let patience = if month.lease() == Amount::default() { REFRESH } else { REFRESH_LEASED };
        let is_known = lease.reported == Some((month.own_spent(), month.lease()))
            && lease.told_epoch == Some(self.epoch.load(Ordering::Relaxed))
            && lease.heard.is_some_and(|heard| now.duration_since(heard) < patience);
        if is_known { None } else { self.report(state, period) }
    }

    /// What this replica says of a month. Until the answer it counts as not said.
    fn report(&self, state: &mut State, period: Period) -> Option<Report> {
        let epoch = self.epoch.load(Ordering::Relaxed);
        let (month, lease) = state.book(period)?;
        if !self.is_usable(lease) {
            // The others may have it by now.
            month.give_back();
        }
        lease.reported = None;
        let others = if lease.told_epoch == Some(epoch) { Vec::new() } else { lease.others.clone() };
        let (spent, leased, passed) = (month.own_spent(), month.lease(), month.passed());
        Some(Report { period, epoch, spent, leased, passed, question: None, others })
    }

    /// One call of the script: the time until leases are granted, and a verdict for each report.
    async fn say(&self, reports: &[(&Account, Report)]) -> Result<(Duration, Vec<Verdict>), Unavailable> {
        let sent = clock::now();
        let answer = self.shared.run::<Vec<i64>>(&self.script, &keys(reports), &self.arguments(reports)).await;
        let answer = answer.ok().filter(|answer| answer.len() >= HEAD);
        let Some((&[epoch, wait], answers)) = answer.as_deref().and_then(|answer| answer.split_first_chunk()) else {
            for (account, report) in reports {
                tell_alone(account, report);
            }
            return Err(Unavailable);
        };
        self.epoch.store(epoch, Ordering::Relaxed);
        let (answers, _) = answers.as_chunks::<ANSWER>();
        let verdicts = reports.iter().zip(answers);
        let verdicts = verdicts.map(|((account, report), answer)| self.take(account, report, *answer, sent)).collect();
        Ok((Duration::from_millis(wait.unsigned_abs()), verdicts))
    }

    fn arguments(&self, reports: &[(&Account, Report)]) -> Vec<String> {
        let known = self.epoch.load(Ordering::Relaxed);
        let grace = if known == 0 { self.terms.newcomer } else { self.terms.lost };
        let mut arguments = vec![self.instance.clone(), known.to_string()];
        arguments
            .extend([grace.as_millis(), self.terms.dropped.as_millis(), KEPT.as_secs().into()].map(|n| n.to_string()));
        for (_, report) in reports {
            report.write(self.turn.fetch_add(1, Ordering::Relaxed), &mut arguments);
        }
        arguments
    }

    /// Takes an answer over into the account.
    fn take(&self, account: &Account, report: &Report, answer: [i64; ANSWER], sent: Instant) -> Verdict {
        let [
            verdict,
            own_usd,
            own_tokens,
            usd,
            tokens,
            spent_usd,
            spent_tokens,
            leased_usd,
            leased_tokens,
            told_usd,
            told_tokens,
            is_wanted,
        ] = answer;
        let verdict = match verdict {
            0 => Verdict::Granted,
            1 => Verdict::Short,
            2 => Verdict::Wait,
            _ => {
                // A clock that went back over a restart: go on above what was said then.
                self.turn.fetch_max(own_usd.saturating_add(1), Ordering::Relaxed);
                return Verdict::Stale;
            }
        };
        let amount = |usd, tokens| Amount { usd: Nanodollars(usd), tokens };
        let mut state = account.state();
        let ceiling = state.ceiling;
        let Some((month, lease)) = state.book(report.period) else { return verdict };
        let (own, leased) = (amount(own_usd, own_tokens), amount(usd, tokens));
        month.take_lease(own, leased);
        month.told(Marks { usd: Threshold::from_percent(told_usd), tokens: Threshold::from_percent(told_tokens) });
        account.tell(month, report.passed, ceiling);
        month.hear(amount(spent_usd, spent_tokens), amount(leased_usd, leased_tokens), ceiling);
        lease.heard = Some(sent);
        lease.reported = Some((own, leased));
        lease.told_epoch = Some(report.epoch);
        lease.is_wanted = is_wanted == 1;
        verdict
    }
}

impl Lease {
    pub(super) fn new(period: Period) -> Lease {
        Lease { period, ..Lease::default() }
    }

    /// Keeps what was recorded for the other replicas, to tell Redis.
    pub(super) fn recall(&mut self, others: Vec<(String, Amount)>) {
        self.others = others;
        self.told_epoch = None;
    }

    /// Nothing was set aside or settled for a while.
    fn is_idle(&mut self, month: &Month, now: Instant) -> bool {
        let used = month.need(month.own_spent());
        match self.last_change {
            Some((then, since)) if then == used => now.duration_since(since) >= IDLE,
            Some(_) | None => {
                self.last_change = Some((used, now));
                false
            }
        }
    }
}

/// What this replica says of one account in one month.
#[derive(Debug)]
struct Report {
    period: Period,
    /// Redis' epoch as it was known.
    epoch: i64,
    spent: Amount,
    /// Held on top of it, in use or not.
    leased: Amount,
    /// The highest thresholds passed.
    passed: Marks,
    /// The limits, and the lease that is needed, if more is needed.
    question: Option<(Ceiling, Amount)>,
    /// What other replicas spent, where Redis may not know.
    others: Vec<(String, Amount)>,
}

impl Report {
    /// Appends the block that the script reads.
    fn write(&self, turn: i64, arguments: &mut Vec<String>) {
        let (ceiling, need) = self.question.unwrap_or_default();
        let limit = |limit: Option<i64>| limit.map_or(-1, exact);
        let percent = |passed: Option<Threshold>| passed.map_or(0, |threshold| i64::from(threshold.percent()));
        let numbers = [
            turn,
            exact(self.spent.usd.0),
            exact(self.spent.tokens),
            exact(self.leased.usd.0),
            exact(self.leased.tokens),
            i64::from(self.question.is_some()),
            limit(ceiling.usd.map(|usd| usd.0)),
            limit(ceiling.tokens),
            exact(need.usd.0),
            exact(need.tokens),
            percent(self.passed.usd),
            percent(self.passed.tokens),
        ];
        arguments.extend(numbers.map(|number| number.to_string()));
        arguments.push(self.others.len().to_string());
        for (instance, spent) in &self.others {
            arguments.extend([instance.clone(), exact(spent.usd.0).to_string(), exact(spent.tokens).to_string()]);
        }
    }
}

/// What the script makes of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Taken over; what was asked for is granted.
    Granted,
    /// Taken over; what was asked for does not fit.
    Short,
    /// Taken over; nothing is granted for a while, because Redis may have forgotten leases.
    Wait,
    /// Ignored: a later one came before.
    Stale,
}

/// Whether a lease covered an amount.
enum Leased {
    /// It did, and the month of the hold.
    Held(Period),
    /// It did not.
    TooSmall,
}

/// Which reports a pass makes.
#[derive(Clone, Copy)]
enum Pass {
    /// Those that are due.
    Regular,
    /// Those and what gives all leases back.
    Last,
}

/// Tells of thresholds without knowing whether another replica did: better twice than never.
fn tell_alone(account: &Account, report: &Report) {
    let mut state = account.state();
    let ceiling = state.ceiling;
    if let Some((month, _)) = state.book(report.period) {
        account.tell(month, report.passed, ceiling);
    }
}

fn keys(reports: &[(&Account, Report)]) -> Vec<String> {
    let hashes = reports.iter().map(|(account, report)| format!("gw:budget:{{{}}}:{}", account.id(), report.period.0));
    std::iter::once("gw:budget:epoch".to_owned()).chain(hashes).collect()
}

/// A number as the script can count it.
fn exact(number: i64) -> i64 {
    number.clamp(0, MOST)
}

/// Tries of one reservation, each with a question: a lease that was just granted may go to somebody quicker.
const ASKS: usize = 3;
/// How often changes are reported.
const TICK: Duration = Duration::from_millis(250);
/// How old the report of an account with a lease gets: it says that this replica lives, and hears who wants it back.
const REFRESH_LEASED: Duration = Duration::from_secs(1);
/// How old any other gets: it hears what the others spent.
const REFRESH: Duration = Duration::from_secs(10);
/// An answer younger than this means that Redis is there.
const HEARD: Duration = Duration::from_secs(5);
/// How long a lease is kept that nobody uses or wants.
const IDLE: Duration = Duration::from_secs(30);
/// Reports in one call: a few milliseconds of Redis' time at most.
const BATCH: usize = 64;
/// How long Redis keeps a month after its last report.
const KEPT: Duration = Duration::from_secs(40 * 24 * 60 * 60);
/// Numbers before the answers: the epoch, and the wait in milliseconds.
const HEAD: usize = 2;
/// Numbers of one answer.
const ANSWER: usize = 12;
/// The largest whole number that Lua counts exactly. Shared limits and sums stop there: nine million dollars a month.
const MOST: i64 = (1 << 53) - 1;

#[cfg(test)]
mod tests;
