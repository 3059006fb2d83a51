//! How well a model would answer a prompt, and how sure that is.

use std::sync::{Arc, LazyLock};

use crate::cholesky::{Cholesky, add_square, dot, multiply, quadratic, triangle};
use crate::evidence::HALF;
use crate::heads::{BASIS, HEADS, Heads, KINDS};
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
/// Answers are taken as linear in what the heads make of a prompt, with weights of the model's own. Before anything is
/// known these lie on the line from weak to strong models that training drew, at the place that the prior says; graded
/// prompts pull them away from there (a Gaussian posterior, in closed form).
///
/// Working it out costs some ten microseconds where there is evidence, and next to nothing where there is none: keep it
/// beside the model and make it anew when the evidence changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    /// The model's weights over the basis.
    weights: Vec<f64>,
    /// Their covariance, as a lower half: one for all models of which nothing is known but the prior.
    covariance: Arc<[f64]>,
    /// Precision that benchmarks gave, that feedback gave; empty where there are none.
    benchmarks: Vec<f64>,
    feedback: Vec<f64>,
    /// How many graded prompts there are, and the sum of what the heads made of them.
    seen: f64,
    seen_basis: [f64; BASIS],
    /// The prompt that traffic is taken to be before any was graded.
    mean: [f64; BASIS],
    /// What each point of overall quality adds, and how many of them this model lies above one half.
    slope: [f64; BASIS],
    strength: f64,
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

/// Variance of one grade about its expectation.
const GRADE_VARIANCE: f64 = 0.18;
/// The same of a user's word, which is seldom asked for and seldom representative: four of them count as one grade.
const FEEDBACK_VARIANCE: f64 = 4.0 * GRADE_VARIANCE;
/// More feedback than this counts as if it were this much, so that the rest keeps its say.
const MOST_FEEDBACK: f64 = 2_000.0;
/// Standard deviation of a stated overall quality, and of a model of which nothing is stated.
const STATED_DEVIATION: f64 = 0.08;
const UNSTATED_DEVIATION: f64 = 0.2;
/// Where a model of which nothing is stated is expected, as overall quality.
const UNSTATED_QUALITY: f64 = 0.5;
/// Variance of a stated quality in one task.
const TASK_VARIANCE: f64 = 0.05 * 0.05;

impl Quality {
    /// Lays benchmarks over the prior, and feedback, slowly, over both.
    pub fn new(prior: &Prior, benchmarks: &Evidence, feedback: &Evidence) -> Quality {
        let is_bare = benchmarks.count() <= 0.0 && feedback.count() <= 0.0 && prior.tasks.iter().all(Option::is_none);
        if !is_bare {
            return Quality::over(&HEADS, prior, benchmarks, feedback);
        }
        // Then models differ by their place on the line alone.
        let (strength, _) = stated(prior);
        let like = if prior.overall.is_some_and(f64::is_finite) { &STATED } else { &UNSTATED };
        let weights = on_the_line(&HEADS, strength);
        Quality { strength: dot(&weights, &like.mean) - 0.5, weights: weights.to_vec(), ..Quality::clone(like) }
    }

    /// The same where other heads than those checked in read the prompts.
    pub fn over(heads: &Heads, prior: &Prior, benchmarks: &Evidence, feedback: &Evidence) -> Quality {
        let (mut half, mut right) = starting_point(heads, prior);
        add_tasks(prior, &mut half, &mut right);
        let benchmarks_precision = scaled(benchmarks, 1.0 / GRADE_VARIANCE, &mut half, &mut right);
        let share = (MOST_FEEDBACK / feedback.count().max(MOST_FEEDBACK)) / FEEDBACK_VARIANCE;
        let feedback_precision = scaled(feedback, share, &mut half, &mut right);
        let precision = Cholesky::of(half, BASIS);
        precision.solve(&mut right);
        let covariance = precision.inverse();
        // The first number of a basis is always 1, so the first column of its squares is its sum.
        let seen_basis = std::array::from_fn(|place| {
            let sum = |of: &Evidence| of.gram.get(triangle(place)).copied().unwrap_or_default();
            sum(benchmarks) + sum(feedback)
        });
        let mean = heads.mean.map(f64::from);
        Quality {
            strength: dot(&right, &mean) - 0.5,
            slope: heads.slope.map(f64::from),
            mean,
            weights: right,
            covariance: covariance.into(),
            benchmarks: benchmarks_precision,
            feedback: feedback_precision,
            seen: benchmarks.count() + feedback.count(),
            seen_basis,
        }
    }

