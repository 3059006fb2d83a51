//! Server-Sent Events, as the standard has them: CR, LF or CRLF end a line, several `data` lines join, a byte order
//! mark may lead, and bytes come in any slices.

use bytes::{Buf, Bytes, BytesMut};

use super::MAX_FRAME_BYTES;

/// One event, or a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// An event with data.
    Event {
        /// The `event` field, where it is `error`; other names carry no meaning here.
        is_error: bool,
        /// It has a name.
        is_named: bool,
        /// The data, its lines joined by LF.
        data: Bytes,
        /// The very bytes of the event, where they are `data: …` and a blank line and nothing else.
        verbatim: Option<Bytes>,
    },
    /// A comment line, without its colon.
    Comment,
}

/// The event is larger than [`MAX_FRAME_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// Reads frames from slices of a stream. Holds at most one unfinished event.
#[derive(Debug, Default)]
pub struct Reader {
    /// Bytes that were not read as lines yet.
    buffer: Bytes,
    /// Those that come after them: what follows an event that was begun in an earlier slice.
    next: Bytes,
    /// How much of `buffer` is known to hold no line end.
    scanned: usize,
    data: BytesMut,
    has_data: bool,
    is_error: bool,
    is_named: bool,
    is_started: bool,
    /// The last line ended in CR: an LF that follows belongs to it.
    after_cr: bool,
}

impl Reader {
    /// A reader at the start of a stream.
    pub fn new() -> Reader {
        Reader::default()
    }

    /// Takes the next slice of the stream.
    ///
    /// # Errors
    /// The event that is being held grew too large.
    pub fn push(&mut self, mut bytes: Bytes) -> Result<(), TooLarge> {
        if self.buffer.is_empty() && self.next.is_empty() {
            self.buffer = bytes;
        } else {
            // Only the event that was begun is copied together; what follows it stays where it is.
            self.join_next();
            let head = bytes.split_to(self.end_of_event(&bytes));
            self.buffer = joined(std::mem::take(&mut self.buffer), &head);
            self.next = bytes;
        }
        let is_small = self.scanned.saturating_add(self.data.len()) <= MAX_FRAME_BYTES;
        if is_small { Ok(()) } else { Err(TooLarge) }
    }

    /// The next whole frame.
    pub fn next_frame(&mut self) -> Option<Frame> {
        loop {
            let frame = self.frame_in_buffer();
            if frame.is_some() || self.next.is_empty() {
                return frame;
            }
            self.join_next();
        }
    }

    fn frame_in_buffer(&mut self) -> Option<Frame> {
        let is_between_events = !self.has_data && !self.is_named && self.is_started && !self.after_cr;
        if is_between_events && let Some(frame) = self.plain_event() {
            return Some(frame);
        }
        while let Some(line) = self.line() {
            if let Some(frame) = self.take_line(&line) {
                return Some(frame);
            }
        }
        None
    }

    fn join_next(&mut self) {
        let next = std::mem::take(&mut self.next);
        self.buffer = match self.buffer.is_empty() {
            true => next,
            false => joined(std::mem::take(&mut self.buffer), &next),
        };
    }

    /// Where the event that the buffer begins is complete in the bytes that follow; their end, where that is not seen.
    fn end_of_event(&self, following: &[u8]) -> usize {
        if self.buffer.last() == Some(&b'\n') && following.first() == Some(&b'\n') {
            return 1;
        }
        memchr::memmem::find(following, b"\n\n").map_or(following.len(), |found| found + 2)
    }

    /// The event that the end of the stream completes: a last line without its end, an event without its blank line.
    pub fn end(&mut self) -> Option<Frame> {
        let rest = std::mem::take(&mut self.buffer);
        self.scanned = 0;
        if !rest.is_empty()
            && let Some(frame) = self.take_line(&rest)
        {
            return Some(frame);
        }
        self.take_line(b"")
    }

    /// The common case without copies: `data: …`, one line, LF LF.
    fn plain_event(&mut self) -> Option<Frame> {
        const FIELD: &[u8] = b"data: ";
        if !self.buffer.starts_with(FIELD) {
            return None;
        }
        let from = self.scanned.max(FIELD.len());
        let end = from + memchr::memchr2(b'\n', b'\r', self.buffer.get(from..)?)?;
        if self.buffer.get(end..end + 2)? != b"\n\n" {
            return None;
        }
        let verbatim = self.buffer.split_to(end + 2);
        self.scanned = 0;
        Some(Frame::Event {
            is_error: false,
            is_named: false,
            data: verbatim.slice(FIELD.len()..end),
            verbatim: Some(verbatim),
        })
    }

    /// The next line without its end.
    fn line(&mut self) -> Option<Bytes> {
        if self.after_cr && !self.buffer.is_empty() {
            self.after_cr = false;
            if self.buffer.first() == Some(&b'\n') {
                self.buffer.advance(1);
                self.scanned = self.scanned.saturating_sub(1);
            }
        }
        let Some(found) = memchr::memchr2(b'\n', b'\r', self.buffer.get(self.scanned..).unwrap_or_default()) else {
            self.scanned = self.buffer.len();
            return None;
        };
        let end = self.scanned + found;
        self.scanned = 0;
        let line = self.buffer.split_to(end);
        self.after_cr = self.buffer.first() == Some(&b'\r');
        self.buffer.advance(1);
        Some(line)
    }

