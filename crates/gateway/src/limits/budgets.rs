//! Budgets that concurrency cannot overrun: set aside before the call, settled after it, for each key and for all.
//!
//! [`Budgets`] owns one [`Account`] for each key and one for the whole gateway. A [`Reservation`] holds money and tokens
//! in both until it is settled or dropped. In one process an account is the truth; with Redis, replicas lend each other
//! nothing and lease what they use ([`super::leases`]). What was spent is recorded elsewhere, in the journal: this
//! module forgets everything at the end of the process and is told again by [`Budgets::restore`].

#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use parking_lot::{Mutex, MutexGuard};
use store::Period;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::budget::{Amount, Ceiling, Cell, Marks, Month, Short, Unit};
use super::leases::{Lease, Leases, Terms};
use crate::shared::Shared;

/// The accounts of all keys, and that of the gateway.
#[derive(Debug)]
pub struct Budgets {
    instance: String,
    /// Asked once when a key is loaded, not for each request.
    accounts: Mutex<HashMap<String, Arc<Account>>>,
    global: Arc<Account>,
    /// The latest month that a request came in, as [`Period`]'s number. It never falls, whatever the clock does.
    latest: AtomicI32,
    alerts: mpsc::Sender<BudgetAlert>,
    leases: Option<Leases>,
}

/// What one key, or the gateway as a whole, spent and set aside.
#[derive(Debug)]
pub struct Account {
    id: String,
    // A std mutex: its sections are a few additions and never wait.
    state: Mutex<State>,
    /// Held while Redis is asked for this account, so that reports arrive in order and one answer serves many.
    pub(super) asking: tokio::sync::Mutex<()>,
    alerts: mpsc::Sender<BudgetAlert>,
    is_shared: bool,
}

/// Money and tokens set aside for one request, in its key's account and the gateway's.
///
/// Dropped without [`Reservation::settle`] it is given back: nothing was spent.
#[derive(Debug)]
#[must_use = "dropping it gives the money back"]
pub struct Reservation {
    key: Held,
    global: Held,
}

/// Why a request was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Shortage {
    /// The key's own budget.
    #[error("the key's budget does not cover the request ({0})")]
    Key(Short),
    /// The budget of the whole gateway.
    #[error("the gateway's budget does not cover the request ({0})")]
    Global(Short),
    /// The lease is used up and Redis, which could grant another, does not answer.
    #[error("the budget's lease is used up and redis is unavailable")]
    SharedUnavailable,
}

/// How an account stands in a month, all replicas together as far as they are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The month.
    pub period: Period,
    /// Spent.
    pub spent: Amount,
    /// Set aside for requests in flight, and leased to other replicas.
    pub reserved: Amount,
    /// Neither of both; `None` where there is no limit.
    pub remaining: Ceiling,
}

/// A budget passed a threshold. Each is told once a month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetAlert {
    /// The key's id, or [`GLOBAL`].
    pub account: String,
    /// Which of its two limits.
    pub unit: Unit,
    /// The share that was passed: 80, 95 or 100.
    pub percent: u8,
    /// Spent by now, in nanodollars or tokens.
    pub spent: i64,
    /// The limit, in the same.
    pub limit: i64,
    /// The month.
    pub period: Period,
}

/// What one replica recorded for one key in a month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The replica.
    pub instance: String,
    /// The key, or [`store::ANONYMOUS`].
    pub key_id: String,
    /// The sum of its entries.
    pub spent: Amount,
}

/// The id of the account that every request is charged to.
pub const GLOBAL: &str = "global";

/// Alerts not yet drained: six for each month and account, and a drain that is late by a thousand has stopped.
const ALERTS: usize = 1024;

impl Budgets {
    /// Budgets of a gateway that runs once, and the alerts to drain.
    pub fn local(instance: String) -> (Budgets, mpsc::Receiver<BudgetAlert>) {
        Budgets::new(instance, None)
    }

