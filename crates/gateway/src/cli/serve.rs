//! `llm-gateway serve`: start, tell what was found, run until told to stop.

use std::io::Write;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use futures_util::FutureExt;
use secrecy::{ExposeSecret, SecretString};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::config::reload::Watch;
use crate::config::{Config, Locations, MissingProvider, Problems, restart_needed};
use crate::gateway::{self, Running};
use crate::telemetry::logs;

/// Options of `serve`.
#[derive(Debug, Default, Args)]
pub struct Options {
    /// Accept an admin key that everybody could guess, on a loopback address only.
    #[arg(long)]
    pub insecure_dev: bool,
}

/// Runs the gateway.
///
/// # Errors
/// The configuration is not valid, the address cannot be bound or the data directory cannot be used.
pub async fn run(file: Option<PathBuf>, options: Options) -> anyhow::Result<ExitCode> {
    let mut locations = Locations::of_process(file);
    if options.insecure_dev {
        locations.environment.insert("INSECURE_DEV".to_owned(), "true".to_owned());
    }
    let watch = Watch::new(locations);
    let config = match watch.load() {
        Ok(config) => config,
        Err(problems) => return Ok(refuse(&problems)),
    };
    logs::start(&config.log_level, config.log_format);
    let running = gateway::start(config).await?;
    banner(&running, &[]);
    follow_configuration(watch, &running);
    until_stopped(running).await
}

/// Prints every problem of the configuration at once.
pub(super) fn refuse(problems: &Problems) -> ExitCode {
    // Where standard error is gone there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{problems}");
    ExitCode::FAILURE
}

/// Puts each new configuration in force, and keeps the old one when the new one is not valid.
pub(super) fn follow_configuration(watch: Watch, running: &Running) {
    let gateway = running.gateway.clone();
    let apply = move |loaded: Result<Config, Problems>| match loaded {
        Ok(config) => {
            let changed = gateway.clone();
            let waiting = restart_needed(&gateway.registry.snapshot().config, &config);
            if !waiting.is_empty() {
                warn!(settings = waiting.join(", "), "these settings take effect at the next start");
            }
            gateway.tasks.spawn("reconfigure", async move {
                match changed.reconfigure(config).await {
                    Ok(()) => info!("configuration reloaded"),
                    Err(problem) => error!(%problem, "configuration not applied"),
                }
            });
        }
        Err(problems) => {
            gateway.registry.snapshot().metrics.config_errors.inc();
            error!(%problems, "configuration refused; the one before stays in force");
        }
    };
    let draining = running.gateway.tasks.draining().clone();
    running.gateway.tasks.spawn("reload", async move {
        tokio::select! {
            () = watch.follow(apply) => {}
            () = draining.cancelled() => {}
        }
    });
}

/// Waits for the signal to stop, then drains. A second signal ends at once.
pub(super) async fn until_stopped(running: Running) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for Ctrl-C")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let (delay, grace) = {
        let config = &running.gateway.registry.snapshot().config;
        (config.shutdown_delay, config.shutdown_grace)
    };
    let again = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let mut again = pin!(again.fuse());
    let grace = tokio::select! {
        () = running.leave(delay) => grace,
        () = &mut again => Duration::ZERO,
    };
    running.stop(grace, again).await;
    Ok(ExitCode::SUCCESS)
}

/// Tells where the gateway is and what it found.
pub(super) fn banner(running: &Running, notes: &[String]) {
    let live = running.gateway.registry.snapshot();
    let config = &live.config;
    let mut text = format!("\n  llm-gateway {}\n\n", env!("CARGO_PKG_VERSION"));
    let url = format!("http://{}", running.address());
    text += &format!(
        "  listening   {url}\n  API         {url}/v1  (OpenAI's; set it as base_url)\n              {url}  (Anthropic's)\n"
    );
    text += &format!("  routing     {}\n", config.routing.strategy.as_str());
    let gateway = &running.gateway;
    let database = if gateway.store.is_postgres() { "PostgreSQL" } else { "SQLite" };
    let shared = if gateway.shared.is_some() { "Redis" } else { "memory" };
    text +=
        &format!("  storage     {database}, limits and budgets in {shared}, {}\n", config.storage.data_dir.display());
    let keys = match gateway.keys.are_required(config) {
        true => "required; make one with `llm-gateway keys create --name NAME`",
        false => "not required; once one is made they are",
    };
    text += &format!("  keys        {keys}\n");
    for provider in &config.providers {
        let simulated = if provider.is_simulated { "  (simulated)" } else { "" };
        let local = if provider.is_local { "  (local)" } else { "" };
        text += &format!("  provider    {}{local}{simulated}\n", provider.title);
    }
    text += &not_set(&config.missing);
    if !gateway.keys.are_known() {
        text += "  WARNING     the database does not answer, so nobody who needs a key is let in until it does\n";
    } else if let Some(problem) = gateway.store_health.problem() {
        text += &format!("  WARNING     {problem}; the keys are those that were known last\n");
    }
    if gateway.shared.is_none() && gateway.store.is_postgres() {
        text += "  WARNING     without REDIS_URL every replica counts limits and budgets by itself\n";
    }
    for note in notes {
        text += &format!("  note        {note}\n");
    }
    // Where standard error is gone there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
    if let Some(key) = &running.new_admin_key {
        show_admin_key(key);
    }
}

/// The variables that would add a provider, as many in a line as it holds.
fn not_set(missing: &[MissingProvider]) -> String {
    const WIDTH: usize = 100;
    if missing.is_empty() {
        return String::new();
    }
    let mut lines = vec!["  not set     each of these adds its provider:".to_owned()];
    for MissingProvider { title, variable, .. } in missing {
        let item = format!("{variable} ({title})");
        match lines.last_mut() {
            Some(line) if line.len() + item.len() + 2 <= WIDTH && line.ends_with(',') => *line += &format!(" {item},"),
            _ => lines.push(format!("              {item},")),
        }
    }
    lines.join("\n").trim_end_matches(',').to_owned() + "\n"
}

/// Shows the admin key that was made just now. Only its hash is kept.
pub fn show_admin_key(key: &SecretString) {
    let (key, wide) = (key.expose_secret(), 12);
    let note = "keep it: it opens the admin API, and is shown this once";
    let _ = writeln!(std::io::stderr(), "  {:<wide$}{key}\n  {:<wide$}({note})\n", "admin key", "");
}
