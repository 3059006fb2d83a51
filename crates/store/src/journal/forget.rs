//! Old segments go, open holds stay.

use std::collections::BTreeMap;

use super::Journal;
use super::record::{self, Outline};
use super::segment::Lines;
use crate::{Error, HoldId, Position};

impl Journal {
    /// Deletes the segments that lie wholly before `upto`: the database has their entries, for good.
    ///
    /// The records of holds that are still open are written again at the end of the journal first. Reads and syncs
    /// files, so it is for a thread that may wait; for one caller at a time.
    ///
    /// # Errors
    /// [`Error::File`]; what could not be deleted is deleted by a later call.
    pub fn forget(&self, upto: Position) -> Result<(), Error> {
        let old: Vec<u64> = self.tail.lock().sealed.range(..upto.segment).map(|(&segment, _)| segment).collect();
        if old.is_empty() {
            return Ok(());
        }
        self.carry(&old)?;
        // A power cut must not leave the deletion but take what made it right: the copies, and the settlements in
        // younger segments of the holds that were not copied.
        self.sync()?;
        // The oldest first. A reservation that outlived its settlement would be charged again.
        for segment in old {
            self.directory.remove(segment)?;
            self.tail.lock().sealed.remove(&segment);
            self.directory.sync()?;
        }
        Ok(())
    }

    fn carry(&self, old: &[u64]) -> Result<(), Error> {
        let copies = self.open_records(old)?;
        let mut tail = self.tail.lock();
        // Settlements that wait go first, alone: a copy behind its own settlement would open the hold again.
        self.write_waiting(&mut tail)?;
        let still_open: Vec<u8> = {
            let waiting = self.waiting.lock();
            copies.into_iter().filter(|(id, _)| waiting.needs_record(*id)).flat_map(|(_, line)| line).collect()
        };
        if still_open.is_empty() { Ok(()) } else { self.append(&mut tail, &still_open) }
    }

    fn open_records(&self, segments: &[u64]) -> Result<BTreeMap<HoldId, Vec<u8>>, Error> {
        let mut records = BTreeMap::new();
        for &segment in segments {
            let Some(bytes) = self.tail.lock().sealed.get(&segment).copied() else { continue };
            let path = self.directory.path_of(segment);
            let mut lines = Lines::open(&path, 0, bytes)?;
            while let Some(line) = lines.next()? {
                // What cannot be read was reported by the start that found it.
                let outline = record::payload(line.bytes).and_then(|payload| serde_json::from_slice(payload).ok());
                if let Some(Outline::Reserve { id, .. }) = outline
                    && self.waiting.lock().needs_record(id)
                {
                    records.insert(id, line.bytes.to_vec());
                }
            }
        }
        Ok(records)
    }
}
