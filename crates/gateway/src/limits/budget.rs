//! The arithmetic of a budget: what one account spent and set aside in a month, and what still fits.
//!
//! Plain values: no clock, lock or I/O; [`super::budgets`] brings those. Nothing here overflows: a sum that no account
//! could hold is refused when it is reserved, and stays at the largest number when it was spent.

#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic)]

use std::fmt;

use catalog::Nanodollars;
use store::Period;

/// Money and tokens: what a request may use, or did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// The money.
    pub usd: Nanodollars,
    /// The tokens, input and output.
    pub tokens: i64,
}

/// The most that an account may use in a month; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// The money.
    pub usd: Option<Nanodollars>,
    /// The tokens, input and output.
    pub tokens: Option<i64>,
}

/// What a budget is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Nanodollars.
    Usd,
    /// Tokens, input and output.
    Tokens,
}

/// Why an amount does not fit. The figures are nanodollars or tokens, as `unit` says, of all replicas together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// Which of the two limits is in the way.
    pub unit: Unit,
    /// The limit of the month.
    pub limit: i64,
    /// Spent so far.
    pub spent: i64,
    /// Set aside for the requests in flight.
    pub reserved: i64,
    /// What was asked for.
    pub amount: i64,
    /// What would have to change.
    pub kind: ShortKind,
}

/// What would have to change for the amount to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShortKind {
    /// The budget is used up: wait for the next month.
    Spent,
    /// It fits if the requests in flight turn out to cost nothing: wait a moment.
    Reserved,
    /// It does not fit in what is left, whatever the requests in flight cost: ask for less.
    TooLarge,
}

/// A share of the budget that is worth telling someone when it is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Threshold {
    /// Four fifths.
    Eighty,
    /// Nearly all.
    NinetyFive,
    /// All.
    Hundred,
}

/// The highest threshold that going from `before` to `after` passes.
pub fn crossed(before: i64, after: i64, limit: i64) -> Option<Threshold> {
    Threshold::ALL
        .into_iter()
        .rev()
        .find(|threshold| !threshold.is_reached(before, limit) && threshold.is_reached(after, limit))
}

/// What one account did in one month: here, and as far as it is known on the other replicas.
///
/// Without Redis nothing happens elsewhere. With it, `spent + reserved` here stays within `allowance`, and the
/// allowances of all replicas together within the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Month {
    /// Which month.
    pub period: Period,
    /// Spent here. Never falls.
    spent: Amount,
    /// Set aside for the requests in flight here.
    reserved: Amount,
    /// Spent by the other replicas, as last heard. Never falls.
    spent_elsewhere: Amount,
    /// Leased to the other replicas, as last heard.
    leased_elsewhere: Amount,
    /// How far `spent + reserved` here may go without asking again.
    allowance: Amount,
    /// The highest thresholds passed, and those of them that were told.
    passed: Marks,
    told: Marks,
}

/// The highest threshold of each unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Of the money.
    pub usd: Option<Threshold>,
    /// Of the tokens.
    pub tokens: Option<Threshold>,
}

/// What keeps a lease from covering an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncovered {
    /// The budget itself, as far as it is known: asking does not help.
    Short(Short),
    /// The lease: ask for a larger one.
    Lease,
}

impl Month {
    /// A month in which nothing happened yet.
    pub fn new(period: Period) -> Month {
        Month { period, ..Month::default() }
    }

    /// Sets `amount` aside if it fits in both units.
    ///
    /// # Errors
    /// It does not fit; nothing was set aside.
    pub fn reserve(&mut self, ceiling: Ceiling, amount: Amount) -> Result<(), Short> {
        self.short(ceiling, amount).map_or(Ok(()), Err)?;
        self.reserved = self.reserved.plus(amount);
        Ok(())
    }

    /// Sets `amount` aside if the lease covers it.
    ///
    /// # Errors
    /// It does not; nothing was set aside.
    pub fn reserve_leased(&mut self, ceiling: Ceiling, amount: Amount) -> Result<(), Uncovered> {
        if let Some(short) = self.used_up(ceiling) {
            return Err(Uncovered::Short(short));
        }
        for unit in Unit::ALL {
            // A limit that was lowered since holds at once.
            let most = match ceiling.of(unit) {
                Some(limit) => self.allowance.of(unit).min(limit.saturating_sub(self.spent_elsewhere.of(unit))),
                None => i64::MAX,
            };
            let used = self.spent.of(unit).saturating_add(self.reserved.of(unit));
            if used.checked_add(amount.of(unit)).is_none_or(|sum| sum > most) {
                return Err(Uncovered::Lease);
            }
        }
        self.reserved = self.reserved.plus(amount);
        Ok(())
    }

