//! Anthropic's stream: observed event by event, or decoded to canonical events.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{Block, Counts, StopDetails, block, error_in, finish};
use crate::event::{Event, Finish};
use crate::framing::sse::{self, Frame};
use crate::generated::Generated;
use crate::lenient::Lenient;
use crate::outline::Text;
use crate::types::StreamFault;
use crate::usage::Usage;

/// One event's data, as far as anybody needs it.
#[derive(Deserialize)]
struct EventBody<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(default)]
    index: Lenient<u32>,
    #[serde(default)]
    message: Lenient<Message>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(default)]
    usage: Lenient<Counts>,
}

#[derive(Clone, Copy, Deserialize)]
struct Message {
    #[serde(default)]
    usage: Lenient<Counts>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Delta<'a> {
    #[serde(rename = "text_delta")]
    Text {
        #[serde(borrow)]
        text: Text<'a>,
    },
    #[serde(rename = "thinking_delta")]
    Thinking {
        #[serde(borrow)]
        thinking: Text<'a>,
    },
    #[serde(rename = "signature_delta")]
    Signature {
        #[serde(borrow)]
        signature: Text<'a>,
    },
    #[serde(rename = "input_json_delta")]
    InputJson {
        #[serde(borrow)]
        partial_json: Text<'a>,
    },
    #[serde(other)]
    Other,
}

/// What an event says, as far as relaying needs it. Its text goes to [`Generated`].
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Text, a tool call or reasoning is in it.
    pub(crate) has_content: bool,
    /// The answer's end.
    pub(crate) finish: Option<Finish>,
    /// The last event.
    pub(crate) is_last: bool,
    /// A sign of life and nothing else.
    pub(crate) is_ping: bool,
    /// The block that it begins (true) or ends.
    pub(crate) block: Option<(u32, bool)>,
    /// Its type.
    pub(crate) kind: String,
}

/// What a stream has told so far.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    counts: Counts,
}

impl Observer {
    /// Reads one event's data and appends its text to `generated`.
    ///
    /// # Errors
    /// It is no event, or it is an error.
    pub(crate) fn observe(&mut self, data: &[u8], generated: &mut Generated) -> Result<Seen, StreamFault> {
        let event: EventBody<'_> = serde_json::from_slice(data).map_err(|_| StreamFault::BadFrame)?;
        let mut seen = Seen { kind: event.kind.0.clone().into_owned(), ..Seen::default() };
        self.counts.merge(event.message.0.and_then(|message| message.usage.0).unwrap_or_default());
        self.counts.merge(event.usage.0.unwrap_or_default());
        match &*event.kind.0 {
            "error" => return Err(StreamFault::Error(error_in(data))),
            "ping" => seen.is_ping = true,
            "message_stop" => seen.is_last = true,
            "message_delta" => seen.finish = stop(event.delta).map(|(finish, _)| finish),
            "content_block_start" => {
                seen.block = Some((event.index.0.unwrap_or(0), true));
                if let Some(Block::ToolUse { head, .. }) = event.content_block.and_then(block) {
                    seen.has_content = true;
                    generated.push(&head.name);
                }
            }
            "content_block_stop" => seen.block = Some((event.index.0.unwrap_or(0), false)),
            "content_block_delta" => {
                let delta = event.delta.and_then(|delta| serde_json::from_str::<Delta<'_>>(delta.get()).ok());
                if let Some(
                    Delta::Text { text } | Delta::Thinking { thinking: text } | Delta::InputJson { partial_json: text },
                ) = delta
                {
                    seen.has_content = !text.0.is_empty();
                    generated.push(&text.0);
                }
            }
            _ => {}
        }
        Ok(seen)
    }

    /// Token counts so far.
    pub(crate) fn usage(&self) -> Usage {
        self.counts.usage()
    }
}

/// Why the answer ended, and the vendor's explanation of a refusal.
fn stop(delta: Option<&RawValue>) -> Option<(Finish, Option<String>)> {
    #[derive(Deserialize)]
    struct Stop {
        #[serde(default)]
        stop_reason: Lenient<String>,
        #[serde(default)]
        stop_details: Lenient<StopDetails>,
    }
    let stop: Stop = serde_json::from_str(delta?.get()).ok()?;
    let explanation = stop.stop_details.0.and_then(|details| details.explanation.0).filter(|text| !text.is_empty());
    stop.stop_reason.0.as_deref().map(|reason| (finish(reason), explanation))
}

/// Push decoder of one stream: bytes in, in any slices; events out.
#[derive(Debug, Default)]
pub struct Decoder {
    reader: sse::Reader,
    counts: Counts,
    calls: u32,
    /// The block under way is a call of which no argument has come, and what its start said of them.
    pending_input: Option<String>,
    has_finish: bool,
    is_done: bool,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// True when the end of the answer was read; what follows is ignored.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Takes the next bytes and appends the events that they complete to `out`.
    ///
    /// # Errors
    /// The stream is broken; events before the fault are in `out`.
    pub fn push(&mut self, bytes: bytes::Bytes, out: &mut Vec<Event>) -> Result<(), StreamFault> {
        self.reader.push(bytes).map_err(|_| StreamFault::TooLarge)?;
        while !self.is_done {
            let Some(frame) = self.reader.next_frame() else { return Ok(()) };
            self.read(frame, out)?;
        }
        Ok(())
    }

