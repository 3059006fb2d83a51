//! A text's meaning as a vector.

use crate::layers::{Layer, Norm, floats_of};
use crate::onnx::{floats, tensors};
use crate::table::{self, DIMENSIONS, Vector};
use crate::tokenizer::tokens;

/// More tokens than that the model cannot tell apart by their place.
pub const MOST_TOKENS: usize = 512;
/// The marks around a text, which count as tokens.
const BEGIN: u32 = 101;
const END: u32 = 102;
const MARKS: usize = 2;

/// The sentence model, ready to encode. Shared by reference; a call computes on its own thread and keeps nothing.
pub struct Encoder {
    /// What a token's place adds to its vector, and what every token gets.
    places: &'static [u8],
    kind: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
}

/// A text as the model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentence {
    /// Its direction, of length 1.
    pub vector: Vector,
    /// How many tokens were read, marks included.
    pub tokens: usize,
    /// Whether the text had more tokens than were read: such a vector does not speak for the whole text.
    pub is_truncated: bool,
}

/// The model's file is not what the code expects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the embedded model has no usable `{0}`")]
pub struct Error(pub(crate) String);

impl Encoder {
    /// Prepares the weights: some ten milliseconds and megabytes.
    ///
    /// # Errors
    /// The model's file does not have what is read from it.
    pub fn load() -> Result<Encoder, Error> {
        let tensors = tensors(table::MODEL);
        let places = tensors.get("posE").filter(|bytes| bytes.len() == MOST_TOKENS * DIMENSIONS * size_of::<f32>());
        Ok(Encoder {
            places: places.copied().ok_or_else(|| Error("posE".to_owned()))?,
            kind: floats_of(&tensors, "typ", DIMENSIONS)?,
            norm: Norm::read(&tensors, "embeddings.LayerNorm")?,
            layers: Layer::read_all(&tensors)?,
        })
    }

    /// Encodes the first `limit` tokens of a text, marks included; at least those and at most [`MOST_TOKENS`].
    pub fn encode(&self, text: &str, limit: usize) -> Sentence {
        let room = limit.clamp(MARKS, MOST_TOKENS).saturating_sub(MARKS);
        let mut ids: Vec<u32> = vec![BEGIN];
        let mut words = tokens(text);
        ids.extend(words.by_ref().take(room));
        ids.push(END);

        let mut states = self.enter(&ids);
        for layer in &self.layers {
            layer.apply(&mut states);
        }
        Sentence { vector: pool(&states), tokens: ids.len(), is_truncated: words.next().is_some() }
    }

    /// Encodes texts one after the other: each has the very vector that it has alone.
    pub fn encode_all<'a>(&self, texts: impl IntoIterator<Item = &'a str>, limit: usize) -> Vec<Sentence> {
        texts.into_iter().map(|text| self.encode(text, limit)).collect()
    }
}

impl Encoder {
    /// The tokens as they enter the first layer.
    fn enter(&self, ids: &[u32]) -> Vec<f32> {
        let mut states = Vec::with_capacity(ids.len().saturating_mul(DIMENSIONS));
        for (id, place) in ids.iter().zip(self.places.chunks_exact(DIMENSIONS * size_of::<f32>())) {
            let parts = table::row(*id).zip(floats(place)).zip(&self.kind);
            states.extend(parts.map(|((word, place), kind)| word + place + kind));
        }
        self.norm.apply(&mut states);
        states
    }
}

/// The direction of the tokens' mean.
fn pool(states: &[f32]) -> Vector {
    let mut vector = [0.0_f32; DIMENSIONS];
    for token in states.chunks_exact(DIMENSIONS) {
        for (value, state) in vector.iter_mut().zip(token) {
            *value += state;
        }
    }
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        for value in &mut vector {
            *value /= length;
        }
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of vectors that numpy makes of the same file, matrices multiplied in whole numbers.
    #[test]
    fn a_sentence_has_the_vector_that_the_models_file_gives_it() {
        let encoder = Encoder::load().unwrap();
        let cases: [(&str, usize, [f32; 6]); 5] = [
            ("What's 2+2?", 9, [0.00665, 0.00115, 0.00345, 0.03519, -0.01828, -0.06058]),
            ("What is two plus two?", 8, [0.01274, 0.01397, -0.02419, 0.02827, -0.06214, -0.00666]),
            ("What is 2+3?", 8, [-0.02425, -0.01847, -0.04285, 0.0071, -0.02417, -0.06056]),
            ("Is aspirin safe?", 8, [-0.07594, -0.0254, -0.0911, 0.09323, -0.00983, 0.02884]),
            (
                "How do I convert a list of strings into a comma separated string in Python without a trailing comma at the \
                 end of it?",
                29,
                [0.05737, 0.10027, 0.02871, -0.01327, 0.00978, -0.05547],
            ),
        ];
        for (text, tokens, expected) in cases {
            let sentence = encoder.encode(text, 128);

            assert_eq!((sentence.tokens, sentence.is_truncated), (tokens, false), "{text}");
            for (value, wanted) in sentence.vector.iter().zip(expected) {
                // A number at the edge between two steps of eight bits may fall to either side; the layers carry it on.
                assert!((value - wanted).abs() < 8e-3, "{text}: {value} {wanted}");
            }
        }
    }

    /// Cosines that numpy gets.
    #[test]
    fn sentences_are_as_near_to_each_other_as_the_model_has_them() {
        let encoder = Encoder::load().unwrap();
        let [sum, words, other, aspirin] = ["What's 2+2?", "What is two plus two?", "What is 2+3?", "Is aspirin safe?"]
            .map(|text| encoder.encode(text, 128).vector);
        let cosine = |one: &Vector, other: &Vector| one.iter().zip(other).map(|(one, other)| one * other).sum::<f32>();

        for (found, wanted) in
            [(cosine(&sum, &words), 0.8598), (cosine(&sum, &other), 0.8652), (cosine(&sum, &aspirin), -0.0242)]
        {
            assert!((found - wanted).abs() < 5e-3, "{found} {wanted}");
        }
    }

    #[test]
    fn a_text_beyond_the_limit_is_marked_and_its_vector_is_that_of_its_beginning() {
        let encoder = Encoder::load().unwrap();

        let cut = encoder.encode("one two three four five", 5);

        assert!(cut.is_truncated);
        assert_eq!(cut.tokens, 5);
        assert_eq!(cut.vector, encoder.encode("one two three", 5).vector);
        assert!(!encoder.encode("one two three", 5).is_truncated);
    }

    #[test]
    fn any_text_has_a_direction() {
        let encoder = Encoder::load().unwrap();
        for text in ["", " ", "\u{0}", "???", "\u{1f600}", "日本語", &"x ".repeat(10_000)] {
            let sentence = encoder.encode(text, usize::MAX);

            let length = sentence.vector.iter().map(|value| value * value).sum::<f32>();
            assert!((length - 1.0).abs() < 1e-4, "{text:?}");
            assert!(sentence.tokens <= MOST_TOKENS);
        }
        assert_eq!(encoder.encode("a", 0).tokens, 2);
    }
}
