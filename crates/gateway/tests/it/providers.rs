//! Every provider of the catalogue, plain and streamed, against an imitation of its dialect.

use std::collections::BTreeMap;

use catalog::{Auth, Catalog};
use http::Method;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use testkit::{Recorded, Upstream};
use wire::{Dialect, Quirk};

use crate::harness::{Gateway, start};
use crate::process::Http;

async fn imitation(dialect: Dialect) -> Upstream {
    match dialect {
        Dialect::OpenAi => Upstream::openai().await,
        Dialect::Anthropic => Upstream::anthropic().await,
        Dialect::Ollama => Upstream::ollama().await,
    }
}

async fn post(client: &Http, url: &str, body: &Value) -> (u16, String) {
    use http_body_util::BodyExt;
    let request = http::Request::builder().method(Method::POST).uri(url).header("content-type", "application/json");
    let answer = client.request(request.body(body.to_string().into()).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_provider_of_the_catalogue_answers_plain_and_streamed() {
    let catalog = Catalog::embedded();
    let providers: Vec<_> = catalog.providers().iter().filter(|provider| !provider.is_simulated).collect();
    assert!(providers.len() >= 25, "{}", providers.len());
    let mut environment: BTreeMap<String, String> =
        [("PORT", "0"), ("CACHE_ENABLED", "false")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut upstreams = Vec::new();
    for provider in &providers {
        let upstream = imitation(provider.dialect).await;
        environment.insert(provider.base_url_env.clone().unwrap(), upstream.url());
        if let Some(key) = &provider.key_env {
            environment.insert(key.clone(), format!("sk-of-{}", provider.name));
        }
        upstreams.push(upstream);
    }
    let gateway = start(environment, "").await;
    let url = format!("http://{}/v1/chat/completions", gateway.address());
    let client: Http = Client::builder(TokioExecutor::new()).build_http();

    for (provider, upstream) in providers.iter().zip(&upstreams) {
        let model = catalog.models_of(&provider.name).next().map_or("my-deployment", |model| &model.id);
        let body = |stream: bool| {
            json!({"model": format!("{}/{}", provider.name, model), "stream": stream, "max_completion_tokens": 300,
                "messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hello"}]})
        };

        let (status, plain) = post(&client, &url, &body(false)).await;
        assert_eq!(status, 200, "{}: {plain}", provider.name);
        let plain: Value = serde_json::from_str(&plain).unwrap();
        assert!(plain["choices"][0]["message"]["content"].as_str().unwrap().starts_with("A gateway"));
        assert_eq!(plain["x-gateway"]["provider"], provider.name.as_str());

        let (status, stream) = post(&client, &url, &body(true)).await;
        assert_eq!(status, 200, "{}: {stream}", provider.name);
        assert!(stream.ends_with("data: [DONE]\n\n"), "{}: {stream}", provider.name);

        let chats: Vec<Recorded> = upstream
            .requests()
            .into_iter()
            .filter(|request| {
                request.method == Method::POST && request.path.contains("chat") || request.path.ends_with("/messages")
            })
            .collect();
        assert_eq!(chats.len(), 2, "{}", provider.name);
        for chat in &chats {
            check_sent(provider, model, chat);
        }
    }
}

/// What a provider was sent: the key as it wants it, and nothing that it refuses.
fn check_sent(provider: &catalog::Provider, model: &str, sent: &Recorded) {
    let name = &provider.name;
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(body["model"], model, "{name}");
    let key = format!("sk-of-{name}");
    match &provider.auth {
        Auth::None => assert!(!sent.headers.contains_key("authorization"), "{name}"),
        Auth::Bearer => assert_eq!(sent.headers["authorization"], format!("Bearer {key}"), "{name}"),
        Auth::Header(header) => assert_eq!(sent.headers[header.as_str()], key, "{name}"),
        Auth::Query(_) => unreachable!("no provider of the catalogue takes its key in the query"),
    }
    if provider.dialect != Dialect::OpenAi {
        return;
    }
    let has = |quirk| provider.quirks.contains(&quirk);
    let is_stream = body["stream"] == true;
    assert_eq!(body.get("stream_options").is_some(), is_stream && !has(Quirk::NoStreamOptions), "{name}");
    let limit = if has(Quirk::MaxTokensOnly) { "max_tokens" } else { "max_completion_tokens" };
    assert_eq!(body[limit], 300, "{name}");
    let role = if has(Quirk::NoDeveloperRole) { "system" } else { "developer" };
    assert_eq!(body["messages"][0]["role"], role, "{name}");
}

/// A provider is data: a few lines of configuration, and every feature that its dialect has.
#[tokio::test]
async fn a_provider_is_added_by_an_entry_alone() {
    let upstream = Upstream::anthropic().await;
    let file = format!(
        "[[provider]]\nname = \"newcomer\"\ndialect = \"anthropic\"\nbase_url = \"{}\"\nkey = \"sk-new\"\n\
         [[provider.model]]\nid = \"new-1\"\ncontext_window = 100000\n",
        upstream.url()
    );
    let gateway = Gateway::with_settings(&file, &[]).await;

    let plain = gateway.ask("newcomer/new-1", "Hello").await;
    let stream = gateway.stream("newcomer/new-1", "Hello").await;

    assert_eq!((plain.status.as_u16(), stream.status.as_u16()), (200, 200), "{}", plain.text());
    assert!(stream.streamed_text().starts_with("A gateway"));
    assert_eq!(upstream.requests().pop().unwrap().headers["x-api-key"], "sk-new");
}

/// Azure's older addresses have the deployment in the path and a version behind it.
#[tokio::test]
async fn an_address_may_hold_the_models_name_and_a_query() {
    let upstream = Upstream::openai().await;
    let file = format!(
        "[[provider]]\nname = \"azure\"\nbase_url = \"{}/openai/deployments/{{model}}\"\n\
         query = \"api-version=2024-10-21\"\nkey = \"az-key\"\n\
         [[provider.model]]\nid = \"my gpt\"\ninput_usd_per_million = 1\noutput_usd_per_million = 2\n",
        upstream.url().trim_end_matches("/v1")
    );
    let gateway = Gateway::with_settings(&file, &[]).await;

    gateway.ask("azure/my gpt", "Hello").await;

    let sent = upstream.requests().pop().unwrap();
    assert_eq!(sent.path, "/openai/deployments/my%20gpt/chat/completions");
    assert_eq!(
        (sent.query.as_deref(), &sent.headers["api-key"]),
        (Some("api-version=2024-10-21"), &"az-key".parse().unwrap())
    );
    assert!(!sent.headers.contains_key("authorization"));
}
