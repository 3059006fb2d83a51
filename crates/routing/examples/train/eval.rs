//! How much a plan saves and what it costs in quality, over graded prompts that neither heads nor evidence have seen.
//!
//! Five folds by prompt: the heads are trained without the fold, and in the second reading without the whole set, each
//! model's evidence is gathered from prompts outside of the fold, and plans are made for those in it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use catalog::{Capabilities, Nanodollars, Price};
use routing::heads::Heads;
use routing::{
    Availability, Candidate, Evidence, Goal, Needs, Plan, Policy, Prior, Prompt, Quality, Ranked, Reading, Strategy,
    Weights,
};

use crate::fit;
use crate::table::{self, Row, Table};

const FOLDS: u8 = 5;
/// Graded prompts a model; `None` is all there are.
const GRADED: [Option<usize>; 4] = [Some(0), Some(50), Some(200), None];
/// Steps of the weight of cost in a curve.
const STEPS: usize = 80;

/// What is asked of a model, and what came of it.
struct Graded {
    fold: u8,
    reading: Reading,
    input_tokens: u64,
    /// By model: score and US dollars.
    answers: Vec<Option<(f64, f64)>>,
}

/// The prompts of one set.
struct Set {
    name: String,
    models: Vec<String>,
    prices: Vec<Price>,
    rows: Vec<Graded>,
}

/// Prints one line for each set, reading and amount of evidence.
pub(crate) fn run(table: &Table, files: &[PathBuf]) -> Result<()> {
    let mut sets: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for file in files {
        for row in table::read_rows(file)? {
            sets.entry(row.set.clone()).or_default().push(row);
        }
    }
    let within = heads(table, None)?;
    println!(
        "heads     | set              | graded | APGR calls, cost | saved at 100 / 99 / 95 %, peak: by weights | by utility | auto saves | quality"
    );
    for (name, rows) in &sets {
        let set = Set::of(name, rows)?;
        let without = heads(table, Some(name))?;
        for (label, heads) in [("without f", &within), ("without s", &without)] {
            for graded in GRADED {
                println!(
                    "{label} | {name:16} | {:6} | {}",
                    graded.map_or("all".to_owned(), |n| n.to_string()),
                    set.score(heads, graded)?
                );
            }
        }
    }
    Ok(())
}

/// Heads that have not seen the fold, nor the set where one is named.
fn heads(table: &Table, set: Option<&str>) -> Result<Vec<Heads>> {
    let train = |fold| fit::train(table, |of, group| group % FOLDS != fold && set != Some(of.name.as_str()));
    (0..FOLDS).map(train).collect()
}

impl Set {
    fn of(name: &str, rows: &[Row]) -> Result<Set> {
        let mut models: Vec<String> = rows.iter().flat_map(|row| row.m.keys().cloned()).collect();
        models.sort();
        models.dedup();
        let prices = models.iter().map(|model| price(rows, model)).collect::<Result<_>>()?;
        let graded = |row: &Row| {
            let seen = |model: &String| row.m.get(model);
            let tokens = row.m.values().filter_map(|seen| seen.get(1)).copied().fold(0.0, f64::max);
            Graded {
                fold: table::group(&row.prompt) % FOLDS,
                reading: Reading::of_text(&row.prompt),
                input_tokens: tokens as u64,
                answers: models.iter().map(|model| seen(model).map(|seen| (seen[0], seen[3]))).collect(),
            }
        };
        let rows = rows.iter().map(graded).collect();
        Ok(Set { name: name.to_owned(), models, prices, rows })
    }

    fn score(&self, heads: &[Heads], graded: Option<usize>) -> Result<String> {
        let mut scored = Scored::of(self);
        for (fold, heads) in (0..FOLDS).zip(heads) {
            let prompt = |row: &Graded| Prompt::from_outputs(&row.reading.features, &heads.outputs(&row.reading));
            let known: Vec<&Graded> = self.rows.iter().filter(|row| row.fold != fold).collect();
            let qualities = self.learn(heads, &known, graded, &prompt);
            for (number, row) in self.rows.iter().enumerate().filter(|(_, row)| row.fold == fold) {
                scored.add(self, number, row, &prompt(row), &qualities)?;
            }
        }
        Ok(scored.line(self))
    }

