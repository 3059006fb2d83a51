//! The command line: one file a subcommand, and what they share.

pub mod cache;
pub mod check;
pub mod demo;
pub mod keys;
pub mod models;
pub mod route;
pub mod serve;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// One endpoint in front of every LLM provider.
#[derive(Debug, Parser)]
#[command(name = "llm-gateway", version, about, max_term_width = 100)]
pub struct Arguments {
    /// Configuration file; without it `GATEWAY_CONFIG`, then `gateway.toml` in this folder if it is there.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do; `serve` when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway with the providers of the environment and the configuration.
    Serve(serve::Options),
    /// Run the gateway with simulated providers and a trickle of traffic: no key needed.
    Demo(demo::Options),
    /// Read the configuration, reach every provider, and tell what is wrong.
    Check,
    /// Measure how well the semantic cache tells texts apart.
    #[command(subcommand)]
    Cache(cache::Command),
    /// Make, list, rotate and revoke gateway keys.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Show where a prompt would go, and why. Nothing is sent to a model.
    Route(route::Options),
    /// Bring prices and limits of models up to date.
    #[command(subcommand)]
    Models(models::Command),
    /// Print the completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}
