//! Answers that are given again.

use store::CachedAnswer;

use crate::fixture::{Fixture, on_both};

on_both!(answers_are_kept_until_their_time_and_read_newest_first, rejected_pairs_are_kept_once);

fn answer(id: &str, made_at_ms: i64, expires_at_ms: i64) -> CachedAnswer {
    let entry = format!("{{\"id\":\"{id}\",\"at\":{made_at_ms}}}");
    CachedAnswer { id: id.to_owned(), owner: "key_1".to_owned(), made_at_ms, expires_at_ms, entry }
}

async fn answers_are_kept_until_their_time_and_read_newest_first(fixture: Fixture) {
    let store = &fixture.store;
    let all = [answer("a", 10, 100), answer("b", 20, 50), answer("c", 20, 100), answer("d", 30, 100)];
    store.keep_cached(&all).await.unwrap();
    let newer = answer("a", 40, 140);
    store.keep_cached(std::slice::from_ref(&newer)).await.unwrap();

    let first = store.cached(50, None, 2).await.unwrap();
    assert_eq!(first, [newer.clone(), all[3].clone()]);
    let rest = store.cached(50, Some((30, "d")), 2).await.unwrap();
    assert_eq!(rest, [all[2].clone()], "one is past its time");

    store.forget_cached(&["d".to_owned(), "unknown".to_owned()]).await.unwrap();
    store.forget_expired(100).await.unwrap();
    assert_eq!(store.cached(0, None, 10).await.unwrap(), [newer]);
    store.forget_all_cached().await.unwrap();
    assert_eq!(store.cached(0, None, 10).await.unwrap(), []);
}

async fn rejected_pairs_are_kept_once(fixture: Fixture) {
    let store = &fixture.store;
    for (pair, at_ms) in [("a", 1), ("b", 2), ("c", 3), ("a", 4)] {
        store.reject_pair(pair, at_ms).await.unwrap();
    }

    assert_eq!(store.rejected_pairs(2).await.unwrap(), ["c", "a"]);
}
