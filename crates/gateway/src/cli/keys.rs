//! `llm-gateway keys`: make, list, rotate and revoke gateway keys in the database, whether the gateway runs or not. A
//! running one sees the change within a second.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use catalog::Nanodollars;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use store::{Key, Store};

use super::serve;
use crate::api::error::ErrorAnswer;
use crate::clock;
use crate::config::{Config, Locations};
use crate::gateway::location;
use crate::keys::registrar::{self, NewKey};
use crate::keys::secret::Hasher;
use crate::policy;
use crate::refusal::Refusal;

/// Who is written into the audit log.
const ACTOR: &str = "command line";

/// What to do with the keys.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key and print it, this once.
    Create(Create),
    /// List the keys and what they used this month.
    List,
    /// Give a key another secret and print it, this once.
    Rotate {
        /// The key's id.
        id: String,
    },
    /// Revoke a key for good.
    Revoke {
        /// The key's id, or the key itself.
        key: String,
    },
}

/// A new key. A limit that is not given does not exist.
#[derive(Debug, Args)]
pub struct Create {
    /// What to call it.
    #[arg(long)]
    name: String,
    /// `development`, `staging` or `production`.
    #[arg(long, default_value = "development")]
    environment: String,
    /// US dollars a calendar month.
    #[arg(long, value_name = "DOLLARS")]
    budget_usd: Option<Nanodollars>,
    /// Tokens a calendar month.
    #[arg(long, value_name = "TOKENS")]
    budget_tokens: Option<u64>,
    /// Requests a minute.
    #[arg(long)]
    rpm: Option<u64>,
    /// Tokens a minute.
    #[arg(long)]
    tpm: Option<u64>,
    /// Requests at one time.
    #[arg(long)]
    max_concurrent: Option<u64>,
    /// A model that it may use; may be given several times. All when never given.
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// When it ends by itself, as 2027-01-31T00:00:00Z.
    #[arg(long)]
    expires_at: Option<Timestamp>,
    /// A label; may be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
}

/// Does it.
///
/// # Errors
/// The database does not answer, the key is not acceptable, or standard output is gone.
pub async fn run(file: Option<PathBuf>, command: Command) -> anyhow::Result<ExitCode> {
    let config = match Locations::of_process(file).load() {
        Ok(config) => config,
        Err(problems) => return Ok(serve::refuse(&problems)),
    };
    let store = Store::open(&location(&config)).await.context("cannot use the database")?;
    let hasher = hasher(&config, &store).await?;
    let mut out = std::io::stdout().lock();
    match command {
        Command::Create(wanted) => {
            let (key, secret) = registrar::create(&store, &hasher, wanted.into(), ACTOR).await.map_err(told)?;
            show(&mut out, &key, &secret)?;
        }
        Command::List => list(&mut out, &store).await?,
        Command::Rotate { id } => {
            let secret = registrar::rotate(&store, &hasher, &id, ACTOR).await.map_err(told)?;
            let key = store.key(&id).await?.context("the key is gone")?;
            show(&mut out, &key, &secret)?;
        }
        Command::Revoke { key } => {
            let id = registrar::id_of(&store, &hasher, &key).await.map_err(told)?;
            let key = registrar::revoke(&store, &id, ACTOR).await.map_err(told)?;
            writeln!(out, "revoked {} ({})", key.id, key.name)?;
        }
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn hasher(config: &Config, store: &Store) -> anyhow::Result<Hasher> {
    match policy::hasher(config, store).await {
        Ok(hasher) => Ok(hasher),
        Err(error) => bail!("the database does not answer: {}", policy::Chain(&error)),
    }
}

fn show(out: &mut impl Write, key: &Key, secret: &SecretString) -> std::io::Result<()> {
    writeln!(out, "{}", secret.expose_secret())?;
    // Beside the key, so that `KEY=$(llm-gateway keys create …)` holds nothing but the key.
    let note = format!("{} ({}, {}): shown this once, only its hash is kept", key.id, key.name, key.environment);
    writeln!(std::io::stderr(), "{note}")
}

async fn list(out: &mut impl Write, store: &Store) -> anyhow::Result<()> {
    let now = clock::unix_millis();
    let totals = store.totals(clock::period(now)).await?;
    let keys = store.keys().await?;
    if keys.is_empty() {
        writeln!(out, "no keys; make one with `llm-gateway keys create --name NAME`")?;
        return Ok(());
    }
    writeln!(
        out,
        "{:<22} {:<20} {:<12} {:<10} {:>14} {:>12}  budget",
        "id", "name", "environment", "state", "spent", "tokens"
    )?;
    for key in keys {
        let own = totals.iter().filter(|(_, total)| total.key_id == key.id).map(|(_, total)| total);
        let (mut spent, mut tokens) = (0_i64, 0_i64);
        for total in own {
            (spent, tokens) = (spent.saturating_add(total.cost.0), tokens.saturating_add(total.tokens));
        }
        let budget = key.monthly_budget_usd.map_or("none".to_owned(), |budget| format!("${budget}"));
        let (spent, state) = (format!("${}", Nanodollars(spent)), state(&key, now));
        let Key { id, name, environment, .. } = &key;
        writeln!(out, "{id:<22} {name:<20} {environment:<12} {state:<10} {spent:>14} {tokens:>12}  {budget}")?;
    }
    Ok(())
}

fn state(key: &Key, now: i64) -> &'static str {
    match key {
        Key { revoked_at_ms: Some(_), .. } => "revoked",
        Key { enabled: false, .. } => "disabled",
        Key { expires_at_ms: Some(end), .. } if *end <= now => "expired",
        _ => "active",
    }
}

fn told(refusal: Refusal) -> anyhow::Error {
    anyhow::anyhow!("{}", ErrorAnswer::of(&refusal).message)
}

impl From<Create> for NewKey {
    fn from(wanted: Create) -> NewKey {
        NewKey {
            name: wanted.name,
            environment: Some(wanted.environment),
            enabled: None,
            monthly_budget_usd: wanted.budget_usd,
            monthly_budget_tokens: wanted.budget_tokens,
            rpm: wanted.rpm,
            tpm: wanted.tpm,
            max_concurrent: wanted.max_concurrent,
            allowed_models: wanted.models,
            expires_at: wanted.expires_at,
            tags: wanted.tags,
        }
    }
}
