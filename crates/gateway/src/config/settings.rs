//! The settings: one table, a row each. Parsing, messages, `.env.example` and `docs/configuration.md` come from it.

mod form;

use secrecy::{ExposeSecret, SecretString};

use super::file::Settings;
use super::problem::{Collector, Place, Problem};
use super::variables::Variables;
use super::{AuthMode, CompositePlans, Config, Environment, Fsync, Guard, LogFormat, Strategy, UnknownPrice};

pub(super) use form::Form;

/// Characters that a secret must have: somebody who can try in a loop gets nowhere with 32 random ones.
pub(super) const SHORTEST_SECRET: usize = 32;

/// One setting.
pub(super) struct Setting {
    /// Its key in `gateway.toml`: a section and a name.
    pub(super) key: &'static str,
    /// Its environment variable.
    pub(super) variable: &'static str,
    /// Its value when nobody sets it, as it would be written; `None` if the documentation must say it in words.
    pub(super) default: Option<&'static str>,
    /// What is accepted, and what a value does.
    pub(super) form: Form,
    /// When a change takes effect.
    pub(super) change: Change,
    /// What it is for, in the documents.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test writes the documents"))]
    pub(super) doc: &'static str,
}

impl Setting {
    /// The table of `gateway.toml` that it stands in.
    pub(super) fn section(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(section, _)| section)
    }

    /// Its name in that table.
    pub(super) fn name(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, name)| name)
    }
}

/// When a changed setting takes effect.
pub(super) enum Change {
    /// With the reload, for requests and connections that come after it.
    Live,
    /// With the next start. The function tells whether two configurations differ in it.
    Restart(fn(&Config, &Config) -> bool),
}

