//! What the journal costs a request, on one thread and on two, and what 100,000 records cost a start.

#![expect(clippy::expect_used, reason = "a bench without its files has no figure")]

use std::path::Path;
use std::thread;

use catalog::Nanodollars;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use store::journal::{Journal, Options};
use store::{Entry, Hold, HoldId, Period, Position};

fn journal(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    let (journal, _) = Journal::open(directory.path(), Options::default()).expect("a journal");
    for threads in [1, 2] {
        let mut group = criterion.benchmark_group("reserve and settle");
        group.throughput(Throughput::Elements(threads * REQUESTS));
        group.bench_function(format!("{threads} threads, {REQUESTS} requests each"), |bencher| {
            let make_room = || journal.forget(Position { segment: u64::MAX, offset: 0 }).expect("segments go");
            let serve = |()| {
                thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(|| requests(&journal, REQUESTS)))));
            };
            bencher.iter_batched(make_room, serve, BatchSize::PerIteration);
        });
    }
    drop(journal);
    replay(criterion, directory.path());
}

fn replay(criterion: &mut Criterion, directory: &Path) {
    let directory = directory.join("replay");
    {
        let (journal, _) = Journal::open(&directory, Options::default()).expect("a journal");
        requests(&journal, 50_000);
        journal.flush().expect("a flush");
    }
    criterion.bench_function("replay of 100000 records", |bencher| {
        bencher.iter(|| Journal::open(&directory, Options::default()).expect("a journal"));
    });
    let (journal, _) = Journal::open(&directory, Options::default()).expect("a journal");
    criterion.bench_function("read of 50000 entries", |bencher| {
        bencher.iter(|| journal.read(Position::default(), usize::MAX).expect("entries"));
    });
}

fn requests(journal: &Journal, count: u64) {
    let hold = hold();
    let mut entry = entry();
    for _ in 0..count {
        entry.hold = journal.reserve(&hold).expect("a hold");
        journal.settle(entry.hold, std::slice::from_ref(&entry));
    }
}

fn hold() -> Hold {
    Hold {
        request_id: "req_01hzy3v7q2k8m4n6p9r1s5t7w0".to_owned(),
        key_id: "key_4f7h2k9m3n5p".to_owned(),
        provider: "anthropic".to_owned(),
        model: "claude-sonnet-4-5".to_owned(),
        cost: Some(Nanodollars(61_440_000)),
        tokens: 5_120,
        at_ms: 1_762_000_000_000,
        period: Period(202_611),
    }
}

fn entry() -> Entry {
    Entry {
        hold: HoldId(0),
        attempt: 0,
        request_id: "req_01hzy3v7q2k8m4n6p9r1s5t7w0".to_owned(),
        key_id: "key_4f7h2k9m3n5p".to_owned(),
        provider: "anthropic".to_owned(),
        model: "claude-sonnet-4-5".to_owned(),
        outcome: "ok".to_owned(),
        at_ms: 1_762_000_001_234,
        period: Period(202_611),
        input_tokens: 1_024,
        cached_input_tokens: 512,
        cache_write_tokens: 0,
        output_tokens: 333,
        reasoning_tokens: 0,
        cost: Some(Nanodollars(8_067_000)),
        is_estimated: false,
    }
}

const REQUESTS: u64 = 1_000;

criterion_group!(benches, journal);
criterion_main!(benches);
