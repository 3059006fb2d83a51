//! One connection at work, and the statements, values and rows that are the same for both databases.
//!
//! Every wait ends after [`PATIENCE`]. A session that was cut short, by that, by an error or by a dropped future, may
//! be anywhere in a transaction or an answer; its connection is closed, never lent again, and the database rolls back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::future::Future;
use std::io;
use std::time::Duration;

use parking_lot::Mutex;
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
            ($connection:expr, $row:path, $marker:expr) => {{
                let mut query = sqlx::query(statement.text.sql($marker));
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
            Connection::Sqlite(connection) => rows!(connection, Row::Sqlite, Marker::Nameless),
            Connection::Postgres(connection) => rows!(connection, Row::Postgres, Marker::Numbered),
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
    text: Text,
    values: Vec<Value<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Text {
    Whole(&'static str),
    Rows { before: &'static str, rows: usize, columns: usize, after: &'static str },
}

/// How a parameter is written. SQLite searches all the names of a statement for each that it binds, and knows
/// parameters without a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Marker {
    Numbered,
    Nameless,
}

impl<'a> Statement<'a> {
    pub(crate) fn new(sql: &'static str) -> Statement<'a> {
        Statement { text: Text::Whole(sql), values: Vec::new() }
    }

    /// `before`, then VALUES with that many rows of that many parameters, then `after`. Before and after have none. Few
    /// different numbers of rows should be used: each is a text and a prepared statement of its own.
    pub(crate) fn with_rows(before: &'static str, rows: usize, columns: usize, after: &'static str) -> Statement<'a> {
        let values = Vec::with_capacity(rows.saturating_mul(columns));
        Statement { text: Text::Rows { before, rows, columns, after }, values }
    }

    /// Adds the value of the next parameter.
    pub(crate) fn bind(mut self, value: impl Into<Value<'a>>) -> Statement<'a> {
        self.values.push(value.into());
        self
    }
}

impl Text {
    fn sql(self, marker: Marker) -> SqlStr {
        static MADE: Mutex<BTreeMap<(Text, Marker), SqlStr>> = Mutex::new(BTreeMap::new());
        let (before, rows, columns, after) = match self {
            Text::Whole(sql) => return sql.into_sql_str(),
            Text::Rows { before, rows, columns, after } => (before, rows, columns, after),
        };
        let mut made = MADE.lock();
        let make = || AssertSqlSafe(values(before, rows, columns, after, marker)).into_sql_str();
        made.entry((self, marker)).or_insert_with(make).clone()
    }
}

fn values(before: &str, rows: usize, columns: usize, after: &str, marker: Marker) -> String {
    let mut sql = format!("{before} VALUES ");
    for parameter in 1..=rows.saturating_mul(columns) {
        sql.push_str(match parameter {
            1 => "(",
            _ if parameter % columns == 1 => "), (",
            _ => ", ",
        });
        match marker {
            // Writing to a string cannot fail.
            Marker::Numbered => drop(write!(sql, "${parameter}")),
            Marker::Nameless => sql.push('?'),
        }
    }
    sql + ") " + after
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