    /// Budgets that the replicas at one Redis share; `instance` names this one, and keeps its name over restarts.
    ///
    /// Needs [`Budgets::start`] once and [`Budgets::run`] for as long as the gateway runs.
    pub fn shared(instance: String, shared: Arc<Shared>) -> (Budgets, mpsc::Receiver<BudgetAlert>) {
        let leases = Leases::new(instance.clone(), shared, Terms::default());
        Budgets::new(instance, Some(leases))
    }

    pub(super) fn new(instance: String, leases: Option<Leases>) -> (Budgets, mpsc::Receiver<BudgetAlert>) {
        let (alerts, receiver) = mpsc::channel(ALERTS);
        let global = Arc::new(Account::new(GLOBAL, alerts.clone(), leases.is_some()));
        let (accounts, latest) = (Mutex::default(), AtomicI32::default());
        (Budgets { instance, accounts, global, latest, alerts, leases }, receiver)
    }

    /// The account of that key, the same one each time.
    pub fn account(&self, key_id: &str) -> Arc<Account> {
        let mut accounts = self.accounts.lock();
        if let Some(account) = accounts.get(key_id) {
            return account.clone();
        }
        let account = Arc::new(Account::new(key_id, self.alerts.clone(), self.leases.is_some()));
        accounts.insert(key_id.to_owned(), account.clone());
        account
    }

    /// The account that every request is charged to.
    pub fn global(&self) -> &Arc<Account> {
        &self.global
    }

    /// Takes over what all replicas recorded in `period`. Totals only rise, so it may be told again at any time.
    pub fn restore(&self, period: Period, records: &[Recorded]) {
        let mut by_account: HashMap<&str, HashMap<&str, Amount>> = HashMap::new();
        for record in records {
            for account in [record.key_id.as_str(), GLOBAL] {
                let spent = by_account.entry(account).or_default().entry(&record.instance).or_default();
                *spent = spent.plus(record.spent);
            }
        }
        let period = self.enter(period);
        for (id, mut by_instance) in by_account {
            let own = by_instance.remove(self.instance.as_str()).unwrap_or_default();
            let account = if id == GLOBAL { self.global.clone() } else { self.account(id) };
            account.restore(period, own, by_instance);
        }
    }

    /// Sets `amount` aside in the key's account and the gateway's, in both or in none.
    ///
    /// Waits only where a lease is too small, and then for one answer of Redis for each of the two. Dropping the future
    /// gives back what was set aside.
    ///
    /// # Errors
    /// It does not fit, or nobody can tell whether it does.
    pub async fn reserve(
        &self,
        account: &Arc<Account>,
        ceiling: Ceiling,
        global: Ceiling,
        amount: Amount,
        period: Period,
    ) -> Result<Reservation, Shortage> {
        let period = self.enter(period);
        let amount = amount.or_more(Amount::default());
        let key = self.hold(account, ceiling, amount, period).await.map_err(|refused| refused.by(Shortage::Key))?;
        let global = self.hold(&self.global, global, amount, period).await;
        Ok(Reservation { key, global: global.map_err(|refused| refused.by(Shortage::Global))? })
    }

    async fn hold(
        &self,
        account: &Arc<Account>,
        ceiling: Ceiling,
        amount: Amount,
        period: Period,
    ) -> Result<Held, Refused> {
        let period = match &self.leases {
            Some(leases) if !ceiling.is_none() => leases.reserve(account, ceiling, amount, period).await?,
            Some(_) | None => account.reserve(ceiling, amount, period).map_err(Refused::Short)?,
        };
        Ok(Held { account: account.clone(), period, amount, ceiling, is_open: true })
    }

    /// The budget that is used up, if one is: to be asked before a body is read. Waits for nothing.
    pub fn used_up(&self, account: &Account, ceiling: Ceiling, global: Ceiling, period: Period) -> Option<Shortage> {
        let period = self.enter(period);
        let key = account.at(period).used_up(ceiling).map(Shortage::Key);
        key.or_else(|| self.global.at(period).used_up(global).map(Shortage::Global))
    }

