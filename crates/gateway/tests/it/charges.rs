//! What a request costs, and who knows it: whole answers, streams, clients that leave, providers that do not count.

use std::time::Duration;

use axum::body::Body;
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::harness::Gateway;

/// A model whose prompt costs 1 dollar and whose answer 10 dollars a million tokens, and one without a price.
const MODELS: &str = "[[provider]]\nname = \"openai\"\n\
    [[provider.model]]\nid = \"paid\"\ninput_usd_per_million = 1\noutput_usd_per_million = 10\n\
    [[provider.model]]\nid = \"unpriced\"\n";

/// So many words of one token each, with the space before them.
fn words(count: usize) -> String {
    ["time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child"]
        .iter()
        .cycle()
        .take(count)
        .fold(String::new(), |text, word| text + word + " ")
}

fn request(id: &str) -> [(&str, &str); 1] {
    [("x-request-id", id)]
}

fn body(model: &str, prompt: &str, more: Value) -> String {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": prompt}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

#[tokio::test]
async fn what_the_provider_counted_is_what_it_costs() {
    let gateway = Gateway::with_settings(MODELS, &[]).await;
    for (id, more) in [("plain", json!({})), ("stream", json!({"stream": true}))] {
        let answer = gateway.post_with("/v1/chat/completions", &request(id), body("paid", "Hello", more)).await;

        let entry = gateway.entries(id, 1).await.remove(0);
        assert_eq!((entry.input_tokens, entry.output_tokens, entry.is_estimated), (5, 13, false), "{}", answer.text());
        assert_eq!(entry.cost.unwrap().0, 5 * 1_000 + 13 * 10_000);
        assert_eq!((entry.key_id.as_str(), entry.model.as_str(), entry.outcome.as_str()), ("anonymous", "paid", "ok"));
        assert!(answer.text().contains("\"cost_usd\":0.000135"), "{}", answer.text());
    }
    let metrics = gateway.get("/metrics").await.text();
    assert!(metrics.contains("gateway_cost_dollars{provider=\"openai\",model=\"paid\"} 0.00027\n"), "{metrics}");
}

#[tokio::test]
async fn what_the_provider_does_not_count_is_counted_here() {
    let gateway = Gateway::with_settings(MODELS, &[]).await;
    let prompt = format!("[upstream echo no_usage] {}", words(40));
    for (id, more) in [("plain", json!({})), ("stream", json!({"stream": true}))] {
        let answer = gateway.post_with("/v1/chat/completions", &request(id), body("paid", &prompt, more)).await;

        let entry = gateway.entries(id, 1).await.remove(0);
        assert!(entry.is_estimated && answer.text().contains("\"estimated\":true"), "{}", answer.text());
        assert!((47..=56).contains(&entry.output_tokens), "{}", entry.output_tokens);
        assert!((54..=63).contains(&entry.input_tokens), "{}", entry.input_tokens);
        let cost = entry.input_tokens * 1_000 + entry.output_tokens * 10_000;
        assert_eq!(entry.cost.unwrap().0, cost);
    }
}

#[tokio::test]
async fn counts_that_cannot_be_true_are_not_believed() {
    let gateway = Gateway::with_settings(MODELS, &[]).await;
    let answer = gateway
        .post_with("/v1/chat/completions", &request("absurd"), body("paid", "[upstream absurd_usage] Hi", json!({})))
        .await;

    let entry = gateway.entries("absurd", 1).await.remove(0);
    assert!(entry.is_estimated, "{}", answer.text());
    assert!(entry.output_tokens < 30 && entry.input_tokens < 40, "{entry:?}");
}

#[tokio::test]
async fn a_client_that_leaves_is_charged_for_what_was_generated_until_then() {
    let gateway = Gateway::with_settings(MODELS, &[]).await;
    let prompt = format!("[upstream echo delay_ms=15] {}", words(60));
    for (id, leaves_after) in [("at-first", 1), ("in-the-middle", 30), ("at-last", 61)] {
        let before = gateway.openai.chunks_written();
        let sent = Body::from(body("paid", &prompt, json!({"stream": true})));
        let response = gateway.begin(Method::POST, "/v1/chat/completions", &request(id), sent).await;
        let mut answer = response.into_body();
        let mut chunks = 0;
        while chunks < leaves_after {
            let data = answer.frame().await.unwrap().unwrap().into_data().unwrap();
            chunks += data.windows(10).filter(|window| window == b"\"content\":").count();
        }

        drop(answer);

        let entry = gateway.entries(id, 1).await.remove(0);
        let written = i64::try_from(gateway.openai.chunks_written() - before).unwrap();
        let near = (written / 20).max(3) + 6; // the directive itself is six tokens in three words
        assert!((entry.output_tokens - written).abs() <= near, "{id}: {} of {written}", entry.output_tokens);
        assert!(entry.is_estimated && entry.outcome == "client_closed_request", "{entry:?}");
        assert!((70..=85).contains(&entry.input_tokens), "{}", entry.input_tokens);
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_token_is_charged_for_its_prompt() {
    let gateway = Gateway::with_settings(MODELS, &[]).await;
    for (id, more) in [("plain", json!({})), ("stream", json!({"stream": true}))] {
        let sent = body("paid", "[upstream latency_ms=5000] Hello", more);
        let headers = request(id);
        let asked = gateway.post_with("/v1/chat/completions", &headers, sent);
        assert!(tokio::time::timeout(Duration::from_millis(300), asked).await.is_err());

        let entry = gateway.entries(id, 1).await.remove(0);
        assert_eq!((entry.output_tokens, entry.outcome.as_str()), (0, "client_closed_request"));
        assert!((12..=20).contains(&entry.input_tokens), "{}", entry.input_tokens);
    }
    let status = gateway.running.gateway.ledger.budgets.global().status(Default::default(), store::Period(0));
    assert_eq!(status.reserved, Default::default(), "nothing stays reserved");
}

#[tokio::test]
async fn every_attempt_has_its_entry_and_refusals_cost_nothing() {
    let file = format!("{MODELS}[groups.two]\nkind = \"ordered\"\ntargets = [\"ollama/llama3.2\", \"openai/paid\"]\n");
    let gateway = Gateway::with_settings(&file, &[("OLLAMA_URL", "http://127.0.0.1:9")]).await;

    let answer = gateway.post_with("/v1/chat/completions", &request("two"), body("two", "Hello", json!({}))).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut entries = gateway.entries("two", 2).await;
    entries.sort_by_key(|entry| entry.attempt);
    let outcomes: Vec<_> = entries.iter().map(|entry| (entry.provider.as_str(), entry.outcome.as_str())).collect();
    assert_eq!(outcomes, [("ollama", "provider_unreachable"), ("openai", "ok")]);
    assert_eq!((entries[0].cost.unwrap().0, entries[0].input_tokens, entries[1].input_tokens), (0, 0, 5));

    for (id, prompt) in [("status", "[upstream status=500]"), ("bad", "[upstream status=400]")] {
        gateway.post_with("/v1/chat/completions", &request(id), body("paid", prompt, json!({}))).await;
        assert_eq!(gateway.entries(id, 1).await[0].cost.unwrap().0, 0, "{id}");
    }
}

#[tokio::test]
async fn a_request_that_can_cost_more_than_its_cap_is_not_sent() {
    let gateway = Gateway::with_settings(MODELS, &[]).await;
    for (cap, more, status) in [
        ("0.01", json!({"max_tokens": 900}), 200),
        ("0.001", json!({"max_tokens": 900}), 400),
        ("0.000001", json!({"stream": true}), 400),
        ("0.001", json!({}), 400),
        ("nothing", json!({}), 400),
    ] {
        let before = gateway.openai.requests().len();
        let headers = [("x-max-cost-usd", cap)];
        let answer = gateway.post_with("/v1/chat/completions", &headers, body("paid", "Hello", more.clone())).await;
        assert_eq!(answer.status, status, "{cap} {more}: {}", answer.text());
        assert_eq!(gateway.openai.requests().len() - before, usize::from(status == 200));
        if status == 400 {
            assert_eq!(answer.error().2.as_deref(), Some("x-max-cost-usd"));
        }
    }
    let unpriced = gateway
        .post_with("/v1/chat/completions", &[("x-max-cost-usd", "1")], body("unpriced", "Hello", json!({})))
        .await;
    assert_eq!((unpriced.status.as_u16(), unpriced.error().1.as_str()), (400, "unknown_price"));
}

#[tokio::test]
async fn a_stream_ends_cleanly_when_it_has_cost_what_it_may() {
    let gateway = Gateway::with_settings(MODELS, &[]).await;
    let prompt = format!("[upstream echo delay_ms=5] {}", words(200));
    let more = json!({"stream": true, "stream_options": {"include_usage": true}, "x-max-cost-usd": 0.00075});

    let answer = gateway.post_with("/v1/chat/completions", &request("cap"), body("paid", &prompt, more)).await;

    let events = answer.events();
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"), "{}", answer.text());
    let json: Vec<Value> = events.iter().filter_map(|event| serde_json::from_str(event).ok()).collect();
    let reasons: Vec<&str> = json.iter().filter_map(|chunk| chunk["choices"][0]["finish_reason"].as_str()).collect();
    assert_eq!(reasons, ["length"]);
    let metadata = &json.last().unwrap()["x-gateway"];
    assert_eq!((&metadata["stopped"], &metadata["estimated"]), (&json!("max_cost_usd"), &json!(true)));
    let cost = metadata["cost_usd"].as_f64().unwrap();
    assert!((0.0006..=0.00075).contains(&cost), "{cost}");
    assert!(json.iter().any(|chunk| chunk["usage"]["completion_tokens"].as_u64().is_some_and(|tokens| tokens > 30)));
    let entry = gateway.entries("cap", 1).await.remove(0);
    assert!((600_000..=750_000).contains(&entry.cost.unwrap().0) && entry.outcome == "ok", "{entry:?}");
    for _ in 0..100 {
        if gateway.openai.open_streams() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the provider still writes");
}

#[tokio::test]
async fn an_unknown_price_is_null_and_never_zero() {
    let gateway = Gateway::with_settings(MODELS, &[]).await;
    let answer =
        gateway.post_with("/v1/chat/completions", &request("unpriced"), body("unpriced", "Hello", json!({}))).await;

    assert_eq!(answer.json()["x-gateway"]["cost_usd"], Value::Null);
    let entry = gateway.entries("unpriced", 1).await.remove(0);
    assert_eq!((entry.cost, entry.input_tokens), (None, 5));

    let (_, limited) = gateway.create_key(json!({"monthly_budget_usd": 5})).await;
    let refused = gateway.chat_as(&limited, "unpriced", "Hello", json!({})).await;
    assert_eq!((refused.status.as_u16(), refused.error().1.as_str()), (400, "unknown_price"));
    let (id, by_tokens) = gateway.create_key(json!({"monthly_budget_tokens": 100000})).await;
    assert_eq!(gateway.chat_as(&by_tokens, "unpriced", "Hello", json!({})).await.status, 200);
    assert_eq!(gateway.usage(&id).await["tokens"], 18);

    let lenient = Gateway::with_settings(MODELS, &[("UNKNOWN_PRICE", "allow")]).await;
    let (_, limited) = lenient.create_key(json!({"monthly_budget_usd": 5})).await;
    assert_eq!(lenient.chat_as(&limited, "unpriced", "Hello", json!({})).await.status, 200);
}
