//! The gateway: its parts, how they start, and how they stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use secrecy::SecretString;
use store::{Location, Store};
use tokio::sync::{OnceCell, Semaphore, mpsc};
use tracing::{info, warn};

use crate::cache::{self, Cache};
use crate::clock::{self, Instant};
use crate::coalesce::Flights;
use crate::concurrency::Concurrency;
use crate::config::Config;
use crate::directory::Health;
use crate::facts;
use crate::feedback;
use crate::idempotency::Repeats;
use crate::keys::Keys;
use crate::ledger::{self, Ledger};
use crate::limits::budgets::BudgetAlert;
use crate::limits::rates::Rates;
use crate::live::Registry;
use crate::memory::Memory;
use crate::policy;
use crate::server;
use crate::shared::Shared;
use crate::simulated::Simulated;
use crate::tasks::Tasks;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Client, health};
use crate::wrong_keys::WrongKeys;

/// Time that streams have to send their last frame once they were told to end.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The SQLite database in the data directory.
const SQLITE: &str = "gateway.db";

/// Explanations that are worked on at one time.
const EXPLAINING: usize = 2;

/// The parts that requests use.
#[derive(Debug)]
pub struct Gateway {
    /// Configuration, catalogue and directory, as snapshots.
    pub registry: Arc<Registry>,
    /// The way to the providers for everything but requests; each worker thread has its own.
    pub client: Client,
    /// Requests in flight.
    pub concurrency: Concurrency,
    /// Memory in use.
    pub memory: Arc<Memory>,
    /// Background work and the signals that end it.
    pub tasks: Tasks,
    /// Keys, settings and accounts, as the database has them. No request waits for it.
    pub store: Arc<Store>,
    /// Whether the database answers.
    pub store_health: Health,
    /// Redis, where replicas share limits and budgets.
    pub shared: Option<Arc<Shared>>,
    /// The gateway keys.
    pub keys: Keys,
    /// Limits of what a key does in a minute.
    pub rates: Rates,
    /// The money.
    pub ledger: Arc<Ledger>,
    /// Answers that are given again to the same question.
    pub cache: Arc<Cache>,
    /// Answers that are given again to whoever sends the same `Idempotency-Key`.
    pub repeats: Arc<Repeats>,
    /// Calls that identical requests can join.
    pub flights: Arc<Flights>,
    /// Whose turn it is to have routing explained: a batch takes memory and a processor.
    pub explaining: Arc<Semaphore>,
    /// Who sent wrong admin keys.
    pub wrong_keys: WrongKeys,
    /// When it started.
    pub started: Instant,
    /// Where the simulated providers are, once something names them.
    simulated: OnceCell<SocketAddr>,
}

/// A gateway that listens.
#[derive(Debug)]
pub struct Running {
    /// Its parts.
    pub gateway: Arc<Gateway>,
    /// The admin key, if this start made one. It cannot be shown again.
    pub new_admin_key: Option<SecretString>,
    address: SocketAddr,
}

/// Binds the configured address and starts to serve.
///
/// A database or a Redis that does not answer stops nothing: what is safe without it is served, and it is joined when
/// it comes.
///
/// # Errors
/// The address cannot be bound, the data directory cannot be used, or the system has no certificate store.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    let listener = bind(&config)?;
    let address = listener.local_addr().context("the listener has no address")?;
    let (gateway, alerts, new_admin_key) = assemble(config).await?;
    gateway.begin(alerts).await;
    server::start(listener, &gateway).context("cannot start the worker threads")?;
    Ok(Running { gateway, new_admin_key, address })
}

/// The same on this runtime alone, without what looks after the database, Redis and the providers' health: nothing
/// happens by itself, and time can be simulated.
///
/// # Errors
/// As [`start`].
#[cfg(test)]
pub(crate) async fn start_still(config: Config) -> anyhow::Result<Running> {
    let listener = bind(&config)?;
    let address = listener.local_addr()?;
    let (gateway, _alerts, new_admin_key) = assemble(config).await?;
    server::start_here(listener, &gateway);
    Ok(Running { gateway, new_admin_key, address })
}

fn bind(config: &Config) -> anyhow::Result<tokio::net::TcpListener> {
    let wanted = SocketAddr::new(config.host, config.port);
    server::bind(wanted).with_context(|| format!("cannot listen on {wanted}; is the port taken?"))
}

