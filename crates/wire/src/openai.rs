//! OpenAI's dialect: what clients speak, and most providers too.

pub(crate) mod answer;
mod body;
pub(crate) mod compose;
pub(crate) mod decode;
pub(crate) mod encode;
pub mod request;
pub(crate) mod stream;

pub(crate) use body::fault;
pub use decode::Decoder;
pub use encode::{Encoder, encode_answer};
pub use request::{Facts, Request, decode, limits, prompt, read};