    /// Ends a hold with what the request really used, which may be more than was held.
    pub fn settle(&mut self, held: Amount, actual: Amount, ceiling: Ceiling) {
        let before = self.spent();
        self.reserved = self.reserved.minus(held);
        // A credit is not a use: what was spent never falls, so every replica's report is a floor.
        self.spent = self.spent.plus(actual.or_more(Amount::default()));
        self.mark(before, ceiling);
    }

    /// Ends a hold of a request that used nothing.
    pub fn release(&mut self, held: Amount) {
        self.reserved = self.reserved.minus(held);
    }

    /// Why `amount` does not fit, if so.
    pub fn short(&self, ceiling: Ceiling, amount: Amount) -> Option<Short> {
        Unit::ALL.into_iter().find_map(|unit| {
            let limit = ceiling.of(unit).unwrap_or(i64::MAX);
            let (spent, reserved, amount) = (self.spent().of(unit), self.reserved().of(unit), amount.of(unit));
            let fits = |used: i64| used.checked_add(amount).is_some_and(|sum| sum <= limit);
            let kind = match spent.checked_add(reserved) {
                _ if spent >= limit => ShortKind::Spent,
                Some(used) if fits(used) => return None,
                Some(_) | None if fits(spent) => ShortKind::Reserved,
                Some(_) | None => ShortKind::TooLarge,
            };
            Some(Short { unit, limit, spent, reserved, amount, kind })
        })
    }

    /// The limit that is used up, if one is: not even a free request is admitted then.
    pub fn used_up(&self, ceiling: Ceiling) -> Option<Short> {
        self.short(ceiling, Amount::default()).filter(|short| short.kind == ShortKind::Spent)
    }

    /// What is neither spent nor set aside, never less than nothing.
    pub fn remaining(&self, ceiling: Ceiling) -> Ceiling {
        let left = |unit| {
            let taken = self.spent().of(unit).saturating_add(self.reserved().of(unit));
            ceiling.of(unit).map(|limit| limit.saturating_sub(taken).max(0))
        };
        Ceiling { usd: left(Unit::Usd).map(Nanodollars), tokens: left(Unit::Tokens) }
    }

    /// Spent on all replicas, as far as it is known.
    pub fn spent(&self) -> Amount {
        self.spent.plus(self.spent_elsewhere)
    }

    /// Set aside for requests in flight here, and leased to the other replicas.
    pub fn reserved(&self) -> Amount {
        self.reserved.plus(self.leased_elsewhere)
    }

    /// Spent by this replica alone.
    pub fn own_spent(&self) -> Amount {
        self.spent
    }

    /// What this replica may still use of its lease, what it has in flight included.
    pub fn lease(&self) -> Amount {
        self.allowance.minus(self.spent).or_more(self.reserved)
    }

    /// The lease that would cover `amount` on top of what is in flight.
    pub fn need(&self, amount: Amount) -> Amount {
        self.reserved.plus(amount)
    }

    /// Keeps of the lease only what is in flight.
    pub fn give_back(&mut self) {
        self.allowance = self.spent.plus(self.reserved);
    }

    /// Takes a lease of `lease` on top of `own_spent`, which all replicas agree that this one spent.
    pub fn take_lease(&mut self, own_spent: Amount, lease: Amount) {
        self.spent = self.spent.or_more(own_spent);
        self.allowance = own_spent.plus(lease);
    }

    /// Learns what the other replicas did.
    pub fn hear(&mut self, spent_elsewhere: Amount, leased_elsewhere: Amount, ceiling: Ceiling) {
        let before = self.spent();
        self.spent_elsewhere = self.spent_elsewhere.or_more(spent_elsewhere);
        self.leased_elsewhere = leased_elsewhere;
        self.mark(before, ceiling);
    }

    /// Takes over what was recorded before this process began.
    pub fn restore(&mut self, own_spent: Amount, spent_elsewhere: Amount) {
        self.spent = self.spent.or_more(own_spent);
        self.spent_elsewhere = self.spent_elsewhere.or_more(spent_elsewhere);
    }

