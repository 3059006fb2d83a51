//! Databases that do not answer. Patience is one second for a connection and one for a statement.

use std::time::{Duration, Instant};

use secrecy::SecretString;
use sqlx::{Connection, SqliteConnection};
use store::{Error, Location, Position, Store};
use testkit::Postgres;

use crate::fixture::{Fixture, NOVEMBER, entry};

/// Two seconds and what a busy machine adds.
const PATIENCE: Duration = Duration::from_millis(2_800);

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_stops_is_soon_not_available_and_works_again_when_it_goes_on() {
    let postgres = Postgres::start();
    let store = Store::open(&Location::Postgres(SecretString::from(postgres.create_database()))).await.unwrap();
    store.migrate().await.unwrap();
    let upto = Position { segment: 1, offset: 1 };

    postgres.freeze();
    for _ in 0..3 {
        let begun = now();
        let refused = store.record("a", upto, &[entry(1, 0, "key_a")]).await;
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    }
    postgres.thaw();

    store.record("a", upto, &[entry(1, 0, "key_a")]).await.unwrap();
    assert_eq!(store.totals(NOVEMBER).await.unwrap()[0].1.requests, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_is_killed_is_not_available_and_works_again_after_its_restart() {
    let postgres = Postgres::start();
    let store = Store::open(&Location::Postgres(SecretString::from(postgres.create_database()))).await.unwrap();
    store.migrate().await.unwrap();
    store.record("a", Position { segment: 1, offset: 1 }, &[entry(1, 0, "key_a")]).await.unwrap();

    postgres.kill();
    let begun = now();
    let refused = store.ping().await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    postgres.start_again();

    store.record("a", Position { segment: 1, offset: 2 }, &[entry(2, 0, "key_a")]).await.unwrap();
    assert_eq!(store.totals(NOVEMBER).await.unwrap()[0].1.requests, 2);
}

#[tokio::test]
async fn a_postgresql_that_is_not_there_lets_a_store_open_all_the_same() {
    // Nothing listens on port 1.
    let location = Location::Postgres(SecretString::from("postgres://postgres@127.0.0.1:1/gateway"));

    let store = Store::open(&location).await.unwrap();

    assert!(matches!(store.ping().await, Err(Error::Unavailable(_))));
    assert!(matches!(store.migrate().await, Err(Error::Unavailable(_))));
    assert_eq!((store.title(), store.is_postgres()), ("PostgreSQL", true));
}

#[tokio::test]
async fn a_sqlite_file_that_another_program_writes_is_not_available_until_it_has_ended() {
    let fixture = Fixture::sqlite().await;
    let mut other = SqliteConnection::connect(fixture.file().to_str().unwrap()).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();

    let begun = now();
    let refused = fixture.store.set_setting("a", "1").await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    other.close().await.unwrap();

    fixture.store.set_setting("a", "2").await.unwrap();
    assert_eq!(fixture.store.setting("a").await.unwrap().as_deref(), Some("2"));
}

#[expect(clippy::disallowed_methods, reason = "how long a caller really waits is what is tested")]
fn now() -> Instant {
    Instant::now()
}
