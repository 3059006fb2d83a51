//! Which providers can be used, and how: the catalogue, the keys in the environment and the tables of the file.

use std::num::NonZeroU64;

use catalog::{Auth, Catalog, PicodollarsPerToken, Price, Provider};
use http::Uri;
use secrecy::SecretString;
use serde::de::value::{Error as Unknown, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use wire::Quirk;

use super::file::{ModelTable, ProviderTable, Value};
use super::problem::{Collector, Problem};
use super::variables::Variables;
use super::{CredentialConfig, MissingProvider, ModelConfig, ProviderConfig, VIRTUAL_MODELS};

/// What a provider's name may be long: it stands in metrics and in every request.
const MAX_NAME: usize = 64;

/// The providers that can be used, and those that only lack their key; the catalogue's come first, then the file's own.
pub(super) fn choose(
    catalog: &Catalog,
    tables: &[ProviderTable],
    demo: bool,
    variables: Variables<'_>,
    problems: &mut Collector,
) -> (Vec<ProviderConfig>, Vec<MissingProvider>) {
    let mut chooser = Chooser { variables, problems, providers: Vec::new(), missing: Vec::new() };
    for entry in catalog.providers() {
        let table = tables.iter().find(|table| table.name.text == entry.name);
        let is_offered = if entry.is_simulated { demo } else { entry.always_enabled || entry.key_env.is_some() };
        if is_offered || table.is_some() {
            chooser.add(entry, table);
        }
    }
    for (index, table) in tables.iter().enumerate() {
        if tables.iter().take(index).any(|earlier| earlier.name.text == table.name.text) {
            let hint = "put both into one table";
            chooser.problems.add(table.name.problem(format!("`{}` stands twice", table.name.written), hint));
        } else if catalog.provider(&table.name.text).is_none()
            && let Some(entry) = chooser.entry(table, catalog)
        {
            chooser.add(&entry, Some(table));
        }
    }
    (chooser.providers, chooser.missing)
}

struct Chooser<'a> {
    variables: Variables<'a>,
    problems: &'a mut Collector,
    providers: Vec<ProviderConfig>,
    missing: Vec<MissingProvider>,
}

