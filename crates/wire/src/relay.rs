//! A provider's stream on its way to a client: bytes in, pieces out, no waiting and no I/O.
//!
//! Where both speak one dialect the events go out as the very bytes that came, and are only observed. Otherwise they are
//! decoded to canonical events and encoded again.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::bent::Bent;
use crate::event::{Answer, Event, Finish};
use crate::framing::sse::{self, Frame};
use crate::generated::Generated;
use crate::openai::{answer, stream};
use crate::types::{AnswerContext, Client, Kept, Piece, StreamFault};
use crate::usage::Usage;
use crate::{Dialect, Quirk, anthropic, completions, media, ollama, openai};

/// Reasoning that is longer is not kept.
const MAX_KEPT_BYTES: usize = 1024 * 1024;
/// Calls of one answer for which it is kept.
const MAX_KEPT_CALLS: usize = 256;
const COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// Turns one provider's stream into a client's.
#[derive(Debug)]
pub struct Relay {
    source: Source,
    /// Writes what the provider does not: all of another dialect, and the end of a stream that is stopped.
    encoder: Encoder,
    include_usage: bool,
    /// What has to be bent back, of a stream that is translated.
    bent: Bent,
    usage: Usage,
    finish: Option<Finish>,
    generated: Generated,
    /// What has to come back, of a stream that is translated.
    kept: Answer,
    pieces: VecDeque<Piece>,
    held: Option<Held>,
    is_done: bool,
}

#[derive(Debug)]
enum Source {
    /// OpenAI's chunks for a client of the same dialect.
    OpenAi {
        reader: sse::Reader,
        usage_in_x_groq: bool,
        /// The encoder has the id, time and model of the provider's own chunks.
        is_named: bool,
    },
    /// Anthropic's events for a client of the same dialect.
    Anthropic { reader: sse::Reader, observer: Box<anthropic::stream::Observer> },
    /// Events of an API that passes through.
    Media { reader: sse::Reader, measure: media::Measure, is_complete: bool },
    /// Anything else.
    Decoded(Box<Decoder>),
}

#[derive(Debug)]
enum Decoder {
    OpenAi(openai::Decoder),
    Anthropic(anthropic::Decoder),
    Ollama(ollama::Decoder),
}

impl Decoder {
    fn push(&mut self, bytes: Bytes, out: &mut Vec<Event>) -> Result<(), StreamFault> {
        match self {
            Decoder::OpenAi(decoder) => decoder.push(bytes, out),
            Decoder::Anthropic(decoder) => decoder.push(bytes, out),
            Decoder::Ollama(decoder) => decoder.push(&bytes, out),
        }
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), StreamFault> {
        match self {
            Decoder::OpenAi(decoder) => decoder.end(out),
            Decoder::Anthropic(decoder) => decoder.end(out),
            Decoder::Ollama(decoder) => decoder.end(out),
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Decoder::OpenAi(decoder) => decoder.is_done(),
            Decoder::Anthropic(decoder) => decoder.is_done(),
            Decoder::Ollama(decoder) => decoder.is_done(),
        }
    }
}

#[derive(Debug)]
enum Encoder {
    OpenAi(openai::Encoder),
    Anthropic(anthropic::Encoder),
    Completions(completions::Encoder),
    /// Nothing is written that the provider did not write.
    Nothing,
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
    pub fn new(from: Dialect, client: Client, context: AnswerContext, include_usage: bool, quirks: &[Quirk]) -> Relay {
        let usage_in_x_groq = quirks.contains(&Quirk::UsageInXGroq);
        let reader = sse::Reader::new;
        let decoded = |decoder| Source::Decoded(Box::new(decoder));
        let source = match (from, client) {
            (Dialect::OpenAi, Client::OpenAi) => Source::OpenAi { reader: reader(), usage_in_x_groq, is_named: false },
            (Dialect::Anthropic, Client::Anthropic) => Source::Anthropic { reader: reader(), observer: Box::default() },
            (Dialect::OpenAi, Client::Anthropic | Client::Completions) => {
                decoded(Decoder::OpenAi(openai::Decoder::new(usage_in_x_groq)))
            }
            (Dialect::Anthropic, Client::OpenAi | Client::Completions) => {
                decoded(Decoder::Anthropic(anthropic::Decoder::new()))
            }
            (Dialect::Ollama, _) => decoded(Decoder::Ollama(ollama::Decoder::new(context.bent.forced_call.as_deref()))),
        };
        let bent = context.bent.clone();
        let encoder = match client {
            Client::OpenAi => Encoder::OpenAi(openai::Encoder::new(context)),
            Client::Anthropic => Encoder::Anthropic(anthropic::Encoder::new(context)),
            Client::Completions => Encoder::Completions(completions::Encoder::new(context)),
        };
        Relay { bent, ..Relay::between(source, encoder, include_usage) }
    }

