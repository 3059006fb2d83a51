//! The configuration: what people write, turned once into a [`Config`] that cannot be wrong.
//!
//! [`Locations`] says where to look, [`Sources`] is what was found there, [`Config::load`] turns it into a `Config` or
//! into [`Problems`], all of them at once. `settings` is the table that parsing, messages and documents come from;
//! `file` reads `gateway.toml`, `providers` and `names` put its tables together with the catalogue;
//! [`reload`] watches for changes. This is the only place that reads the process environment.

mod file;
mod locations;
mod names;
mod problem;
mod providers;
pub mod reload;
mod settings;
mod variables;

#[cfg(test)]
mod docs;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use catalog::{Catalog, Nanodollars, Price};
use secrecy::{ExposeSecret, SecretString};
use wire::{Dialect, Quirk};

pub use equivalence::Guard;
pub use locations::{Locations, Sources};
pub use names::VIRTUAL_MODELS;
pub use problem::{Place, Problem, Problems};
pub use routing::{Strategy, Weights};
pub use settings::restart_needed;

use problem::Collector;
use variables::Variables;

/// Everything the operator decides, checked and complete.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on; 0 lets the system choose.
    pub port: u16,
    /// What this gateway is for.
    pub environment: Environment,
    /// Whether requests need a gateway key.
    pub auth: AuthMode,
    /// `AUTH=optional` may stand on an address that other machines reach.
    pub allow_open_access: bool,
    /// Opens the admin API; `None` has one made.
    pub admin_key: Option<SecretString>,
    /// An admin key that everybody could guess is accepted.
    pub insecure_dev: bool,
    /// Where things are kept.
    pub storage: Storage,
    /// What may be spent in all, and how it is reckoned.
    pub budget: Budget,
    /// Providers that can be used, those of the catalogue first.
    pub providers: Vec<ProviderConfig>,
    /// Providers that wait for their key.
    pub missing: Vec<MissingProvider>,
    /// How `auto` chooses.
    pub routing: Routing,
    /// Other names for models.
    pub aliases: Vec<Alias>,
    /// Names for lists of models.
    pub groups: Vec<Group>,
    /// What is answered without a provider.
    pub cache: Cache,
    /// How providers are asked.
    pub upstream: Upstream,
    /// How long to wait for providers.
    pub timeouts: Timeouts,
    /// How much to take from clients.
    pub limits: Limits,
    /// Silence in a stream after which the client gets headers and keep-alive comments.
    pub keepalive_after: Duration,
    /// Time in which requests are still taken after the gateway has said that it stops.
    pub shutdown_delay: Duration,
    /// Time that running requests have to finish when the gateway stops.
    pub shutdown_grace: Duration,
    /// Time between two health checks of a provider.
    pub health_interval: Duration,
    /// Whether `GET /metrics` answers.
    pub enable_metrics: bool,
    /// A level or a filter such as `info,gateway=debug`.
    pub log_level: String,
    /// What log lines look like.
    pub log_format: LogFormat,
}

/// What a gateway is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// Somebody works on it.
    Development,
    /// Others rely on it.
    Production,
}

/// Whether requests need a gateway key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Once a key was created, or when other machines reach the address.
    Automatic,
    /// Always.
    Required,
    /// Never; a key that is sent is still checked and accounted to.
    Optional,
}

/// Where things are kept.
#[derive(Clone, Debug)]
pub struct Storage {
    /// The folder of the journal and of SQLite.
    pub data_dir: PathBuf,
    /// PostgreSQL instead of SQLite.
    pub database_url: Option<SecretString>,
    /// Redis, for limits and budgets that replicas share.
    pub redis_url: Option<SecretString>,
    /// The longest that a call to Redis may take: beyond it Redis counts as away.
    pub redis_timeout: Duration,
    /// How many gateways share the Redis.
    pub replicas: usize,
    /// What gateway keys are hashed with; `None` has one made and kept.
    pub key_hash_secret: Option<SecretString>,
    /// When the journal reaches the disk itself.
    pub ledger_fsync: Fsync,
}

/// When the journal reaches the disk itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Every tenth of a second.
    Interval,
    /// Before each request goes to a provider.
    Always,
}