    /// Makes this replica known to the others. Waits at most `Terms::newcomer` (a second), and only where Redis is new or empty;
    /// not at all where it does not answer.
    pub async fn start(&self) {
        if let Some(leases) = &self.leases {
            leases.start().await;
        }
    }

    /// Keeps this replica and the others informed of each other until `stop`, then gives everything back. Ends at once
    /// where nothing is shared.
    pub async fn run(&self, stop: &CancellationToken) {
        if let Some(leases) = &self.leases {
            leases.run(|| (Period(self.latest.load(Ordering::Relaxed)), self.all()), stop).await;
        }
    }

    fn all(&self) -> Vec<Arc<Account>> {
        let accounts = self.accounts.lock();
        accounts.values().chain([&self.global]).cloned().collect()
    }

    /// The later of `period` and what was seen before.
    fn enter(&self, period: Period) -> Period {
        Period(self.latest.fetch_max(period.0, Ordering::Relaxed)).max(period)
    }
}

impl Reservation {
    /// The month that pays.
    pub fn period(&self) -> Period {
        self.key.period
    }

    /// What is set aside.
    pub fn amount(&self) -> Amount {
        self.key.amount
    }

    /// Charges what the request really used, in the month in which it began, and gives the rest back.
    pub fn settle(self, actual: Amount) {
        self.key.settle(actual);
        self.global.settle(actual);
    }
}

impl Account {
    fn new(id: &str, alerts: mpsc::Sender<BudgetAlert>, is_shared: bool) -> Account {
        Account { id: id.to_owned(), state: Mutex::default(), asking: tokio::sync::Mutex::default(), alerts, is_shared }
    }

    /// The key's id, or [`GLOBAL`].
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How it stands in the month of `period`, or in the latest one that it saw.
    pub fn status(&self, ceiling: Ceiling, period: Period) -> Status {
        let month = self.at(period);
        let (period, spent, reserved) = (month.period, month.spent(), month.reserved());
        Status { period, spent, reserved, remaining: month.remaining(ceiling) }
    }

    /// What it holds, in sections that never wait.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Tells those of the thresholds `passed` that nobody was told yet.
    pub(super) fn tell(&self, month: &mut Month, passed: Marks, ceiling: Ceiling) {
        let news = month.tell(passed);
        for unit in Unit::ALL {
            let (Some(threshold), Some(limit)) = (news.of(unit), ceiling.of(unit)) else { continue };
            let (account, percent) = (self.id.clone(), threshold.percent());
            let (spent, period) = (month.spent().of(unit), month.period);
            if self.alerts.try_send(BudgetAlert { account, unit, percent, spent, limit, period }).is_err() {
                warn!(account = self.id, unit = unit.as_str(), percent, "budget alert lost: nobody reads them");
            }
        }
    }

    fn at(&self, period: Period) -> Month {
        self.state().cell.at(period)
    }

    fn reserve(&self, ceiling: Ceiling, amount: Amount, period: Period) -> Result<Period, Short> {
        let mut state = self.state();
        let month = state.cell.enter(period);
        month.reserve(ceiling, amount)?;
        Ok(month.period)
    }

    fn settle(&self, held: &Held, actual: Amount) {
        let mut state = self.state();
        // A month that is over for longer than a request can run is kept by the journal alone.
        let Some(month) = state.cell.month_mut(held.period) else { return };
        month.settle(held.amount, actual, held.ceiling);
        if !self.is_shared {
            self.tell(month, month.passed(), held.ceiling);
        }
    }

    fn release(&self, held: &Held) {
        if let Some(month) = self.state().cell.month_mut(held.period) {
            month.release(held.amount);
        }
    }

    fn restore(&self, period: Period, own: Amount, others: HashMap<&str, Amount>) {
        let elsewhere = others.values().fold(Amount::default(), |sum, spent| sum.plus(*spent));
        let mut state = self.state();
        let month = state.cell.enter(period);
        month.restore(own, elsewhere);
        let period = month.period;
        if self.is_shared {
            let others = others.into_iter().map(|(instance, spent)| (instance.to_owned(), spent));
            state.lease(period).recall(others.collect());
        }
    }
}

