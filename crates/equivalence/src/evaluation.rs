//! How often texts would get each other's answers, and how often wrongly: counted through the very functions that serve.

use std::collections::BTreeMap;

use crate::{Calibration, Mismatch, Policy, Reading, canonical};

/// Whether one text would get the other's answer, in the normalised tier or at their cosine in the semantic one.
///
/// # Errors
/// What stands against it.
pub fn judge(
    asked: &str,
    stored: &str,
    cosine: f32,
    calibration: &Calibration,
    policy: &Policy,
) -> Result<(), Mismatch> {
    if canonical(asked) == canonical(stored) {
        return Ok(());
    }
    policy.accept(&Reading::of(asked), &Reading::of(stored), calibration.similarity(cosine))
}

/// Counts of judged pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Pairs that mean the same, and those of them that hit.
    pub same: u64,
    /// Hits among them.
    pub hits: u64,
    /// Pairs that do not.
    pub different: u64,
    /// Hits among those.
    pub false_hits: u64,
    /// What stood against a hit, for pairs that mean the same and for those that do not.
    pub refused: BTreeMap<Mismatch, [u64; 2]>,
}

impl Tally {
    /// Counts a pair.
    pub fn add(&mut self, is_same: bool, verdict: Result<(), Mismatch>) {
        let (pairs, hits) =
            if is_same { (&mut self.same, &mut self.hits) } else { (&mut self.different, &mut self.false_hits) };
        *pairs = pairs.saturating_add(1);
        match verdict {
            Ok(()) => *hits = hits.saturating_add(1),
            Err(mismatch) => {
                let [same, different] = self.refused.entry(mismatch).or_default();
                let count = if is_same { same } else { different };
                *count = count.saturating_add(1);
            }
        }
    }

    /// The share of pairs of one meaning that hit; `None` without any.
    pub fn hit_rate(&self) -> Option<f64> {
        share(self.hits, self.same)
    }

    /// The share of other pairs that hit wrongly; `None` without any.
    pub fn false_hit_rate(&self) -> Option<f64> {
        share(self.false_hits, self.different)
    }
}

fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_shares_of_their_kind() {
        let mut tally = Tally::default();
        assert_eq!((tally.hit_rate(), tally.false_hit_rate()), (None, None));

        tally.add(true, Ok(()));
        tally.add(true, Err(Mismatch::Words));
        tally.add(false, Err(Mismatch::Words));

        assert_eq!((tally.hit_rate(), tally.false_hit_rate()), (Some(0.5), Some(0.0)));
        assert_eq!(tally.refused[&Mismatch::Words], [1, 1]);
    }
}