    /// What is known of each model from so many prompts; from its overall quality where there are none.
    fn learn(
        &self,
        heads: &Heads,
        known: &[&Graded],
        graded: Option<usize>,
        prompt: &dyn Fn(&Graded) -> Prompt,
    ) -> Vec<Quality> {
        // Evenly over the set, whatever its order.
        let count = graded.unwrap_or(known.len()).min(known.len());
        let chosen: Vec<(&Graded, Prompt)> =
            (0..count).map(|number| known[number * known.len() / count]).map(|row| (row, prompt(row))).collect();
        let quality = |model: usize| {
            let mut evidence = Evidence::none();
            for (row, prompt) in &chosen {
                if let Some((score, _)) = row.answers[model] {
                    evidence.observe(prompt, score);
                }
            }
            let overall = (graded == Some(0))
                .then(|| mean(known.iter().filter_map(|row| row.answers[model]).map(|(score, _)| score)));
            Quality::over(heads, &Prior::overall(overall), &evidence, &Evidence::none())
        };
        (0..self.models.len()).map(quality).collect()
    }

    fn candidates<'a>(&'a self, row: &Graded, qualities: &'a [Quality]) -> Vec<(usize, Candidate<'a>)> {
        let candidate = |model: usize| Candidate {
            model: &self.models[model],
            price: Some(&self.prices[model]),
            quality: &qualities[model],
            latency: None,
            cold_start_ms: 0.0,
            context_window: None,
            max_output_tokens: None,
            capabilities: Capabilities::default(),
            is_local: false,
            availability: Availability::Ready,
        };
        (0..self.models.len())
            .filter(|model| row.answers[*model].is_some())
            .map(|model| (model, candidate(model)))
            .collect()
    }
}

/// Price a token that explains best what the model's answers cost.
fn price(rows: &[Row], model: &str) -> Result<Price> {
    let (mut ii, mut io, mut oo, mut ic, mut oc) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for seen in rows.iter().filter_map(|row| row.m.get(model)) {
        let (input, output, cost) = (seen[1], seen[2], seen[3]);
        ii += input * input;
        io += input * output;
        oo += output * output;
        ic += input * cost;
        oc += output * cost;
    }
    let determinant = ii * oo - io * io;
    let (mut input, mut output) = ((ic * oo - oc * io) / determinant, (oc * ii - ic * io) / determinant);
    if !(input >= 0.0 && output >= 0.0) {
        (input, output) = (ic / ii, ic / ii);
    }
    let text = |each: f64| format!("{:.6}", each * 1e6);
    Price::per_million(&text(input), &text(output)).with_context(|| format!("the price of {model}"))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / f64::max(count, 1.0)
}

/// What came of each row under each policy: score and dollars.
struct Scored {
    by_weights: Vec<Vec<(f64, f64)>>,
    by_utility: Vec<Vec<(f64, f64)>>,
    auto: Vec<(f64, f64)>,
    quality: Vec<(f64, f64)>,
    /// Predicted lead of the dearer of two models, and its dollars beyond; of two-model sets only.
    leads: Vec<(usize, f64, f64)>,
}

impl Scored {
    fn of(_set: &Set) -> Scored {
        let curve = || vec![Vec::new(); STEPS + 1];
        Scored { by_weights: curve(), by_utility: curve(), auto: Vec::new(), quality: Vec::new(), leads: Vec::new() }
    }