/// Puts the parts together. Nothing runs yet.
async fn assemble(config: Config) -> anyhow::Result<(Arc<Gateway>, mpsc::Receiver<BudgetAlert>, Option<SecretString>)> {
    let client =
        Client::new(config.timeouts.connect, config.upstream.ca_file.as_deref()).context("cannot set up TLS")?;
    let (tasks, simulated) = (Tasks::new(), OnceCell::new());
    let config = place_simulated(config, &simulated, &tasks).await?;

    let directory = &config.storage.data_dir;
    let catalog = facts::catalog(directory);
    let store = Store::open(&location(&config)).await;
    let store = Arc::new(store.with_context(|| format!("cannot use the database in `{}`", directory.display()))?);
    let shared = config.storage.redis_url.as_ref().map(|url| Shared::new(url, config.storage.redis_timeout));
    let shared = shared.transpose().context("cannot use REDIS_URL")?.map(Arc::new);
    let opened = Ledger::open(&config, shared.clone(), tasks.clone());
    let (ledger, alerts) = opened.with_context(|| format!("cannot use the journal in `{}`", directory.display()))?;
    let rates = Rates::new(shared.clone(), config.storage.replicas);
    let repeats = Arc::new(Repeats::new(shared.clone(), tasks.clone()));
    let keys = Keys::new(ledger.budgets.clone());

    let found = policy::find(&config, &store).await;
    let store_health = Health::default();
    if let Err(problem) = ledger::ship::restore(&ledger, &store).await {
        store_health.note(Some(problem.to_string()));
    }

    let registry = Arc::new(Registry::new(config, catalog, Arc::new(Metrics::new())));
    let (concurrency, wrong_keys, started) = (Concurrency::default(), WrongKeys::default(), clock::now());
    let memory = Arc::new(Memory::default());
    let cache = Cache::new(cache::Parts {
        registry: registry.clone(),
        client: client.clone(),
        ledger: ledger.clone(),
        memory: memory.clone(),
        store: store.clone(),
        shared: shared.clone(),
        tasks: tasks.clone(),
    });
    let gateway = Arc::new(Gateway {
        registry,
        client,
        concurrency,
        memory,
        cache: Arc::new(cache),
        tasks,
        store,
        store_health,
        shared,
        keys,
        rates,
        ledger,
        repeats,
        flights: Arc::default(),
        explaining: Arc::new(Semaphore::new(EXPLAINING)),
        wrong_keys,
        started,
        simulated,
    });
    let new_admin_key = policy::install(&gateway, found);
    Ok((gateway, alerts, new_admin_key))
}

/// Where keys and accounts are kept.
pub fn location(config: &Config) -> Location {
    match &config.storage.database_url {
        Some(url) => Location::Postgres(url.clone()),
        None => Location::Sqlite(config.storage.data_dir.join(SQLITE)),
    }
}

impl Gateway {
    /// Starts what runs beside the requests.
    async fn begin(self: &Arc<Self>, alerts: mpsc::Receiver<BudgetAlert>) {
        let (tasks, ended) = (&self.tasks, self.tasks.closing().clone());
        if let Some(shared) = &self.shared {
            shared.look().await;
            tasks.spawn_companion("redis", shared.clone().watch(ended.clone()));
            self.ledger.budgets.start().await;
        }
        let (budgets, rates, stop) = (self.ledger.budgets.clone(), self.clone(), ended.clone());
        tasks.spawn_companion("budgets", async move { budgets.run(&stop).await });
        let looking = self.memory.clone().watch(self.registry.clone(), ended.clone());
        tasks.spawn_companion("memory", looking);
        let stop = ended.clone();
        tasks.spawn_companion("rates", async move { rates.rates.run(stop).await });
        tasks.spawn_companion("cache", cache::run(self.cache.clone(), self.registry.clone(), ended.clone()));
        tasks.spawn_companion("ledger", ledger::ship::run(self.ledger.clone(), self.store.clone(), ended));
        tasks.spawn_companion("budget alerts", ledger::alerts::watch(self.clone(), alerts));
        tasks.spawn("keys", policy::watch(self.clone()));
        tasks.spawn("feedback", feedback::watch(self.clone()));
        tasks.spawn("health", health::watch(self.clone()));
    }

    /// Puts another configuration in force. Requests that run keep the one they started with.
    ///
    /// # Errors
    /// It names simulated providers and they cannot be started.
    pub async fn reconfigure(&self, config: Config) -> anyhow::Result<()> {
        let config = place_simulated(config, &self.simulated, &self.tasks).await?;
        self.registry.reconfigure(config);
        Ok(())
    }
}

/// Starts the simulated providers if `config` names any, and tells it where they are.
async fn place_simulated(mut config: Config, started: &OnceCell<SocketAddr>, tasks: &Tasks) -> anyhow::Result<Config> {
    for provider in config.providers.iter_mut().filter(|one| one.is_simulated && one.base_url.is_empty()) {
        let address = started.get_or_try_init(async || {
            let simulated = Simulated::bind().await?;
            let address = simulated.address();
            // They end after the last request that may need them.
            tasks.spawn_companion("simulated providers", simulated.serve(tasks.closing().clone().cancelled_owned()));
            Ok::<_, std::io::Error>(address)
        });
        let address = address.await.context("cannot start the simulated providers")?;
        provider.base_url = format!("http://{address}/{}/v1", provider.name);
    }
    Ok(config)
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says that it is not ready any more, and serves on for `delay`: load balancers take their time to notice.
    pub async fn leave(&self, delay: Duration) {
        self.gateway.tasks.leaving().cancel();
        tokio::time::sleep(delay).await;
    }

    /// Takes no more requests, lets those that run finish within `grace`, then ends the rest with an error frame.
    /// `hurry` cuts the grace short.
    pub async fn stop(self, grace: Duration, hurry: impl Future<Output = ()>) {
        let tasks = &self.gateway.tasks;
        tasks.leaving().cancel();
        tasks.draining().cancel();
        info!(active = self.gateway.concurrency.active(), grace_seconds = grace.as_secs(), "draining");
        let is_drained = tokio::select! {
            ended = tasks.ended(grace) => ended,
            () = hurry => false,
        };
        if !is_drained {
            warn!(active = self.gateway.concurrency.active(), "time to finish is over; ending what still runs");
        }
        tasks.close(LAST_WORDS).await;
        ledger::ship::last(&self.gateway.ledger, &self.gateway.store).await;
        self.gateway.store.close().await;
    }
}