/// Every setting, grouped by section, in the order of the documents.
pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        key: "server.host",
        variable: "HOST",
        default: Some("127.0.0.1"),
        form: Form::Address(|config, host| config.host = host),
        change: Change::Restart(|a, b| a.host != b.host),
        doc: "The address to listen on; `0.0.0.0` or `::` for all of this machine's.",
    },
    Setting {
        key: "server.port",
        variable: "PORT",
        default: Some("4000"),
        form: Form::Port(|config, port| config.port = port),
        change: Change::Restart(|a, b| a.port != b.port),
        doc: "The port to listen on; 0 lets the system choose one.",
    },
    Setting {
        key: "server.environment",
        variable: "GATEWAY_ENV",
        default: Some("development"),
        form: Form::Word(&[
            ("development", |config| config.environment = Environment::Development),
            ("production", |config| {
                config.environment = Environment::Production;
                // Machines read these logs. `log.format` stands after this row and so overrides it.
                config.log_format = LogFormat::Json;
            }),
        ]),
        change: Change::Restart(|a, b| a.environment != b.environment),
        doc: "What this gateway is for.",
    },
    Setting {
        key: "server.auth",
        variable: "AUTH",
        default: None,
        form: Form::Word(&[
            ("required", |config| config.auth = AuthMode::Required),
            ("optional", |config| config.auth = AuthMode::Optional),
        ]),
        change: Change::Live,
        doc: "Whether requests need a gateway key. When not set they do once a key was created or when the address can \
              be reached from other machines.",
    },
    Setting {
        key: "server.allow_open_access",
        variable: "ALLOW_OPEN_ACCESS",
        default: Some("false"),
        form: Form::Switch(|config, on| config.allow_open_access = on),
        change: Change::Restart(|a, b| a.allow_open_access != b.allow_open_access),
        doc: "Lets `AUTH=optional` stand on an address that other machines reach: everyone who reaches the port can then \
              spend what your provider keys can.",
    },
    Setting {
        key: "server.admin_key",
        variable: "ADMIN_API_KEY",
        default: None,
        form: Form::Secret(8, |config, key| config.admin_key = Some(key)),
        change: Change::Restart(|a, b| !same_secret(&a.admin_key, &b.admin_key)),
        doc: "Opens the admin API; at least 32 random characters. When not set one is made at the first start, kept as a hash, and shown once.",
    },
    Setting {
        key: "server.insecure_dev",
        variable: "INSECURE_DEV",
        default: Some("false"),
        form: Form::Switch(|config, on| config.insecure_dev = on),
        change: Change::Restart(|a, b| a.insecure_dev != b.insecure_dev),
        doc: "Accepts an admin key that everybody could guess, on a loopback address only.",
    },
    Setting {
        key: "server.shutdown_delay_seconds",
        variable: "SHUTDOWN_DELAY_SECONDS",
        default: Some("0"),
        form: Form::Seconds(0.0, 30.0, |config, time| config.shutdown_delay = time),
        change: Change::Live,
        doc: "Time after SIGTERM or Ctrl-C in which requests are still taken while `/health/ready` says no.",
    },
    Setting {
        key: "server.shutdown_grace_seconds",
        variable: "SHUTDOWN_GRACE_SECONDS",
        default: Some("600"),
        form: Form::Seconds(0.0, 86_400.0, |config, time| config.shutdown_grace = time),
        change: Change::Live,
        doc: "Time that running requests and streams have to finish after SIGTERM or Ctrl-C.",
    },
    Setting {
        key: "server.enable_metrics",
        variable: "ENABLE_METRICS",
        default: Some("true"),
        form: Form::Switch(|config, on| config.enable_metrics = on),
        change: Change::Live,
        doc: "Whether `GET /metrics` answers, for Prometheus.",
    },
    Setting {
        key: "log.level",
        variable: "LOG_LEVEL",
        default: Some("info"),
        form: Form::LogFilter(|config, filter| config.log_level = filter),
        change: Change::Restart(|a, b| a.log_level != b.log_level),
        doc: "How much to log. `error`: someone must act; `warn`: degraded but served; `info`: rare events; `debug`: \
              every request.",
    },
    Setting {
        key: "log.format",
        variable: "LOG_FORMAT",
        default: None,
        form: Form::Word(&[
            ("pretty", |config| config.log_format = LogFormat::Pretty),
            ("json", |config| config.log_format = LogFormat::Json),
        ]),
        change: Change::Restart(|a, b| a.log_format != b.log_format),
        doc: "What log lines look like. When not set: `pretty` in development, `json` in production.",
    },
    Setting {
        key: "routing.strategy",
        variable: "DEFAULT_ROUTING_STRATEGY",
        default: Some("balanced"),
        form: Form::Word(&[
            ("cost", |config| config.routing.strategy = Strategy::Cost),
            ("quality", |config| config.routing.strategy = Strategy::Quality),
            ("latency", |config| config.routing.strategy = Strategy::Latency),
            ("balanced", |config| config.routing.strategy = Strategy::Balanced),
        ]),
        change: Change::Live,
        doc: "What counts for `auto` when a request does not say.",
    },
    Setting {
        key: "routing.weights",
        variable: "ROUTING_WEIGHTS",
        default: None,
        form: Form::Weights(|config, weights| config.routing.weights = Some(weights)),
        change: Change::Live,
        doc: "Weights of `DEFAULT_ROUTING_STRATEGY` in place of its preset.",
    },
    Setting {
        key: "routing.hedge",
        variable: "HEDGE_REQUESTS",
        default: Some("false"),
        form: Form::Switch(|config, on| config.routing.hedge = on),
        change: Change::Live,
        doc: "Whether the strategy `latency` asks a second target when the first is slower than in 95 of 100 cases. At \
              most one request in twenty; the one that loses may cost its prompt.",
    },
    Setting {
        key: "routing.prefer_local",
        variable: "PREFER_LOCAL",
        default: Some("true"),
        form: Form::Switch(|config, on| config.routing.prefer_local = on),
        change: Change::Live,
        doc: "Whether `auto` takes a local model that is nearly as good as the best one.",
    },
    Setting {
        key: "routing.prefer_local_ratio",
        variable: "PREFER_LOCAL_RATIO",
        default: Some("0.7"),
        form: Form::Share(|config, share| config.routing.prefer_local_ratio = share),
        change: Change::Live,
        doc: "The share of the best score from which a local model is nearly as good.",
    },
    Setting {
        key: "routing.local_quality_floor",
        variable: "LOCAL_QUALITY_FLOOR",
        default: None,
        form: Form::Share(|config, share| config.routing.local_quality_floor = Some(share)),
        change: Change::Live,
        doc: "The predicted quality that a local model needs to be taken for being local.",
    },
    Setting {
        key: "routing.max_cost_per_1k_usd",
        variable: "ROUTING_MAX_COST_PER_1K_USD",
        default: None,
        form: Form::Dollars(|config, dollars| config.routing.max_cost_per_1k = Some(dollars)),
        change: Change::Live,
        doc: "The most that a model picked by `auto` and its kin may cost for a thousand tokens, prompt and expected \
              answer together. A model without a known price is not picked then, unless it is local.",
    },
    Setting {
        key: "routing.max_latency_seconds",
        variable: "ROUTING_MAX_LATENCY_SECONDS",
        default: None,
        form: Form::Seconds(0.001, 3_600.0, |config, time| {
            config.routing.max_latency_ms = Some(time.as_secs_f64() * 1e3);
        }),
        change: Change::Live,
        doc: "The longest time to a whole answer that a model picked by `auto` and its kin may be expected to take, as \
              measured. A model that was not measured yet may be picked.",
    },
    Setting {
        key: "routing.sticky",
        variable: "ROUTING_STICKY",
        default: Some("true"),
        form: Form::Switch(|config, on| config.routing.sticky = on),
        change: Change::Live,
        doc: "Whether the turns of a conversation stay with the model that answered first, until one turn needs a \
              better one.",
    },
    Setting {
        key: "routing.composite_plans",
        variable: "COMPOSITE_PLANS",
        default: Some("requested"),
        form: Form::Word(&[
            ("off", |config| config.routing.composite_plans = CompositePlans::Off),
            ("requested", |config| config.routing.composite_plans = CompositePlans::Requested),
            ("automatic", |config| config.routing.composite_plans = CompositePlans::Automatic),
        ]),
        change: Change::Live,
        doc: "Whether several models may work on one request: two cheap ones that must agree, or a cheap one first. \
              `requested`: where `x-routing-plan` asks for it. `automatic`: also where the answers can be compared and \
              it is expected to be worth it; prompts then reach more than one provider.",
    },
    Setting {
        key: "routing.fallback_chain",
        variable: "FALLBACK_CHAIN",
        default: None,
        form: Form::Names(|config, names| config.routing.fallback_chain = names),
        change: Change::Live,
        doc: "Models that `auto` and its kin try in this order when the chosen one fails; others come after them.",
    },
    Setting {
        key: "cache.enabled",
        variable: "CACHE_ENABLED",
        default: Some("true"),
        form: Form::Switch(|config, on| config.cache.enabled = on),
        change: Change::Live,
        doc: "Whether answers are kept and given again to the same question of the same key.",
    },
    Setting {
        key: "cache.ttl_seconds",
        variable: "CACHE_TTL_SECONDS",
        default: Some("3600"),
        form: Form::Seconds(0.01, 31_536_000.0, |config, time| config.cache.ttl = time),
        change: Change::Live,
        doc: "How long an answer is kept, in memory, in the database and in Redis.",
    },
    Setting {
        key: "cache.max_entries",
        variable: "CACHE_MAX_ENTRIES",
        default: Some("10000"),
        form: Form::Count(1, 1_000_000, |config, count| config.cache.max_entries = count),
        change: Change::Live,
        doc: "How many answers are kept; beyond that those go that were not used for longest.",
    },
    Setting {
        key: "cache.max_bytes",
        variable: "CACHE_MAX_BYTES",
        default: Some("67108864"),
        form: Form::Count(1 << 20, usize::MAX >> 1, |config, count| config.cache.max_bytes = count),
        change: Change::Live,
        doc: "How much memory they may take.",
    },
    Setting {
        key: "cache.persist",
        variable: "CACHE_PERSIST",
        default: Some("true"),
        form: Form::Switch(|config, on| config.cache.persist = on),
        change: Change::Live,
        doc: "Whether answers are written to the database and survive a restart. They hold prompts and answers: \
              `false` keeps them in memory, and in Redis where one is set.",
    },
    Setting {
        key: "cache.tool_calls",
        variable: "CACHE_TOOL_CALLS",
        default: Some("false"),
        form: Form::Switch(|config, on| config.cache.tool_calls = on),
        change: Change::Live,
        doc: "Whether answers that want tools called are kept, for the very same request.",
    },
    Setting {
        key: "cache.semantic",
        variable: "CACHE_SEMANTIC",
        default: Some("true"),
        form: Form::Switch(|config, on| config.cache.semantic = on),
        change: Change::Live,
        doc: "Whether an answer may also serve a question that means the same in other words.",
    },
    Setting {
        key: "cache.similarity_threshold",
        variable: "CACHE_SIMILARITY_THRESHOLD",
        default: Some("0.95"),
        form: Form::Share(|config, share| config.cache.threshold = share),
        change: Change::Live,
        doc: "The similarity from which two questions may be one, on a scale that is the same for every embedding \
              model. A request may raise it by `x-cache-threshold`, never lower it.",
    },
    Setting {
        key: "cache.guard",
        variable: "CACHE_GUARD",
        default: Some("standard"),
        form: Form::Word(&[
            ("standard", |config| config.cache.guard = Guard::Standard),
            ("strict", |config| config.cache.guard = Guard::Strict),
        ]),
        change: Change::Live,
        doc: "How much two questions may differ in their words. `strict`: every word that carries meaning needs its \
              counterpart.",
    },
    Setting {
        key: "cache.semantic_turns",
        variable: "CACHE_SEMANTIC_TURNS",
        default: Some("1"),
        form: Form::Count(1, 64, |config, count| config.cache.semantic_turns = count),
        change: Change::Live,
        doc: "How many messages of the user a conversation may have for its last one to be compared by meaning; all \
              before it must be the same.",
    },
    Setting {
        key: "cache.embedding_model",
        variable: "CACHE_EMBEDDING_MODEL",
        default: None,
        form: Form::Model(|config, model| config.cache.embedding_model = Some(model)),
        change: Change::Restart(|a, b| a.cache.embedding_model != b.cache.embedding_model),
        doc: "A provider's embedding model in place of the one inside of the gateway. Its scale has to be measured once, \
              by `llm-gateway cache calibrate`; until then no meanings are compared.",
    },
    Setting {
        key: "cache.verify_rate",
        variable: "CACHE_VERIFY_RATE",
        default: Some("0.01"),
        form: Form::Share(|config, share| config.cache.verify_rate = share),
        change: Change::Live,
        doc: "The share of semantic hits that is checked by asking the model all the same, behind the request.",
    },
    Setting {
        key: "cache.verify_paid",
        variable: "CACHE_VERIFY_PAID",
        default: Some("false"),
        form: Form::Switch(|config, on| config.cache.verify_paid = on),
        change: Change::Live,
        doc: "Whether that may cost money. Without, only models are asked that run on your own machines or are free.",
    },
    Setting {
        key: "cache.max_error_rate",
        variable: "CACHE_MAX_ERROR_RATE",
        default: Some("0.02"),
        form: Form::Share(|config, share| config.cache.max_error_rate = share),
        change: Change::Live,
        doc: "The share of checked hits that may be wrong: beyond it the threshold is tightened.",
    },
    Setting {
        key: "timeouts.connect_seconds",
        variable: "CONNECT_TIMEOUT_SECONDS",
        default: Some("5"),
        form: Form::Seconds(0.01, 3_600.0, |config, time| config.timeouts.connect = time),
        change: Change::Restart(|a, b| a.timeouts.connect != b.timeouts.connect),
        doc: "How long to wait for a connection to a provider.",
    },
    Setting {
        key: "timeouts.headers_seconds",
        variable: "HEADERS_TIMEOUT_SECONDS",
        default: Some("60"),
        form: Form::Seconds(0.01, 86_400.0, |config, time| config.timeouts.headers = time),
        change: Change::Live,
        doc: "How long to wait for the headers of a streamed answer.",
    },
    Setting {
        key: "timeouts.headers_plain_seconds",
        variable: "HEADERS_PLAIN_TIMEOUT_SECONDS",
        default: Some("300"),
        form: Form::Seconds(0.01, 86_400.0, |config, time| config.timeouts.headers_plain = time),
        change: Change::Live,
        doc: "How long to wait for the headers of a plain answer, which come when the model has finished.",
    },
    Setting {
        key: "timeouts.first_content_seconds",
        variable: "FIRST_CONTENT_TIMEOUT_SECONDS",
        default: Some("60"),
        form: Form::Seconds(0.01, 86_400.0, |config, time| config.timeouts.first_content = time),
        change: Change::Live,
        doc: "How long to wait, from a stream's headers on, for its first content. Another provider is asked then.",
    },
    Setting {
        key: "timeouts.idle_seconds",
        variable: "IDLE_TIMEOUT_SECONDS",
        default: Some("60"),
        form: Form::Seconds(0.01, 86_400.0, |config, time| config.timeouts.idle = time),
        change: Change::Live,
        doc: "How long an answer that has begun may stand still.",
    },
    Setting {
        key: "timeouts.total_seconds",
        variable: "TOTAL_TIMEOUT_SECONDS",
        default: Some("600"),
        form: Form::Seconds(0.01, 86_400.0, |config, time| config.timeouts.total = time),
        change: Change::Live,
        doc: "How long a plain request may take, retries included.",
    },
    Setting {
        key: "timeouts.stream_total_seconds",
        variable: "STREAM_TOTAL_TIMEOUT_SECONDS",
        default: Some("900"),
        form: Form::Seconds(0.01, 86_400.0, |config, time| config.timeouts.stream_total = time),
        change: Change::Live,
        doc: "How long a streamed request may take, retries included.",
    },
    Setting {
        key: "upstream.coalesce",
        variable: "COALESCE",
        default: Some("true"),
        form: Form::Switch(|config, on| config.upstream.coalesce = on),
        change: Change::Live,
        doc: "Whether identical requests of one key that are in flight together, and whose answer does not depend on \
              chance, need one call.",
    },
    Setting {
        key: "upstream.ca_file",
        variable: "UPSTREAM_CA_FILE",
        default: None,
        form: Form::Path(|config, path| config.upstream.ca_file = Some(path)),
        change: Change::Restart(|a, b| a.upstream.ca_file != b.upstream.ca_file),
        doc: "Certificate authorities that providers are trusted by besides the system's, as PEM.",
    },
    Setting {
        key: "upstream.fallback_on_content_filter",
        variable: "FALLBACK_ON_CONTENT_FILTER",
        default: Some("false"),
        form: Form::Switch(|config, on| config.upstream.fallback_on_content_filter = on),
        change: Change::Live,
        doc: "Whether a prompt that one provider's content filter refuses is tried at the next.",
    },
    Setting {
        key: "stream.keepalive_after_seconds",
        variable: "KEEPALIVE_AFTER_SECONDS",
        default: Some("15"),
        form: Form::Seconds(0.01, 3_600.0, |config, time| config.keepalive_after = time),
        change: Change::Live,
        doc: "Silence after which a stream's client gets headers and keep-alive comments, so that nothing between the \
              two cuts the connection.",
    },
    Setting {
        key: "limits.body_bytes",
        variable: "BODY_LIMIT_BYTES",
        default: Some("33554432"),
        form: Form::Count(1_024, 1 << 30, |config, count| config.limits.body_bytes = count),
        change: Change::Live,
        doc: "The largest request body that is read, in bytes.",
    },
    Setting {
        key: "limits.body_read_seconds",
        variable: "BODY_READ_TIMEOUT_SECONDS",
        default: Some("60"),
        form: Form::Seconds(0.01, 3_600.0, |config, time| config.limits.body_read = time),
        change: Change::Live,
        doc: "How long a request body may take to arrive.",
    },
    Setting {
        key: "limits.header_read_seconds",
        variable: "HEADER_READ_TIMEOUT_SECONDS",
        default: Some("10"),
        form: Form::Seconds(0.01, 3_600.0, |config, time| config.limits.header_read = time),
        change: Change::Live,
        doc: "How long a request's headers may take to arrive.",
    },
    Setting {
        key: "limits.keep_alive_seconds",
        variable: "KEEP_ALIVE_SECONDS",
        default: Some("75"),
        form: Form::Seconds(0.01, 3_600.0, |config, time| config.limits.keep_alive = time),
        change: Change::Live,
        doc: "How long a client's idle connection is kept.",
    },
    Setting {
        key: "limits.client_stall_seconds",
        variable: "CLIENT_STALL_SECONDS",
        default: Some("30"),
        form: Form::Seconds(0.01, 3_600.0, |config, time| config.limits.client_stall = time),
        change: Change::Live,
        doc: "How long a client may take no byte of its answer before it is cut off.",
    },
    Setting {
        key: "limits.connections",
        variable: "MAX_CONNECTIONS",
        default: Some("4096"),
        form: Form::Count(1, 1_000_000, |config, count| config.limits.connections = count),
        change: Change::Restart(|a, b| a.limits.connections != b.limits.connections),
        doc: "How many client connections may be open at one time.",
    },
    Setting {
        key: "limits.concurrent_requests",
        variable: "MAX_CONCURRENT_REQUESTS",
        default: Some("4096"),
        form: Form::Count(1, 1_000_000, |config, count| config.limits.concurrent_requests = count),
        change: Change::Live,
        doc: "How many requests may run at one time; more are refused with 503 and `Retry-After`.",
    },
    Setting {
        key: "limits.memory_bytes",
        variable: "MEMORY_LIMIT_BYTES",
        default: None,
        form: Form::Count(1 << 20, usize::MAX >> 1, |config, count| config.limits.memory_bytes = Some(count as u64)),
        change: Change::Live,
        doc: "Memory that the process may occupy; above 95 % of it new requests are refused. When not set: what the \
              control group allows.",
    },
    Setting {
        key: "storage.data_dir",
        variable: "DATA_DIR",
        default: Some("./data"),
        form: Form::Path(|config, path| config.storage.data_dir = path),
        change: Change::Restart(|a, b| a.storage.data_dir != b.storage.data_dir),
        doc: "Where this gateway keeps its journal of money and its SQLite database. One running gateway a folder.",
    },
    Setting {
        key: "storage.database_url",
        variable: "DATABASE_URL",
        default: None,
        form: Form::Url(&["postgresql", "postgres"], |config, url| config.storage.database_url = Some(url)),
        change: Change::Restart(|a, b| !same_secret(&a.storage.database_url, &b.storage.database_url)),
        doc: "A PostgreSQL database instead of SQLite; replicas share it.",
    },
    Setting {
        key: "storage.redis_url",
        variable: "REDIS_URL",
        default: None,
        form: Form::Url(&["redis", "rediss"], |config, url| config.storage.redis_url = Some(url)),
        change: Change::Restart(|a, b| !same_secret(&a.storage.redis_url, &b.storage.redis_url)),
        doc: "A Redis in which replicas share rate limits and budgets.",
    },
    Setting {
        key: "storage.redis_timeout_seconds",
        variable: "REDIS_TIMEOUT_SECONDS",
        default: Some("0.05"),
        form: Form::Seconds(0.001, 10.0, |config, time| config.storage.redis_timeout = time),
        change: Change::Restart(|a, b| a.storage.redis_timeout != b.storage.redis_timeout),
        doc: "The longest that a call to Redis may take: beyond it Redis counts as away.",
    },
    Setting {
        key: "storage.replicas",
        variable: "REPLICAS",
        default: Some("1"),
        form: Form::Count(1, 10_000, |config, count| config.storage.replicas = count),
        change: Change::Restart(|a, b| a.storage.replicas != b.storage.replicas),
        doc: "How many gateways share the Redis. While it is away each allows its part of a rate limit.",
    },
    Setting {
        key: "storage.key_hash_secret",
        variable: "KEY_HASH_SECRET",
        default: None,
        form: Form::Secret(SHORTEST_SECRET, |config, secret| config.storage.key_hash_secret = Some(secret)),
        change: Change::Restart(|a, b| !same_secret(&a.storage.key_hash_secret, &b.storage.key_hash_secret)),
        doc: "What gateway keys are hashed with; the same for all replicas. When not set one is made at the first start \
              and kept in the database. Another value makes every key that exists useless.",
    },
    Setting {
        key: "storage.ledger_fsync",
        variable: "LEDGER_FSYNC",
        default: Some("interval"),
        form: Form::Word(&[
            ("interval", |config| config.storage.ledger_fsync = Fsync::Interval),
            ("always", |config| config.storage.ledger_fsync = Fsync::Always),
        ]),
        change: Change::Restart(|a, b| a.storage.ledger_fsync != b.storage.ledger_fsync),
        doc: "When the journal of money reaches the disk itself. `interval`: ten times a second; a crash of the gateway \
              loses nothing, a power failure at most that. `always`: before each request goes to a provider.",
    },
    Setting {
        key: "budget.global_monthly_usd",
        variable: "GLOBAL_MONTHLY_USD_BUDGET",
        default: None,
        form: Form::Dollars(|config, amount| config.budget.global_usd = Some(amount)),
        change: Change::Live,
        doc: "What all requests together may cost in a calendar month (UTC).",
    },
    Setting {
        key: "budget.global_monthly_tokens",
        variable: "GLOBAL_MONTHLY_TOKEN_BUDGET",
        default: None,
        form: Form::Count(1, i64::MAX as usize, |config, count| {
            config.budget.global_tokens = i64::try_from(count).ok()
        }),
        change: Change::Live,
        doc: "Tokens, input and output, that all requests together may use in a calendar month (UTC).",
    },
    Setting {
        key: "budget.unknown_price",
        variable: "UNKNOWN_PRICE",
        default: Some("refuse"),
        form: Form::Word(&[
            ("refuse", |config| config.budget.unknown_price = UnknownPrice::Refuse),
            ("allow", |config| config.budget.unknown_price = UnknownPrice::Allow),
        ]),
        change: Change::Live,
        doc: "What happens to a request for a model whose price is not known when a budget in US dollars applies. \
              `refuse`: it is refused. `allow`: it goes out and counts against token budgets only.",
    },
    Setting {
        key: "budget.assumed_output_tokens",
        variable: "ASSUMED_OUTPUT_TOKENS",
        default: Some("4096"),
        form: Form::Count(1, 10_000_000, |config, count| config.budget.assumed_output_tokens = count as u64),
        change: Change::Live,
        doc: "The length of an answer for which money is reserved when a request sets no `max_tokens`.",
    },
    Setting {
        key: "budget.webhook_url",
        variable: "BUDGET_WEBHOOK_URL",
        default: None,
        form: Form::Url(&["https", "http"], |config, url| config.budget.webhook_url = Some(url)),
        change: Change::Live,
        doc: "Gets a POST of JSON when 80, 95 and 100 % of a budget are used.",
    },
    Setting {
        key: "health.interval_seconds",
        variable: "HEALTH_INTERVAL_SECONDS",
        default: Some("30"),
        form: Form::Seconds(0.01, 86_400.0, |config, time| config.health_interval = time),
        change: Change::Live,
        doc: "Time between two health checks of a provider.",
    },
];

