//! The chunks of OpenAI's two streams, cut from a whole answer's bytes: what a chunk repeats is copied, not read.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::openai::request::outline_of;
use crate::splice;
use crate::types::{BadAnswer, Piece};

/// Where the two streams differ.
pub(super) struct Form {
    /// The value of a chunk's `object`, as JSON.
    pub(super) object: &'static str,
    /// The member of a choice that has what is said, and what it is when all is said.
    pub(super) said: &'static str,
    pub(super) nothing: &'static str,
    /// What a choice says.
    pub(super) content: for<'a> fn(&Choice<'a>) -> Option<Cow<'a, str>>,
}

/// A choice of a whole answer.
#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(borrow)]
    index: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) message: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) text: Option<&'a RawValue>,
    #[serde(borrow)]
    logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

/// One chunk a choice with all of it, one with its end, and the usage where it is asked for.
pub(super) fn pieces(body: &[u8], form: &Form, include_usage: bool) -> Result<Vec<Piece>, BadAnswer> {
    let text = std::str::from_utf8(body).map_err(|_| BadAnswer::NotJson)?;
    // A line break ends an event's line, and in JSON it is never part of a string.
    let text: Cow<'_, str> =
        if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], " ").into() } else { text.into() };
    let members = outline_of(&text).map_err(|_| BadAnswer::NotJson)?;
    let member = |name: &str| members.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.get());
    let choices: Vec<Choice<'_>> = member("choices").and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
    let usage = member("usage").filter(|usage| include_usage && *usage != "null");

    let head = splice::head(&text, &members, &["choices", "usage"], ("object", form.object));
    let chunk = |choices: &[&str]| {
        let mut chunk = Vec::with_capacity(head.len() + choices.iter().map(|part| part.len()).sum::<usize>() + 32);
        chunk.extend_from_slice(b"data: ");
        chunk.extend_from_slice(&head);
        chunk.extend_from_slice(br#","choices":["#);
        choices.iter().for_each(|part| chunk.extend_from_slice(part.as_bytes()));
        chunk.push(b']');
        chunk
    };
    let mut ends: Vec<Vec<u8>> = Vec::with_capacity(choices.len() + 1);
    let mut pieces = Vec::with_capacity(choices.len().saturating_mul(2).saturating_add(2));
    for choice in &choices {
        let said = (form.content)(choice).ok_or(BadAnswer::NoChoices)?;
        let (index, logprobs) = (raw(choice.index, "0"), raw(choice.logprobs, "null"));
        let told = |said: &str, logprobs: &str, reason: &str| {
            let begin = [r#"{""#, form.said, r#"":"#, said];
            let end = [r#","index":"#, index, r#","logprobs":"#, logprobs, r#","finish_reason":"#, reason, "}"];
            chunk(&[&begin[..], &end[..]].concat())
        };
        pieces.push(frame(told(&said, logprobs, "null")));
        ends.push(told(form.nothing, "null", raw(choice.finish_reason, "null")));
    }
    if let Some(usage) = usage {
        let mut counts = chunk(&[]);
        counts.extend_from_slice(br#","usage":"#);
        counts.extend_from_slice(usage.as_bytes());
        ends.push(counts);
    }
    let mut end = ends.pop().filter(|_| !choices.is_empty()).ok_or(BadAnswer::NoChoices)?;
    pieces.extend(ends.into_iter().map(frame));
    end.push(b'}');
    pieces.extend([Piece::Last(Bytes::from(end).slice(b"data: ".len()..)), Piece::Done]);
    Ok(pieces)
}

fn raw<'a>(value: Option<&'a RawValue>, missing: &'a str) -> &'a str {
    value.map_or(missing, RawValue::get)
}

fn frame(mut chunk: Vec<u8>) -> Piece {
    chunk.extend_from_slice(b"}\n\n");
    Piece::Frame { bytes: chunk.into(), content: true }
}
