//! Rows, sums and positions: that every entry counts exactly once.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use catalog::Nanodollars;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use store::{Entry, EntryFilter, Error, HoldId, Period, Position, Store, Total};
use tokio::runtime::Runtime;

use crate::fixture::{Fixture, NOVEMBER, entry, on_both};

on_both!(
    every_field_of_an_entry_comes_back,
    a_batch_that_is_brought_twice_counts_once,
    a_batch_whose_call_was_dropped_anywhere_counts_once_when_brought_again,
    an_entry_that_comes_in_two_batches_counts_once,
    entries_without_a_price_are_counted_apart,
    entries_are_shown_newest_first_by_request_or_by_key_and_month,
    ten_thousand_entries_go_into_one_batch,
    instances_that_record_at_once_lose_nothing_and_do_not_block_one_another,
    a_sum_that_no_account_can_hold_is_refused_as_a_whole,
);

async fn every_field_of_an_entry_comes_back(fixture: Fixture) {
    let full = Entry {
        request_id: "Straße 🚀".into(),
        outcome: "estimated_crash".into(),
        at_ms: 1_763_900_000_000,
        input_tokens: 1,
        cached_input_tokens: 2,
        cache_write_tokens: 3,
        output_tokens: 4,
        reasoning_tokens: 5,
        cost: Some(Nanodollars(i64::MAX)),
        is_estimated: true,
        ..entry(i64::MAX.cast_unsigned(), 7, "key_a")
    };

    fixture.store.record("a", at(9), std::slice::from_ref(&full)).await.unwrap();

    assert_eq!(of_key(&fixture.store, "key_a").await, [full]);
    assert_eq!(fixture.store.position("a").await.unwrap(), Some(at(9)));
    assert_eq!(fixture.store.position("b").await.unwrap(), None);
}

async fn a_batch_that_is_brought_twice_counts_once(fixture: Fixture) {
    let batch = [entry(1, 0, "key_a"), entry(1, 1, "key_a"), entry(2, 0, "key_b")];

    for upto in [at(9), at(9), at(8), Position { segment: 0, offset: 999 }] {
        fixture.store.record("a", upto, &batch).await.unwrap();
    }

    assert_eq!(fixture.store.position("a").await.unwrap(), Some(at(9)));
    assert_eq!(of_key(&fixture.store, "key_a").await.len(), 2);
    let totals = [("a".into(), total("key_a", 2, 1)), ("a".into(), total("key_b", 1, 1))];
    assert_eq!(fixture.store.totals(NOVEMBER).await.unwrap(), totals);
    assert_eq!(fixture.store.totals(Period(202612)).await.unwrap(), []);
}

async fn a_batch_whose_call_was_dropped_anywhere_counts_once_when_brought_again(fixture: Fixture) {
    let mut expected = 0;
    for polls in 0.. {
        expected += 1;
        let (upto, batch) = (at(expected), [entry(expected, 0, "key_a")]);

        let finished = poll_at_most(polls, fixture.store.record("a", upto, &batch)).await;
        fixture.store.record("a", upto, &batch).await.unwrap();

        let requests = i64::try_from(expected).unwrap();
        let totals = fixture.store.totals(NOVEMBER).await.unwrap();
        assert_eq!(totals, [("a".into(), total("key_a", requests, requests))], "after {polls} polls");
        if finished {
            return;
        }
    }
}

async fn an_entry_that_comes_in_two_batches_counts_once(fixture: Fixture) {
    fixture.store.record("a", at(1), &[entry(1, 0, "key_a")]).await.unwrap();
    // The same hold of another instance is another hold.
    fixture.store.record("b", at(1), &[entry(1, 0, "key_a")]).await.unwrap();

    fixture
        .store
        .record("a", at(2), &[entry(1, 0, "key_a"), entry(2, 0, "key_a"), entry(2, 0, "key_a")])
        .await
        .unwrap();

    let totals = [("a".into(), total("key_a", 2, 2)), ("b".into(), total("key_a", 1, 1))];
    assert_eq!(fixture.store.totals(NOVEMBER).await.unwrap(), totals);
}

