//! Who offers what: the providers of the configuration with the models that the catalogue knows and the provider
//! itself lists. A directory never changes; a new one replaces it when configuration or discovery say so.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use catalog::{Capabilities, Catalog, Kind, Price};
use http::Uri;
use http::uri::PathAndQuery;
use parking_lot::Mutex;
use routing::Quality;
use wire::models::Discovered;
use wire::{Dialect, Thinking};

use crate::call::Surface;
use crate::config::{Config, ProviderConfig};
use crate::feedback::Opinions;
use crate::latency::Window;
use crate::telemetry::metrics::{Metrics, OfferMetrics};
use crate::upstream::standing::{Credential, Retries, Standing};

/// Ollama's names carry a tag; `llama3.2` means `llama3.2:latest`.
const DEFAULT_TAG: &str = ":latest";
/// Stands for the model's name in a provider's address.
const MODEL: &str = "{model}";

/// One configured provider.
#[derive(Debug)]
pub struct Provider {
    /// What the operator wrote or the catalogue says.
    pub config: ProviderConfig,
    /// Its name, shared with records and failures.
    pub name: Arc<str>,
    /// What the last health check saw.
    pub health: Arc<Health>,
    /// What opens its door: at least one, if only nothing.
    pub credentials: Vec<Arc<Credential>>,
    /// Retries that it may be burdened with.
    pub retries: Arc<Retries>,
    /// What requests learned of models that are in no list.
    unlisted: Arc<Standing>,
    base: Uri,
}

/// One model at one provider.
#[derive(Debug)]
pub struct Offer {
    /// Who serves it.
    pub provider: Arc<Provider>,
    /// The model's name as the provider knows it.
    pub model: Arc<str>,
    /// Facts about it, where the catalogue, the configuration or the provider told.
    pub facts: Facts,
    /// How well it answers, as far as anybody knows.
    pub quality: Quality,
    /// What its provider's list says of it.
    pub listed: Option<Discovered>,
    /// What live traffic measured.
    pub stats: Arc<Stats>,
    /// What requests learned of its health.
    pub standing: Arc<Standing>,
    /// Its counters, resolved once.
    pub metrics: Arc<OfferMetrics>,
    /// Where its requests go.
    pub uri: Uri,
}

/// What is known of a model. `None` is unknown, never zero.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// What it makes; `None` for a name that only the provider's list knows.
    pub kind: Option<Kind>,
    /// What it costs.
    pub price: Option<Price>,
    /// Tokens that prompt and answer may have together.
    pub context_window: Option<u64>,
    /// Tokens that an answer may have.
    pub max_output_tokens: Option<u64>,
    /// What it takes and gives.
    pub capabilities: Capabilities,
    /// Prior quality, 0 to 1, before anything was measured here.
    pub quality: Option<f64>,
}

/// Live measurements of one offer; they outlive the directory that holds them.
#[derive(Debug, Default)]
pub struct Stats {
    /// Time from an attempt's beginning to the first content.
    pub first_content: Window,
    /// Time from an attempt's beginning to the end of the answer.
    pub total: Window,
    /// Time between two tokens of a stream.
    pub per_token: Window,
    /// Time to the first content where the model had to be loaded first.
    pub cold: Window,
    /// Whether a local model is in memory: see [`Warmth`].
    warmth: AtomicU8,
}

/// Whether a local model is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warmth {
    /// Nobody says. What is not local is always ready.
    Unknown,
    /// It is.
    Loaded,
    /// It must be loaded first.
    Cold,
}

/// How fast a model's file is read into memory, in bytes a second, where no cold start was measured yet: what an NVMe
/// disk gives at the least.
const LOAD_BYTES_PER_SECOND: f64 = 1e9;

impl Stats {
    /// Whether the model is in memory, as far as anybody knows.
    pub fn warmth(&self) -> Warmth {
        match self.warmth.load(Ordering::Relaxed) {
            1 => Warmth::Loaded,
            2 => Warmth::Cold,
            _ => Warmth::Unknown,
        }
    }

    /// Notes whether the model is in memory.
    pub fn note_loaded(&self, is_loaded: bool) {
        self.warmth.store(if is_loaded { 1 } else { 2 }, Ordering::Relaxed);
    }

    /// Notes the first content of an answer, so long after its attempt began.
    pub fn first_content_after(&self, time: std::time::Duration) {
        let window = if self.warmth() == Warmth::Cold { &self.cold } else { &self.first_content };
        window.record(time);
        self.note_answered();
    }