/// What may be spent in all, and how it is reckoned.
#[derive(Clone, Debug)]
pub struct Budget {
    /// US dollars a calendar month.
    pub global_usd: Option<Nanodollars>,
    /// Tokens a calendar month.
    pub global_tokens: Option<i64>,
    /// What happens to a model without a known price when a budget in dollars applies.
    pub unknown_price: UnknownPrice,
    /// Tokens of output that are reserved for when a request sets no limit.
    pub assumed_output_tokens: u64,
    /// Gets alerts.
    pub webhook_url: Option<SecretString>,
}

/// What is answered without a provider.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Whether answers are kept and given again.
    pub enabled: bool,
    /// How long an answer is kept.
    pub ttl: Duration,
    /// The most answers.
    pub max_entries: usize,
    /// The most memory that they take.
    pub max_bytes: usize,
    /// Whether they survive a restart.
    pub persist: bool,
    /// Whether answers that want tools called are kept, for the very same request.
    pub tool_calls: bool,
    /// Whether questions are compared by meaning.
    pub semantic: bool,
    /// The calibrated similarity from which two questions may be one, 0 to 1.
    pub threshold: f64,
    /// How strict the guards are.
    pub guard: Guard,
    /// Messages of the user that a conversation may have to be compared by meaning.
    pub semantic_turns: usize,
    /// A provider's embedding model, `provider/model`, in place of the embedded one.
    pub embedding_model: Option<String>,
    /// The share of semantic hits that is checked, 0 to 1.
    pub verify_rate: f64,
    /// Whether checking may cost money.
    pub verify_paid: bool,
    /// The share of semantic hits that may be wrong, 0 to 1.
    pub max_error_rate: f64,
}

/// How providers are asked.
#[derive(Clone, Debug, Default)]
pub struct Upstream {
    /// Certificate authorities besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether identical requests in flight need one call.
    pub coalesce: bool,
    /// Whether another provider is asked what one's content filter refused.
    pub fallback_on_content_filter: bool,
}

/// What happens to a model without a known price when a budget in dollars applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownPrice {
    /// It is not used.
    Refuse,
    /// It is used, and counts against token budgets only.
    Allow,
}

/// What log lines look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// One provider that can be used.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// The name in `provider/model`, in metrics and logs.
    pub name: String,
    /// The name for people.
    pub title: String,
    /// The wire format it speaks.
    pub dialect: Dialect,
    /// An http or https URL without a trailing slash, user name, query or fragment; `{model}` in its path stands for the
    /// model's name. Empty for a simulated provider
    /// that has no URL of its own: whoever starts it fills it in.
    pub base_url: String,
    /// What stands behind every path, as `api-version=…`.
    pub query: Option<String>,
    /// How the credential travels.
    pub auth: catalog::Auth,
    /// What opens its door; none where it needs none.
    pub credentials: Vec<CredentialConfig>,
    /// How it deviates from its dialect.
    pub quirks: Vec<Quirk>,
    /// Runs on the operator's own machines.
    pub is_local: bool,
    /// Whether it is left alone for a while after failures; without, every request is sent.
    pub has_breaker: bool,
    /// Served by the gateway itself.
    pub is_simulated: bool,
    /// Models that the operator described; the catalogue and the provider's own list come on top.
    pub models: Vec<ModelConfig>,
}

/// One of a provider's keys.
#[derive(Clone, Debug)]
pub struct CredentialConfig {
    /// The key, fit for a header.
    pub key: SecretString,
    /// How often it is used in relation to the others.
    pub weight: u32,
}

/// What the operator says of one model. `None` leaves it to the catalogue and the provider.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The model's name as its provider knows it.
    pub id: String,
    /// Tokens that prompt and answer may have together.
    pub context_window: Option<u64>,
    /// What it costs.
    pub price: Option<Price>,
}

/// A provider that would be used if its key were set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingProvider {
    /// Its name in the catalogue.
    pub name: String,
    /// The name for people.
    pub title: String,
    /// The variable that takes the key.
    pub variable: String,
}

