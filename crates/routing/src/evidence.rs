//! Graded prompts of one model, as the few sums that a prediction needs.

use serde::{Deserialize, Serialize};

use crate::Prompt;
use crate::cholesky::add_square;
use crate::heads::{BASIS, READING};

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
    pub(crate) gram: Box<[f64; HALF]>,
    pub(crate) moments: Box<[f64; BASIS]>,
}

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
        Evidence { count: 0.0, gram: Box::new([0.0; HALF]), moments: Box::new([0.0; BASIS]) }
    }

    /// Adds one graded prompt; `score` is the share of a perfect answer and is held between 0 and 1.
    pub fn observe(&mut self, prompt: &Prompt, score: f64) {
        if score.is_nan() {
            return;
        }
        let score = score.clamp(0.0, 1.0);
        let basis = prompt.basis();
        add_square(self.gram.as_mut_slice(), basis, 1.0);
        for (moment, value) in self.moments.iter_mut().zip(basis) {
            *moment += value * score;
        }
        self.count += 1.0;
    }

    /// Adds what another observed of the same model.
    pub fn merge(&mut self, other: &Evidence) {
        self.count += other.count;
        for (sum, more) in self.gram.iter_mut().zip(other.gram.iter()) {
            *sum += more;
        }
        for (sum, more) in self.moments.iter_mut().zip(other.moments.iter()) {
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
        Stored { reading: *READING, count, gram: gram.to_vec(), moments: moments.to_vec() }
    }
}

impl TryFrom<Stored> for Evidence {
    type Error = StaleEvidence;

    fn try_from(stored: Stored) -> Result<Evidence, StaleEvidence> {
        let Stored { reading, count, gram, moments } = stored;
        let is_sound = count >= 0.0 && count.is_finite() && gram.iter().chain(&moments).all(|value| value.is_finite());
        if reading != *READING || !is_sound {
            return Err(StaleEvidence);
        }
        let gram = gram.into_boxed_slice().try_into().map_err(|_| StaleEvidence)?;
        let moments = moments.into_boxed_slice().try_into().map_err(|_| StaleEvidence)?;
        Ok(Evidence { count, gram, moments })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(texts: &[(&str, f64)]) -> Evidence {
        let mut evidence = Evidence::none();
        texts.iter().for_each(|(text, score)| evidence.observe(&Prompt::of_text(text), *score));
        evidence
    }

    #[test]
    fn what_two_observed_is_what_one_would_have() {
        let (mut left, right) = (evidence(&[("a", 0.2), ("What is 2 + 2?", 1.0)]), evidence(&[("Why?", 0.5)]));
        let all = evidence(&[("Why?", 0.5), ("What is 2 + 2?", 1.0), ("a", 0.2)]);

        left.merge(&right);

        assert_eq!(left.count(), 3.0);
        assert!(left.gram.iter().zip(all.gram.iter()).all(|(left, all)| (left - all).abs() < 1e-9));
        assert!(left.moments.iter().zip(all.moments.iter()).all(|(left, all)| (left - all).abs() < 1e-9));
    }

    #[test]
    fn it_survives_being_stored() {
        let evidence = evidence(&[("Write a poem about rain.", 0.7)]);

        let text = serde_json::to_string(&evidence).unwrap();
        let read: Evidence = serde_json::from_str(&text).unwrap();

        assert_eq!(read.count(), 1.0);
        assert!(read.gram.iter().zip(evidence.gram.iter()).all(|(read, kept)| (read - kept).abs() < 1e-12));
        assert!(text.len() < 32 * 1024);
    }

    #[test]
    fn what_other_constants_read_or_is_damaged_is_refused() {
        let stored = serde_json::to_value(evidence(&[("a", 0.5)])).unwrap();
        let changed = |field: &str, value: serde_json::Value| {
            let mut stored = stored.clone();
            stored[field] = value;
            serde_json::from_value::<Evidence>(stored).is_err()
        };

        assert!(changed("reading", 1.into()));
        assert!(changed("gram", vec![0.5].into()));
        assert!(changed("count", (-1.0).into()));
    }

    #[test]
    fn a_grade_that_is_no_number_is_left_out() {
        assert_eq!(evidence(&[("a", f64::NAN)]), Evidence::none());
    }
}
