//! Writes `.env.example` and `docs/configuration.md` from the settings table and the catalogue, and fails when they
//! are out of date.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use catalog::Catalog;
use serde::de::DeserializeOwned;

use super::providers::{base_url_variables, parse_word};
use super::settings::{Change, SETTINGS, Setting};
use super::{Config, Sources};

const TEMPLATE: &str = include_str!("docs/configuration.md");

#[test]
fn the_documents_are_fresh() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    for (path, text) in [(".env.example", env_example()), ("docs/configuration.md", reference())] {
        let file = root.join(path);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &text).unwrap();
        }
        let is_fresh = std::fs::read_to_string(&file).is_ok_and(|found| found == text);
        assert!(is_fresh, "{path} is out of date: run `UPDATE_DOCS=1 cargo test -p llm-gateway the_documents`");
    }
}

#[test]
fn every_example_of_the_documents_loads() {
    let text = reference();
    let examples: Vec<&str> = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() > 4);

    for example in examples {
        let variables = [("PORT_OF_THE_GATEWAY", "4001"), ("OPENAI_KEY_OF_TEAM_B", "sk-2"), ("OPENAI_API_KEY", "sk-1")];
        let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let file = Some((PathBuf::from("gateway.toml"), example.to_owned()));
        let loaded = Config::load(&Sources { environment, file, ..Sources::default() });
        assert!(loaded.is_ok(), "{}\n{example}", loaded.unwrap_err());
    }
}

fn reference() -> String {
    let catalog = Catalog::embedded();
    let simulated: Vec<&str> = catalog
        .providers()
        .iter()
        .filter(|provider| provider.is_simulated)
        .map(|provider| provider.name.as_str())
        .collect();
    let names: Vec<String> = simulated.iter().map(|name| format!("`{name}`")).collect();
    TEMPLATE
        .replace("{{settings}}\n", &settings_tables())
        .replace("{{providers}}\n", &providers_table(&catalog))
        .replace("{{dialects}}", &words::<wire::Dialect>())
        .replace("{{quirks}}", &words::<wire::Quirk>())
        .replace("{{simulated}}", &names.join(", "))
        .replace("{{a_simulated}}", simulated.first().unwrap())
}

/// The words that a `T` accepts, as its own refusal lists them.
fn words<T: DeserializeOwned>() -> String {
    parse_word::<T>("").err().unwrap()
}

fn sections() -> impl Iterator<Item = &'static [Setting]> {
    SETTINGS.chunk_by(|a, b| a.section() == b.section())
}

fn settings_tables() -> String {
    let mut text = String::new();
    for rows in sections() {
        writeln!(text, "### `[{}]`\n", rows[0].section()).unwrap();
        text.push_str("| Key | Variable | Default | Accepted | What it does |\n| --- | --- | --- | --- | --- |\n");
        for row in rows {
            let (name, Setting { variable, form, doc, .. }) = (row.name(), row);
            let default = row.default.map_or("not set".to_owned(), |default| format!("`{default}`"));
            let restart = if matches!(row.change, Change::Restart(_)) { " *Restart.*" } else { "" };
            writeln!(text, "| `{name}` | `{variable}` | {default} | {form} | {doc}{restart} |").unwrap();
        }
        text.push('\n');
    }
    text.pop();
    text
}

fn providers_table(catalog: &Catalog) -> String {
    let mut text = "| Provider | Name | Key | URL | Default URL |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for provider in catalog.providers().iter().filter(|provider| !provider.is_simulated) {
        let key = provider.key_env.as_ref().map_or("none".to_owned(), |variable| format!("`{variable}`"));
        let variables: Vec<String> =
            base_url_variables(provider).iter().map(|variable| format!("`{variable}`")).collect();
        let variables = variables.join(" or ");
        let (title, name, url) = (&provider.title, &provider.name, &provider.base_url);
        let url = if url.is_empty() { "the account's own".to_owned() } else { format!("`{url}`") };
        writeln!(text, "| {title} | `{name}` | {key} | {variables} | {url} |").unwrap();
    }
    text
}

fn env_example() -> String {
    let mut text = "# Every variable of llm-gateway with its default. Copy this file to `.env`, and take the `#` from the lines that\n\
                    # you change. Variables of the process win over this file; this file wins over gateway.toml.\n\
                    # Explained in docs/configuration.md.\n\n# ---- Configuration file ----\n\n#GATEWAY_CONFIG=gateway.toml\n"
        .to_owned();
    for rows in sections() {
        writeln!(text, "\n# ---- {} ----", rows[0].section()).unwrap();
        for Setting { variable, default, form, doc, .. } in rows {
            let about = wrapped(&format!("{doc} Accepted: {form}."));
            writeln!(text, "\n{about}#{variable}={}", default.unwrap_or_default()).unwrap();
        }
    }
    text.push_str("\n# ---- providers: set a key to enable one ----\n");
    for provider in Catalog::embedded().providers().iter().filter(|provider| !provider.is_simulated) {
        writeln!(text, "\n# {}", provider.title).unwrap();
        if let Some(variable) = &provider.key_env {
            writeln!(text, "#{variable}=").unwrap();
        }
        let variable = &base_url_variables(provider)[0];
        writeln!(text, "#{variable}={}", provider.base_url).unwrap();
    }
    text
}

/// The text as comment lines of readable length.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 110;
    let mut lines = vec![String::from("#")];
    for word in text.split_whitespace() {
        if lines.last().unwrap().len() + word.len() >= WIDTH {
            lines.push(String::from("#"));
        }
        let line = lines.last_mut().unwrap();
        line.push(' ');
        line.push_str(word);
    }
    lines.join("\n") + "\n"
}
