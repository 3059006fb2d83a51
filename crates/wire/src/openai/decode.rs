//! OpenAI's answers to canonical events: for a client of another dialect.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::error_in;
use super::stream::UsageBody;
use crate::event::{Answer, Event, Finish, ToolCallHead};
use crate::framing::sse::{self, Frame};
use crate::lenient::Lenient;
use crate::types::{BadAnswer, StreamFault};

/// Push decoder of one stream: bytes in, in any slices; events out. Of several choices the first is read.
#[derive(Debug)]
pub struct Decoder {
    reader: sse::Reader,
    usage_in_x_groq: bool,
    calls: Calls,
    has_finish: bool,
    is_done: bool,
}

/// Tool calls that one answer may hold; each piece of arguments is looked up among them.
const MAX_CALLS: usize = 1_024;

/// Which call a piece of arguments belongs to. Some providers number every call 0 and tell them apart by id alone.
#[derive(Debug, Default)]
struct Calls {
    /// Of each call its index and id as they came.
    known: Vec<(u64, String)>,
    is_refusal: bool,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(default)]
    usage: Lenient<UsageBody>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(default)]
    x_groq: Lenient<Nested>,
}

#[derive(Deserialize)]
struct Nested {
    #[serde(default)]
    usage: Lenient<UsageBody>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: Lenient<u64>,
    #[serde(borrow, alias = "message")]
    delta: Option<Said<'a>>,
    #[serde(default)]
    finish_reason: Lenient<String>,
}

/// A delta, or a whole message.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(default)]
    refusal: Lenient<String>,
    #[serde(default)]
    reasoning_content: Lenient<String>,
    #[serde(default)]
    reasoning: Lenient<String>,
    #[serde(borrow)]
    tool_calls: Option<Vec<Call<'a>>>,
    #[serde(borrow)]
    function_call: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(default)]
    index: Lenient<u64>,
    #[serde(default)]
    id: Lenient<String>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(default)]
    name: Lenient<String>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new(usage_in_x_groq: bool) -> Decoder {
        Decoder {
            reader: sse::Reader::new(),
            usage_in_x_groq,
            calls: Calls::default(),
            has_finish: false,
            is_done: false,
        }
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
        // Some providers leave out `[DONE]`; a choice that ended is a complete answer.
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
        match data.trim_ascii() {
            b"" => return Ok(()),
            b"[DONE]" => {
                self.is_done = true;
                return Ok(());
            }
            _ => {}
        }
        if is_error {
            return Err(StreamFault::Error(error_in(&data)));
        }
        let chunk: Chunk<'_> = serde_json::from_slice(&data).map_err(|_| StreamFault::BadFrame)?;
        if chunk.error.is_some_and(|error| error.get() != "null") {
            return Err(StreamFault::Error(error_in(&data)));
        }
        let nested = chunk.x_groq.0.filter(|_| self.usage_in_x_groq).and_then(|nested| nested.usage.0);
        for choice in chunk.choices.into_iter().flatten().filter(|choice| choice.index.0.unwrap_or(0) == 0) {
            self.has_finish |= choice.finish_reason.0.as_ref().is_some_and(|reason| !reason.is_empty());
            choice.events(&mut self.calls, out);
        }
        if self.calls.known.len() > MAX_CALLS {
            return Err(StreamFault::TooLarge);
        }
        let usage = chunk.usage.0.or(nested).map(UsageBody::usage).filter(|usage| !usage.is_unknown());
        out.extend(usage.map(Event::Usage));
        Ok(())
    }
}

/// Reads a whole answer.
///
/// # Errors
/// The body is not an answer.
pub(crate) fn decode_answer(body: &[u8]) -> Result<Answer, BadAnswer> {
    let whole: Chunk<'_> = serde_json::from_slice(body).map_err(|_| BadAnswer::NotJson)?;
    if whole.error.is_some_and(|error| error.get() != "null") {
        return Err(BadAnswer::Error(error_in(body)));
    }
    let choice = whole.choices.into_iter().flatten().next().filter(|choice| choice.delta.is_some());
    let (mut calls, mut events) = (Calls::default(), Vec::new());
    choice.ok_or(BadAnswer::NoChoices)?.events(&mut calls, &mut events);
    if calls.known.len() > MAX_CALLS {
        return Err(BadAnswer::NoChoices);
    }
    let mut answer = Answer { usage: whole.usage.0.map(UsageBody::usage).unwrap_or_default(), ..Answer::default() };
    events.into_iter().for_each(|event| answer.fold(event));
    Ok(answer)
}

