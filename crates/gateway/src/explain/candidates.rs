//! Candidates that come with the question.

use std::collections::HashMap;

use catalog::{Capabilities, PicodollarsPerToken, Price};
use routing::{Availability, Candidate, Evidence, Latency, Prior, Prompt, Quality, Task};
use serde::Deserialize;
use wire::Problem;

use crate::live::Live;
use crate::refusal::Refusal;

/// Candidates of one question, and graded prompts of all of them together.
const MOST: usize = 200;
const MOST_GRADED: usize = 50_000;
/// Of the name of a model or provider: each explanation repeats it.
const MOST_NAME_BYTES: usize = 256;

/// A candidate as people write it. What is absent is what the gateway knows of the model of that name; of a name that it
/// does not know, nothing: then it is taken to be capable of everything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CandidateForm {
    /// The model, bare or as `provider/model`.
    pub model: String,
    /// Its provider.
    #[serde(default)]
    pub provider: Option<String>,
    /// What it costs.
    #[serde(default)]
    pub price: Option<PriceForm>,
    /// How well it answers: a share of perfect answers, or shares by task.
    #[serde(default)]
    pub quality: Option<QualityForm>,
    /// Prompts of which it is known how well it answered.
    #[serde(default)]
    pub graded: Vec<Graded>,
    /// How fast it is.
    #[serde(default)]
    pub latency: Option<LatencyForm>,
    /// Tokens that prompt and answer may have together.
    #[serde(default)]
    pub context_window: Option<u64>,
    /// Tokens that an answer may have.
    #[serde(default)]
    pub max_output_tokens: Option<u64>,
    /// What it takes and gives.
    #[serde(default)]
    pub capabilities: Option<Capabilities>,
    /// Runs on the operator's own machines.
    #[serde(default)]
    pub is_local: Option<bool>,
}

/// US dollars per million tokens, as in the list of models.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceForm {
    input_usd_per_million: f64,
    output_usd_per_million: f64,
    #[serde(default)]
    cached_input_usd_per_million: Option<f64>,
}

/// A quality over everything, or by task.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum QualityForm {
    /// Share of perfect answers over prompts of mixed difficulty, 0 to 1.
    Overall(f64),
    /// Shares by task.
    Tasks {
        /// Over everything.
        #[serde(default)]
        overall: Option<f64>,
        /// By the name of the task.
        #[serde(default)]
        tasks: HashMap<String, f64>,
    },
}

/// A graded prompt.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graded {
    prompt: String,
    score: f64,
}

/// Medians in milliseconds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyForm {
    first_content_ms: f64,
    #[serde(default)]
    per_token_ms: f64,
}

/// A candidate that came with the question, checked.
#[derive(Debug)]
pub struct Given {
    /// Its provider; empty where nobody said.
    pub provider: String,
    /// The model.
    pub model: String,
    price: Option<Price>,
    quality: Quality,
    latency: Option<Latency>,
    context_window: Option<u64>,
    max_output_tokens: Option<u64>,
    capabilities: Capabilities,
    is_local: bool,
}

impl Given {
    /// Checks the candidates.
    ///
    /// # Errors
    /// There are too many, or a value is not accepted.
    pub fn read(live: &Live, forms: Vec<CandidateForm>) -> Result<Vec<Given>, Refusal> {
        let graded = forms.iter().map(|form| form.graded.len()).fold(0_usize, usize::saturating_add);
        if forms.is_empty() || forms.len() > MOST || graded > MOST_GRADED {
            return Err(wrong("candidates", "use 1 to 200 candidates with at most 50000 graded prompts in all"));
        }
        let is_long = |form: &CandidateForm| {
            form.model.len() > MOST_NAME_BYTES
                || form.provider.as_ref().is_some_and(|name| name.len() > MOST_NAME_BYTES)
        };
        if forms.iter().any(is_long) {
            return Err(wrong("candidates", "names have at most 256 bytes"));
        }
        // Candidates are mostly graded on the same prompts.
        let mut prompts: HashMap<String, Prompt> = HashMap::new();
        forms.into_iter().map(|form| Given::of(live, form, &mut prompts)).collect()
    }

