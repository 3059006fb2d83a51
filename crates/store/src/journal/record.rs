//! One record, one line: the CRC-32 of the payload as eight hex digits, a space, compact JSON, a line feed.

use std::borrow::Cow;
use std::cell::RefCell;

use serde::{Deserialize, Serialize};

use crate::{Entry, Hold, HoldId};

/// What a line says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record<'a> {
    /// Money is set aside. A hold that stays open for long is written again under its number.
    Reserve { id: HoldId, hold: Cow<'a, Hold> },
    /// The hold is closed, and this is what it was spent on; nothing, where no provider was reached.
    Settle { id: HoldId, entries: Cow<'a, [Entry]> },
}

/// A [`Record`] as a start needs it: the entries of a settlement are checked by their sum, and not built.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outline {
    /// As [`Record::Reserve`].
    Reserve { id: HoldId, hold: Hold },
    /// As [`Record::Settle`].
    Settle { id: HoldId },
}

/// Encodes a record into a buffer that the thread keeps, and shows the line.
pub(super) fn with_line<T>(record: &Record<'_>, look: impl FnOnce(&[u8]) -> T) -> T {
    thread_local! {
        static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    LINE.with_borrow_mut(|line| {
        encode(record, line);
        look(line)
    })
}

/// The JSON of a line, if the line is whole and its sum is right.
pub(super) fn payload(line: &[u8]) -> Option<&[u8]> {
    let (sum, rest) = line.split_first_chunk::<SUM_DIGITS>()?;
    let payload = rest.strip_prefix(b" ")?.strip_suffix(b"\n")?;
    (*sum == digits_of(crc32fast::hash(payload))).then_some(payload)
}

#[expect(clippy::expect_used, reason = "records have strings, integers and lists, and a vector takes every byte")]
fn encode(record: &Record<'_>, line: &mut Vec<u8>) {
    line.clear();
    line.extend_from_slice(&[b' '; SUM_DIGITS + 1]);
    serde_json::to_writer(&mut *line, record).expect("a record is JSON");
    let sum = digits_of(crc32fast::hash(&line[SUM_DIGITS + 1..]));
    line[..SUM_DIGITS].copy_from_slice(&sum);
    line.push(b'\n');
}

fn digits_of(sum: u32) -> [u8; SUM_DIGITS] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|place| DIGITS[(sum >> (28 - 4 * place)) as usize & 0xf])
}

const SUM_DIGITS: usize = 8;