/// Sets every setting that has a default to it.
pub(super) fn apply_defaults(config: &mut Config) {
    for setting in SETTINGS {
        let applied = setting.default.map_or(Ok(()), |text| setting.form.apply(config, text));
        debug_assert_eq!(applied, Ok(()), "the default of {}", setting.key);
    }
}

/// Sets what the variables say, and what the file says where they say nothing.
pub(super) fn apply(config: &mut Config, variables: Variables<'_>, file: &Settings, problems: &mut Collector) {
    for setting in SETTINGS {
        let in_file = file.get(setting.key);
        // What is quoted in a message is what was written, not what `${NAME}` in it stands for: that may be a key.
        let (text, written) = match (variables.get(setting.variable), in_file) {
            (Some(found), _) => (found.text, found.text),
            (None, Some(value)) => (value.text.as_str(), value.written.as_str()),
            (None, None) => continue,
        };
        if let Err(wrong) = setting.form.apply(config, text) {
            let (name, place) = origin(setting.key, variables, file);
            let shown =
                if setting.form.is_secret() { "the value".to_owned() } else { format!("`{}`", shortened(written)) };
            let problem = format!("{shown} {wrong}");
            problems.add(Problem { place, name, problem, hint: format!("accepted: {}", setting.form) });
        }
    }
}

