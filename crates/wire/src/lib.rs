//! Wire formats of LLM APIs, as pure functions from bytes to bytes.
//!
//! A client speaks one dialect, a provider speaks one dialect. Where they are the same, the original bytes travel and
//! are only spliced and observed ([`splice`], [`Relay`]); where they differ, bytes are decoded to the canonical
//! form ([`chat`], [`event`]) and encoded again. No I/O, no clock, no tokio: what is here can be tested, fuzzed and
//! replayed as it is.

pub mod chat;
mod choices;
pub mod embeddings;
pub mod error;
pub mod error_body;
pub mod event;
mod excerpt;
pub mod framing;
mod generated;
mod lenient;
pub mod loss;
pub mod models;
pub mod ollama;
pub mod openai;
mod outline;
mod prompt;
pub mod quirks;
mod relay;
pub mod splice;
mod types;
pub mod usage;

use bytes::Bytes;
use serde::Deserialize;

use crate::loss::Loss;

pub use error::{Error, Problem};
pub use error_body::{ErrorBody, ErrorClass, read_error};
pub use excerpt::Excerpt;
pub use generated::Generated;
pub use prompt::Prompt;
pub use quirks::Quirk;
pub use relay::Relay;
pub use types::{AnswerContext, BadAnswer, Encoded, Piece, StreamFault, Target, Whole};

/// A provider's chat wire format. The dispatch on it stands in this file and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// OpenAI's `/chat/completions` and `/embeddings`, streamed as Server-Sent Events.
    OpenAi,
    /// Ollama's native `/api/chat` and `/api/embed`, streamed as newline-delimited JSON.
    Ollama,
}

/// The path of chat requests, below a provider's base URL.
pub fn chat_path(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAi => "/chat/completions",
        Dialect::Ollama => "/api/chat",
    }
}

/// The path of embeddings requests.
pub fn embeddings_path(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAi => "/embeddings",
        Dialect::Ollama => "/api/embed",
    }
}

/// The path of the list of models.
pub fn models_path(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAi => "/models",
        Dialect::Ollama => "/api/tags",
    }
}

/// The path that tells more of one model, where the list tells little; see [`models::details_question`].
pub fn model_details_path(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::OpenAi => None,
        Dialect::Ollama => Some("/api/show"),
    }
}

/// A chat request for `target`.
///
/// # Errors
/// The target's dialect cannot say something that must not be left out.
pub fn encode_chat(body: &Bytes, request: &openai::Request, target: &Target<'_>) -> Result<Encoded, Error> {
    let mut loss = Loss::default();
    let body = match target.dialect {
        Dialect::OpenAi => {
            let text = openai::request::text_of(body)?;
            let members = openai::request::outline_of(text)?;
            splice::rewrite(text, &members, target.model, request.stream, target.quirks)
        }
        Dialect::Ollama => ollama::encode_request(&openai::decode(body)?, target, request.stream, &mut loss)?,
    };
    Ok(Encoded { body: body.into(), loss })
}

/// An embeddings request for `target`.
///
/// # Errors
/// As [`encode_chat`].
pub fn encode_embeddings(body: &Bytes, request: &embeddings::Request, target: &Target<'_>) -> Result<Encoded, Error> {
    embeddings::encode(body, request, target)
}

/// A provider's whole answer, for an OpenAI client.
///
/// # Errors
/// The body is not an answer.
pub fn translate_answer(from: Dialect, body: Bytes, context: &AnswerContext) -> Result<Whole, BadAnswer> {
    match from {
        Dialect::OpenAi => openai::answer::observe(body),
        Dialect::Ollama => {
            let answer = ollama::decode_answer(&body)?;
            Ok(Whole {
                body: openai::encode_answer(&answer, context).into(),
                usage: answer.usage,
                finish: answer.finish,
            })
        }
    }
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
