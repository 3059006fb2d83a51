//! Many threads at one journal.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

#[test]
fn sums_are_right_after_many_threads_and_a_crash() {
    const THREADS: i64 = 4;
    const HOLDS: i64 = 400;
    let directory = directory();
    let (journal, _) = Journal::open(directory.path(), Options { segment_bytes: 40_000, ..small() }).unwrap();
    let is_over = AtomicBool::new(false);

    let (mut witness, shipper) = thread::scope(|scope| {
        let gateway = |thread: i64| {
            let (journal, mut witness) = (&journal, Witness::default());
            move || {
                for n in 0..HOLDS {
                    let id = witness.reserve(journal, thread * HOLDS + n).unwrap();
                    if n % 50 != 0 {
                        witness.settle(journal, id, n % 4);
                    }
                }
                witness
            }
        };
        let gateways: Vec<_> = (0..THREADS).map(|thread| scope.spawn(gateway(thread))).collect();
        let shipper = scope.spawn(|| {
            let mut shipper = Witness::default();
            while !is_over.load(Ordering::Relaxed) {
                journal.flush().unwrap();
                shipper.ship(&journal, 50).unwrap();
                journal.forget(shipper.position).unwrap();
            }
            shipper
        });
        let mut all = Witness::default();
        for gateway in gateways {
            let witness = gateway.join().unwrap();
            all.accepted.extend(witness.accepted);
            all.settled.extend(witness.settled);
        }
        is_over.store(true, Ordering::Relaxed);
        (all, shipper.join().unwrap())
    });
    journal.flush().unwrap();
    drop(journal);

    let (journal, replay) = open(&directory);
    (witness.shipped, witness.position) = (shipper.shipped, shipper.position);
    witness.examine(&journal, &replay);
    assert_eq!(witness.accepted.len() as i64, THREADS * HOLDS);
    assert_eq!(replay.open.len() as i64, THREADS * HOLDS / 50);
    let sum = |entries: &[Entry]| entries.iter().filter_map(|entry| entry.cost).map(|cost| cost.0).sum::<i64>();
    assert_eq!(sum(&witness.shipped), witness.settled.values().map(|entries| sum(entries)).sum::<i64>());
}
