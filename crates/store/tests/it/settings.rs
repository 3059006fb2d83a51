//! Single values by name.

use store::SettingChange;

use crate::fixture::{Fixture, on_both};

on_both!(
    a_setting_is_what_was_written_last,
    of_many_who_insert_a_setting_the_first_decides_for_all,
    a_change_of_a_setting_is_audited_and_moves_the_revision,
);

async fn a_change_of_a_setting_is_audited_and_moves_the_revision(fixture: Fixture) {
    let store = &fixture.store;
    let before = store.revision().await.unwrap();
    let change = |value, at_ms| SettingChange { name: "routing", value, actor: "admin", at_ms };

    store.change_setting(change("{\"a\":1}", 1)).await.unwrap();
    store.change_setting(change("{\"a\":2}", 2)).await.unwrap();

    assert_eq!(store.setting("routing").await.unwrap().as_deref(), Some("{\"a\":2}"));
    assert_eq!(store.revision().await.unwrap(), before + 2);
    let history = store.audit_of("routing", 10).await.unwrap();
    let steps: Vec<_> = history.iter().map(|row| (row.before.as_deref(), row.after.as_deref())).collect();
    assert_eq!(steps, [(Some("{\"a\":1}"), Some("{\"a\":2}")), (None, Some("{\"a\":1}"))]);
    assert!(store.audit_of("other", 10).await.unwrap().is_empty());
}

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