    /// Notes the end of an answer: `time` after its attempt began, `streamed` after its first content, with so many
    /// tokens.
    pub fn answered_after(&self, time: std::time::Duration, streamed: Option<(std::time::Duration, u64)>) {
        self.total.record(time);
        self.note_answered();
        // A handful of tokens comes in one piece and says nothing about the pace.
        if let Some((streamed, tokens)) = streamed.filter(|(_, tokens)| *tokens >= FEWEST_TOKENS) {
            self.per_token.record(streamed.div_f64(tokens.saturating_sub(1) as f64));
        }
    }

    fn note_answered(&self) {
        if self.warmth() == Warmth::Cold {
            self.note_loaded(true);
        }
    }
}

/// Answers of fewer tokens do not count for the pace.
const FEWEST_TOKENS: u64 = 8;

/// A provider's state as the health check sees it.
#[derive(Debug, Default)]
pub struct Health {
    state: AtomicU8,
    // A std mutex: held to swap a string, never across an await.
    problem: Mutex<Option<String>>,
}

/// What the last health check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// Not checked yet.
    Unknown,
    /// It answered.
    Healthy,
    /// It did not, or not well.
    Unhealthy,
}

impl Health {
    /// The state; unknown counts as healthy for routing.
    pub fn state(&self) -> HealthState {
        match self.state.load(Ordering::Relaxed) {
            1 => HealthState::Healthy,
            2 => HealthState::Unhealthy,
            _ => HealthState::Unknown,
        }
    }

    /// Notes what a check found: `None` is health. Tells whether the state changed.
    pub fn note(&self, problem: Option<String>) -> bool {
        let state = if problem.is_some() { 2 } else { 1 };
        *self.problem.lock() = problem;
        self.state.swap(state, Ordering::Relaxed) != state
    }

    /// What was wrong at the last check.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }
}

impl Provider {
    /// `previous` is the same provider as it was before; what was learned of it stays.
    fn new(config: &ProviderConfig, previous: Option<&Arc<Provider>>) -> Option<Provider> {
        let base: Uri = config.base_url.parse().ok()?;
        let known = previous.map(|known| known.credentials.as_slice()).unwrap_or_default();
        let credentials = Credential::of(config, known);
        let is_same = is_same_credentials(known, &credentials);
        let unlisted = previous.filter(|_| is_same).map(|known| known.unlisted.clone());
        Some(Provider {
            name: config.name.as_str().into(),
            config: config.clone(),
            health: previous.map(|known| known.health.clone()).unwrap_or_default(),
            unlisted: unlisted.unwrap_or_else(|| Arc::new(Standing::new(credentials.len()))),
            credentials,
            retries: previous.map(|known| known.retries.clone()).unwrap_or_default(),
            base,
        })
    }

    /// The URI of one of its paths, for the model where the address names it. `path` is a constant of the dialect.
    pub fn uri(&self, path: &str, model: Option<&str>) -> Uri {
        let base = self.base.path().trim_end_matches('/');
        let mut full = match (base.split_once(MODEL), model) {
            (Some((before, after)), Some(model)) => format!("{before}{}{after}{path}", in_path(model)),
            // What is not of one model stands where the models do.
            (Some((before, _)), None) => before.trim_end_matches('/').to_owned() + path,
            (None, _) => base.to_owned() + path,
        };
        if let Some(query) = &self.config.query {
            let mark = if full.contains('?') { '&' } else { '?' };
            full = format!("{full}{mark}{query}");
        }
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = PathAndQuery::try_from(full).ok().or(parts.path_and_query);
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// True unless the last check failed.
    pub fn is_healthy(&self) -> bool {
        self.health.state() != HealthState::Unhealthy
    }
}

/// A model's name as one segment of a path.
fn in_path(model: &str) -> String {
    let mut segment = String::with_capacity(model.len());
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}

/// A model's name without the tag that goes without saying.
fn bare(name: &str) -> &str {
    name.strip_suffix(DEFAULT_TAG).unwrap_or(name)
}

fn is_same_credentials(known: &[Arc<Credential>], now: &[Arc<Credential>]) -> bool {
    known.len() == now.len() && known.iter().zip(now).all(|(known, now)| Arc::ptr_eq(known, now))
}

/// All offers, by name.
#[derive(Debug, Default)]
pub struct Directory {
    /// Providers in the order of the configuration.
    pub providers: Vec<Arc<Provider>>,
    /// Offers in the order of their providers and of the catalogue.
    pub offers: Vec<Arc<Offer>>,
    by_model: HashMap<String, Vec<usize>>,
}

impl Directory {
    /// Puts together what the configuration names, the catalogue knows and the providers listed, keeping the health
    /// and the measurements of `previous`.
    pub fn build(
        config: &Config,
        catalog: &Catalog,
        discovered: &HashMap<String, Vec<Discovered>>,
        opinions: &Opinions,
        previous: &Directory,
        metrics: &Metrics,
    ) -> Directory {
        let mut directory = Directory::default();
        for entry in &config.providers {
            let Some(provider) = Provider::new(entry, previous.provider(&entry.name)).map(Arc::new) else {
                continue;
            };
            let listed = discovered.get(&entry.name).map(Vec::as_slice);
            let models = models_of(entry, catalog, listed);
            let names: HashSet<String> = models.iter().map(|(model, _)| bare(model).to_owned()).collect();
            for (model, facts) in models {
                let mut offer = Offer::new(&provider, &model, facts, previous, metrics);
                offer.quality = opinions.quality(&offer);
                offer.listed = listed.unwrap_or_default().iter().find(|listed| listed.id == model).cloned();
                // A provider may list a model by one of its names and take the others.
                let known = catalog.model(&entry.name, &model);
                let others = known.into_iter().flat_map(|known| std::iter::once(&known.id).chain(&known.aliases));
                let others = others.filter(|name| !names.contains(*name)).map(String::as_str);
                for name in std::iter::once(bare(&model)).chain(others) {
                    directory.by_model.entry(name.to_owned()).or_default().push(directory.offers.len());
                }
                directory.offers.push(Arc::new(offer));
            }
            directory.providers.push(provider);
        }
        directory
    }

