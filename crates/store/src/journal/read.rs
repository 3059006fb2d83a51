//! The way of the entries to the database.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use super::record::{self, Record};
use super::segment::Lines;
use super::{Journal, corrupt, replay};
use crate::{Entry, Error, Position};

impl Journal {
    /// The settled entries after `from`, in the order in which they were written, and where they end.
    ///
    /// Reading stops after the record that brings the number to `max_entries`, so it can be more by the attempts of
    /// one request. The position may advance without entries. To be saved in one transaction with them: then each
    /// is read once. [`Position::default`] is the beginning. Cheap where nothing is new; otherwise it reads files,
    /// so it is for a thread that may wait.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if `from` lies behind the end, as after the directory was restored from an older copy;
    /// [`Error::File`], also when `from` was forgotten meanwhile.
    pub fn read(&self, from: Position, max_entries: usize) -> Result<(Vec<Entry>, Position), Error> {
        let mut entries = Vec::new();
        let mut position = from;
        while entries.len() < max_entries {
            let Some(span) = self.span_after(position)? else { break };
            position = Position { segment: span.segment, offset: span.start };
            self.read_span(&span, max_entries, &mut entries, &mut position)?;
        }
        Ok((entries, position))
    }

    /// What is there to be read in the first segment that has anything after `position`.
    fn span_after(&self, position: Position) -> Result<Option<Span>, Error> {
        let tail = self.tail.lock();
        let current = (tail.current.number, tail.current.bytes);
        if position > (Position { segment: current.0, offset: current.1 }) {
            let Position { segment, offset } = position;
            let what = format!("ends before byte {offset} of segment {segment}, to which the database has read it");
            return Err(corrupt(&self.directory.path, &what));
        }
        let sealed = tail.sealed.range(position.segment..).map(|(&segment, &end)| (segment, end));
        // A power cut can shorten a sealed segment to less than what was read of it: that is its end too.
        let span = sealed.chain([current]).find_map(|(segment, end)| {
            let start = if segment == position.segment { position.offset } else { 0 };
            let is_new = start < end || (segment == current.0 && segment > position.segment);
            is_new.then_some(Span { segment, start, end })
        });
        Ok(span)
    }

    fn read_span(
        &self,
        span: &Span,
        max_entries: usize,
        entries: &mut Vec<Entry>,
        position: &mut Position,
    ) -> Result<(), Error> {
        // Before a position in it leaves: after a power cut the number of a segment must not be given again.
        if span.segment > self.named.load(Ordering::Acquire) {
            self.directory.sync()?;
            self.named.fetch_max(span.segment, Ordering::AcqRel);
        }
        let path = self.directory.path_of(span.segment);
        let mut lines = Lines::open(&path, span.start, span.end)?;
        while entries.len() < max_entries
            && let Some(line) = lines.next()?
        {
            match record::payload(line.bytes) {
                Some(payload) if is_settlement(payload) => {
                    let record = serde_json::from_slice(payload);
                    let record = record.map_err(|error| replay::unknown(&path, line.start, &error))?;
                    if let Record::Settle { entries: settled, .. } = record {
                        entries.extend(Cow::into_owned(settled));
                    }
                }
                Some(_) => {}
                None => tracing::error!(path = %path.display(), offset = line.start, "a damaged record is skipped"),
            }
            position.offset = line.end;
        }
        Ok(())
    }
}

/// A part of a segment.
struct Span {
    segment: u64,
    start: u64,
    end: u64,
}

/// Spares building the holds, which are half of all records.
fn is_settlement(payload: &[u8]) -> bool {
    payload.starts_with(br#"{"settle":"#)
}
