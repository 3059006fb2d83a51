//! A text's meaning as a vector.

use crate::table::{DIMENSIONS, Vector, token_vector};
use crate::tokenizer::tokens;

/// More tokens than that the model cannot tell apart by their place.
pub const MOST_TOKENS: usize = 512;
/// The marks around a text, which count as tokens.
const MARKS: usize = 2;

/// The sentence model, ready to encode. Shared by reference; a call computes on its own thread and keeps nothing.
pub struct Encoder {}

/// A text as the model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentence {
    /// Its direction, of length 1; zeros for a text without words.
    pub vector: Vector,
    /// How many tokens were read, marks included.
    pub tokens: usize,
    /// Whether the text had more tokens than were read: such a vector does not speak for the whole text.
    pub is_truncated: bool,
}

/// The model's file is not what the code expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the embedded model has no usable `{0}`")]
pub struct Error(pub(crate) &'static str);

impl Encoder {
    /// Prepares the weights: some ten milliseconds and megabytes.
    ///
    /// # Errors
    /// The model's file does not have what is read from it.
    pub fn load() -> Result<Encoder, Error> {
        Ok(Encoder {})
    }

    /// Encodes the first `limit` tokens of a text, marks included.
    pub fn encode(&self, text: &str, limit: usize) -> Sentence {
        let limit = limit.clamp(MARKS, MOST_TOKENS);
        let count = tokens(text).take(limit).count().saturating_add(MARKS);
        let mut vector = token_vector(text, limit.saturating_sub(MARKS));
        normalise(&mut vector);
        Sentence { vector, tokens: count.min(limit), is_truncated: count > limit }
    }

    /// Encodes texts one after the other: each has the very vector that it has alone.
    pub fn encode_all<'a>(&self, texts: impl IntoIterator<Item = &'a str>, limit: usize) -> Vec<Sentence> {
        texts.into_iter().map(|text| self.encode(text, limit)).collect()
    }
}

fn normalise(vector: &mut [f32; DIMENSIONS]) {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        for value in vector {
            *value /= length;
        }
    }
}
