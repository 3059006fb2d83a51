//! Strategies, their weights, and the scales on which cost, quality and latency are compared.

/// What a caller wants most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// A bit of everything.
    Balanced,
    /// Spend little.
    Cost,
    /// Answer well.
    Quality,
    /// Answer soon.
    Latency,
}

impl Strategy {
    /// All strategies, in the order in which they are documented.
    pub const ALL: [Strategy; 4] = [Strategy::Cost, Strategy::Quality, Strategy::Latency, Strategy::Balanced];

    /// The name that requests, settings and metrics use.
    pub fn as_str(self) -> &'static str {
        match self {
            Strategy::Balanced => "balanced",
            Strategy::Cost => "cost",
            Strategy::Quality => "quality",
            Strategy::Latency => "latency",
        }
    }

    /// Reads the name.
    pub fn parse(name: &str) -> Option<Strategy> {
        Strategy::ALL.into_iter().find(|strategy| strategy.as_str() == name)
    }

    /// The strategy's preset weights.
    pub fn weights(self) -> Weights {
        match self {
            Strategy::Balanced => Weights { cost: 0.40, quality: 0.35, latency: 0.25 },
            Strategy::Cost => Weights { cost: 0.80, quality: 0.10, latency: 0.10 },
            Strategy::Quality => Weights { cost: 0.05, quality: 0.85, latency: 0.10 },
            Strategy::Latency => Weights { cost: 0.10, quality: 0.10, latency: 0.80 },
        }
    }
}

/// How much each criterion counts; the three sum to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    cost: f64,
    quality: f64,
    latency: f64,
}

/// How far a sum of weights may be from 1, so that thirds can be written in decimals.
const SUM_TOLERANCE: f64 = 0.01;

/// Three numbers that are no weights.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum NotWeights {
    /// One is not a number from 0 to 1.
    #[error("`{0}` is not a weight from 0 to 1")]
    OutOfRange(f64),
    /// Their sum.
    #[error("weights sum to `{0}`, not to 1")]
    Sum(f64),
}

impl Weights {
    /// Weights of low cost, predicted quality and low latency.
    ///
    /// # Errors
    /// One is out of range, or they do not sum to 1.
    pub fn new(cost: f64, quality: f64, latency: f64) -> Result<Weights, NotWeights> {
        if let Some(weight) = [cost, quality, latency].into_iter().find(|weight| !(0.0..=1.0).contains(weight)) {
            return Err(NotWeights::OutOfRange(weight));
        }
        let sum = cost + quality + latency;
        if (sum - 1.0).abs() > SUM_TOLERANCE {
            return Err(NotWeights::Sum(sum));
        }
        Ok(Weights { cost: cost / sum, quality: quality / sum, latency: latency / sum })
    }

    /// Weight of low cost.
    pub fn cost(self) -> f64 {
        self.cost
    }

    /// Weight of predicted quality.
    pub fn quality(self) -> f64 {
        self.quality
    }

    /// Weight of low latency.
    pub fn latency(self) -> f64 {
        self.latency
    }

    /// The weighted sum of three values from 0 to 1, where a low cost and a low latency count as far as the answer is
    /// `adequate`.
    pub(crate) fn weigh(self, cost: f64, quality: f64, latency: f64, adequate: f64) -> f64 {
        self.quality * quality + adequate * (self.cost * cost + self.latency * latency)
    }

    /// How far an answer of that quality will do beside one of the best: 1 for the best, falling straight to 0 where it
    /// lacks the share of the best that is tolerated. The more quality weighs, the less is tolerated.
    pub(crate) fn adequacy(self, quality: f64, best: f64) -> f64 {
        let lack = 1.0 - quality / best.max(f64::MIN_POSITIVE);
        (1.0 - lack.max(0.0) * self.quality / TOLERANCE).clamp(0.0, 1.0)
    }
}

/// Share of the best quality that may be lacking, times the weight of quality: under `balanced` a cheap answer that is
/// a tenth worse than the best is worth nothing for being cheap.
const TOLERANCE: f64 = 0.035;
/// A cost this many times the cheapest candidate's scores 0.
const COST_SPAN: f64 = 100.0;
/// The step from free to the cheapest that costs something counts as this factor.
const FREE_STEP: f64 = 2.0;
/// A latency this many times the fastest candidate's scores 0.
const LATENCY_SPAN: f64 = 20.0;
/// A latency score for a model that was not measured yet: neither rewarded nor punished.
const UNMEASURED: f64 = 0.5;

