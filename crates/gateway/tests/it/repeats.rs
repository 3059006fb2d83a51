//! Requests that are sent twice: one after the other with an `Idempotency-Key`, or at the same time by chance.

use std::time::Duration;

use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use testkit::Redis;

use crate::faults::{calls, metadata};
use crate::harness::{Answer, Gateway};
use crate::replicas::PATIENT;

fn body(prompt: &str, more: Value) -> String {
    let mut body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

async fn ask(gateway: &Gateway, key: &str, prompt: &str, more: Value) -> Answer {
    gateway.post_with("/v1/chat/completions", &[("idempotency-key", key)], body(prompt, more)).await
}

async fn spent(gateway: &Gateway) -> i64 {
    let budget = gateway.get("/api/budget").await.json();
    budget["global"]["tokens"].as_i64().unwrap()
}

#[tokio::test]
async fn the_same_key_gets_the_same_answer_and_costs_nothing() {
    let gateway = Gateway::with_upstreams().await;
    for more in [json!({}), json!({"stream": true, "stream_options": {"include_usage": true}})] {
        let key = format!("order-{more}");
        let first = ask(&gateway, &key, "Hello", more.clone()).await;
        assert_eq!((first.status.as_u16(), first.header("idempotent-replayed")), (200, None), "{}", first.text());
        let (tokens, asked) = (spent(&gateway).await, calls(&gateway.openai));

        let again = ask(&gateway, &key, "Hello", more).await;

        assert_eq!((again.status.as_u16(), again.header("idempotent-replayed")), (200, Some("true")));
        assert_eq!(again.body, first.body);
        for name in ["content-type", "x-gateway-provider", "x-gateway-model"] {
            assert_eq!(again.header(name), first.header(name), "{name}");
        }
        assert_eq!((spent(&gateway).await, calls(&gateway.openai)), (tokens, asked), "nobody was asked");
    }
}

/// TRAPS 22.
#[tokio::test]
async fn a_key_stands_for_one_request_of_one_caller() {
    let gateway = Gateway::with_upstreams().await;
    assert_eq!(ask(&gateway, "k", "Hello", json!({})).await.status, 200);

    let other = ask(&gateway, "k", "Something else", json!({})).await;
    assert_eq!((other.status.as_u16(), other.error().1.as_str()), (400, "idempotency_key_reused"));
    assert_eq!(other.header("x-should-retry"), Some("false"));
    let (_, secret) = gateway.create_key(json!({})).await;
    let bearer = format!("Bearer {secret}");
    let headers = [("idempotency-key", "k"), ("authorization", bearer.as_str())];
    let theirs = gateway.post_with("/v1/chat/completions", &headers, body("Something else", json!({}))).await;
    assert_eq!((theirs.status.as_u16(), theirs.header("idempotent-replayed")), (200, None));
    for key in ["", &"k".repeat(256)] {
        let headers = [("idempotency-key", key), ("authorization", bearer.as_str())];
        let refused = gateway.post_with("/v1/chat/completions", &headers, body("Hello", json!({}))).await;
        assert_eq!((refused.status.as_u16(), refused.error().1.as_str()), (400, "invalid_value"));
        assert_eq!(refused.error().2.as_deref(), Some("Idempotency-Key"));
    }
}

#[tokio::test]
async fn a_key_whose_request_runs_is_a_conflict_that_passes() {
    let gateway = Gateway::with_upstreams().await;
    let slow = "[upstream latency_ms=500] Hello";
    let (first, second) = tokio::join!(ask(&gateway, "k", slow, json!({})), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        ask(&gateway, "k", slow, json!({})).await
    });

    assert_eq!(first.status, 200);
    assert_eq!((second.status.as_u16(), second.error().1.as_str()), (409, "idempotency_in_flight"));
    assert_eq!((second.header("retry-after"), second.header("x-should-retry")), (Some("1"), Some("true")));
    assert_eq!(ask(&gateway, "k", slow, json!({})).await.header("idempotent-replayed"), Some("true"));
    assert_eq!(calls(&gateway.openai), 1);
}

