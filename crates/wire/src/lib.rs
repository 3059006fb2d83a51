//! Wire formats of LLM APIs, as pure functions from bytes to bytes.
//!
//! A client speaks one dialect, a provider speaks one dialect. Where they are the same, the original bytes travel and
//! are only observed and spliced ([`splice`], [`observe`]); where they differ, bytes are decoded to the canonical
//! form ([`chat`], [`event`]) and encoded again. No I/O, no clock, no tokio: what is here can be tested, fuzzed and
//! replayed as it is.

pub mod chat;
pub mod error;
pub mod event;
pub mod loss;
pub mod quirks;
pub mod usage;

use serde::Deserialize;

pub use error::{Error, Problem};
pub use quirks::Quirk;

/// A provider's chat wire format. The dispatch on it stands in this file and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// OpenAI's `/chat/completions` and `/embeddings`, streamed as Server-Sent Events.
    OpenAi,
    /// Ollama's native `/api/chat` and `/api/embed`, streamed as newline-delimited JSON.
    Ollama,
}
