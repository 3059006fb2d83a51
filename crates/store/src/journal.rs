//! The journal: an append-only file of money on the local disk, written before a provider is asked.
//!
//! Every request appends two records: [`Journal::reserve`] before a byte of it leaves, [`Journal::settle`] at its
//! end. The first is in the hands of the system when the call returns, so it survives the death of the process;
//! the second waits in memory and goes out with the next write, or with [`Journal::flush`]. A hold without a
//! settlement was open at a crash: [`Journal::open`] names it, and the caller settles it at its reserved cost.
//!
//! The database gets the entries by [`Journal::read`], which is told and tells a [`Position`](crate::Position), and when it has them
//! [`Journal::forget`] deletes what is no longer needed.
//!
//! # What survives what
//!
//! - The end of the process by any means: all that `reserve` and `flush` said `Ok` to.
//! - A power cut: all that a later [`Journal::sync`] said `Ok` to. With [`Fsync::Always`], [`Journal::synced`] waits
//!   for that.
//! - A full disk: nothing is lost that was accepted. `reserve` fails, so no new money is spent; settlements stay in
//!   memory, and every call tries again.
//! - A damaged record: it is skipped, reported as an error with file and offset, and counted in
//!   [`Replay::damaged`]. That loses no money: a lost settlement leaves its hold open, which is settled at the most
//!   that it can have cost; a settlement without its reservation counts all the same. Refusing to start would lose
//!   every request after it. Only the last record of the last file is cut off, for that is what a crash tears.
//!
//! # Locks
//!
//! Taken in this order: `covered`, `syncing`, `tail`, `waiting`. They are std locks, except `covered`: a system call
//! that takes about a microsecond is the most that happens under `tail`, and `settle` does not even take that one.
//! No call here looks at a clock; the owner decides when to flush, sync, read and forget.

mod directory;
mod disk;
mod forget;
mod health;
mod read;
mod record;
mod replay;
mod segment;
mod sync;
#[cfg(test)]
mod tests;
mod waiting;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::{Entry, Error, Hold, HoldId};
use directory::{Directory, corrupt};
use disk::Disk;
use health::Health;
use parking_lot::Mutex;
use record::Record;
use segment::Segment;
use waiting::{Batch, Refused, Waiting};

pub use waiting::Staged;

/// How a journal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// When what was written is made safe from a power cut.
    pub fsync: Fsync,
    /// A segment that is larger gets no more records; the next one begins.
    pub segment_bytes: u64,
    /// The memory for settlements while the disk takes none.
    pub pending_bytes: usize,
}

impl Default for Options {
    /// A sync each second, segments of 8 MiB, 64 MiB of memory.
    fn default() -> Options {
        Options { fsync: Fsync::Interval(Duration::from_secs(1)), segment_bytes: 8 << 20, pending_bytes: 64 << 20 }
    }
}

/// When what was written is made safe from a power cut. A crash of the process loses nothing either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// The owner calls [`Journal::sync`] so often.
    Interval(Duration),
    /// Each request waits for it in [`Journal::synced`].
    Always,
}

/// What a start found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The name of this journal: 16 hex digits, made at random once. A [`Position`](crate::Position) is one in
    /// this journal only.
    pub instance: String,
    /// The holds without a settlement, by number. The caller has to settle them.
    pub open: Vec<(HoldId, Hold)>,
    /// Records that could not be read, the one that a crash tore not counted.
    pub damaged: u64,
}

/// The journal of one data directory. See the [module](self).
#[derive(Debug)]
pub struct Journal {
    directory: Directory,
    options: Options,
    next_hold: AtomicU64,
    tail: Mutex<Tail>,
    waiting: Mutex<Waiting>,
    /// Writes so far, the last of which may not be synced.
    writes: AtomicU64,
    /// The newest segment whose name is safe from a power cut.
    named: AtomicU64,
    /// Held by the one who syncs.
    syncing: Mutex<()>,
    /// Those of the first so many writes that are not on the disk never will be for certain: a sync failed. The system
    /// forgets what it could not write, so that a later sync says nothing about them.
    doubtful: AtomicU64,
    /// The writes that a sync of a waiter has covered.
    covered: tokio::sync::Mutex<u64>,
    write_health: Health,
    sync_health: Health,
}