impl Chooser<'_> {
    /// What the catalogue would say of a provider that only the file knows.
    fn entry(&mut self, table: &ProviderTable, catalog: &Catalog) -> Option<Provider> {
        let name = &table.name;
        if !is_name(&name.text) {
            let hint = format!("accepted: up to {MAX_NAME} of `a` to `z`, `0` to `9`, `-`, `_`, `.`");
            self.problems.add(name.problem(format!("`{}` cannot be a provider's name", name.written), hint));
            return None;
        }
        let (Some(_), Some(url)) = (&table.dialect, &table.base_url) else {
            let names = catalog.providers().iter().map(|provider| provider.name.as_str());
            let close = catalog::close_matches(&name.text, names, 1);
            let did_you_mean =
                close.first().map(|name| format!("did you mean `{name}`? otherwise ")).unwrap_or_default();
            let problem = format!("`{}` is not in the catalogue, and `dialect` or `base_url` is missing", name.written);
            let hint = format!("{did_you_mean}add `dialect = \"openai\"` and `base_url = \"http://…\"`");
            self.problems.add(name.problem(problem, hint));
            return None;
        };
        Some(Provider { auth: Auth::None, ..Provider::openai_compatible(&name.text, &url.text) })
    }

    /// Adds the provider if it can be used, or notes that it lacks its key: one that the catalogue or the file says
    /// it needs.
    fn add(&mut self, entry: &Provider, table: Option<&ProviderTable>) {
        let named = table.and_then(|table| self.variable_name(table.key_env.as_ref()?));
        let variable = named.or(entry.key_env.as_deref());
        let needs_key = named.is_some() || !entry.always_enabled;
        let provider = self.provider(entry, table, variable);
        let is_nowhere = provider.base_url.is_empty() && !provider.is_simulated;
        match variable {
            Some(variable) if needs_key && provider.credentials.is_empty() => {
                self.missing.push(MissingProvider {
                    name: provider.name,
                    title: provider.title,
                    variable: variable.to_owned(),
                });
            }
            Some(_) | None if is_nowhere => {
                let variable = base_url_variables(entry).swap_remove(0);
                self.missing.push(MissingProvider { name: provider.name, title: provider.title, variable });
            }
            Some(_) | None => self.providers.push(provider),
        }
    }

    /// The catalogue's entry with what the environment and the file say on top. `variable` may hold the key.
    fn provider(&mut self, entry: &Provider, table: Option<&ProviderTable>, variable: Option<&str>) -> ProviderConfig {
        let credentials = self.credentials(variable, table);
        let mut quirks = entry.quirks.clone();
        let dialect = table.and_then(|table| self.word(table.dialect.as_ref()?)).unwrap_or(entry.dialect);
        let auth = table.and_then(|table| self.auth(table.auth.as_ref()?));
        let usual = if entry.auth == Auth::None { Auth::usual(dialect) } else { entry.auth.clone() };
        quirks.extend(table.iter().flat_map(|table| &table.quirks).filter_map(|quirk| self.word::<Quirk>(quirk)));
        ProviderConfig {
            name: entry.name.clone(),
            title: entry.title.clone(),
            dialect,
            base_url: self.base_url(entry, table),
            query: table.and_then(|table| self.query(table.query.as_ref()?)),
            auth: auth.unwrap_or(if credentials.is_empty() { entry.auth.clone() } else { usual }),
            credentials,
            quirks,
            is_local: table.and_then(|table| table.is_local).unwrap_or(entry.is_local),
            has_breaker: table.and_then(|table| table.circuit_breaker).unwrap_or(true),
            is_simulated: entry.is_simulated,
            models: table.iter().flat_map(|table| &table.models).map(|model| self.model(model)).collect(),
        }
    }

    /// The name of a variable. What is none is not shown: somebody may have put the key itself there.
    fn variable_name<'v>(&mut self, value: &'v Value) -> Option<&'v str> {
        let name = value.text.trim();
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Some(name);
        }
        let hint = "accepted: letters, digits and `_`; the key itself goes to `key`";
        self.problems.add(value.problem("is not the name of a variable", hint));
        None
    }

    /// The provider's keys: its usual one, and those of the `credential` tables.
    fn credentials(&mut self, variable: Option<&str>, table: Option<&ProviderTable>) -> Vec<CredentialConfig> {
        let usual = self.credential(variable, table.and_then(|table| table.key.as_ref()));
        let mut credentials: Vec<_> = usual.into_iter().map(|key| CredentialConfig { key, weight: 1 }).collect();
        for further in table.iter().flat_map(|table| &table.credentials) {
            let variable = further.key_env.as_ref().and_then(|value| self.variable_name(value));
            let Some(key) = self.credential(variable, further.key.as_ref()) else {
                let problem = "has no key".to_owned();
                let hint = "give `key_env`, the name of a variable that is set, or `key`".to_owned();
                let place = further.place.clone();
                self.problems.add(Problem { place, name: further.path.clone(), problem, hint });
                continue;
            };
            let weight = further.weight.map_or(1, |weight| u32::from(weight.get()));
            credentials.push(CredentialConfig { key, weight });
        }
        credentials
    }

    /// The key, from its variable or from the file. What no header could carry is refused without being shown.
    fn credential(&mut self, variable: Option<&str>, in_file: Option<&Value>) -> Option<SecretString> {
        let found = variable.and_then(|name| Some((name, self.variables.get(name)?)));
        let (name, text, place) = match (found, in_file) {
            (Some((name, found)), _) => (name, found.text, found.place),
            (None, Some(value)) => (value.name.as_str(), value.text.trim(), value.place.clone()),
            (None, None) => return None,
        };
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let problem = "is empty or holds a character that no key has".to_owned();
            let hint = "accepted: letters, digits and punctuation, without spaces or quotes around them".to_owned();
            self.problems.add(Problem { place, name: name.to_owned(), problem, hint });
            return None;
        }
        Some(SecretString::from(text))
    }

    /// The URL, from a variable, from the file or from the catalogue.
    fn base_url(&mut self, entry: &Provider, table: Option<&ProviderTable>) -> String {
        let variables = base_url_variables(entry);
        let found = variables.iter().find_map(|name| Some((name.as_str(), self.variables.get(name)?)));
        let (name, text, place) = match (found, table.and_then(|table| table.base_url.as_ref())) {
            (Some((name, found)), _) => (name, found.text, found.place),
            (None, Some(value)) => (value.name.as_str(), value.text.as_str(), value.place.clone()),
            (None, None) => return entry.base_url.clone(),
        };
        let checked = check_url(text);
        checked.unwrap_or_else(|problem| {
            // The text is not shown: a URL may hold a password.
            let hint = "accepted: an http or https URL such as `http://localhost:8000/v1`".to_owned();
            self.problems.add(Problem { place, name: name.to_owned(), problem: problem.to_owned(), hint });
            String::new()
        })
    }

    /// How the key is presented.
    fn auth(&mut self, value: &Value) -> Option<Auth> {
        let auth = Auth::parse(&value.text);
        if auth.is_none() {
            let hint = "accepted: `bearer`, `none`, `header:<name>` or `query:<name>`";
            self.problems.add(value.problem(format!("`{}` is no way to present a key", value.written), hint));
        }
        auth
    }

    /// What stands behind every path.
    fn query(&mut self, value: &Value) -> Option<String> {
        let is_fit =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'=' | b'&' | b'%');
        if !value.text.is_empty() && value.text.bytes().all(is_fit) {
            return Some(value.text.clone());
        }
        let hint = "accepted: what follows the `?` of a URL, such as `api-version=2024-10-21`";
        self.problems.add(value.problem("cannot stand in a URL", hint));
        None
    }

    /// A word of one of `wire`'s enums.
    fn word<T: DeserializeOwned>(&mut self, value: &Value) -> Option<T> {
        let word = parse_word(&value.text).map_err(|accepted| {
            let problem = format!("`{}` is not known", value.written);
            self.problems.add(value.problem(problem, format!("accepted: {accepted}")));
        });
        word.ok()
    }

    fn model(&mut self, table: &ModelTable) -> ModelConfig {
        let price = match (&table.input_price, &table.output_price) {
            (Some(input), Some(output)) => self.price(input, output, table.cached_input_price.as_ref()),
            (None, None) if table.cached_input_price.is_none() => None,
            (Some(_) | None, _) => {
                let hint = "give both `input_usd_per_million` and `output_usd_per_million`, or no price";
                self.problems.add(table.id.problem("has half a price", hint));
                None
            }
        };
        ModelConfig { id: table.id.text.clone(), context_window: table.context_window.map(NonZeroU64::get), price }
    }

    fn price(&mut self, input: &Value, output: &Value, cached_input: Option<&Value>) -> Option<Price> {
        let (input, output) = (self.amount(input), self.amount(output));
        let cached_input = cached_input.map(|value| self.amount(value));
        Some(Price { input: input?, output: output?, cached_input: cached_input.flatten(), ..Price::free() })
    }

    fn amount(&mut self, value: &Value) -> Option<PicodollarsPerToken> {
        let amount = PicodollarsPerToken::parse(&value.text).map_err(|_| {
            let hint = "accepted: US dollars for a million tokens, such as `0.15`";
            self.problems.add(value.problem(format!("`{}` is not a price", value.written), hint));
        });
        amount.ok()
    }
}

