//! `llm-gateway demo`: the same gateway in front of simulated providers, with some traffic to look at.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::serve;
use crate::config::Locations;
use crate::config::reload::Watch;
use crate::gateway;
use crate::simulated::traffic;
use crate::telemetry::logs;

/// Options of the demo.
#[derive(Debug, Args)]
pub struct Options {
    /// Send no traffic of its own.
    #[arg(long)]
    pub no_traffic: bool,
}

/// Runs the demo.
///
/// # Errors
/// The configuration is not valid or an address cannot be bound.
pub async fn run(file: Option<PathBuf>, options: Options) -> anyhow::Result<ExitCode> {
    let watch = Watch::new(Locations { demo: true, ..Locations::of_process(file) });
    let config = match watch.load() {
        Ok(config) => config,
        Err(problems) => return Ok(serve::refuse(&problems)),
    };
    logs::start(&config.log_level, config.log_format);
    let running = gateway::start(config).await?;
    serve::follow_configuration(watch, &running);
    let url = format!("http://{}", running.address());
    let tasks = &running.gateway.tasks;
    if !options.no_traffic {
        tasks.spawn("demo traffic", traffic::trickle(url.clone(), tasks.draining().clone().cancelled_owned()));
    }
    let question = r#"{"model":"auto","messages":[{"role":"user","content":"Hello"}]}"#;
    let notes = [
        "answers of the simulated providers come from this process and mean nothing".to_owned(),
        format!("try  curl {url}/v1/chat/completions -H 'content-type: application/json' -d '{question}'"),
    ];
    serve::banner(&running, &notes);
    serve::until_stopped(running).await
}
