//! Newline-delimited JSON: whole lines out of bytes that come in any slices.
//!
//! Knows nothing of what the lines say. Every byte is looked at once; at most [`MAX_FRAME_BYTES`] are held.

use memchr::memchr_iter;

use super::MAX_FRAME_BYTES;
use crate::StreamFault;

/// The reader of one stream: holds a line until its end is there.
#[derive(Debug, Default)]
pub struct Lines {
    held: Vec<u8>,
}

impl Lines {
    /// Takes the next bytes and gives each line that is now whole to `take`, without its line break and outer white
    /// space. Blank lines are passed over.
    ///
    /// # Errors
    /// [`StreamFault::TooLarge`] for a line beyond the limit, or what `take` failed with. The lines before the fault
    /// were taken; nothing sensible comes after it.
    pub fn push(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), StreamFault>,
    ) -> Result<(), StreamFault> {
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes) {
            self.complete(bytes.get(start..end).unwrap_or_default(), &mut take)?;
            start = end + 1;
        }
        self.hold(bytes.get(start..).unwrap_or_default())
    }

    /// The stream is over: gives a last line that came without its line break to `take`.
    ///
    /// # Errors
    /// What `take` failed with.
    pub fn end(&mut self, take: impl FnMut(&[u8]) -> Result<(), StreamFault>) -> Result<(), StreamFault> {
        self.complete(&[], take)
    }

    fn complete(
        &mut self,
        last: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), StreamFault>,
    ) -> Result<(), StreamFault> {
        if self.held.is_empty() && last.len() <= MAX_FRAME_BYTES {
            return taken(last, take);
        }
        self.hold(last)?;
        let outcome = taken(&self.held, &mut take);
        self.held.clear();
        outcome
    }

    fn hold(&mut self, part: &[u8]) -> Result<(), StreamFault> {
        if self.held.len() + part.len() > MAX_FRAME_BYTES {
            self.held = Vec::new();
            return Err(StreamFault::TooLarge);
        }
        self.held.extend_from_slice(part);
        Ok(())
    }
}

fn taken(line: &[u8], mut take: impl FnMut(&[u8]) -> Result<(), StreamFault>) -> Result<(), StreamFault> {
    let line = line.trim_ascii();
    if line.is_empty() { Ok(()) } else { take(line) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read<'a>(slices: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, Result<(), StreamFault>) {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        let mut take = |line: &[u8]| {
            seen.push(String::from_utf8_lossy(line).into_owned());
            Ok(())
        };
        let pushed = slices.into_iter().try_for_each(|slice| lines.push(slice, &mut take));
        let outcome = pushed.and_then(|()| lines.end(&mut take));
        (seen, outcome)
    }

    #[test]
    fn a_cut_line_is_held_until_whole() {
        let bytes = b"{\"a\":1}\r\n\n  {\"b\":\"\xc3\xa4\"}\n{\"last\":true}";
        let expected = vec!["{\"a\":1}", "{\"b\":\"ä\"}", "{\"last\":true}"];

        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(read([head, tail]).0, expected, "cut at {cut}");
        }
        assert_eq!(read(bytes.chunks(1)).0, expected, "byte by byte");
    }

    #[test]
    fn a_line_beyond_the_limit_is_refused_however_it_is_sliced() {
        let fits = [vec![b'x'; MAX_FRAME_BYTES], b"\nend\n".to_vec()].concat();
        let too_long = [b"first\n".to_vec(), vec![b'x'; MAX_FRAME_BYTES + 1], b"\n".to_vec()].concat();

        for size in [1_000, 65_536, usize::MAX] {
            let (seen, outcome) = read(fits.chunks(size));
            assert!(outcome.is_ok() && seen.len() == 2, "a line of exactly the limit, in slices of {size}");
            let (seen, outcome) = read(too_long.chunks(size));
            assert_eq!((seen.as_slice(), outcome), (["first".to_owned()].as_slice(), Err(StreamFault::TooLarge)));
        }
    }

    #[test]
    fn a_stream_without_line_breaks_does_not_grow_the_memory() {
        let mut lines = Lines::default();
        let block = vec![b'x'; 100_000];

        for _ in 0..100 {
            let _fault = lines.push(&block, |_| Ok(()));
            assert!(lines.held.len() <= MAX_FRAME_BYTES);
        }
    }

    proptest! {
        #[test]
        fn slicing_does_not_matter(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200), size in 1_usize..20) {
            prop_assert_eq!(read(bytes.chunks(size)), read([bytes.as_slice()]));
        }
    }
}
