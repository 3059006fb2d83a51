//! What the journal promises, seen from its own door.

mod crashes;
mod faults;
mod many;
mod model;
mod power;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use catalog::Nanodollars;
use tempfile::TempDir;

use std::sync::atomic::Ordering;

use super::disk::Disk;
use super::disk::faults::Faults;
use super::waiting::Staged;
use super::{Fsync, Journal, Options, Replay};
use crate::{Entry, Error, Hold, HoldId, Period, Position};

#[test]
fn a_settled_hold_is_read_and_an_open_one_is_found_by_the_next_start() {
    let directory = directory();
    let (journal, replay) = open(&directory);
    assert_eq!(replay.open, []);
    let paid = journal.reserve(&hold(1)).unwrap();
    let left = journal.reserve(&hold(2)).unwrap();
    journal.settle(paid, &entries(paid, 2));
    journal.flush().unwrap();
    drop(journal);

    let (journal, replay) = open(&directory);

    assert_eq!(replay.open, [(left, hold(2))]);
    assert_eq!(replay.damaged, 0);
    assert_eq!(rest(&journal, Position::default()).0, entries(paid, 2));
}

#[test]
fn a_hold_without_entries_is_closed() {
    let directory = directory();
    let (journal, _) = open(&directory);
    let unsent = journal.reserve(&hold(1)).unwrap();
    journal.settle(unsent, &[]);
    journal.flush().unwrap();
    drop(journal);

    let (journal, replay) = open(&directory);

    assert_eq!(replay.open, []);
    assert_eq!(rest(&journal, Position::default()).0, []);
}

#[test]
fn settlements_go_out_with_the_next_reservation() {
    let directory = directory();
    let (journal, _) = open(&directory);
    let first = journal.reserve(&hold(1)).unwrap();
    journal.settle(first, &entries(first, 1));
    assert!(journal.pending_bytes() > 0);
    assert_eq!(rest(&journal, Position::default()).0, []);

    journal.reserve(&hold(2)).unwrap();

    assert_eq!(journal.pending_bytes(), 0);
    assert_eq!(rest(&journal, Position::default()).0, entries(first, 1));
}

#[test]
fn only_the_first_settlement_of_a_hold_counts() {
    let directory = directory();
    let (journal, _) = open(&directory);
    let id = journal.reserve(&hold(1)).unwrap();

    journal.settle(id, &entries(id, 1));
    journal.settle(id, &entries(id, 2));
    journal.flush().unwrap();
    journal.settle(id, &entries(id, 3));
    journal.flush().unwrap();

    assert_eq!(rest(&journal, Position::default()).0, entries(id, 1));
}

#[test]
fn a_second_gateway_is_refused_while_the_first_one_lives() {
    let directory = directory();
    let (journal, first) = open(&directory);

    let refusal = Journal::open(directory.path(), small()).unwrap_err();
    assert_eq!(refusal.to_string(), "another gateway uses this data directory");
    drop(journal);

    assert_eq!(open(&directory).1.instance, first.instance);
    assert_eq!(first.instance.len(), 16);
}

#[test]
fn numbers_of_holds_rise_over_restarts() {
    let directory = directory();
    let mut numbers = Vec::new();
    for _ in 0..5 {
        let (journal, _) = open(&directory);
        numbers.extend((0..20).map(|n| journal.reserve(&hold(n)).unwrap()));
        let (_, end) = rest(&journal, Position::default());
        journal.forget(end).unwrap();
    }

    assert!(numbers.is_sorted_by(|one, next| one < next));
}

#[test]
fn reading_goes_on_exactly_where_it_stopped() {
    let directory = directory();
    let (journal, _) = open(&directory);
    let mut expected = Vec::new();
    for n in 0..40 {
        let id = journal.reserve(&hold(n)).unwrap();
        journal.settle(id, &entries(id, n % 3));
        expected.extend(entries(id, n % 3));
    }
    journal.flush().unwrap();
    assert!(journal.directory.segments().unwrap().len() > 3);

    let (mut read, mut position) = (Vec::new(), Position::default());
    loop {
        let (entries, next) = journal.read(position, 1).unwrap();
        assert!(entries.len() <= 2);
        read.extend(entries);
        if next == position {
            break;
        }
        position = next;
    }

    assert_eq!(read, expected);
}

#[test]
fn a_position_behind_the_end_is_an_error_and_not_silence() {
    let directory = directory();
    let (journal, _) = open(&directory);

    let result = journal.read(Position { segment: 1, offset: 10 }, 1);

    assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
}

