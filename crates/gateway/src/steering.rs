//! How `auto` chooses: what the configuration says, with what an admin has changed of it while it runs.
//!
//! The changes are one JSON value in the database, so that every replica steers alike and a restart keeps them; each
//! step is in the audit. What is absent or `null` stays as the configuration has it.

use catalog::Nanodollars;
use routing::{Strategy, Weights};
use serde::{Deserialize, Serialize};
use wire::Problem;

use crate::config::{CompositePlans, Routing};
use crate::refusal::Refusal;

/// The name of the changes in the database and in the audit.
pub const SETTING: &str = "routing";
/// Targets of the fallback chain.
const LONGEST_CHAIN: usize = 100;
/// Bytes of a target's name.
const LONGEST_NAME: usize = 300;
/// The highest limit on a latency, in milliseconds: an hour.
const LONGEST_LATENCY_MS: f64 = 3_600_000.0;

/// What an admin has changed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Changes {
    /// What counts when the request does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// Weights of that strategy, in place of its preset. They sum to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsForm>,
    /// Whether a local model that is nearly as good wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefer_local: Option<bool>,
    /// The share of the best score that is nearly as good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefer_local_ratio: Option<f64>,
    /// The predicted quality that a local model needs to be preferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_quality_floor: Option<f64>,
    /// The most that a model may cost, in US dollars for a thousand tokens of this request's mix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cost_per_1k_usd: Option<f64>,
    /// The longest predicted latency of a model, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_latency_ms: Option<f64>,
    /// Whether the turns of a conversation stay with one model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<bool>,
    /// Whether plans of several models are made: `off`, `requested` or `automatic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub composite_plans: Option<String>,
    /// Models to try in this order when the chosen one fails, as `provider/model` or by bare names; others come after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_chain: Option<Vec<String>>,
}

/// The weights of cost, quality and latency.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsForm {
    /// Of low cost.
    pub cost: f64,
    /// Of predicted quality.
    pub quality: f64,
    /// Of low latency.
    pub latency: f64,
}

impl From<Weights> for WeightsForm {
    fn from(weights: Weights) -> WeightsForm {
        WeightsForm { cost: weights.cost(), quality: weights.quality(), latency: weights.latency() }
    }
}

impl WeightsForm {
    /// The weights, if they are such.
    ///
    /// # Errors
    /// One is negative or no number, or they do not sum to 1.
    pub fn weights(self) -> Result<Weights, Refusal> {
        Weights::new(self.cost, self.quality, self.latency).map_err(|error| wrong("weights", &error.to_string()))
    }
}

impl Changes {
    /// Reads what is in the database. Something that this version does not understand is no change.
    pub fn kept(text: Option<&str>) -> Changes {
        let read = |text: &str| serde_json::from_str::<Changes>(text).ok().filter(|changes| changes.check().is_ok());
        text.and_then(|text| {
            let changes = read(text);
            if changes.is_none() {
                tracing::warn!("what an admin changed of the routing cannot be read; the configuration counts");
            }
            changes
        })
        .unwrap_or_default()
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first that is not accepted, by its name.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.strategy.as_deref().is_some_and(|name| Strategy::parse(name).is_none()) {
            return Err(wrong("strategy", "use `cost`, `quality`, `latency` or `balanced`"));
        }
        if self.composite_plans.as_deref().is_some_and(|name| CompositePlans::parse(name).is_none()) {
            return Err(wrong("composite_plans", "use `off`, `requested` or `automatic`"));
        }
        if let Some(weights) = self.weights {
            weights.weights()?;
        }
        let shares =
            [("prefer_local_ratio", self.prefer_local_ratio), ("local_quality_floor", self.local_quality_floor)];
        for (name, share) in shares {
            if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
                return Err(wrong(name, "use a number from 0 to 1"));
            }
        }
        if self.max_cost_per_1k_usd.is_some_and(|cost| dollars(cost).is_none()) {
            return Err(wrong("max_cost_per_1k_usd", "use US dollars, more than none, for example 0.01"));
        }
        if self.max_latency_ms.is_some_and(|latency| !(1.0..=LONGEST_LATENCY_MS).contains(&latency)) {
            return Err(wrong("max_latency_ms", "use milliseconds from 1 to 3600000"));
        }
        let chain = self.fallback_chain.iter().flatten();
        if self.fallback_chain.as_ref().is_some_and(|chain| chain.len() > LONGEST_CHAIN)
            || chain.clone().any(|name| name.is_empty() || name.len() > LONGEST_NAME)
        {
            return Err(wrong("fallback_chain", "use at most 100 names of 1 to 300 bytes"));
        }
        Ok(())
    }

    /// The routing of the configuration with these changes. Values that are not accepted change nothing.
    pub fn apply(&self, base: &Routing) -> Routing {
        let mut routing = base.clone();
        if let Some(strategy) = self.strategy.as_deref().and_then(Strategy::parse) {
            // Weights belong to the strategy that they were configured with.
            if strategy != routing.strategy {
                routing.weights = None;
            }
            routing.strategy = strategy;
        }
        if let Some(weights) = self.weights.and_then(|weights| weights.weights().ok()) {
            routing.weights = Some(weights);
        }
        routing.prefer_local = self.prefer_local.unwrap_or(routing.prefer_local);
        routing.prefer_local_ratio = self.prefer_local_ratio.unwrap_or(routing.prefer_local_ratio);
        routing.local_quality_floor = self.local_quality_floor.or(routing.local_quality_floor);
        routing.max_cost_per_1k = self.max_cost_per_1k_usd.and_then(dollars).or(routing.max_cost_per_1k);
        routing.max_latency_ms = self.max_latency_ms.or(routing.max_latency_ms);
        routing.sticky = self.sticky.unwrap_or(routing.sticky);
        if let Some(plans) = self.composite_plans.as_deref().and_then(CompositePlans::parse) {
            routing.composite_plans = plans;
        }
        if let Some(chain) = &self.fallback_chain {
            routing.fallback_chain.clone_from(chain);
        }
        routing
    }
}

