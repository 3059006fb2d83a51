//! Gateway keys: who is let in, and the API and the command that make them.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::Duration;

use axum::body::Body;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{ADMIN_KEY, Gateway, data_dir, start};

#[tokio::test]
async fn once_a_key_exists_it_is_needed_and_opens() {
    let gateway = Gateway::with_upstreams().await;
    assert_eq!(gateway.ask("gpt-4o-mini", "Hello").await.status, 200);

    let (id, secret) = gateway.create_key(json!({"name": "app", "environment": "staging"})).await;

    let without = gateway.ask("gpt-4o-mini", "Hello").await;
    assert_eq!((without.status.as_u16(), without.error().1.as_str()), (401, "missing_api_key"));
    assert_eq!(without.header("x-should-retry"), Some("false"));
    let wrong = gateway.chat_as("gw-staging-wrong", "gpt-4o-mini", "Hello", json!({})).await;
    assert_eq!((wrong.status.as_u16(), wrong.error().0.as_str()), (401, "authentication_error"));
    assert_eq!(wrong.error().1, "invalid_api_key");
    assert!(secret.starts_with("gw-staging-"), "{secret}");
    assert_eq!(gateway.chat_as(&secret, "gpt-4o-mini", "Hello", json!({})).await.status, 200);
    assert_eq!(gateway.usage(&id).await["tokens"], 18);
}

