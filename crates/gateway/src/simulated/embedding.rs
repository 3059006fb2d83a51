//! Embeddings from hashed words: texts that share words are near each other, which is all that a demo needs.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::tokens;
use super::fate::chance;
use super::models::Model;

/// Length of a vector.
pub(crate) const DIMENSIONS: usize = 384;
/// Most texts of a request, as OpenAI has it.
const MOST_INPUTS: usize = 2048;

/// A request for embeddings.
#[derive(Debug, Deserialize)]
pub(crate) struct EmbeddingRequest {
    /// The model's name.
    pub(crate) model: String,
    input: Input,
    encoding_format: Option<Encoding>,
    dimensions: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    ListsOfTokens(Vec<Vec<u32>>),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Float,
    Base64,
}

impl EmbeddingRequest {
    /// The answer of `model`.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub(crate) fn answer(self, model: &Model) -> Result<Bytes, String> {
        let length = self.dimensions.unwrap_or(DIMENSIONS);
        if !(1..=DIMENSIONS).contains(&length) {
            return Err(format!("`dimensions` must be between 1 and {DIMENSIONS}"));
        }
        let texts = self.input.texts();
        if texts.is_empty() || texts.len() > MOST_INPUTS {
            return Err(format!("`input` must have between 1 and {MOST_INPUTS} texts"));
        }
        let encoding = self.encoding_format.unwrap_or(Encoding::Float);
        let data: Vec<Value> = texts
            .iter()
            .enumerate()
            .map(|(index, text)| {
                json!({"object": "embedding", "index": index, "embedding": encode(&embed(text, length), encoding)})
            })
            .collect();
        let used: usize = texts.iter().map(|text| tokens(text.len())).sum();
        let usage = json!({"prompt_tokens": used, "total_tokens": used});
        Ok(Bytes::from(json!({"object": "list", "data": data, "model": model.id, "usage": usage}).to_string()))
    }
}

impl Input {
    fn texts(self) -> Vec<String> {
        let words = |tokens: Vec<u32>| tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        match self {
            Input::Text(text) => vec![text],
            Input::Texts(texts) => texts,
            Input::Tokens(tokens) => vec![words(tokens)],
            Input::ListsOfTokens(lists) => lists.into_iter().map(words).collect(),
        }
    }
}

/// The vector of `text`: `length` numbers, normalised.
fn embed(text: &str, length: usize) -> Vec<f32> {
    let mut vector = vec![0_f32; length];
    let lower = text.to_lowercase();
    let words = lower.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    // The text's length counts for a little, so that no text is without a direction.
    for (word, weight) in words.map(|word| (word, 1.0)).chain([("", 0.01)]) {
        let mut chance = chance(&[word.as_bytes()]);
        for _ in 0..8 {
            let sign = if chance.bool() { weight } else { -weight };
            if let Some(number) = vector.get_mut(chance.usize(0..length)) {
                *number += sign;
            }
        }
    }
    let norm = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    if norm > 0.0 {
        vector.iter_mut().for_each(|number| *number /= norm);
    } else if let Some(first) = vector.first_mut() {
        *first = 1.0;
    }
    vector
}

fn encode(vector: &[f32], encoding: Encoding) -> Value {
    match encoding {
        Encoding::Float => json!(vector),
        Encoding::Base64 => {
            json!(base64(&vector.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>()))
        }
    }
}

/// Base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, place| bits << 8 | group.get(place).copied().map_or(0, usize::from));
        for place in 0..4 {
            let is_padding = place > group.len();
            text.push(if is_padding { '=' } else { char::from(ALPHABET[bits >> (18 - 6 * place) & 63]) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use ::base64::Engine as _;
    use proptest::prelude::*;

    use super::*;

    fn nearness(one: &str, other: &str) -> f32 {
        embed(one, DIMENSIONS).iter().zip(embed(other, DIMENSIONS)).map(|(one, other)| one * other).sum()
    }

    #[test]
    fn texts_that_share_words_are_near() {
        let same = nearness("how do I bake rye bread", "How do I bake bread?");
        let other = nearness("how do I bake rye bread", "orbital period of Mars");

        assert!(same > 0.7 && other < 0.3, "{same} {other}");
    }

    #[test]
    fn both_encodings_carry_the_same_vector() {
        let vector = embed("hello", DIMENSIONS);
        let coded = encode(&vector, Encoding::Base64);
        let bytes = ::base64::engine::general_purpose::STANDARD.decode(coded.as_str().unwrap()).unwrap();

        let decoded: Vec<f32> = bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
        assert_eq!(decoded, vector);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn every_vector_has_length_one(text in ".{0,200}", length in 1..=DIMENSIONS) {
            let norm: f32 = embed(&text, length).iter().map(|number| number * number).sum();
            prop_assert!((norm - 1.0).abs() < 1e-3);
        }

        #[test]
        fn base64_is_what_the_library_writes(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            prop_assert_eq!(base64(&bytes), ::base64::engine::general_purpose::STANDARD.encode(&bytes));
        }
    }
}
