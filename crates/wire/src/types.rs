//! The types that gateway and dialects exchange.

use bytes::Bytes;

use crate::bent::Bent;
use crate::chat::Thought;
use crate::error_body::ErrorBody;
use crate::event::{Answer, Finish};
use crate::generated::Generated;
use crate::loss::Loss;
use crate::openai::answer;
use crate::usage::Usage;
use crate::{Dialect, Quirk, anthropic};

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
    /// Tokens that an answer may have, where that is known.
    pub max_output_tokens: Option<u64>,
    /// How the model is told to think.
    pub thinking: Thinking,
}

/// How a model is told to think.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Thinking {
    /// It is not known to think.
    #[default]
    Unknown,
    /// By a budget of tokens.
    Budget,
    /// By an effort; it decides for itself how much that is.
    Adaptive,
}

/// The dialect of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Client {
    /// OpenAI's chat completions.
    #[default]
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// OpenAI's older completions.
    Completions,
}

impl Client {
    /// Whether a provider of that dialect is sent this client's own bytes.
    pub fn speaks(self, dialect: Dialect) -> bool {
        match self {
            Client::OpenAi => dialect == Dialect::OpenAi,
            Client::Anthropic => dialect == Dialect::Anthropic,
            Client::Completions => false,
        }
    }

    /// The frame of a stream's last event, and of its end where the dialect has a mark for that.
    pub fn last_frame(self, payload: &[u8], is_done: bool) -> Bytes {
        let (head, tail): (&[u8], &[u8]) = match self {
            Client::OpenAi | Client::Completions => (b"data: ", if is_done { DONE } else { b"" }),
            Client::Anthropic => (b"event: message_stop\ndata: ", b""),
        };
        [head, payload, b"\n\n", tail].concat().into()
    }

    /// The frame of a stream's end, where the dialect has one.
    pub fn done_frame(self) -> Option<Bytes> {
        match self {
            Client::OpenAi | Client::Completions => Some(Bytes::from_static(DONE)),
            Client::Anthropic => None,
        }
    }
}

const DONE: &[u8] = b"data: [DONE]\n\n";

/// A request in a provider's format.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The body to send.
    pub body: Bytes,
    /// What could not be carried over.
    pub loss: Loss,
    /// What has to be bent back in the answer.
    pub bent: Bent,
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
    /// An estimate of the prompt's tokens, for a client that is told them before anybody has counted.
    pub prompt_tokens: u64,
    /// See [`Encoded::bent`].
    pub bent: Bent,
}

/// Reasoning that must come back with the results of the tool calls that it led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The ids of the calls, as the client knows them.
    pub calls: Vec<String>,
    /// The reasoning, with its signatures.
    pub thoughts: Vec<Thought<'static>>,
}

impl Kept {
    /// Bytes of text in it.
    pub fn bytes(&self) -> usize {
        let each = |thought: &Thought<'_>| match thought {
            Thought::Text { text, signature } => text.len() + signature.as_ref().map_or(0, |proof| proof.len()),
            Thought::Redacted(data) => data.len(),
        };
        self.thoughts.iter().map(each).sum()
    }

    /// What an answer leaves behind for a client that has no field for it; nothing where nothing is signed.
    pub(crate) fn of(answer: &Answer) -> Kept {
        if !answer.thoughts.iter().any(Thought::is_proven) {
            return Kept::default();
        }
        let calls = answer.tool_calls.iter().map(|(head, _)| head.id.clone()).filter(|id| !id.is_empty());
        Kept { calls: calls.collect(), thoughts: answer.thoughts.clone() }
    }
}

/// A whole answer, ready for the client.
#[derive(Clone, Debug)]
pub struct Whole {
    /// JSON in the client's format.
    pub body: Bytes,
    /// Token counts.
    pub usage: Usage,
    /// Why it ended, where the provider said so.
    pub finish: Option<Finish>,
    /// What has to come back with the results of its tool calls.
    pub kept: Kept,
    /// The media type, where the body is not JSON.
    pub media_type: Option<String>,
}

impl Whole {
    /// What the model generated, for an answer whose [`usage`](Whole::usage) is missing or absurd. Reads the body once
    /// more; empty for embeddings.
    pub fn generated(&self) -> Generated {
        let generated = answer::generated_in(&self.body);
        if generated.is_empty() { anthropic::answer::generated_in(&self.body) } else { generated }
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
