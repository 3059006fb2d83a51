//! From a prompt to an ordered plan, as a pure function: the same call serves requests and explains decisions.
//!
//! [`Prompt::read`] works out once what the prompt is. [`plan`] is the whole decision: filter what cannot serve, predict
//! what each candidate would give for this prompt, score by the policy's weights, order. What is known of a model's
//! answers is [`Evidence`], graded prompts in a few sums, and [`Quality`] makes a prediction of it. Nothing here reads a
//! clock or a network; health and measured latency come in with the candidates.

mod candidate;
pub mod cholesky;
mod composite;
mod evidence;
mod features;
pub mod heads;
mod kind;
mod plan;
mod policy;
mod prompt;
mod quality;
mod reading;
mod score;
mod task;
mod words;

pub use candidate::{Availability, Candidate, Latency, Needs};
pub use composite::{Composite, Expected};
pub use evidence::{Evidence, StaleEvidence};
pub use features::Features;
pub use plan::{Placement, Plan, Ranked, Reason, Verdict};
pub use policy::{Constraints, Goal, Permission, Policy, PreferLocal};
pub use prompt::{Complexity, Prompt};
pub use quality::{Layers, Predicted, Prior, Quality};
pub use reading::Reading;
pub use score::{NotWeights, Strategy, Weights};
pub use task::Task;

/// Orders the candidates for one request, best first.
///
/// Candidates that cannot serve are left out of [`Plan::ranked`] and stand in [`Plan::excluded`] with the reason.
/// Unreachable candidates stay, behind all others: a plan is never empty for a reason that may be out of date.
pub fn plan(candidates: &[Candidate<'_>], needs: &Needs, prompt: &Prompt, policy: &Policy) -> Plan {
    plan::build(candidates, needs, prompt, policy)
}
