//! One scale of similarity for every embedder.

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

impl Calibration {
    /// The embedder inside of this build: its cosine is the scale.
    pub fn embedded() -> Calibration {
        Calibration { embedder: "all-minilm-l6-v2".to_owned(), knots: vec![(0.0, 0.0), (1.0, 1.0)] }
    }

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
