//! A provider: where it is, what it speaks, how it wants to be asked.

use serde::Deserialize;
use wire::{Dialect, Quirk};

/// One provider's entry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Entry")]
pub struct Provider {
    /// Its name in requests, headers and metrics, for example `openai`.
    pub name: String,
    /// How people know it, for example `OpenAI`.
    pub title: String,
    /// The wire format it speaks.
    pub dialect: Dialect,
    /// Where the dialect's paths begin. Empty for a simulated provider until someone starts it, and where every account
    /// has an address of its own.
    pub base_url: String,
    /// How a key is presented.
    pub auth: Auth,
    /// The variable that holds its key, where it takes one.
    pub key_env: Option<String>,
    /// The variable that overrides [`Provider::base_url`]; `None` where there is nothing to override.
    pub base_url_env: Option<String>,
    /// Known deviations from the dialect.
    pub quirks: Vec<Quirk>,
    /// It runs on the operator's machine: its tokens cost nothing.
    pub is_local: bool,
    /// It is ours, for demonstration and tests, and is labelled so wherever it appears.
    pub is_simulated: bool,
    /// It is offered without a key.
    pub always_enabled: bool,
    /// What it is called in LiteLLM's table of prices.
    pub price_table: Vec<String>,
}

impl Provider {
    /// Any server that speaks OpenAI's API, known by name and address only. A key is taken from `<NAME>_API_KEY` if it
    /// is there and not missed if it is not.
    pub fn openai_compatible(name: &str, base_url: &str) -> Provider {
        Provider {
            name: name.to_owned(),
            title: name.to_owned(),
            dialect: Dialect::OpenAi,
            base_url: base_url.to_owned(),
            auth: Auth::Bearer,
            key_env: Some(variable(name, "API_KEY")),
            base_url_env: Some(variable(name, "BASE_URL")),
            quirks: Vec::new(),
            is_local: false,
            is_simulated: false,
            always_enabled: true,
            price_table: Vec::new(),
        }
    }
}

/// How a key is presented to a provider. Without a key nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// Not at all: it takes no key.
    None,
    /// As `Authorization: Bearer <key>`.
    #[default]
    Bearer,
    /// As the header of that name.
    Header(String),
    /// As the query parameter of that name.
    Query(String),
}

impl Auth {
    /// How the vendor of a dialect takes it.
    pub fn usual(dialect: Dialect) -> Auth {
        match dialect {
            Dialect::Anthropic => Auth::Header("x-api-key".to_owned()),
            Dialect::OpenAi | Dialect::Ollama => Auth::Bearer,
        }
    }

    /// Reads `none`, `bearer`, `header:<name>` or `query:<name>`.
    pub fn parse(text: &str) -> Option<Auth> {
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        match text.split_once(':') {
            None if text == "none" => Some(Auth::None),
            None if text == "bearer" => Some(Auth::Bearer),
            Some(("header", name)) if is_name(name) => Some(Auth::Header(name.to_ascii_lowercase())),
            Some(("query", name)) if is_name(name) => Some(Auth::Query(name.to_owned())),
            None | Some(_) => None,
        }
    }
}

/// The shape of an entry in `providers.toml`: what it leaves out is filled in on the way to a [`Provider`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    title: String,
    dialect: Dialect,
    #[serde(default)]
    base_url: String,
    #[serde(default)]
    auth: Auth,
    key_env: Option<String>,
    base_url_env: Option<String>,
    #[serde(default)]
    quirks: Vec<Quirk>,
    #[serde(default)]
    is_local: bool,
    #[serde(default)]
    is_simulated: bool,
    #[serde(default)]
    always_enabled: bool,
    price_table: Option<Vec<String>>,
}

impl From<Entry> for Provider {
    fn from(entry: Entry) -> Provider {
        let usual_table = || if entry.is_simulated { Vec::new() } else { vec![entry.name.clone()] };
        let price_table = entry.price_table.clone().unwrap_or_else(usual_table);
        let derived = (!entry.is_simulated).then(|| variable(&entry.name, "BASE_URL"));
        Provider {
            name: entry.name,
            title: entry.title,
            dialect: entry.dialect,
            base_url: entry.base_url,
            auth: entry.auth,
            key_env: entry.key_env,
            base_url_env: entry.base_url_env.or(derived),
            quirks: entry.quirks,
            is_local: entry.is_local,
            is_simulated: entry.is_simulated,
            always_enabled: entry.always_enabled,
            price_table,
        }
    }
}

/// `llama-cpp` and `API_KEY` make `LLAMA_CPP_API_KEY`: what a shell cannot have in a name becomes an underscore.
fn variable(name: &str, suffix: &str) -> String {
    let upper = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    upper.chain("_".chars()).chain(suffix.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_an_address_make_an_openai_compatible_provider() {
        let provider = Provider::openai_compatible("llama-cpp", "http://127.0.0.1:8080/v1");

        assert_eq!((provider.dialect, &provider.auth), (Dialect::OpenAi, &Auth::Bearer));
        assert_eq!(provider.key_env.as_deref(), Some("LLAMA_CPP_API_KEY"));
        assert_eq!(provider.base_url_env.as_deref(), Some("LLAMA_CPP_BASE_URL"));
        assert!(provider.always_enabled && !provider.is_local && !provider.is_simulated);
    }

    #[test]
    fn every_way_to_present_a_key_can_be_written() {
        let read = |auth: &str| {
            let entry = format!("name = \"x\"\ntitle = \"X\"\ndialect = \"openai\"\n{auth}");
            toml::from_str::<Provider>(&entry).unwrap().auth
        };

        assert_eq!(read(""), Auth::Bearer);
        assert_eq!(read("auth = \"none\""), Auth::None);
        assert_eq!(read("auth = { header = \"api-key\" }"), Auth::Header("api-key".to_owned()));
        assert_eq!(read("auth = { query = \"key\" }"), Auth::Query("key".to_owned()));
    }

    #[test]
    fn a_way_to_present_a_key_is_read_from_one_word() {
        assert_eq!(Auth::parse("none"), Some(Auth::None));
        assert_eq!(Auth::parse("bearer"), Some(Auth::Bearer));
        assert_eq!(Auth::parse("header:Api-Key"), Some(Auth::Header("api-key".to_owned())));
        assert_eq!(Auth::parse("query:key"), Some(Auth::Query("key".to_owned())));
        for bad in ["", "basic", "header:", "header:a b", "query:a=b", "header:a\r\nb"] {
            assert_eq!(Auth::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        let entry = "name = \"x\"\ntitle = \"X\"\ndialect = \"openai\"\nbase-url = \"http://x\"";

        assert!(toml::from_str::<Provider>(entry).is_err());
    }
}
