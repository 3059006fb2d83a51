//! What providers say of the models they offer: OpenAI's `/models`, Ollama's `/api/tags` and `/api/show`.
//!
//! Facts are optional throughout: a provider that does not say is not a provider that says no.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::{BadAnswer, Dialect};

/// A model as its provider describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// The provider's name for it; empty where the answer was about one model and did not repeat its name.
    pub id: String,
    /// Context window in tokens.
    pub context_window: Option<u64>,
    /// Takes images.
    pub vision: Option<bool>,
    /// Calls tools.
    pub tools: Option<bool>,
    /// Reasons before it answers.
    pub thinking: Option<bool>,
    /// Makes embeddings and does not chat.
    pub embedding: Option<bool>,
    /// A local server passes it on to somebody else's machines: it is not free.
    pub is_remote: bool,
    /// Bytes of its file, where a local server says.
    pub size_bytes: Option<u64>,
}

/// Reads a provider's list of models. Entries without a name are left out.
///
/// # Errors
/// [`BadAnswer::NotJson`] when it is not a list of models, [`BadAnswer::Error`] when it is an error.
pub fn read_list(dialect: Dialect, body: &[u8]) -> Result<Vec<Discovered>, BadAnswer> {
    let entries = match dialect {
        Dialect::OpenAi | Dialect::Anthropic => read_openai(body),
        Dialect::Ollama => read_tags(body),
    };
    let models = entries.ok_or_else(|| unreadable(dialect, body))?.into_iter().map(|entry| {
        let mut model = Discovered::from(entry);
        // Ollama's default tag goes without saying.
        if let (Dialect::Ollama, Some(bare)) = (dialect, model.id.strip_suffix(":latest")) {
            model.id = bare.to_owned();
        }
        model
    });
    Ok(models.filter(|model| !model.id.is_empty()).collect())
}

/// Reads the list of models that are in memory now, Ollama's `/api/ps`: their names as [`read_list`] gives them.
///
/// # Errors
/// As [`read_list`].
pub fn read_loaded(body: &[u8]) -> Result<Vec<String>, BadAnswer> {
    Ok(read_list(Dialect::Ollama, body)?.into_iter().map(|model| model.id).collect())
}

/// The body that asks `/api/show` about one model.
pub fn details_question(id: &str) -> Vec<u8> {
    serde_json::json!({ "model": id }).to_string().into_bytes()
}

/// Reads the answer of Ollama's `/api/show`. It does not repeat the model's name: `id` stays empty.
///
/// # Errors
/// As [`read_list`].
pub fn read_ollama_show(body: &[u8]) -> Result<Discovered, BadAnswer> {
    let entry: Option<Entry> = serde_json::from_slice(body).ok();
    let is_answer =
        |entry: &Entry| entry.model_info.is_some() || entry.capabilities.is_some() || entry.details.is_some();
    entry.filter(is_answer).map(Discovered::from).ok_or_else(|| unreadable(Dialect::Ollama, body))
}

fn read_openai(body: &[u8]) -> Option<Vec<Entry>> {
    #[derive(Deserialize)]
    struct List {
        data: Vec<Entry>,
    }
    // Together answers with the bare array.
    let list = serde_json::from_slice(body).map(|list: List| list.data);
    list.or_else(|_| serde_json::from_slice(body)).ok()
}

fn read_tags(body: &[u8]) -> Option<Vec<Entry>> {
    #[derive(Deserialize)]
    struct Tags {
        // Ollama without models has written `null` here; a body without the member is something else.
        #[serde(deserialize_with = "Option::deserialize")]
        models: Option<Vec<Entry>>,
    }
    serde_json::from_slice(body).ok().map(|tags: Tags| tags.models.unwrap_or_default())
}

fn unreadable(dialect: Dialect, body: &[u8]) -> BadAnswer {
    #[derive(Deserialize)]
    struct Refused {
        #[serde(rename = "error")]
        _error: IgnoredAny,
    }
    match serde_json::from_slice::<Refused>(body) {
        Ok(_) => BadAnswer::Error(crate::read_error(dialect, 200, body)),
        Err(_) => BadAnswer::NotJson,
    }
}

/// What there is to know of one model, in either list and in `/api/show`. Servers put other things under the same
/// names, so a field of an unexpected type counts as absent.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    /// OpenAI's name of the model.
    #[serde(deserialize_with = "lenient")]
    id: Option<String>,
    /// Ollama's name of the model; a display name elsewhere.
    #[serde(deserialize_with = "lenient")]
    name: Option<String>,
    /// Together, OpenRouter and others.
    #[serde(deserialize_with = "lenient")]
    context_length: Option<u64>,
    /// Groq.
    #[serde(deserialize_with = "lenient")]
    context_window: Option<u64>,
    /// vLLM.
    #[serde(deserialize_with = "lenient")]
    max_model_len: Option<u64>,
    /// Anthropic.
    #[serde(deserialize_with = "lenient")]
    max_input_tokens: Option<u64>,
    /// Ollama.
    #[serde(deserialize_with = "lenient")]
    details: Option<Details>,
    /// Ollama: `completion`, `tools`, `vision`, `thinking`, `embedding`, …
    #[serde(deserialize_with = "lenient")]
    capabilities: Option<Vec<String>>,
    /// Ollama.
    #[serde(deserialize_with = "lenient")]
    size: Option<u64>,
    /// Ollama: set where another machine runs the model.
    #[serde(deserialize_with = "lenient")]
    remote_host: Option<String>,
    /// Ollama's `/api/show`: the model file's metadata.
    #[serde(deserialize_with = "lenient")]
    model_info: Option<serde_json::Map<String, Value>>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    context_length: Option<u64>,
}

fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Value::deserialize(deserializer).map(|value| serde_json::from_value(value).ok())
}

impl From<Entry> for Discovered {
    fn from(entry: Entry) -> Discovered {
        let can = |name: &str| entry.capabilities.as_ref().map(|all| all.iter().any(|capability| capability == name));
        Discovered {
            context_window: entry
                .max_model_len
                .or(entry.max_input_tokens)
                .or(entry.context_window)
                .or(entry.context_length)
                .or(entry.details.as_ref().and_then(|details| details.context_length))
                .or(entry.model_info.as_ref().and_then(context_length))
                .filter(|tokens| *tokens > 0),
            is_remote: entry.remote_host.as_ref().is_some_and(|host| !host.is_empty()),
            size_bytes: entry.size.filter(|bytes| *bytes > 0),
            vision: can("vision"),
            tools: can("tools"),
            thinking: can("thinking"),
            embedding: can("embedding").map(|embeds| embeds && can("completion") == Some(false)),
            id: entry.id.or(entry.name).unwrap_or_default(),
        }
    }
}

/// The window that a model file's metadata gives, under the name of its architecture.
fn context_length(info: &serde_json::Map<String, Value>) -> Option<u64> {
    let architecture = info.get("general.architecture")?.as_str()?;
    info.get(&format!("{architecture}.context_length"))?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(id: &str) -> Discovered {
        Discovered { id: id.to_owned(), ..Discovered::default() }
    }

    #[test]
    fn openai_lists_give_names_and_windows_however_the_server_calls_them() {
        let body = br#"{"object":"list","data":[
            {"id":"gpt-4o-mini","object":"model","created":1721172741,"owned_by":"system"},
            {"id":"llama-3.1-8b-instant","context_window":131072,"max_completion_tokens":131072},
            {"id":"Qwen/Qwen3-8B","root":"Qwen/Qwen3-8B","max_model_len":40960},
            {"id":"meta/x","name":"Meta X","context_length":8192,"capabilities":{"completion_chat":true}},
            {"object":"model"}]}"#;

        let models = read_list(Dialect::OpenAi, body).unwrap();

        let windows: Vec<_> = models.iter().map(|model| (model.id.as_str(), model.context_window)).collect();
        let expected = [
            ("gpt-4o-mini", None),
            ("llama-3.1-8b-instant", Some(131_072)),
            ("Qwen/Qwen3-8B", Some(40_960)),
            ("meta/x", Some(8_192)),
        ];
        assert_eq!(windows, expected);
        assert_eq!(models[3].tools, None);
        assert_eq!(read_list(Dialect::OpenAi, br#"[{"id":"a","type":"chat"}]"#).unwrap(), [named("a")]);
    }

    #[test]
    fn ollama_lists_give_names_and_what_newer_versions_add() {
        let body = br#"{"models":[
            {"name":"llama3.2:latest","model":"llama3.2:latest","size":2019393189,"details":{"family":"llama"}},
            {"name":"nomic-embed-text:latest","details":{"context_length":2048},"capabilities":["embedding"]}]}"#;

        let models = read_list(Dialect::Ollama, body).unwrap();

        assert_eq!(models[0], Discovered { size_bytes: Some(2_019_393_189), ..named("llama3.2") });
        assert_eq!(
            (models[1].context_window, models[1].embedding, models[1].tools),
            (Some(2_048), Some(true), Some(false))
        );
        assert_eq!(read_list(Dialect::Ollama, br#"{"models":null}"#).unwrap(), []);
    }

    #[test]
    fn models_in_memory_have_the_names_of_the_list() {
        let body = br#"{"models":[{"name":"llama3.2:latest","model":"llama3.2:latest","size":3000000000,
            "size_vram":3000000000,"expires_at":"2026-11-28T20:00:00Z"},{"name":"qwen3:8b"}]}"#;

        assert_eq!(read_loaded(body).unwrap(), ["llama3.2", "qwen3:8b"]);
        assert_eq!(read_loaded(b"{}"), Err(BadAnswer::NotJson));
    }

    #[test]
    fn show_gives_the_window_and_the_capabilities() {
        let body = br#"{"license":"...","details":{"family":"qwen3vl"},"model_info":{"general.architecture":"qwen3vl",
            "qwen3vl.context_length":262144,"qwen3vl.embedding_length":4096},
            "capabilities":["completion","vision","tools","thinking"]}"#;

        let model = read_ollama_show(body).unwrap();

        let yes = Some(true);
        let window = Some(262_144);
        let expected = Discovered {
            context_window: window,
            vision: yes,
            tools: yes,
            thinking: yes,
            embedding: Some(false),
            ..named("")
        };
        assert_eq!(model, expected);
    }

    #[test]
    fn what_is_no_list_is_an_error_with_its_message() {
        for (dialect, body) in [(Dialect::OpenAi, "<html>"), (Dialect::Ollama, "[]"), (Dialect::OpenAi, "{}")] {
            assert_eq!(read_list(dialect, body.as_bytes()), Err(BadAnswer::NotJson), "{body}");
        }
        for refused in [
            read_list(Dialect::Ollama, br#"{"error":"no"}"#).map(drop),
            read_ollama_show(br#"{"error":"no"}"#).map(drop),
        ] {
            let Err(BadAnswer::Error(error)) = refused else { panic!("{refused:?}") };
            assert_eq!(error.message, "no");
        }
    }

    #[test]
    fn the_question_for_details_names_the_model() {
        assert_eq!(details_question("a\"b"), br#"{"model":"a\"b"}"#);
    }
}
