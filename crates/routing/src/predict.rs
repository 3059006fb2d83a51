//! What a candidate would give for this prompt: quality, cost and latency, before any weighing.

use catalog::Nanodollars;
use wire::usage::Usage;

use crate::{Candidate, Difficulty, Needs};

/// Tokens of an answer when the caller set no limit: the middle of what chat answers have.
const TYPICAL_OUTPUT_TOKENS: u64 = 400;

/// Predicted chance of a good answer, 0 to 1.
///
/// The prior is the share of good answers over prompts of mixed difficulty. Its shortfall shrinks on easy prompts and
/// grows on hard ones: nearly every model greets well, few prove theorems.
pub(crate) fn quality(candidate: &Candidate<'_>, difficulty: Difficulty) -> f64 {
    let shortfall = 1.0 - candidate.quality.unwrap_or(0.0);
    (1.0 - shortfall * (0.4 + 1.2 * difficulty.value())).clamp(0.0, 1.0)
}

/// Estimated cost of the request at this candidate; `None` when its price is unknown.
pub(crate) fn cost(candidate: &Candidate<'_>, needs: &Needs) -> Option<Nanodollars> {
    let output = needs.max_tokens.map_or(TYPICAL_OUTPUT_TOKENS, |limit| limit.min(TYPICAL_OUTPUT_TOKENS));
    let usage = Usage { input: Some(needs.input_tokens), output: Some(output), ..Usage::default() };
    candidate.price.map(|price| price.cost(&usage))
}
