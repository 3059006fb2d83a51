//! Random lives of a gateway against a model of what has to be on the disk.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_accepted_hold_is_settled_once(steps in prop::collection::vec(step(), 1..120)) {
        let directory = directory();
        let mut journal = open(&directory).0;
        let mut witness = Witness::default();
        let mut open_holds: Vec<HoldId> = Vec::new();
        // Settled, but a crash may forget it.
        let mut unwritten: Vec<HoldId> = Vec::new();

        for step in steps {
            match step {
                Step::Reserve(n) => {
                    open_holds.push(witness.reserve(&journal, n).unwrap());
                    unwritten.clear();
                }
                Step::Settle(which, attempts) if !open_holds.is_empty() => {
                    let id = open_holds.swap_remove(which % open_holds.len());
                    witness.settle(&journal, id, attempts);
                    unwritten.push(id);
                }
                Step::Settle(..) => {}
                Step::Flush => {
                    journal.flush().unwrap();
                    unwritten.clear();
                }
                Step::Ship(max_entries) => witness.ship(&journal, max_entries).unwrap(),
                Step::Forget => {
                    journal.flush().unwrap();
                    unwritten.clear();
                    journal.forget(witness.position).unwrap();
                }
                Step::Crash => {
                    drop(journal);
                    let replay;
                    (journal, replay) = open(&directory);
                    open_holds.append(&mut unwritten);
                    open_holds.sort();
                    prop_assert!(replay.open.iter().map(|(id, _)| id).eq(&open_holds));
                    witness.examine(&journal, &replay);
                    for id in &open_holds {
                        witness.settled.remove(id);
                    }
                }
            }
        }

        for id in open_holds.drain(..) {
            witness.settle(&journal, id, 1);
        }
        journal.flush().unwrap();
        drop(journal);
        let (journal, replay) = open(&directory);
        witness.examine(&journal, &replay);
        prop_assert_eq!(replay.open, []);
        prop_assert!(witness.accepted.keys().eq(witness.settled.keys()));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Reserve(i64),
    Settle(usize, i64),
    Flush,
    Ship(usize),
    Forget,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..1_000_i64).prop_map(Step::Reserve),
        7 => (any::<usize>(), 0..3_i64).prop_map(|(which, attempts)| Step::Settle(which, attempts)),
        2 => Just(Step::Flush),
        3 => (1..6_usize).prop_map(Step::Ship),
        2 => Just(Step::Forget),
        1 => Just(Step::Crash),
    ]
}