/// The end of the journal, for the one who writes.
#[derive(Debug)]
struct Tail {
    current: Segment,
    /// The segments before it and their sizes.
    sealed: BTreeMap<u64, u64>,
    /// Those of them that were never synced.
    unsynced: Vec<u64>,
    /// The size at which the next segment begins.
    rotate_bytes: u64,
    next_segment: u64,
    /// Settlements that were taken from [`Waiting`], and whose write failed or is under way.
    lines: Vec<u8>,
    settled: Vec<HoldId>,
    /// The reservations of `batch`.
    staged: Vec<u8>,
    staged_holds: Vec<HoldId>,
    batch: Option<Arc<Batch>>,
}

impl Journal {
    /// Opens the journal in `directory`, which is made if it is not there, and begins a new segment.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another process has it open, [`Error::Corrupt`] if a record is of a kind that this
    /// version does not know, [`Error::File`].
    pub fn open(directory: &Path, options: Options) -> Result<(Journal, Replay), Error> {
        Journal::open_on(Disk::default(), directory, options)
    }

    fn open_on(disk: Disk, directory: &Path, options: Options) -> Result<(Journal, Replay), Error> {
        let directory = Directory::open(directory, disk)?;
        let segments = directory.segments()?;
        let instance = directory.instance(&segments)?;
        let found = replay::replay(&directory, &segments)?;

        let number = segments.last().map_or(1, |last| last + 1);
        let current = directory.create(number)?;
        // A number that a power cut takes back would be given twice.
        directory.sync()?;
        let mut waiting = Waiting::default();
        found.open.keys().for_each(|&id| waiting.opened(id));
        let tail = Tail {
            current,
            sealed: found.sizes,
            unsynced: segments,
            rotate_bytes: options.segment_bytes,
            next_segment: number + 1,
            lines: Vec::new(),
            settled: Vec::new(),
            staged: Vec::new(),
            staged_holds: Vec::new(),
            batch: None,
        };
        let journal = Journal {
            directory,
            options,
            // Rising over restarts. A process that makes more than 2^32 holds fills more than one segment, and so the
            // numbers that it takes from the next one are not given again.
            next_hold: AtomicU64::new(number << 32),
            tail: Mutex::new(tail),
            waiting: Mutex::new(waiting),
            writes: AtomicU64::new(0),
            named: AtomicU64::new(number),
            syncing: Mutex::new(()),
            doubtful: AtomicU64::new(0),
            covered: tokio::sync::Mutex::new(0),
            write_health: Health::default(),
            sync_health: Health::default(),
        };
        Ok((journal, Replay { instance, open: found.open.into_iter().collect(), damaged: found.damaged }))
    }

    /// Writes that the money is set aside, together with all settlements that wait.
    ///
    /// On `Ok` the record survives the end of the process, and the caller has to [`settle`](Journal::settle) the hold
    /// exactly once, whatever happens.
    ///
    /// # Errors
    /// [`Error::File`] if it could not be written, or if what waits could not: the request must not be sent.
    pub fn reserve(&self, hold: &Hold) -> Result<HoldId, Error> {
        let staged = self.stage(hold);
        self.commit(&staged)?;
        Ok(staged.id)
    }

    /// The first half of a reservation: its record waits for the next write, which [`commit`](Journal::commit) makes
    /// sure of. Whoever lets others stage theirs in between shares one write with them.
    ///
    /// A hold that is not committed has to be settled with nothing.
    pub fn stage(&self, hold: &Hold) -> Staged {
        let id = HoldId(self.next_hold.fetch_add(1, Ordering::Relaxed));
        let record = Record::Reserve { id, hold: Cow::Borrowed(hold) };
        record::with_line(&record, |line| self.waiting.lock().stage(id, line))
    }

    /// The second half: returns when the record is in the file, by this call's write or another's.
    ///
    /// # Errors
    /// [`Error::File`]: the request must not be sent. The hold is closed.
    pub fn commit(&self, staged: &Staged) -> Result<(), Error> {
        let written = match staged.batch.outcome() {
            Some(is_written) => is_written,
            None => {
                let mut tail = self.tail.lock();
                match staged.batch.outcome() {
                    Some(is_written) => is_written,
                    None => {
                        self.collect(&mut tail);
                        if let Err(error) = self.append(&mut tail, &[]) {
                            self.waiting.lock().closed(staged.id);
                            return Err(error);
                        }
                        true
                    }
                }
            }
        };
        if written {
            return Ok(());
        }
        self.waiting.lock().closed(staged.id);
        let shared = std::io::Error::other("the write that it shared failed");
        Err(segment::cannot("write", &self.directory.path, shared))
    }