impl Routing {
    /// The weights for a request: a strategy that was configured with its own has those, the others their presets.
    pub fn weights_for(&self, strategy: Strategy) -> Weights {
        self.weights.filter(|_| strategy == self.strategy).unwrap_or_else(|| strategy.weights())
    }
}

fn dollars(amount: f64) -> Option<Nanodollars> {
    // Written out, because an amount is read digit by digit and never as a float.
    format!("{amount:.9}").parse().ok().filter(|cost| *cost > Nanodollars(0))
}

fn wrong(param: &str, hint: &str) -> Refusal {
    let message = format!("`{param}` has a value that is not accepted: {hint}.");
    Refusal::Invalid(wire::Error::at(param, Problem::InvalidValue, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Routing {
        crate::config::Config::default().routing
    }

    fn read(json: &str) -> Result<Changes, String> {
        let changes: Changes = serde_json::from_str(json).map_err(|error| error.to_string())?;
        changes.check().map_err(|refusal| match refusal {
            Refusal::Invalid(error) => error.param.unwrap_or_default(),
            other => format!("{other:?}"),
        })?;
        Ok(changes)
    }

    #[test]
    fn what_is_absent_or_null_stays_as_configured() {
        assert_eq!(read("{}").unwrap().apply(&base()), base());
        assert_eq!(read(r#"{"strategy":null,"prefer_local":null}"#).unwrap().apply(&base()), base());
    }

    #[test]
    fn configured_weights_replace_the_preset_of_their_strategy_and_of_no_other() {
        let changes = read(r#"{"strategy":"cost","weights":{"cost":0.5,"quality":0.3,"latency":0.2}}"#).unwrap();

        let routing = changes.apply(&base());

        assert_eq!(WeightsForm::from(routing.weights_for(Strategy::Cost)).cost, 0.5);
        assert_eq!(routing.weights_for(Strategy::Quality), Strategy::Quality.weights());
        let other = read(r#"{"strategy":"latency"}"#).unwrap().apply(&routing);
        assert_eq!(other.weights_for(Strategy::Latency), Strategy::Latency.weights());
    }

    #[test]
    fn a_value_that_is_not_accepted_is_named() {
        for (json, param) in [
            (r#"{"strategy":"fastest"}"#, "strategy"),
            (r#"{"weights":{"cost":0.5,"quality":0.5,"latency":0.5}}"#, "weights"),
            (r#"{"weights":{"cost":-0.5,"quality":1.0,"latency":0.5}}"#, "weights"),
            (r#"{"prefer_local_ratio":1.5}"#, "prefer_local_ratio"),
            (r#"{"local_quality_floor":-1}"#, "local_quality_floor"),
            (r#"{"max_cost_per_1k_usd":0}"#, "max_cost_per_1k_usd"),
            (r#"{"max_latency_ms":0.2}"#, "max_latency_ms"),
            (r#"{"composite_plans":"on"}"#, "composite_plans"),
            (r#"{"fallback_chain":[""]}"#, "fallback_chain"),
        ] {
            assert_eq!(read(json), Err(param.to_owned()), "{json}");
        }
        assert!(read(r#"{"unknown":1}"#).unwrap_err().contains("unknown"));
    }

    #[test]
    fn what_cannot_be_read_changes_nothing() {
        assert_eq!(Changes::kept(None), Changes::default());
        assert_eq!(Changes::kept(Some("nonsense")), Changes::default());
        assert_eq!(Changes::kept(Some(r#"{"prefer_local_ratio":7}"#)), Changes::default());
        assert_eq!(Changes::kept(Some(r#"{"sticky":false}"#)).sticky, Some(false));
    }
}
