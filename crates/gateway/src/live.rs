//! One snapshot of everything a request reads: configuration, catalogue and directory, swapped whole.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use catalog::Catalog;
use parking_lot::Mutex;
use tokio::sync::Notify;
use wire::models::Discovered;

use crate::config::Config;
use crate::directory::Directory;
use crate::telemetry::metrics::Metrics;
use crate::upstream::standing::Retries;
use crate::vault::Vault;

/// What one request sees from its start to its end.
#[derive(Debug)]
pub struct Live {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// Who offers what.
    pub directory: Directory,
    /// Where things are counted.
    pub metrics: Arc<Metrics>,
    /// How many requests may be hedged.
    pub hedges: Arc<Retries>,
    /// Reasoning that has to come back.
    pub vault: Arc<Vault>,
}

/// Owns the current [`Live`] and what it is made of.
#[derive(Debug)]
pub struct Registry {
    current: ArcSwap<Live>,
    catalog: Catalog,
    metrics: Arc<Metrics>,
    // A std mutex: taken when configuration or discovery change, never by a request.
    sources: Mutex<Sources>,
    reconfigured: Notify,
}

#[derive(Debug)]
struct Sources {
    config: Arc<Config>,
    discovered: HashMap<String, Vec<Discovered>>,
}

impl Registry {
    /// The first snapshot: nothing discovered yet.
    pub fn new(config: Config, catalog: Catalog, metrics: Arc<Metrics>) -> Registry {
        let config = Arc::new(config);
        let sources = Sources { config, discovered: HashMap::new() };
        let hedges = Arc::new(Retries::for_hedges());
        let first = build(&sources, &catalog, &Directory::default(), &metrics, (hedges, Arc::default()));
        Registry {
            current: ArcSwap::from_pointee(first),
            catalog,
            metrics,
            sources: Mutex::new(sources),
            reconfigured: Notify::new(),
        }
    }

    /// The current snapshot.
    pub fn snapshot(&self) -> Arc<Live> {
        self.current.load_full()
    }

    /// Puts another configuration in force. Requests that run keep the one they started with.
    pub fn reconfigure(&self, config: Config) {
        self.change(|sources| {
            sources.config = Arc::new(config);
            true
        });
        self.reconfigured.notify_one();
    }

    /// Waits until another configuration is in force.
    pub async fn reconfigured(&self) {
        self.reconfigured.notified().await;
    }

    /// Notes what a provider lists; a list that is the same as before changes nothing.
    pub fn discovered(&self, provider: &str, models: Vec<Discovered>) {
        self.change(|sources| {
            let before = sources.discovered.insert(provider.to_owned(), models);
            sources.discovered.get(provider) != before.as_ref()
        });
    }

    fn change(&self, apply: impl FnOnce(&mut Sources) -> bool) {
        let mut sources = self.sources.lock();
        if apply(&mut sources) {
            let now = self.snapshot();
            let next =
                build(&sources, &self.catalog, &now.directory, &self.metrics, (now.hedges.clone(), now.vault.clone()));
            self.current.store(Arc::new(next));
        }
    }
}

fn build(
    sources: &Sources,
    catalog: &Catalog,
    previous: &Directory,
    metrics: &Arc<Metrics>,
    (hedges, vault): (Arc<Retries>, Arc<Vault>),
) -> Live {
    let directory = Directory::build(&sources.config, catalog, &sources.discovered, previous, metrics);
    Live { config: sources.config.clone(), directory, metrics: metrics.clone(), hedges, vault }
}