impl Choice<'_> {
    fn events(self, calls: &mut Calls, out: &mut Vec<Event>) {
        if let Some(said) = self.delta {
            said.events(calls, out);
        }
        if let Some(reason) = self.finish_reason.0.filter(|reason| !reason.is_empty()) {
            let reason = match Finish::parse(&reason) {
                Finish::Stop if calls.is_refusal => Finish::ContentFilter,
                // Some providers say `stop` after tool calls.
                Finish::Stop if !calls.known.is_empty() => Finish::ToolCalls,
                Finish::Other(other) if other == "function_call" => Finish::ToolCalls,
                reason => reason,
            };
            out.push(Event::Finish { choice: 0, reason });
        }
    }
}

impl Said<'_> {
    /// Every field of a delta counts: one may hold text and calls at once.
    fn events(self, calls: &mut Calls, out: &mut Vec<Event>) {
        let Said { content, refusal, reasoning_content, reasoning, tool_calls, function_call } = self;
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        if let Some(text) = reasoning_content.0.or(reasoning.0).and_then(text) {
            out.push(Event::Thinking { choice: 0, text });
        }
        content_events(content, out);
        if let Some(text) = refusal.0.and_then(text) {
            calls.is_refusal = true;
            out.push(Event::Text { choice: 0, text });
        }
        let older =
            function_call.map(|function| Call { index: Lenient(None), id: Lenient(None), function: Some(function) });
        for call in tool_calls.into_iter().flatten().chain(older).take(MAX_CALLS.saturating_add(1)) {
            call.events(calls, out);
        }
    }
}

/// Content is a string, or a list of typed parts.
fn content_events(content: Option<&RawValue>, out: &mut Vec<Event>) {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Content {
        Text(String),
        Parts(Vec<Part>),
    }
    #[derive(Deserialize)]
    struct Part {
        #[serde(default)]
        text: Lenient<String>,
        #[serde(default)]
        thinking: Lenient<Vec<Part>>,
    }
    let Some(content) = content.and_then(|raw| serde_json::from_str::<Content>(raw.get()).ok()) else { return };
    let parts = match content {
        Content::Text(text) => vec![Part { text: Lenient(Some(text)), thinking: Lenient(None) }],
        Content::Parts(parts) => parts,
    };
    for part in parts {
        let thinking: String = part.thinking.0.into_iter().flatten().filter_map(|part| part.text.0).collect();
        if !thinking.is_empty() {
            out.push(Event::Thinking { choice: 0, text: thinking });
        }
        out.extend(part.text.0.filter(|text| !text.is_empty()).map(|text| Event::Text { choice: 0, text }));
    }
}

impl Call<'_> {
    fn events(self, calls: &mut Calls, out: &mut Vec<Event>) {
        let Some(function) = self.function else { return };
        let id = self.id.0.unwrap_or_default();
        let (place, is_new) = calls.place(self.index.0, &id, function.name.0.is_some());
        let head = is_new.then(|| ToolCallHead { id, name: function.name.0.unwrap_or_default() });
        let arguments = function.arguments.map(arguments).unwrap_or_default();
        if is_new || !arguments.is_empty() {
            out.push(Event::ToolCall { choice: 0, index: place, head, arguments });
        }
    }
}

impl Calls {
    /// The call's position in the answer, and whether this is the first of it.
    fn place(&mut self, index: Option<u64>, id: &str, has_name: bool) -> (u32, bool) {
        let last = |known: &(u64, String)| index.is_none_or(|index| known.0 == index);
        let found = self.known.iter().rposition(|known| last(known) && (id.is_empty() || known.1 == *id));
        // Without index and id a name is all that tells a new call.
        let is_same = found.is_some() && !(index.is_none() && id.is_empty() && has_name);
        let place = match found.filter(|_| is_same) {
            Some(place) => place,
            None => {
                self.known.push((index.unwrap_or(0), id.to_owned()));
                self.known.len().saturating_sub(1)
            }
        };
        (u32::try_from(place).unwrap_or(u32::MAX), !is_same)
    }
}

/// Arguments are JSON text; some providers send the object itself.
fn arguments(raw: &RawValue) -> String {
    match raw.get() {
        "null" => String::new(),
        raw => serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned()),
    }
}
