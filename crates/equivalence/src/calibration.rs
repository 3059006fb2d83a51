//! One scale of similarity for every embedder.
//!
//! Embedders differ in how near they put texts of different meaning, so a threshold on the bare cosine means something else
//! for each. The scale here is that of the embedded model: for another, a cosine counts as much as the embedded model's
//! cosine that lets through the same share of pairs of different meaning.

use serde::{Deserialize, Serialize};

/// Maps the cosine of an embedder's vectors to a similarity that means the same whatever the embedder.
///
/// Piecewise linear through its knots, and never falling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Calibration {
    embedder: String,
    knots: Vec<(f32, f32)>,
}

/// Why a calibration is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CalibrationError {
    /// Knots must be at least two and at most 64 finite pairs, both numbers rising.
    #[error("the knots of a calibration are two to 64 pairs of rising numbers")]
    Knots,
    /// There are not enough pairs to fit one.
    #[error("a calibration needs more pairs")]
    Pairs,
}

/// A labelled pair with its cosines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Whether the pair means the same.
    pub is_same: bool,
    /// Its cosine by the embedded model.
    pub embedded: f32,
    /// Its cosine by the embedder that is to be calibrated.
    pub cosine: f32,
}

#[derive(Deserialize)]
struct Unchecked {
    embedder: String,
    knots: Vec<(f32, f32)>,
}

impl TryFrom<Unchecked> for Calibration {
    type Error = CalibrationError;

    fn try_from(raw: Unchecked) -> Result<Self, CalibrationError> {
        Calibration::new(raw.embedder, raw.knots)
    }
}

/// More knots than that say nothing.
const MOST_KNOTS: usize = 64;
/// What the embedded model is called.
const EMBEDDED: &str = "all-minilm-l6-v2";
/// Its cosine that is a similarity of 0.95.
const COSINE_OF_95: f32 = 0.80;
/// The shares of different pairs at which two embedders are set equal, denser towards the end that decides.
const LEVELS: [f32; 16] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.96, 0.98, 0.99];

/// The value below which a share of sorted ones lies.
fn at(sorted: &[f32], share: f32) -> Option<f32> {
    // Lengths of lists that fit into memory stay far within what a float counts well enough here.
    sorted.get((sorted.len() as f32 * share) as usize).copied()
}

impl Calibration {
    /// The embedder inside of this build. Its one knot says which cosine is a similarity of 0.95: the lowest at which the
    /// guards kept wrong hits below their goals on the pairs that this was tuned with (`docs/cache-evaluation.md`).
    pub fn embedded() -> Calibration {
        Calibration { embedder: EMBEDDED.to_owned(), knots: vec![(0.0, 0.0), (COSINE_OF_95, 0.95), (1.0, 1.0)] }
    }

    /// Fits the calibration of another embedder to labelled pairs.
    ///
    /// # Errors
    /// There are fewer than [`FEWEST_PAIRS`](Calibration::FEWEST_PAIRS) pairs of different meaning, or the cosines do not
    /// tell them apart.
    pub fn fit(embedder: String, samples: &[Sample]) -> Result<Calibration, CalibrationError> {
        let different = || samples.iter().filter(|sample| !sample.is_same);
        let mut ours: Vec<f32> =
            different().map(|sample| sample.embedded).filter(|cosine| cosine.is_finite()).collect();
        let mut theirs: Vec<f32> =
            different().map(|sample| sample.cosine).filter(|cosine| cosine.is_finite()).collect();
        if ours.len() != theirs.len() || ours.len() < Self::FEWEST_PAIRS {
            return Err(CalibrationError::Pairs);
        }
        ours.sort_by(f32::total_cmp);
        theirs.sort_by(f32::total_cmp);
        let scale = Calibration::embedded();
        let mut knots: Vec<(f32, f32)> = vec![(-1.0, 0.0)];
        for (ours, theirs) in LEVELS.iter().filter_map(|level| Some((at(&ours, *level)?, at(&theirs, *level)?))) {
            let similarity = scale.similarity(ours);
            if knots.last().is_some_and(|(cosine, before)| theirs > *cosine && theirs < 1.0 && similarity >= *before) {
                knots.push((theirs, similarity));
            }
        }
        knots.push((1.0, 1.0));
        Calibration::new(embedder, knots)
    }

    /// Pairs of different meaning that a calibration needs at least: with fewer, its upper end is chance.
    pub const FEWEST_PAIRS: usize = 200;

