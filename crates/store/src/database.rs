//! The database: one SQLite file, or a PostgreSQL that several gateways share.
//!
//! Both get the same SQL, a constant beside its method: `keys.rs`, `usage.rs`, `settings.rs`, `cache.rs` and `audit.rs` each hold
//! one part of [`Store`]. Nothing on the path of a request waits for it.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, PgPool, SqlSafeStr, SqlitePool};

use crate::Error;
use crate::session::{self, Connection, PATIENCE, Row, Session, Statement};

/// Where the database is.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file, made where it is missing.
    Sqlite(PathBuf),
    /// A URL as libpq reads it, `postgres://user:password@host/database`.
    Postgres(SecretString),
}

/// Keys, settings and accounts in a database. Copies share its connections.
///
/// Every method gives [`Error::Unavailable`] when the database lets it wait for more than a second, for a connection
/// or for one statement; [`Store::migrate`] waits longer. A dropped future leaves nothing half done.
#[derive(Clone, Debug)]
pub struct Store {
    pool: Pool,
}

#[derive(Clone, Debug)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Store {
    /// SQLite is opened, made where it is missing (for its owner alone), and migrated. PostgreSQL is not asked yet,
    /// so that this works while it is down: [`Store::migrate`] is left to do.
    pub async fn open(location: &Location) -> Result<Store, Error> {
        match location {
            Location::Sqlite(path) => {
                let store = Store { pool: Pool::Sqlite(open_sqlite(path).await?) };
                store.migrate().await?;
                Ok(store)
            }
            Location::Postgres(url) => Ok(Store { pool: Pool::Postgres(open_postgres(url)?) }),
        }
    }

    /// Brings the tables up to date; several gateways may do so at once. [`Error::Corrupt`] where a newer version of
    /// ours was here before.
    pub async fn migrate(&self) -> Result<(), Error> {
        let migrator = Migrator::with_migrations(MIGRATIONS.map(migration).into());
        let mut session = self.session().await?;
        match session.connection()? {
            Connection::Sqlite(connection) => {
                let work = async {
                    // sqlx lets migrations of SQLite run at once; the transaction lets the second wait for the first.
                    let mut transaction = connection.begin_with(BEGIN_SQLITE).await?;
                    migrator.run_direct(None, &mut *transaction, false).await?;
                    transaction.commit().await.map_err(MigrateError::from)
                };
                session::within(MIGRATION_PATIENCE, work).await?;
            }
            Connection::Postgres(connection) => {
                session::within(MIGRATION_PATIENCE, migrator.run_direct(None, &mut **connection, false)).await?;
            }
        }
        session.end();
        Ok(())
    }

    /// Whether the database answers now.
    pub async fn ping(&self) -> Result<(), Error> {
        self.rows(Statement::new("SELECT 1")).await.map(drop)
    }

    /// Ends all connections, waiting for those at work, though not for long. The store is of no use afterwards.
    pub async fn close(&self) {
        // Whatever did not end in time ends with the process.
        let _ = match &self.pool {
            Pool::Sqlite(pool) => tokio::time::timeout(PATIENCE, pool.close()).await,
            Pool::Postgres(pool) => tokio::time::timeout(PATIENCE, pool.close()).await,
        };
    }

    /// Whether other gateways can share it.
    pub fn is_postgres(&self) -> bool {
        match self.pool {
            Pool::Sqlite(_) => false,
            Pool::Postgres(_) => true,
        }
    }

    /// What the database calls itself.
    pub fn title(&self) -> &'static str {
        match self.pool {
            Pool::Sqlite(_) => "SQLite",
            Pool::Postgres(_) => "PostgreSQL",
        }
    }

    /// Runs one statement, a transaction by itself.
    pub(crate) async fn rows(&self, statement: Statement<'_>) -> Result<Vec<Row>, Error> {
        let mut session = self.session().await?;
        let rows = session.rows(statement).await?;
        session.end();
        Ok(rows)
    }

    /// Begins a transaction that will write; it is undone unless [`Session::commit`] ends it.
    pub(crate) async fn begin(&self) -> Result<Session, Error> {
        let begin = match self.pool {
            Pool::Sqlite(_) => BEGIN_SQLITE,
            Pool::Postgres(_) => "BEGIN",
        };
        let mut session = self.session().await?;
        session.rows(Statement::new(begin)).await?;
        Ok(session)
    }

    async fn session(&self) -> Result<Session, Error> {
        Ok(Session::new(match &self.pool {
            Pool::Sqlite(pool) => Connection::Sqlite(pool.acquire().await?),
            Pool::Postgres(pool) => Connection::Postgres(pool.acquire().await?),
        }))
    }
}

