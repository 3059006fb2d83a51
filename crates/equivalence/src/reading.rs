//! What the guards compare of a text.

/// A longer text is not compared.
pub const MOST_BYTES: usize = 4096;

/// What a text says, parsed once.
#[derive(Clone, Debug)]
pub struct Reading {
    words: Vec<String>,
    reason: Option<Reason>,
}

/// Why a text has no place in the semantic tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is said.
    Empty,
    /// Longer than [`MOST_BYTES`].
    TooLong,
    /// It points at something outside of it: "this photo", "the text above".
    Deictic,
    /// Its answer changes with time: "today", "latest", "now".
    TimeDependent,
    /// The guards do not know its language.
    Language,
}

impl Reason {
    /// The word for metrics and explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Empty => "empty",
            Reason::TooLong => "too_long",
            Reason::Deictic => "deictic",
            Reason::TimeDependent => "time_dependent",
            Reason::Language => "language",
        }
    }
}

impl Reading {
    /// Reads a text. Of one longer than [`MOST_BYTES`] nothing is read.
    pub fn of(text: &str) -> Reading {
        let reason = match text.len() {
            0 => Some(Reason::Empty),
            1..=MOST_BYTES => None,
            _ => Some(Reason::TooLong),
        };
        let words =
            if reason.is_none() { text.split_whitespace().map(str::to_lowercase).collect() } else { Vec::new() };
        Reading { words, reason }
    }

    /// Why the text has no place in the semantic tier; `None` if it has.
    pub fn ineligible(&self) -> Option<Reason> {
        self.reason
    }

    pub(crate) fn words(&self) -> &[String] {
        &self.words
    }
}
