//! Texts to numbers, with the model inside: all-MiniLM-L6-v2, in `model/` with its licence.
//!
//! Two readings of a text over one table: the mean of its tokens' input vectors ([`token_vector`]), a look-up and a sum,
//! enough to tell one kind of prompt from another in microseconds; and the model's own sentence vector ([`Encoder`]), which
//! takes milliseconds. [`Rows`] finds vectors again.

mod encoder;
mod kernel;
mod layers;
mod onnx;
mod rows;
mod table;
mod tokenizer;

pub use encoder::{Encoder, Error, MOST_TOKENS, Sentence};
pub use rows::{Near, Row, Rows};
pub use table::{DIMENSIONS, Vector, token_vector};
pub use tokenizer::{UNKNOWN, is_word, tokens};
