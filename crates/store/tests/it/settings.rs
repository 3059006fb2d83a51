//! Single values by name.

use crate::fixture::{Fixture, on_both};

on_both!(a_setting_is_what_was_written_last, of_many_who_insert_a_setting_the_first_decides_for_all);

async fn a_setting_is_what_was_written_last(fixture: Fixture) {
    assert_eq!(fixture.store.setting("a").await.unwrap(), None);

    fixture.store.set_setting("a", "1").await.unwrap();
    fixture.store.set_setting("a", "2").await.unwrap();

    assert_eq!(fixture.store.setting("a").await.unwrap().as_deref(), Some("2"));
}

async fn of_many_who_insert_a_setting_the_first_decides_for_all(fixture: Fixture) {
    let other = fixture.second_store().await;

    let (a, b, c) = tokio::join!(
        fixture.store.setting_or_insert("secret", "a"),
        other.setting_or_insert("secret", "b"),
        other.setting_or_insert("secret", "c"),
    );

    let kept = fixture.store.setting("secret").await.unwrap().unwrap();
    assert_eq!([a.unwrap(), b.unwrap(), c.unwrap()], [kept.clone(), kept.clone(), kept]);
}