/// Reads a word of an enum whose words stand where the enum does.
///
/// # Errors
/// The words that there are.
pub(super) fn parse_word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let text: StrDeserializer<'_, Unknown> = text.into_deserializer();
    T::deserialize(text).map_err(|error| {
        let error = error.to_string();
        let words = error.split_once("expected ").map_or(error.as_str(), |(_, words)| words);
        words.strip_prefix("one of ").unwrap_or(words).to_owned()
    })
}

/// The variables that take a provider's URL, the one that counts first: its own, and `<NAME>_BASE_URL`.
pub(super) fn base_url_variables(provider: &Provider) -> Vec<String> {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
    let usual = provider.name.chars().map(letter).chain("_BASE_URL".chars()).collect();
    let mut variables: Vec<String> = provider.base_url_env.iter().cloned().chain([usual]).collect();
    variables.dedup();
    variables
}

fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_letter) && !VIRTUAL_MODELS.contains(&name)
}

/// The URL as the gateway uses it: paths are put behind it, so that nothing may follow its own path.
fn check_url(text: &str) -> Result<String, &'static str> {
    let url: Uri = text.parse().map_err(|_| "is not a URL")?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err("does not begin with `http://` or `https://`");
    }
    if url.host().is_none_or(str::is_empty) {
        return Err("names no host");
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("holds a user name or password, which do not belong in a URL");
    }
    if text.contains(['?', '#']) {
        return Err("goes on after the path");
    }
    Ok(text.trim_end_matches('/').to_owned())
}
