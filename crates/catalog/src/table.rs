//! Facts of models from elsewhere: a file in the shape of our own, or LiteLLM's public table of prices.

use serde::Deserialize;
use serde_json::Value;

use crate::{Capabilities, Catalog, Kind, LongContext, Model, PicodollarsPerToken, Price, Provider, Source};

/// A price that is this many times another is a slip of a table's editor and no change of price.
const MOST_TIMES: u64 = 10;
/// Prompt lengths at which vendors' prices change, in thousands of tokens.
const TIERS: [u64; 4] = [128, 200, 256, 272];

/// Why facts cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadTable {
    /// It is no JSON, or JSON of another shape.
    #[error("it is neither a list of models as `models.json` has them nor a table of prices: {0}")]
    Shape(#[from] serde_json::Error),
    /// Nothing in it is of a provider that is known here.
    #[error("it holds no model of any provider in the catalogue")]
    Empty,
}

/// What differs of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The provider's name.
    pub provider: String,
    /// The model's name.
    pub model: String,
    /// What, in words.
    pub what: String,
}

impl Catalog {
    /// The catalogue with these facts over its own, and what was left out of them because it cannot be true. `month`,
    /// as `2026-11`, becomes the date of what came from a table of prices.
    ///
    /// # Errors
    /// The text cannot be read.
    pub fn updated(&self, text: &str, month: &str) -> Result<(Catalog, Vec<Change>), BadTable> {
        let value: Value = serde_json::from_str(text)?;
        let found = if value.is_array() {
            serde_json::from_value(value)?
        } else {
            self.read_prices(serde_json::from_value(value)?, month)
        };
        let found: Vec<Model> = found.into_iter().filter(|model| self.provider(&model.provider).is_some()).collect();
        if found.is_empty() {
            return Err(BadTable::Empty);
        }
        let (mut updated, mut doubts) = (self.clone(), Vec::new());
        for model in found {
            let place =
                updated.models.iter().position(|known| known.provider == model.provider && known.id == model.id);
            match place.and_then(|place| updated.models.get_mut(place)) {
                Some(known) => match doubt(known, &model) {
                    Some(what) => {
                        doubts.push(Change { provider: model.provider, model: model.id, what });
                    }
                    None => *known = model,
                },
                None => updated.models.push(model),
            }
        }
        Ok((updated, doubts))
    }

    /// What another catalogue has that differs from this one, in its order.
    pub fn changes_to(&self, other: &Catalog) -> Vec<Change> {
        let mut changes = Vec::new();
        for model in &other.models {
            let mut note = |what: String| {
                changes.push(Change { provider: model.provider.clone(), model: model.id.clone(), what });
            };
            match self.models_of(&model.provider).find(|known| known.id == model.id) {
                None => note(format!("new, {}", model.price.as_ref().map_or("price unknown".to_owned(), shown))),
                Some(known) => {
                    if known.price != model.price {
                        let of = |price: &Option<Price>| price.as_ref().map_or("unknown".to_owned(), shown);
                        note(format!("price {} -> {}", of(&known.price), of(&model.price)));
                    }
                    let limits = |model: &Model| (model.context_window, model.max_output_tokens);
                    if limits(known) != limits(model) {
                        note(format!("limits {:?} -> {:?}", limits(known), limits(model)));
                    }
                    if known.capabilities != model.capabilities {
                        note("capabilities".to_owned());
                    }
                }
            }
        }
        changes
    }

    /// The models that differ from the embedded ones, as `models.json` has them.
    pub fn overlay(&self) -> String {
        let embedded = Catalog::embedded();
        let differs = |model: &&Model| !embedded.models.contains(model);
        let models: Vec<&Model> = self.models.iter().filter(differs).collect();
        serde_json::to_string_pretty(&models).unwrap_or_default()
    }

    /// The entries of a table of prices that are of our providers.
    fn read_prices(&self, table: serde_json::Map<String, Value>, month: &str) -> Vec<Model> {
        let entries = table.into_iter().filter_map(|(key, value)| {
            let entry: Entry = serde_json::from_value(value).ok()?;
            let provider =
                self.providers.iter().find(|provider| provider.price_table.contains(&entry.litellm_provider))?;
            entry.into_model(self, provider, &key, month)
        });
        entries.collect()
    }
}