    /// The provider of that name.
    pub fn provider(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers.iter().find(|provider| &*provider.name == name)
    }

    /// Every offer of the model called `name`, without a provider's name in front.
    pub fn offers_of(&self, name: &str) -> impl Iterator<Item = &Arc<Offer>> {
        self.by_model.get(bare(name)).into_iter().flatten().filter_map(|index| self.offers.get(*index))
    }

    /// The offer of `model` at `provider`; one that is in no list is made up on the spot, since a provider may serve
    /// more than it lists.
    pub fn offer_at(&self, provider: &Arc<Provider>, model: &str, surface: Surface, metrics: &Metrics) -> Arc<Offer> {
        let listed = self.offers_of(model).find(|offer| offer.provider.name == provider.name);
        listed.cloned().unwrap_or_else(|| {
            Arc::new(Offer {
                provider: provider.clone(),
                model: model.into(),
                facts: Facts::default(),
                quality: Quality::default(),
                listed: None,
                stats: Arc::default(),
                standing: provider.unlisted.clone(),
                metrics: metrics.offer(&provider.name, "other"),
                uri: {
                    let path = match surface {
                        Surface::Chat | Surface::Completions | Surface::Messages | Surface::CountTokens => {
                            wire::chat_path(provider.config.dialect)
                        }
                        Surface::Embeddings => embeddings_path(provider.config.dialect),
                        Surface::Media(endpoint) => endpoint.path(),
                    };
                    provider.uri(path, Some(model))
                },
            })
        })
    }

    /// The name under which clients see an offer: the model's own where only one provider has it.
    pub fn public_name(&self, offer: &Offer) -> String {
        match self.offers_of(&offer.model).count() {
            0 | 1 => offer.model.to_string(),
            _ => format!("{}/{}", offer.provider.name, offer.model),
        }
    }
}

impl Offer {
    fn new(provider: &Arc<Provider>, model: &str, facts: Facts, previous: &Directory, metrics: &Metrics) -> Offer {
        let known = previous.offers_of(model).find(|offer| offer.provider.name == provider.name);
        let dialect = provider.config.dialect;
        let path = match facts.kind {
            Some(Kind::Embedding) => embeddings_path(dialect),
            // Of these APIs only the request knows which it is.
            Some(Kind::Image | Kind::Speech | Kind::Transcription | Kind::Moderation | Kind::Chat) | None => {
                wire::chat_path(dialect)
            }
        };
        Offer {
            provider: provider.clone(),
            model: model.into(),
            facts,
            quality: Quality::default(),
            listed: None,
            stats: known.map(|offer| offer.stats.clone()).unwrap_or_default(),
            standing: known
                .filter(|known| is_same_credentials(&known.provider.credentials, &provider.credentials))
                .map_or_else(|| Arc::new(Standing::new(provider.credentials.len())), |known| known.standing.clone()),
            metrics: metrics.offer(&provider.name, model),
            uri: provider.uri(path, Some(model)),
        }
    }