/// What the mutex of an account guards.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) cell: Cell,
    /// The limits that the last request came with.
    pub(super) ceiling: Ceiling,
    leases: [Lease; 2],
}

impl State {
    /// That month, if it is kept, and how the replicas know of it.
    pub(super) fn book(&mut self, period: Period) -> Option<(&mut Month, &mut Lease)> {
        Some((self.cell.month_mut(period)?, lease(&mut self.leases, period)))
    }

    /// How the replicas know of that month.
    pub(super) fn lease(&mut self, period: Period) -> &mut Lease {
        lease(&mut self.leases, period)
    }
}

/// That month's; the older of the two makes room for a new one.
fn lease(leases: &mut [Lease; 2], period: Period) -> &mut Lease {
    let [first, second] = leases;
    let (older, newer) = if first.period <= second.period { (first, second) } else { (second, first) };
    if newer.period == period {
        return newer;
    }
    if older.period != period {
        *older = Lease::new(period);
    }
    older
}

/// An amount set aside in one account; given back when dropped.
#[derive(Debug)]
struct Held {
    account: Arc<Account>,
    period: Period,
    amount: Amount,
    ceiling: Ceiling,
    is_open: bool,
}

impl Held {
    fn settle(mut self, actual: Amount) {
        self.is_open = false;
        self.account.settle(&self, actual);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.is_open {
            self.account.release(self);
        }
    }
}

/// Why one account did not hold an amount.
pub(super) enum Refused {
    Short(Short),
    Unavailable,
}

impl Refused {
    fn by(self, account: fn(Short) -> Shortage) -> Shortage {
        match self {
            Refused::Short(short) => account(short),
            Refused::Unavailable => Shortage::SharedUnavailable,
        }
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "made-up numbers within small bounds")]
mod tests {
    use catalog::Nanodollars;
    use proptest::prelude::*;

    use super::*;
    use crate::limits::budget::ShortKind;

    const NOVEMBER: Period = Period(202611);
    const CENT: i64 = 10_000_000;

    fn amount(usd: i64, tokens: i64) -> Amount {
        Amount { usd: Nanodollars(usd), tokens }
    }

    fn usd(limit: i64) -> Ceiling {
        Ceiling { usd: Some(Nanodollars(limit)), tokens: None }
    }

    fn recorded(instance: &str, key_id: &str, usd: i64) -> Recorded {
        Recorded { instance: instance.to_owned(), key_id: key_id.to_owned(), spent: amount(usd, 0) }
    }