    fn add(&mut self, set: &Set, number: usize, row: &Graded, prompt: &Prompt, qualities: &[Quality]) -> Result<()> {
        let (models, candidates): (Vec<usize>, Vec<Candidate<'_>>) = set.candidates(row, qualities).into_iter().unzip();
        let needs = Needs { input_tokens: row.input_tokens, ..Needs::default() };
        let plan = |policy: &Policy| routing::plan(&candidates, &needs, prompt, policy);
        let outcome = |entry: &Ranked| row.answers[models[entry.candidate]].context("an answer");
        let first = |plan: Plan| outcome(plan.ranked.first().context("no candidate")?);
        let balanced = Goal::Weighed(Strategy::Balanced);
        self.auto.push(first(plan(&Policy::of(balanced)))?);
        let best = plan(&Policy::of(Goal::Best));
        for (step, outcomes) in self.by_utility.iter_mut().enumerate() {
            let dear = utility_step(step);
            let utility = |entry: &Ranked| entry.quality.value - dear * entry.cost.map_or(0.0, Nanodollars::to_usd);
            let chosen = best.ranked.iter().max_by(|a, b| utility(a).total_cmp(&utility(b)));
            outcomes.push(outcome(chosen.context("no candidate")?)?);
        }
        if let [a, b] = &best.ranked[..]
            && set.models.len() == 2
        {
            let (strong, weak) = if a.cost > b.cost { (a, b) } else { (b, a) };
            let dollars = |entry: &Ranked| entry.cost.map_or(0.0, Nanodollars::to_usd);
            self.leads.push((number, strong.quality.value - weak.quality.value, dollars(strong) - dollars(weak)));
        }
        self.quality.push(first(best)?);
        for (step, outcomes) in self.by_weights.iter_mut().enumerate() {
            let cost = step as f64 / STEPS as f64;
            let weights = Weights::new(cost, 1.0 - cost, 0.0)?;
            outcomes.push(first(plan(&Policy { weights, ..Policy::of(balanced) }))?);
        }
        Ok(())
    }

    fn line(&self, set: &Set) -> String {
        let single = |model: usize| {
            let answers = || set.rows.iter().filter_map(|row| row.answers[model]);
            (mean(answers().map(|(score, _)| score)), mean(answers().map(|(_, dollars)| dollars)))
        };
        let (best, dollars) =
            (0..set.models.len()).map(single).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((1.0, 1.0));
        let means = |outcomes: &Vec<(f64, f64)>| {
            (
                mean(outcomes.iter().map(|(score, _)| *score)) / best,
                mean(outcomes.iter().map(|(_, cost)| *cost)) / dollars,
            )
        };
        let curve = |curve: &[Vec<(f64, f64)>]| {
            let points: Vec<(f64, f64)> = curve.iter().map(means).collect();
            let saved = |least: f64| {
                let cost =
                    points.iter().filter(|(score, _)| *score >= least - 1e-9).map(|(_, cost)| *cost).reduce(f64::min);
                cost.map_or("   -".to_owned(), |cost| format!("{:4.0}", 100.0 * (1.0 - cost)))
            };
            let peak = points.iter().map(|(score, _)| *score).fold(0.0, f64::max);
            format!("{} {} {} {:5.1}", saved(1.0), saved(0.99), saved(0.95), 100.0 * peak)
        };
        let (auto, auto_cost) = means(&self.auto);
        let apgr = if self.leads.is_empty() { "            ".to_owned() } else { self.gain_recovered(set) };
        format!(
            "{apgr} | {} | {} | {:5.1} {:4.0} | {:5.1}   {}",
            curve(&self.by_weights),
            curve(&self.by_utility),
            100.0 * auto,
            100.0 * (1.0 - auto_cost),
            100.0 * means(&self.quality).0,
            set.name
        )
    }

    /// The mean share of the lead between two models that is recovered, over all shares of calls to the better one, and
    /// over all shares of its cost.
    fn gain_recovered(&self, set: &Set) -> String {
        let single = |model: usize| mean(set.rows.iter().filter_map(|row| row.answers[model]).map(|(score, _)| score));
        let (strong, weak) = if single(0) > single(1) { (0, 1) } else { (1, 0) };
        let area = |order: &dyn Fn(&(usize, f64, f64)) -> f64, step: &dyn Fn(f64) -> f64| {
            let mut leads = self.leads.clone();
            leads.sort_by(|a, b| order(b).total_cmp(&order(a)));
            let (mut gain, mut spent, mut area) = (0.0, 0.0, 0.0);
            for (row, _, _) in &leads {
                let (Some(strong), Some(weak)) = (set.rows[*row].answers[strong], set.rows[*row].answers[weak]) else {
                    continue;
                };
                let (before, more) = (gain, step(strong.1 - weak.1));
                gain += strong.0 - weak.0;
                spent += more;
                area += more * (before + gain) / 2.0;
            }
            area / (gain * spent)
        };
        let calls = area(&|(_, lead, _)| *lead, &|_| 1.0);
        let cost = area(&|(_, lead, dollars)| lead / dollars.max(1e-9), &|dollars| dollars);
        format!("{calls:.3}  {cost:.3}")
    }
}

/// What a whole point of quality is worth falls from everything to nothing.
fn utility_step(step: usize) -> f64 {
    if step == 0 { 0.0 } else { 10.0_f64.powf(-1.0 + 6.0 * step as f64 / STEPS as f64) }
}
