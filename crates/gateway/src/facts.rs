//! The catalogue as it is used: the embedded one, and over it what `llm-gateway models update` has brought.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use catalog::Catalog;
use tracing::{info, warn};

use crate::clock;

/// The largest file of facts that is read.
pub const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Where the facts are that were brought.
pub fn place(data_dir: &Path) -> PathBuf {
    data_dir.join("models.json")
}

/// The catalogue for this data directory. A file that cannot be read is told and left aside: the embedded facts are
/// older and not wrong.
pub fn catalog(data_dir: &Path) -> Catalog {
    let embedded = Catalog::embedded();
    let place = place(data_dir);
    let text = match std::fs::read_to_string(&place) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return embedded,
        Err(error) => {
            warn!(%error, file = %place.display(), "the updated facts of models cannot be read");
            return embedded;
        }
    };
    match embedded.updated(&text, &clock::month()) {
        Ok((catalog, doubts)) => {
            info!(file = %place.display(), doubtful = doubts.len(), "facts of models were updated");
            catalog
        }
        Err(problem) => {
            warn!(%problem, file = %place.display(), "the updated facts of models are of no use");
            embedded
        }
    }
}
