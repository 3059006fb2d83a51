//! `llm-gateway models`: prices and limits of models, brought up to date.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use catalog::{Catalog, Change};
use clap::Subcommand;

use super::serve;
use crate::clock;
use crate::config::{Config, Locations};
use crate::facts;
use crate::upstream::Client;

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what an update would change.
    Diff {
        /// A file or URL: LiteLLM's table of prices, or a list of models as the catalogue has it.
        #[arg(long, value_name = "FILE|URL")]
        from: String,
    },
    /// Bring prices and limits up to date; the gateway uses them from its next start.
    Update {
        /// A file or URL: LiteLLM's table of prices, or a list of models as the catalogue has it.
        #[arg(long, value_name = "FILE|URL")]
        from: String,
    },
}

/// Runs the command.
///
/// # Errors
/// The source cannot be read, or the data directory cannot be written.
pub async fn run(file: Option<PathBuf>, command: Command) -> anyhow::Result<ExitCode> {
    let config = match Locations::of_process(file).load() {
        Ok(config) => config,
        Err(problems) => return Ok(serve::refuse(&problems)),
    };
    let (from, writes) = match &command {
        Command::Diff { from } => (from, false),
        Command::Update { from } => (from, true),
    };
    let text = read(&config, from).await.with_context(|| format!("cannot read `{from}`"))?;
    let known = facts::catalog(&config.storage.data_dir);
    let (updated, doubts) = known.updated(&text, &clock::month()).with_context(|| format!("`{from}` is of no use"))?;
    let changes = known.changes_to(&updated);
    let mut out = std::io::stdout().lock();
    show(&mut out, "changed", &changes)?;
    show(&mut out, "left", &doubts)?;
    if changes.is_empty() {
        writeln!(out, "Nothing differs.")?;
    } else if writes {
        let place = write(&config.storage.data_dir, &updated)?;
        writeln!(out, "{} changes are in {}; they count from the next start.", changes.len(), place.display())?;
    } else {
        writeln!(out, "{} changes; `llm-gateway models update --from …` takes them over.", changes.len())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show(out: &mut impl Write, label: &str, changes: &[Change]) -> std::io::Result<()> {
    for Change { provider, model, what } in changes {
        writeln!(out, "{label:<8} {provider}/{model}: {what}")?;
    }
    Ok(())
}

async fn read(config: &Config, from: &str) -> anyhow::Result<String> {
    if !from.starts_with("http://") && !from.starts_with("https://") {
        return Ok(std::fs::read_to_string(from)?);
    }
    let client = Client::new(config.timeouts.connect, config.upstream.ca_file.as_deref())?;
    let bytes = client.get(from.parse().context("it is not a URL")?, facts::MAX_BYTES).await?;
    Ok(String::from_utf8(bytes.to_vec())?)
}

/// Puts a new file in the old one's place, so that a start in between sees one of them whole.
fn write(folder: &Path, catalog: &Catalog) -> anyhow::Result<PathBuf> {
    let place = facts::place(folder);
    let new = place.with_extension("new");
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    std::fs::write(&new, catalog.overlay()).with_context(|| format!("cannot write `{}`", new.display()))?;
    std::fs::rename(&new, &place).with_context(|| format!("cannot write `{}`", place.display()))?;
    Ok(place)
}