    fn of(live: &Live, form: CandidateForm, prompts: &mut HashMap<String, Prompt>) -> Result<Given, Refusal> {
        let (provider, model) = match (form.provider, form.model.split_once('/')) {
            (Some(provider), _) => (provider, form.model.as_str()),
            (None, Some((provider, model))) if live.directory.provider(provider).is_some() => {
                (provider.to_owned(), model)
            }
            (None, Some(_) | None) => (String::new(), form.model.as_str()),
        };
        let is_there = |name: &str| provider.is_empty() || provider == name;
        let known = live.directory.offers_of(model).find(|offer| is_there(&offer.provider.name));
        let everything = Capabilities {
            vision: true,
            tools: true,
            json_schema: true,
            audio: true,
            files: true,
            reasoning: false,
            adaptive_thinking: false,
        };
        let mut evidence = Evidence::none();
        for Graded { prompt, score } in form.graded {
            if !(0.0..=1.0).contains(&score) {
                return Err(wrong("candidates", "use scores from 0 to 1"));
            }
            let read = prompts.entry(prompt).or_insert_with_key(|text| Prompt::of_text(text));
            evidence.observe(read, score);
        }
        let has_evidence = evidence.count() > 0.0;
        let quality = match (&form.quality, known) {
            (None, Some(known)) if !has_evidence => known.quality.clone(),
            (form, known) => {
                let overall = known.and_then(|known| known.facts.quality);
                let prior = form.as_ref().map_or(Ok(Prior::overall(overall)), QualityForm::prior)?;
                Quality::new(&prior, &evidence, &Evidence::none())
            }
        };
        Ok(Given {
            price: match form.price {
                Some(price) => Some(price.price()?),
                None => known.and_then(|known| known.facts.price.clone()),
            },
            quality,
            latency: form
                .latency
                .map(|form| Latency { first_content_ms: form.first_content_ms, per_token_ms: form.per_token_ms }),
            context_window: form.context_window.or(known.and_then(|known| known.facts.context_window)),
            max_output_tokens: form.max_output_tokens.or(known.and_then(|known| known.facts.max_output_tokens)),
            capabilities: form.capabilities.unwrap_or(known.map_or(everything, |known| known.facts.capabilities)),
            is_local: form.is_local.unwrap_or(known.is_some_and(|known| known.provider.config.is_local)),
            model: model.to_owned(),
            provider,
        })
    }

    /// As the router sees it.
    pub fn candidate(&self) -> Candidate<'_> {
        Candidate {
            model: &self.model,
            price: self.price.as_ref(),
            quality: &self.quality,
            latency: self.latency,
            cold_start_ms: 0.0,
            context_window: self.context_window,
            max_output_tokens: self.max_output_tokens,
            capabilities: self.capabilities,
            is_local: self.is_local,
            availability: Availability::Ready,
        }
    }
}

impl PriceForm {
    fn price(&self) -> Result<Price, Refusal> {
        let read = |dollars: f64| {
            // Written out, because an amount is read digit by digit and never as a float.
            PicodollarsPerToken::parse(&format!("{dollars:.6}"))
                .map_err(|_| wrong("candidates", "use prices in US dollars per million tokens, none below nothing"))
        };
        let free = Price::free();
        Ok(Price {
            input: read(self.input_usd_per_million)?,
            output: read(self.output_usd_per_million)?,
            cached_input: self.cached_input_usd_per_million.map(read).transpose()?,
            ..free
        })
    }
}

impl QualityForm {
    fn prior(&self) -> Result<Prior, Refusal> {
        let (overall, tasks) = match self {
            QualityForm::Overall(overall) => (Some(*overall), None),
            QualityForm::Tasks { overall, tasks } => (*overall, Some(tasks)),
        };
        let mut prior = Prior::overall(overall);
        for (name, share) in tasks.into_iter().flatten() {
            let place = Task::ALL.iter().position(|task| task.as_str() == name);
            let slot = place.and_then(|place| prior.tasks.get_mut(place));
            *slot.ok_or_else(|| wrong("candidates", &task_names()))? = Some(*share);
        }
        let mut shares = prior.tasks.iter().flatten().chain(&prior.overall);
        match shares.all(|share| (0.0..=1.0).contains(share)) {
            true => Ok(prior),
            false => Err(wrong("candidates", "use qualities from 0 to 1")),
        }
    }
}

fn task_names() -> String {
    let names: Vec<&str> = Task::ALL.iter().map(|task| task.as_str()).collect();
    format!("the tasks are {}", names.join(", "))
}

fn wrong(param: &'static str, hint: &str) -> Refusal {
    let message = format!("`{param}` has a value that is not accepted: {hint}.");
    Refusal::Invalid(wire::Error::at(param, Problem::InvalidValue, message))
}
