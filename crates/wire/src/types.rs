//! The types that gateway and dialects exchange.

use bytes::Bytes;

use crate::error_body::ErrorBody;
use crate::event::Finish;
use crate::generated::Generated;
use crate::loss::Loss;
use crate::openai::answer;
use crate::usage::Usage;
use crate::{Dialect, Quirk};

/// A model at a provider, as an encoder needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The provider's wire format.
    pub dialect: Dialect,
    /// The model's name as the provider knows it.
    pub model: &'a str,
    /// How the provider deviates from its dialect.
    pub quirks: &'a [Quirk],
    /// Tokens that prompt and answer may have together, where that is known.
    pub context_window: Option<u64>,
}

/// A request in a provider's format.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The body to send.
    pub body: Bytes,
    /// What could not be carried over.
    pub loss: Loss,
}

/// What an answer in the client's format says of itself where the provider's does not.
#[derive(Clone, Debug)]
pub struct AnswerContext {
    /// The answer's id, for example `chatcmpl-…`.
    pub id: String,
    /// Seconds since the Unix epoch.
    pub created: i64,
    /// The model's name.
    pub model: String,
}

/// A whole answer, ready for the client.
#[derive(Clone, Debug)]
pub struct Whole {
    /// JSON in OpenAI's format.
    pub body: Bytes,
    /// Token counts.
    pub usage: Usage,
    /// Why it ended, where the provider said so.
    pub finish: Option<Finish>,
}

impl Whole {
    /// What the model generated, for an answer whose [`usage`](Whole::usage) is missing or absurd. Reads the body once
    /// more; empty for embeddings.
    pub fn generated(&self) -> Generated {
        answer::generated_in(&self.body)
    }
}

/// A success status whose body is not an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum BadAnswer {
    /// Not JSON of the expected kind.
    NotJson,
    /// An error.
    Error(ErrorBody),
    /// No choices, or none with a message.
    NoChoices,
}

/// A piece of a stream for the client.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Whole Server-Sent Events, to be handed on as they are.
    Frame {
        /// One or more events, each with its blank line.
        bytes: Bytes,
        /// Text, a tool call, reasoning or a refusal is in it.
        content: bool,
    },
    /// A comment line with its blank line.
    Comment(Bytes),
    /// The JSON of the last data chunk; the caller frames it.
    Last(Bytes),
    /// The end, `data: [DONE]` in OpenAI's dialect; the caller writes it.
    Done,
}

/// What is wrong with a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamFault {
    /// An event that is not JSON of the dialect, or not UTF-8.
    BadFrame,
    /// An event larger than any event may be.
    TooLarge,
    /// The provider reports an error.
    Error(ErrorBody),
    /// The end came before the answer was complete.
    Truncated,
}
