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
