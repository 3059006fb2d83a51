//! One snapshot of everything a request reads: configuration, catalogue and directory, swapped whole.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use catalog::Catalog;
use parking_lot::Mutex;
use tokio::sync::Notify;
use wire::models::Discovered;

use crate::config::{Config, Routing};
use crate::conversations::Conversations;
use crate::directory::{Directory, Offer};
use crate::feedback::{Answered, Asked, Opinions};
use crate::router::Routed;
use crate::steering::Changes;
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
    /// How `auto` chooses: the configuration with what an admin has changed.
    pub routing: Arc<Routing>,
    /// What an admin has changed of it.
    pub changes: Arc<Changes>,
    /// How many requests may be hedged.
    pub hedges: Arc<Retries>,
    /// Reasoning that has to come back.
    pub vault: Arc<Vault>,
    /// What routing remembers of requests.
    pub memory: Arc<Recollection>,
}

/// What routing remembers of requests. It outlives every snapshot.
#[derive(Debug, Default)]
pub struct Recollection {
    /// Which model a conversation is with.
    pub conversations: Conversations,
    /// What was asked lately, for opinions of the answers.
    pub asked: Asked,
}

impl Recollection {
    /// Notes who answered a request that was routed.
    pub fn answered(&self, request_id: &Arc<str>, routed: &Routed, offer: &Offer) {
        if let Some(conversation) = routed.conversation {
            self.conversations.answered(conversation, offer);
        }
        let (provider, model) = (offer.provider.name.clone(), offer.model.clone());
        self.asked.answered(request_id, Answered { provider, model, prompt: routed.prompt });
    }
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
    changes: Arc<Changes>,
    discovered: HashMap<String, Vec<Discovered>>,
    opinions: Opinions,
}

/// The parts of a snapshot that outlive it.
#[derive(Clone, Debug)]
struct Lasting {
    hedges: Arc<Retries>,
    vault: Arc<Vault>,
    memory: Arc<Recollection>,
}

impl Registry {
    /// The first snapshot: nothing discovered yet.
    pub fn new(config: Config, catalog: Catalog, metrics: Arc<Metrics>) -> Registry {
        let config = Arc::new(config);
        let sources =
            Sources { config, changes: Arc::default(), discovered: HashMap::new(), opinions: Opinions::default() };
        let hedges = Arc::new(Retries::for_hedges());
        let lasting = Lasting { hedges, vault: Arc::default(), memory: Arc::default() };
        let first = build(&sources, &catalog, &Directory::default(), &metrics, lasting);
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

    /// Puts what an admin has changed of the routing in force.
    pub fn steer(&self, changes: Changes) {
        self.change(|sources| {
            let is_new = *sources.changes != changes;
            sources.changes = Arc::new(changes);
            is_new
        });
    }

    /// Notes what people thought of answers, besides what is known.
    pub fn learn(&self, opinions: Opinions) {
        self.change(|sources| {
            let is_new = !opinions.is_empty();
            sources.opinions.merge(opinions);
            is_new
        });
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
            let lasting = Lasting { hedges: now.hedges.clone(), vault: now.vault.clone(), memory: now.memory.clone() };
            let next = build(&sources, &self.catalog, &now.directory, &self.metrics, lasting);
            self.current.store(Arc::new(next));
        }
    }
}

fn build(sources: &Sources, catalog: &Catalog, previous: &Directory, metrics: &Arc<Metrics>, lasting: Lasting) -> Live {
    let Sources { config, changes, discovered, opinions } = sources;
    let Lasting { hedges, vault, memory } = lasting;
    let directory = Directory::build(config, catalog, discovered, opinions, previous, metrics);
    Live {
        config: config.clone(),
        directory,
        metrics: metrics.clone(),
        routing: Arc::new(changes.apply(&config.routing)),
        changes: changes.clone(),
        hedges,
        vault,
        memory,
    }
}
