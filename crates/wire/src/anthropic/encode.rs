//! Canonical events to Anthropic's stream: one open block at a time, counted up, and the counts at the end.

use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::{call_id, counts, message_id, stop_reason};
use crate::event::{Event, Finish, ToolCallHead};
use crate::types::AnswerContext;
use crate::usage::Usage;

/// What calls that wait may hold together. No model writes more; a provider that does gets its arguments cut.
const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;

/// Encoder of one stream. Of several choices the first is written.
#[derive(Debug)]
pub struct Encoder {
    context: AnswerContext,
    is_begun: bool,
    /// Blocks that were begun.
    blocks: u32,
    open: Option<Open>,
    /// Calls that began while another was under way.
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    finish: Option<Finish>,
}

/// The block under way.
#[derive(Debug)]
enum Open {
    Text,
    Thinking,
    Call {
        index: u32,
        arguments: Completeness,
    },
    /// One that the provider began, in events that were handed on as they came.
    Foreign(u32),
}

#[derive(Debug)]
struct Waiting {
    index: u32,
    head: ToolCallHead,
    arguments: String,
}

/// Whether the pieces of an object make a whole, by its brackets.
#[derive(Debug, Default)]
struct Completeness {
    depth: u32,
    in_string: bool,
    is_escaped: bool,
    is_complete: bool,
}

impl Completeness {
    fn push(&mut self, piece: &str) {
        for byte in piece.bytes() {
            match (self.in_string, byte) {
                (true, _) if self.is_escaped => self.is_escaped = false,
                (true, b'\\') => self.is_escaped = true,
                (true, b'"') => self.in_string = false,
                (true, _) => {}
                (false, b'"') => self.in_string = true,
                (false, b'{' | b'[') => self.depth = self.depth.saturating_add(1),
                (false, b'}' | b']') => {
                    self.depth = self.depth.saturating_sub(1);
                    self.is_complete = self.depth == 0;
                }
                (false, _) => {}
            }
        }
    }
}

impl Encoder {
    /// An encoder at the start of a stream.
    pub fn new(context: AnswerContext) -> Encoder {
        Encoder { context, is_begun: false, blocks: 0, open: None, waiting: Vec::new(), waiting_bytes: 0, finish: None }
    }

    /// Notes that the provider began a block, or ended it, in an event that was handed on as it came.
    pub(crate) fn observed(&mut self, index: u32, begins: bool) {
        self.is_begun = true;
        self.blocks = index.saturating_add(1);
        self.open = begins.then_some(Open::Foreign(index));
    }

    /// Appends the events that say `event` to `out`.
    pub fn encode(&mut self, event: &Event, out: &mut Vec<Vec<u8>>) {
        match event {
            Event::Text { choice: 0, text } => {
                if !matches!(self.open, Some(Open::Text)) {
                    self.begin(Open::Text, &json!({"type": "text", "text": ""}), out);
                }
                self.delta(&json!({"type": "text_delta", "text": text}), out);
            }
            Event::Thinking { choice: 0, text } => {
                self.think(out);
                self.delta(&json!({"type": "thinking_delta", "thinking": text}), out);
            }
            Event::Signature { choice: 0, signature } => {
                self.think(out);
                self.delta(&json!({"type": "signature_delta", "signature": signature}), out);
                self.close(out);
            }
            Event::Redacted { choice: 0, data } => {
                self.begin(Open::Thinking, &json!({"type": "redacted_thinking", "data": data}), out);
                self.close(out);
            }
            Event::ToolCall { choice: 0, index, head, arguments } => self.call(*index, head.as_ref(), arguments, out),
            Event::Finish { choice: 0, reason } => self.finish = Some(reason.clone()),
            Event::Text { .. }
            | Event::Thinking { .. }
            | Event::Signature { .. }
            | Event::Redacted { .. }
            | Event::Refusal { .. }
            | Event::ToolCall { .. }
            | Event::Finish { .. }
            | Event::Usage(_)
            | Event::Alive => {}
        }
    }

    /// The estimate of the prompt that the client was given.
    pub(crate) fn prompt_tokens(&self) -> u64 {
        self.context.prompt_tokens
    }

    /// Appends the end of the answer to `out`, with its counts; the payload of the last event comes back.
    pub(crate) fn end(&mut self, usage: &Usage, out: &mut Vec<Vec<u8>>) -> Bytes {
        self.start(out);
        self.close_all(out);
        let delta = json!({"stop_reason": stop_reason(self.finish.as_ref()), "stop_sequence": null});
        out.push(frame(&json!({"type": "message_delta", "delta": delta, "usage": counts(usage)})));
        super::LAST_EVENT
    }