/// The smallest value over the candidates, against which all are compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    cheapest: Option<f64>,
    fastest: Option<f64>,
}

impl Scale {
    /// `costs` in any unit, `latencies` in milliseconds; unknown ones are left out by the caller.
    pub(crate) fn over(costs: impl Iterator<Item = f64>, latencies: impl Iterator<Item = f64>) -> Scale {
        let (mut cheapest, mut is_any_free): (Option<f64>, bool) = (None, false);
        for cost in costs {
            is_any_free |= cost <= 0.0;
            cheapest = if cost > 0.0 { Some(cheapest.map_or(cost, |least| least.min(cost))) } else { cheapest };
        }
        Scale {
            // Beside something free even the cheapest is dear.
            cheapest: cheapest.map(|cost| if is_any_free { cost / FREE_STEP } else { cost }),
            fastest: latencies.map(|latency| latency.max(1.0)).min_by(f64::total_cmp),
        }
    }

    /// 1 for free or cheapest, falling with the logarithm; 0 for an unknown price.
    pub(crate) fn cost(&self, cost: Option<f64>) -> f64 {
        match (cost, self.cheapest) {
            (None, _) => 0.0,
            (Some(cost), _) if cost <= 0.0 => 1.0,
            (Some(cost), Some(cheapest)) => fall(cost / cheapest, COST_SPAN),
            (Some(_), None) => 1.0,
        }
    }

    /// 1 for the fastest, falling with the logarithm.
    pub(crate) fn latency(&self, latency_ms: Option<f64>) -> f64 {
        match (latency_ms, self.fastest) {
            (Some(latency), Some(fastest)) => fall(latency.max(1.0) / fastest, LATENCY_SPAN),
            (Some(_) | None, _) => UNMEASURED,
        }
    }
}

/// 1 at ratio 1, 0 at ratio `span`, straight on a logarithmic scale: twice as dear is the same step everywhere.
fn fall(ratio: f64, span: f64) -> f64 {
    (1.0 - ratio.ln() / span.ln()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_that_do_not_sum_to_one_are_refused() {
        assert_eq!(Weights::new(0.4, 0.35, 0.25).unwrap(), Strategy::Balanced.weights());
        assert_eq!(Weights::new(0.5, 0.5, 0.5), Err(NotWeights::Sum(1.5)));
        assert_eq!(Weights::new(-0.5, 1.0, 0.5), Err(NotWeights::OutOfRange(-0.5)));
        assert!(Weights::new(f64::NAN, 1.0, 0.0).is_err());
    }

    #[test]
    fn presets_are_as_documented() {
        let preset = |strategy: Strategy| {
            let Weights { cost, quality, latency } = strategy.weights();
            [cost, quality, latency]
        };

        assert_eq!(preset(Strategy::Balanced), [0.40, 0.35, 0.25]);
        assert_eq!(preset(Strategy::Cost), [0.80, 0.10, 0.10]);
        assert_eq!(preset(Strategy::Quality), [0.05, 0.85, 0.10]);
        assert_eq!(preset(Strategy::Latency), [0.10, 0.10, 0.80]);
    }

    #[test]
    fn presets_sum_to_one() {
        for strategy in Strategy::ALL {
            let Weights { cost, quality, latency } = strategy.weights();
            assert!((cost + quality + latency - 1.0).abs() < 1e-9, "{strategy:?}");
            assert_eq!(Strategy::parse(strategy.as_str()), Some(strategy));
        }
    }

    #[test]
    fn scales_are_relative_to_the_candidates() {
        let scale = Scale::over([10.0, 1000.0].into_iter(), [100.0, 2000.0].into_iter());
        let beside_free = Scale::over([10.0, 1000.0, 0.0].into_iter(), std::iter::empty());

        assert_eq!(beside_free.cost(Some(0.0)), 1.0);
        assert!(beside_free.cost(Some(10.0)) < 1.0);
        assert_eq!(scale.cost(Some(10.0)), 1.0);
        assert_eq!(scale.cost(Some(1000.0)), 0.0);
        assert_eq!(scale.cost(None), 0.0);
        assert_eq!(scale.latency(Some(100.0)), 1.0);
        assert_eq!(scale.latency(Some(2000.0)), 0.0);
        assert_eq!(scale.latency(None), UNMEASURED);
    }
}