    /// How it is asked, for `wire`.
    pub fn target(&self) -> wire::Target<'_> {
        wire::Target {
            dialect: self.provider.config.dialect,
            model: &self.model,
            quirks: &self.provider.config.quirks,
            context_window: self.facts.context_window,
            max_output_tokens: self.facts.max_output_tokens,
            thinking: match self.facts.capabilities {
                Capabilities { adaptive_thinking: true, .. } => Thinking::Adaptive,
                Capabilities { reasoning: true, .. } => Thinking::Budget,
                _ => Thinking::Unknown,
            },
        }
    }

    /// What it takes longer to begin than usual because its model is not in memory, in milliseconds; 0 where it is, or
    /// where nobody says. Measured where that happened before, else by the size of its file.
    pub fn cold_start_ms(&self) -> f64 {
        if self.stats.warmth() != Warmth::Cold {
            return 0.0;
        }
        let usual = self.stats.first_content.median_ms().unwrap_or(0.0);
        let by_size = || {
            let bytes = self.listed.as_ref().and_then(|listed| listed.size_bytes)?;
            Some(bytes as f64 / LOAD_BYTES_PER_SECOND * 1e3)
        };
        self.stats.cold.median_ms().map(|cold| (cold - usual).max(0.0)).or_else(by_size).unwrap_or(0.0)
    }

    /// Whether it stands for a name that is in no list, and shares with others of that kind what is known of them.
    pub fn is_unlisted(&self) -> bool {
        Arc::ptr_eq(&self.standing, &self.provider.unlisted)
    }

    /// Its provider's wire format.
    pub fn dialect(&self) -> Dialect {
        self.provider.config.dialect
    }
}

/// Where embeddings are made. A dialect without any is asked where it chats: what goes there is refused before.
fn embeddings_path(dialect: Dialect) -> &'static str {
    wire::embeddings_path(dialect).unwrap_or_else(|| wire::chat_path(dialect))
}

/// The models of one provider: what it listed, or, before it did, what the configuration and the catalogue say.
/// A local provider has only what it lists: the catalogue knows what exists, not what is installed.
fn models_of(entry: &ProviderConfig, catalog: &Catalog, listed: Option<&[Discovered]>) -> Vec<(String, Facts)> {
    let mut models: Vec<(String, Facts)> = Vec::new();
    let mut add = |id: &str, facts: Facts| {
        if !models.iter().any(|(known, _)| known == id) {
            models.push((id.to_owned(), facts));
        }
    };
    for model in &entry.models {
        let mut facts = catalogued(catalog, &entry.name, &model.id);
        facts.context_window = model.context_window.or(facts.context_window);
        facts.price = model.price.clone().or(facts.price);
        facts.kind = facts.kind.or(Some(Kind::Chat));
        add(&model.id, with_listed(facts, listed.unwrap_or_default().iter().find(|listed| listed.id == model.id)));
    }
    match listed {
        Some(listed) => {
            for model in listed {
                add(&model.id, with_listed(catalogued(catalog, &entry.name, &model.id), Some(model)));
            }
        }
        None if entry.is_local && !entry.is_simulated => {}
        None => {
            for model in catalog.models_of(&entry.name) {
                add(&model.id, catalogued(catalog, &entry.name, &model.id));
            }
        }
    }
    if entry.is_local {
        // What a local server passes on to somebody else's machines has a price, and it is not ours to guess.
        let is_remote = |id: &str| listed.unwrap_or_default().iter().any(|listed| listed.id == id && listed.is_remote);
        for (_, facts) in models.iter_mut().filter(|(id, _)| !is_remote(id)) {
            facts.price.get_or_insert_with(Price::free);
        }
    }
    models
}

fn catalogued(catalog: &Catalog, provider: &str, id: &str) -> Facts {
    catalog.model(provider, id).map_or_else(Facts::default, |model| Facts {
        kind: Some(model.kind),
        price: model.price.clone(),
        context_window: model.context_window,
        max_output_tokens: model.max_output_tokens,
        capabilities: model.capabilities,
        quality: model.quality,
    })
}

/// What the provider says of its model completes what the catalogue says; the window of a running server is the one
/// that counts.
fn with_listed(mut facts: Facts, listed: Option<&Discovered>) -> Facts {
    let Some(listed) = listed else { return facts };
    facts.context_window = listed.context_window.or(facts.context_window);
    facts.capabilities.vision = listed.vision.unwrap_or(facts.capabilities.vision);
    facts.capabilities.tools = listed.tools.unwrap_or(facts.capabilities.tools);
    facts.capabilities.reasoning = listed.thinking.unwrap_or(facts.capabilities.reasoning);
    if let Some(is_embedding) = listed.embedding {
        facts.kind = Some(if is_embedding { Kind::Embedding } else { Kind::Chat });
    }
    facts
}