    fn start(&mut self, out: &mut Vec<Vec<u8>>) {
        if std::mem::replace(&mut self.is_begun, true) {
            return;
        }
        // What is known of the input is an estimate until the end, which tells the count.
        let estimate = Usage { input: Some(self.context.prompt_tokens), output: Some(1), ..Usage::default() };
        let message = json!({
            "id": message_id(&self.context.id), "type": "message", "role": "assistant", "model": self.context.model,
            "content": [], "stop_reason": null, "stop_sequence": null, "usage": counts(&estimate),
        });
        out.push(frame(&json!({"type": "message_start", "message": message})));
    }

    fn think(&mut self, out: &mut Vec<Vec<u8>>) {
        if !matches!(self.open, Some(Open::Thinking)) {
            self.begin(Open::Thinking, &json!({"type": "thinking", "thinking": "", "signature": ""}), out);
        }
    }

    fn begin(&mut self, open: Open, block: &Value, out: &mut Vec<Vec<u8>>) {
        self.start(out);
        self.close_all(out);
        self.open_block(open, block, out);
    }

    fn open_block(&mut self, open: Open, block: &Value, out: &mut Vec<Vec<u8>>) {
        out.push(frame(&json!({"type": "content_block_start", "index": self.blocks, "content_block": block})));
        self.blocks = self.blocks.saturating_add(1);
        self.open = Some(open);
    }

    fn delta(&self, delta: &Value, out: &mut Vec<Vec<u8>>) {
        let index = self.blocks.saturating_sub(1);
        out.push(frame(&json!({"type": "content_block_delta", "index": index, "delta": delta})));
    }

    fn close(&mut self, out: &mut Vec<Vec<u8>>) {
        let index = match self.open.take() {
            None => return,
            Some(Open::Foreign(index)) => index,
            Some(Open::Text | Open::Thinking | Open::Call { .. }) => self.blocks.saturating_sub(1),
        };
        out.push(frame(&json!({"type": "content_block_stop", "index": index})));
    }

    /// Closes the block under way, and writes the calls that waited for its end.
    fn close_all(&mut self, out: &mut Vec<Vec<u8>>) {
        self.close(out);
        self.waiting_bytes = 0;
        for Waiting { index, head, arguments } in std::mem::take(&mut self.waiting) {
            self.open_call(index, &head, &arguments, out);
            self.close(out);
        }
    }

    fn call(&mut self, index: u32, head: Option<&ToolCallHead>, piece: &str, out: &mut Vec<Vec<u8>>) {
        match (&mut self.open, head) {
            (Some(Open::Call { index: open, arguments }), None) if *open == index => {
                arguments.push(piece);
                if !piece.is_empty() {
                    self.delta(&json!({"type": "input_json_delta", "partial_json": piece}), out);
                }
            }
            // Its arguments may go on: the new call waits, unless too much waits already.
            (Some(Open::Call { arguments, .. }), Some(head))
                if !arguments.is_complete && self.waiting_bytes <= MAX_WAITING_BYTES =>
            {
                self.waiting_bytes = self.waiting_bytes.saturating_add(head.name.len()).saturating_add(piece.len());
                self.waiting.push(Waiting { index, head: head.clone(), arguments: piece.to_owned() });
            }
            (_, Some(head)) => {
                self.start(out);
                self.close_all(out);
                self.open_call(index, head, piece, out);
            }
            (_, None) => {
                self.waiting_bytes = self.waiting_bytes.saturating_add(piece.len());
                if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.index == index)
                    && self.waiting_bytes <= MAX_WAITING_BYTES
                {
                    waiting.arguments.push_str(piece);
                }
            }
        }
    }

    fn open_call(&mut self, index: u32, head: &ToolCallHead, piece: &str, out: &mut Vec<Vec<u8>>) {
        let id = call_id(&self.context.id, index, &head.id);
        let mut arguments = Completeness::default();
        arguments.push(piece);
        let block = json!({"type": "tool_use", "id": id, "name": head.name, "input": {}});
        self.open_block(Open::Call { index, arguments }, &block, out);
        if !piece.is_empty() {
            self.delta(&json!({"type": "input_json_delta", "partial_json": piece}), out);
        }
    }
}

/// One event with its name, which is its type.
fn frame(payload: &Value) -> Vec<u8> {
    let kind = payload["type"].as_str().unwrap_or_default();
    format!("event: {kind}\ndata: {payload}\n\n").into_bytes()
}
