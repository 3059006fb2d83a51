//! The simulated models: how fast, how long-winded and how reliable each is. Prices and capabilities stand in the
//! catalogue, as for every other model.

use std::time::Duration;

/// What a model is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Answers to messages.
    Chat,
    /// Vectors of texts.
    Embedding,
}

/// One simulated model.
#[derive(Debug)]
pub(crate) struct Model {
    /// First segment of the path under which it answers.
    pub(crate) provider: &'static str,
    /// The name that requests and answers carry.
    pub(crate) id: &'static str,
    /// What it is asked for.
    pub(crate) kind: Kind,
    /// Milliseconds until the first token.
    pub(crate) first_token_ms: u64,
    /// Tokens a second after the first.
    pub(crate) tokens_per_second: u32,
    /// Sentences of an ordinary answer: the better the model, the fuller.
    pub(crate) sentences: usize,
    /// Requests in a thousand that fail.
    pub(crate) failures_per_thousand: u64,
}

impl Model {
    /// Time between two tokens.
    pub(crate) fn pace(&self) -> Duration {
        Duration::from_secs(1) / self.tokens_per_second.max(1)
    }
}

/// Every simulated model.
pub(crate) static MODELS: [Model; 7] = [
    chat("simulated-alpha", "sim-frontier", 450, 60, 9, 0),
    chat("simulated-alpha", "sim-standard", 250, 90, 6, 0),
    chat("simulated-beta", "sim-swift", 60, 150, 4, 0),
    chat("simulated-beta", "sim-flaky", 150, 100, 5, 150),
    chat("simulated-beta", "sim-budget", 700, 40, 3, 0),
    chat("simulated-local", "sim-local", 200, 70, 2, 0),
    Model { kind: Kind::Embedding, ..chat("simulated-local", "sim-embed", 20, 1000, 0, 0) },
];

/// The models of one provider; none for a provider that does not exist.
pub(crate) fn of_provider(provider: &str) -> impl Iterator<Item = &'static Model> {
    MODELS.iter().filter(move |model| model.provider == provider)
}

const fn chat(
    provider: &'static str,
    id: &'static str,
    first_token_ms: u64,
    tokens_per_second: u32,
    sentences: usize,
    failures_per_thousand: u64,
) -> Model {
    Model { provider, id, kind: Kind::Chat, first_token_ms, tokens_per_second, sentences, failures_per_thousand }
}
