//! What the caller and the operator want of a plan.

use catalog::Nanodollars;

use crate::{Strategy, Weights};

/// What the ranking is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// `auto`: the weighted score, under the strategy's name.
    Weighed(Strategy),
    /// `fast`: the lowest measured latency.
    Fastest,
    /// `cheap`: the lowest estimated cost.
    Cheapest,
    /// `quality`: the best predicted quality.
    Best,
}

impl Goal {
    /// The word that opens the decision.
    pub fn as_str(self) -> &'static str {
        match self {
            Goal::Weighed(strategy) => strategy.as_str(),
            Goal::Fastest => "fast",
            Goal::Cheapest => "cheap",
            Goal::Best => "quality",
        }
    }
}

/// How one request is to be placed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// What to rank by.
    pub goal: Goal,
    /// What counts how much under [`Goal::Weighed`]. They come from the configuration, which may have its own for a
    /// strategy: [`Strategy::weights`] is only where it starts from.
    pub weights: Weights,
    /// A local model close enough to the best wins over it; applies to [`Goal::Weighed`] only.
    pub prefer_local: Option<PreferLocal>,
    /// What no candidate may exceed.
    pub constraints: Constraints,
    /// The candidate that answered this conversation before. It keeps the conversation while it can serve, unless
    /// another would answer clearly better.
    pub sticky: Option<usize>,
    /// Whether several models may share the answer.
    pub composite: Permission,
}

impl Policy {
    /// A goal with its strategy's preset weights and nothing else asked for.
    pub fn of(goal: Goal) -> Policy {
        let strategy = match goal {
            Goal::Weighed(strategy) => strategy,
            Goal::Fastest => Strategy::Latency,
            Goal::Cheapest => Strategy::Cost,
            Goal::Best => Strategy::Quality,
        };
        Policy {
            goal,
            weights: strategy.weights(),
            prefer_local: None,
            constraints: Constraints::default(),
            sticky: None,
            composite: Permission::Never,
        }
    }
}

/// How much worse a local model may be and still win.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PreferLocal {
    /// The share of the best score that it needs, 0 to 1.
    pub ratio: f64,
    /// The predicted quality that it needs, 0 to 1.
    pub quality_floor: Option<f64>,
}

impl Default for PreferLocal {
    fn default() -> PreferLocal {
        PreferLocal { ratio: 0.7, quality_floor: None }
    }
}

/// Bounds that no candidate may exceed, where they are set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Constraints {
    /// Of the request's predicted cost over its predicted tokens, for a thousand of them. An unknown price exceeds it.
    pub max_cost_per_1k_tokens: Option<Nanodollars>,
    /// Of the predicted latency to the whole answer. A model that was not measured yet does not exceed it.
    pub max_latency_ms: Option<f64>,
}

/// Whether a plan may ask several models for one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// One model answers.
    Never,
    /// The caller asked for an agreement cascade.
    Cascade,
    /// The caller asked for the cheap one first, the better one where that fails.
    Escalate,
    /// Either, where the answer can be compared or checked and the score says so.
    Automatic,
}
