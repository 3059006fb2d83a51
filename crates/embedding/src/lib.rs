//! Texts to numbers, with the model inside: all-MiniLM-L6-v2, in `model/` with its licence.
//!
//! Here are its tokens and the mean of their input vectors, a look-up and a sum: enough to tell one kind of prompt from
//! another, in microseconds.

mod encoder;
mod rows;
mod table;
mod tokenizer;

pub use encoder::{Encoder, Error, MOST_TOKENS, Sentence};
pub use rows::{Near, Row, Rows};
pub use table::{DIMENSIONS, Vector, token_vector};
pub use tokenizer::{UNKNOWN, tokens};
