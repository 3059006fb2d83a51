//! A provider's stream on its way to an OpenAI client: bytes in, pieces out, no waiting and no I/O.
//!
//! Where the provider speaks OpenAI's dialect its events go out as the very bytes that came, and are only observed.
//! Otherwise they are decoded to canonical events and encoded again.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::event::{Event, Finish};
use crate::framing::sse::{self, Frame};
use crate::generated::Generated;
use crate::openai::{Encoder, answer, stream};
use crate::types::{AnswerContext, Piece, StreamFault};
use crate::usage::Usage;
use crate::{Dialect, Quirk, ollama};

const COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// Turns one provider's stream into a client's.
#[derive(Debug)]
pub struct Relay {
    source: Source,
    /// Writes what the provider does not: all of another dialect, and the end of a stream that is stopped.
    encoder: Encoder,
    /// The encoder has the id, time and model of the chunks that go out: ours, or those of the provider's own.
    is_named: bool,
    include_usage: bool,
    usage: Usage,
    finish: Option<Finish>,
    generated: Generated,
    pieces: VecDeque<Piece>,
    held: Option<Held>,
    is_done: bool,
}

#[derive(Debug)]
enum Source {
    OpenAi { reader: sse::Reader, usage_in_x_groq: bool },
    Ollama { decoder: Box<ollama::Decoder> },
}

/// The chunk that is the last one unless another follows.
#[derive(Debug)]
enum Held {
    /// The end of a choice.
    End(Bytes),
    /// Token counts without choices.
    Usage(Bytes),
}

impl Relay {
    /// A relay at the start of a stream. `include_usage`: the client asked for the usage chunk.
    pub fn new(from: Dialect, context: AnswerContext, include_usage: bool, quirks: &[Quirk]) -> Relay {
        let (source, is_named) = match from {
            Dialect::OpenAi => {
                let usage_in_x_groq = quirks.contains(&Quirk::UsageInXGroq);
                (Source::OpenAi { reader: sse::Reader::new(), usage_in_x_groq }, false)
            }
            Dialect::Ollama => (Source::Ollama { decoder: Box::new(ollama::Decoder::new()) }, true),
        };
        Relay {
            source,
            encoder: Encoder::new(context),
            is_named,
            include_usage,
            usage: Usage::default(),
            finish: None,
            generated: Generated::default(),
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
            Source::Ollama { decoder } => {
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
            Source::Ollama { decoder } => {
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

    /// Whether there is anything that was not popped: bytes that complete no event give nothing.
    pub fn is_ready(&self) -> bool {
        !self.pieces.is_empty() || self.held.is_some()
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

    /// What the model generated as far as it was read, whether or not the pieces were popped. A client that leaves
    /// owes this much.
    pub fn generated(&self) -> &Generated {
        &self.generated
    }

    /// The answer is complete; its last pieces may still wait to be popped.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Ends the stream here, as a provider does at `max_tokens`: what was read can still be popped, every choice that
    /// is not complete ends with `length`, and the usage chunk says `usage` where the client asked for one. What the
    /// provider sends from now on is ignored. A stream that is done stays as it is.
    pub fn stop_at_length(&mut self, usage: Usage) {
        if self.is_done {
            return;
        }
        self.usage = usage;
        // The provider counted what it sent. The client gets our count, and gets it once.
        self.held = self.held.take().filter(|held| matches!(held, Held::End(_)));
        let finish = |choice| Event::Finish { choice, reason: Finish::Length };
        let events: Vec<Event> = self.encoder.unfinished().map(finish).collect();
        self.encode(&events);
        self.complete_with_usage();
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
        let seen = stream::observe(&data, usage_in_x_groq, &mut self.generated).ok_or(StreamFault::BadFrame)?;
        if seen.is_error {
            return Err(StreamFault::Error(answer::error_in(&data)));
        }
        if !self.is_named
            && let Some(context) = stream::context_in(&data)
        {
            self.encoder.goes_on_from(context);
            self.is_named = true;
        }
        self.encoder.observed(seen.choices);
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
            self.held = Some(if is_usage { Held::Usage(data) } else { Held::End(data) });
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
                Event::Text { text, .. } | Event::Thinking { text, .. } => self.generated.push(text),
                Event::ToolCall { head, arguments, .. } => {
                    self.generated.push(head.as_ref().map_or("", |head| &head.name));
                    self.generated.push(arguments);
                }
                Event::Usage(usage) => self.usage.merge(*usage),
                Event::Finish { reason, .. } => self.finish = Some(reason.clone()),
            }
            self.encoder.encode(event, &mut payloads);
            let ends = matches!(event, Event::Finish { .. });
            let content = !ends;
            let last = if ends { payloads.pop() } else { None };
            for payload in payloads.drain(..) {
                self.release();
                self.pieces.push_back(Piece::Frame { bytes: framed(&payload), content });
            }
            if let Some(last) = last {
                self.release();
                self.held = Some(Held::End(last.into()));
            }
        }
    }

    /// Another chunk follows the one that was held: it was not the last.
    fn release(&mut self) {
        if let Some(Held::End(held) | Held::Usage(held)) = self.held.take() {
            self.pieces.push_back(Piece::Frame { bytes: framed(&held), content: true });
        }
    }

    /// The provider's answer is complete. One in OpenAI's dialect has brought its own usage chunk.
    fn complete(&mut self) {
        match self.source {
            Source::OpenAi { .. } => self.close(),
            Source::Ollama { .. } => self.complete_with_usage(),
        }
    }

    fn complete_with_usage(&mut self) {
        if self.include_usage {
            let usage = self.encoder.usage_chunk(&self.usage);
            self.release();
            self.held = Some(Held::Usage(usage.into()));
        }
        self.close();
    }

    fn close(&mut self) {
        if let Some(Held::End(last) | Held::Usage(last)) = self.held.take() {
            self.pieces.push_back(Piece::Last(last));
        }
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
