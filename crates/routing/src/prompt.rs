//! A prompt, read once: how hard it is, what it asks for, how long the answer will be.

use wire::chat::Chat;

use crate::{Features, Task};

/// Numbers that stand for a prompt in a model's evidence.
pub(crate) const BASIS: usize = 2;

/// Everything that routing needs of a prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prompt {
    features: Features,
    difficulty: f64,
    task: Task,
    output_tokens: u64,
    is_short_answer: bool,
    basis: [f64; BASIS],
}

/// Difficulty in three steps, as the decision names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complexity {
    /// Nearly every model answers it.
    Simple,
    /// In between.
    Moderate,
    /// Few models answer it.
    Complex,
}

impl Complexity {
    /// The word used in decisions and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Complexity::Simple => "simple",
            Complexity::Moderate => "moderate",
            Complexity::Complex => "complex",
        }
    }
}

impl Prompt {
    /// Reads a request: its last user turn first of all, and the shape of the conversation.
    pub fn read(chat: &Chat<'_>) -> Prompt {
        Prompt::of(Features::of(chat))
    }

    /// Reads a single user turn.
    pub fn of_text(text: &str) -> Prompt {
        let mut features = Features { turns: 1, ..Features::default() };
        features.read(text);
        Prompt::of(features)
    }

    fn of(features: Features) -> Prompt {
        let difficulty = difficulty(&features);
        let basis = [1.0, difficulty - 0.5];
        let task = if features.has_code { Task::Code } else { Task::Conversation };
        Prompt { features, difficulty, task, output_tokens: 400, is_short_answer: false, basis }
    }

    /// What one pass over it saw.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// How hard it is, 0 (any model will do) to 1 (only the best will do, if any).
    pub fn difficulty(&self) -> f64 {
        self.difficulty
    }

    /// Difficulty in three steps.
    pub fn complexity(&self) -> Complexity {
        match self.difficulty {
            value if value < 0.35 => Complexity::Simple,
            value if value < 0.65 => Complexity::Moderate,
            _ => Complexity::Complex,
        }
    }

    /// What it mostly asks for.
    pub fn task(&self) -> Task {
        self.task
    }

    /// How much it asks for each task, in the order of [`Task::ALL`]; the sum is 1.
    pub fn memberships(&self) -> [f64; Task::ALL.len()] {
        Task::ALL.map(|task| f64::from(u8::from(task == self.task)))
    }

    /// Tokens that its answer is expected to have.
    pub fn output_tokens(&self) -> u64 {
        self.output_tokens
    }

    /// Its words ask for a number, a choice or a few words, which can be compared between models.
    pub fn has_comparable_answer(&self) -> bool {
        self.is_short_answer
    }

    /// What a model's evidence is made of.
    pub(crate) fn basis(&self) -> &[f64; BASIS] {
        &self.basis
    }
}

fn difficulty(features: &Features) -> f64 {
    let Features { bytes: _, words, digits, symbols, lines, hard_words, has_code, turns, tools } = *features;
    let share = |count: usize| count as f64 / (words.max(1) as f64);
    let logit = -3.2
        + 0.55 * (1.0 + words as f64).ln()
        + 0.9 * share(symbols).min(1.5)
        + 0.6 * share(digits).min(1.5)
        + 0.15 * (lines.min(20) as f64).sqrt()
        + 0.8 * (hard_words.min(4) as f64).sqrt()
        + if has_code { 0.8 } else { 0.0 }
        + 0.1 * (turns.saturating_sub(1).min(10) as f64)
        + if tools > 0 { 0.4 } else { 0.0 };
    1.0 / (1.0 + (-logit).exp())
}
