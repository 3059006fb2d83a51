//! Answers that several models make together.

use catalog::Nanodollars;

/// A way to answer with several models, by their positions in the slice that was given to [`crate::plan`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Composite {
    /// Both cheap ones are asked; where they agree their answer stands, else the strong one is asked.
    Cascade {
        /// Asked at once.
        cheap: [usize; 2],
        /// Asked where they differ.
        strong: usize,
        /// What the whole is predicted to give.
        expected: Expected,
    },
    /// The first is asked; where its answer fails a check (form, refusal, truncation, emptiness), the next.
    Escalate {
        /// Asked first.
        cheap: usize,
        /// Asked where that fails.
        strong: usize,
        /// What the whole is predicted to give.
        expected: Expected,
    },
}

/// What a composite is predicted to give, on the scales of a single model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Share of a perfect answer.
    pub quality: f64,
    /// Cost of all calls, weighed by how likely each is.
    pub cost: Nanodollars,
    /// Latency of all calls, weighed likewise; `None` where a member was not measured.
    pub latency_ms: Option<f64>,
    /// Score under the policy's weights.
    pub score: f64,
}