    /// A relay of events that pass through.
    pub fn passing(request: &media::Request) -> Relay {
        let source = Source::Media { reader: sse::Reader::new(), measure: request.measure(), is_complete: false };
        Relay::between(source, Encoder::Nothing, false)
    }

    fn between(source: Source, encoder: Encoder, include_usage: bool) -> Relay {
        Relay {
            source,
            encoder,
            include_usage,
            bent: Bent::default(),
            usage: Usage::default(),
            finish: None,
            generated: Generated::default(),
            kept: Answer::default(),
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
            Source::OpenAi { reader, .. } | Source::Anthropic { reader, .. } | Source::Media { reader, .. } => {
                reader.push(bytes.clone()).map_err(|_| StreamFault::TooLarge)?;
                self.read_frames(&bytes)
            }
            Source::Decoded(decoder) => {
                let mut events = Vec::new();
                let outcome = decoder.push(bytes, &mut events);
                let is_done = decoder.is_done();
                events.iter_mut().for_each(|event| self.bent.back(event));
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
            Source::OpenAi { reader, .. } | Source::Anthropic { reader, .. } | Source::Media { reader, .. } => {
                if let Some(frame) = reader.end() {
                    self.read_frame(frame, &Bytes::new())?;
                }
            }
            Source::Decoded(decoder) => {
                let mut events = Vec::new();
                let outcome = decoder.end(&mut events);
                events.iter_mut().for_each(|event| self.bent.back(event));
                self.encode(&events);
                outcome?;
            }
        }
        if let Source::Media { is_complete: true, .. } = self.source {
            self.complete();
        }
        match (self.is_done, &self.finish) {
            (true, _) => Ok(()),
            // Some providers leave out the last event; a choice that ended is a complete answer.
            (false, Some(_)) => {
                if let Source::Anthropic { .. } = self.source {
                    self.held = Some(Held::End(anthropic::LAST_EVENT));
                }
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

    /// What has to come back with the results of the answer's tool calls.
    pub fn kept(&self) -> Kept {
        Kept::of(&self.kept)
    }

    /// The frame of the stream's end, where the client's dialect has one.
    pub fn done_frame(&self) -> Option<Bytes> {
        match self.encoder {
            Encoder::OpenAi(_) => Client::OpenAi.done_frame(),
            Encoder::Completions(_) => Client::Completions.done_frame(),
            Encoder::Anthropic(_) => Client::Anthropic.done_frame(),
            Encoder::Nothing => None,
        }
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
        let events: Vec<Event> = match &self.encoder {
            Encoder::OpenAi(encoder) => encoder.unfinished().map(finish).collect(),
            Encoder::Anthropic(_) | Encoder::Completions(_) => vec![finish(0)],
            Encoder::Nothing => Vec::new(),
        };
        self.encode(&events);
        self.complete_with_usage();
    }

    fn read_frames(&mut self, input: &Bytes) -> Result<(), StreamFault> {
        while !self.is_done {
            let (Source::OpenAi { reader, .. } | Source::Anthropic { reader, .. } | Source::Media { reader, .. }) =
                &mut self.source
            else {
                return Ok(());
            };
            let Some(frame) = reader.next_frame() else { return Ok(()) };
            self.read_frame(frame, input)?;
        }
        Ok(())
    }

    fn read_frame(&mut self, frame: Frame, input: &Bytes) -> Result<(), StreamFault> {
        let (is_error, is_named, data, verbatim) = match frame {
            Frame::Comment => {
                self.pieces.push_back(Piece::Comment(COMMENT));
                return Ok(());
            }
            Frame::Event { is_error, is_named, data, verbatim } => (is_error, is_named, data, verbatim),
        };
        if data.trim_ascii().is_empty() {
            return Ok(());
        }
        match &mut self.source {
            Source::OpenAi { .. } => self.read_chunk(is_error, data, verbatim, input),
            Source::Anthropic { observer, .. } => {
                let seen = observer.observe(&data, &mut self.generated)?;
                self.usage.merge(observer.usage());
                self.read_event(seen, data);
                Ok(())
            }
            Source::Media { measure, is_complete, .. } => {
                let mut kind = String::new();
                if data.trim_ascii() != b"[DONE]" {
                    let seen = media::observe_event(&data, *measure)?;
                    self.usage.merge(seen.usage);
                    *is_complete |= seen.is_last;
                    kind = seen.kind;
                }
                let again = || if is_named { named(&kind, &data) } else { framed(&data) };
                self.emit(verbatim.unwrap_or_else(again), true, input);
                Ok(())
            }
            Source::Decoded(_) => Ok(()),
        }
    }

    /// One of OpenAI's chunks.
    fn read_chunk(
        &mut self,
        is_error: bool,
        data: Bytes,
        verbatim: Option<Bytes>,
        input: &Bytes,
    ) -> Result<(), StreamFault> {
        let (Source::OpenAi { usage_in_x_groq, is_named, .. }, Encoder::OpenAi(encoder)) =
            (&mut self.source, &mut self.encoder)
        else {
            return Ok(());
        };
        if data.trim_ascii() == b"[DONE]" {
            self.complete();
            return Ok(());
        }
        if is_error {
            return Err(StreamFault::Error(answer::error_in(&data)));
        }
        let seen = stream::observe(&data, *usage_in_x_groq, &mut self.generated).ok_or(StreamFault::BadFrame)?;
        if seen.is_error {
            return Err(StreamFault::Error(answer::error_in(&data)));
        }
        if !*is_named && let Some(context) = stream::context_in(&data) {
            encoder.goes_on_from(context);
            *is_named = true;
        }
        encoder.observed(seen.choices);
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

    /// One of Anthropic's events.
    fn read_event(&mut self, seen: anthropic::stream::Seen, data: Bytes) {
        if let (Encoder::Anthropic(encoder), Some((index, begins))) = (&mut self.encoder, seen.block) {
            encoder.observed(index, begins);
        }
        self.finish = seen.finish.or(self.finish.take());
        if seen.is_last {
            self.held = Some(Held::End(data));
            self.complete();
        } else if seen.is_ping {
            self.pieces.push_back(Piece::Comment(named(&seen.kind, &data)));
        } else {
            self.pieces.push_back(Piece::Frame { bytes: named(&seen.kind, &data), content: seen.has_content });
        }
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
            self.keep(event);
            match event {
                Event::Text { text, .. } | Event::Thinking { text, .. } => self.generated.push(text),
                Event::Refusal { .. } => {}
                Event::Signature { .. } | Event::Redacted { .. } => {}
                Event::Alive => self.pieces.push_back(Piece::Comment(COMMENT)),
                Event::ToolCall { head, arguments, .. } => {
                    self.generated.push(head.as_ref().map_or("", |head| &head.name));
                    self.generated.push(arguments);
                }
                Event::Usage(usage) => self.usage.merge(*usage),
                Event::Finish { reason, .. } => self.finish = Some(reason.clone()),
            }
            match &mut self.encoder {
                Encoder::OpenAi(encoder) => encoder.encode(event, &mut payloads),
                Encoder::Completions(encoder) => payloads.extend(encoder.encode(event)),
                Encoder::Nothing => {}
                Encoder::Anthropic(encoder) => {
                    encoder.encode(event, &mut payloads);
                    let frames = payloads.drain(..).map(|bytes| Piece::Frame { bytes: bytes.into(), content: true });
                    self.pieces.extend(frames);
                    continue;
                }
            }
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

    /// Notes what has to come back: reasoning, and the ids of calls. What is longer than anybody keeps is let go.
    fn keep(&mut self, event: &Event) {
        let is_small = |answer: &Answer| Kept::of(answer).bytes() < MAX_KEPT_BYTES;
        match event {
            Event::Thinking { .. } if self.generated.bytes() > MAX_KEPT_BYTES as u64 => self.kept = Answer::default(),
            Event::Thinking { .. } => self.kept.fold(event.clone()),
            Event::Signature { .. } | Event::Redacted { .. } if is_small(&self.kept) => self.kept.fold(event.clone()),
            Event::ToolCall { head: Some(head), .. }
                if !self.kept.thoughts.is_empty() && self.kept.tool_calls.len() < MAX_KEPT_CALLS =>
            {
                self.kept.tool_calls.push((head.clone(), String::new()));
            }
            _ => {}
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
            Source::OpenAi { .. } | Source::Anthropic { .. } | Source::Media { .. } => self.close(),
            Source::Decoded(_) => self.complete_with_usage(),
        }
    }

    fn complete_with_usage(&mut self) {
        match &mut self.encoder {
            Encoder::OpenAi(encoder) if self.include_usage => {
                let usage = encoder.usage_chunk(&self.usage);
                self.release();
                self.held = Some(Held::Usage(usage.into()));
            }
            Encoder::Completions(encoder) if self.include_usage => {
                let usage = encoder.usage_chunk(&self.usage);
                self.release();
                self.held = Some(Held::Usage(usage.into()));
            }
            Encoder::OpenAi(_) | Encoder::Completions(_) | Encoder::Nothing => {}
            Encoder::Anthropic(encoder) => {
                let mut frames = Vec::new();
                let usage = self.usage.or_estimated(encoder.prompt_tokens(), self.generated.bytes());
                let last = encoder.end(&usage, &mut frames);
                let frames = frames.into_iter().map(|bytes| Piece::Frame { bytes: bytes.into(), content: true });
                self.pieces.extend(frames);
                self.held = Some(Held::End(last));
            }
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

/// One of Anthropic's events, by its name.
fn named(kind: &str, data: &[u8]) -> Bytes {
    [b"event: ", kind.as_bytes(), b"\n", &framed(data)].concat().into()
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
