//! Whether two texts ask the same thing, so that the answer to one may serve the other.
//!
//! A similarity of vectors proposes, and every guard must agree: a wrong answer is worse than a miss, so whatever is in
//! doubt differs. [`canonical`] is the cheap tier: texts with equal canonical words get each other's answers without any
//! further check. [`Reading`] is what the guards compare, parsed once a text; [`Policy`] is the decision.

mod alignment;
mod calibration;
mod canonical;
mod clause;
mod evaluation;
mod numerals;
mod order;
mod pieces;
mod policy;
mod reading;
mod stem;
mod tokens;
mod words;

pub use calibration::{Calibration, CalibrationError, Sample};
pub use canonical::canonical;
pub use evaluation::{Tally, judge};
pub use policy::{Guard, Mismatch, Policy, compare};
pub use reading::{MOST_BYTES, Reading, Reason};
