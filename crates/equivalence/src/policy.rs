//! The decision: similar enough, and no guard objects.

use crate::Reading;

/// How strict the guards are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guard {
    /// Every content word of one text needs its counterpart in the other.
    Strict,
    /// What is measured to be safe enough for most.
    #[default]
    Standard,
}

/// What keeps two texts from sharing an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// Not similar enough.
    Similarity,
    /// One of them is not eligible at all.
    Ineligible,
    /// Their words differ.
    Words,
}

impl Mismatch {
    /// The word for metrics and explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            Mismatch::Similarity => "similarity",
            Mismatch::Ineligible => "ineligible",
            Mismatch::Words => "words",
        }
    }
}

/// When one text's answer may serve another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// The calibrated similarity that is asked for, 0 to 1.
    pub threshold: f32,
    /// How strict the guards are.
    pub guard: Guard,
}

impl Policy {
    /// The least calibrated similarity that can be accepted: a search need not propose less.
    pub fn floor(&self) -> f32 {
        self.threshold
    }

    /// Whether the stored text's answer may serve the asked one, at their calibrated similarity.
    ///
    /// # Errors
    /// What stands against it.
    pub fn accept(&self, asked: &Reading, stored: &Reading, similarity: f32) -> Result<(), Mismatch> {
        // A similarity that is not a number is refused as well.
        if similarity >= self.floor() { compare(asked, stored, self.guard) } else { Err(Mismatch::Similarity) }
    }
}

/// Whether the guards find that two texts ask the same.
///
/// # Errors
/// The first guard that objects.
pub fn compare(one: &Reading, other: &Reading, _guard: Guard) -> Result<(), Mismatch> {
    if one.ineligible().is_some() || other.ineligible().is_some() {
        return Err(Mismatch::Ineligible);
    }
    if one.words() == other.words() { Ok(()) } else { Err(Mismatch::Words) }
}