    /// A calibration from its knots, pairs of a cosine and a similarity.
    ///
    /// # Errors
    /// The knots do not rise, or are too few or too many.
    pub fn new(embedder: String, knots: Vec<(f32, f32)>) -> Result<Calibration, CalibrationError> {
        let rises = knots.windows(2).all(|pair| matches!(pair, [one, next] if one.0 < next.0 && one.1 <= next.1));
        let is_finite = knots.iter().all(|(cosine, similarity)| cosine.is_finite() && (0.0..=1.0).contains(similarity));
        if rises && is_finite && (2..=MOST_KNOTS).contains(&knots.len()) {
            Ok(Calibration { embedder, knots })
        } else {
            Err(CalibrationError::Knots)
        }
    }

    /// The embedder it is for: `provider/model`, or the embedded one.
    pub fn embedder(&self) -> &str {
        &self.embedder
    }

    /// The least cosine that is a similarity of so much: what a search asks its index for.
    pub fn cosine(&self, similarity: f32) -> f32 {
        for pair in self.knots.windows(2) {
            let [(from, low), (to, high)] = pair else { continue };
            if similarity <= *high && high > low {
                let part = ((similarity - low) / (high - low)).max(0.0);
                return from + part * (to - from);
            }
        }
        1.0
    }

    /// The calibrated similarity of a cosine, 0 to 1; 0 for what is not a number.
    pub fn similarity(&self, cosine: f32) -> f32 {
        for pair in self.knots.windows(2) {
            let [(from, low), (to, high)] = pair else { continue };
            if cosine <= *to {
                let part = ((cosine - from) / (to - from)).max(0.0);
                return low + part * (high - low);
            }
        }
        if cosine.is_nan() { 0.0 } else { self.knots.last().map_or(0.0, |(_, high)| *high) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(of: impl Fn(f32) -> f32) -> Vec<Sample> {
        let cosines = (0..1000_u16).map(|number| f32::from(number) / 1000.0);
        cosines.map(|embedded| Sample { is_same: false, embedded, cosine: of(embedded) }).collect()
    }

    #[test]
    fn an_embedder_that_crowds_its_vectors_is_stretched_to_the_scale() {
        let crowded = Calibration::fit("a/b".to_owned(), &samples(|cosine| 0.8 + cosine * 0.2)).unwrap();
        let scale = Calibration::embedded();

        for cosine in [0.1, 0.5, 0.7, 0.8, 0.9, 0.97] {
            let (found, wanted) = (crowded.similarity(0.8 + cosine * 0.2), scale.similarity(cosine));
            assert!((found - wanted).abs() < 0.02, "{cosine}: {found} {wanted}");
        }
    }

    #[test]
    fn a_calibration_never_falls_and_stays_within_its_scale() {
        for calibration in [
            Calibration::embedded(),
            Calibration::fit("a/b".to_owned(), &samples(f32::sqrt)).unwrap(),
            Calibration::fit("a/b".to_owned(), &samples(|_| 0.9)).unwrap(),
        ] {
            let mut before = 0.0;
            for step in -1100..1100_i16 {
                let similarity = calibration.similarity(f32::from(step) / 1000.0);
                assert!((before..=1.0).contains(&similarity), "{step} {similarity}");
                before = similarity;
            }
            assert_eq!(calibration.similarity(f32::NAN), 0.0);
        }
    }

    #[test]
    fn it_survives_being_written_down_and_is_checked_when_read() {
        let fitted = Calibration::fit("a/b".to_owned(), &samples(f32::sqrt)).unwrap();

        let text = serde_json::to_string(&fitted).unwrap();

        assert_eq!(serde_json::from_str::<Calibration>(&text).unwrap(), fitted);
        assert!(serde_json::from_str::<Calibration>(r#"{"embedder":"a/b","knots":[[1.0,0.0],[0.0,1.0]]}"#).is_err());
        assert!(serde_json::from_str::<Calibration>(r#"{"embedder":"a/b","knots":[[0.0,0.0]]}"#).is_err());
    }

    #[test]
    fn a_cosine_is_found_for_a_similarity() {
        for calibration in [Calibration::embedded(), Calibration::fit("a/b".to_owned(), &samples(f32::sqrt)).unwrap()] {
            for similarity in [0.1, 0.5, 0.9, 0.95, 0.99, 1.0] {
                let found = calibration.similarity(calibration.cosine(similarity));
                assert!((found - similarity).abs() < 1e-3, "{similarity} {found}");
            }
        }
    }

    #[test]
    fn a_few_pairs_are_no_calibration() {
        let few = samples(f32::sqrt).split_off(900);

        assert_eq!(Calibration::fit("a/b".to_owned(), &few), Err(CalibrationError::Pairs));
    }
}
