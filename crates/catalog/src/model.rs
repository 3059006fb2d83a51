//! A model at a provider: what it costs, how much it holds, what it takes, how good it is.

use serde::{Deserialize, Serialize};

use crate::Price;

/// One model of one provider. The same model elsewhere is another entry: price and limits are the provider's.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The provider's name in the catalogue.
    pub provider: String,
    /// The model's name as the provider knows it.
    pub id: String,
    /// Other names of the same thing at the same price.
    pub aliases: Vec<String>,
    /// What it makes.
    pub kind: Kind,
    /// What its tokens cost; `None` is unknown, never free.
    pub price: Option<Price>,
    /// Tokens that prompt and answer may have together.
    pub context_window: Option<u64>,
    /// Tokens that an answer may have.
    pub max_output_tokens: Option<u64>,
    /// What it takes and gives beyond text.
    pub capabilities: Capabilities,
    /// Share of good answers over prompts of mixed difficulty, 0 to 1, before anything was measured here.
    pub quality: Option<f64>,
    /// Where the facts come from.
    pub source: Source,
    /// The month in which the facts were last checked, as `2026-11`.
    pub as_of: String,
}

/// What a model makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Answers to conversations.
    Chat,
    /// Vectors of texts.
    Embedding,
    /// Images.
    Image,
    /// Speech of texts.
    Speech,
    /// Texts of speech.
    Transcription,
    /// Whether a text or an image is harmful.
    Moderation,
}

/// What a model takes and gives beyond text, through the API that its provider's dialect uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capabilities {
    /// Takes images.
    pub vision: bool,
    /// Calls functions.
    pub tools: bool,
    /// Holds its answer to a JSON Schema.
    pub json_schema: bool,
    /// Takes audio.
    pub audio: bool,
    /// Takes documents.
    pub files: bool,
    /// Thinks before it answers.
    pub reasoning: bool,
    /// Is told how much to think by an effort, and not by a budget of tokens.
    pub adaptive_thinking: bool,
}

/// Where a model's facts come from, in words; `None` where there is no fact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// Of the price.
    pub price: Option<String>,
    /// Of context window and longest answer.
    pub limits: Option<String>,
    /// Of the capabilities.
    pub capabilities: Option<String>,
    /// Of the quality prior.
    pub quality: Option<String>,
}