    /// Closes a hold with what was spent on it; with no entries if no provider was reached.
    ///
    /// Never fails and never waits for the disk: the record goes out with the next reservation or
    /// [`flush`](Journal::flush). If the disk takes nothing and the memory is full, the record is dropped with an
    /// error in the log; its hold then stays open and is settled at its reserved cost by the next start.
    pub fn settle(&self, id: HoldId, entries: &[Entry]) {
        let record = Record::Settle { id, entries: Cow::Borrowed(entries) };
        let taken = record::with_line(&record, |line| self.waiting.lock().settle(id, line, self.options.pending_bytes));
        match taken {
            Ok(()) => {}
            Err(Refused::NotOpen) => {
                tracing::error!(hold = id.0, "a hold was settled that is not open; its first settlement counts");
            }
            Err(Refused::Full) => {
                tracing::error!(hold = id.0, "no memory is left for a settlement; the next start settles the hold");
            }
        }
    }

    /// Writes the settlements that wait. After a failure it finds out whether the disk takes records again.
    ///
    /// # Errors
    /// [`Error::File`]; they still wait, and the next call tries again.
    pub fn flush(&self) -> Result<(), Error> {
        let mut tail = self.tail.lock();
        // What waits can be small enough for the room that is left.
        let was_failing = self.write_health.is_failing();
        self.write_waiting(&mut tail)?;
        if was_failing {
            let result = tail.current.probe(&self.directory.disk);
            self.write_health.note(&result);
            return result;
        }
        Ok(())
    }

    /// Whether the last write and the last sync worked.
    pub fn is_writable(&self) -> bool {
        !self.write_health.is_failing() && !self.sync_health.is_failing()
    }

    /// Why the journal cannot be written, for the health page.
    pub fn failure(&self) -> Option<String> {
        self.write_health.failure().or_else(|| self.sync_health.failure())
    }

    /// The size of the settlements that are in memory only.
    pub fn pending_bytes(&self) -> usize {
        self.waiting.lock().bytes
    }

    fn collect(&self, tail: &mut Tail) {
        let mut waiting = self.waiting.lock();
        waiting.move_to(&mut tail.lines, &mut tail.settled);
        tail.batch = waiting.take_staged(&mut tail.staged, &mut tail.staged_holds);
    }

    fn write_waiting(&self, tail: &mut Tail) -> Result<(), Error> {
        self.collect(tail);
        if tail.lines.is_empty() && tail.staged.is_empty() { Ok(()) } else { self.append(tail, &[]) }
    }

    /// Writes the settlements and then the reservations that the tail holds, and `more`: all of it or nothing. What a
    /// failed write leaves behind ends in what was refused.
    fn append(&self, tail: &mut Tail, more: &[u8]) -> Result<(), Error> {
        let held = tail.lines.len();
        tail.lines.extend_from_slice(&tail.staged);
        tail.lines.extend_from_slice(more);
        let result = self.append_lines(tail);
        self.write_health.note(&result);
        tail.staged.clear();
        if let Some(batch) = tail.batch.take() {
            if result.is_ok() {
                self.waiting.lock().in_file(tail.staged_holds.drain(..));
            }
            tail.staged_holds.clear();
            batch.decide(result.is_ok());
        }
        if result.is_err() {
            tail.lines.truncate(held);
            return result;
        }
        tail.lines.clear();
        tail.lines.shrink_to(KEPT_BYTES);
        self.writes.fetch_add(1, Ordering::Release);
        if held > 0 {
            self.waiting.lock().written(tail.settled.drain(..), held);
        }
        Ok(())
    }

    fn append_lines(&self, tail: &mut Tail) -> Result<(), Error> {
        let disk = &self.directory.disk;
        // Before the segment is left, for no one would mend it then.
        tail.current.mend(disk)?;
        if tail.current.bytes >= tail.rotate_bytes {
            self.rotate(tail);
        }
        tail.current.append(disk, &tail.lines)
    }

    /// Begins the next segment. If it cannot be made, the current one grows on and this is tried again later.
    fn rotate(&self, tail: &mut Tail) {
        let number = tail.next_segment;
        tail.next_segment += 1;
        match self.directory.create(number) {
            Ok(next) => {
                let full = std::mem::replace(&mut tail.current, next);
                tail.sealed.insert(full.number, full.bytes);
                tail.unsynced.push(full.number);
                tail.rotate_bytes = self.options.segment_bytes;
            }
            Err(error) => {
                tracing::warn!(%error, "the journal stays with a segment that is full");
                tail.rotate_bytes = tail.current.bytes + self.options.segment_bytes / 8;
            }
        }
    }
}

/// The buffer that the writer keeps after it had to hold more.
const KEPT_BYTES: usize = 1 << 20;
