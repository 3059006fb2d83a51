//! A gateway on a free port in front of imitation upstreams, and a client that speaks plain HTTP.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use bytes::Bytes;
use gateway::config::{Config, Sources};
use gateway::gateway::Running;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use testkit::Upstream;

/// The admin key of every gateway here.
pub(crate) const ADMIN_KEY: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b";

/// Lines of `gateway.toml` for tests of one failure after the other, which no breaker shall keep away.
pub(crate) const NO_BREAKERS: &str = "[[provider]]\nname = \"openai\"\ncircuit_breaker = false\n\
     [[provider]]\nname = \"ollama\"\ncircuit_breaker = false\n";

/// A gateway with an imitation OpenAI and an imitation Ollama behind it.
pub(crate) struct Gateway {
    pub(crate) running: Running,
    pub(crate) openai: Upstream,
    pub(crate) ollama: Upstream,
    client: Client<HttpConnector, Body>,
}

/// One answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// `error.type`, `error.code` and `error.param`, after a check that the shape is whole.
    pub(crate) fn error(&self) -> (String, String, Option<String>) {
        let json = self.json();
        let error = json["error"].as_object().unwrap_or_else(|| panic!("no error in {json}"));
        let keys: Vec<&str> = error.keys().map(String::as_str).collect();
        assert_eq!(keys, ["message", "type", "param", "code"], "{json}");
        assert!(!error["message"].as_str().unwrap().is_empty());
        let text = |name: &str| error[name].as_str().map(str::to_owned);
        (text("type").unwrap(), text("code").unwrap(), text("param"))
    }

    /// The payloads of the `data:` lines.
    pub(crate) fn events(&self) -> Vec<String> {
        self.text().lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
    }

    /// The text of a streamed chat, joined.
    pub(crate) fn streamed_text(&self) -> String {
        let deltas = self.events().into_iter().filter_map(|event| serde_json::from_str::<Value>(&event).ok());
        deltas.filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
    }
}

impl Gateway {
    /// Providers `openai` and `ollama`, discovered and healthy.
    pub(crate) async fn with_upstreams() -> Gateway {
        Gateway::with_settings("", &[]).await
    }

    /// The same with more lines in `gateway.toml` and more variables.
    pub(crate) async fn with_settings(file: &str, variables: &[(&str, &str)]) -> Gateway {
        let (openai, ollama) = (Upstream::openai().await, Upstream::ollama().await);
        let (openai_url, ollama_url) = (openai.url(), ollama.url());
        let environment: BTreeMap<String, String> = [
            ("PORT", "0"),
            ("OPENAI_API_KEY", "sk-test-sentinel-provider-key"),
            ("OPENAI_BASE_URL", &openai_url),
            ("OLLAMA_URL", &ollama_url),
            ("ADMIN_API_KEY", ADMIN_KEY),
            // Most tests ask the same again to see what a provider does.
            ("CACHE_ENABLED", "false"),
        ]
        .into_iter()
        .chain(variables.iter().copied())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        let running = start(environment, file).await;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let gateway = Gateway { running, openai, ollama, client };
        gateway.discovered().await;
        gateway
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.running.address())
    }

    /// Waits until every provider was checked once.
    async fn discovered(&self) {
        for _ in 0..500 {
            let health = self.admin(Method::GET, "/health", &Value::Null).await.json();
            let details = health["providers"]["details"].as_array().unwrap();
            if details.iter().all(|provider| provider["status"] != "unknown") {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the providers were not checked in time");
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, &[], body.to_string()).await
    }

    pub(crate) async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        self.send(Method::POST, path, headers, body.into()).await
    }

    /// One user message to `model`.
    pub(crate) async fn ask(&self, model: &str, prompt: &str) -> Answer {
        self.chat(model, prompt, json!({})).await
    }

    /// The same as a stream.
    pub(crate) async fn stream(&self, model: &str, prompt: &str) -> Answer {
        self.chat(model, prompt, json!({"stream": true})).await
    }

    /// One user message with further fields.
    pub(crate) async fn chat(&self, model: &str, prompt: &str, more: Value) -> Answer {
        let mut body = json!({"model": model, "messages": [{"role": "user", "content": prompt}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post("/v1/chat/completions", &body).await
    }

    /// A request to the admin API.
    pub(crate) async fn admin(&self, method: Method, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.send(method, path, &[("authorization", &format!("Bearer {ADMIN_KEY}"))], body).await
    }

    /// Makes a gateway key; its id and its secret.
    pub(crate) async fn create_key(&self, wanted: Value) -> (String, String) {
        let mut body = json!({"name": "a key"});
        body.as_object_mut().unwrap().extend(wanted.as_object().unwrap().clone());
        let made = self.admin(Method::POST, "/api/admin/keys", &body).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let text = |name: &str| made.json()[name].as_str().unwrap().to_owned();
        (text("id"), text("key"))
    }

    /// What a key used this month, as the admin API lists it.
    pub(crate) async fn usage(&self, id: &str) -> Value {
        let listed = self.admin(Method::GET, "/api/admin/keys", &Value::Null).await.json();
        let keys = listed["data"].as_array().unwrap();
        keys.iter().find(|key| key["id"] == id).unwrap_or_else(|| panic!("{id} in {listed}"))["usage"].clone()
    }

    /// A chat with that key.
    pub(crate) async fn chat_as(&self, secret: &str, model: &str, prompt: &str, more: Value) -> Answer {
        let mut body = json!({"model": model, "messages": [{"role": "user", "content": prompt}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let bearer = format!("Bearer {secret}");
        self.post_with("/v1/chat/completions", &[("authorization", &bearer)], body.to_string()).await
    }

    /// The entries of a request in the database, once they are there.
    pub(crate) async fn entries(&self, request_id: &str, count: usize) -> Vec<store::Entry> {
        let store = &self.running.gateway.store;
        for _ in 0..300 {
            let found = store.entries(store::EntryFilter::Request(request_id), 1_000).await.unwrap();
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the entries of {request_id} did not come");
    }

    pub(crate) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Answer {
        let response = self.begin(method, path, headers, body).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("the body arrives").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// An answer whose body is still to be read.
    pub(crate) async fn begin(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> http::Response<hyper::body::Incoming> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url()));
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.client.request(request.body(body).unwrap()).await.expect("the gateway answers")
    }
}

/// A folder that no other gateway uses.
pub(crate) fn data_dir() -> PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let root = ROOT.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("data");
        // Left by the run before this one, for whoever wanted to look at it.
        let _ = std::fs::remove_dir_all(&root);
        root
    });
    root.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string())
}

/// A gateway with exactly this environment and file, and a data directory of its own unless one is named.
pub(crate) async fn start(mut environment: BTreeMap<String, String>, file: &str) -> Running {
    environment.entry("DATA_DIR".to_owned()).or_insert_with(|| data_dir().to_string_lossy().into_owned());
    let file = (!file.is_empty()).then(|| (PathBuf::from("gateway.toml"), file.to_owned()));
    let sources = Sources { environment, file, ..Sources::default() };
    let config = Config::load(&sources).unwrap_or_else(|problems| panic!("{problems}"));
    gateway::gateway::start(config).await.expect("the gateway starts")
}
