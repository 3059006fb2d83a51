//! What the router is told: the models that could answer, and what the request demands of them.

use catalog::{Capabilities, Price};

use crate::Quality;

/// One model at one provider, as the router sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The model's name, for the decision's text.
    pub model: &'a str,
    /// Price, where it is known. Unknown is not free.
    pub price: Option<&'a Price>,
    /// What is known of its answers.
    pub quality: &'a Quality,
    /// Measured latency; `None` before the first measurement.
    pub latency: Option<Latency>,
    /// Milliseconds that loading it takes first: a local model that is not in memory.
    pub cold_start_ms: f64,
    /// Tokens that prompt and answer may have together.
    pub context_window: Option<u64>,
    /// Tokens that an answer may have.
    pub max_output_tokens: Option<u64>,
    /// What it can take and give.
    pub capabilities: Capabilities,
    /// Runs on the operator's own machines.
    pub is_local: bool,
    /// Whether it can be asked now.
    pub availability: Availability,
}

/// How fast a model was, in medians over recent requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// Milliseconds to the first content, or to the whole answer where no stream was measured.
    pub first_content_ms: f64,
    /// Milliseconds for each token after that; 0 where it was not measured.
    pub per_token_ms: f64,
}

/// Whether a candidate can be asked now. Order: the better, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Availability {
    /// Unhealthy, or its circuit breaker is open.
    Unreachable,
    /// It answers, but little is left of its rate limit.
    Short,
    /// Nothing stands against asking it.
    Ready,
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
    /// The request fixes the form of its answer (JSON, one forced tool), so that two answers can be compared. What the
    /// prompt's own words fix is read from them.
    pub has_comparable_answer: bool,
}
