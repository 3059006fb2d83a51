//! OpenAI's dialect: what clients speak, and most providers too.

pub(crate) mod answer;
mod body;
pub(crate) mod encode;
pub mod request;
pub(crate) mod stream;

pub use encode::{Encoder, encode_answer};
pub use request::{Facts, Request, decode, limits, prompt, read};
