//! `llm-gateway check`: is the configuration valid, does every provider answer?

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::serve;
use crate::config::Locations;
use crate::facts;
use crate::live::Registry;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Client, health};

/// Checks, prints a line a provider, and fails when anything is wrong. A local provider that is not running is told
/// and is no failure: it is enabled unasked.
///
/// # Errors
/// The system has no certificate store, or standard output is gone.
pub async fn run(file: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let config = match Locations::of_process(file).load() {
        Ok(config) => config,
        Err(problems) => return Ok(serve::refuse(&problems)),
    };
    let client = Client::new(config.timeouts.connect, config.upstream.ca_file.as_deref())?;
    let catalog = facts::catalog(&config.storage.data_dir);
    let registry = Registry::new(config, catalog, Arc::new(Metrics::new()));
    let live = registry.snapshot();
    let mut out = std::io::stdout().lock();
    writeln!(out, "configuration  ok")?;
    let mut is_sound = true;
    for provider in &live.directory.providers {
        let (name, is_local) = (&provider.config.title, provider.config.is_local);
        match health::probe(&client, provider).await {
            Ok(Some(models)) => writeln!(out, "{name:<14} ok, {} models", models.len())?,
            Ok(None) => writeln!(out, "{name:<14} ok, it lists no models")?,
            Err(problem) if is_local => writeln!(out, "{name:<14} not running: {problem}")?,
            Err(problem) => {
                is_sound = false;
                writeln!(out, "{name:<14} FAILED: {problem}")?;
            }
        }
    }
    for missing in &live.config.missing {
        writeln!(out, "{:<14} not configured; set {}", missing.title, missing.variable)?;
    }
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