    /// Predicts the answer to one prompt.
    pub fn predict(&self, prompt: &Prompt) -> Predicted {
        self.predict_at(prompt.basis())
    }

    pub(crate) fn predict_at(&self, basis: &[f64; BASIS]) -> Predicted {
        let mut pulled = [0.0; BASIS];
        multiply(&self.covariance, basis, &mut pulled);
        let variance = dot(&pulled, basis).max(f64::MIN_POSITIVE);
        let lack = (LEAST_SLOPE - dot(&self.slope, basis)).max(0.0) * self.strength;
        let weight = |layer: &[f64]| {
            if layer.is_empty() { 0.0 } else { (quadratic(layer, &pulled) / variance).clamp(0.0, 1.0) }
        };
        let (benchmarks, feedback) = (weight(&self.benchmarks), weight(&self.feedback));
        let layers = Layers { prior: (1.0 - benchmarks - feedback).max(0.0), benchmarks, feedback };
        let value = share(dot(&self.weights, basis) + layers.prior * lack);
        Predicted { value, standard_error: variance.sqrt(), layers }
    }

    /// The prompt that candidates are compared at on the whole: the mean of what was graded for any of them, beginning
    /// with that of the training.
    pub(crate) fn common_basis<'q>(qualities: impl Iterator<Item = &'q Quality>) -> [f64; BASIS] {
        let (mut count, mut sums) = (0.0, [0.0; BASIS]);
        for quality in qualities {
            let mean = quality.mean.iter().zip(quality.seen_basis);
            for (sum, (mean, seen)) in sums.iter_mut().zip(mean) {
                *sum += mean * MEAN_COUNTS + seen;
            }
            count += MEAN_COUNTS + quality.seen;
        }
        sums.map(|sum| sum / f64::max(count, 1.0))
    }
}

/// A model that is better on the whole is expected to be better on every prompt, by at least this share of its lead.
const LEAST_SLOPE: f64 = 0.1;
/// From here on what is linear bends, so that it stays below 1 and in its order: models that all answer nearly everything
/// are still told apart.
const NEARLY_ALL: f64 = 0.97;

fn share(linear: f64) -> f64 {
    let rest = 1.0 - NEARLY_ALL;
    let beyond = (linear - NEARLY_ALL) / rest;
    if beyond > 0.0 { NEARLY_ALL + rest * beyond / (1.0 + beyond) } else { linear.max(0.0) }
}

/// Graded prompts that the mean of the training counts as.
const MEAN_COUNTS: f64 = 20.0;

/// Precision and precision times mean of a model's weights before anything was graded: each strays a little from the
/// line, and all together along it.
fn starting_point(heads: &Heads, prior: &Prior) -> (Vec<f64>, Vec<f64>) {
    let (strength, deviation) = stated(prior);
    let mean = on_the_line(heads, strength);
    let own: [f64; BASIS] = array(&heads.stray, |_, stray| 1.0 / (stray * stray).max(LEAST_VARIANCE));
    let slope: [f64; BASIS] = array(&heads.slope, |place, slope| slope * at(&own, place));
    let along = slope.iter().zip(heads.slope).map(|(scaled, slope)| scaled * f64::from(slope)).sum::<f64>();
    let mut half = vec![0.0; HALF];
    for (place, precision) in own.iter().enumerate() {
        if let Some(diagonal) = half.get_mut(triangle(place) + place) {
            *diagonal = *precision;
        }
    }
    // The inverse of a diagonal plus one direction, by Sherman and Morrison.
    let weight = -1.0 / (1.0 / (deviation * deviation) + along);
    add_square(&mut half, &slope, weight);
    let reach = weight * dot(&slope, &mean);
    let right = (0..BASIS).map(|place| at(&own, place) * at(&mean, place) + reach * at(&slope, place)).collect();
    (half, right)
}

