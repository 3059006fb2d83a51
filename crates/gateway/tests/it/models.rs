//! What can be asked for: the lists, the virtual models, aliases and groups.

use serde_json::{Value, json};

use crate::harness::Gateway;

/// A provider per simulated entry, named by the file: the only way into `serve`.
pub(crate) const SIMULATED: &str = "[[provider]]\nname = \"simulated-alpha\"\n[[provider]]\nname = \"simulated-beta\"\n\
                         [[provider]]\nname = \"simulated-local\"\n";

#[tokio::test]
async fn the_list_names_every_model_with_its_facts_and_the_virtual_ones() {
    let gateway = Gateway::with_upstreams().await;

    let list = gateway.get("/v1/models").await.json();

    assert_eq!(list["object"], "list");
    let models = list["data"].as_array().unwrap();
    let find = |id: &str| models.iter().find(|model| model["id"] == id).unwrap_or_else(|| panic!("{id} in {list}"));
    for id in ["auto", "fast", "cheap", "quality"] {
        assert_eq!(find(id)["owned_by"], "llm-gateway");
    }
    let known = find("gpt-4o-mini");
    assert_eq!((&known["owned_by"], &known["object"]), (&json!("openai"), &json!("model")));
    assert_eq!(known["context_window"], 128_000);
    assert!(known["price"]["input_usd_per_million"].as_f64().unwrap() > 0.0);
    assert_eq!(known["capabilities"]["tools"], true);
    assert_eq!(find("nomic-embed-text")["kind"], "embedding");
}

#[tokio::test]
async fn one_model_is_found_by_its_bare_and_its_full_name() {
    let gateway = Gateway::with_upstreams().await;
    for id in ["gpt-4o-mini", "openai/gpt-4o-mini", "llama3.2", "ollama/llama3.2", "auto"] {
        let answer = gateway.get(&format!("/v1/models/{id}")).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["id"]), (200, &json!(id)));
    }
    let unknown = gateway.get("/v1/models/gpt-4o-minni").await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.error().1, "model_not_found");
    assert!(unknown.text().contains("`gpt-4o-mini`"));
}

#[tokio::test]
async fn aliases_and_groups_lead_to_their_targets() {
    let file = "[aliases]\n\"gpt-4\" = \"openai/gpt-4o-mini\"\n\
                [groups.pair]\nkind = \"ordered\"\ntargets = [\"ollama/llama3.2\", \"openai/gpt-4o-mini\"]\n";
    let gateway = Gateway::with_settings(file, &[]).await;

    let alias = gateway.ask("gpt-4", "hi").await.json();
    let group = gateway.ask("pair", "hi").await.json();

    assert_eq!(alias["x-gateway"]["routing_decision"], "configured: gpt-4o-mini");
    assert_eq!(group["x-gateway"]["provider"], "ollama");
}

#[tokio::test]
async fn virtual_models_pick_differently_and_say_why() {
    let gateway =
        Gateway::with_settings(SIMULATED, &[("OPENAI_API_KEY", ""), ("OLLAMA_URL", "http://127.0.0.1:9")]).await;
    for model in ["sim-frontier", "sim-standard", "sim-swift", "sim-budget", "sim-local"] {
        let answer = gateway.ask(model, "warm up").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let pick = async |model: &str, more: Value| {
        let answer = gateway.chat(model, "Say hello", more).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let metadata = answer.json()["x-gateway"].clone();
        (metadata["attempts"][0]["model"].as_str().unwrap().to_owned(), metadata["routing_decision"].to_string())
    };

    let (fast, why_fast) = pick("fast", json!({})).await;
    let (cheap, why_cheap) = pick("cheap", json!({})).await;
    let (best, why_best) = pick("quality", json!({})).await;
    let (_, why_auto) = pick("auto", json!({})).await;
    let (_, why_cost) = pick("auto", json!({"x-routing-strategy": "cost"})).await;
    let (preferred, _) = pick("auto", json!({"x-prefer-provider": "simulated-alpha"})).await;

    assert_eq!((fast.as_str(), best.as_str()), ("sim-swift", "sim-frontier"));
    assert_eq!(cheap, "sim-local", "free and local");
    assert!(why_fast.starts_with("\"fast: sim-swift (score: "), "{why_fast}");
    assert!(why_cheap.starts_with("\"cheap: "), "{why_cheap}");
    assert!(why_best.starts_with("\"quality: ") && why_best.contains("complexity: simple"), "{why_best}");
    assert!(why_auto.starts_with("\"balanced: "), "{why_auto}");
    assert!(why_cost.starts_with("\"cost: "), "{why_cost}");
    assert!(preferred == "sim-frontier" || preferred == "sim-standard", "{preferred}");
}

#[tokio::test]
async fn the_name_auto_never_goes_upstream() {
    let gateway = Gateway::with_settings("", &[("OPENAI_API_KEY", ""), ("OLLAMA_URL", "http://127.0.0.1:9")]).await;

    let answer = gateway.ask("auto", "hi").await;

    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.error().1, "no_provider_available");
    assert!(answer.header("retry-after").is_some());
}

#[tokio::test]
async fn a_request_that_no_model_can_serve_is_told_what_it_needs() {
    let gateway =
        Gateway::with_settings(SIMULATED, &[("OPENAI_API_KEY", ""), ("OLLAMA_URL", "http://127.0.0.1:9")]).await;
    let audio = json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}});
    let body = json!({"model": "auto", "messages": [{"role": "user", "content": [audio]}]});

    let answer = gateway.post("/v1/chat/completions", &body).await;

    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(answer.error().1, "no_capable_model");
    assert!(answer.text().contains("audio input"));
}

#[tokio::test]
async fn health_and_metrics_tell_of_providers_and_traffic() {
    let gateway = Gateway::with_settings("", &[("OLLAMA_URL", "http://127.0.0.1:9")]).await;
    gateway.ask("gpt-4o-mini", "hi").await;

    let health = gateway.get("/health").await;
    let metrics = gateway.get("/metrics").await;

    assert_eq!(health.status, 200);
    let health = health.json();
    assert_eq!(health["status"], "degraded");
    assert_eq!((&health["providers"]["healthy"], &health["providers"]["total"]), (&json!(1), &json!(2)));
    assert_eq!(gateway.get("/health/live").await.status, 200);
    assert_eq!(gateway.get("/health/ready").await.status, 200);
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let line =
        r#"gateway_requests_total{provider="openai",model="gpt-4o-mini",status="200",routing_strategy="balanced"} 1"#;
    assert!(metrics.text().contains(line), "{}", metrics.text());
    assert!(metrics.text().contains("gateway_active_providers 1"), "{}", metrics.text());
}

#[tokio::test]
async fn unknown_model_names_add_no_series() {
    let gateway = Gateway::with_upstreams().await;
    let series = async || {
        let text = gateway.get("/metrics").await.text();
        let names = text.lines().filter_map(|line| line.rsplit_once(' ').map(|(name, _)| name.to_owned()));
        names.collect::<std::collections::BTreeSet<String>>()
    };
    gateway.ask("openai/made-up-0", "hi").await;
    gateway.ask("made-up-0", "hi").await;
    let before = series().await;

    for number in 1..200 {
        gateway.ask(&format!("openai/made-up-{number}"), "hi").await;
        gateway.ask(&format!("made-up-{number}"), "hi").await;
    }

    let new: Vec<String> = series().await.difference(&before).cloned().collect();
    assert!(new.is_empty(), "{new:?}");
}