async fn open_sqlite(path: &Path) -> Result<SqlitePool, Error> {
    create_for_owner(path).await.map_err(|source| Error::File {
        action: "create",
        path: path.display().to_string(),
        source,
    })?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(SQLITE_BUSY_TIMEOUT)
        .pragma("wal_autocheckpoint", SQLITE_CHECKPOINT_PAGES)
        .disable_statement_logging();
    let pool = SqlitePoolOptions::new().max_connections(SQLITE_CONNECTIONS).acquire_timeout(PATIENCE);
    // Turning a new file to WAL is the one step for which SQLite does not wait.
    for _ in 0..SQLITE_TRIES {
        match pool.clone().connect_with(options.clone()).await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(SQLITE_BUSY) => {
                tokio::time::sleep(SQLITE_PAUSE).await;
            }
            connected => return Ok(connected?),
        }
    }
    Ok(pool.connect_with(options).await?)
}

/// SQLite gives the files beside it the same permissions.
async fn create_for_owner(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).await?;
    }
    tokio::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).await.map(drop)
}

fn open_postgres(url: &SecretString) -> Result<PgPool, Error> {
    let url = url.expose_secret();
    if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return Err(Error::Corrupt { what: "the PostgreSQL URL does not begin with `postgres://`".into() });
    }
    let mut options = PgConnectOptions::from_str(url)
        .map_err(|error| Error::Corrupt { what: format!("the PostgreSQL URL cannot be read: {error}") })?
        .disable_statement_logging();
    if options.get_application_name().is_none() {
        options = options.application_name("llm-gateway");
    }
    let pool = PgPoolOptions::new().max_connections(POSTGRES_CONNECTIONS).acquire_timeout(PATIENCE);
    Ok(pool.connect_lazy_with(options))
}

fn migration((version, name, sql): (i64, &'static str, &'static str)) -> Migration {
    Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
}

impl From<MigrateError> for Error {
    fn from(error: MigrateError) -> Error {
        let what = match error {
            MigrateError::VersionMissing(version) => format!(
                "the database has tables of version {version}, made by a newer gateway; this one knows version {}",
                MIGRATIONS.len()
            ),
            MigrateError::VersionMismatch(version) => {
                format!("version {version} of the database's tables is not the one of this gateway")
            }
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => return Error::from(error),
            other => other.to_string(),
        };
        Error::Corrupt { what }
    }
}

/// A transaction of SQLite's that does not lock the file at once may be refused when it comes to write.
const BEGIN_SQLITE: &str = "BEGIN IMMEDIATE";

/// Number, name and text; a text never changes once it was released.
const MIGRATIONS: [(i64, &str, &str); 3] = [
    (1, "start", include_str!("../migrations/0001_start.sql")),
    (2, "feedback", include_str!("../migrations/0002_feedback.sql")),
    (3, "cache", include_str!("../migrations/0003_cache.sql")),
];

/// Pages of 4 KiB after which the write-ahead log is brought home: more than SQLite's 1,000, because the same few pages
/// are written again and again.
const SQLITE_CHECKPOINT_PAGES: &str = "8000";
/// How often a file is tried that another process is making, and the pause in between: two seconds in all.
const SQLITE_TRIES: usize = 100;
const SQLITE_PAUSE: Duration = Duration::from_millis(20);
/// The code of SQLite's SQLITE_BUSY.
const SQLITE_BUSY: &str = "5";

/// Other gateways may be at it first, and an index over millions of rows takes its time; but a connection that died
/// unseen must not keep a gateway waiting for good.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(600);
/// How long SQLite itself waits for another writer of the file.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// One writes, the others read the dashboard's pages.
const SQLITE_CONNECTIONS: u32 = 4;
/// Enough for the accounts, the polling and the dashboard of one gateway; ten gateways stay below PostgreSQL's 100.
const POSTGRES_CONNECTIONS: u32 = 8;
