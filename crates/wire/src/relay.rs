//! A provider's stream on its way to an OpenAI client: bytes in, pieces out, no waiting and no I/O.
//!
//! Where the provider speaks OpenAI's dialect its events go out as the very bytes that came, and are only observed.
//! Otherwise they are decoded to canonical events and encoded again.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::event::{Event, Finish};
use crate::framing::sse::{self, Frame};
use crate::openai::{Encoder, answer, stream};
use crate::types::{AnswerContext, Piece, StreamFault};
use crate::usage::Usage;
use crate::{Dialect, Quirk, ollama};

const COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// Turns one provider's stream into a client's.
#[derive(Debug)]
pub struct Relay {
    source: Source,
    include_usage: bool,
    usage: Usage,
    finish: Option<Finish>,
    output_bytes: u64,
    pieces: VecDeque<Piece>,
    /// The chunk that is the last one unless another follows: the end of a choice, or the usage.
    held: Option<Bytes>,
    is_done: bool,
}

#[derive(Debug)]
enum Source {
    OpenAi { reader: sse::Reader, usage_in_x_groq: bool },
    Ollama { decoder: Box<ollama::Decoder>, encoder: Encoder },
}

impl Relay {
    /// A relay at the start of a stream. `include_usage`: the client asked for the usage chunk.
    pub fn new(from: Dialect, context: AnswerContext, include_usage: bool, quirks: &[Quirk]) -> Relay {
        let source = match from {
            Dialect::OpenAi => {
                Source::OpenAi { reader: sse::Reader::new(), usage_in_x_groq: quirks.contains(&Quirk::UsageInXGroq) }
            }
            Dialect::Ollama => {
                Source::Ollama { decoder: Box::new(ollama::Decoder::new()), encoder: Encoder::new(context) }
            }
        };
        Relay {
            source,
            include_usage,
            usage: Usage::default(),
            finish: None,
            output_bytes: 0,
            pieces: VecDeque::new(),
            held: None,
            is_done: false,
        }
    }

    /// Takes the next bytes of the provider. What was whole before a fault can still be popped.
    ///
    /// # Errors
    /// The stream is broken and must be ended.
    pub fn push(&mut self, bytes: Bytes) -> Result<(), StreamFault> {
        if self.is_done {
            return Ok(());
        }
        match &mut self.source {
            Source::OpenAi { reader, .. } => {
                reader.push(bytes.clone()).map_err(|_| StreamFault::TooLarge)?;
                self.read_frames(&bytes)
            }
            Source::Ollama { decoder, .. } => {
                let mut events = Vec::new();
                let outcome = decoder.push(&bytes, &mut events);
                let is_done = decoder.is_done();
                self.encode(&events);
                outcome?;
                if is_done {
                    self.complete();
                }
                Ok(())
            }
        }
    }

    /// The provider's stream has ended cleanly.
    ///
    /// # Errors
    /// The answer was not complete, or its last event is broken.
    pub fn end(&mut self) -> Result<(), StreamFault> {
        if self.is_done {
            return Ok(());
        }
        match &mut self.source {
            Source::OpenAi { reader, .. } => {
                if let Some(frame) = reader.end() {
                    self.read_frame(frame, &Bytes::new())?;
                }
            }
            Source::Ollama { decoder, .. } => {
                let mut events = Vec::new();
                let outcome = decoder.end(&mut events);
                self.encode(&events);
                outcome?;
            }
        }
        match (self.is_done, &self.finish) {
            (true, _) => Ok(()),
            // Some providers leave out `[DONE]`; a choice that ended is a complete answer.
            (false, Some(_)) => {
                self.complete();
                Ok(())
            }
            (false, None) => Err(StreamFault::Truncated),
        }
    }

    /// The next piece that is ready.
    pub fn pop(&mut self) -> Option<Piece> {
        self.pieces.pop_front()
    }

    /// Token counts so far.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Why the latest choice ended.
    pub fn finish(&self) -> Option<&Finish> {
        self.finish.as_ref()
    }

    /// Bytes of generated text, thinking and tool arguments so far.
    pub fn output_bytes(&self) -> u64 {
        self.output_bytes
    }