/// How far above one half a model is expected, and how sure that is.
fn stated(prior: &Prior) -> (f64, f64) {
    match prior.overall.filter(|quality| quality.is_finite()) {
        Some(quality) => (quality.clamp(0.0, 1.0) - 0.5, STATED_DEVIATION),
        None => (UNSTATED_QUALITY - 0.5, UNSTATED_DEVIATION),
    }
}

/// The weights of a model that strong, on the line from weak to strong ones.
fn on_the_line(heads: &Heads, strength: f64) -> [f64; BASIS] {
    array(&heads.middle, |place, middle| middle + strength * at(&heads.slope, place))
}

/// Models of which an overall quality is stated, or nothing.
static STATED: LazyLock<Quality> = LazyLock::new(|| bare(Some(UNSTATED_QUALITY)));
static UNSTATED: LazyLock<Quality> = LazyLock::new(|| bare(None));

fn bare(overall: Option<f64>) -> Quality {
    Quality::over(&HEADS, &Prior::overall(overall), &Evidence::none(), &Evidence::none())
}

/// Keeps a direction in which training saw no model stray from counting without bound.
const LEAST_VARIANCE: f64 = 1e-6;

fn array(values: &[f32; BASIS], of: impl Fn(usize, f64) -> f64) -> [f64; BASIS] {
    std::array::from_fn(|place| of(place, values.get(place).copied().map_or(0.0, f64::from)))
}

fn at<T: Copy + Default + Into<f64>>(values: &[T], place: usize) -> f64 {
    values.get(place).copied().unwrap_or_default().into()
}

/// A stated quality in a task counts as one sure grade on its kinds.
fn add_tasks(prior: &Prior, half: &mut [f64], right: &mut [f64]) {
    for (task, quality) in Task::ALL.into_iter().zip(prior.tasks) {
        let Some(quality) = quality.filter(|quality| quality.is_finite()) else { continue };
        let mut basis = [0.0; BASIS];
        let kinds = KINDS.iter().filter(|(_, of)| *of == task).count().max(1) as f64;
        let belongs = KINDS.iter().map(|(_, of)| if *of == task { 1.0 / kinds } else { 0.0 });
        for (place, value) in basis.iter_mut().zip(std::iter::once(1.0).chain(belongs)) {
            *place = value;
        }
        add_square(half, &basis, 1.0 / TASK_VARIANCE);
        for (sum, value) in right.iter_mut().zip(basis) {
            *sum += value * quality.clamp(0.0, 1.0) / TASK_VARIANCE;
        }
    }
}

/// Adds graded prompts at that precision each and gives back what they added; nothing where there are none.
fn scaled(evidence: &Evidence, precision: f64, half: &mut [f64], right: &mut [f64]) -> Vec<f64> {
    if evidence.count() <= 0.0 {
        return Vec::new();
    }
    let added: Vec<f64> = evidence.gram.iter().map(|square| square * precision).collect();
    half.iter_mut().zip(&added).for_each(|(sum, more)| *sum += more);
    right.iter_mut().zip(evidence.moments.iter()).for_each(|(sum, moment)| *sum += moment * precision);
    added
}

impl Default for Quality {
    /// A model that nothing is known of.
    fn default() -> Quality {
        Quality::new(&Prior::default(), &Evidence::none(), &Evidence::none())
    }
}

#[cfg(test)]
mod tests;
