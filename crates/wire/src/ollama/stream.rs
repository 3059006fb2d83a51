//! Ollama's stream to canonical events.

use super::answer::Object;
use super::forced::Forced;
use super::tags::Tags;
use crate::event::Event;
use crate::framing::ndjson::Lines;
use crate::{Dialect, StreamFault};

/// Push decoder of one stream: bytes in, in any slices; events out.
#[derive(Debug, Default)]
pub struct Decoder {
    lines: Lines,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    calls: u32,
    tags: Tags,
    forced: Forced,
    has_output: bool,
    is_done: bool,
}

impl Decoder {
    /// A decoder at the start of a stream, whose text is the arguments of `forced_call` where there is one.
    pub fn new(forced_call: Option<&str>) -> Decoder {
        let state = State { forced: Forced::new(forced_call), ..State::default() };
        Decoder { lines: Lines::default(), state }
    }

    /// True when the end of the answer was read; what follows is ignored.
    pub fn is_done(&self) -> bool {
        self.state.is_done
    }

    /// Takes the next bytes and appends the events that they complete to `out`. What follows the end of the answer is
    /// ignored.
    ///
    /// # Errors
    /// [`StreamFault::BadFrame`] for a line that is no answer object, [`StreamFault::TooLarge`], and
    /// [`StreamFault::Error`] for an error line. Events before the fault are in `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Event>) -> Result<(), StreamFault> {
        let Decoder { lines, state } = self;
        if state.is_done {
            return Ok(());
        }
        lines.push(bytes, |line| state.read(line, out))
    }

    /// The provider closed the connection cleanly. A last line without its line break counts.
    ///
    /// # Errors
    /// [`StreamFault::Truncated`] when the answer has no end, an error that stood in the last line.
    pub fn end(&mut self, out: &mut Vec<Event>) -> Result<(), StreamFault> {
        let Decoder { lines, state } = self;
        match lines.end(|line| state.read(line, out)) {
            Ok(()) if state.is_done => Ok(()),
            // A line that stops in the middle was cut, not malformed.
            Ok(()) | Err(StreamFault::BadFrame) => Err(StreamFault::Truncated),
            Err(fault) => Err(fault),
        }
    }
}

impl State {
    fn read(&mut self, line: &[u8], out: &mut Vec<Event>) -> Result<(), StreamFault> {
        if self.is_done {
            return Ok(());
        }
        let object: Object<'_> = serde_json::from_slice(line).map_err(|_| StreamFault::BadFrame)?;
        if object.error.is_some() {
            return Err(StreamFault::Error(crate::read_error(Dialect::Ollama, 200, line)));
        }
        if object.is_only_loading() && !self.has_output {
            return Err(StreamFault::Truncated);
        }
        self.is_done = object.done;
        let mut events = Vec::new();
        object.events(&mut self.calls, &mut events);
        self.has_output |= !events.is_empty();
        let mut told = Vec::new();
        split(events, &mut self.tags, &mut told);
        out.extend(told.into_iter().map(|event| self.forced.told(event)));
        Ok(())
    }
}

/// Hands events on, text by what it is: written text or reasoning.
pub(super) fn split(events: Vec<Event>, tags: &mut Tags, out: &mut Vec<Event>) {
    for event in events {
        match event {
            Event::Text { text, .. } => tags.push(&text, out),
            Event::Finish { .. } => {
                tags.end(out);
                out.push(event);
            }
            other => out.push(other),
        }
    }
}