    /// The provider closed the connection cleanly.
    ///
    /// # Errors
    /// [`StreamFault::Truncated`] when the answer has no end.
    pub fn end(&mut self, out: &mut Vec<Event>) -> Result<(), StreamFault> {
        if let Some(frame) = self.reader.end() {
            self.read(frame, out)?;
        }
        // With its stop reason and its counts the answer is complete; `message_stop` adds nothing.
        self.is_done |= self.has_finish;
        if self.is_done { Ok(()) } else { Err(StreamFault::Truncated) }
    }

    fn read(&mut self, frame: Frame, out: &mut Vec<Event>) -> Result<(), StreamFault> {
        let (is_error, data) = match frame {
            Frame::Comment => {
                out.push(Event::Alive);
                return Ok(());
            }
            Frame::Event { is_error, data, .. } => (is_error, data),
        };
        if data.trim_ascii().is_empty() {
            return Ok(());
        }
        if is_error {
            return Err(StreamFault::Error(error_in(&data)));
        }
        let event: EventBody<'_> = serde_json::from_slice(&data).map_err(|_| StreamFault::BadFrame)?;
        self.counts.merge(event.message.0.and_then(|message| message.usage.0).unwrap_or_default());
        self.counts.merge(event.usage.0.unwrap_or_default());
        match &*event.kind.0 {
            "error" => return Err(StreamFault::Error(error_in(&data))),
            "ping" => out.push(Event::Alive),
            "message_start" => out.push(Event::Usage(self.counts.usage())),
            "content_block_start" => self.begin(event.content_block.and_then(block), out),
            "content_block_delta" => self.go_on(event.delta, out),
            "content_block_stop" => self.complete_call(out),
            "message_delta" => {
                out.push(Event::Usage(self.counts.usage()));
                if let Some((reason, explanation)) = stop(event.delta) {
                    self.has_finish = true;
                    out.extend(explanation.map(|text| Event::Refusal { choice: 0, text }));
                    out.push(Event::Finish { choice: 0, reason });
                }
            }
            "message_stop" => self.is_done = true,
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, block: Option<Block<'_>>, out: &mut Vec<Event>) {
        match block {
            Some(Block::Text(text)) if !text.is_empty() => out.push(Event::Text { choice: 0, text }),
            Some(Block::Thinking { text, .. }) if !text.is_empty() => out.push(Event::Thinking { choice: 0, text }),
            Some(Block::Redacted(data)) => out.push(Event::Redacted { choice: 0, data }),
            Some(Block::ToolUse { head, input }) => {
                let head = Some(head);
                out.push(Event::ToolCall { choice: 0, index: self.calls, head, arguments: String::new() });
                // The start says `{}` and the arguments follow, unless there are none: then it said all.
                self.pending_input = Some(input.to_owned());
                self.calls = self.calls.saturating_add(1);
            }
            Some(Block::Text(_) | Block::Thinking { .. }) | None => {}
        }
    }

    fn go_on(&mut self, delta: Option<&RawValue>, out: &mut Vec<Event>) {
        let Some(delta) = delta.and_then(|delta| serde_json::from_str::<Delta<'_>>(delta.get()).ok()) else { return };
        match delta {
            Delta::Text { text } if !text.0.is_empty() => {
                out.push(Event::Text { choice: 0, text: text.0.into_owned() });
            }
            Delta::Thinking { thinking } if !thinking.0.is_empty() => {
                out.push(Event::Thinking { choice: 0, text: thinking.0.into_owned() });
            }
            Delta::Signature { signature } => {
                out.push(Event::Signature { choice: 0, signature: signature.0.into_owned() });
            }
            Delta::InputJson { partial_json } if !partial_json.0.is_empty() => {
                self.pending_input = None;
                self.argue(partial_json.0.into_owned(), out);
            }
            Delta::Text { .. } | Delta::Thinking { .. } | Delta::InputJson { .. } | Delta::Other => {}
        }
    }

    fn complete_call(&mut self, out: &mut Vec<Event>) {
        if let Some(input) = self.pending_input.take() {
            self.argue(input, out);
        }
    }

    fn argue(&self, arguments: String, out: &mut Vec<Event>) {
        let index = self.calls.saturating_sub(1);
        out.push(Event::ToolCall { choice: 0, index, head: None, arguments });
    }
}
