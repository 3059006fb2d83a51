//! What is known of providers and models before anyone is asked: addresses, prices, limits, capabilities.
//!
//! All of it is data, in `providers.toml` and `models.json`, each fact with its source and date. This crate reads and
//! looks it up, and does the exact arithmetic of money. It has no I/O: the files are part of the binary. What
//! configuration adds and what providers say of themselves is put beside it by the gateway, not here.

mod close;
mod model;
mod price;
mod provider;
mod table;

use serde::Deserialize;

pub use close::close_matches;
pub use model::{Capabilities, Kind, Model, Source};
pub use price::{Batch, LongContext, Nanodollars, NotAnAmount, PicodollarsPerToken, Price};
pub use provider::{Auth, Provider};
pub use table::{BadTable, Change};

/// The tag that a model's name carries where it carries none: `llama3.2` is `llama3.2:latest`.
const DEFAULT_TAG: &str = ":latest";

/// Every built-in provider and model.
#[derive(Clone, Debug)]
pub struct Catalog {
    providers: Vec<Provider>,
    models: Vec<Model>,
}

impl Catalog {
    /// The catalogue that is part of the binary.
    #[expect(clippy::expect_used, reason = "both files are constants of the build and a test reads them")]
    pub fn embedded() -> Catalog {
        let file: ProvidersFile =
            toml::from_str(include_str!("providers.toml")).expect("providers.toml is well formed");
        let models = serde_json::from_str(include_str!("models.json")).expect("models.json is well formed");
        Catalog { providers: file.provider, models }
    }