    /// The answer of a future that never waits.
    fn now<T>(future: impl Future<Output = T>) -> T {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            std::task::Poll::Ready(output) => output,
            std::task::Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn two_hundred_cents_at_once_on_a_dollar_admit_a_hundred() {
        for _ in 0..20 {
            let (budgets, _alerts) = Budgets::local("a".to_owned());
            let key = budgets.account("k");
            let reserve = || now(budgets.reserve(&key, usd(100 * CENT), usd(1000 * CENT), amount(CENT, 1), NOVEMBER));

            let threads = 8;
            let admitted: Vec<_> = std::thread::scope(|scope| {
                let some = || (0..200 / threads).filter_map(|_| reserve().ok()).collect::<Vec<_>>();
                let threads: Vec<_> = (0..threads).map(|_| scope.spawn(some)).collect();
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
            });

            assert_eq!(admitted.len(), 100);
            let Err(Shortage::Key(short)) = reserve() else { panic!("it fits") };
            assert_eq!(short.kind, ShortKind::Reserved);
            admitted.into_iter().for_each(|reservation| reservation.settle(amount(CENT, 1)));
            let status = key.status(usd(100 * CENT), NOVEMBER);
            assert_eq!((status.spent, status.reserved), (amount(100 * CENT, 100), Amount::default()));
            assert_eq!(budgets.global().status(Ceiling::default(), NOVEMBER).spent, amount(100 * CENT, 100));
            assert!(matches!(reserve(), Err(Shortage::Key(Short { kind: ShortKind::Spent, .. }))));
        }
    }

    #[test]
    fn what_the_gateway_refuses_is_given_back_to_the_key() {
        let (budgets, _alerts) = Budgets::local("a".to_owned());
        let key = budgets.account("k");

        let refused = now(budgets.reserve(&key, usd(10), usd(5), amount(6, 0), NOVEMBER)).err();

        assert!(matches!(refused, Some(Shortage::Global(Short { kind: ShortKind::TooLarge, .. }))));
        assert_eq!(key.status(usd(10), NOVEMBER).reserved, Amount::default());
        drop(now(budgets.reserve(&key, usd(10), usd(5), amount(5, 0), NOVEMBER)).unwrap());
        assert_eq!(budgets.global().status(usd(5), NOVEMBER).remaining, usd(5));
    }

    #[test]
    fn what_was_recorded_before_the_start_counts() {
        let (budgets, _alerts) = Budgets::local("a".to_owned());
        let key = budgets.account("k");

        budgets.restore(NOVEMBER, &[recorded("a", "k", 30), recorded("b", "k", 40), recorded("b", "other", 5)]);
        budgets.restore(NOVEMBER, &[recorded("a", "k", 30), recorded("b", "k", 30)]);

        assert_eq!(key.status(usd(100), NOVEMBER).spent, amount(70, 0));
        assert_eq!(key.status(usd(100), NOVEMBER).remaining, usd(30));
        assert_eq!(budgets.global().status(usd(100), NOVEMBER).spent, amount(75, 0));
        assert!(budgets.used_up(&key, usd(70), usd(100), NOVEMBER).is_some());
        assert!(budgets.used_up(&key, usd(71), usd(75), NOVEMBER).is_some());
        assert_eq!(budgets.used_up(&key, usd(71), usd(76), NOVEMBER), None);
    }

    #[test]
    fn a_clock_that_jumps_resets_a_budget_once() {
        let (budgets, _alerts) = Budgets::local("a".to_owned());
        let key = budgets.account("k");
        let spend =
            |period| match now(budgets.reserve(&key, usd(10), Ceiling::default(), amount(10, 0), Period(period))) {
                Ok(reservation) => {
                    let period = reservation.period();
                    reservation.settle(amount(10, 0));
                    Some(period.0)
                }
                Err(_) => None,
            };

        assert_eq!(spend(202611), Some(202611));
        assert_eq!(spend(202610), None, "an hour back over the month's end");
        assert_eq!(spend(202612), Some(202612), "forty days on");
        assert_eq!(spend(202611), None, "and back again");
        assert_eq!(spend(202612), None);
        assert_eq!(spend(202701), Some(202701));
    }

    #[test]
    fn each_threshold_is_told_once() {
        let (budgets, mut alerts) = Budgets::local("a".to_owned());
        let key = budgets.account("k");

        for _ in 0..10 {
            now(budgets.reserve(&key, usd(100), usd(1000), amount(10, 0), NOVEMBER)).unwrap().settle(amount(10, 0));
        }

        let mut told = Vec::new();
        while let Ok(alert) = alerts.try_recv() {
            told.push((alert.account, alert.percent, alert.spent, alert.limit));
        }
        assert_eq!(told, [("k".to_owned(), 80, 80, 100), ("k".to_owned(), 100, 100, 100)]);
    }

    /// One thing that happens to two keys of a gateway.
    #[derive(Clone, Debug)]
    enum Step {
        Reserve {
            key: usize,
            amount: Amount,
        },
        Settle {
            which: usize,
            percent: i64,
        },
        Cancel {
            which: usize,
        },
        /// The process ends; the journal charges what was in flight in full.
        Crash,
        NextMonth,
        PreviousMonth,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let any_amount = (0..60i64, 0..60i64).prop_map(|(usd, tokens)| amount(usd, tokens));
        prop_oneof![
            8 => (0..2usize, any_amount).prop_map(|(key, amount)| Step::Reserve { key, amount }),
            5 => (0..8usize, 0..=100i64).prop_map(|(which, percent)| Step::Settle { which, percent }),
            2 => (0..8usize).prop_map(|which| Step::Cancel { which }),
            1 => Just(Step::Crash),
            1 => Just(Step::NextMonth),
            1 => Just(Step::PreviousMonth),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_sequence_overruns_a_budget_or_leaks_a_hold(steps in prop::collection::vec(any_step(), 1..120)) {
            const KEYS: [&str; 2] = ["k0", "k1"];
            let ceiling = Ceiling { usd: Some(Nanodollars(150)), tokens: Some(170) };
            let global = Ceiling { usd: Some(Nanodollars(220)), tokens: Some(400) };
            let mut journal: HashMap<(usize, Period), Amount> = HashMap::new();
            let mut period = NOVEMBER;
            let (mut budgets, _) = Budgets::local("a".to_owned());
            let mut open: Vec<(usize, Reservation)> = Vec::new();

            for step in steps {
                match step {
                    Step::Reserve { key, amount } => {
                        let account = budgets.account(KEYS[key]);
                        open.extend(now(budgets.reserve(&account, ceiling, global, amount, period)).map(|held| (key, held)));
                    }
                    Step::Settle { which, percent } if which < open.len() => {
                        let (key, held) = open.swap_remove(which);
                        let actual = amount(held.amount().usd.0 * percent / 100, held.amount().tokens * percent / 100);
                        let sum = journal.entry((key, held.period())).or_default();
                        *sum = sum.plus(actual);
                        held.settle(actual);
                    }
                    Step::Cancel { which } if which < open.len() => drop(open.swap_remove(which)),
                    Step::Settle { .. } | Step::Cancel { .. } => {}
                    Step::Crash => {
                        for (key, held) in open.drain(..) {
                            let sum = journal.entry((key, held.period())).or_default();
                            *sum = sum.plus(held.amount());
                        }
                        budgets = Budgets::local("a".to_owned()).0;
                        let month = journal.iter().filter(|((_, of), _)| *of == period);
                        let records: Vec<_> = month.map(|((key, _), spent)| Recorded {
                            instance: "a".to_owned(),
                            key_id: KEYS[*key].to_owned(),
                            spent: *spent,
                        }).collect();
                        budgets.restore(period, &records);
                    }
                    // As the gateway's clock is: later than all before, or back for a while, which changes nothing.
                    Step::NextMonth => period = Period(period.0 + 1),
                    Step::PreviousMonth => {
                        let account = budgets.account(KEYS[0]);
                        let _ = budgets.enter(period);
                        let held = now(budgets.reserve(&account, ceiling, global, amount(1, 1), Period(period.0 - 1)));
                        open.extend(held.map(|held| (0, held)));
                    }
                }
                let mut sum = Amount::default();
                for (key, id) in KEYS.into_iter().enumerate() {
                    let status = budgets.account(id).status(ceiling, period);
                    prop_assert!(status.spent.usd.0 + status.reserved.usd.0 <= 150);
                    prop_assert!(status.spent.tokens + status.reserved.tokens <= 170);
                    prop_assert_eq!(status.spent, journal.get(&(key, period)).copied().unwrap_or_default());
                    sum = sum.plus(status.spent);
                }
                let all = budgets.global().status(global, period);
                prop_assert!(all.spent.usd.0 + all.reserved.usd.0 <= 220);
                prop_assert_eq!(all.spent, sum);
            }

            drop(open);
            for account in budgets.all() {
                let mut state = account.state();
                for month in state.cell.periods() {
                    prop_assert_eq!(state.cell.month_mut(month).unwrap().reserved(), Amount::default());
                }
            }
        }
    }
}
