//! What an operator notices: what is accepted, what wins, and what the messages say.

use std::time::Duration;

use proptest::{proptest, test_runner::Config as ProptestConfig};
use secrecy::ExposeSecret;

use super::settings::{Form, SETTINGS};
use super::*;

/// Sources with these variables and this file.
fn sources(variables: &[(&str, &str)], file: &str) -> Sources {
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sources { environment, file: Some(("gateway.toml".into(), file.to_owned())), ..Sources::default() }
}

fn load(variables: &[(&str, &str)], file: &str) -> Config {
    Config::load(&sources(variables, file)).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(variables: &[(&str, &str)], file: &str) -> String {
    Config::load(&sources(variables, file)).unwrap_err().to_string()
}

fn one_problem(file: &str) -> String {
    let problems = problems(&[], file);
    problems.strip_prefix("1 problem in the configuration\n  ").unwrap_or_else(|| panic!("{problems}")).to_owned()
}

fn provider<'c>(config: &'c Config, name: &str) -> &'c ProviderConfig {
    config.providers.iter().find(|provider| provider.name == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn nothing_set_gives_the_documented_defaults() {
    let config = Config::load(&Sources::default()).unwrap();

    assert_eq!((config.host.to_string().as_str(), config.port), ("127.0.0.1", 4000));
    assert_eq!((config.environment, config.auth), (Environment::Development, AuthMode::Automatic));
    let routing = Routing {
        strategy: Strategy::Balanced,
        weights: None,
        prefer_local: true,
        prefer_local_ratio: 0.7,
        local_quality_floor: None,
        max_cost_per_1k: None,
        max_latency_ms: None,
        sticky: true,
        composite_plans: CompositePlans::Requested,
        fallback_chain: Vec::new(),
        hedge: false,
    };
    assert_eq!(config.routing, routing);
    let seconds = Duration::from_secs;
    let timeouts = Timeouts {
        connect: seconds(5),
        headers: seconds(60),
        headers_plain: seconds(300),
        first_content: seconds(60),
        idle: seconds(60),
        total: seconds(600),
        stream_total: seconds(900),
    };
    assert_eq!(config.timeouts, timeouts);
    let limits = Limits {
        body_bytes: 32 << 20,
        body_read: seconds(60),
        header_read: seconds(10),
        keep_alive: seconds(75),
        client_stall: seconds(30),
        connections: 4096,
        concurrent_requests: 4096,
        memory_bytes: None,
    };
    assert_eq!(config.limits, limits);
    assert_eq!((config.keepalive_after, config.shutdown_grace), (seconds(15), seconds(600)));
    assert_eq!((config.health_interval, config.enable_metrics), (seconds(30), true));
    assert_eq!((config.log_level.as_str(), config.log_format), ("info", LogFormat::Pretty));
    assert!(config.providers.iter().all(|provider| provider.is_local && !provider.is_simulated));
}

#[test]
fn every_default_is_of_the_accepted_form() {
    for setting in SETTINGS {
        let default = setting.default.unwrap_or("");
        let applied = setting.form.apply(&mut Config::default(), default);
        assert!(setting.default.is_none() || applied == Ok(()), "{}", setting.key);
    }
}

#[test]
fn no_two_settings_share_a_name() {
    for (index, setting) in SETTINGS.iter().enumerate() {
        let earlier = &SETTINGS[..index];
        assert!(earlier.iter().all(|other| other.key != setting.key && other.variable != setting.variable));
        assert!(!setting.name().is_empty() && !setting.section().is_empty(), "{}", setting.key);
    }
}

#[test]
fn a_bad_value_of_any_setting_is_refused_with_its_name_and_the_accepted_form() {
    for setting in SETTINGS {
        let bad: &[&str] = match setting.form {
            Form::Address(_) => &["example.com", "127.0.0.1:4000", "999.0.0.1"],
            Form::Port(_) => &["http", "65536", "-1", "4000.5"],
            Form::Count(..) => &["many", "0", "-1", "1e3", "99999999999999999999"],
            Form::Seconds(..) => &["soon", "-1", "NaN", "inf", "31536001", "10s"],
            Form::Share(_) => &["most", "1.01", "-0.1", "NaN"],
            Form::Switch(_) => &["yes", "1", "TRUE"],
            Form::Word(_) => &["whatever", "Optional", "none"],
            Form::LogFilter(_) => &["loud", "gateway=loud", "info,verbose"],
            Form::Model(_) => &["model", "/model", "provider/"],
            Form::Path(_) => &[],
            Form::Dollars(_) => &["much", "0", "-1", "1e3", "$5"],
            Form::Url(..) => &["localhost", "ftp://localhost/", "not a url"],
            Form::Weights(_) => &["balanced", "cost=1", "cost=0.5,quality=0.3,latency=0.3", "cost=1,cost=0,quality=0"],
            Form::Names(_) => &["a,,b", ","],
            Form::Secret(..) => &["brief", "a secret of words with spaces in between"],
        };
        for bad in bad {
            let found = Config::load(&sources(&[(setting.variable, bad)], "")).unwrap_err();
            let found: Vec<&Problem> = found.iter().collect();
            assert_eq!(found.len(), 1, "{} = {bad}", setting.variable);
            assert_eq!((found[0].name.as_str(), &found[0].place), (setting.variable, &Place::Environment));
            let quoted = found[0].problem.contains(bad);
            assert_eq!(quoted, !setting.form.is_secret(), "{}", found[0].problem);
            assert_eq!(found[0].hint, format!("accepted: {}", setting.form));
        }
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let file = "[timeouts]\nidle_second = 5\ntotal_seconds = \"long\"\n\n[[provider]]\nname = \"x\"\nlocal = 3\n";

    let text = problems(&[("PORT", "http"), ("LOG_FORMAT", "xml"), ("OPENAI_API_KEY", "two words")], file);

    assert_eq!(
        text,
        "7 problems in the configuration\n  \
         timeouts.idle_second (gateway.toml line 2): is not known\n    \
         did you mean `timeouts.idle_seconds`?\n  \
         provider.local (gateway.toml line 7): `3` cannot be used here\n    \
         accepted: `true` or `false`\n  \
         PORT (environment): `http` is not a port\n    \
         accepted: a whole number from 0 to 65535\n  \
         LOG_FORMAT (environment): `xml` is not one of the accepted words\n    \
         accepted: `pretty`, `json`\n  \
         timeouts.total_seconds (gateway.toml line 3): `long` is not a number of seconds\n    \
         accepted: seconds, from 0.01 to 86400\n  \
         OPENAI_API_KEY (environment): is empty or holds a character that no key has\n    \
         accepted: letters, digits and punctuation, without spaces or quotes around them\n  \
         provider.name (gateway.toml line 6): `x` is not in the catalogue, and `dialect` or `base_url` is missing\n    \
         add `dialect = \"openai\"` and `base_url = \"http://…\"`"
    );
}

#[test]
fn the_environment_wins_over_dotenv_over_the_file_over_the_default() {
    let mut found = sources(&[("PORT", "1")], "[server]\nport = 3\n[timeouts]\nidle_seconds = 3\ntotal_seconds = 3\n");
    found.dotenv = [("PORT", "2"), ("IDLE_TIMEOUT_SECONDS", "2")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();

    let config = Config::load(&found).unwrap();

    assert_eq!(config.port, 1);
    assert_eq!(config.timeouts.idle, Duration::from_secs(2));
    assert_eq!(config.timeouts.total, Duration::from_secs(3));
    assert_eq!(config.timeouts.connect, Duration::from_secs(5));
}

#[test]
fn an_empty_variable_counts_as_not_set_and_hides_dotenv() {
    let mut found = sources(&[("OPENAI_API_KEY", " "), ("PORT", "")], "[server]\nport = 3\n");
    found.dotenv = [("OPENAI_API_KEY", "sk-1"), ("PORT", "2")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();

    let config = Config::load(&found).unwrap();

    assert_eq!(config.port, 3);
    assert!(config.providers.iter().all(|provider| provider.name != "openai"));
}

#[test]
fn production_logs_json_unless_told_otherwise() {
    assert_eq!(load(&[("GATEWAY_ENV", "production")], "").log_format, LogFormat::Json);
    let told = load(&[("GATEWAY_ENV", "production"), ("LOG_FORMAT", "pretty")], "");
    assert_eq!((told.environment, told.log_format), (Environment::Production, LogFormat::Pretty));
}

#[test]
fn open_access_on_an_address_that_others_reach_needs_the_operators_word() {
    let text = problems(&[("HOST", "0.0.0.0"), ("AUTH", "optional")], "");
    assert_eq!(
        text,
        "1 problem in the configuration\n  \
         AUTH (environment): `optional`, and other machines reach `0.0.0.0`: all of them could spend your money\n    \
         leave it out so that a key is needed, or set `ALLOW_OPEN_ACCESS=true` if that is what you want"
    );
    assert!(
        problems(&[], "[server]\nhost = \"::\"\nauth = \"optional\"\n").contains("server.auth (gateway.toml line 3)")
    );

    for host in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "localhost"] {
        load(&[("HOST", host), ("AUTH", "optional")], "");
    }
    load(&[("HOST", "0.0.0.0")], "");
    load(&[("HOST", "0.0.0.0"), ("AUTH", "optional"), ("ALLOW_OPEN_ACCESS", "true")], "");
}

#[test]
fn an_admin_key_that_everybody_could_guess_stops_the_start() {
    for known in [
        "gw-admin-change-me",
        "gw-admin-change-me-gw-admin-change-me",
        "sk-1234sk-1234sk-1234sk-1234sk-1234",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        let text = problems(&[("ADMIN_API_KEY", known)], "");
        assert!(text.contains("ADMIN_API_KEY (environment): the value is short, or one that"), "{text}");
        assert!(!text.contains(known));
        load(&[("ADMIN_API_KEY", known), ("INSECURE_DEV", "true")], "");
        problems(&[("ADMIN_API_KEY", known), ("INSECURE_DEV", "true"), ("HOST", "0.0.0.0")], "");
    }
    load(&[("ADMIN_API_KEY", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b")], "");
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_what_was_meant() {
    assert_eq!(
        one_problem("\n[serve]\nport = 1\n"),
        "serve (gateway.toml line 2): is not known\n    did you mean `server`?"
    );
    assert_eq!(one_problem("port = 1\n"), "port (gateway.toml line 1): is not known\n    did you mean `server.port`?");
    assert_eq!(
        one_problem("[server]\nLOG_LEVEL = \"info\"\n"),
        "server.LOG_LEVEL (gateway.toml line 2): is not known\n    did you mean `log.level`?"
    );
    assert_eq!(
        one_problem("[routing]\nzzzzzz = 1\n"),
        "routing.zzzzzz (gateway.toml line 2): is not known\n    \
         accepted: `strategy`, `weights`, `hedge`, `prefer_local`, `prefer_local_ratio`, `local_quality_floor`, \
         `max_cost_per_1k_usd`, `max_latency_seconds`, `sticky`, `composite_plans`, `fallback_chain`"
    );
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    let text = one_problem("[server]\nport = \n");
    assert!(text.starts_with("syntax (gateway.toml line 2): "), "{text}");
    assert!(one_problem("[log]\nlevel = \"info\"\nlevel = \"warn\"\n").contains("line 3): duplicate key"));
    assert!(one_problem("[server]\nport = [1]\n").contains("is of the type array"));
    assert_eq!(load(&[], "\u{feff}[server]\r\nport = 0x10\r\n").port, 16);
    assert!(one_problem("server = 1\n").contains("accepted: a table"));
}

#[test]
fn four_lines_make_a_provider() {
    let config = load(&[], "[[provider]]\nname = \"vllm\"\ndialect = \"openai\"\nbase_url = \"http://gpu:8000/v1/\"\n");

    let vllm = provider(&config, "vllm");
    assert_eq!((vllm.dialect, vllm.base_url.as_str()), (Dialect::OpenAi, "http://gpu:8000/v1"));
    assert_eq!((&vllm.auth, vllm.is_local, vllm.title.as_str()), (&catalog::Auth::None, false, "vllm"));
}

#[test]
fn a_key_enables_a_provider_and_its_lack_is_told() {
    let without = load(&[], "");
    let variables: Vec<&str> = without.missing.iter().map(|missing| missing.variable.as_str()).collect();
    assert!(variables.contains(&"OPENAI_API_KEY") && variables.contains(&"GROQ_API_KEY"), "{variables:?}");

    let with = load(&[("OPENAI_API_KEY", " sk-1\n"), ("OPENAI_BASE_URL", "https://eu.example/v1")], "");
    let openai = provider(&with, "openai");
    assert_eq!(openai.credentials[0].key.expose_secret(), "sk-1");
    assert_eq!((openai.base_url.as_str(), &openai.auth), ("https://eu.example/v1", &catalog::Auth::Bearer));
    assert!(with.missing.iter().all(|missing| missing.variable != "OPENAI_API_KEY"));
}

#[test]
fn a_provider_of_the_file_waits_for_the_key_it_names_and_takes_the_usual_one_unasked() {
    let four_lines = "[[provider]]\nname = \"my-gpu\"\ndialect = \"openai\"\nbase_url = \"http://a\"\n";
    assert!(provider(&load(&[], four_lines), "my-gpu").credentials.is_empty());
    let with = load(&[("MY_GPU_API_KEY", "k"), ("MY_GPU_BASE_URL", "http://b")], four_lines);
    assert_eq!(provider(&with, "my-gpu").credentials[0].key.expose_secret(), "k");
    assert_eq!(provider(&with, "my-gpu").base_url, "http://b");

    let named = format!("{four_lines}key_env = \"K\"\n");
    let without = load(&[], &named);
    assert!(without.providers.iter().all(|provider| provider.name != "my-gpu"));
    let missing = MissingProvider { name: "my-gpu".to_owned(), title: "my-gpu".to_owned(), variable: "K".to_owned() };
    assert!(without.missing.contains(&missing));
    assert!(!provider(&load(&[("K", "k")], &named), "my-gpu").credentials.is_empty());
}

#[test]
fn a_provider_can_have_several_keys_with_weights() {
    let file = "[[provider]]\nname = \"openai\"\n[[provider.credential]]\nkey_env = \"SECOND\"\nweight = 3\n\
                [[provider.credential]]\nkey = \"sk-3\"\n";
    let config = load(&[("OPENAI_API_KEY", "sk-1"), ("SECOND", "sk-2")], file);
    let keys: Vec<_> =
        provider(&config, "openai").credentials.iter().map(|one| (one.key.expose_secret(), one.weight)).collect();
    assert_eq!(keys, [("sk-1", 1), ("sk-2", 3), ("sk-3", 1)]);

    let text = problems(&[("OPENAI_API_KEY", "sk-1")], file);
    assert!(text.contains("has no key") && text.contains("key_env"), "{text}");
}

#[test]
fn a_table_changes_a_provider_of_the_catalogue_and_the_environment_still_wins() {
    let file = "[[provider]]\nname = \"openai\"\nkey = \"sk-file\"\nbase_url = \"https://file.example\"\nquirks = [\"max_tokens_only\"]\n";

    let from_file = load(&[], file);
    let openai = provider(&from_file, "openai");
    assert_eq!(openai.credentials[0].key.expose_secret(), "sk-file");
    assert_eq!(openai.base_url, "https://file.example");
    assert!(openai.quirks.contains(&Quirk::MaxTokensOnly));

    let both = load(&[("OPENAI_API_KEY", "sk-env"), ("OPENAI_BASE_URL", "https://env.example")], file);
    let openai = provider(&both, "openai");
    assert_eq!(openai.credentials[0].key.expose_secret(), "sk-env");
    assert_eq!(openai.base_url, "https://env.example");
}

#[test]
fn ollama_is_there_without_a_key_and_its_url_has_two_variables() {
    assert_eq!(provider(&load(&[], ""), "ollama").base_url, "http://localhost:11434");
    assert_eq!(provider(&load(&[("OLLAMA_URL", "http://a:1/")], ""), "ollama").base_url, "http://a:1");
    assert_eq!(provider(&load(&[("OLLAMA_BASE_URL", "http://b:1")], ""), "ollama").base_url, "http://b:1");
}

#[test]
fn simulated_providers_come_only_when_they_are_named_or_for_a_demo() {
    let count = |config: &Config| config.providers.iter().filter(|provider| provider.is_simulated).count();
    assert_eq!(count(&load(&[], "")), 0);
    assert_eq!(count(&load(&[], "[[provider]]\nname = \"simulated-alpha\"\n")), 1);

    let demo = Config::load(&Sources { demo: true, ..Sources::default() }).unwrap();
    let all = Catalog::embedded().providers().iter().filter(|provider| provider.is_simulated).count();
    assert!(all > 0 && count(&demo) == all);
}

#[test]
fn what_a_provider_cannot_be_is_said() {
    let table = |lines: &str| one_problem(&format!("[[provider]]\n{lines}\n"));
    let vllm = "name = \"vllm\"\ndialect = \"openai\"\n";

    assert!(table("dialect = \"openai\"").contains("has no `name`"));
    assert!(table("name = \"grok\"").contains("did you mean `groq`?"));
    assert!(
        table("name = \"Two Words\"\ndialect = \"openai\"\nbase_url = \"http://a\"")
            .contains("cannot be a provider's name")
    );
    assert!(
        table("name = \"auto\"\ndialect = \"openai\"\nbase_url = \"http://a\"").contains("cannot be a provider's name")
    );
    assert!(
        table("name = \"a\"\ndialect = \"klingon\"\nbase_url = \"http://a\"")
            .contains("`klingon` is not known\n    accepted: `openai`")
    );
    assert!(
        table(&format!("{vllm}base_url = \"http://a\"\nquirks = [\"odd\"]"))
            .contains("`odd` is not known\n    accepted: `usage_in_x_groq`")
    );
    assert!(
        table(&format!("{vllm}base_url = \"http://a\"\nbase_uri = \"\"")).contains("did you mean `provider.base_url`?")
    );
    let secret = table(&format!("{vllm}base_url = \"http://a\"\nkey_env = \"sk-hunter2\""));
    assert!(secret.contains("provider.key_env (gateway.toml line 5): is not the name of a variable"), "{secret}");
    assert!(!secret.contains("hunter2"));
    assert!(table("name = \"groq\"\n[[provider]]\nname = \"groq\"").contains("`groq` stands twice"));
    for url in
        ["localhost:8000", "ftp://a", "http://", "http://user:hunter2@a", "http://a/v1?key=hunter2", "http://a#x", ""]
    {
        let text = table(&format!("{vllm}base_url = \"{url}\""));
        assert!(text.starts_with("provider.base_url (gateway.toml line 4): "), "{text}");
        assert!(!text.contains("hunter2"));
    }
}

#[test]
fn models_of_the_file_keep_what_is_said_of_them() {
    let file = "[[provider]]\nname = \"vllm\"\ndialect = \"openai\"\nbase_url = \"http://a\"\n\
                [[provider.model]]\nid = \"a\"\n[[provider.model]]\nid = \"b\"\ncontext_window = 32_768\n\
                input_usd_per_million = 0.2\noutput_usd_per_million = 1\n";

    let config = load(&[], file);

    let models = &provider(&config, "vllm").models;
    assert_eq!(models[0], ModelConfig { id: "a".to_owned(), context_window: None, price: None });
    assert_eq!((models[1].id.as_str(), models[1].context_window), ("b", Some(32_768)));
    assert_eq!(models[1].price, Some(Price::per_million("0.2", "1").unwrap()));
}

#[test]
fn a_price_that_is_none_is_refused() {
    let model = |lines: &str| {
        let provider = "[[provider]]\nname = \"vllm\"\ndialect = \"openai\"\nbase_url = \"http://a\"\n";
        one_problem(&format!("{provider}[[provider.model]]\n{lines}\n"))
    };

    assert!(model("id = \"a\"\ninput_usd_per_million = 1").contains("line 6): has half a price"));
    assert!(model("id = \"a\"\ncached_input_usd_per_million = 1").contains("has half a price"));
    let bad = model("id = \"a\"\ninput_usd_per_million = \"free\"\noutput_usd_per_million = 1");
    assert!(
        bad.starts_with("provider.model.input_usd_per_million (gateway.toml line 7): `free` is not a price"),
        "{bad}"
    );
    assert!(model("context_window = 1").contains("provider.model (gateway.toml line 5): has no `id`"));
    assert!(model("id = \"a\"\ncontext_window = -1").contains("`-1` cannot be used here"));
}

#[test]
fn aliases_and_groups_are_read() {
    let file = "[aliases]\n\"gpt-4\" = \"openai/gpt-4o\"\n\
                [groups.o]\nkind = \"ordered\"\ntargets = [\"a\", \"b/c\"]\n\
                [groups.w]\nkind = \"weighted\"\ntargets = [{ model = \"a\", weight = 3 }, \"b\"]\n";

    let config = load(&[("OPENAI_API_KEY", "sk")], file);

    assert_eq!(config.aliases, [Alias { name: "gpt-4".to_owned(), target: "openai/gpt-4o".to_owned() }]);
    let group = |name: &str, kind, targets: [(&str, u32); 2]| Group {
        name: name.to_owned(),
        kind,
        targets: targets.map(|(model, weight)| (model.to_owned(), weight)).to_vec(),
    };
    assert_eq!(
        config.groups,
        [group("o", GroupKind::Ordered, [("a", 1), ("b/c", 1)]), group("w", GroupKind::Weighted, [("a", 3), ("b", 1)])]
    );
}

/// TRAPS 25: what is accepted here can be served.
#[test]
fn a_name_that_nobody_can_serve_is_refused() {
    let alias = one_problem("[aliases]\nbest = \"anthropic/claude-opus-4-1\"\n");
    assert!(
        alias.contains("aliases.best (gateway.toml line 2): can never be answered: Anthropic has no key"),
        "{alias}"
    );
    assert!(alias.contains("set `ANTHROPIC_API_KEY`"), "{alias}");
    let group = |targets: &str| format!("[groups.a]\nkind = \"ordered\"\ntargets = {targets}\n");
    assert!(one_problem(&group("[\"openai/a\", \"groq/b\"]")).contains("can never be answered: OpenAI has no key"));
    assert_eq!(load(&[], &group("[\"openai/a\", \"ollama/b\"]")).groups[0].targets.len(), 2);
}

#[test]
fn a_name_that_hides_another_or_goes_in_circles_is_refused() {
    let ordered = |name: &str, targets: &str| format!("[groups.{name}]\nkind = \"ordered\"\ntargets = {targets}\n");

    assert!(one_problem("[aliases]\nauto = \"a\"\n").contains("aliases.auto (gateway.toml line 2): would hide"));
    assert!(one_problem(&ordered("cheap", "[\"a\"]")).contains("groups.cheap (gateway.toml line 1): would hide"));
    assert!(
        one_problem("[aliases]\na = \"b\"\nb = \"c\"\n")
            .contains("aliases.a (gateway.toml line 2): points to an alias")
    );
    assert!(one_problem("[aliases]\na = \"fast\"\n").contains("points to a virtual model"));
    assert!(one_problem("[aliases]\na = \" \"\n").contains("has an empty target"));
    assert!(one_problem(&ordered("a", "[\"a\"]")).contains("points to a group"));
    assert!(one_problem(&ordered("a", "[]")).contains("has no targets"));
    assert!(one_problem(&ordered("a", "[{ model = \"b\", weight = 2 }]")).contains("has a weight"));
    assert!(
        one_problem(&format!("[aliases]\na = \"b\"\n{}", ordered("a", "[\"c\"]")))
            .contains("is the name of an alias, too")
    );
    assert!(
        one_problem("[groups.a]\nkind = \"random\"\ntargets = [\"b\"]\n").contains("`random` is not a kind of group")
    );
    let weighted = "[groups.a]\nkind = \"weighted\"\ntargets = [{ model = \"b\", weight = 0 }]\n";
    assert!(one_problem(weighted).contains("groups.a.targets.weight (gateway.toml line 3): `0` cannot be used here"));
}

#[test]
fn variables_are_filled_in_and_never_quoted() {
    let file =
        "[[provider]]\nname = \"vllm\"\ndialect = \"openai\"\nbase_url = \"http://${GPU}:8000\"\nkey = \"${K}$${K}\"\n";
    let config = load(&[("GPU", "gpu7"), ("K", "secret")], file);
    assert_eq!(provider(&config, "vllm").base_url, "http://gpu7:8000");
    assert_eq!(provider(&config, "vllm").credentials[0].key.expose_secret(), "secret${K}");

    let text = problems(&[("K", "secret")], "[server]\nport = \"${K}\"\nhost = \"${NOT_SET}\"\nauth = \"${\"\n");
    assert!(text.contains("server.port (gateway.toml line 2): `${K}` is not a port"), "{text}");
    assert!(text.contains("server.host (gateway.toml line 3): uses `${NOT_SET}`, which is not set"), "{text}");
    assert!(text.contains("server.auth (gateway.toml line 4): has a `${` without `}`"), "{text}");
    assert!(!text.contains("secret"));
}

#[test]
fn a_secret_shows_in_no_debug_output() {
    let config = load(&[("OPENAI_API_KEY", "sk-hunter2")], "[[provider]]\nname = \"groq\"\nkey = \"gsk-hunter2\"\n");
    assert_eq!(config.providers.iter().filter(|provider| !provider.credentials.is_empty()).count(), 2);
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_change_that_needs_a_restart_is_named() {
    let before = load(&[], "");
    let after = load(&[("PORT", "1"), ("IDLE_TIMEOUT_SECONDS", "1"), ("LOG_LEVEL", "debug")], "");
    assert_eq!(restart_needed(&before, &after), ["server.port", "log.level"]);
    assert!(restart_needed(&after, &after).is_empty());
}

#[test]
fn files_are_found_where_they_are_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let mut locations =
        Locations { environment: Default::default(), directory: folder.path().to_owned(), file: None, demo: false };
    assert_eq!(locations.load().unwrap().port, 4000);

    write("gateway.toml", "[server]\nport = 5\n");
    assert_eq!(locations.load().unwrap().port, 5);

    write("other.toml", "[server]\nport = 6\n");
    write(
        ".env",
        "\u{feff}# a comment\nGATEWAY_CONFIG='other.toml'\nIDLE_TIMEOUT_SECONDS=7\nexport PREFER_LOCAL=false\n",
    );
    let config = locations.load().unwrap();
    assert_eq!((config.port, config.timeouts.idle, config.routing.prefer_local), (6, Duration::from_secs(7), false));

    locations.file = Some(folder.path().join("gateway.toml"));
    assert_eq!(locations.load().unwrap().port, 5);

    locations.file = Some(folder.path().join("absent.toml"));
    write(".env", "PORT=x\nthis line is sk-hunter2\n");
    let text = locations.load().unwrap_err().to_string();
    assert!(text.starts_with("3 problems"), "{text}");
    assert!(text.contains(".env line 2: cannot be understood") && !text.contains("hunter2"), "{text}");
    assert!(text.contains("absent.toml: cannot be read") && text.contains("PORT (.env): `x` is not a port"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_file_makes_loading_panic(text in "\\PC*|(\\[{1,2}(server|provider|groups|aliases|provider.model)\\]{1,2}\n([a-z]{1,8} = [\"0-9a-z${}\\[\\]]{0,9}\n)*)*") {
        let _ = Config::load(&sources(&[], &text));
    }

    #[test]
    fn no_value_makes_loading_panic(index in 0..SETTINGS.len(), text in "\\PC{0,80}") {
        let _ = Config::load(&sources(&[(SETTINGS[index].variable, &text)], ""));
    }
}