    /// The answer is complete; its last pieces may still wait to be popped.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    fn read_frames(&mut self, input: &Bytes) -> Result<(), StreamFault> {
        while !self.is_done {
            let Source::OpenAi { reader, .. } = &mut self.source else { return Ok(()) };
            let Some(frame) = reader.next_frame() else { return Ok(()) };
            self.read_frame(frame, input)?;
        }
        Ok(())
    }

    fn read_frame(&mut self, frame: Frame, input: &Bytes) -> Result<(), StreamFault> {
        let (is_error, data, verbatim) = match frame {
            Frame::Comment => {
                self.pieces.push_back(Piece::Comment(COMMENT));
                return Ok(());
            }
            Frame::Event { is_error, data, verbatim } => (is_error, data, verbatim),
        };
        match data.trim_ascii() {
            b"" => return Ok(()),
            b"[DONE]" => {
                self.complete();
                return Ok(());
            }
            _ => {}
        }
        if is_error {
            return Err(StreamFault::Error(answer::error_in(&data)));
        }
        let usage_in_x_groq = matches!(self.source, Source::OpenAi { usage_in_x_groq: true, .. });
        let seen = stream::observe(&data, usage_in_x_groq).ok_or(StreamFault::BadFrame)?;
        if seen.is_error {
            return Err(StreamFault::Error(answer::error_in(&data)));
        }
        self.output_bytes = self.output_bytes.saturating_add(seen.output_bytes);
        if let Some(usage) = seen.usage {
            self.usage.merge(usage);
        }
        let is_usage = seen.is_usage_only && seen.usage.is_some();
        if seen.is_usage_only && !self.include_usage {
            // Clients that did not ask for a chunk without choices may fall over it.
            return Ok(());
        }
        if seen.finish.is_some() || is_usage {
            self.finish = seen.finish.or(self.finish.take());
            self.release();
            self.held = Some(data);
        } else {
            self.release();
            self.emit(verbatim.unwrap_or_else(|| framed(&data)), seen.has_content, input);
        }
        Ok(())
    }

    /// Queues an event, in one slice with the one before where both stand side by side in `input`.
    fn emit(&mut self, bytes: Bytes, content: bool, input: &Bytes) {
        if let Some(Piece::Frame { bytes: before, content: had_content }) = self.pieces.back_mut() {
            let (from, to) = (offset(input, before), offset(input, &bytes));
            if from.saturating_add(before.len()) == to && to.saturating_add(bytes.len()) <= input.len() {
                *before = input.slice(from..to.saturating_add(bytes.len()));
                *had_content |= content;
                return;
            }
        }
        self.pieces.push_back(Piece::Frame { bytes, content });
    }

    fn encode(&mut self, events: &[Event]) {
        let mut payloads = Vec::new();
        for event in events {
            match event {
                Event::Text { text, .. } | Event::Thinking { text, .. } => self.count(text),
                Event::ToolCall { arguments, .. } => self.count(arguments),
                Event::Usage(usage) => self.usage.merge(*usage),
                Event::Finish { reason, .. } => self.finish = Some(reason.clone()),
            }
            let Source::Ollama { encoder, .. } = &mut self.source else { return };
            encoder.encode(event, &mut payloads);
            let ends = matches!(event, Event::Finish { .. });
            let content = !ends;
            let last = if ends { payloads.pop() } else { None };
            for payload in payloads.drain(..) {
                self.release();
                self.pieces.push_back(Piece::Frame { bytes: framed(&payload), content });
            }
            if let Some(last) = last {
                self.release();
                self.held = Some(last.into());
            }
        }
    }

    fn count(&mut self, text: &str) {
        self.output_bytes = self.output_bytes.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
    }

    /// Another chunk follows the one that was held: it was not the last.
    fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.pieces.push_back(Piece::Frame { bytes: framed(&held), content: true });
        }
    }

    fn complete(&mut self) {
        if let (true, Source::Ollama { encoder, .. }) = (self.include_usage, &self.source) {
            let usage = encoder.usage_chunk(&self.usage);
            self.release();
            self.held = Some(usage.into());
        }
        self.pieces.extend(self.held.take().map(Piece::Last));
        self.pieces.push_back(Piece::Done);
        self.is_done = true;
    }
}

/// Where `part` begins in `whole`, as if it were a slice of it; far outside where it is none.
fn offset(whole: &Bytes, part: &Bytes) -> usize {
    (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize)
}

/// One event. A line break inside JSON is white space, and would end the event here.
fn framed(data: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(data.len().saturating_add(8));
    frame.extend_from_slice(b"data: ");
    frame.extend(data.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    frame.extend_from_slice(b"\n\n");
    frame.into()
}

#[cfg(test)]
mod tests;
