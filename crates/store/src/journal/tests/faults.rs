//! The disk fails at the n-th call, for every n.

use super::*;

#[test]
fn whichever_call_fails_no_money_is_lost_by_a_crash_afterwards() {
    for length in [1, 2, 3, 5, u64::MAX] {
        for_every_call(length, |directory, faults, witness| {
            if let Ok((journal, _)) = open_on(directory, faults, small()) {
                story(&journal, witness);
            }
        });
    }
}

#[test]
fn whichever_calls_fail_the_journal_recovers_by_itself() {
    for length in [1, 2, 3, 5, 40] {
        for_every_call(length, |directory, faults, witness| {
            let Ok((journal, _)) = open_on(directory, faults, small()) else { return };
            story(&journal, witness);
            faults.end();

            journal.flush().unwrap();
            journal.sync().unwrap();
            assert!(journal.is_writable(), "{:?}", journal.failure());
            assert_eq!(journal.pending_bytes(), 0);
            witness.reserve(&journal, 1_000).unwrap();
            witness.ship(&journal, usize::MAX).unwrap();
            journal.forget(witness.position).unwrap();
            let shipped: BTreeSet<HoldId> = witness.shipped.iter().map(|entry| entry.hold).collect();
            let paid = witness.settled.iter().filter(|(_, entries)| !entries.is_empty());
            assert!(paid.map(|(id, _)| id).eq(&shipped));
        });
    }
}

#[test]
fn a_restart_on_a_failing_disk_can_be_repeated() {
    let mut call = 1;
    loop {
        let directory = directory();
        let mut witness = Witness::default();
        let (journal, _) = open(&directory);
        story(&journal, &mut witness);
        tear(&journal);
        drop(journal);

        let faults = Faults::at(call..=call);
        drop(open_on(&directory, &faults, small()));

        let (journal, replay) = open(&directory);
        witness.examine(&journal, &replay);
        if faults.calls() < call {
            break;
        }
        call += 1;
    }
    assert!(call > 4);
}

#[test]
fn a_full_disk_refuses_reservations_and_keeps_settlements() {
    let (directory, faults) = (directory(), Faults::default());
    let (journal, _) = open_on(&directory, &faults, Options::default()).unwrap();
    let ids: Vec<HoldId> = (0..10).map(|n| journal.reserve(&hold(n)).unwrap()).collect();
    faults.start();

    ids.iter().for_each(|&id| journal.settle(id, &entries(id, 1)));
    assert!(matches!(journal.reserve(&hold(11)), Err(Error::File { action: "write", .. })));
    assert!(journal.flush().is_err());
    assert!(!journal.is_writable());
    assert!(journal.failure().unwrap().contains("no storage space"));
    faults.end();

    journal.flush().unwrap();
    assert!(journal.is_writable());
    assert_eq!(journal.pending_bytes(), 0);
    assert_eq!(rest(&journal, Position::default()).0.len(), 10);
}

#[test]
fn without_traffic_a_flush_finds_out_that_the_disk_is_well_again() {
    let (directory, faults) = (directory(), Faults::default());
    let (journal, _) = open_on(&directory, &faults, small()).unwrap();
    faults.start();
    journal.reserve(&hold(1)).unwrap_err();
    journal.flush().unwrap_err();
    assert!(!journal.is_writable());
    faults.end();

    journal.flush().unwrap();

    assert!(journal.is_writable());
    assert_eq!(journal.failure(), None);
}

#[test]
fn settlements_beyond_the_memory_leave_their_holds_open() {
    let (directory, faults) = (directory(), Faults::default());
    let options = Options { pending_bytes: 1_000, ..small() };
    let (journal, _) = open_on(&directory, &faults, options).unwrap();
    let ids: Vec<HoldId> = (0..10).map(|n| journal.reserve(&hold(n)).unwrap()).collect();
    faults.start();

    ids.iter().for_each(|&id| journal.settle(id, &entries(id, 1)));
    assert!((500..=1_000).contains(&journal.pending_bytes()));
    journal.reserve(&hold(11)).unwrap_err();
    faults.end();
    journal.flush().unwrap();
    let settled = rest(&journal, Position::default()).0.len();
    drop(journal);

    let open_now = open(&directory).1.open.len();
    assert!(settled > 0 && open_now > 0, "{settled} settled, {open_now} open");
    assert_eq!(settled + open_now, 10);
}

/// Runs a story with calls `n..n + length` failing, crashes, and looks at what is left; for every `n`.
fn for_every_call(length: u64, tell: impl Fn(&TempDir, &Faults, &mut Witness)) {
    for first in 1.. {
        let directory = directory();
        let faults = Faults::at(first..=first.saturating_add(length - 1));
        let mut witness = Witness::default();
        tell(&directory, &faults, &mut witness);

        let (journal, replay) = open(&directory);
        witness.examine(&journal, &replay);
        if faults.calls() < first {
            assert!(first > 50, "the story makes {first} calls");
            return;
        }
    }
}

/// Some minutes of a gateway: every third hold stays open for a while, every seventh for ever.
fn story(journal: &Journal, witness: &mut Witness) {
    let mut late = Vec::new();
    for n in 0..24 {
        if let Some(id) = witness.reserve(journal, n) {
            if n % 7 == 0 {
            } else if n % 3 == 0 {
                late.push(id);
            } else {
                witness.settle(journal, id, n % 4);
            }
        }
        if n % 4 == 3 {
            let _ = journal.flush();
        }
        if n % 6 == 5 {
            late.drain(..).for_each(|id| witness.settle(journal, id, 1));
            let _ = witness.ship(journal, 5);
            let _ = journal.sync();
            let _ = witness.ship(journal, 5);
            let _ = journal.forget(witness.position);
        }
    }
}

/// Leaves half a record at the end, as if the process had been killed while it wrote.
fn tear(journal: &Journal) {
    let tail = journal.tail.lock();
    std::io::Write::write_all(&mut &*tail.current.file, b"01234567 {\"reserve\":{\"id\":1").unwrap();
}
