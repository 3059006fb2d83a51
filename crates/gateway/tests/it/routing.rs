//! How `auto` and its kin choose, through the port: explanations, an admin's changes, opinions, conversations, plans of
//! several models.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Gateway};

/// Four models of one provider, cheap to dear, and the local one.
const MODELS: [&str; 4] = ["gpt-4o-mini", "gpt-4.1-mini", "gpt-4o", "gpt-4.1"];

fn user(content: &str) -> Value {
    json!([{"role": "user", "content": content}])
}

async fn explain(gateway: &Gateway, body: Value) -> Value {
    let answer = gateway.post("/v1/route/explain", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The models of an explanation in the order in which they would be tried, then those that cannot serve.
fn order(explanation: &Value) -> Vec<&str> {
    explanation["candidates"].as_array().unwrap().iter().map(|one| one["model"].as_str().unwrap()).collect()
}

fn metadata(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["x-gateway"].clone()
}

fn attempts(metadata: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    metadata["attempts"].as_array().unwrap().iter().map(|one| (text(&one["model"]), text(&one["outcome"]))).collect()
}

#[tokio::test]
async fn an_explanation_is_the_decision_and_sends_nothing() {
    let gateway = Gateway::with_upstreams().await;
    let before = gateway.openai.requests().len() + gateway.ollama.requests().len();

    let body = json!({"model": "auto", "messages": user("Say hello")});
    let explanation = explain(&gateway, body.clone()).await;

    assert_eq!(gateway.openai.requests().len() + gateway.ollama.requests().len(), before);
    assert_eq!(explanation["object"], "route.explanation");
    let first = &explanation["candidates"][0];
    assert_eq!((&first["rank"], &first["taken"], &first["reason"]), (&json!(1), &json!(true), &json!("taken")));
    let evidence = &first["quality"]["evidence"];
    let weights: f64 = ["prior", "benchmarks", "feedback"].iter().map(|layer| evidence[layer].as_f64().unwrap()).sum();
    assert!((weights - 1.0).abs() < 1e-9, "{evidence}");
    for candidate in explanation["candidates"].as_array().unwrap() {
        assert!(!candidate["reason"].as_str().unwrap().is_empty());
        assert!(candidate["quality"]["standard_error"].as_f64().unwrap() >= 0.0);
    }
    let served = metadata(&gateway.post("/v1/chat/completions", &body).await);
    assert_eq!(served["routing_decision"], explanation["routing_decision"]);
    assert_eq!(served["model"], first["model"]);
}

#[tokio::test]
async fn what_a_model_lacks_stands_beside_it() {
    let gateway = Gateway::with_upstreams().await;

    let image = json!([{"role": "user", "content": [{"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]}]);
    let explanation = explain(
        &gateway,
        json!({"model": "auto", "messages": image, "candidates": [
            {"model": "blind", "quality": 0.9, "capabilities": {"vision": false}},
            {"model": "seeing", "quality": 0.5, "capabilities": {"vision": true}}]}),
    )
    .await;

    assert_eq!(order(&explanation), ["seeing", "blind"]);
    let blind = &explanation["candidates"][1];
    assert_eq!((&blind["rank"], &blind["reason"]), (&Value::Null, &json!("it lacks image input")));
}

#[tokio::test]
async fn a_batch_with_candidates_prices_and_grades_of_its_own_is_explained_at_once() {
    let gateway = Gateway::with_upstreams().await;
    let price = |dollars: f64| json!({"input_usd_per_million": dollars, "output_usd_per_million": dollars});
    let graded = |score: f64| -> Vec<Value> {
        (0..30).map(|n| json!({"prompt": format!("What is {n} plus {n}?"), "score": score})).collect()
    };

    let answer = explain(
        &gateway,
        json!({
            "requests": [
                {"model": "cheap", "messages": user("hi")},
                {"model": "quality", "messages": user("What is 7 plus 8?")},
            ],
            "candidates": [
                {"model": "small", "price": price(0.1), "graded": graded(0.2)},
                {"model": "large", "price": price(10.0), "graded": graded(1.0)},
            ],
        }),
    )
    .await;

    let all = answer["data"].as_array().unwrap();
    assert_eq!(all.iter().map(|one| order(one)[0]).collect::<Vec<_>>(), ["small", "large"]);
    let quality = &all[1]["candidates"][0]["quality"];
    assert!(quality["evidence"]["benchmarks"].as_f64().unwrap() > 0.5, "{quality}");
}

#[tokio::test]
async fn a_batch_that_is_not_accepted_says_which_request_and_why() {
    let gateway = Gateway::with_upstreams().await;
    let good = json!({"model": "auto", "messages": user("hi")});
    for (body, param) in [
        (json!({"requests": []}), "requests"),
        (json!({"requests": vec![good.clone(); 1_001]}), "requests"),
        (json!({"requests": [good, {"model": "auto", "messages": 5}]}), "requests[1].messages"),
        (json!({"model": "auto", "messages": user("hi"), "candidates": []}), "candidates"),
        (json!({"model": "auto", "messages": user("hi"), "candidates": [{"model": "a", "quality": 7}]}), "candidates"),
        (json!({"model": "auto", "messages": user("hi"), "policy": {"strategy": "luck"}}), "strategy"),
    ] {
        let answer = gateway.post("/v1/route/explain", &body).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert_eq!(answer.error().2.as_deref(), Some(param), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_model_that_is_named_is_explained_as_such_and_one_that_nobody_has_is_a_404() {
    let gateway = Gateway::with_upstreams().await;

    let named = explain(&gateway, json!({"model": "gpt-4o-mini", "messages": user("hi")})).await;
    assert_eq!((&named["placement"], &named["routing_decision"]), (&json!("named"), &json!("direct: gpt-4o-mini")));

    let unknown = gateway.post("/v1/route/explain", &json!({"model": "gpt-9", "messages": user("hi")})).await;
    assert_eq!((unknown.status.as_u16(), unknown.error().1), (404, "model_not_found".to_owned()));
}

#[tokio::test]
async fn no_candidate_is_a_clear_error_and_auto_never_goes_upstream() {
    let gateway = Gateway::with_settings("", &[("OPENAI_API_KEY", ""), ("ROUTING_MAX_COST_PER_1K_USD", "1")]).await;
    let (_, key) = gateway.create_key(json!({"allowed_models": ["nothing"]})).await;

    let forbidden = gateway.chat_as(&key, "auto", "hi", json!({})).await;
    assert_eq!((forbidden.status.as_u16(), forbidden.error().1), (403, "model_not_allowed".to_owned()));
    let (_, open) = gateway.create_key(json!({})).await;
    let audio = json!({"messages": [{"role": "user", "content":
        [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}]});
    let incapable = gateway.chat_as(&open, "auto", "hi", audio).await;
    assert_eq!((incapable.status.as_u16(), incapable.error().1), (400, "no_capable_model".to_owned()));
    assert!(incapable.text().contains("audio input"), "{}", incapable.text());

    let served = gateway.chat_as(&open, "auto", "hi", json!({})).await;
    assert_eq!(served.status, 200);
    assert!(gateway.ollama.requests().iter().all(|request| !request.body.windows(6).any(|part| part == b"\"auto\"")));
}

#[tokio::test]
async fn the_routing_is_changed_while_it_runs_and_the_change_outlives_the_process() {
    let gateway = Gateway::with_upstreams().await;
    let path = "/api/admin/routing";
    let weights = json!({"cost": 0.2, "quality": 0.5, "latency": 0.3});

    let before = gateway.admin(Method::GET, path, &Value::Null).await.json();
    assert_eq!(before["weights"], json!({"cost": 0.4, "quality": 0.35, "latency": 0.25}));
    let change = json!({"strategy": "balanced", "weights": weights, "prefer_local": false});
    let tried = gateway.admin(Method::PUT, &format!("{path}?dry_run=true"), &change).await;
    assert_eq!((tried.status.as_u16(), &tried.json()["dry_run"]), (200, &json!(true)));
    assert_eq!(tried.json()["weights"], weights);
    assert_eq!(gateway.admin(Method::GET, path, &Value::Null).await.json()["weights"], before["weights"]);

    let changed = gateway.admin(Method::PUT, path, &change).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let explanation = explain(&gateway, json!({"model": "auto", "messages": user("hi")})).await;
    assert_eq!(explanation["weights"], weights);
    assert_ne!(explanation["placement"], "local-first");
    let preset =
        explain(&gateway, json!({"model": "auto", "messages": user("hi"), "x-routing-strategy": "cost"})).await;
    assert_eq!(preset["weights"], json!({"cost": 0.8, "quality": 0.1, "latency": 0.1}));

    let history = gateway.admin(Method::GET, path, &Value::Null).await.json()["history"].clone();
    assert_eq!((history.as_array().unwrap().len(), &history[0]["after"]), (1, &change));
    let kept = gateway.running.gateway.store.setting("routing").await.unwrap().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), change);

    let undone = gateway.admin(Method::PUT, path, &json!({})).await.json();
    assert_eq!((&undone["weights"], &undone["prefer_local"]), (&before["weights"], &before["prefer_local"]));
}

#[tokio::test]
async fn a_change_that_is_not_accepted_changes_nothing_and_needs_the_admin_key() {
    let gateway = Gateway::with_upstreams().await;
    for (body, param) in [
        (json!({"weights": {"cost": 0.5, "quality": 0.3, "latency": 0.3}}), "weights"),
        (json!({"strategy": "luck"}), "strategy"),
        (json!({"no_such_field": 1}), "no_such_field"),
    ] {
        let answer = gateway.admin(Method::PUT, "/api/admin/routing", &body).await;
        assert_eq!((answer.status.as_u16(), answer.error().2.as_deref()), (400, Some(param)), "{}", answer.text());
    }
    let path = "/api/admin/routing";
    let stranger = gateway.send(Method::PUT, path, &[], axum::body::Body::from("{}")).await;
    assert_eq!(stranger.status, 401);
    assert!(gateway.admin(Method::GET, path, &Value::Null).await.json()["history"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn configured_weights_and_limits_count_from_the_start() {
    let gateway = Gateway::with_settings(
        "[routing]\nweights = \"cost=0.1,quality=0.8,latency=0.1\"\nmax_cost_per_1k_usd = 0.000001\n",
        &[("OPENAI_API_KEY", "sk-test-sentinel-provider-key")],
    )
    .await;

    let explanation = explain(&gateway, json!({"model": "auto", "messages": user("hi")})).await;

    assert_eq!(explanation["weights"]["quality"], 0.8);
    let dear = explanation["candidates"].as_array().unwrap().iter().find(|one| one["model"] == "gpt-4.1").unwrap();
    assert_eq!((&dear["rank"], &dear["reason"]), (&Value::Null, &json!("it lacks a cost within the limit")));
    assert_eq!(explanation["candidates"][0]["model"], "llama3.2");
}

#[tokio::test]
async fn an_opinion_changes_what_is_predicted() {
    let gateway = Gateway::with_settings("", &[("PREFER_LOCAL", "true")]).await;
    let prompt = "Say hello in one word";
    let quality = async || {
        let explanation = explain(&gateway, json!({"model": "auto", "messages": user(prompt)})).await;
        let one = explanation["candidates"].as_array().unwrap().iter().find(|one| one["model"] == "llama3.2").unwrap();
        (one["quality"]["value"].as_f64().unwrap(), one["quality"]["evidence"]["feedback"].as_f64().unwrap())
    };
    let (before, weight) = quality().await;
    assert_eq!(weight, 0.0);

    for _ in 0..20 {
        let answer = gateway.chat("auto", prompt, json!({"x-prefer-provider": "ollama"})).await;
        assert_eq!(metadata(&answer)["model"], "llama3.2");
        let request_id = answer.header("x-request-id").unwrap();
        let opinion = json!({"request_id": request_id, "score": 0});
        let given = gateway.admin(Method::POST, "/api/feedback", &opinion).await;
        assert_eq!((given.status.as_u16(), &given.json()["model"]), (201, &json!("llama3.2")), "{}", given.text());
        let again = gateway.admin(Method::POST, "/api/feedback", &opinion).await;
        assert_eq!(again.status, 409);
    }

    let mut after = quality().await;
    for _ in 0..1_000 {
        if after.1 > 0.0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        after = quality().await;
    }
    assert!(after.0 < before && after.1 > 0.0, "{before} {after:?}");
}

#[tokio::test]
async fn an_opinion_of_what_nobody_remembers_is_a_404_and_a_bad_score_a_400() {
    let gateway = Gateway::with_upstreams().await;

    let unknown = gateway.admin(Method::POST, "/api/feedback", &json!({"request_id": "none", "score": 1})).await;
    let bad = gateway.admin(Method::POST, "/api/feedback", &json!({"request_id": "none", "score": 5})).await;
    let stranger = gateway.post("/api/feedback", &json!({"request_id": "none", "score": 1})).await;

    assert_eq!([unknown.status.as_u16(), bad.status.as_u16(), stranger.status.as_u16()], [404, 400, 401]);
}

#[tokio::test]
async fn an_opinion_of_an_id_that_came_twice_is_of_neither() {
    let gateway = Gateway::with_upstreams().await;
    let body = json!({"model": "auto", "messages": user("Hi")}).to_string();
    let ask = async || {
        let answer = gateway.post_with("/v1/chat/completions", &[("x-request-id", "mine")], body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-request-id")), (200, Some("mine")));
    };
    ask().await;
    ask().await;

    let given = gateway.admin(Method::POST, "/api/feedback", &json!({"request_id": "mine", "score": 1})).await;

    assert_eq!(given.status, 409, "{}", given.text());
}

#[tokio::test]
async fn a_conversation_stays_with_its_model_and_another_begins_anew() {
    let gateway = Gateway::with_settings("", &[("PREFER_LOCAL", "false")]).await;
    let first = json!([{"role": "user", "content": "Tell me about rivers"}]);
    let later = json!([
        {"role": "user", "content": "Tell me about rivers"},
        {"role": "assistant", "content": "They flow."},
        {"role": "user", "content": "Go on"},
    ]);
    let ask = async |messages: &Value, more: Value| {
        let mut body = json!({"model": "auto", "messages": messages});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        metadata(&gateway.post("/v1/chat/completions", &body).await)["model"].as_str().unwrap().to_owned()
    };

    let begun = ask(&first, json!({"x-routing-strategy": "quality"})).await;
    let goes_on = ask(&later, json!({"x-routing-strategy": "cost"})).await;
    let other = json!([
        {"role": "user", "content": "Tell me about lakes"},
        {"role": "assistant", "content": "They lie."},
        {"role": "user", "content": "Go on"},
    ]);
    let elsewhere = ask(&other, json!({"x-routing-strategy": "cost"})).await;

    assert_eq!(goes_on, begun);
    assert_ne!(elsewhere, begun);
}

#[tokio::test]
async fn a_chain_of_the_operators_is_followed_when_the_chosen_model_fails() {
    let gateway =
        Gateway::with_settings("[routing]\nfallback_chain = \"openai/gpt-4.1-mini\"\n", &[("PREFER_LOCAL", "true")])
            .await;

    let answer = gateway.ask("cheap", "hello [upstream status=500 only=llama3.2]").await;

    let metadata = metadata(&answer);
    assert_eq!(metadata["fallback_used"], true);
    assert_eq!(attempts(&metadata).last().unwrap().0, "gpt-4.1-mini", "{metadata}");
}

/// A key that may use the four models alone, so that a plan has to be made of them.
async fn four_models(gateway: &Gateway) -> String {
    let allowed: Vec<String> = MODELS.iter().map(|model| format!("openai/{model}")).collect();
    gateway.create_key(json!({"allowed_models": allowed})).await.1
}

#[tokio::test]
async fn a_cascade_whose_cheap_models_agree_asks_nobody_else() {
    let gateway = Gateway::with_upstreams().await;
    let key = four_models(&gateway).await;

    let answer = gateway.chat_as(&key, "auto", "42 [upstream echo]", json!({"x-routing-plan": "cascade"})).await;

    let metadata = metadata(&answer);
    let attempts = attempts(&metadata);
    let outcomes: Vec<&str> = attempts.iter().map(|(_, outcome)| outcome.as_str()).collect();
    assert_eq!(outcomes, ["agreed", "ok"], "{metadata}");
    assert!(metadata["routing_decision"].as_str().unwrap().ends_with(" [cascade]"), "{metadata}");
    assert_eq!(metadata["fallback_used"], false);
    let entries = gateway.entries(answer.header("x-request-id").unwrap(), 2).await;
    let paid: i64 = entries.iter().map(|entry| entry.cost.unwrap().0).sum();
    assert!(entries.iter().all(|entry| entry.cost.unwrap().0 > 0));
    assert_eq!(metadata["cost_usd"].as_f64().unwrap(), paid as f64 / 1e9);
}

/// A prompt about one of the four models that has `role` in the plan which this very prompt is given, and the plan's
/// models by their bare names.
async fn prompt_about(gateway: &Gateway, key: &str, plan: &str, role: usize, words: &str) -> (String, Vec<String>) {
    let bearer = format!("Bearer {key}");
    for model in MODELS {
        let prompt = format!("What is 6 times 7? [upstream {words} only={model}]");
        let body = json!({"model": "auto", "messages": user(&prompt), "x-routing-plan": plan});
        let headers = [("authorization", bearer.as_str())];
        let explained = gateway.post_with("/v1/route/explain", &headers, body.to_string()).await.json();
        let models = explained["plan"]["models"].as_array().unwrap_or_else(|| panic!("no plan in {explained}"));
        let bare = |name: &Value| name.as_str().unwrap().split_once('/').unwrap().1.to_owned();
        let models: Vec<String> = models.iter().map(bare).collect();
        if models[role] == model {
            return (prompt, models);
        }
    }
    panic!("no model has that place in a plan");
}

#[tokio::test]
async fn a_cascade_whose_cheap_models_differ_asks_the_strong_one_and_streams_it() {
    let gateway = Gateway::with_upstreams().await;
    let key = four_models(&gateway).await;
    let (prompt, models) = prompt_about(&gateway, &key, "cascade", 0, "echo").await;

    let answer = gateway.chat_as(&key, "auto", &prompt, json!({"x-routing-plan": "cascade", "stream": true})).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.events().last().unwrap(), "[DONE]");
    let events = answer.events();
    let last: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
    let metadata = &last["x-gateway"];
    assert_eq!(metadata["model"], models[2].as_str());
    let outcomes: Vec<String> = attempts(metadata).into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes, ["outvoted", "outvoted", "ok"]);
    assert_eq!(gateway.entries(answer.header("x-request-id").unwrap(), 3).await.len(), 3);
}

#[tokio::test]
async fn a_cascade_that_agrees_is_a_stream_for_whoever_asked_for_one() {
    let gateway = Gateway::with_upstreams().await;
    let key = four_models(&gateway).await;

    let more = json!({"x-routing-plan": "cascade", "stream": true, "stream_options": {"include_usage": true}});
    let answer = gateway.chat_as(&key, "auto", "42 [upstream echo]", more).await;

    assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(answer.streamed_text(), "42 [upstream echo]");
    assert_eq!(answer.events().last().unwrap(), "[DONE]");
    assert!(answer.text().contains("\"prompt_tokens\""), "{}", answer.text());
    assert!(answer.text().contains("\"agreed\""));
}

#[tokio::test]
async fn a_cascade_whose_strong_model_fails_gives_the_cheap_answer_that_it_has() {
    let gateway = Gateway::with_upstreams().await;
    let key = four_models(&gateway).await;
    let (prompt, models) = prompt_about(&gateway, &key, "cascade", 2, "status=400").await;
    gateway.openai.tell(&format!("echo only={}", models[0])).unwrap();

    let answer = gateway.chat_as(&key, "auto", &prompt, json!({"x-routing-plan": "cascade"})).await;

    let metadata = metadata(&answer);
    assert_eq!(metadata["model"], models[0].as_str());
    let outcomes: Vec<String> = attempts(&metadata).into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!((outcomes.len(), outcomes.last().unwrap().as_str()), (3, "ok"), "{metadata}");
    assert!(outcomes.iter().any(|outcome| outcome == "outvoted"), "{metadata}");
}

#[tokio::test]
async fn what_one_cheap_model_refuses_and_another_answers_is_asked_of_the_strong_one() {
    let gateway = Gateway::with_upstreams().await;
    let key = four_models(&gateway).await;
    let (prompt, models) = prompt_about(&gateway, &key, "cascade", 0, "status=400").await;

    let answer = gateway.chat_as(&key, "auto", &prompt, json!({"x-routing-plan": "cascade"})).await;

    let metadata = metadata(&answer);
    assert_eq!(metadata["model"], models[2].as_str(), "{metadata}");
    assert_eq!(attempts(&metadata).len(), 3, "{metadata}");
}

#[tokio::test]
async fn two_that_decline_in_the_same_words_do_not_agree() {
    let gateway = Gateway::with_upstreams().await;
    let key = four_models(&gateway).await;
    let prompt = "42 [upstream echo stop=content_filter]";

    let answer = gateway.chat_as(&key, "auto", prompt, json!({"x-routing-plan": "cascade"})).await;

    assert_eq!(attempts(&metadata(&answer)).len(), 3, "{}", answer.text());
}

#[tokio::test]
async fn a_cap_on_the_cost_has_one_model_answer() {
    let gateway = Gateway::with_upstreams().await;
    let key = four_models(&gateway).await;

    let more = json!({"x-routing-plan": "cascade", "x-max-cost-usd": 0.5, "max_tokens": 10});
    let answer = gateway.chat_as(&key, "auto", "42 [upstream echo]", more).await;

    assert_eq!(attempts(&metadata(&answer)).len(), 1, "{}", answer.text());
}

#[tokio::test]
async fn an_explanation_names_the_model_that_a_preferred_provider_has() {
    let gateway = Gateway::with_upstreams().await;
    for (provider, other) in [("ollama", "openai"), ("openai", "ollama")] {
        let body = json!({"model": "auto", "messages": user("Hi"), "x-prefer-provider": provider});
        let explained = gateway.post("/v1/route/explain", &body).await.json();
        let answered = metadata(&gateway.post("/v1/chat/completions", &body).await);

        let first = &explained["candidates"][0];
        assert_eq!((&first["provider"], &first["taken"]), (&json!(provider), &json!(true)), "{explained}");
        assert_eq!((&answered["provider"], &answered["model"]), (&first["provider"], &first["model"]));
        assert_eq!(answered["routing_decision"], explained["routing_decision"]);
        let reasons: Vec<&str> =
            explained["candidates"].as_array().unwrap().iter().filter_map(|one| one["reason"].as_str()).collect();
        assert_eq!(
            explained["placement"] == "preferred",
            reasons.contains(&"the request prefers another provider"),
            "{other}: {explained}"
        );
    }
}

#[tokio::test]
async fn an_explanation_is_as_large_as_it_may_be() {
    let gateway = Gateway::with_upstreams().await;
    let ask = json!({"model": "auto", "messages": user("Hi")});
    let named = json!({"requests": [ask], "candidates": [{"model": "m".repeat(257)}]});
    let refused = gateway.post("/v1/route/explain", &named).await;
    assert_eq!((refused.status.as_u16(), refused.error().2.as_deref()), (400, Some("candidates")));

    let candidates = [json!({"model": "m1"}), json!({"model": "m2"})];
    let many = json!({"requests": vec![ask; 1_000], "candidates": candidates});
    let whole = gateway.post("/v1/route/explain", &many).await;
    assert_eq!((whole.status.as_u16(), whole.json()["data"].as_array().map(Vec::len)), (200, Some(1_000)));
}

#[tokio::test]
async fn an_answer_that_is_no_good_is_escalated() {
    let gateway = Gateway::with_upstreams().await;
    let key = four_models(&gateway).await;
    let more = json!({"x-routing-plan": "escalate"});

    let good = metadata(&gateway.chat_as(&key, "auto", "What is 6 times 7?", more.clone()).await);
    assert_eq!(attempts(&good).len(), 1);
    assert!(good["routing_decision"].as_str().unwrap().ends_with(" [escalate]"), "{good}");

    let (prompt, models) = prompt_about(&gateway, &key, "escalate", 0, "stop=content_filter").await;
    let answer = metadata(&gateway.chat_as(&key, "auto", &prompt, more).await);
    let expected = [(models[0].clone(), "refused".to_owned()), (models[1].clone(), "ok".to_owned())];
    assert_eq!(attempts(&answer), expected);
}

#[tokio::test]
async fn plans_of_several_models_can_be_switched_off_and_are_never_made_unasked() {
    let gateway = Gateway::with_settings("", &[("COMPOSITE_PLANS", "off")]).await;
    let refused = gateway.chat("auto", "42", json!({"x-routing-plan": "cascade"})).await;
    assert_eq!((refused.status.as_u16(), refused.error().1), (400, "composite_plans_off".to_owned()));
    assert_eq!(gateway.chat("auto", "42", json!({"x-routing-plan": "single"})).await.status, 200);

    let gateway = Gateway::with_upstreams().await;
    let single = metadata(&gateway.chat("auto", "What is 6 times 7? [upstream echo]", json!({})).await);
    assert_eq!(attempts(&single).len(), 1);
}

#[tokio::test]
async fn savings_are_told_beside_the_best_model_and_only_where_the_router_chose() {
    let gateway = Gateway::with_upstreams().await;

    let chosen = metadata(&gateway.ask("cheap", "hi").await);
    let named = metadata(&gateway.ask("gpt-4o-mini", "hi").await);

    assert!(chosen["savings_usd"].as_f64().unwrap() > 0.0, "{chosen}");
    assert_eq!(named["savings_usd"], Value::Null);
}