#[test]
fn open_holds_outlive_their_segments_over_generations() {
    let directory = directory();
    let mut left = BTreeMap::new();
    for generation in 0..4 {
        let (journal, replay) = open(&directory);
        assert_eq!(replay.open, left.clone().into_iter().collect::<Vec<_>>());
        left.insert(journal.reserve(&hold(generation)).unwrap(), hold(generation));
        for n in 0..60 {
            let id = journal.reserve(&hold(n)).unwrap();
            journal.settle(id, &entries(id, 1));
            journal.flush().unwrap();
            let (_, end) = rest(&journal, Position::default());
            journal.forget(end).unwrap();
            assert!(journal.directory.segments().unwrap().len() <= 2);
        }
    }

    let (journal, replay) = open(&directory);
    replay.open.iter().for_each(|(id, _)| journal.settle(*id, &entries(*id, 1)));
    journal.flush().unwrap();
    drop(journal);

    assert_eq!(replay.open, left.into_iter().collect::<Vec<_>>());
    assert_eq!(open(&directory).1.open, []);
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;

    let parent = directory();
    let path = parent.path().join("journal");
    let _journal = Journal::open(&path, small()).unwrap();

    let mode_of = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode_of(&path), 0o700);
    for file in std::fs::read_dir(&path).unwrap() {
        assert_eq!(mode_of(&file.unwrap().path()), 0o600);
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Segments so small that a few records fill one.
fn small() -> Options {
    Options { segment_bytes: 1_500, ..Options::default() }
}

/// On a disk that is well, and whose syncs take no time.
fn open(directory: &TempDir) -> (Journal, Replay) {
    open_on(directory, &Faults::at(u64::MAX..=u64::MAX), small()).unwrap()
}

fn open_on(directory: &TempDir, faults: &Faults, options: Options) -> Result<(Journal, Replay), Error> {
    Journal::open_on(Disk { faults: faults.clone() }, directory.path(), options)
}

/// All entries after a position, and where the journal ends.
fn rest(journal: &Journal, from: Position) -> (Vec<Entry>, Position) {
    journal.read(from, usize::MAX).unwrap()
}

/// A hold of `n` nanodollars.
fn hold(n: i64) -> Hold {
    Hold {
        request_id: format!("req_{n}"),
        key_id: "key_1".to_owned(),
        provider: "openai".to_owned(),
        model: "gpt-5".to_owned(),
        cost: Some(Nanodollars(n)),
        tokens: 7,
        at_ms: 1,
        period: Period(202_611),
    }
}

/// The attempts that a hold was spent on.
fn entries(hold: HoldId, attempts: i64) -> Vec<Entry> {
    let entry = |attempt| Entry {
        hold,
        attempt,
        request_id: "request \"\n1".to_owned(),
        key_id: "key_1".to_owned(),
        provider: "openai".to_owned(),
        model: "gpt-5".to_owned(),
        outcome: "ok".to_owned(),
        at_ms: 2,
        period: Period(202_611),
        input_tokens: 1,
        cached_input_tokens: 0,
        cache_write_tokens: 0,
        output_tokens: 2,
        reasoning_tokens: 0,
        cost: (attempt > 0).then_some(Nanodollars(attempt)),
        is_estimated: false,
    };
    (0..attempts).map(entry).collect()
}

#[test]
fn reservations_that_are_staged_together_share_one_write() {
    let directory = directory();
    let (journal, _) = open(&directory);
    let before = journal.writes.load(Ordering::Acquire);
    let staged: Vec<Staged> = (0..10).map(|n| journal.stage(&hold(n))).collect();

    staged.iter().for_each(|staged| journal.commit(staged).unwrap());

    assert_eq!(journal.writes.load(Ordering::Acquire), before + 1);
    drop(journal);
    assert_eq!(open(&directory).1.open.len(), 10);
}

#[test]
fn a_reservation_that_is_given_up_before_it_is_written_is_not_open() {
    let directory = directory();
    let (journal, _) = open(&directory);
    let (given_up, kept) = (journal.stage(&hold(1)), journal.stage(&hold(2)));
    journal.settle(given_up.id, &[]);
    journal.flush().unwrap();
    journal.commit(&kept).unwrap();

    drop(journal);

    assert_eq!(open(&directory).1.open, [(kept.id, hold(2))]);
}

/// What the gateway and its database remember of a journal.
#[derive(Default)]
struct Witness {
    accepted: BTreeMap<HoldId, Hold>,
    settled: BTreeMap<HoldId, Vec<Entry>>,
    shipped: Vec<Entry>,
    position: Position,
}

impl Witness {
    fn reserve(&mut self, journal: &Journal, n: i64) -> Option<HoldId> {
        let id = journal.reserve(&hold(n)).ok()?;
        assert_eq!(self.accepted.insert(id, hold(n)), None, "a number was given twice");
        Some(id)
    }

    fn settle(&mut self, journal: &Journal, id: HoldId, attempts: i64) {
        journal.settle(id, &entries(id, attempts));
        self.settled.insert(id, entries(id, attempts));
    }

    /// Entries and position get into the database together or not at all.
    fn ship(&mut self, journal: &Journal, max_entries: usize) -> Result<(), Error> {
        let (entries, position) = journal.read(self.position, max_entries)?;
        self.shipped.extend(entries);
        self.position = position;
        Ok(())
    }

    /// After a crash: an accepted hold is open, or its settlement is there, once and as it was.
    fn examine(&mut self, journal: &Journal, replay: &Replay) {
        assert_eq!(replay.damaged, 0);
        self.ship(journal, usize::MAX).unwrap();
        let open: BTreeMap<HoldId, Hold> = replay.open.iter().cloned().collect();
        let mut seen: BTreeMap<HoldId, Vec<Entry>> = BTreeMap::new();
        for entry in &self.shipped {
            seen.entry(entry.hold).or_default().push(entry.clone());
        }
        for (id, hold) in &self.accepted {
            match (open.get(id), self.settled.get(id)) {
                (Some(found), _) => {
                    assert_eq!(found, hold);
                    assert_eq!(seen.get(id), None, "a hold is open and settled");
                }
                (None, None) => panic!("{id:?} is lost"),
                (None, Some(settled)) => assert_eq!(seen.get(id).map_or(&[][..], Vec::as_slice), settled),
            }
        }
        let known: BTreeSet<_> = self.accepted.keys().collect();
        assert!(open.keys().chain(seen.keys()).all(|id| known.contains(id)), "a refused hold is kept");
    }
}
