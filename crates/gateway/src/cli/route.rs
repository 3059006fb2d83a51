//! `llm-gateway route "prompt"`: where a prompt would go, and why, for people at a terminal.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;
use bytes::Bytes;
use clap::Args;
use futures_util::future::join_all;
use http::HeaderMap;
use serde_json::json;

use super::serve;
use crate::api::error::ErrorAnswer;
use crate::call::{Call, Head, Surface};
use crate::clock;
use crate::config::Locations;
use crate::explain::{self, CandidateView, Explanation};
use crate::facts;
use crate::keys::Keys;
use crate::limits::budgets::Budgets;
use crate::live::Registry;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Client, health};

/// Candidates that are shown unless all are asked for.
const SHOWN: usize = 12;

/// What to ask.
#[derive(Debug, Args)]
pub struct Options {
    /// The prompt.
    pub prompt: String,
    /// `auto`, `fast`, `cheap`, `quality`, or a model.
    #[arg(long, default_value = "auto")]
    pub model: String,
    /// What counts: `cost`, `quality`, `latency` or `balanced`.
    #[arg(long, value_name = "STRATEGY")]
    pub strategy: Option<String>,
    /// Several models for one answer: `cascade` or `escalate`.
    #[arg(long, value_name = "PLAN")]
    pub plan: Option<String>,
    /// Show every candidate.
    #[arg(long)]
    pub all: bool,
    /// Print the explanation as JSON.
    #[arg(long)]
    pub json: bool,
    /// Choose among the simulated models of the demo.
    #[arg(long)]
    pub demo: bool,
}

/// Asks the providers what they have, decides, and prints the decision. Latencies are those of a gateway that has just
/// started: none.
///
/// # Errors
/// The request is refused, the system has no certificate store, or standard output is gone.
pub async fn run(file: Option<PathBuf>, options: Options) -> anyhow::Result<ExitCode> {
    let mut config = match (Locations { demo: options.demo, ..Locations::of_process(file) }).load() {
        Ok(config) => config,
        Err(problems) => return Ok(serve::refuse(&problems)),
    };
    // Nobody listens for them here, and nobody is asked.
    config.providers.iter_mut().filter(|one| one.is_simulated && one.base_url.is_empty()).for_each(|one| {
        one.base_url = "http://127.0.0.1:9/v1".to_owned();
    });
    let client = Client::new(config.timeouts.connect, config.upstream.ca_file.as_deref())?;
    let catalog = facts::catalog(&config.storage.data_dir);
    let registry = Registry::new(config, catalog, Arc::new(Metrics::new()));
    let live = registry.snapshot();
    let real = live.directory.providers.iter().filter(|provider| !provider.config.is_simulated);
    join_all(real.map(|provider| health::check(&client, &registry, provider))).await;

    let explanation = decide(&registry, &options)?;
    let mut out = std::io::stdout().lock();
    match options.json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&explanation)?)?,
        false => print(&mut out, &explanation, options.all)?,
    }
    let is_served = explanation.candidates.iter().any(|candidate| candidate.rank.is_some());
    Ok(if is_served { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn decide(registry: &Registry, options: &Options) -> anyhow::Result<Explanation> {
    let live = registry.snapshot();
    let mut body = json!({"model": options.model, "messages": [{"role": "user", "content": options.prompt}]});
    if let Some(strategy) = &options.strategy {
        body["x-routing-strategy"] = json!(strategy);
    }
    if let Some(plan) = &options.plan {
        body["x-routing-plan"] = json!(plan);
    }
    let (budgets, _alerts) = Budgets::local("route".to_owned());
    let caller = Keys::new(Arc::new(budgets)).anonymous().clone();
    let head =
        Head { request_id: "route".into(), headers: HeaderMap::new(), received: clock::now(), caller: caller.clone() };
    let explained = Call::of(Surface::Chat, head, Bytes::from(body.to_string()))
        .map_err(Into::into)
        .and_then(|call| explain::explain(&live, &live.routing, &caller, &call, None));
    explained.map_err(|refusal| anyhow!("{}", ErrorAnswer::of(&refusal).message))
}

fn print(out: &mut impl Write, explanation: &Explanation, all: bool) -> std::io::Result<()> {
    writeln!(out, "{}\n", explanation.routing_decision)?;
    let Explanation { task, difficulty, input_tokens, output_tokens, .. } = explanation;
    writeln!(out, "task        {task}, difficulty {difficulty:.2} of 1")?;
    writeln!(out, "tokens      about {input_tokens} in, {output_tokens} out")?;
    if let Some(weights) = &explanation.weights {
        let (cost, quality, latency) = (weights.cost, weights.quality, weights.latency);
        writeln!(out, "weights     cost {cost:.2}, quality {quality:.2}, latency {latency:.2}")?;
    }
    writeln!(out, "placed by   {}", explanation.placement)?;
    if let Some(plan) = &explanation.plan {
        writeln!(out, "plan        {}: {}, score {:.2}", plan.kind, plan.models.join(" + "), plan.score)?;
    }
    let width = explanation.candidates.iter().map(|one| name(one).chars().count()).max().unwrap_or(0).max(5);
    writeln!(
        out,
        "\n{:>4}  {:<width$}  {:>5}  {:<13}  {:>10}  {:>8}  why",
        "rank", "model", "score", "quality", "cost", "latency"
    )?;
    let shown = if all { usize::MAX } else { SHOWN };
    for candidate in explanation.candidates.iter().take(shown) {
        writeln!(out, "{}", line(candidate, width))?;
    }
    let hidden = explanation.candidates.len().saturating_sub(shown);
    if hidden > 0 {
        writeln!(out, "{:>4}  {hidden} more; --all shows them", "")?;
    }
    Ok(())
}

fn line(candidate: &CandidateView, width: usize) -> String {
    let dash = || "-".to_owned();
    let rank = candidate.rank.map_or_else(dash, |rank| rank.to_string());
    let score = candidate.score.map_or_else(dash, |score| format!("{score:.2}"));
    let quality = format!("{:.2} ± {:.2}", candidate.quality.value, candidate.quality.standard_error);
    let cost = candidate.cost_usd.map_or_else(dash, |cost| match cost {
        cost if cost <= 0.0 => "free".to_owned(),
        cost => format!("${cost:.6}"),
    });
    let latency = candidate.latency_ms.map_or_else(dash, |latency| format!("{latency:.0} ms"));
    let (name, reason) = (name(candidate), &candidate.reason);
    format!("{rank:>4}  {name:<width$}  {score:>5}  {quality:<13}  {cost:>10}  {latency:>8}  {reason}")
}

fn name(candidate: &CandidateView) -> String {
    format!("{}/{}", candidate.provider, candidate.model)
}
