//! One file of the journal: the one that is written, and the lines of any.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::Disk;
use crate::Error;

/// The file that is written at present.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    /// How much of it counts. What a failed write left behind this is cut off before the next.
    pub(super) bytes: u64,
    is_torn: bool,
}

impl Segment {
    pub(super) fn new(number: u64, path: PathBuf, file: File) -> Segment {
        Segment { number, path, file: Arc::new(file), bytes: 0, is_torn: false }
    }

    /// Appends all the lines or none of them. The segment has to be [mended](Segment::mend).
    pub(super) fn append(&mut self, disk: &Disk, lines: &[u8]) -> Result<(), Error> {
        if let Err(source) = disk.write(&self.file, lines) {
            self.is_torn = true;
            // If this fails too, the next writer begins with it; a start cuts off what no line feed ends.
            let _ = self.mend(disk);
            return Err(cannot("write", &self.path, source));
        }
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// Finds out whether there is room for many records more, and leaves nothing of it behind.
    pub(super) fn probe(&mut self, disk: &Disk) -> Result<(), Error> {
        self.mend(disk)?;
        self.is_torn = true;
        let written = disk.write(&self.file, &[b' '; PROBE_BYTES]);
        self.mend(disk)?;
        written.map_err(|source| cannot("write", &self.path, source))
    }

    /// Cuts off what a failed write left behind.
    pub(super) fn mend(&mut self, disk: &Disk) -> Result<(), Error> {
        if self.is_torn {
            disk.truncate(&self.file, self.bytes).map_err(|source| cannot("cut", &self.path, source))?;
            self.is_torn = false;
        }
        Ok(())
    }
}

/// The lines of a file between two places.
pub(super) struct Lines<'a> {
    path: &'a Path,
    reader: io::Take<BufReader<File>>,
    next: u64,
    line: Vec<u8>,
}

/// A line and where it is.
pub(super) struct Line<'a> {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) bytes: &'a [u8],
}

impl<'a> Lines<'a> {
    pub(super) fn open(path: &'a Path, start: u64, end: u64) -> Result<Lines<'a>, Error> {
        let open = || {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(start))?;
            Ok(BufReader::with_capacity(READ_BYTES, file).take(end.saturating_sub(start)))
        };
        let reader = open().map_err(|source| cannot("open", path, source))?;
        Ok(Lines { path, reader, next: start, line: Vec::new() })
    }

    /// The next line with its line feed, which only the last one can lack.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, Error> {
        self.line.clear();
        let read = self.reader.read_until(b'\n', &mut self.line);
        let read = read.map_err(|source| cannot("read", self.path, source))?;
        let start = self.next;
        self.next += read as u64;
        Ok((read > 0).then_some(Line { start, end: self.next, bytes: &self.line }))
    }
}

/// The error of a call that the system refused.
pub(super) fn cannot(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File { action, path: path.display().to_string(), source }
}

const READ_BYTES: usize = 64 << 10;
/// A full disk takes a few bytes more where a block is not full; that is not room.
const PROBE_BYTES: usize = 64 << 10;
