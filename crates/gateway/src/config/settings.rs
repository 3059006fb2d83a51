//! The settings: one table, a row each. Parsing, messages, `.env.example` and `docs/configuration.md` come from it.

mod form;

use super::file::Settings;
use super::problem::{Collector, Place, Problem};
use super::variables::Variables;
use super::{AuthMode, Config, Environment, LogFormat, Strategy};

pub(super) use form::Form;

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
        form: Form::Word(&[("optional", |config| config.auth = AuthMode::Optional)]),
        change: Change::Live,
        doc: "Requests need no key. Unless this is set to `optional`, the gateway therefore listens on loopback \
              addresses only; with it, everyone who can reach the port can spend what your provider keys can.",
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
            let problem = format!("`{}` {wrong}", shortened(written));
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

/// As much of a wrong value as a message needs.
fn shortened(text: &str) -> String {
    const ENOUGH: usize = 60;
    match text.char_indices().nth(ENOUGH) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