    /// Every provider, in the order of the file.
    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    /// The provider of that exact name.
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.name == name)
    }

    /// What is known of `id` at `provider`: by its name or one of its listed aliases, with or without the tag
    /// `:latest`. No date or size is guessed away: an unlisted variant may differ in price.
    pub fn model(&self, provider: &str, id: &str) -> Option<&Model> {
        let id = id.strip_suffix(DEFAULT_TAG).unwrap_or(id);
        self.models_of(provider).find(|model| model.id == id || model.aliases.iter().any(|alias| alias == id))
    }

    /// The models of one provider, in the order of the file: current ones first.
    pub fn models_of(&self, provider: &str) -> impl Iterator<Item = &Model> {
        self.models.iter().filter(move |model| model.provider == provider)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProvidersFile {
    provider: Vec<Provider>,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use wire::{Dialect, Quirk};

    use super::*;

    #[test]
    fn the_embedded_files_are_well_formed() {
        let catalog = Catalog::embedded();

        assert!(catalog.providers().iter().filter(|provider| !provider.is_simulated).count() >= 25);
        assert!(catalog.models.len() > 200);
    }

    #[test]
    fn names_are_unique_and_every_model_has_its_provider() {
        let catalog = Catalog::embedded();

        let mut providers = HashSet::new();
        assert!(catalog.providers().iter().all(|provider| providers.insert(provider.name.as_str())));
        let mut names = HashSet::new();
        for model in &catalog.models {
            assert!(providers.contains(model.provider.as_str()), "{}", model.id);
            for name in std::iter::once(&model.id).chain(&model.aliases) {
                assert!(names.insert((&model.provider, name)), "{name} stands twice");
                assert!(!name.ends_with(DEFAULT_TAG), "{name} would never be found");
            }
        }
        // An account's deployments have names of its own.
        let has_models = |provider: &Provider| catalog.models_of(&provider.name).next().is_some();
        assert!(catalog.providers().iter().all(|provider| provider.base_url.is_empty() || has_models(provider)));
    }

    #[test]
    fn every_fact_has_its_source_and_date() {
        for model in &Catalog::embedded().models {
            let Model { source, .. } = model;
            assert_eq!(model.price.is_some(), source.price.is_some(), "price of {}", model.id);
            assert_eq!(model.context_window.is_some(), source.limits.is_some(), "limits of {}", model.id);
            assert_eq!(model.quality.is_some(), source.quality.is_some(), "quality of {}", model.id);
            assert_eq!(model.capabilities != Capabilities::default(), source.capabilities.is_some(), "{}", model.id);
            let digits = |range: std::ops::Range<usize>| model.as_of[range].bytes().all(|byte| byte.is_ascii_digit());
            assert!(model.as_of.len() == 7 && digits(0..4) && &model.as_of[4..5] == "-" && digits(5..7));
        }
    }

    #[test]
    fn prices_are_within_reason() {
        let highest = PicodollarsPerToken::parse("200").unwrap();
        let catalog = Catalog::embedded();

        for model in &catalog.models {
            let mut next = model.price.as_ref();
            while let Some(price) = next {
                assert!(price.cached_input.is_none_or(|cached| cached <= price.input), "{}", model.id);
                assert!(price.cache_write.is_none_or(|write| write >= price.input), "{}", model.id);
                assert!(price.cache_write_1h.is_none_or(|hour| Some(hour) >= price.cache_write), "{}", model.id);
                let batch = price.batch.as_ref();
                assert!(batch.is_none_or(|batch| batch.input <= price.input && batch.output <= price.output));
                assert!(price.input <= price.output || model.kind == Kind::Embedding, "{}", model.id);
                assert!(price.output <= highest, "{}", model.id);
                next = price.long_context.as_ref().map(|long| &long.price);
                assert!(next.is_none_or(|long| long.input >= price.input && long.output >= price.output));
            }
            let is_local = catalog.provider(&model.provider).unwrap().is_local;
            assert!(
                is_local || model.kind == Kind::Moderation || model.price != Some(Price::free()),
                "{} is free, which must not stand for unknown",
                model.id
            );
            assert!(!is_local || model.price == Some(Price::free()), "{} runs here and costs nothing", model.id);
        }
    }

    #[test]
    fn limits_and_qualities_are_within_reason() {
        for model in &Catalog::embedded().models {
            let is_read = matches!(model.kind, Kind::Chat | Kind::Embedding);
            let has_window = model.context_window.is_some_and(|window| (256..=2_000_000).contains(&window));
            assert!(has_window || !is_read && model.context_window.is_none(), "{}", model.id);
            assert!(model.max_output_tokens <= model.context_window, "{}", model.id);
            assert!(model.quality.is_none_or(|quality| (0.0..=1.0).contains(&quality)), "{}", model.id);
            assert_eq!(
                model.kind == Kind::Chat,
                model.quality.is_some(),
                "{}: `auto` leaves out the unknown",
                model.id
            );
        }
    }

    #[test]
    fn a_model_is_found_by_its_name_its_alias_and_its_default_tag() {
        let catalog = Catalog::embedded();
        let id = |provider, name| catalog.model(provider, name).map(|model| model.id.as_str());

        assert_eq!(id("openai", "gpt-4o-mini"), Some("gpt-4o-mini"));
        assert_eq!(id("openai", "gpt-4o-mini-2024-07-18"), Some("gpt-4o-mini"));
        assert_eq!(id("ollama", "llama3.2"), Some("llama3.2"));
        assert_eq!(id("ollama", "llama3.2:latest"), Some("llama3.2"));
        assert_eq!(id("ollama", "llama3.2:3b"), Some("llama3.2"));
        assert_eq!(id("ollama", "llama3.2:1b"), Some("llama3.2:1b"));
        assert_eq!(id("openai", "gpt-4o-mini-2031-01-01"), None);
        assert_eq!(id("groq", "gpt-4o-mini"), None);
    }

    #[test]
    fn the_built_in_providers_say_how_to_reach_them() {
        let catalog = Catalog::embedded();
        let ollama = catalog.provider("ollama").unwrap();
        let groq = catalog.provider("groq").unwrap();

        assert_eq!(ollama.dialect, Dialect::Ollama);
        assert_eq!(ollama.base_url_env.as_deref(), Some("OLLAMA_URL"));
        assert!(ollama.is_local && ollama.always_enabled && ollama.auth == Auth::None);
        assert_eq!(groq.key_env.as_deref(), Some("GROQ_API_KEY"));
        assert_eq!(groq.base_url_env.as_deref(), Some("GROQ_BASE_URL"));
        assert_eq!((&groq.auth, groq.quirks.as_slice()), (&Auth::Bearer, &[Quirk::UsageInXGroq][..]));
        for provider in catalog.providers() {
            let is_own = provider.name == "azure";
            assert_eq!(provider.base_url.is_empty(), provider.is_simulated || is_own, "{}", provider.name);
            assert_eq!(provider.key_env.is_some(), provider.auth != Auth::None, "{}", provider.name);
        }
    }
}
