//! A database of its own for each test, and what goes into it.

use std::path::PathBuf;

use catalog::Nanodollars;
use secrecy::SecretString;
use store::{Entry, HoldId, Key, Location, Period, Store};
use tempfile::TempDir;
use testkit::Postgres;

/// An empty, migrated database.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) location: Location,
    _folder: Option<TempDir>,
}

impl Fixture {
    pub(crate) async fn sqlite() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(folder.path().join("data/gateway.db"));
        let store = Store::open(&location).await.unwrap();
        Fixture { store, location, _folder: Some(folder) }
    }

    pub(crate) async fn postgres() -> Fixture {
        let location = Location::Postgres(SecretString::from(Postgres::shared().create_database()));
        let store = Store::open(&location).await.unwrap();
        store.migrate().await.unwrap();
        Fixture { store, location, _folder: None }
    }

    /// The same database through other connections, as another gateway has it.
    pub(crate) async fn second_store(&self) -> Store {
        Store::open(&self.location).await.unwrap()
    }

    pub(crate) fn file(&self) -> PathBuf {
        match &self.location {
            Location::Sqlite(path) => path.clone(),
            Location::Postgres(_) => panic!("no file"),
        }
    }
}

/// Runs each of these functions of a fixture as a test on either database.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::fixture::Fixture::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::fixture::Fixture::postgres().await).await;
            })+
        }
    };
}
pub(crate) use on_both;

pub(crate) const NOVEMBER: Period = Period(202611);

/// A key without limits.
pub(crate) fn key(id: &str, hash: u8) -> Key {
    Key {
        id: id.into(),
        hash: [hash; 32],
        hint: "sk-gw-…f00d".into(),
        name: "reports".into(),
        environment: "production".into(),
        enabled: true,
        monthly_budget_usd: None,
        monthly_budget_tokens: None,
        rpm: None,
        tpm: None,
        max_concurrent: None,
        allowed_models: vec![],
        tags: vec![],
        expires_at_ms: None,
        created_at_ms: 1_000,
        updated_at_ms: 1_000,
        revoked_at_ms: None,
    }
}

/// An attempt that cost 15 nanodollars and 3 tokens.
pub(crate) fn entry(hold: u64, attempt: i64, key_id: &str) -> Entry {
    Entry {
        hold: HoldId(hold),
        attempt,
        request_id: format!("request-{hold}"),
        key_id: key_id.into(),
        provider: "openai".into(),
        model: "gpt-5-mini".into(),
        outcome: "ok".into(),
        at_ms: 1_000_i64.saturating_add_unsigned(hold),
        period: NOVEMBER,
        input_tokens: 2,
        cached_input_tokens: 1,
        cache_write_tokens: 0,
        output_tokens: 1,
        reasoning_tokens: 1,
        cost: Some(Nanodollars(15)),
        is_estimated: false,
    }
}