/// The name under which a setting was written, and where; its variable if it was not.
pub(super) fn origin(key: &str, variables: Variables<'_>, file: &Settings) -> (String, Place) {
    let variable = SETTINGS.iter().find(|setting| setting.key == key).map_or(key, |setting| setting.variable);
    match (variables.get(variable), file.get(key)) {
        (Some(found), _) => (variable.to_owned(), found.place),
        (None, Some(value)) => (key.to_owned(), value.place.clone()),
        (None, None) => (variable.to_owned(), Place::Whole),
    }
}

/// The keys of the settings in which two configurations differ and which only another start puts in force.
pub fn restart_needed(before: &Config, after: &Config) -> Vec<&'static str> {
    let differs = |setting: &&Setting| match setting.change {
        Change::Live => false,
        Change::Restart(differs) => differs(before, after),
    };
    SETTINGS.iter().filter(differs).map(|setting| setting.key).collect()
}

fn same_secret(a: &Option<SecretString>, b: &Option<SecretString>) -> bool {
    a.as_ref().map(SecretString::expose_secret) == b.as_ref().map(SecretString::expose_secret)
}

/// As much of a wrong value as a message needs.
fn shortened(text: &str) -> String {
    const ENOUGH: usize = 60;
    match text.char_indices().nth(ENOUGH) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
