//! Wire formats of LLM APIs, as pure functions from bytes to bytes.
//!
//! A client speaks one dialect, a provider speaks one dialect. Where they are the same, the original bytes travel and
//! are only spliced and observed ([`splice`], [`Relay`]); where they differ, bytes are decoded to the canonical
//! form ([`chat`], [`event`]) and encoded again. No I/O, no clock, no tokio: what is here can be tested, fuzzed and
//! replayed as it is.

pub mod anthropic;
mod asked;
mod bent;
pub mod chat;
mod choices;
pub mod completions;
pub mod conclusion;
pub mod embeddings;
pub mod error;
pub mod error_body;
pub mod event;
mod excerpt;
pub mod framing;
mod generated;
mod lenient;
pub mod loss;
pub mod media;
pub mod models;
pub mod ollama;
pub mod openai;
mod outline;
mod prompt;
pub mod quirks;
mod relay;
pub mod replay;
pub mod splice;
mod types;
pub mod usage;

use bytes::Bytes;
use serde::Deserialize;

use crate::loss::Loss;

pub use asked::{Asked, Question};
pub use bent::Bent;
pub use error::{Error, Problem};
pub use error_body::{ErrorBody, ErrorClass, read_error};
pub use excerpt::Excerpt;
pub use generated::Generated;
pub use prompt::Prompt;
pub use quirks::Quirk;
pub use relay::Relay;
pub use types::{AnswerContext, BadAnswer, Client, Encoded, Kept, Piece, StreamFault, Target, Thinking, Whole};

/// A provider's chat wire format. The dispatch on it stands in this file and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// OpenAI's `/chat/completions` and `/embeddings`, streamed as Server-Sent Events.
    OpenAi,
    /// Anthropic's `/messages`, streamed as Server-Sent Events.
    Anthropic,
    /// Ollama's native `/api/chat` and `/api/embed`, streamed as newline-delimited JSON.
    Ollama,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Dialect; 3] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Ollama];
}

/// The path of chat requests, below a provider's base URL.
pub fn chat_path(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAi => "/chat/completions",
        Dialect::Anthropic => "/messages",
        Dialect::Ollama => "/api/chat",
    }
}

/// The path of embeddings requests; `None` where the dialect has none.
pub fn embeddings_path(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::OpenAi => Some("/embeddings"),
        Dialect::Anthropic => None,
        Dialect::Ollama => Some("/api/embed"),
    }
}

/// The path where a provider counts a prompt's tokens; `None` where the dialect has none.
pub fn count_tokens_path(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::Anthropic => Some("/messages/count_tokens"),
        Dialect::OpenAi | Dialect::Ollama => None,
    }
}

/// Headers of a client's that go on to a provider of the dialect.
pub fn passed_on(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::OpenAi => &["openai-beta"],
        Dialect::Anthropic => &["anthropic-beta", "anthropic-version"],
        Dialect::Ollama => &[],
    }
}

/// Whether these bytes of a stream end with its last event.
pub fn is_end_of_stream(bytes: &[u8]) -> bool {
    let is_last = |event: &[u8]| event.starts_with(b"event: message_stop\n");
    let last_event = bytes.strip_suffix(b"\n\n").unwrap_or_default();
    let start = memchr::memmem::rfind(last_event, b"\n\n").map_or(0, |place| place.saturating_add(2));
    bytes.ends_with(b"data: [DONE]\n\n") || last_event.get(start..).is_some_and(is_last)
}

/// The headers in which a provider tells of its rate limits, for requests and for tokens: what is left, of how many, and
/// when all of it is there again.
pub fn rate_limit_headers(dialect: Dialect) -> [[&'static str; 3]; 2] {
    match dialect {
        Dialect::OpenAi | Dialect::Ollama => [
            ["x-ratelimit-remaining-requests", "x-ratelimit-limit-requests", "x-ratelimit-reset-requests"],
            ["x-ratelimit-remaining-tokens", "x-ratelimit-limit-tokens", "x-ratelimit-reset-tokens"],
        ],
        Dialect::Anthropic => [
            [
                "anthropic-ratelimit-requests-remaining",
                "anthropic-ratelimit-requests-limit",
                "anthropic-ratelimit-requests-reset",
            ],
            [
                "anthropic-ratelimit-tokens-remaining",
                "anthropic-ratelimit-tokens-limit",
                "anthropic-ratelimit-tokens-reset",
            ],
        ],
    }
}

/// Headers that every request of the dialect needs.
pub fn headers(dialect: Dialect) -> &'static [(&'static str, &'static str)] {
    match dialect {
        Dialect::Anthropic => &[("anthropic-version", "2023-06-01")],
        Dialect::OpenAi | Dialect::Ollama => &[],
    }
}

/// The path of the list of models.
pub fn models_path(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAi => "/models",
        // Its pages hold 20 otherwise.
        Dialect::Anthropic => "/models?limit=1000",
        Dialect::Ollama => "/api/tags",
    }
}

/// The path that tells more of one model, where the list tells little; see [`models::details_question`].
pub fn model_details_path(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::OpenAi | Dialect::Anthropic => None,
        Dialect::Ollama => Some("/api/show"),
    }
}

/// The path that tells which models are in memory; `None` where that is no question.
pub fn loaded_models_path(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::OpenAi | Dialect::Anthropic => None,
        Dialect::Ollama => Some("/api/ps"),
    }
}