/// How `auto` chooses.
#[derive(Clone, Debug, PartialEq)]
pub struct Routing {
    /// What counts when the request does not say.
    pub strategy: Strategy,
    /// Weights of that strategy in place of its preset.
    pub weights: Option<Weights>,
    /// Whether a local model that is nearly as good wins.
    pub prefer_local: bool,
    /// The share of the best score that is nearly as good, 0 to 1.
    pub prefer_local_ratio: f64,
    /// The predicted quality that a local model needs to be preferred, 0 to 1.
    pub local_quality_floor: Option<f64>,
    /// The most that a model may cost for a thousand tokens of a request's mix.
    pub max_cost_per_1k: Option<Nanodollars>,
    /// The longest predicted latency of a model, in milliseconds.
    pub max_latency_ms: Option<f64>,
    /// Whether the turns of a conversation stay with one model.
    pub sticky: bool,
    /// Whether plans of several models are made.
    pub composite_plans: CompositePlans,
    /// Models to try in this order when the chosen one fails.
    pub fallback_chain: Vec<String>,
    /// Whether slow requests of the strategy `latency` are hedged.
    pub hedge: bool,
}

/// Whether plans of several models are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompositePlans {
    /// Never.
    Off,
    /// Where a request asks for one.
    Requested,
    /// Also where one is expected to be better and answers can be compared.
    Automatic,
}

impl CompositePlans {
    /// The word in settings and the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            CompositePlans::Off => "off",
            CompositePlans::Requested => "requested",
            CompositePlans::Automatic => "automatic",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<CompositePlans> {
        let all = [CompositePlans::Off, CompositePlans::Requested, CompositePlans::Automatic];
        all.into_iter().find(|plans| plans.as_str() == word)
    }
}

/// Another name for a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// What clients ask for.
    pub name: String,
    /// What they get: `provider/model` or a model's bare name.
    pub target: String,
}

/// A name for a list of models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What clients ask for.
    pub name: String,
    /// How the list is used.
    pub kind: GroupKind,
    /// Models and their weights, at least one; an ordered group's weights are all 1.
    pub targets: Vec<(String, u32)>,
}

/// How a group's list is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// The first that works.
    Ordered,
    /// Each as often as its weight says.
    Weighted,
}

/// How long to wait for providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For the headers of a streamed answer.
    pub headers: Duration,
    /// For the headers of a plain answer, which come when the whole answer is there.
    pub headers_plain: Duration,
    /// From the headers to the first content of a streamed answer.
    pub first_content: Duration,
    /// For the next bytes of an answer.
    pub idle: Duration,
    /// For a whole plain request, retries included.
    pub total: Duration,
    /// For a whole streamed request, retries included.
    pub stream_total: Duration,
}

/// How much to take from clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body.
    pub body_bytes: usize,
    /// Time for a request body to arrive.
    pub body_read: Duration,
    /// Time for a request's headers to arrive.
    pub header_read: Duration,
    /// Time that an idle connection is kept.
    pub keep_alive: Duration,
    /// How long a client may take no byte of its answer.
    pub client_stall: Duration,
    /// Connections at one time.
    pub connections: usize,
    /// Requests at one time.
    pub concurrent_requests: usize,
    /// Memory that the process may occupy; `None` leaves it to the control group.
    pub memory_bytes: Option<u64>,
}

impl Config {
    /// Turns what was found into a configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it, in one list.
    pub fn load(sources: &Sources) -> Result<Config, Problems> {
        Config::collect(sources, Collector::default())
    }

    /// Adds to `problems` what is wrong with `sources`; a configuration comes out if that is nothing in all.
    fn collect(sources: &Sources, mut problems: Collector) -> Result<Config, Problems> {
        let variables = Variables { environment: &sources.environment, dotenv: &sources.dotenv };
        let file = file::read(sources.file.as_ref(), variables, &mut problems);

        let mut config = Config::default();
        settings::apply(&mut config, variables, &file.settings, &mut problems);
        config.refuse_open_door(variables, &file.settings, &mut problems);
        config.refuse_known_admin_key(variables, &file.settings, &mut problems);
        (config.providers, config.missing) =
            providers::choose(&Catalog::embedded(), &file.providers, sources.demo, variables, &mut problems);
        (config.aliases, config.groups) = names::check(&file, &config.missing, &mut problems);
        problems.or(config)
    }

    /// Whether other machines reach the address.
    pub fn is_public(&self) -> bool {
        !self.host.to_canonical().is_loopback()
    }

