//! Keys, their revision, and the audit of their changes.

use catalog::Nanodollars;
use serde_json::Value;
use store::{AuditRow, Error, Key};

use crate::fixture::{Fixture, key, on_both};

on_both!(
    every_field_of_a_key_comes_back,
    a_taken_id_or_secret_is_a_conflict_and_changes_nothing,
    each_change_of_a_key_moves_the_revision_that_other_gateways_see,
    each_change_of_a_key_is_audited_without_its_hash,
    a_revoked_key_stays_revoked,
    an_edit_keeps_what_another_gateway_changed_before,
    a_key_that_is_gone_cannot_be_updated,
    the_audit_shows_the_newest_first_and_takes_notes,
    text_that_postgresql_cannot_hold_is_kept_in_part,
);

async fn every_field_of_a_key_comes_back(fixture: Fixture) {
    let full = Key {
        enabled: false,
        monthly_budget_usd: Some(Nanodollars(i64::MAX)),
        monthly_budget_tokens: Some(1),
        rpm: Some(2),
        tpm: Some(3),
        max_concurrent: Some(4),
        allowed_models: vec!["gpt-5".into(), "ollama/\"llama\"".into()],
        tags: vec!["Straße 🚀".into()],
        expires_at_ms: Some(5_000),
        updated_at_ms: 6_000,
        revoked_at_ms: Some(7_000),
        hash: std::array::from_fn(|index| u8::try_from(index * 8).unwrap()),
        ..key("key_full", 0)
    };
    let bare = key("key_bare", 255);

    fixture.store.insert_key(&full, "admin").await.unwrap();
    fixture.store.insert_key(&bare, "admin").await.unwrap();

    assert_eq!(fixture.store.key("key_full").await.unwrap(), Some(full.clone()));
    assert_eq!(fixture.store.keys().await.unwrap(), [bare, full]);
    assert_eq!(fixture.store.key("key_none").await.unwrap(), None);
}

async fn a_taken_id_or_secret_is_a_conflict_and_changes_nothing(fixture: Fixture) {
    let store = &fixture.store;
    store.insert_key(&key("key_a", 1), "admin").await.unwrap();
    store.insert_key(&key("key_b", 2), "admin").await.unwrap();
    let revision = store.revision().await.unwrap();

    let taken_id = store.insert_key(&key("key_a", 3), "admin").await;
    let taken_hash = store.insert_key(&key("key_c", 1), "admin").await;
    let rotated_to_taken = store.update_key(&key("key_b", 1), "admin").await;

    for refused in [taken_id, taken_hash, rotated_to_taken] {
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    }
    assert_eq!(store.revision().await.unwrap(), revision);
    assert_eq!(store.audit(10).await.unwrap().len(), 2);
    assert_eq!(store.keys().await.unwrap(), [key("key_a", 1), key("key_b", 2)]);
}

async fn each_change_of_a_key_moves_the_revision_that_other_gateways_see(fixture: Fixture) {
    let other = fixture.second_store().await;
    let mut revisions = vec![other.revision().await.unwrap()];

    fixture.store.insert_key(&key("key_a", 1), "admin").await.unwrap();
    revisions.push(other.revision().await.unwrap());
    fixture.store.update_key(&Key { enabled: false, ..key("key_a", 1) }, "admin").await.unwrap();
    revisions.push(other.revision().await.unwrap());

    assert!(revisions.is_sorted_by(|earlier, later| earlier < later), "{revisions:?}");
    assert!(!other.key("key_a").await.unwrap().unwrap().enabled);
}

async fn each_change_of_a_key_is_audited_without_its_hash(fixture: Fixture) {
    let store = &fixture.store;
    let made = Key { monthly_budget_usd: Some(Nanodollars(2_500_000_000)), ..key("key_a", 0xab) };
    let rotated = Key { hash: [0xcd; 32], hint: "new".into(), updated_at_ms: 2_000, ..made.clone() };
    let revoked = Key { revoked_at_ms: Some(3_000), updated_at_ms: 3_000, ..rotated.clone() };

    store.insert_key(&made, "anna").await.unwrap();
    store.update_key(&rotated, "ben").await.unwrap();
    store.update_key(&revoked, "cem").await.unwrap();

    let audit = store.audit(10).await.unwrap();
    let told: Vec<_> = audit.iter().map(|row| (row.at_ms, row.actor.as_str(), row.action.as_str())).collect();
    assert_eq!(told, [(3_000, "cem", "key.revoke"), (2_000, "ben", "key.rotate"), (1_000, "anna", "key.create")]);
    assert!(audit.iter().all(|row| row.target == "key_a"));
    assert_eq!(audit[2].before, None);
    assert_eq!(audit[1].before, audit[2].after);
    let after: Value = serde_json::from_str(audit[2].after.as_deref().unwrap()).unwrap();
    assert_eq!((&after["monthly_budget_usd"], &after["name"]), (&2.5.into(), &"reports".into()));
    let text = format!("{audit:?}");
    assert!(!text.contains("hash") && !text.contains("abab") && !text.contains("171"), "{text}");
}

async fn a_revoked_key_stays_revoked(fixture: Fixture) {
    let store = &fixture.store;
    let revoked = Key { revoked_at_ms: Some(2_000), ..key("key_a", 1) };
    store.insert_key(&key("key_a", 1), "admin").await.unwrap();
    store.update_key(&revoked, "admin").await.unwrap();

    let late = store.update_key(&Key { name: "renamed".into(), ..key("key_a", 1) }, "admin").await;

    assert!(matches!(late, Err(Error::Conflict(_))), "{late:?}");
    assert_eq!(store.key("key_a").await.unwrap(), Some(revoked));
}

async fn an_edit_keeps_what_another_gateway_changed_before(fixture: Fixture) {
    let other = fixture.second_store().await;
    fixture.store.insert_key(&key("key_a", 1), "admin").await.unwrap();

    let (renamed, rotated) = tokio::join!(
        fixture.store.change_key("key_a", "admin", |key| key.name = "renamed".into()),
        other.change_key("key_a", "admin", |key| key.hash = [9; 32]),
    );

    renamed.unwrap();
    rotated.unwrap();
    let expected = Key { name: "renamed".into(), ..key("key_a", 9) };
    assert_eq!(fixture.store.key("key_a").await.unwrap(), Some(expected));
}

async fn a_key_that_is_gone_cannot_be_updated(fixture: Fixture) {
    let gone = fixture.store.update_key(&key("key_none", 1), "admin").await;

    assert!(matches!(gone, Err(Error::Conflict(_))), "{gone:?}");
    assert_eq!(fixture.store.audit(10).await.unwrap(), []);
}

async fn the_audit_shows_the_newest_first_and_takes_notes(fixture: Fixture) {
    let note = |at_ms, before: Option<&str>| AuditRow {
        at_ms,
        actor: "admin".into(),
        action: "settings.change".into(),
        target: "cache".into(),
        before: before.map(Into::into),
        after: Some("{}".into()),
    };

    for row in [note(3, None), note(1, Some("1")), note(2, Some("2"))] {
        fixture.store.note(&row).await.unwrap();
    }

    assert_eq!(fixture.store.audit(2).await.unwrap(), [note(2, Some("2")), note(1, Some("1"))]);
}

async fn text_that_postgresql_cannot_hold_is_kept_in_part(fixture: Fixture) {
    fixture.store.insert_key(&Key { name: "a\0b".into(), ..key("key_a", 1) }, "admin").await.unwrap();

    assert_eq!(fixture.store.key("key_a").await.unwrap().unwrap().name, "a\u{FFFD}b");
}
