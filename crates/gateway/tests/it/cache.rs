//! Answers that are given again, through the port: who gets them, who must not, and how they look.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use testkit::Redis;

use crate::faults::{calls, metadata};
use crate::harness::{Answer, Gateway, data_dir};

const ON: (&str, &str) = ("CACHE_ENABLED", "true");
const MODEL: &str = "gpt-4o-mini";

async fn with_cache(variables: &[(&str, &str)]) -> Gateway {
    let variables: Vec<(&str, &str)> = std::iter::once(ON).chain(variables.iter().copied()).collect();
    Gateway::with_settings("", &variables).await
}

fn outcome(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-gateway-cache").unwrap()
}

fn kind(answer: &Answer) -> Value {
    metadata(answer)["cache"]["kind"].clone()
}

async fn stats(gateway: &Gateway) -> Value {
    gateway.admin(Method::GET, "/api/cache/stats", &Value::Null).await.json()
}

/// Waits until something holds of the statistics.
async fn until(gateway: &Gateway, holds: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..300 {
        let stats = stats(gateway).await;
        if holds(&stats) {
            return stats;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{}", stats(gateway).await);
}

#[tokio::test]
async fn two_plus_two_is_answered_once_and_two_plus_three_anew() {
    let gateway = with_cache(&[]).await;
    let first = gateway.ask(MODEL, "What's 2+2?").await;
    assert_eq!((outcome(&first), metadata(&first)["cache_hit"].clone()), ("miss", json!(false)));

    let same = gateway.ask(MODEL, "What's 2+2?").await;
    let words = gateway.ask(MODEL, "What is two plus two?").await;
    let other = gateway.ask(MODEL, "What is 2+3?").await;

    assert_eq!((outcome(&same), kind(&same)), ("hit", json!("exact")));
    assert_eq!((outcome(&words), kind(&words)), ("hit", json!("normalised")));
    assert_eq!(outcome(&other), "miss");
    assert_eq!(calls(&gateway.openai), 2);
    for hit in [&same, &words] {
        let (hit, first) = (hit.json(), first.json());
        assert_eq!(hit["choices"], first["choices"]);
        assert_eq!(hit["usage"], first["usage"]);
        assert_ne!(hit["id"], first["id"], "an answer's id is its request's");
        let told = &hit["x-gateway"];
        assert_eq!((&told["cost_usd"], &told["cache_hit"]), (&json!(0.0), &json!(true)));
        assert_eq!(told["savings_usd"], first["x-gateway"]["cost_usd"]);
        assert!(told["cache"]["age_seconds"].is_u64() && told["cache"]["id"].is_string(), "{told}");
        assert_eq!(told["routing_decision"].as_str().map(|text| text.starts_with("cache: ")), Some(true));
    }
    assert_eq!(same.header("x-gateway-provider"), Some("openai"));
    let metrics = gateway.get("/metrics").await.text();
    for line in [
        "gateway_cache_hits_total{tier=\"exact\"} 1",
        "gateway_cache_hits_total{tier=\"normalised\"} 1",
        "gateway_cache_misses_total{reason=\"absent\"} 2",
        "gateway_cache_entries 2",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert_eq!(stats(&gateway).await["hits"], json!({"exact": 1, "normalised": 1, "semantic": 0}));
}

#[tokio::test]
async fn a_hit_costs_nothing_and_passes_the_limits_of_its_key() {
    let gateway = with_cache(&[]).await;
    let (id, secret) = gateway.create_key(json!({"rpm": 3})).await;
    let ask = || gateway.chat_as(&secret, MODEL, "Hello", json!({}));
    let first = ask().await;
    let entries = gateway.entries(first.header("x-request-id").unwrap(), 1).await;
    assert_eq!(entries.len(), 1);

    let (hit, second) = (ask().await, ask().await);
    assert_eq!((outcome(&hit), outcome(&second)), ("hit", "hit"));
    assert!(hit.header("x-ratelimit-remaining-requests").is_some());
    assert_eq!(ask().await.status, 429, "hits count as requests");

    tokio::time::sleep(Duration::from_millis(300)).await;
    let store = &gateway.running.gateway.store;
    let filter = store::EntryFilter::Request(hit.header("x-request-id").unwrap());
    assert_eq!(store.entries(filter, 10).await.unwrap(), [], "nothing was paid");
    let row = stats(&gateway).await["by_key_and_model"][0].clone();
    assert_eq!((row["key"].as_str(), row["exact"].as_u64(), row["misses"].as_u64()), (Some(&*id), Some(2), Some(1)));
    assert!(row["tokens_saved"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn streams_and_whole_answers_serve_each_other() {
    let gateway = with_cache(&[]).await;
    let streamed = gateway.stream(MODEL, "[upstream chunks=5] Tell me").await;
    assert_eq!(outcome(&streamed), "miss");

    let whole = gateway.ask(MODEL, "[upstream chunks=5] Tell me").await;
    assert_eq!((outcome(&whole), calls(&gateway.openai)), ("hit", 1));
    assert_eq!(whole.json()["choices"][0]["message"]["content"], json!(streamed.streamed_text()));
    assert_eq!(whole.json()["choices"][0]["finish_reason"], "stop");
    assert!(whole.json()["usage"]["completion_tokens"].as_u64().unwrap() > 0);

    gateway.ask(MODEL, "Another").await;
    let again =
        gateway.chat(MODEL, "Another", json!({"stream": true, "stream_options": {"include_usage": true}})).await;
    assert_eq!(outcome(&again), "hit");
    assert_eq!(again.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let events = again.events();
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    let last: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
    assert!(last["usage"]["total_tokens"].as_u64().unwrap() > 0, "{last}");
    assert_eq!((&last["x-gateway"]["cache_hit"], &last["choices"]), (&json!(true), &json!([])));
    let silent = gateway.stream(MODEL, "Another").await;
    assert!(!silent.text().contains("prompt_tokens"), "{}", silent.text());
    assert_eq!(silent.streamed_text(), again.streamed_text());
}

#[tokio::test]
async fn every_chat_api_has_a_cache_of_its_own() {
    let gateway = with_cache(&[]).await;
    let messages = json!([{"role": "user", "content": "Hello there"}]);
    let asked = [
        ("/v1/chat/completions", json!({"model": MODEL, "messages": messages})),
        ("/v1/messages", json!({"model": MODEL, "max_tokens": 50, "messages": messages})),
        ("/v1/completions", json!({"model": MODEL, "prompt": "Hello there"})),
    ];
    for (path, body) in asked {
        let first = gateway.post(path, &body).await;
        assert_eq!(outcome(&first), "miss", "{path}");
        let again = gateway.post(path, &body).await;
        assert_eq!(outcome(&again), "hit", "{path}");
        let mut streaming = body.clone();
        streaming["stream"] = json!(true);
        let streamed = gateway.post(path, &streaming).await;
        assert_eq!(outcome(&streamed), "hit", "{path}");
        let is_over = streamed.text().contains("[DONE]") || streamed.text().contains("message_stop");
        assert!(is_over && streamed.text().contains("x-gateway"), "{}", streamed.text());
    }
    let input = json!({"model": "text-embedding-3-small", "input": "Hello"});
    assert_eq!(outcome(&gateway.post("/v1/embeddings", &input).await), "miss");
    assert_eq!(outcome(&gateway.post("/v1/embeddings", &input).await), "hit");
    assert_eq!(stats(&gateway).await["entries"], 4);
}

/// P10, TRAPS 19.
#[tokio::test]
async fn what_was_cut_filtered_or_failed_is_never_given_again() {
    let gateway = Gateway::with_settings(crate::harness::NO_BREAKERS, &[ON]).await;
    for prompt in [
        "[upstream stop=length] Hello",
        "[upstream stop=content_filter] Hello",
        "[upstream status=500 times=9] Hello",
        "[upstream status=400] Hello",
    ] {
        for stream in [false, true] {
            for _ in 0..2 {
                let answer = gateway.chat(MODEL, prompt, json!({"stream": stream})).await;
                let header = answer.header("x-gateway-cache").unwrap_or("none");
                assert!(["miss", "none"].contains(&header), "{prompt} {stream}: {header}");
            }
        }
    }
    for _ in 0..2 {
        let cut = gateway.stream(MODEL, "[upstream chunks=5 cut=2] Hello").await;
        assert_eq!(cut.header("x-gateway-cache"), Some("miss"), "{}", cut.text());
        assert!(!cut.text().contains("[DONE]"));
    }
    let asked = json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]});
    for _ in 0..2 {
        let called = gateway.chat(MODEL, "[upstream tools=1] Hello", asked.clone()).await;
        assert_eq!(outcome(&called), "miss");
    }
    assert_eq!(stats(&gateway).await["entries"], 0);
}

#[tokio::test]
async fn a_request_can_stay_out_of_the_cache_or_have_it_renewed() {
    let gateway = with_cache(&[]).await;
    let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}).to_string();
    let ask = async |headers: &[(&str, &str)]| {
        let answer = gateway.post_with("/v1/chat/completions", headers, body.clone()).await;
        outcome(&answer).to_owned()
    };
    assert_eq!(ask(&[("cache-control", "no-store")]).await, "bypass");
    assert_eq!(ask(&[("x-cache", "false")]).await, "bypass");
    assert_eq!(stats(&gateway).await["entries"], 0);
    assert_eq!(ask(&[]).await, "miss");
    assert_eq!(ask(&[("cache-control", "max-age=5, no-cache")]).await, "miss");
    assert_eq!(ask(&[("cache-control", "no-store")]).await, "bypass");
    assert_eq!(ask(&[]).await, "hit");
    assert_eq!(calls(&gateway.openai), 5);

    let bad = gateway.post_with("/v1/chat/completions", &[("x-cache-threshold", "1.5")], body.clone()).await;
    assert_eq!((bad.status.as_u16(), bad.error().2.as_deref()), (400, Some("x-cache-threshold")));
    let off = Gateway::with_upstreams().await;
    off.ask(MODEL, "Hello").await;
    assert_eq!(outcome(&off.ask(MODEL, "Hello").await), "bypass");
}

/// P9, TRAPS 22 and 23.
#[tokio::test]
async fn nothing_is_shared_between_keys_histories_and_wishes() {
    let gateway = with_cache(&[]).await;
    let anonymous = gateway.ask(MODEL, "Hello").await;
    assert_eq!(outcome(&anonymous), "miss");
    let (_, one) = gateway.create_key(json!({})).await;
    let (_, two) = gateway.create_key(json!({})).await;
    for secret in [&one, &two] {
        assert_eq!(outcome(&gateway.chat_as(secret, MODEL, "Hello", json!({})).await), "miss");
        assert_eq!(outcome(&gateway.chat_as(secret, MODEL, "Hello", json!({})).await), "hit");
    }
    for more in [
        json!({"temperature": 0.5}),
        json!({"seed": 1}),
        json!({"response_format": {"type": "json_object"}}),
        json!({"max_tokens": 9}),
        json!({"future_field": true}),
        json!({"messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hello"}]}),
        json!({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": "Hello"}]}),
        json!({"model": "openai/gpt-4o-mini"}),
    ] {
        assert_eq!(outcome(&gateway.chat_as(&one, MODEL, "Hello", more.clone()).await), "miss", "{more}");
    }
    for more in [json!({"user": "u"}), json!({"metadata": {"a": "b"}}), json!({"x-tags": ["t"]})] {
        assert_eq!(outcome(&gateway.chat_as(&one, MODEL, "Hello", more.clone()).await), "hit", "{more}");
    }
    let auto = async |more: Value| outcome(&gateway.chat_as(&one, "auto", "Hello", more).await).to_owned();
    assert_eq!(auto(json!({})).await, "miss");
    assert_eq!(auto(json!({"x-routing-strategy": "cost"})).await, "miss");
    assert_eq!(auto(json!({"x-prefer-provider": "ollama"})).await, "miss");
    assert_eq!(auto(json!({"x-routing-strategy": "balanced"})).await, "hit", "that is the default");
}

#[tokio::test]
async fn keys_of_one_group_share_what_both_may_use() {
    let gateway = with_cache(&[]).await;
    let (_, one) = gateway.create_key(json!({"tags": ["cache:team"]})).await;
    let (_, two) = gateway.create_key(json!({"tags": ["x", "cache:team"]})).await;
    let (_, narrow) = gateway.create_key(json!({"tags": ["cache:team"], "allowed_models": ["gpt-4o"]})).await;
    let (_, other) = gateway.create_key(json!({"tags": ["cache:other"]})).await;
    assert_eq!(outcome(&gateway.chat_as(&one, MODEL, "Hello", json!({})).await), "miss");

    assert_eq!(outcome(&gateway.chat_as(&two, MODEL, "Hello", json!({})).await), "hit");
    assert_eq!(outcome(&gateway.chat_as(&other, MODEL, "Hello", json!({})).await), "miss");
    assert_eq!(gateway.chat_as(&narrow, MODEL, "Hello", json!({})).await.status, 403);
}

#[tokio::test]
async fn entries_go_by_model_key_text_id_pattern_or_all() {
    let gateway = with_cache(&[]).await;
    let (key, secret) = gateway.create_key(json!({})).await;
    let invalidate = async |selector: Value| {
        let answer = gateway.admin(Method::POST, "/api/cache/invalidate", &selector).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["removed"].as_u64().unwrap()
    };
    let fill = async || {
        for prompt in ["What's 2+2?", "Name a colour", "Name a fish"] {
            gateway.chat_as(&secret, MODEL, prompt, json!({})).await;
        }
        let answer = gateway.chat_as(&secret, "gpt-4o", "Name a colour", json!({})).await;
        let again = gateway.chat_as(&secret, "gpt-4o", "Name a colour", json!({})).await;
        assert_eq!(outcome(&again), "hit", "{}", answer.text());
        metadata(&again)["cache"]["id"].as_str().unwrap().to_owned()
    };
    let id = fill().await;
    assert_eq!(
        gateway.admin(Method::GET, "/api/cache/entries", &Value::Null).await.json()["data"][3]["key"],
        json!(key)
    );
    assert_eq!(invalidate(json!({"id": id})).await, 1);
    assert_eq!(invalidate(json!({"text": "what is two plus two"})).await, 1);
    assert_eq!(invalidate(json!({"pattern": "Name a f*"})).await, 1);
    assert_eq!(invalidate(json!({"model": "gpt-4o"})).await, 0);
    assert_eq!(invalidate(json!({"model": "openai/gpt-4o-mini", "key": "nobody"})).await, 0);
    assert_eq!(invalidate(json!({"key": key})).await, 1);
    fill().await;
    assert_eq!(invalidate(json!({})).await, 4);
    let refused = gateway.admin(Method::POST, "/api/cache/invalidate", &json!({"modell": "x"})).await;
    assert_eq!(refused.status, 400);
    assert_eq!(gateway.post("/api/cache/invalidate", &json!({})).await.status, 401);
}

#[tokio::test]
async fn a_pair_that_somebody_called_bad_never_meets_again() {
    let gateway = with_cache(&[]).await;
    gateway.ask(MODEL, "What's 2+2?").await;
    let hit = gateway.ask(MODEL, "What is two plus two?").await;
    let id = metadata(&hit)["cache"]["id"].as_str().unwrap().to_owned();

    let feedback = |id: &str, verdict: &str| json!({"id": id, "verdict": verdict});
    let noted = gateway.admin(Method::POST, "/api/cache/feedback", &feedback(&id, "bad")).await;

    assert_eq!((noted.status.as_u16(), noted.json()["noted"].as_bool()), (200, Some(true)));
    assert_eq!(outcome(&gateway.ask(MODEL, "What's 2 + 2").await), "miss");
    assert_eq!(outcome(&gateway.ask(MODEL, "What's 2+2?").await), "hit", "the entry itself is good");
    for (id, verdict) in [("x", "bad"), (&*id, "good")] {
        let refused = gateway.admin(Method::POST, "/api/cache/feedback", &feedback(id, verdict)).await;
        assert_eq!(refused.status, 400);
    }
}

#[tokio::test]
async fn entries_survive_a_restart_unless_they_shall_not() {
    for (persist, expected) in [("true", "hit"), ("false", "miss")] {
        let folder = data_dir().to_string_lossy().into_owned();
        let variables = [("DATA_DIR", folder.as_str()), ("CACHE_PERSIST", persist)];
        let gateway = with_cache(&variables).await;
        gateway.ask(MODEL, "What's 2+2?").await;
        gateway.ask(MODEL, "Gone soon").await;
        let selector = json!({"text": "Gone soon"});
        assert_eq!(gateway.admin(Method::POST, "/api/cache/invalidate", &selector).await.json()["removed"], 1);
        gateway.running.stop(Duration::from_secs(1), std::future::pending()).await;

        let gateway = with_cache(&variables).await;
        if persist == "true" {
            until(&gateway, |stats| stats["entries"] == 1).await;
        }

        assert_eq!(outcome(&gateway.ask(MODEL, "What is two plus two?").await), expected);
    }
}

#[tokio::test]
async fn what_was_not_used_for_longest_makes_room_and_time_ends_all() {
    let gateway = with_cache(&[("CACHE_MAX_ENTRIES", "3")]).await;
    for prompt in ["one", "two", "three"] {
        gateway.ask(MODEL, prompt).await;
    }
    assert_eq!(outcome(&gateway.ask(MODEL, "one").await), "hit");
    gateway.ask(MODEL, "four").await;
    assert_eq!(outcome(&gateway.ask(MODEL, "one").await), "hit", "it was used");
    assert_eq!(stats(&gateway).await["entries"], 3);
    assert!(gateway.get("/metrics").await.text().contains("gateway_cache_evictions_total 1"));

    let gateway = with_cache(&[("CACHE_TTL_SECONDS", "0.5")]).await;
    gateway.ask(MODEL, "one").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(outcome(&gateway.ask(MODEL, "one").await), "miss", "its time is over");
}

#[tokio::test]
async fn nothing_is_embedded_where_there_is_nothing_to_find() {
    let gateway = with_cache(&[]).await;
    for number in 0..20 {
        let model = ["gpt-4o", MODEL][number % 2];
        let more = json!({"messages": [{"role": "system", "content": number.to_string()},
            {"role": "user", "content": "How do I boil an egg?"}]});
        let answer = gateway.chat(model, "", more).await;
        assert_eq!(outcome(&answer), "miss");
    }

    let stats = until(&gateway, |stats| stats["semantic"]["embedded_texts"] == 20).await;

    assert_eq!(stats["misses"]["absent"], 20, "what was embedded was embedded behind the requests");
}

/// Asks one question, then another, in a conversation that nobody else has: the other's answer.
async fn one_then_other(gateway: &Gateway, model: &str, place: u64, one: &str, other: &str) -> Answer {
    let ask = |question: &str| {
        let messages = json!([{"role": "system", "content": format!("Place {place}")},
            {"role": "user", "content": question}]);
        gateway.chat(model, "", json!({"messages": messages}))
    };
    let before = stats(gateway).await["semantic"]["entries"].as_u64().unwrap();
    assert_eq!(outcome(&ask(one).await), "miss");
    until(gateway, |stats| stats["semantic"]["entries"].as_u64() > Some(before)).await;
    ask(other).await
}

#[tokio::test]
async fn a_question_that_means_the_same_has_the_same_answer() {
    let gateway = with_cache(&[]).await;
    let (buy, purchase) = ("How can I buy a used bicycle?", "How can I purchase a used bicycle?");
    let mut place = 0;
    let hit = loop {
        place += 1;
        let answer = one_then_other(&gateway, MODEL, place, buy, purchase).await;
        // A machine that is busy with other tests may take too long, which is a miss.
        if outcome(&answer) == "semantic" || place == 20 {
            break answer;
        }
    };
    assert_eq!((outcome(&hit), kind(&hit)), ("semantic", json!("semantic")));
    let told = metadata(&hit)["cache"].clone();
    assert!((0.95..=1.0).contains(&told["similarity"].as_f64().unwrap()), "{told}");

    let again = |more: Value| {
        let mut body = json!({"messages": [{"role": "system", "content": format!("Place {place}")},
            {"role": "user", "content": purchase}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        gateway.chat(MODEL, "", body)
    };
    let id = told["id"].as_str().unwrap();
    let feedback = json!({"id": id, "verdict": "bad"});
    assert_eq!(gateway.admin(Method::POST, "/api/cache/feedback", &feedback).await.status, 200);
    assert_eq!(outcome(&again(json!({})).await), "miss", "the pair was rejected");
    for (other, why) in [
        ("How can I sell a used bicycle?", "the opposite"),
        ("How can I buy 2 used bicycles?", "another number"),
        ("Is a used bicycle ever stolen?", "something else"),
    ] {
        place += 1;
        assert_eq!(outcome(&one_then_other(&gateway, MODEL, place, buy, other).await), "miss", "{why}");
    }
    let ask = |question: &str, more: Value| {
        let mut body = json!({"messages": [{"role": "user", "content": question}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        gateway.chat(MODEL, "", body)
    };
    let before = stats(&gateway).await["semantic"]["entries"].as_u64().unwrap();
    ask(buy, json!({})).await;
    until(&gateway, |stats| stats["semantic"]["entries"].as_u64() > Some(before)).await;
    assert_eq!(outcome(&ask(purchase, json!({"x-cache-threshold": 1.0})).await), "miss", "the caller wants more");
}

#[tokio::test]
async fn a_provider_s_embedding_model_needs_its_scale_measured_first() {
    let gateway = with_cache(&[("CACHE_EMBEDDING_MODEL", "openai/text-embedding-3-small")]).await;
    let told = stats(&gateway).await["semantic"].clone();
    assert_eq!((&told["state"], &told["model"]), (&json!("uncalibrated"), &json!("openai/text-embedding-3-small")));
    assert!(told["hint"].as_str().unwrap().contains("llm-gateway cache calibrate"), "{told}");
    gateway.ask(MODEL, "What's 2+2?").await;
    assert_eq!(outcome(&gateway.ask(MODEL, "What is two plus two?").await), "hit", "the other tiers work");
}

#[tokio::test]
async fn a_provider_s_embedding_model_is_asked_once_it_is_measured_and_the_gateway_pays() {
    let folder = data_dir();
    std::fs::create_dir_all(&folder).unwrap();
    // The imitation's vectors have nothing to do with the texts: the guards decide alone, and only on whole agreement.
    let scale = r#"{"embedder":"openai/text-embedding-3-small","knots":[[-1.0,0.951],[1.0,0.96]]}"#;
    std::fs::write(folder.join("cache-calibration.json"), scale).unwrap();
    let folder = folder.to_string_lossy().into_owned();
    let gateway =
        with_cache(&[("CACHE_EMBEDDING_MODEL", "openai/text-embedding-3-small"), ("DATA_DIR", folder.as_str())]).await;
    let (one, other) = ("How do I remove a wine stain?", "How can I get rid of a wine stain?");
    let mut place = 0;
    while outcome(&one_then_other(&gateway, MODEL, place, one, other).await) != "semantic" {
        place += 1;
        assert!(place < 20);
    }

    assert_eq!(outcome(&one_then_other(&gateway, MODEL, 99, one, "How do I remove a red wine stain?").await), "miss");
    let told = stats(&gateway).await["semantic"].clone();
    assert_eq!((&told["state"], &told["embedded_texts"]), (&json!("on"), &json!(0)), "the embedded model rests");
    let period = gateway::clock::period(gateway::clock::unix_millis());
    for _ in 0..300 {
        let filter = store::EntryFilter::Key { id: "gateway", period };
        let entries = gateway.running.gateway.store.entries(filter, 10).await.unwrap();
        if entries.iter().any(|entry| entry.model == "text-embedding-3-small" && entry.outcome == "ok") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the vectors were not accounted");
}

#[tokio::test]
async fn semantic_hits_are_checked_where_that_is_free() {
    let gateway = with_cache(&[("CACHE_VERIFY_RATE", "1")]).await;
    let model = "llama3.2";
    let (one, other) = ("How do I remove a wine stain?", "How can I get rid of a wine stain?");
    let mut place = 0;
    while outcome(&one_then_other(&gateway, model, place, one, other).await) != "semantic" {
        place += 1;
        assert!(place < 20);
    }

    let stats = until(&gateway, |stats| stats["verification"]["checked"] == 1).await;

    let found = &stats["verification"];
    assert_eq!((&found["wrong"], &found["frames_switched_off"]), (&json!(0), &json!(0)));
    assert!(found["highest"].as_f64().unwrap() > 0.5, "one check tells little: {found}");
    assert!(gateway.get("/metrics").await.text().contains("gateway_cache_verified_total{outcome=\"right\"} 1"));
}

#[tokio::test]
async fn identical_misses_need_one_call_at_any_temperature() {
    let gateway = with_cache(&[]).await;
    let slow = "[upstream latency_ms=400] Hello";
    let asked: Vec<_> = (0..5).map(|_| gateway.chat(MODEL, slow, json!({"temperature": 0.9}))).collect();

    let answers = futures_util::future::join_all(asked).await;

    assert_eq!(calls(&gateway.openai), 1);
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(outcome(&gateway.chat(MODEL, slow, json!({"temperature": 0.9})).await), "hit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_see_each_others_entries_and_invalidations_and_catch_up() {
    let redis: &'static Redis = Box::leak(Box::new(tokio::task::spawn_blocking(Redis::start).await.unwrap()));
    let url = redis.url();
    let variables = [("REDIS_URL", url.as_str()), ("REPLICAS", "2")];
    let (one, two) = (with_cache(&variables).await, with_cache(&variables).await);
    one.ask(MODEL, "What's 2+2?").await;
    until(&two, |stats| stats["entries"] == 1).await;
    assert_eq!(outcome(&two.ask(MODEL, "What is two plus two?").await), "hit");
    assert_eq!(calls(&two.openai), 0);

    two.admin(Method::POST, "/api/cache/invalidate", &json!({})).await;
    until(&one, |stats| stats["entries"] == 0).await;

    tokio::task::spawn_blocking(|| redis.freeze()).await.unwrap();
    one.ask(MODEL, "Alone").await;
    assert_eq!(outcome(&one.ask(MODEL, "Alone").await), "hit", "without Redis each has its own");
    assert_eq!(outcome(&two.ask(MODEL, "Alone").await), "miss");
    one.ask(MODEL, "Told later").await;
    tokio::task::spawn_blocking(|| redis.thaw()).await.unwrap();
    until(&two, |stats| stats["entries"].as_u64() >= Some(2)).await;
    assert_eq!(outcome(&two.ask(MODEL, "Told later").await), "hit");

    let late = with_cache(&variables).await;
    until(&late, |stats| stats["entries"].as_u64() >= Some(2)).await;
    assert_eq!(outcome(&late.ask(MODEL, "Told later").await), "hit", "who comes later catches up");
}

#[tokio::test]
async fn the_embedded_model_answers_by_its_name() {
    let gateway = with_cache(&[]).await;
    let model = "all-MiniLM-L6-v2";
    let embed = |more: Value| {
        let mut body = json!({"model": model, "input": ["The sky is blue", "Water boils at 100 degrees"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let gateway = &gateway;
        async move { gateway.post("/v1/embeddings", &body).await }
    };
    let answer = embed(json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    let vector = |json: &Value, row: usize| -> Vec<f32> {
        serde_json::from_value(json["data"][row]["embedding"].clone()).unwrap()
    };
    let length = |vector: &[f32]| vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    assert_eq!((vector(&json, 0).len(), json["data"][1]["index"].as_u64()), (384, Some(1)));
    assert!((length(&vector(&json, 0)) - 1.0).abs() < 1e-3);
    assert!(json["usage"]["prompt_tokens"].as_u64().unwrap() > 8, "{}", json["usage"]);
    assert_eq!((&json["model"], &json["x-gateway"]["cost_usd"]), (&json!(model), &json!(0.0)));

    let short = embed(json!({"dimensions": 64})).await.json();
    assert!(vector(&short, 0).len() == 64 && (length(&vector(&short, 0)) - 1.0).abs() < 1e-3);
    let base64 = embed(json!({"encoding_format": "base64"})).await.json();
    assert_eq!(base64["data"][0]["embedding"].as_str().map(str::len), Some(2_048));
    for (more, param) in [
        (json!({"input": [1, 2, 3]}), "input"),
        (json!({"dimensions": 385}), "dimensions"),
        (json!({"input": "word ".repeat(400)}), "input[0]"),
    ] {
        let refused = embed(more.clone()).await;
        assert_eq!((refused.status.as_u16(), refused.error().2.as_deref()), (400, Some(param)), "{more}");
    }
    let listed = gateway.get("/v1/models").await.json();
    let ours = listed["data"].as_array().unwrap().iter().find(|row| row["id"] == model).unwrap();
    assert_eq!((&ours["owned_by"], &ours["kind"]), (&json!("llm-gateway"), &json!("embedding")));
    assert_eq!(gateway.get(&format!("/v1/models/{model}")).await.status, 200);
}

#[tokio::test]
async fn a_provider_s_embedding_model_is_measured_by_asking_the_provider() {
    let upstream = testkit::Upstream::openai().await;
    let folder = data_dir();
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("pairs.jsonl");
    let pairs = (0..240).map(|number| format!("[\"a {number}\", \"b {number}\", {}]\n", u8::from(number % 12 == 0)));
    std::fs::write(&file, pairs.collect::<String>()).unwrap();
    let calibrate = |model: &str| {
        let mut command = crate::process::binary();
        command.args(["cache", "calibrate", "--model", model]).arg(&file).env_clear().current_dir(&folder);
        command.env("OPENAI_API_KEY", "sk-test").env("OPENAI_BASE_URL", upstream.url()).env("DATA_DIR", &folder);
        command.env("OLLAMA_URL", "http://127.0.0.1:9").env("LOG_LEVEL", "error");
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };

    let measured = calibrate("openai/text-embedding-3-small").await.unwrap();

    let (told, problem) = [measured.stdout, measured.stderr].map(|text| String::from_utf8(text).unwrap()).into();
    assert!(measured.status.success(), "{problem}");
    let scale: equivalence::Calibration = serde_json::from_str(&told).unwrap();
    assert_eq!(scale.embedder(), "openai/text-embedding-3-small");
    assert!(problem.contains("240 of 240 pairs asked for"), "{problem}");
    let asked = upstream.requests().iter().filter(|request| request.path.ends_with("/embeddings")).count();
    assert_eq!(asked, 5, "48 pairs at a time");
    let kept: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(kept, ["pairs.jsonl"], "nothing is left where the gateway keeps its data");
}

#[tokio::test]
async fn what_is_in_flight_belongs_to_one_key_alone() {
    let gateway = with_cache(&[]).await;
    let (_, one) = gateway.create_key(json!({"tags": ["cache:team"]})).await;
    let (_, two) = gateway.create_key(json!({"tags": ["cache:team"]})).await;
    let (_, narrow) = gateway.create_key(json!({"tags": ["cache:team"], "allowed_models": ["gpt-4o"]})).await;
    let slow = "[upstream latency_ms=600] Hello";
    let later = async |secret: &str| {
        tokio::time::sleep(Duration::from_millis(150)).await;
        gateway.chat_as(secret, MODEL, slow, json!({})).await
    };

    let first = gateway.chat_as(&one, MODEL, slow, json!({}));
    let (first, second, refused) = tokio::join!(first, later(&two), later(&narrow));

    assert_eq!((first.status.as_u16(), second.status.as_u16(), refused.status.as_u16()), (200, 200, 403));
    assert_eq!(calls(&gateway.openai), 2);
    let anew = async || gateway.chat_as(&one, MODEL, slow, json!({"temperature": 0})).await;
    anew().await;
    let headers = [("authorization", format!("Bearer {one}")), ("cache-control", "no-cache".to_owned())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let body = json!({"model": MODEL, "temperature": 0, "messages": [{"role": "user", "content": slow}]}).to_string();
    let before = calls(&gateway.openai);
    let fresh = [0, 1].map(|_| gateway.post_with("/v1/chat/completions", &headers, body.clone()));
    futures_util::future::join_all(fresh).await;
    assert_eq!(calls(&gateway.openai), before + 2, "made anew, each");
}

#[tokio::test]
async fn an_invalidation_reaches_what_only_the_database_has() {
    let folder = data_dir().to_string_lossy().into_owned();
    let with_room_for = async |entries: &str| {
        let gateway = with_cache(&[("DATA_DIR", folder.as_str()), ("CACHE_MAX_ENTRIES", entries)]).await;
        until(&gateway, |stats| stats["entries"].as_u64() >= Some(1)).await;
        gateway
    };
    let gateway = with_cache(&[("DATA_DIR", folder.as_str())]).await;
    for prompt in ["one", "two", "three"] {
        gateway.ask(MODEL, prompt).await;
    }
    gateway.running.stop(Duration::from_secs(1), std::future::pending()).await;

    let small = with_room_for("1").await;
    let removed = small.admin(Method::POST, "/api/cache/invalidate", &json!({"model": MODEL})).await;
    assert_eq!(removed.json()["removed"], 1, "of those in memory");
    assert_eq!(outcome(&small.ask(MODEL, "four").await), "miss");
    small.running.stop(Duration::from_secs(1), std::future::pending()).await;

    let again = with_room_for("10").await;
    assert_eq!(outcome(&again.ask(MODEL, "four").await), "hit");
    for prompt in ["one", "two", "three"] {
        assert_eq!(outcome(&again.ask(MODEL, prompt).await), "miss", "{prompt}");
    }
}

#[tokio::test]
async fn a_name_that_stands_for_another_model_now_has_no_answers_of_the_old_one() {
    let folder = data_dir().to_string_lossy().into_owned();
    let with_alias = async |target: &str| {
        let file = format!("[aliases]\n\"mine\" = \"{target}\"\n");
        Gateway::with_settings(&file, &[ON, ("DATA_DIR", folder.as_str())]).await
    };
    let gateway = with_alias("openai/gpt-4o-mini").await;
    gateway.ask("mine", "Name a fish").await;
    assert_eq!(outcome(&gateway.ask("mine", "Name a fish").await), "hit");
    gateway.running.stop(Duration::from_secs(1), std::future::pending()).await;

    let gateway = with_alias("openai/gpt-4o").await;
    until(&gateway, |stats| stats["entries"] == 1).await;
    let answer = gateway.ask("mine", "Name a fish").await;

    assert_eq!((outcome(&answer), &metadata(&answer)["model"]), ("miss", &json!("gpt-4o")));
    assert_eq!(outcome(&gateway.ask("mine", "Name a fish").await), "hit");
}
