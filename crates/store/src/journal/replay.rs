//! What a start reads: which holds are open.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::Path;

use super::directory::{Directory, corrupt};
use super::record::{self, Outline};
use super::segment::{Lines, cannot};
use crate::{Error, Hold, HoldId};

/// What the files say.
#[derive(Default)]
pub(super) struct Found {
    pub(super) open: BTreeMap<HoldId, Hold>,
    /// The size of each segment.
    pub(super) sizes: BTreeMap<u64, u64>,
    pub(super) damaged: u64,
}

/// Reads all segments, and cuts off the last record of the last one if a crash tore it.
pub(super) fn replay(directory: &Directory, segments: &[u64]) -> Result<Found, Error> {
    let mut found = Found::default();
    for &segment in segments {
        let path = directory.path_of(segment);
        let size = fs::metadata(&path).map_err(|source| cannot("read", &path, source))?.len();
        let mut whole = size;
        let mut lines = Lines::open(&path, 0, size)?;
        while let Some(line) = lines.next()? {
            if let Some(payload) = record::payload(line.bytes) {
                found.add(outline(payload, &path, line.start)?);
            } else if line.end == size && Some(&segment) == segments.last() {
                tracing::warn!(path = %path.display(), offset = line.start, "a record that a crash tore is cut off");
                whole = line.start;
            } else {
                tracing::error!(path = %path.display(), offset = line.start, "a damaged record is skipped");
                found.damaged += 1;
            }
        }
        if whole < size {
            cut(directory, &path, whole)?;
        }
        found.sizes.insert(segment, whole);
    }
    Ok(found)
}

impl Found {
    fn add(&mut self, outline: Outline) {
        match outline {
            Outline::Reserve { id, hold } => {
                self.open.insert(id, hold);
            }
            Outline::Settle { id } => {
                self.open.remove(&id);
            }
        }
    }
}

fn outline(payload: &[u8], path: &Path, offset: u64) -> Result<Outline, Error> {
    serde_json::from_slice(payload).map_err(|error| unknown(path, offset, &error))
}

/// The error for a record that is whole, but that this version cannot understand.
pub(super) fn unknown(path: &Path, offset: u64, error: &serde_json::Error) -> Error {
    corrupt(path, &format!("has a record at byte {offset} that another version wrote: {error}"))
}

/// Durable before the next segment begins: a torn record in the middle of the journal would count as damage.
fn cut(directory: &Directory, path: &Path, bytes: u64) -> Result<(), Error> {
    let cut = || {
        let file = OpenOptions::new().write(true).open(path)?;
        directory.disk.truncate(&file, bytes)?;
        directory.disk.sync(&file)
    };
    cut().map_err(|source| cannot("cut", path, source))
}