    /// Reads one line; a blank one completes the event.
    fn take_line(&mut self, line: &[u8]) -> Option<Frame> {
        let line = if self.is_started { line } else { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) };
        self.is_started = true;
        if line.is_empty() {
            let is_error = std::mem::take(&mut self.is_error);
            let is_named = std::mem::take(&mut self.is_named);
            let data = self.data.split().freeze();
            let frame = Frame::Event { is_error, is_named, data, verbatim: None };
            return std::mem::take(&mut self.has_data).then_some(frame);
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(0) => return Some(Frame::Comment),
            Some(colon) => (line.get(..colon)?, line.get(colon + 1..)?),
            None => (line, b"".as_slice()),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.extend_from_slice(b"\n");
                }
                self.data.extend_from_slice(value);
            }
            b"event" => {
                self.is_named = !value.is_empty();
                self.is_error = value == b"error";
            }
            _ => {}
        }
        None
    }
}

fn joined(bytes: Bytes, more: &[u8]) -> Bytes {
    let mut joined = bytes.try_into_mut().unwrap_or_else(|shared| {
        let mut owned = BytesMut::with_capacity(shared.len() + more.len());
        owned.extend_from_slice(&shared);
        owned
    });
    joined.extend_from_slice(more);
    joined.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Data of all events, and `:` for each comment, read from slices cut at `cuts`.
    fn read(text: &[u8], cuts: &[usize]) -> Vec<String> {
        let mut reader = Reader::new();
        let mut found = Vec::new();
        let mut note = |frame: Frame| match frame {
            Frame::Event { data, is_error, .. } => {
                found.push(format!("{}{}", if is_error { "!" } else { "" }, String::from_utf8_lossy(&data)))
            }
            Frame::Comment => found.push(":".to_owned()),
        };
        let mut from = 0;
        for cut in cuts.iter().copied().chain([text.len()]) {
            reader.push(Bytes::copy_from_slice(&text[from..cut])).unwrap();
            while let Some(frame) = reader.next_frame() {
                note(frame);
            }
            from = cut;
        }
        if let Some(frame) = reader.end() {
            note(frame);
        }
        found
    }

    const CASES: [(&str, &[&str]); 12] = [
        ("data: a\n\ndata: b\n\n", &["a", "b"]),
        ("data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]),
        ("data: a\r\rdata: b\r\r", &["a", "b"]),
        ("data:a\n\ndata:  b\n\n", &["a", " b"]),
        ("data: a\ndata: b\n\n", &["a\nb"]),
        ("\u{feff}data: a\n\n", &["a"]),
        (": note\n\ndata: a\n\n", &[":", "a"]),
        ("event: message\nid: 7\nretry: 5\ndata: a\n\n", &["a"]),
        ("event: error\ndata: a\n\ndata: b\n\n", &["!a", "b"]),
        ("data: line\u{2028}sep é 漢\n\n", &["line\u{2028}sep é 漢"]),
        ("\n\n\ndata\n\ndata: a\n\n", &["", "a"]),
        ("data: [DONE]  ", &["[DONE]  "]),
    ];

    /// WIRE 5.2.
    #[test]
    fn every_cut_gives_the_same_events() {
        for (text, expected) in CASES {
            let bytes = text.as_bytes();
            assert_eq!(read(bytes, &[]), expected, "{text:?}");
            for cut in 0..=bytes.len() {
                assert_eq!(read(bytes, &[cut]), expected, "{text:?} cut at {cut}");
            }
            let all: Vec<usize> = (0..bytes.len()).collect();
            assert_eq!(read(bytes, &all), expected, "{text:?} byte by byte");
        }
    }

    #[test]
    fn a_plain_event_is_not_copied() {
        let text = Bytes::from_static(b"data: a\n\ndata: b\n\n");
        let mut reader = Reader::new();
        reader.push(Bytes::from_static(b": start\n")).unwrap();
        reader.next_frame();
        reader.push(text.clone()).unwrap();

        let Some(Frame::Event { verbatim: Some(verbatim), .. }) = reader.next_frame() else { panic!("no event") };

        assert_eq!(verbatim.as_ptr(), text.as_ptr());
    }

    #[test]
    fn of_a_slice_that_ends_an_event_only_that_is_copied() {
        let mut reader = Reader::new();
        reader.push(Bytes::from_static(b": start\n\ndata: fir")).unwrap();
        while reader.next_frame().is_some() {}
        let rest = Bytes::from_static(b"st\n\ndata: second\n\ndata: thi");
        reader.push(rest.clone()).unwrap();
        let mut frames = std::iter::from_fn(|| reader.next_frame());

        let Some(Frame::Event { data, .. }) = frames.next() else { panic!("no event") };
        assert_eq!(data, "first");
        let Some(Frame::Event { verbatim: Some(verbatim), .. }) = frames.next() else { panic!("no event") };

        assert_eq!(verbatim.as_ptr(), rest[4..].as_ptr());
        assert!(frames.next().is_none());
    }

    /// WIRE 5.2.
    #[test]
    fn an_event_without_end_is_refused_at_the_limit() {
        let mut reader = Reader::new();
        let slice = Bytes::from(vec![b'a'; 64 * 1024]);
        let outcome = (0..40).try_for_each(|_| {
            reader.push(slice.clone())?;
            reader.next_frame();
            Ok(())
        });

        assert_eq!(outcome, Err(TooLarge));
    }

    proptest! {
        #[test]
        fn any_bytes_read_the_same_whole_and_in_pieces(bytes in proptest::collection::vec(
            prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b'd'), Just(b' '), any::<u8>()], 0..200)) {
            let all: Vec<usize> = (0..bytes.len()).collect();
            prop_assert_eq!(read(&bytes, &[]), read(&bytes, &all));
        }
    }
}
