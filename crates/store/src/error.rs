//! What can go wrong with what we keep.

use std::io;

/// Why something could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database did not answer, or not in time; the same call may work later.
    #[error("the database is not available")]
    Unavailable(#[source] Box<sqlx::Error>),
    /// What is there contradicts what was to be written: a name that is taken, a row that is gone.
    #[error("{0}")]
    Conflict(&'static str),
    /// What is there cannot be read: another program's file, a version of ours that is newer, a damaged record.
    #[error("{what}")]
    Corrupt {
        /// What was found, where.
        what: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} `{path}`")]
    File {
        /// What was tried: `open`, `write`, `sync`.
        action: &'static str,
        /// Which file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

/// What a database's error means for the caller.
impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Error {
        match &error {
            sqlx::Error::Database(refused) if refused.is_unique_violation() => {
                Error::Conflict("something with this name or secret exists already")
            }
            sqlx::Error::Database(refused) if is_for_good(&refused.code().unwrap_or_default()) => {
                Error::Corrupt { what: format!("the database refuses: {refused}") }
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) | sqlx::Error::Decode(_) => {
                Error::Corrupt { what: format!("the database has an unreadable row: {error}") }
            }
            _ => Error::Unavailable(Box::new(error)),
        }
    }
}

/// Codes that waiting does not cure: SQLite's for a file that is damaged or not its own, PostgreSQL's class for
/// values that it cannot hold.
fn is_for_good(code: &str) -> bool {
    matches!(code, "11" | "26") || (code.len() == 5 && code.starts_with("22"))
}
