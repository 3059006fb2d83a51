//! What is in memory only: settlements that wait for the next write, and which holds are open.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::HoldId;

/// A reservation whose record is on its way into the file. See [`Journal::stage`](super::Journal::stage).
#[derive(Debug)]
pub struct Staged {
    /// The hold.
    pub id: HoldId,
    pub(super) batch: Arc<Batch>,
}

/// Reservations that go into the file in one write.
#[derive(Debug, Default)]
pub(super) struct Batch(OnceLock<bool>);

impl Batch {
    /// Whether it is in the file; `None` before that was tried.
    pub(super) fn outcome(&self) -> Option<bool> {
        self.0.get().copied()
    }

    pub(super) fn decide(&self, is_written: bool) {
        // Set once: a batch is taken by one writer.
        let _ = self.0.set(is_written);
    }
}

/// The settlements that are not in the file yet.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Records of reservations, all of one batch, and behind them the ends of those that were given up meanwhile.
    staged: Vec<u8>,
    staged_holds: Vec<HoldId>,
    batch: Arc<Batch>,
    lines: Vec<u8>,
    settled: Vec<HoldId>,
    /// Every hold whose settlement is neither in the file nor staged.
    holds: HashMap<HoldId, State>,
    /// The lines here and those that a writer took and has not written yet.
    pub(super) bytes: usize,
}

/// Where a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// On its way into the file.
    Staged,
    Open,
    /// Settled, and the settlement waits to be written.
    Settled,
}

/// Why a settlement was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// No such hold is open: it was settled before.
    NotOpen,
    /// The memory for settlements is used up.
    Full,
}

impl Waiting {
    /// Takes a reservation in.
    pub(super) fn stage(&mut self, id: HoldId, line: &[u8]) -> Staged {
        self.staged.extend_from_slice(line);
        self.staged_holds.push(id);
        self.holds.insert(id, State::Staged);
        Staged { id, batch: Arc::clone(&self.batch) }
    }

    /// Moves the reservations into an empty buffer; the next ones are another batch.
    pub(super) fn take_staged(&mut self, buffer: &mut Vec<u8>, holds: &mut Vec<HoldId>) -> Option<Arc<Batch>> {
        if self.staged.is_empty() {
            return None;
        }
        std::mem::swap(&mut self.staged, buffer);
        std::mem::swap(&mut self.staged_holds, holds);
        Some(std::mem::take(&mut self.batch))
    }

    /// The reservations of these holds are in the file, unless they were given up before.
    pub(super) fn in_file(&mut self, holds: impl Iterator<Item = HoldId>) {
        for id in holds {
            if let Some(state @ State::Staged) = self.holds.get_mut(&id) {
                *state = State::Open;
            }
        }
    }

    /// The hold is in the file.
    pub(super) fn opened(&mut self, id: HoldId) {
        self.holds.insert(id, State::Open);
    }

    /// The hold could not be written.
    pub(super) fn closed(&mut self, id: HoldId) {
        self.holds.remove(&id);
    }

    /// Whether the file has the hold's record but not its settlement.
    pub(super) fn needs_record(&self, id: HoldId) -> bool {
        self.holds.contains_key(&id)
    }

    /// Takes a settlement in.
    pub(super) fn settle(&mut self, id: HoldId, line: &[u8], limit_bytes: usize) -> Result<(), Refused> {
        let state = match self.holds.get_mut(&id) {
            Some(state @ State::Open) => state,
            Some(State::Staged) => {
                // It may not stand before the hold's own record.
                self.staged.extend_from_slice(line);
                self.holds.remove(&id);
                return Ok(());
            }
            Some(State::Settled) | None => return Err(Refused::NotOpen),
        };
        if self.bytes + line.len() > limit_bytes {
            return Err(Refused::Full);
        }
        *state = State::Settled;
        self.lines.extend_from_slice(line);
        self.settled.push(id);
        self.bytes += line.len();
        Ok(())
    }

    /// Moves the settlements behind those that a writer holds already.
    pub(super) fn move_to(&mut self, lines: &mut Vec<u8>, settled: &mut Vec<HoldId>) {
        if lines.is_empty() {
            std::mem::swap(&mut self.lines, lines);
        } else {
            lines.append(&mut self.lines);
        }
        settled.append(&mut self.settled);
    }

    /// The settlements of these holds, so many bytes, are in the file.
    pub(super) fn written(&mut self, settled: impl Iterator<Item = HoldId>, bytes: usize) {
        for id in settled {
            self.holds.remove(&id);
        }
        self.bytes -= bytes;
    }
}
