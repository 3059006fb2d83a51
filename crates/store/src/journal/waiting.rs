//! What is in memory only: settlements that wait for the next write, and which holds are open.

use std::collections::HashMap;

use crate::HoldId;

/// The settlements that are not in the file yet.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    lines: Vec<u8>,
    settled: Vec<HoldId>,
    /// Every hold whose settlement is not in the file.
    holds: HashMap<HoldId, State>,
    /// The lines here and those that a writer took and has not written yet.
    pub(super) bytes: usize,
}

/// Where a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
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
    /// The hold's record is in the file.
    pub(super) fn opened(&mut self, id: HoldId) {
        self.holds.insert(id, State::Open);
    }

    /// Whether the file has the hold's record but not its settlement.
    pub(super) fn needs_record(&self, id: HoldId) -> bool {
        self.holds.contains_key(&id)
    }

    /// Takes a settlement in.
    pub(super) fn settle(&mut self, id: HoldId, line: &[u8], limit_bytes: usize) -> Result<(), Refused> {
        let Some(state @ State::Open) = self.holds.get_mut(&id) else { return Err(Refused::NotOpen) };
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