#[tokio::test]
async fn a_request_that_failed_or_was_left_frees_its_key() {
    let gateway = Gateway::with_upstreams().await;
    for (key, more) in [("failed", json!({})), ("failed-stream", json!({"stream": true}))] {
        let failing = "[upstream status=500 times=2] Hello";
        assert_eq!(ask(&gateway, key, failing, more.clone()).await.status, 502);
        let again = ask(&gateway, key, failing, more).await;
        assert_eq!((again.status.as_u16(), again.header("idempotent-replayed")), (200, None), "{}", again.text());
        gateway.openai.forget();
    }
    let broken = "[upstream chunks=5 cut=2 times=1] Hello";
    assert!(!ask(&gateway, "broken", broken, json!({"stream": true})).await.text().contains("[DONE]"));
    assert!(ask(&gateway, "broken", broken, json!({"stream": true})).await.text().contains("[DONE]"));

    let slow = body("[upstream chunks=100 delay_ms=20 times=1] Hello", json!({"stream": true}));
    let headers = [("idempotency-key", "left")];
    let answer = gateway.begin(Method::POST, "/v1/chat/completions", &headers, slow.clone().into()).await;
    let mut stream = answer.into_body();
    stream.frame().await.unwrap().unwrap();
    drop(stream);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if gateway.openai.open_streams() == 0 {
            break;
        }
    }
    let again = gateway.post_with("/v1/chat/completions", &headers, slow).await;
    assert!(again.status == 200 && again.text().contains("[DONE]"), "{}", again.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_on_one_redis_share_keys_and_answers() {
    let redis: &'static Redis = Box::leak(Box::new(tokio::task::spawn_blocking(Redis::start).await.unwrap()));
    let url = redis.url();
    let one = Gateway::with_settings("", &[("REDIS_URL", &url), ("REPLICAS", "2"), PATIENT]).await;
    let two = Gateway::with_settings("", &[("REDIS_URL", &url), ("REPLICAS", "2"), PATIENT]).await;
    let first = ask(&one, "k", "Hello", json!({})).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let mut again = ask(&two, "k", "Hello", json!({})).await;
    for _ in 0..50 {
        if again.status == 200 {
            break;
        }
        // The answer is told to Redis behind the request.
        tokio::time::sleep(Duration::from_millis(20)).await;
        again = ask(&two, "k", "Hello", json!({})).await;
    }

    assert_eq!((again.header("idempotent-replayed"), &again.body), (Some("true"), &first.body));
    assert_eq!(calls(&two.openai), 0);
    assert_eq!(ask(&two, "k", "Other", json!({})).await.error().1, "idempotency_key_reused");
    let slow = "[upstream latency_ms=600] Hello";
    let (running, refused) = tokio::join!(ask(&one, "slow", slow, json!({})), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        ask(&two, "slow", slow, json!({})).await
    });
    assert_eq!((running.status.as_u16(), refused.status.as_u16()), (200, 409));
    tokio::task::spawn_blocking(|| redis.kill()).await.unwrap();
    assert_eq!(ask(&one, "alone", "Hello", json!({})).await.status, 200, "without Redis each has its own");
    assert_eq!(ask(&one, "alone", "Hello", json!({})).await.header("idempotent-replayed"), Some("true"));
}

const CERTAIN: &str = "[upstream latency_ms=400] Hello";

#[tokio::test]
async fn identical_requests_in_flight_need_one_call() {
    let gateway = Gateway::with_upstreams().await;
    let asked: Vec<_> = (0..5).map(|_| gateway.chat("gpt-4o-mini", CERTAIN, json!({"temperature": 0}))).collect();

    let answers = futures_util::future::join_all(asked).await;

    assert_eq!(calls(&gateway.openai), 1);
    let content = |answer: &Answer| answer.json()["choices"].clone();
    assert!(answers.iter().all(|answer| answer.status == 200 && content(answer) == content(&answers[0])));
    let followers: Vec<&Answer> =
        answers.iter().filter(|answer| metadata(answer)["coalesced"] == json!(true)).collect();
    assert_eq!(followers.len(), 4);
    for follower in followers {
        assert_eq!(follower.header("x-gateway-cache"), Some("coalesced"));
        assert_eq!(metadata(follower)["cost_usd"], 0.0);
    }
    let lead = answers.iter().find(|answer| metadata(answer)["coalesced"].is_null()).unwrap();
    assert_eq!(gateway.entries(lead.header("x-request-id").unwrap(), 1).await.len(), 1);
    let once = spent(&gateway).await;
    gateway.chat("gpt-4o-mini", CERTAIN, json!({"temperature": 0})).await;
    assert_eq!((spent(&gateway).await, calls(&gateway.openai)), (2 * once, 2), "later ones are asked anew");
    assert!(gateway.get("/metrics").await.text().contains("gateway_coalesced_total 4"));

    let input = json!({"model": "text-embedding-3-small", "input": CERTAIN});
    let embed = || gateway.post("/v1/embeddings", &input);
    let (one, two) = tokio::join!(embed(), embed());
    let sent = gateway.openai.requests().iter().filter(|request| request.path.ends_with("/embeddings")).count();
    assert_eq!((one.status.as_u16(), two.status.as_u16(), sent), (200, 200, 1));
}