    /// An address that other machines reach without a key needs the operator's word.
    fn refuse_open_door(&self, variables: Variables<'_>, written: &file::Settings, problems: &mut Collector) {
        if !self.is_public() || self.auth != AuthMode::Optional || self.allow_open_access {
            return;
        }
        let (name, place) = settings::origin("server.auth", variables, written);
        problems.add(Problem {
            place,
            name,
            problem: format!(
                "`optional`, and other machines reach `{}`: all of them could spend your money",
                self.host
            ),
            hint: "leave it out so that a key is needed, or set `ALLOW_OPEN_ACCESS=true` if that is what you want"
                .to_owned(),
        });
    }

    /// An admin key that stands in somebody's documentation is none.
    fn refuse_known_admin_key(&self, variables: Variables<'_>, written: &file::Settings, problems: &mut Collector) {
        let Some(key) = &self.admin_key else { return };
        let key = key.expose_secret().to_ascii_lowercase();
        let is_short = key.len() < settings::SHORTEST_SECRET;
        let is_known = ["change-me", "changeme", "sk-1234", "password", "secret", "example", "admin-key"]
            .iter()
            .any(|known| key.contains(known))
            || key.bytes().collect::<BTreeSet<u8>>().len() < FEWEST_LETTERS;
        if !(is_short || is_known) || (self.insecure_dev && !self.is_public()) {
            return;
        }
        let (name, place) = settings::origin("server.admin_key", variables, written);
        problems.add(Problem {
            place,
            name,
            problem: "the value is short, or one that everybody could guess".to_owned(),
            hint: "use a random one of at least 32 characters, as `openssl rand -hex 32` prints, or leave it out and one is made; for work on a \
                   loopback address `INSECURE_DEV=true` lets it pass"
                .to_owned(),
        });
    }
}

/// Different letters that an admin key must have: a random one of 32 hexadecimal digits has 14, give or take.
const FEWEST_LETTERS: usize = 8;

impl Default for Config {
    /// Every setting at its default, without providers.
    fn default() -> Config {
        let mut config = Config::blank();
        settings::apply_defaults(&mut config);
        config
    }
}

impl Config {
    /// Something to apply the table's defaults to. Only what has no default in the table keeps its value from here.
    fn blank() -> Config {
        let zero = Duration::ZERO;
        Config {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            environment: Environment::Development,
            auth: AuthMode::Automatic,
            allow_open_access: false,
            admin_key: None,
            insecure_dev: false,
            storage: Storage {
                data_dir: PathBuf::new(),
                database_url: None,
                redis_url: None,
                redis_timeout: Duration::from_millis(50),
                replicas: 1,
                key_hash_secret: None,
                ledger_fsync: Fsync::Interval,
            },
            budget: Budget {
                global_usd: None,
                global_tokens: None,
                unknown_price: UnknownPrice::Refuse,
                assumed_output_tokens: 0,
                webhook_url: None,
            },
            providers: Vec::new(),
            missing: Vec::new(),
            routing: Routing {
                strategy: Strategy::Balanced,
                prefer_local: false,
                weights: None,
                prefer_local_ratio: 0.0,
                local_quality_floor: None,
                max_cost_per_1k: None,
                max_latency_ms: None,
                sticky: false,
                composite_plans: CompositePlans::Off,
                fallback_chain: Vec::new(),
                hedge: false,
            },
            aliases: Vec::new(),
            groups: Vec::new(),
            cache: Cache {
                enabled: false,
                ttl: zero,
                max_entries: 0,
                max_bytes: 0,
                persist: false,
                tool_calls: false,
                semantic: false,
                threshold: 1.0,
                guard: Guard::Standard,
                semantic_turns: 0,
                embedding_model: None,
                verify_rate: 0.0,
                verify_paid: false,
                max_error_rate: 0.0,
            },
            upstream: Upstream::default(),
            timeouts: Timeouts {
                connect: zero,
                headers: zero,
                headers_plain: zero,
                first_content: zero,
                idle: zero,
                total: zero,
                stream_total: zero,
            },
            limits: Limits {
                body_bytes: 0,
                body_read: zero,
                header_read: zero,
                keep_alive: zero,
                client_stall: zero,
                connections: 0,
                concurrent_requests: 0,
                memory_bytes: None,
            },
            keepalive_after: zero,
            shutdown_delay: zero,
            shutdown_grace: zero,
            health_interval: zero,
            enable_metrics: false,
            log_level: String::new(),
            log_format: LogFormat::Pretty,
        }
    }
}
