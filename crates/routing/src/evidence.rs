//! Graded prompts of one model, as the few sums that a prediction needs.

use serde::{Deserialize, Serialize};

use crate::Prompt;
use crate::prompt::BASIS;

/// Entries of a symmetric matrix of that side, its lower half row by row.
pub(crate) const HALF: usize = BASIS * (BASIS + 1) / 2;

/// What was observed of one model: sums over graded prompts, no prompt itself.
///
/// Bounded whatever is observed, and the same in any order up to rounding, so replicas may keep their own and merge.
/// Serialises with the mark of the constants that read the prompts: what other constants read cannot be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Evidence {
    pub(crate) count: f64,
    pub(crate) gram: [f64; HALF],
    pub(crate) moments: [f64; BASIS],
}

/// Changes whenever the numbers that stand for a prompt do.
pub(crate) const READING: u32 = 0;

#[derive(Serialize, Deserialize)]
struct Stored {
    reading: u32,
    count: f64,
    gram: Vec<f64>,
    moments: Vec<f64>,
}

/// Evidence that was gathered by another version's reading of prompts, or is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("evidence of another version, or damaged")]
pub struct StaleEvidence;

impl Evidence {
    /// Nothing observed yet.
    pub fn none() -> Evidence {
        Evidence { count: 0.0, gram: [0.0; HALF], moments: [0.0; BASIS] }
    }

    /// Adds one graded prompt; `score` is the share of a perfect answer and is held between 0 and 1.
    pub fn observe(&mut self, prompt: &Prompt, score: f64) {
        if score.is_nan() {
            return;
        }
        let score = score.clamp(0.0, 1.0);
        let basis = prompt.basis();
        let mut sums = self.gram.iter_mut();
        for (row, value) in basis.iter().enumerate() {
            for (other, sum) in basis.iter().take(row.saturating_add(1)).zip(&mut sums) {
                *sum += value * other;
            }
        }
        for (moment, value) in self.moments.iter_mut().zip(basis) {
            *moment += value * score;
        }
        self.count += 1.0;
    }

    /// Adds what another observed of the same model.
    pub fn merge(&mut self, other: &Evidence) {
        self.count += other.count;
        for (sum, more) in self.gram.iter_mut().zip(&other.gram) {
            *sum += more;
        }
        for (sum, more) in self.moments.iter_mut().zip(&other.moments) {
            *sum += more;
        }
    }

    /// Graded prompts in it.
    pub fn count(&self) -> f64 {
        self.count
    }
}

impl Default for Evidence {
    fn default() -> Evidence {
        Evidence::none()
    }
}

impl From<Evidence> for Stored {
    fn from(evidence: Evidence) -> Stored {
        let Evidence { count, gram, moments } = evidence;
        Stored { reading: READING, count, gram: gram.to_vec(), moments: moments.to_vec() }
    }
}

impl TryFrom<Stored> for Evidence {
    type Error = StaleEvidence;

    fn try_from(stored: Stored) -> Result<Evidence, StaleEvidence> {
        let Stored { reading, count, gram, moments } = stored;
        let is_sound = count >= 0.0 && count.is_finite() && gram.iter().chain(&moments).all(|value| value.is_finite());
        if reading != READING || !is_sound {
            return Err(StaleEvidence);
        }
        let gram = gram.try_into().map_err(|_| StaleEvidence)?;
        let moments = moments.try_into().map_err(|_| StaleEvidence)?;
        Ok(Evidence { count, gram, moments })
    }
}