/// TRAPS 22, 23.
#[tokio::test]
async fn what_depends_on_chance_or_belongs_to_others_is_asked_for_each() {
    let gateway = Gateway::with_upstreams().await;
    let both = async |more: Value| {
        let before = calls(&gateway.openai);
        let ask = || gateway.chat("gpt-4o-mini", CERTAIN, more.clone());
        let (one, two) = tokio::join!(ask(), ask());
        assert_eq!((one.status.as_u16(), two.status.as_u16()), (200, 200));
        calls(&gateway.openai) - before
    };
    for more in [
        json!({}),
        json!({"temperature": 0.7}),
        json!({"temperature": 0, "n": 2}),
        json!({"temperature": 0, "stream": true}),
        json!({"temperature": 0, "x-cache": false}),
    ] {
        assert_eq!(both(more.clone()).await, 2, "{more}");
    }
    let (_, secret) = gateway.create_key(json!({})).await;
    let (_, other) = gateway.create_key(json!({})).await;
    let before = calls(&gateway.openai);
    let ask = |secret: &'static str| gateway.chat_as(secret, "gpt-4o-mini", CERTAIN, json!({"temperature": 0}));
    let (secret, other) = (&*secret.leak(), &*other.leak());
    let _ = tokio::join!(ask(secret), ask(other));
    assert_eq!(calls(&gateway.openai) - before, 2, "keys share nothing");

    let gateway = Gateway::with_settings("[upstream]\ncoalesce = false\n", &[]).await;
    let ask = || gateway.chat("gpt-4o-mini", CERTAIN, json!({"temperature": 0}));
    let _ = tokio::join!(ask(), ask());
    assert_eq!(calls(&gateway.openai), 2, "switched off");
}

#[tokio::test]
async fn whoever_waits_gets_the_answer_though_the_first_has_left() {
    let gateway = Gateway::with_upstreams().await;
    let ask = |more: Value| gateway.chat("gpt-4o-mini", CERTAIN, more);
    let hurried = async {
        let early = tokio::time::timeout(Duration::from_millis(150), ask(json!({"temperature": 0}))).await;
        assert!(early.is_err());
    };
    let patient = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        ask(json!({"temperature": 0})).await
    };
    let ((), answer) = tokio::join!(hurried, patient);

    assert_eq!((answer.status.as_u16(), calls(&gateway.openai)), (200, 1), "{}", answer.text());
    assert!(spent(&gateway).await > 0, "it is paid for once");
    let concurrency = &gateway.running.gateway.concurrency;
    for _ in 0..100 {
        if concurrency.active() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(concurrency.active(), 0);
}

#[tokio::test]
async fn a_failure_is_told_to_all() {
    let gateway = Gateway::with_settings(crate::harness::NO_BREAKERS, &[]).await;
    let ask = |prompt: &'static str, more: Value| gateway.chat("gpt-4o-mini", prompt, more);
    let failing = "[upstream latency_ms=200 status=400] Hello";
    let (one, two) = tokio::join!(ask(failing, json!({"temperature": 0})), ask(failing, json!({"temperature": 0})));
    assert_eq!((one.status.as_u16(), two.status.as_u16(), calls(&gateway.openai)), (400, 400, 1));
    assert_eq!(one.body, two.body);
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}
