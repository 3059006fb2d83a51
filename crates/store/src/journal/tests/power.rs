//! Waiting until a record would survive a power cut.

use std::sync::Arc;

use super::*;

#[tokio::test]
async fn those_who_wait_together_share_one_sync() {
    let (directory, faults) = (directory(), Faults::default());
    let journal = Arc::new(open_on(&directory, &faults, always()).unwrap().0);
    for n in 0..3 {
        journal.reserve(&hold(n)).unwrap();
    }
    let before = faults.calls();

    let (first, second, third) = tokio::join!(journal.synced(), journal.synced(), journal.synced());

    first.and(second).and(third).unwrap();
    assert_eq!(faults.calls() - before, 1);
}

#[tokio::test]
async fn all_who_waited_for_a_sync_that_failed_are_refused() {
    let (directory, faults) = (directory(), Faults::default());
    let journal = Arc::new(open_on(&directory, &faults, always()).unwrap().0);
    journal.reserve(&hold(1)).unwrap();
    faults.start();
    journal.synced().await.unwrap_err();
    faults.end();

    journal.synced().await.unwrap_err();
    assert!(!journal.is_writable());

    journal.reserve(&hold(2)).unwrap();
    journal.synced().await.unwrap();
    assert!(journal.is_writable());
}

#[tokio::test]
async fn with_an_interval_no_one_waits() {
    let (directory, faults) = (directory(), Faults::default());
    let journal = Arc::new(open_on(&directory, &faults, small()).unwrap().0);
    journal.reserve(&hold(1)).unwrap();
    let before = faults.calls();

    journal.synced().await.unwrap();

    assert_eq!(faults.calls(), before);
}

fn always() -> Options {
    Options { fsync: Fsync::Always, ..Options::default() }
}
