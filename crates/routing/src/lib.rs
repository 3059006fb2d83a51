//! From a prompt to an ordered plan, as a pure function: the same call serves requests and explains decisions.
//!
//! [`plan`] is the whole decision: filter what cannot serve, predict what each candidate would give for this prompt,
//! score by the strategy's weights, order. It reads no clock and no network; health and measured latency come in with
//! the candidates.

mod difficulty;
mod features;
mod plan;
mod predict;
mod score;

pub use difficulty::{Complexity, Difficulty};
pub use features::Features;
pub use plan::{Goal, Plan, Policy, Ranked, Reason};
pub use score::{Strategy, Weights};

use catalog::{Capabilities, Price};

/// One model at one provider, as the router sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The model's name, for the decision's text.
    pub model: &'a str,
    /// Price, where it is known. Unknown is not free.
    pub price: Option<&'a Price>,
    /// Prior quality, 0 to 1; a model without one takes no part in `auto`.
    pub quality: Option<f64>,
    /// Measured median time to the first content, or to the whole answer where no stream was measured, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Tokens that prompt and answer may have together.
    pub context_window: Option<u64>,
    /// What it can take and give.
    pub capabilities: Capabilities,
    /// Runs on the operator's own machines.
    pub is_local: bool,
    /// Its provider answered the last health check.
    pub is_healthy: bool,
}

/// What the request itself demands of a model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needs {
    /// Estimated prompt tokens.
    pub input_tokens: u64,
    /// The caller's limit on the answer, in tokens.
    pub max_tokens: Option<u64>,
    /// Images in the conversation.
    pub vision: bool,
    /// Audio in the conversation.
    pub audio: bool,
    /// Files in the conversation.
    pub files: bool,
    /// Functions on offer.
    pub tools: bool,
    /// An answer that fits a JSON Schema.
    pub json_schema: bool,
}

/// Orders the candidates for one request, best first.
///
/// Candidates that cannot serve are left out of [`Plan::ranked`] and stand in [`Plan::excluded`] with the reason.
/// Unhealthy candidates stay, behind all healthy ones: a plan is never empty for a reason that may be out of date.
pub fn plan(candidates: &[Candidate<'_>], needs: &Needs, difficulty: Difficulty, policy: &Policy) -> Plan {
    plan::build(candidates, needs, difficulty, policy)
}