/// Reads and checks a client's chat request.
///
/// # Errors
/// The first fault, with its place.
pub fn read_chat(client: Client, body: &[u8]) -> Result<openai::Request, Error> {
    match client {
        Client::OpenAi => openai::read(body),
        Client::Anthropic => anthropic::read(body),
        Client::Completions => completions::read(body),
    }
}

/// What the model reads of a client's chat request.
///
/// # Errors
/// As [`read_chat`].
pub fn chat_prompt(client: Client, body: &[u8]) -> Result<Prompt, Error> {
    match client {
        Client::OpenAi => openai::prompt(body),
        Client::Anthropic => anthropic::prompt(body),
        Client::Completions => completions::prompt(body),
    }
}

/// A client's chat request in canonical form.
///
/// # Errors
/// As [`read_chat`].
pub fn decode_chat(client: Client, body: &[u8]) -> Result<chat::Chat<'_>, Error> {
    match client {
        Client::OpenAi => openai::decode(body),
        Client::Anthropic => anthropic::decode(body),
        Client::Completions => completions::decode(body),
    }
}

/// A chat request for `target`. A client of the target's own dialect has its bytes sent on as they are, but for what
/// the gateway must change. `recall` gives the reasoning that led to a tool call which the client sends back without.
///
/// # Errors
/// The target's dialect cannot say something that must not be left out.
pub fn encode_chat(
    client: Client,
    body: &Bytes,
    request: &openai::Request,
    target: &Target<'_>,
    recall: impl Fn(&str) -> Option<Vec<chat::Thought<'static>>>,
) -> Result<Encoded, Error> {
    let mut loss = Loss::default();
    if client.speaks(target.dialect) {
        let text = openai::request::text_of(body)?;
        let members = openai::request::outline_of(text)?;
        let asks_usage = request.stream && client == Client::OpenAi;
        let body = splice::rewrite(text, &members, target.model, asks_usage, target.quirks);
        return Ok(Encoded { body: body.into(), loss, bent: Default::default() });
    }
    let mut chat = decode_chat(client, body)?;
    if target.dialect == Dialect::Anthropic {
        chat.recall(recall);
    }
    let mut bent = Bent::default();
    match target.dialect {
        Dialect::OpenAi | Dialect::Anthropic => bent.names(&mut chat),
        Dialect::Ollama => bent.forced_call = ollama::forced_call(&chat),
    }
    let body = match target.dialect {
        Dialect::OpenAi => openai::compose::compose(&chat, target, request.stream, &mut loss),
        Dialect::Anthropic => anthropic::compose(&chat, target, request.stream, &mut loss)?,
        Dialect::Ollama => ollama::encode_request(&chat, target, request.stream, &mut loss)?,
    };
    Ok(Encoded { body: body.into(), loss, bent })
}

/// An embeddings request for `target`.
///
/// # Errors
/// As [`encode_chat`].
pub fn encode_embeddings(body: &Bytes, request: &embeddings::Request, target: &Target<'_>) -> Result<Encoded, Error> {
    embeddings::encode(body, request, target)
}

/// A request that passes through, for `target`.
///
/// # Errors
/// The target's provider has no such API.
pub fn encode_media(body: &Bytes, request: &media::Request, target: &Target<'_>) -> Result<Encoded, Error> {
    media::encode(body, request, target)
}

/// An answer that passes through; `is_json` where its media type says so.
///
/// # Errors
/// The body is an error, or not the JSON that it claims to be.
pub fn observe_media(body: Bytes, is_json: bool, request: &media::Request) -> Result<Whole, BadAnswer> {
    media::observe(body, is_json, request.measure())
}

/// A provider's whole answer, for a client.
///
/// # Errors
/// The body is not an answer.
pub fn translate_answer(
    from: Dialect,
    client: Client,
    body: Bytes,
    context: &AnswerContext,
) -> Result<Whole, BadAnswer> {
    let mut answer = match (from, client) {
        (Dialect::OpenAi, Client::OpenAi) => return openai::answer::observe(body),
        (Dialect::Anthropic, Client::Anthropic) => return anthropic::answer::observe(body),
        (Dialect::OpenAi, Client::Anthropic | Client::Completions) => openai::decode::decode_answer(&body)?,
        (Dialect::Anthropic, Client::OpenAi | Client::Completions) => anthropic::decode_answer(&body)?,
        (Dialect::Ollama, _) => ollama::decode_answer(&body, context.bent.forced_call.as_deref())?,
    };
    answer.tool_calls.iter_mut().for_each(|(head, _)| context.bent.name(&mut head.name));
    let body = match client {
        Client::OpenAi => openai::encode_answer(&answer, context),
        Client::Anthropic => anthropic::encode_answer(&answer, context),
        Client::Completions => completions::encode_answer(&answer, context),
    };
    let kept = Kept::of(&answer);
    Ok(Whole { body: body.into(), usage: answer.usage, finish: answer.finish, kept, media_type: None })
}

/// A provider's embeddings, for an OpenAI client.
///
/// # Errors
/// The body is not an answer.
pub fn translate_embeddings(
    from: Dialect,
    body: Bytes,
    request: &embeddings::Request,
    context: &AnswerContext,
) -> Result<Whole, BadAnswer> {
    embeddings::translate(from, body, request, context)
}
