//! One connection at work, and the statements, values and rows that are the same for both databases.
//!
//! Every wait ends after [`PATIENCE`]. A session that was cut short, by that, by an error or by a dropped future, may
//! be anywhere in a transaction or an answer; its connection is closed, never lent again, and the database rolls back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::future::Future;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Decode, Postgres, Row as _, SqlSafeStr, SqlStr, Sqlite, Type};

use crate::Error;

/// How long a connection, and then each statement, may take: longer than a healthy database needs, short enough for
/// a person to wait for the error.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// A connection on loan. [`Session::commit`] and [`Session::end`] give it back, dropping closes it.
pub(crate) struct Session {
    /// `None` only while it is given back.
    lent: Option<Connection>,
}

pub(crate) enum Connection {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

impl Session {
    pub(crate) fn new(connection: Connection) -> Session {
        Session { lent: Some(connection) }
    }

    /// Runs a statement to its end and returns its rows.
    pub(crate) async fn rows(&mut self, statement: Statement<'_>) -> Result<Vec<Row>, Error> {
        macro_rules! rows {
            ($connection:expr, $row:path) => {{
                let mut query = sqlx::query(statement.sql);
                for value in statement.values {
                    query = match value {
                        Value::Text(text) => query.bind(text),
                        Value::Number(number) => query.bind(number),
                    };
                }
                within(PATIENCE, query.fetch_all(&mut **$connection)).await?.into_iter().map($row).collect()
            }};
        }
        Ok(match self.connection()? {
            Connection::Sqlite(connection) => rows!(connection, Row::Sqlite),
            Connection::Postgres(connection) => rows!(connection, Row::Postgres),
        })
    }

    /// Makes what was done since [`Store::begin`](crate::Store) permanent. Where this fails or is dropped, it may
    /// have become permanent or not.
    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        self.rows(Statement::new("COMMIT")).await?;
        self.end();
        Ok(())
    }

    /// Gives the connection back.
    pub(crate) fn end(mut self) {
        drop(self.lent.take());
    }

    pub(crate) fn connection(&mut self) -> Result<&mut Connection, Error> {
        self.lent.as_mut().ok_or_else(|| sqlx::Error::PoolClosed.into())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        match self.lent.take() {
            Some(Connection::Sqlite(connection)) => drop(connection.detach()),
            Some(Connection::Postgres(connection)) => drop(connection.detach()),
            None => {}
        }
    }
}

/// SQL with the values of its parameters `$1`, `$2`, ….
pub(crate) struct Statement<'a> {
    sql: SqlStr,
    values: Vec<Value<'a>>,
}

impl<'a> Statement<'a> {
    pub(crate) fn new(sql: &'static str) -> Statement<'a> {
        Statement { sql: sql.into_sql_str(), values: Vec::new() }
    }

    /// `before`, then VALUES with that many rows of that many parameters, then `after`.
    pub(crate) fn with_rows(before: &'static str, rows: usize, columns: usize, after: &'static str) -> Statement<'a> {
        // As many as there are statements, times the few numbers of rows that they are used with.
        static TEXTS: Mutex<BTreeMap<(&str, usize, &str), SqlStr>> = Mutex::new(BTreeMap::new());
        let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
        let text = texts.entry((before, rows, after));
        let sql = text.or_insert_with(|| AssertSqlSafe(values(before, rows, columns, after)).into_sql_str()).clone();
        Statement { sql, values: Vec::with_capacity(rows.saturating_mul(columns)) }
    }

    /// Adds the value of the next parameter.
    pub(crate) fn bind(mut self, value: impl Into<Value<'a>>) -> Statement<'a> {
        self.values.push(value.into());
        self
    }
}

fn values(before: &str, rows: usize, columns: usize, after: &str) -> String {
    let mut sql = format!("{before} VALUES ");
    for parameter in 1..=rows.saturating_mul(columns) {
        let separator = match parameter {
            1 => "(",
            _ if parameter % columns == 1 => "), (",
            _ => ", ",
        };
        // Writing to a string cannot fail.
        let _ = write!(sql, "{separator}${parameter}");
    }
    let _ = write!(sql, ") {after}");
    sql
}

/// What a parameter can be.
pub(crate) enum Value<'a> {
    Text(Option<Cow<'a, str>>),
    Number(Option<i64>),
}

impl<'a> From<&'a str> for Value<'a> {
    /// U+0000 becomes U+FFFD: PostgreSQL would refuse it, and with it the whole batch, each time anew.
    fn from(text: &'a str) -> Value<'a> {
        Value::Text(Some(if text.contains('\0') { text.replace('\0', "\u{FFFD}").into() } else { text.into() }))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Value<'a> {
        Value::from(text.as_str())
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Value<'a> {
        text.map_or(Value::Text(None), Value::from)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Number(Some(number))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        Value::Number(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(yes: bool) -> Self {
        Value::Number(Some(yes.into()))
    }
}

/// One row of an answer, read by the names of its columns.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(crate) fn text(&self, column: &str) -> Result<String, Error> {
        self.get(column)
    }

    pub(crate) fn text_or_null(&self, column: &str) -> Result<Option<String>, Error> {
        self.get(column)
    }

    pub(crate) fn number(&self, column: &str) -> Result<i64, Error> {
        self.get(column)
    }

    pub(crate) fn number_or_null(&self, column: &str) -> Result<Option<i64>, Error> {
        self.get(column)
    }

    fn get<T>(&self, column: &str) -> Result<T, Error>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        Ok(match self {
            Row::Sqlite(row) => row.try_get(column)?,
            Row::Postgres(row) => row.try_get(column)?,
        })
    }
}

/// The outcome, or that there was none in time.
pub(crate) async fn within<T, E: Into<Error>>(
    patience: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Error> {
    match tokio::time::timeout(patience, work).await {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(_) => Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into()).into()),
    }
}
