//! Clients that leave, a gateway that stops, a configuration that changes.

use std::time::Duration;

use axum::body::Body;
use http::Method;
use http_body_util::BodyExt;
use serde_json::json;

use crate::harness::{Gateway, data_dir};

/// Waits until `is_so`, for at most a second.
async fn within_a_second(is_so: impl Fn() -> bool) -> bool {
    for _ in 0..200 {
        if is_so() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

fn slow_stream(model: &str) -> Body {
    let prompt = "[upstream chunks=1000 delay_ms=20]";
    Body::from(json!({"model": model, "stream": true, "messages": [{"role": "user", "content": prompt}]}).to_string())
}

/// WIRE 9.2.
#[tokio::test]
async fn a_client_that_leaves_a_stream_stops_its_upstream() {
    let gateway = Gateway::with_upstreams().await;
    let upstreams = [("gpt-4o-mini", &gateway.openai), ("llama3.2", &gateway.ollama)];
    for (model, upstream) in upstreams {
        let response = gateway.begin(Method::POST, "/v1/chat/completions", &[], slow_stream(model)).await;
        let mut body = response.into_body();
        body.frame().await.unwrap().unwrap();
        assert_eq!(upstream.open_streams(), 1);

        drop(body);

        assert!(within_a_second(|| upstream.open_streams() == 0).await, "{model}");
        let metrics = gateway.get("/metrics").await.text();
        assert!(metrics.contains(&format!("model=\"{model}\",status=\"499\"")), "{metrics}");
    }
}

/// WIRE 9.2.
#[tokio::test]
async fn a_client_that_leaves_before_the_answer_stops_its_upstream() {
    let gateway = Gateway::with_upstreams().await;
    for stream in [false, true] {
        let asked = gateway.chat("gpt-4o-mini", "[upstream latency_ms=10000]", json!({"stream": stream}));

        let early = tokio::time::timeout(Duration::from_millis(300), asked).await;

        assert!(early.is_err(), "the upstream was not slow");
        let concurrency = &gateway.running.gateway.concurrency;
        assert!(within_a_second(|| concurrency.active() == 0).await, "stream={stream}");
    }
}

#[tokio::test]
async fn stopping_lets_streams_finish() {
    let gateway = Gateway::with_upstreams().await;
    let prompt = "[upstream chunks=20 delay_ms=20]";
    let body = json!({"model": "gpt-4o-mini", "stream": true, "messages": [{"role": "user", "content": prompt}]});
    let response = gateway.begin(Method::POST, "/v1/chat/completions", &[], Body::from(body.to_string())).await;
    let Gateway { running, openai: _openai, ollama: _ollama, .. } = gateway;

    let stop = running.stop(Duration::from_secs(30), std::future::pending());
    let (body, ()) = tokio::join!(response.into_body().collect(), stop);

    let text = String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
}

#[tokio::test]
async fn what_still_runs_after_the_grace_ends_with_an_error_frame() {
    let gateway = Gateway::with_upstreams().await;
    let response = gateway.begin(Method::POST, "/v1/chat/completions", &[], slow_stream("gpt-4o-mini")).await;
    let Gateway { running, openai: _openai, ollama: _ollama, .. } = gateway;

    let stop = running.stop(Duration::from_millis(200), std::future::pending());
    let (body, ()) = tokio::join!(response.into_body().collect(), stop);

    let text = String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap();
    assert!(text.contains("\"code\":\"server_shutting_down\"") && !text.contains("[DONE]"), "{text}");
}

#[tokio::test]
async fn a_new_configuration_takes_over_without_a_restart() {
    let gateway = Gateway::with_upstreams().await;
    let live = gateway.running.gateway.registry.snapshot();
    let mut config = (*live.config).clone();
    config.aliases.push(gateway::config::Alias { name: "mine".to_owned(), target: "openai/gpt-4o-mini".to_owned() });
    assert_eq!(gateway.ask("mine", "hi").await.status, 404);

    gateway.running.gateway.reconfigure(config).await.unwrap();

    assert_eq!(gateway.ask("mine", "hi").await.status, 200);
    let health = gateway.get("/health").await.json();
    assert_eq!(health["providers"]["details"][0]["status"], "healthy", "health outlives a reload: {health}");
}

/// Prices of a model are brought up to date from a table, by a file or by a URL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_of_models_are_brought_up_to_date_and_used_from_the_next_start() {
    let folder = data_dir();
    std::fs::create_dir_all(&folder).unwrap();
    let table = json!({"gpt-4o-mini": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1.6e-07,
        "output_cost_per_token": 6.4e-07, "max_input_tokens": 128_000}});
    let place = folder.join("table.json");
    std::fs::write(&place, table.to_string()).unwrap();
    let server = axum::Router::new().route("/table", axum::routing::get(move || async move { table.to_string() }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/table", listener.local_addr().unwrap());
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move { axum::serve(listener, server).await });
    let run = async |what: &str, from: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_llm-gateway"));
        command.args(["models", what, "--from", from]).env_clear().env("DATA_DIR", &folder).current_dir(&folder);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };

    let (is_ok, diff) = run("diff", place.to_str().unwrap()).await;
    assert!(is_ok && diff.contains("openai/gpt-4o-mini: price $0.15 in"), "{diff}");
    assert!(!folder.join("models.json").exists());
    let (is_ok, update) = run("update", &url).await;
    assert!(is_ok && update.contains("1 changes are in"), "{update}");
    let (is_ok, again) = run("diff", &url).await;
    assert!(is_ok && again.contains("Nothing differs"), "{again}");
    let (is_ok, bad) = run("diff", "/nowhere").await;
    assert!(!is_ok && bad.contains("cannot read `/nowhere`"), "{bad}");

    let data = folder.to_string_lossy().into_owned();
    let gateway = Gateway::with_settings("", &[("DATA_DIR", data.as_str())]).await;
    let model = gateway.get("/v1/models/gpt-4o-mini").await.json();
    assert!(model.to_string().contains("0.16"), "{model}");
}
