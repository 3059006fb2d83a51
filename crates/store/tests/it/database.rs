//! Opening, migrating, and what a database may be besides ours.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use secrecy::SecretString;
use sqlx::{Connection, PgConnection, SqliteConnection};
use store::{Error, Location, Store};
use testkit::Postgres;

use crate::fixture::{Fixture, on_both};

on_both!(
    migrating_twice_changes_nothing,
    a_database_of_a_newer_gateway_is_refused,
    a_closed_store_says_that_it_is_not_available
);

async fn migrating_twice_changes_nothing(fixture: Fixture) {
    fixture.store.set_setting("a", "1").await.unwrap();

    fixture.second_store().await.migrate().await.unwrap();

    assert_eq!(fixture.store.setting("a").await.unwrap().as_deref(), Some("1"));
    fixture.store.ping().await.unwrap();
}

async fn a_database_of_a_newer_gateway_is_refused(fixture: Fixture) {
    const SQL: &str = "UPDATE _sqlx_migrations SET version = 7 WHERE version = 1";
    match &fixture.location {
        Location::Sqlite(path) => {
            let mut connection = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
            sqlx::query(SQL).execute(&mut connection).await.unwrap();
        }
        Location::Postgres(url) => {
            let mut connection = PgConnection::connect(secrecy::ExposeSecret::expose_secret(url)).await.unwrap();
            sqlx::query(SQL).execute(&mut connection).await.unwrap();
        }
    }

    let refused = fixture.store.migrate().await.unwrap_err();

    assert!(matches!(refused, Error::Corrupt { .. }), "{refused:?}");
    let sentence = "the database has tables of version 7, made by a newer gateway; this one knows version 3";
    assert_eq!(refused.to_string(), sentence);
}

async fn a_closed_store_says_that_it_is_not_available(fixture: Fixture) {
    fixture.store.close().await;

    assert!(matches!(fixture.store.ping().await, Err(Error::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_start_together_on_postgresql_migrate_once() {
    let location = Location::Postgres(SecretString::from(Postgres::shared().create_database()));
    let (a, b) = (Store::open(&location).await.unwrap(), Store::open(&location).await.unwrap());

    let (first, second) = tokio::join!(a.migrate(), b.migrate());

    first.unwrap();
    second.unwrap();
    a.set_setting("a", "1").await.unwrap();
    assert_eq!(b.setting("a").await.unwrap().as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_start_together_on_sqlite_migrate_once() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Sqlite(folder.path().join("gateway.db"));

    let (first, second) = tokio::join!(Store::open(&location), Store::open(&location));

    first.unwrap().set_setting("a", "1").await.unwrap();
    assert_eq!(second.unwrap().setting("a").await.unwrap().as_deref(), Some("1"));
}

#[tokio::test]
async fn a_new_sqlite_file_is_for_its_owner_alone() {
    let fixture = Fixture::sqlite().await;
    fixture.store.set_setting("a", "1").await.unwrap();

    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = fixture.file();
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(&file.with_extension("db-wal")), 0o600);
    assert_eq!(mode(file.parent().unwrap()), 0o700);
    assert_eq!((fixture.store.title(), fixture.store.is_postgres()), ("SQLite", false));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let letter = "Dear diary, ".repeat(1_000);
    fs::write(&path, &letter).unwrap();

    let refused = Store::open(&Location::Sqlite(path.clone())).await.unwrap_err();

    assert!(matches!(refused, Error::Corrupt { .. }), "{refused:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), letter);
}

#[tokio::test]
async fn a_url_that_is_not_postgresqls_is_refused_without_its_password() {
    for url in ["", "gateway.db", "mysql://root:hunter2@host/db", "postgres://root:hunter2@host:port/db"] {
        let refused = Store::open(&Location::Postgres(SecretString::from(url))).await.unwrap_err();

        assert!(matches!(refused, Error::Corrupt { .. }), "{refused:?}");
        assert!(!format!("{refused} {refused:?}").contains("hunter2"), "{refused:?}");
    }
}
