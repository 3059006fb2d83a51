//! Clients that leave, a gateway that stops, a configuration that changes.

use std::time::Duration;

use axum::body::Body;
use http::Method;
use http_body_util::BodyExt;
use serde_json::json;

use crate::harness::Gateway;

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