/// What cannot be true of a new price beside the known one.
fn doubt(known: &Model, new: &Model) -> Option<String> {
    let (before, after) = (known.price.as_ref()?, new.price.as_ref()?);
    let is_far = |a: PicodollarsPerToken, b: PicodollarsPerToken| {
        let (low, high) = (a.0.min(b.0), a.0.max(b.0));
        low > 0 && high > low.saturating_mul(MOST_TIMES)
    };
    let is_doubtful = is_far(before.input, after.input) || is_far(before.output, after.output);
    is_doubtful.then(|| format!("price {} -> {} is no change of price; left as it was", shown(before), shown(after)))
}

fn shown(price: &Price) -> String {
    format!("${} in, ${} out per million tokens", price.input.usd_per_million(), price.output.usd_per_million())
}

/// One entry of LiteLLM's table, as far as it is of use; US dollars per token.
#[derive(Deserialize)]
struct Entry {
    litellm_provider: String,
    mode: String,
    input_cost_per_token: Option<f64>,
    output_cost_per_token: Option<f64>,
    cache_read_input_token_cost: Option<f64>,
    cache_creation_input_token_cost: Option<f64>,
    cache_creation_input_token_cost_above_1hr: Option<f64>,
    input_cost_per_token_batches: Option<f64>,
    output_cost_per_token_batches: Option<f64>,
    max_input_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
    #[serde(default)]
    supports_vision: bool,
    #[serde(default)]
    supports_function_calling: bool,
    #[serde(default)]
    supports_response_schema: bool,
    #[serde(default)]
    supports_reasoning: bool,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

impl Entry {
    /// The model; `None` for what neither chats nor embeds. What the table does not say of a known model stays.
    fn into_model(self, catalog: &Catalog, provider: &Provider, key: &str, month: &str) -> Option<Model> {
        let kind = match self.mode.as_str() {
            "chat" => Kind::Chat,
            "embedding" => Kind::Embedding,
            _ => return None,
        };
        let id = key.strip_prefix(&format!("{}/", self.litellm_provider)).unwrap_or(key);
        let known = catalog.models_of(&provider.name).find(|model| model.id == id);
        let price = self.price();
        let mut model = known.cloned().unwrap_or_else(|| Model {
            provider: provider.name.clone(),
            id: id.to_owned(),
            aliases: Vec::new(),
            kind,
            price: None,
            context_window: None,
            max_output_tokens: None,
            capabilities: Capabilities {
                vision: self.supports_vision,
                tools: self.supports_function_calling,
                json_schema: self.supports_response_schema,
                reasoning: self.supports_reasoning,
                ..Capabilities::default()
            },
            quality: None,
            source: Source::default(),
            as_of: month.to_owned(),
        });
        let source = Some(format!("LiteLLM price table, read {month}"));
        if price.is_some() && price != model.price {
            model.source.price = source.clone();
            model.price = price;
            model.as_of = month.to_owned();
        }
        let window = self.max_input_tokens.or(model.context_window);
        if window != model.context_window {
            model.source.limits = source;
            model.context_window = window;
            model.max_output_tokens = self.max_output_tokens.filter(|most| window.is_none_or(|window| *most <= window));
        }
        Some(model)
    }