    /// The highest thresholds passed.
    pub fn passed(&self) -> Marks {
        self.passed
    }

    /// Those of `passed` that nobody was told yet. From now on they count as told.
    pub fn tell(&mut self, passed: Marks) -> Marks {
        let told = self.told;
        self.told = told.or_higher(passed);
        let news = |passed: Option<Threshold>, told| if passed > told { passed } else { None };
        Marks { usd: news(passed.usd, told.usd), tokens: news(passed.tokens, told.tokens) }
    }

    /// Another replica told these.
    pub fn told(&mut self, marks: Marks) {
        self.told = self.told.or_higher(marks);
        self.passed = self.passed.or_higher(marks);
    }

    fn mark(&mut self, before: Amount, ceiling: Ceiling) {
        let after = self.spent();
        let passed = |unit| ceiling.of(unit).and_then(|limit| crossed(before.of(unit), after.of(unit), limit));
        self.passed = self.passed.or_higher(Marks { usd: passed(Unit::Usd), tokens: passed(Unit::Tokens) });
    }
}

/// The month that runs, and the one before it, in which requests may still be in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    current: Month,
    earlier: Month,
}

impl Cell {
    /// The month that pays for a request of `period`: that one, or the current one where that is long over.
    ///
    /// A later period begins with nothing spent. A cell never returns to an earlier month; it only lets one end.
    pub fn enter(&mut self, period: Period) -> &mut Month {
        if period > self.current.period {
            self.earlier = std::mem::replace(&mut self.current, Month::new(period));
        }
        if period == self.earlier.period { &mut self.earlier } else { &mut self.current }
    }

    /// The months that are kept, the later one first.
    pub fn periods(&self) -> [Period; 2] {
        [self.current.period, self.earlier.period]
    }

    /// That month, if it is kept.
    pub fn month_mut(&mut self, period: Period) -> Option<&mut Month> {
        [&mut self.current, &mut self.earlier].into_iter().find(|month| month.period == period)
    }

    /// The month as it stands at `period`: an empty one if nothing happened in it yet.
    pub fn at(&self, period: Period) -> Month {
        if period > self.current.period { Month::new(period) } else { self.current }
    }
}

impl Amount {
    /// Nanodollars or tokens.
    pub fn of(self, unit: Unit) -> i64 {
        match unit {
            Unit::Usd => self.usd.0,
            Unit::Tokens => self.tokens,
        }
    }

    /// The sum.
    pub fn plus(self, other: Amount) -> Amount {
        self.with(other, i64::saturating_add)
    }

    /// What is left, never less than nothing.
    fn minus(self, other: Amount) -> Amount {
        self.with(other, |left, right| left.saturating_sub(right).max(0))
    }

    /// The larger of each.
    pub fn or_more(self, other: Amount) -> Amount {
        self.with(other, i64::max)
    }

    fn with(self, other: Amount, combine: impl Fn(i64, i64) -> i64) -> Amount {
        Amount { usd: Nanodollars(combine(self.usd.0, other.usd.0)), tokens: combine(self.tokens, other.tokens) }
    }
}

impl Ceiling {
    /// No limit at all.
    pub fn is_none(self) -> bool {
        self.usd.is_none() && self.tokens.is_none()
    }

    /// Nanodollars or tokens.
    pub fn of(self, unit: Unit) -> Option<i64> {
        match unit {
            Unit::Usd => self.usd.map(|usd| usd.0),
            Unit::Tokens => self.tokens,
        }
    }
}

impl Unit {
    /// Both.
    pub const ALL: [Unit; 2] = [Unit::Usd, Unit::Tokens];

    /// The word for labels and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Usd => "usd",
            Unit::Tokens => "tokens",
        }
    }
}

impl Threshold {
    const ALL: [Threshold; 3] = [Threshold::Eighty, Threshold::NinetyFive, Threshold::Hundred];

    /// Of the limit.
    pub fn percent(self) -> u8 {
        match self {
            Threshold::Eighty => 80,
            Threshold::NinetyFive => 95,
            Threshold::Hundred => 100,
        }
    }

    /// The threshold of that many percent.
    pub fn from_percent(percent: i64) -> Option<Threshold> {
        Threshold::ALL.into_iter().find(|threshold| i64::from(threshold.percent()) == percent)
    }

    fn is_reached(self, spent: i64, limit: i64) -> bool {
        let hundredfold = |value: i64, times: u8| i128::from(value).saturating_mul(i128::from(times));
        hundredfold(spent, 100) >= hundredfold(limit, self.percent())
    }
}