async fn entries_without_a_price_are_counted_apart(fixture: Fixture) {
    let unpriced = Entry { cost: None, ..entry(1, 0, "key_a") };

    fixture.store.record("a", at(1), &[unpriced.clone(), entry(2, 0, "key_a")]).await.unwrap();

    let sum = Total { cost: Nanodollars(15), unpriced: 1, ..total("key_a", 2, 2) };
    assert_eq!(fixture.store.totals(NOVEMBER).await.unwrap(), [("a".into(), sum)]);
    assert_eq!(of_key(&fixture.store, "key_a").await[1], unpriced);
}

async fn entries_are_shown_newest_first_by_request_or_by_key_and_month(fixture: Fixture) {
    let december = Entry { period: Period(202612), ..entry(4, 0, "key_a") };
    let (first, second, third) = (entry(1, 0, "key_a"), entry(1, 1, "key_a"), entry(3, 0, "key_b"));
    let batch = [first.clone(), second.clone(), third, december.clone()];
    fixture.store.record("a", at(1), &batch).await.unwrap();

    let entries = async |filter, limit| fixture.store.entries(filter, limit).await.unwrap();

    assert_eq!(entries(EntryFilter::Request("request-1"), 10).await, [second.clone(), first.clone()]);
    assert_eq!(entries(EntryFilter::Key { id: "key_a", period: NOVEMBER }, 10).await, [second.clone(), first]);
    assert_eq!(entries(EntryFilter::Key { id: "key_a", period: NOVEMBER }, 1).await, [second]);
    assert_eq!(entries(EntryFilter::Key { id: "key_a", period: Period(202612) }, 1).await, [december]);
    assert_eq!(entries(EntryFilter::Request("request-9"), 10).await, []);
}

async fn ten_thousand_entries_go_into_one_batch(fixture: Fixture) {
    let batch: Vec<Entry> = (0..10_000).map(|hold| entry(hold, 0, &format!("key_{}", hold % 700))).collect();

    fixture.store.record("a", at(1), &batch).await.unwrap();

    let totals = fixture.store.totals(NOVEMBER).await.unwrap();
    assert_eq!(totals.len(), 700);
    assert_eq!(totals.iter().map(|(_, total)| total.requests).sum::<i64>(), 10_000);
}

async fn instances_that_record_at_once_lose_nothing_and_do_not_block_one_another(fixture: Fixture) {
    let other = fixture.second_store().await;
    let record = async |store: &Store, instance: &str, is_reversed: bool| {
        for round in 0..20 {
            let mut batch: Vec<Entry> =
                (0..50).map(|number| entry(round * 50 + number, 0, &format!("key_{}", number % 10))).collect();
            if is_reversed {
                batch.reverse();
            }
            store.record(instance, at(round), &batch).await.unwrap();
        }
    };

    // The last two are one instance twice, as after a restart that came too early.
    tokio::join!(
        record(&fixture.store, "a", false),
        record(&other, "b", true),
        record(&fixture.store, "c", false),
        record(&other, "c", true),
    );

    let totals = fixture.store.totals(NOVEMBER).await.unwrap();
    assert_eq!(totals.len(), 30);
    assert!(totals.iter().all(|(_, sum)| (sum.requests, sum.cost.0) == (100, 1_500)), "{totals:?}");
}

async fn a_sum_that_no_account_can_hold_is_refused_as_a_whole(fixture: Fixture) {
    let dear = |hold| Entry { cost: Some(Nanodollars(i64::MAX)), ..entry(hold, 0, "key_a") };

    let refused = fixture.store.record("a", at(1), &[dear(1), dear(2)]).await;

    assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
    assert_eq!(of_key(&fixture.store, "key_a").await, []);
    assert_eq!(fixture.store.position("a").await.unwrap(), None);
}