    fn price(&self) -> Option<Price> {
        let (input, output) = (per_token(self.input_cost_per_token)?, per_token(self.output_cost_per_token)?);
        if input.0 == 0 && output.0 == 0 {
            // Free there is not known to be free here.
            return None;
        }
        let batch = per_token(self.input_cost_per_token_batches).zip(per_token(self.output_cost_per_token_batches));
        let long = TIERS.iter().find_map(|tier| {
            let of = |name: &str| {
                let name = format!("{name}_above_{tier}k_tokens");
                per_token(self.rest.get(&name).and_then(Value::as_f64))
            };
            let (long_input, long_output) = (of("input_cost_per_token")?, of("output_cost_per_token")?);
            let price = Price {
                cached_input: of("cache_read_input_token_cost"),
                cache_write: of("cache_creation_input_token_cost"),
                ..Price::of(long_input, long_output)
            };
            let above_input_tokens = tier.saturating_mul(1_000);
            (long_input > input || long_output > output).then(|| Box::new(LongContext { above_input_tokens, price }))
        });
        Some(Price {
            cached_input: per_token(self.cache_read_input_token_cost).filter(|cached| *cached <= input && cached.0 > 0),
            cache_write: per_token(self.cache_creation_input_token_cost).filter(|write| *write >= input),
            cache_write_1h: per_token(self.cache_creation_input_token_cost_above_1hr).filter(|write| *write >= input),
            batch: batch.map(|(input, output)| crate::Batch { input, output }),
            long_context: long,
            ..Price::of(input, output)
        })
    }
}

/// Dollars for one token, as a whole number of picodollars.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn per_token(dollars: Option<f64>) -> Option<PicodollarsPerToken> {
    let picodollars = (dollars? * 1e12).round();
    (0.0..=1e12).contains(&picodollars).then_some(PicodollarsPerToken(picodollars as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"{
        "sample_spec": {"litellm_provider": "one of many", "mode": "chat"},
        "gpt-4o-mini": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2e-07,
            "output_cost_per_token": 6e-07, "max_input_tokens": 128000, "max_output_tokens": 16384},
        "gpt-4o": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.5e-12, "output_cost_per_token": 1e-05},
        "mistral/mistral-new": {"litellm_provider": "mistral", "mode": "chat", "input_cost_per_token": 1e-06,
            "output_cost_per_token": 3e-06, "max_input_tokens": 256000, "supports_function_calling": true,
            "input_cost_per_token_above_128k_tokens": 2e-06, "output_cost_per_token_above_128k_tokens": 6e-06},
        "mistral/ocr": {"litellm_provider": "mistral", "mode": "ocr"},
        "elsewhere/x": {"litellm_provider": "elsewhere", "mode": "chat", "input_cost_per_token": 1, "output_cost_per_token": 1}
    }"#;

    #[test]
    fn a_table_of_prices_changes_what_it_knows_and_nothing_else() {
        let before = Catalog::embedded();

        let (after, doubts) = before.updated(TABLE, "2027-01").unwrap();

        let mini = after.model("openai", "gpt-4o-mini").unwrap();
        assert_eq!(mini.price.as_ref().unwrap().input, PicodollarsPerToken::parse("0.2").unwrap());
        assert_eq!(
            (mini.quality, mini.as_of.as_str()),
            (before.model("openai", "gpt-4o-mini").unwrap().quality, "2027-01")
        );
        let new = after.model("mistral", "mistral-new").unwrap();
        assert_eq!((new.context_window, new.capabilities.tools, new.quality), (Some(256_000), true, None));
        assert_eq!(new.price.as_ref().unwrap().long_context.as_ref().unwrap().above_input_tokens, 128_000);
        assert_eq!(after.model("openai", "gpt-4o"), before.model("openai", "gpt-4o"), "a millionth is a slip");
        assert_eq!(doubts.len(), 1);
        let changes = before.changes_to(&after);
        let told: Vec<_> = changes.iter().map(|change| change.model.as_str()).collect();
        assert_eq!(told, ["gpt-4o-mini", "mistral-new"]);
        assert!(changes[0].what.contains("$0.15 in") && changes[0].what.contains("$0.2 in"), "{changes:?}");
    }

    #[test]
    fn an_overlay_is_read_back_as_it_was_written() {
        let (after, _) = Catalog::embedded().updated(TABLE, "2027-01").unwrap();

        let (again, doubts) = Catalog::embedded().updated(&after.overlay(), "2027-02").unwrap();

        assert_eq!((again.models, doubts), (after.models, Vec::new()));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        assert!(matches!(Catalog::embedded().updated("<html>", "2027-01"), Err(BadTable::Shape(_))));
        assert!(matches!(Catalog::embedded().updated("{}", "2027-01"), Err(BadTable::Empty)));
        assert!(matches!(Catalog::embedded().updated("[{\"id\": 1}]", "2027-01"), Err(BadTable::Shape(_))));
    }
}