#[tokio::test]
async fn a_secret_is_shown_once_and_kept_nowhere() {
    let gateway = Gateway::with_upstreams().await;
    let (id, secret) = gateway.create_key(json!({"name": "once"})).await;

    let listed = gateway.admin(Method::GET, "/api/admin/keys", &Value::Null).await;
    gateway.running.gateway.store.ping().await.unwrap();

    assert!(listed.text().contains(&id) && !listed.text().contains(&secret));
    let hint = listed.json()["data"][0]["hint"].as_str().unwrap().to_owned();
    assert!(secret.starts_with(&hint[..6]) && secret.ends_with(&hint[hint.len() - 4..]), "{hint}");
    let folder = gateway.running.gateway.registry.snapshot().config.storage.data_dir.clone();
    for file in walk(&folder) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(memchr::memmem::find(&bytes, secret.as_bytes()).is_none(), "{}", file.display());
        assert!(memchr::memmem::find(&bytes, ADMIN_KEY.as_bytes()).is_none(), "{}", file.display());
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn a_key_is_changed_rotated_and_revoked_at_once() {
    let gateway = Gateway::with_upstreams().await;
    let (id, first) = gateway.create_key(json!({"name": "old name", "rpm": 100})).await;
    let path = format!("/api/admin/keys/{id}");

    let changed = gateway.admin(Method::PATCH, &path, &json!({"name": "new name", "rpm": null, "tpm": 5000})).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let changed = changed.json();
    assert_eq!((&changed["name"], &changed["rpm"], &changed["tpm"]), (&json!("new name"), &Value::Null, &json!(5000)));

    let rotated = gateway.admin(Method::POST, &format!("{path}/rotate"), &Value::Null).await.json();
    let second = rotated["key"].as_str().unwrap();
    assert_eq!(gateway.chat_as(&first, "gpt-4o-mini", "Hello", json!({})).await.status, 401);
    assert_eq!(gateway.chat_as(second, "gpt-4o-mini", "Hello", json!({})).await.status, 200);

    let disabled = gateway.admin(Method::PATCH, &path, &json!({"enabled": false})).await;
    assert_eq!(disabled.json()["enabled"], false);
    assert_eq!(gateway.chat_as(second, "gpt-4o-mini", "Hello", json!({})).await.status, 401);
    gateway.admin(Method::PATCH, &path, &json!({"enabled": true})).await;

    let revoked = gateway.admin(Method::DELETE, &format!("/api/admin/keys/{second}"), &Value::Null).await;
    assert_eq!((revoked.status.as_u16(), &revoked.json()["id"]), (200, &json!(id)));
    assert_eq!(gateway.chat_as(second, "gpt-4o-mini", "Hello", json!({})).await.status, 401);
    assert_eq!(gateway.admin(Method::PATCH, &path, &json!({"enabled": true})).await.status, 409);
    assert_eq!(gateway.ask("gpt-4o-mini", "Hello").await.status, 401, "revoking the last key opens no door");

    let audit = gateway.running.gateway.store.audit(100).await.unwrap();
    let actions: Vec<&str> = audit.iter().rev().map(|row| row.action.as_str()).collect();
    assert_eq!(actions, ["key.create", "key.update", "key.rotate", "key.update", "key.update", "key.revoke"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_new_key_is_told_by_its_field() {
    let gateway = Gateway::with_upstreams().await;
    for (body, param) in [
        (json!({}), None),
        (json!({"name": ""}), Some("name")),
        (json!({"name": "a", "environment": "test"}), Some("environment")),
        (json!({"name": "a", "monthly_budget_usd": -1}), Some("monthly_budget_usd")),
        (json!({"name": "a", "monthly_budget_usd": "much"}), Some("monthly_budget_usd")),
        (json!({"name": "a", "rpm": 0}), Some("rpm")),
        (json!({"name": "a", "rpm": 1.5}), Some("rpm")),
        (json!({"name": "a", "expires_at": "tomorrow"}), Some("expires_at")),
        (json!({"name": "a", "allowed_models": "gpt-4o"}), Some("allowed_models")),
    ] {
        let answer = gateway.admin(Method::POST, "/api/admin/keys", &body).await;
        assert_eq!((answer.status.as_u16(), answer.error().2.as_deref()), (400, param), "{body}: {}", answer.text());
    }
    let unknown = gateway.admin(Method::POST, "/api/admin/keys", &json!({"name": "a", "monthly_budget": 5})).await;
    assert_eq!(unknown.status, 400);
    assert!(unknown.text().contains("`monthly_budget`"), "{}", unknown.text());
    let exact = gateway.admin(Method::POST, "/api/admin/keys", &json!({"name": "a", "monthly_budget_usd": 0.1})).await;
    assert_eq!(exact.json()["monthly_budget_usd"], 0.1);
    let gone = gateway.admin(Method::DELETE, "/api/admin/keys/key_nobody", &Value::Null).await;
    assert_eq!((gone.status.as_u16(), gone.error().1.as_str()), (404, "not_found"));
}

#[tokio::test]
async fn every_route_is_closed_to_those_who_may_not_call_it() {
    let gateway = Gateway::with_upstreams().await;
    let (_, secret) = gateway.create_key(json!({})).await;
    let admin = format!("Bearer {ADMIN_KEY}");
    let caller = format!("Bearer {secret}");
    // Method, path, what nobody, a gateway key and the admin key get.
    for (method, path, nobody, key, admins) in [
        (Method::GET, "/", 200, 200, 200),
        (Method::GET, "/health", 200, 200, 200),
        (Method::GET, "/health/live", 200, 200, 200),
        (Method::GET, "/health/ready", 200, 200, 200),
        (Method::GET, "/metrics", 401, 200, 200),
        (Method::GET, "/v1/models", 401, 200, 401),
        (Method::GET, "/v1/models/gpt-4o", 401, 200, 401),
        (Method::POST, "/v1/chat/completions", 401, 400, 401),
        (Method::POST, "/v1/embeddings", 401, 400, 401),
        (Method::GET, "/api/budget", 401, 401, 200),
        (Method::GET, "/api/admin/keys", 401, 401, 200),
        (Method::POST, "/api/admin/keys", 401, 401, 400),
        (Method::PATCH, "/api/admin/keys/key_x", 401, 401, 400),
        (Method::POST, "/api/admin/keys/key_x/rotate", 401, 401, 404),
        (Method::DELETE, "/api/admin/keys/key_x", 401, 401, 404),
    ] {
        for (headers, expected) in [
            (vec![], nobody),
            (vec![("authorization", caller.as_str())], key),
            (vec![("authorization", admin.as_str())], admins),
            (vec![("host", "127.0.0.1"), ("x-original-url", "/health"), ("x-forwarded-for", "127.0.0.1")], nobody),
        ] {
            let answer = gateway.send(method.clone(), path, &headers, Body::empty()).await;
            assert_eq!(answer.status, expected, "{method} {path} with {headers:?}: {}", answer.text());
        }
    }
    assert_eq!(gateway.get("/health").await.json(), json!({"status": "ok"}), "a word and no more");
}

#[tokio::test]
async fn the_admin_key_cannot_be_guessed_in_a_loop() {
    let gateway = Gateway::with_upstreams().await;
    for _ in 0..10 {
        let wrong = gateway.send(Method::GET, "/api/admin/keys", &[("authorization", "Bearer guess")], Body::empty());
        assert_eq!(wrong.await.status, 401);
    }

    let right = gateway.admin(Method::GET, "/api/admin/keys", &Value::Null).await;

    assert_eq!((right.status.as_u16(), right.error().1.as_str()), (429, "too_many_wrong_keys"));
    assert!(right.header("retry-after").unwrap().parse::<u64>().unwrap() <= 60);
}

#[tokio::test]
async fn a_key_reaches_its_allowed_models_only() {
    let gateway = Gateway::with_upstreams().await;
    let (_, secret) = gateway.create_key(json!({"allowed_models": ["gpt-4o-mini", "ollama/*"]})).await;
    for (model, status) in [("gpt-4o-mini", 200), ("openai/gpt-4o-mini", 200), ("llama3.2", 200), ("gpt-4o", 403)] {
        let answer = gateway.chat_as(&secret, model, "Hello", json!({})).await;
        assert_eq!(answer.status, status, "{model}: {}", answer.text());
    }
    let refused = gateway.chat_as(&secret, "gpt-4o", "Hello", json!({})).await;
    let (kind, code, param) = refused.error();
    assert_eq!(
        (kind.as_str(), code.as_str(), param.as_deref()),
        ("permission_error", "model_not_allowed", Some("model"))
    );
    let auto = gateway.chat_as(&secret, "auto", "Hello", json!({})).await.json();
    let chosen = auto["x-gateway"]["model"].as_str().unwrap();
    assert!(chosen == "gpt-4o-mini" || auto["x-gateway"]["provider"] == "ollama", "{auto}");

    let bearer = format!("Bearer {secret}");
    let models = gateway.send(Method::GET, "/v1/models", &[("authorization", &bearer)], Body::empty()).await.text();
    assert!(models.contains("\"gpt-4o-mini\"") && !models.contains("\"gpt-4o\""), "{models}");
}

#[tokio::test]
async fn a_key_past_its_time_opens_nothing() {
    let gateway = Gateway::with_upstreams().await;
    let (_, past) = gateway.create_key(json!({"expires_at": "2020-01-01T00:00:00Z"})).await;
    let (_, future) = gateway.create_key(json!({"expires_at": "2999-01-01T00:00:00+01:00"})).await;

    assert_eq!(gateway.chat_as(&past, "gpt-4o-mini", "Hello", json!({})).await.status, 401);
    assert_eq!(gateway.chat_as(&future, "gpt-4o-mini", "Hello", json!({})).await.status, 200);
}

#[tokio::test]
async fn limits_are_told_in_headers_and_kept() {
    let gateway = Gateway::with_upstreams().await;
    let (_, secret) = gateway.create_key(json!({"rpm": 2, "tpm": 1000})).await;

    let first = gateway.chat_as(&secret, "gpt-4o-mini", "Hello", json!({"max_tokens": 100})).await;
    let second = gateway.chat_as(&secret, "gpt-4o-mini", "Hello", json!({"stream": true})).await;
    let third = gateway.chat_as(&secret, "gpt-4o-mini", "Hello", json!({})).await;

    let header = |answer: &crate::harness::Answer, name: &str| answer.header(name).unwrap().to_owned();
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200));
    assert_eq!(header(&first, "x-ratelimit-limit-requests"), "2");
    assert_eq!(header(&first, "x-ratelimit-remaining-requests"), "1");
    assert_eq!(header(&first, "x-ratelimit-limit-tokens"), "1000");
    assert_eq!(header(&second, "x-ratelimit-remaining-requests"), "0");
    assert_eq!((third.status.as_u16(), third.error().1.as_str()), (429, "rate_limit_exceeded"));
    assert_eq!(third.error().0, "rate_limit_error");
    assert_eq!((third.header("retry-after"), third.header("x-should-retry")), (Some("30"), Some("true")));
    assert_eq!(header(&third, "x-ratelimit-remaining-requests"), "0");
    assert!(gateway.openai.requests().iter().filter(|request| request.path.ends_with("completions")).count() == 2);
}

#[tokio::test]
async fn tokens_and_places_are_limited_too() {
    let gateway = Gateway::with_upstreams().await;
    let (_, few) = gateway.create_key(json!({"tpm": 50})).await;
    assert_eq!(gateway.chat_as(&few, "gpt-4o-mini", "Hello", json!({"max_tokens": 45})).await.status, 200);
    let refused = gateway.chat_as(&few, "gpt-4o-mini", "Hello", json!({"max_tokens": 45})).await;
    assert_eq!((refused.status.as_u16(), refused.error().1.as_str()), (429, "tokens_rate_limit_exceeded"));

    let (_, one) = gateway.create_key(json!({"max_concurrent": 1})).await;
    let slow = gateway.chat_as(&one, "gpt-4o-mini", "[upstream latency_ms=600]", json!({}));
    let quick = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        gateway.chat_as(&one, "gpt-4o-mini", "Hello", json!({})).await
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!((slow.status.as_u16(), quick.status.as_u16()), (200, 429));
    assert_eq!(gateway.chat_as(&one, "gpt-4o-mini", "Hello", json!({})).await.status, 200);
}

#[tokio::test]
async fn a_budget_key_pays_where_nobody_is_named() {
    let gateway = Gateway::with_settings("", &[("AUTH", "optional")]).await;
    let (id, secret) = gateway.create_key(json!({})).await;

    let body =
        json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}], "x-budget-key": secret});
    assert_eq!(gateway.post("/v1/chat/completions", &body).await.status, 200);
    let by_body = gateway.usage(&id).await["tokens"].as_i64().unwrap();
    let plain = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}).to_string();
    assert_eq!(
        gateway.post_with("/v1/chat/completions", &[("x-budget-key", &secret)], plain.clone()).await.status,
        200
    );
    let by_header = gateway.usage(&id).await["tokens"].as_i64().unwrap();
    assert_eq!(gateway.post_with("/v1/chat/completions", &[], plain).await.status, 200);

    assert_eq!((by_body, by_header), (18, 36));
    assert_eq!(gateway.usage(&id).await["tokens"], 36, "a request without a key is nobody's");
    let sent = String::from_utf8(gateway.openai.requests()[1].body.clone()).unwrap();
    assert!(!sent.contains("x-budget-key"), "{sent}");
}