impl Marks {
    fn or_higher(self, other: Marks) -> Marks {
        Marks { usd: self.usd.max(other.usd), tokens: self.tokens.max(other.tokens) }
    }

    /// Of one unit.
    pub fn of(self, unit: Unit) -> Option<Threshold> {
        match unit {
            Unit::Usd => self.usd,
            Unit::Tokens => self.tokens,
        }
    }
}

impl fmt::Display for Short {
    /// As `usd: limit 1, spent 0.2, reserved 0.8, asked 0.1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Short { unit, limit, spent, reserved, amount, kind: _ } = self;
        match unit {
            Unit::Usd => {
                let [limit, spent, reserved, amount] = [*limit, *spent, *reserved, *amount].map(Nanodollars);
                write!(f, "usd: limit {limit}, spent {spent}, reserved {reserved}, asked {amount}")
            }
            Unit::Tokens => write!(f, "tokens: limit {limit}, spent {spent}, reserved {reserved}, asked {amount}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOVEMBER: Period = Period(202611);
    const DECEMBER: Period = Period(202612);

    fn amount(usd: i64, tokens: i64) -> Amount {
        Amount { usd: Nanodollars(usd), tokens }
    }

    fn ceiling(usd: i64) -> Ceiling {
        Ceiling { usd: Some(Nanodollars(usd)), tokens: None }
    }

    fn month(spent: i64, reserved: i64) -> Month {
        let mut month = Month::new(NOVEMBER);
        month.restore(amount(spent, 0), Amount::default());
        month.reserve(Ceiling::default(), amount(reserved, 0)).unwrap();
        month
    }

    #[test]
    fn what_does_not_fit_says_whether_waiting_or_less_would_help() {
        for (spent, reserved, asked, kind) in [
            (0, 0, 100, None),
            (50, 40, 10, None),
            (99, 0, 0, None),
            (50, 40, 11, Some(ShortKind::Reserved)),
            (50, 50, 1, Some(ShortKind::Reserved)),
            (50, 40, 50, Some(ShortKind::Reserved)),
            (50, 40, 51, Some(ShortKind::TooLarge)),
            (0, 0, 101, Some(ShortKind::TooLarge)),
            (0, 0, i64::MAX, Some(ShortKind::TooLarge)),
            (100, 0, 1, Some(ShortKind::Spent)),
            (100, 0, 0, Some(ShortKind::Spent)),
            (120, 0, 1, Some(ShortKind::Spent)),
        ] {
            let mut month = month(spent, reserved);
            let before = month;

            let refused = month.reserve(ceiling(100), amount(asked, 7)).err();

            assert_eq!(refused.map(|short| short.kind), kind, "{spent} + {reserved} + {asked}");
            if let Some(short) = refused {
                assert_eq!((short.limit, short.spent, short.reserved), (100, spent, reserved));
                assert_eq!(month, before);
            }
        }
    }

    #[test]
    fn both_units_must_fit() {
        let both = Ceiling { usd: Some(Nanodollars(100)), tokens: Some(10) };
        let mut month = Month::new(NOVEMBER);

        let short = month.reserve(both, amount(1, 11)).unwrap_err();

        assert_eq!((short.unit, short.kind), (Unit::Tokens, ShortKind::TooLarge));
        assert_eq!(short.to_string(), "tokens: limit 10, spent 0, reserved 0, asked 11");
        assert_eq!(month.reserve(both, amount(100, 10)), Ok(()));
    }

    #[test]
    fn a_request_that_cost_more_than_it_held_overruns_by_the_difference_only() {
        let mut month = month(90, 0);
        month.reserve(ceiling(100), amount(10, 0)).unwrap();

        month.settle(amount(10, 0), amount(13, 5), ceiling(100));

        assert_eq!((month.spent(), month.reserved()), (amount(103, 5), Amount::default()));
        assert_eq!(month.remaining(ceiling(100)), ceiling(0));
        assert_eq!(month.reserve(ceiling(100), amount(0, 0)).unwrap_err().kind, ShortKind::Spent);
    }

    #[test]
    fn a_month_begins_once_and_an_earlier_hold_ends_in_its_own() {
        let mut cell = Cell::default();
        cell.enter(NOVEMBER).reserve(ceiling(100), amount(100, 0)).unwrap();

        cell.enter(DECEMBER).reserve(ceiling(100), amount(60, 0)).unwrap();
        cell.month_mut(NOVEMBER).unwrap().settle(amount(100, 0), amount(70, 0), ceiling(100));
        cell.month_mut(DECEMBER).unwrap().settle(amount(60, 0), amount(60, 0), ceiling(100));

        assert_eq!(cell.at(DECEMBER).spent(), amount(60, 0));
        assert_eq!(cell.month_mut(NOVEMBER).unwrap().spent(), amount(70, 0));
        assert_eq!(cell.enter(Period(202601)).period, DECEMBER, "a clock that went far back changes nothing");
        assert_eq!(cell.at(NOVEMBER).period, DECEMBER);
        assert_eq!(cell.enter(Period(202701)).spent(), Amount::default());
        assert!(cell.month_mut(NOVEMBER).is_none());
    }

    #[test]
    fn sums_that_no_account_could_hold_are_refused_or_stay_at_the_largest() {
        let mut month = month(1, i64::MAX - 2);

        assert_eq!(month.reserve(Ceiling::default(), amount(2, 0)).unwrap_err().kind, ShortKind::Reserved);
        assert_eq!(month.reserve(Ceiling::default(), amount(i64::MAX, 0)).unwrap_err().kind, ShortKind::TooLarge);
        month.settle(amount(i64::MAX - 2, 0), amount(i64::MAX, i64::MAX), Ceiling::default());
        assert_eq!(month.spent(), amount(i64::MAX, i64::MAX));
    }

    #[test]
    fn a_threshold_is_crossed_by_the_step_that_reaches_it() {
        for (before, after, limit, expected) in [
            (0, 79, 100, None),
            (79, 80, 100, Some(80)),
            (80, 94, 100, None),
            (94, 95, 100, Some(95)),
            (0, 99, 100, Some(95)),
            (99, 120, 100, Some(100)),
            (100, 200, 100, None),
            (0, i64::MAX, i64::MAX, Some(100)),
        ] {
            assert_eq!(crossed(before, after, limit).map(Threshold::percent), expected.map(|percent: u8| percent));
        }
    }

    #[test]
    fn a_threshold_is_told_once_a_month_even_if_the_limit_moves() {
        let mut month = Month::new(NOVEMBER);

        month.settle(Amount::default(), amount(85, 0), ceiling(100));
        assert_eq!(month.tell(month.passed()).usd, Some(Threshold::Eighty));
        assert_eq!(month.tell(month.passed()), Marks::default());
        month.settle(Amount::default(), amount(85, 0), ceiling(200));
        assert_eq!(month.tell(month.passed()), Marks::default());
        month.settle(Amount::default(), amount(30, 0), ceiling(200));
        assert_eq!(month.tell(month.passed()).usd, Some(Threshold::Hundred));
    }

    #[test]
    fn a_lease_covers_what_it_was_granted_for_and_a_lowered_limit_holds_at_once() {
        let mut month = Month::new(NOVEMBER);
        assert_eq!(month.reserve_leased(ceiling(100), amount(1, 0)), Err(Uncovered::Lease));

        month.take_lease(Amount::default(), amount(50, 0));
        month.hear(amount(20, 0), amount(30, 0), ceiling(100));
        month.reserve_leased(ceiling(100), amount(40, 0)).unwrap();

        assert_eq!(month.reserve_leased(ceiling(100), amount(11, 0)), Err(Uncovered::Lease));
        assert_eq!(month.reserve_leased(ceiling(60), amount(1, 0)), Err(Uncovered::Lease));
        assert!(matches!(month.reserve_leased(ceiling(20), amount(0, 0)), Err(Uncovered::Short(_))));
        month.settle(amount(40, 0), amount(5, 0), ceiling(100));
        assert_eq!(month.lease(), amount(45, 0));
        month.give_back();
        assert_eq!(month.lease(), Amount::default());
    }

    #[test]
    fn a_lease_includes_what_was_spent_while_the_answer_was_under_way() {
        let mut month = Month::new(NOVEMBER);
        month.take_lease(Amount::default(), amount(50, 0));
        month.reserve_leased(ceiling(100), amount(20, 0)).unwrap();
        let told = month.own_spent();

        month.settle(amount(20, 0), amount(20, 0), ceiling(100));
        month.take_lease(told, amount(60, 0));

        assert_eq!(month.lease(), amount(40, 0));
    }
}
