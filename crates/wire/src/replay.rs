//! A whole answer given as a stream, and a stream that was given kept as a whole answer, each in the client's own format.
//!
//! For answers that are given a second time: nothing is translated here, and what another request was told is told again
//! with an id and a time of its own. What cannot be put together without loss is not put together.

mod anthropic;
mod chunks;
mod completions;
mod openai;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::outline::{self, Members};
use crate::splice;
use crate::types::{BadAnswer, Client, Piece};
use crate::usage::Usage;

/// How a whole answer ended, where it ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every choice came to its natural end, with text in it.
    Stop,
    /// The model wants tools called.
    ToolCalls,
}

/// The pieces of a stream that gives `body`, a whole answer in the client's format: all of its content, the last data
/// chunk, and the end. `include_usage`: the client asked for the usage chunk.
///
/// # Errors
/// The body is no answer in that format.
pub fn pieces(client: Client, body: &[u8], include_usage: bool) -> Result<Vec<Piece>, BadAnswer> {
    match client {
        Client::OpenAi => chunks::pieces(body, &openai::FORM, include_usage),
        Client::Anthropic => anthropic::pieces(body),
        Client::Completions => chunks::pieces(body, &completions::FORM, include_usage),
    }
}

/// The same as the bytes of one body, with `metadata` as the member `x-gateway` of the last data chunk.
///
/// # Errors
/// As [`pieces`].
pub fn stream(client: Client, body: &[u8], include_usage: bool, metadata: &[u8]) -> Result<Bytes, BadAnswer> {
    let mut out = Vec::with_capacity(body.len().saturating_mul(2).saturating_add(1_024));
    for piece in pieces(client, body, include_usage)? {
        match piece {
            Piece::Frame { bytes, .. } | Piece::Comment(bytes) => out.extend_from_slice(&bytes),
            Piece::Last(payload) => {
                let payload = splice::append_member(&payload, "x-gateway", metadata);
                out.extend_from_slice(&client.last_frame(&payload, true));
            }
            Piece::Done => {}
        }
    }
    Ok(out.into())
}

/// The whole answer that the bytes of a complete stream gave, without our metadata; `usage` where the stream does not
/// tell it. `None` where something in it has no place in a whole answer, or it has several choices.
pub fn whole(client: Client, stream: &[u8], usage: &Usage) -> Option<Bytes> {
    let answer = match client {
        Client::OpenAi => openai::whole(stream, usage)?,
        Client::Anthropic => anthropic::whole(stream)?,
        Client::Completions => completions::whole(stream, usage)?,
    };
    serde_json::to_vec(&answer).ok().map(Bytes::from)
}

/// How a whole answer in the client's format ended; `None` where that is no end to be had again: cut short, filtered,
/// refused, empty, unknown.
pub fn ending(client: Client, body: &[u8]) -> Option<Ending> {
    match client {
        Client::OpenAi => openai::ending(body),
        Client::Anthropic => anthropic::ending(body),
        Client::Completions => completions::ending(body),
    }
}

/// The text of a whole answer in the client's format: of its first choice.
pub fn text(client: Client, body: &[u8]) -> Option<String> {
    match client {
        Client::OpenAi => openai::text(body),
        Client::Anthropic => anthropic::text(body),
        Client::Completions => completions::text(body),
    }
}

/// A whole answer as that to another request: its id is made of the request's, and it was made at `created` (seconds
/// since the Unix epoch). A body that has neither stays as it is.
pub fn renamed(client: Client, body: &[u8], request_id: &str, created: i64) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(body) else { return body.to_vec() };
    let Ok(members) = serde_json::from_str::<Members<'_>>(text) else { return body.to_vec() };
    let mut out = Vec::with_capacity(body.len().saturating_add(request_id.len()).saturating_add(16));
    let mut copied = 0;
    for (name, value) in &members.0 {
        let new = match (&**name, client) {
            ("id", Client::OpenAi) => Value::from(format!("chatcmpl-{request_id}")).to_string(),
            ("id", Client::Anthropic) => Value::from(format!("msg_{request_id}")).to_string(),
            ("id", Client::Completions) => Value::from(format!("cmpl-{request_id}")).to_string(),
            ("created", Client::OpenAi | Client::Completions) => created.to_string(),
            _ => continue,
        };
        let span = outline::span(text, value);
        out.extend_from_slice(text.get(copied..span.start).unwrap_or_default().as_bytes());
        out.extend_from_slice(new.as_bytes());
        copied = span.end;
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default().as_bytes());
    out
}

/// The payloads of a stream's events.
fn payloads(stream: &[u8]) -> Option<Vec<Map<String, Value>>> {
    use crate::framing::sse::{Frame, Reader};
    let mut reader = Reader::new();
    let mut found = Vec::new();
    reader.push(Bytes::copy_from_slice(stream)).ok()?;
    while let Some(frame) = reader.next_frame() {
        match frame {
            Frame::Event { is_error: true, .. } => return None,
            Frame::Event { data, .. } if matches!(data.trim_ascii(), b"" | b"[DONE]") => {}
            Frame::Event { data, .. } => match serde_json::from_slice(&data).ok()? {
                Value::Object(payload) if payload.get("error").is_none_or(Value::is_null) => found.push(payload),
                _ => return None,
            },
            Frame::Comment => {}
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests;