#[tokio::test]
async fn the_admin_key_that_a_first_start_makes_opens_and_stays() {
    let folder = data_dir().to_string_lossy().into_owned();
    let environment = || BTreeMap::from([("PORT".to_owned(), "0".to_owned()), ("DATA_DIR".to_owned(), folder.clone())]);
    let first = start(environment(), "").await;
    let made = first.new_admin_key.clone().expect("a first start makes a key");
    first.stop(Duration::from_secs(1), std::future::pending()).await;

    let second = start(environment(), "").await;

    assert!(second.new_admin_key.is_none());
    let bearer = format!("Bearer {}", secrecy::ExposeSecret::expose_secret(&made));
    let (keys, live) = (&second.gateway.keys, second.gateway.registry.snapshot());
    assert!(
        keys.admit_admin(
            &live.config,
            &http::HeaderMap::from_iter([(http::header::AUTHORIZATION, bearer.parse().unwrap())])
        )
        .is_ok()
    );
}

/// The command line beside a running gateway.
fn command(folder: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llm-gateway"));
    command.arg("keys").args(arguments).env_clear().env("DATA_DIR", folder).current_dir(std::env::temp_dir());
    command.output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_the_command_line_are_in_force_within_a_second() {
    let gateway = Gateway::with_upstreams().await;
    let folder = gateway.running.gateway.registry.snapshot().config.storage.data_dir.to_string_lossy().into_owned();

    let made =
        command(&folder, &["create", "--name", "shell", "--budget-usd", "2.50", "--rpm", "60", "--model", "auto"]);
    let secret = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert!(secret.starts_with("gw-development-"), "{}", String::from_utf8_lossy(&made.stderr));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(gateway.chat_as(&secret, "auto", "Hello", json!({})).await.status, 200);

    let listed = String::from_utf8(command(&folder, &["list"]).stdout).unwrap();
    assert!(listed.contains("shell") && listed.contains("active") && listed.contains("$2.5"), "{listed}");
    let revoked = command(&folder, &["revoke", &secret]);
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(gateway.chat_as(&secret, "auto", "Hello", json!({})).await.status, 401);
    let again = command(&folder, &["revoke", &secret]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("revoked"));
}
