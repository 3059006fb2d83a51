//! Anthropic's Messages API: a dialect of providers, and one that clients speak.

pub(crate) mod answer;
mod body;
mod compose;
mod encode;
pub(crate) mod stream;

pub use answer::read_count;
pub use body::{decode, prompt, read, read_prompt};
pub use encode::Encoder;
pub use stream::Decoder;

pub(crate) use answer::{decode_answer, encode_answer};
pub(crate) use compose::compose;

/// The payload of a stream's last event.
pub(crate) const LAST_EVENT: bytes::Bytes = bytes::Bytes::from_static(br#"{"type":"message_stop"}"#);

#[cfg(test)]
mod tests;