#[test]
fn rows_and_totals_agree_after_any_batches_on_sqlite() {
    let runtime = Runtime::new().unwrap();
    check_sums(32, &runtime, || runtime.block_on(Fixture::sqlite()));
}

#[test]
fn rows_and_totals_agree_after_any_batches_on_postgresql() {
    let runtime = Runtime::new().unwrap();
    check_sums(6, &runtime, || runtime.block_on(Fixture::postgres()));
}

/// Brings random batches, some twice, some overlapping, and adds up what the ledger shows.
fn check_sums(cases: u32, runtime: &Runtime, fixture: impl Fn() -> Fixture) {
    let batch = proptest::collection::vec(any_entry(), 0..20);
    let batches = proptest::collection::vec((0..3usize, 1..9u64, batch), 1..12);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });

    let outcome = runner.run(&batches, |batches| {
        let fixture = fixture();
        runtime.block_on(async {
            for (instance, upto, batch) in &batches {
                fixture.store.record(INSTANCES[*instance], at(*upto), batch).await.unwrap();
            }
            for period in MONTHS {
                let mut sums = BTreeMap::<String, (i64, i64, i64, i64)>::new();
                for (_, total) in fixture.store.totals(period).await.unwrap() {
                    let sum = sums.entry(total.key_id).or_default();
                    sum.0 += total.cost.0;
                    sum.1 += total.tokens;
                    sum.2 += total.requests;
                    sum.3 += total.unpriced;
                }
                for key_id in KEYS {
                    let filter = EntryFilter::Key { id: key_id, period };
                    let rows = fixture.store.entries(filter, 10_000).await.unwrap();
                    let expected = rows.iter().fold((0, 0, 0, 0), |sum, row| {
                        let tokens = row.input_tokens + row.output_tokens;
                        let cost = row.cost.unwrap_or_default().0;
                        (
                            sum.0 + cost,
                            sum.1 + tokens,
                            sum.2 + i64::from(row.attempt == 0),
                            sum.3 + i64::from(row.cost.is_none()),
                        )
                    });
                    prop_assert_eq!(sums.remove(key_id).unwrap_or_default(), expected);
                }
                prop_assert!(sums.is_empty());
            }
            Ok::<(), TestCaseError>(())
        })
    });

    outcome.unwrap();
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let numbers = (0..30u64, 0..3i64, 0..1_000i64, 0..1_000i64);
    let names = (0..KEYS.len(), 0..MONTHS.len(), proptest::option::of(-5..1_000_000_000_000i64));
    (numbers, names).prop_map(|((hold, attempt, input_tokens, output_tokens), (key, month, cost))| Entry {
        hold: HoldId(hold),
        period: MONTHS[month],
        input_tokens,
        output_tokens,
        cost: cost.map(Nanodollars),
        ..entry(hold, attempt, KEYS[key])
    })
}

/// Drops the future after so many polls. True if it ended before.
async fn poll_at_most(polls: u32, future: impl Future) -> bool {
    let (mut future, mut left) = (pin!(future), polls);
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}

async fn of_key(store: &Store, id: &str) -> Vec<Entry> {
    store.entries(EntryFilter::Key { id, period: NOVEMBER }, 100).await.unwrap()
}

/// The total of entries as the fixture makes them.
fn total(key_id: &str, entries: i64, requests: i64) -> Total {
    Total { key_id: key_id.into(), cost: Nanodollars(15 * entries), tokens: 3 * entries, requests, unpriced: 0 }
}

fn at(offset: u64) -> Position {
    Position { segment: 1, offset }
}

const INSTANCES: [&str; 3] = ["a", "b", "c"];
const KEYS: [&str; 3] = ["key_a", "key_b", store::ANONYMOUS];
const MONTHS: [Period; 2] = [NOVEMBER, Period(202612)];
