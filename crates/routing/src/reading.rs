//! What the trained heads read of a prompt: its features and the mean vector of its tokens.

use embedding::DIMENSIONS;
use wire::chat::Chat;

use crate::Features;
use crate::features::NUMBERS;

/// Tokens that the vector is the mean of: the first ones of the last user turn.
const TOKENS: usize = 256;

/// A prompt as the trained heads read it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// What one pass over the text saw.
    pub features: Features,
    /// The mean of its tokens' vectors.
    pub vector: [f32; DIMENSIONS],
}

impl Reading {
    /// Numbers of [`Reading::numbers`].
    pub const NUMBERS: usize = NUMBERS;

    /// Reads a single user turn.
    pub fn of_text(text: &str) -> Reading {
        let mut features = Features { turns: 1, ..Features::default() };
        let read = features.read_text(text);
        Reading { features, vector: embedding::token_vector(read, TOKENS) }
    }

    /// Reads a request: the text of its last user turn, and the shape of the conversation.
    pub(crate) fn of(chat: &Chat<'_>) -> Reading {
        let mut texts = [""; 4];
        let mut count = 0_usize;
        let features = Features::of(chat, |text| {
            if let Some(place) = texts.get_mut(count) {
                *place = text;
                count = count.saturating_add(1);
            }
        });
        let longest = texts.into_iter().max_by_key(|text| text.len()).unwrap_or_default();
        Reading { features, vector: embedding::token_vector(longest, TOKENS) }
    }

    /// The features as the heads read them, each from 0 to 1.
    pub fn numbers(&self) -> [f32; NUMBERS] {
        self.features.numbers()
    }
}
