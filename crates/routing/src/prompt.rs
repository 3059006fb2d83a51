//! A prompt, read once: how hard it is, what it asks for, how long the answer will be.

use wire::chat::Chat;

use crate::heads::{BASIS, HEADS, KINDS, Outputs};
use crate::words::Family;
use crate::{Features, Reading, Task};

/// Everything that routing needs of a prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prompt {
    features: Features,
    difficulty: f64,
    memberships: [f64; Task::ALL.len()],
    output_tokens: u64,
    is_comparable: bool,
    basis: [f64; BASIS],
}

/// Difficulty in three steps, as the decision names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complexity {
    /// Below 0.35: most models answer it.
    Simple,
    /// From 0.35 to below 0.55.
    Moderate,
    /// From 0.55: most models miss it.
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

/// What each turn before the last adds to difficulty, and how many count: the answer rests on all of them.
const TURN_ADDS: f64 = 0.02;
const MOST_TURNS: usize = 10;
/// What functions on offer add: which to call, with what, has to be found.
const TOOLS_ADD: f64 = 0.05;
/// An answer is expected to have at most this many tokens, whatever the prompt: more was not seen in training.
const MOST_OUTPUT_TOKENS: f32 = 4096.0;
/// An answer expected to be this short can be compared as it is.
const SHORT_ANSWER_TOKENS: u64 = 24;

impl Prompt {
    /// Reads a request: its last user turn first of all, and the shape of the conversation.
    pub fn read(chat: &Chat<'_>) -> Prompt {
        Prompt::of(&Reading::of(chat))
    }

    /// Reads a single user turn.
    pub fn of_text(text: &str) -> Prompt {
        Prompt::of(&Reading::of_text(text))
    }

    fn of(reading: &Reading) -> Prompt {
        Prompt::from_outputs(&reading.features, &HEADS.outputs(reading))
    }

    /// A prompt of which the heads, these or others, made that.
    pub fn from_outputs(features: &Features, outputs: &Outputs) -> Prompt {
        let turns = features.turns.saturating_sub(1).min(MOST_TURNS) as f64;
        let tools = if features.tools > 0 { TOOLS_ADD } else { 0.0 };
        let difficulty = (f64::from(outputs.difficulty) + TURN_ADDS * turns + tools).clamp(0.0, 1.0);
        let memberships = memberships(features, &outputs.basis);
        let output_tokens = (outputs.length.exp2() - 1.0).clamp(1.0, MOST_OUTPUT_TOKENS) as u64;
        let is_comparable = is_comparable(features, &memberships, output_tokens);
        let basis = outputs.basis.map(f64::from);
        Prompt { features: *features, difficulty, memberships, output_tokens, is_comparable, basis }
    }

    /// What one pass over it saw.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// How hard it is, 0 to 1: the share of a perfect answer that a middling model is expected to miss.
    pub fn difficulty(&self) -> f64 {
        self.difficulty
    }

    /// Difficulty in three steps.
    pub fn complexity(&self) -> Complexity {
        match self.difficulty {
            value if value < 0.35 => Complexity::Simple,
            value if value < 0.55 => Complexity::Moderate,
            _ => Complexity::Complex,
        }
    }

    /// What it mostly asks for.
    pub fn task(&self) -> Task {
        let pairs = Task::ALL.into_iter().zip(self.memberships);
        pairs.max_by(|a, b| a.1.total_cmp(&b.1)).map_or(Task::Conversation, |(task, _)| task)
    }

    /// How much it asks for each task, in the order of [`Task::ALL`]; the sum is 1.
    pub fn memberships(&self) -> [f64; Task::ALL.len()] {
        self.memberships
    }

    /// Tokens that its answer is expected to have.
    pub fn output_tokens(&self) -> u64 {
        self.output_tokens
    }

    /// Its words ask for a number, a choice or a few words, which can be compared between models.
    pub fn has_comparable_answer(&self) -> bool {
        self.is_comparable
    }

    /// What a model's evidence is made of.
    pub(crate) fn basis(&self) -> &[f64; BASIS] {
        &self.basis
    }
}

/// What plain signs count beside the trained kinds, which know few programs, stories and letters.
const CODE_COUNTS: f64 = 1.0;
const OPENING_COUNTS: f64 = 0.6;

fn memberships(features: &Features, basis: &[f32; BASIS]) -> [f64; Task::ALL.len()] {
    let mut shares = [0.0; Task::ALL.len()];
    let mut add = |task: Task, share: f64| {
        if let Some(sum) = shares.get_mut(task as usize) {
            *sum += share;
        }
    };
    for ((_, task), share) in KINDS.iter().zip(basis.iter().skip(1)) {
        add(*task, f64::from(*share));
    }
    if features.has_code {
        add(Task::Code, CODE_COUNTS);
    }
    let opens = |family: Family| features.opening.get(family as usize).is_some_and(|count| *count > 0);
    if opens(Family::Writing) && opens(Family::Code) {
        add(Task::Code, OPENING_COUNTS);
    } else if opens(Family::Creative) {
        add(Task::Creative, OPENING_COUNTS);
    }
    let sum: f64 = shares.iter().sum();
    shares.map(|share| share / sum.max(f64::MIN_POSITIVE))
}

fn is_comparable(features: &Features, memberships: &[f64; Task::ALL.len()], output_tokens: u64) -> bool {
    let is_choice = features.options >= 2;
    let is_brief = features.family(Family::Brevity) >= 2 && features.family(Family::Length) == 0;
    let is_math = memberships.get(Task::Math as usize).is_some_and(|share| *share >= 0.5);
    let is_reckoning = features.numbers >= 2
        && features.questions > 0
        && (features.operators > 0 || features.family(Family::Quantity) > 0)
        && !features.has_code;
    let is_number = (is_math || is_reckoning) && features.family(Family::Rigour) == 0;
    is_choice || is_brief || is_number || output_tokens <= SHORT_ANSWER_TOKENS
}

#[cfg(test)]
mod tests;
