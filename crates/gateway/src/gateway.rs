//! The gateway: its parts, how they start, and how they stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use catalog::Catalog;
use tokio::sync::OnceCell;
use tracing::{info, warn};

use crate::clock::{self, Instant};
use crate::concurrency::Concurrency;
use crate::config::Config;
use crate::live::Registry;
use crate::server;
use crate::simulated::Simulated;
use crate::tasks::Tasks;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Client, health};

/// Time that streams have to send their last frame once they were told to end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The parts that requests use.
#[derive(Debug)]
pub struct Gateway {
    /// Configuration, catalogue and directory, as snapshots.
    pub registry: Arc<Registry>,
    /// The way to the providers for everything but requests; each worker thread has its own.
    pub client: Client,
    /// Requests in flight.
    pub concurrency: Concurrency,
    /// Background work and the signals that end it.
    pub tasks: Tasks,
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
    address: SocketAddr,
}

/// Binds the configured address and starts to serve.
///
/// # Errors
/// The address cannot be bound, or the system has no certificate store.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    let wanted = SocketAddr::new(config.host, config.port);
    let listener = server::bind(wanted).with_context(|| format!("cannot listen on {wanted}; is the port taken?"))?;
    let address = listener.local_addr().context("the listener has no address")?;
    let client = Client::new(config.timeouts.connect).context("cannot set up TLS")?;
    let (tasks, simulated) = (Tasks::default(), OnceCell::new());
    let config = place_simulated(config, &simulated, &tasks).await?;
    let registry = Arc::new(Registry::new(config, Catalog::embedded(), Arc::new(Metrics::new())));
    let (concurrency, started) = (Concurrency::default(), clock::now());
    let gateway = Arc::new(Gateway { registry, client, concurrency, tasks, started, simulated });
    server::start(listener, &gateway).context("cannot start the worker threads")?;
    gateway.tasks.spawn("health", health::watch(gateway.clone()));
    Ok(Running { gateway, address })
}

impl Gateway {
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

    /// Takes no more requests, lets those that run finish within `grace`, then ends the rest with an error frame.
    /// `hurry` cuts the grace short.
    pub async fn stop(self, grace: Duration, hurry: impl Future<Output = ()>) {
        let tasks = &self.gateway.tasks;
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
    }
}
