//! Ollama's native API: `/api/chat`, streamed as newline-delimited JSON.
//!
//! Its OpenAI-compatible endpoint is not used: that one ignores the context size, and Ollama then drops the oldest
//! text of a long prompt without a word. What the native API cannot say is noted as a [`crate::loss::Loss`] where the
//! answer is still worth having, and refused where it would answer another question.

mod answer;
mod forced;
mod request;
mod stream;
mod tags;
pub(crate) mod window;

pub use answer::decode_answer;
pub use request::encode_request;
pub use stream::Decoder;

/// The function that the answer's text will be the arguments of.
pub fn forced_call(chat: &crate::chat::Chat<'_>) -> Option<String> {
    forced::forced(chat).map(|tool| tool.name.to_string())
}

#[cfg(test)]
mod tests;
