//! Redis and PostgreSQL dead, frozen and back, under load: requests go on, nothing is lost.

#![expect(clippy::disallowed_methods, reason = "a test measures with its own clock and runs its own clients")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Postgres, Redis};

use crate::harness::Gateway;

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// A gateway on servers of its own.
async fn on_servers() -> (Gateway, &'static Postgres, &'static Redis) {
    // Leaked: the servers are used from blocking threads, and end with the test's process.
    let postgres: &'static Postgres = Box::leak(Box::new(blocking(Postgres::start).await));
    let redis: &'static Redis = Box::leak(Box::new(blocking(Redis::start).await));
    let (database, cache) = (blocking(|| postgres.create_database()).await, redis.url());
    // A machine that is busy with other tests is no Redis that is away.
    let variables = [("DATABASE_URL", database.as_str()), ("REDIS_URL", &cache), ("REDIS_TIMEOUT_SECONDS", "0.5")];
    let gateway = Gateway::with_settings("", &variables).await;
    (gateway, postgres, redis)
}

/// Asks so often and returns the slowest answers' time at the given share, all of them good.
async fn ask(gateway: &Gateway, secret: &str, times: usize) -> (Duration, Duration) {
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let began = Instant::now();
        let answer = gateway.chat_as(secret, "gpt-4o-mini", "Hello", json!({"max_tokens": 5})).await;
        took.push(began.elapsed());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    took.sort();
    (took[times / 2], took[times * 99 / 100])
}

async fn storage(gateway: &Gateway) -> Value {
    let admin = format!("Bearer {}", crate::harness::ADMIN_KEY);
    let health =
        gateway.send(http::Method::GET, "/health", &[("authorization", &admin)], axum::body::Body::empty()).await;
    assert_eq!(health.status, 200, "{}", health.text());
    health.json()["storage"].clone()
}

async fn until(gateway: &Gateway, what: &str, is_so: impl Fn(&Value) -> bool) {
    for _ in 0..400 {
        if is_so(&storage(gateway).await) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: {}", storage(gateway).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_on_while_redis_and_postgresql_are_away_and_nothing_is_lost() {
    let (gateway, postgres, redis) = on_servers().await;
    let limits =
        json!({"rpm": 1000000, "tpm": 100000000, "monthly_budget_usd": 100, "monthly_budget_tokens": 10000000});
    let (id, secret) = gateway.create_key(limits).await;
    let (_, quiet) = ask(&gateway, &secret, 300).await;
    let mut asked = 300;

    type Act = fn(&'static Postgres, &'static Redis);
    let outages: [(&str, Act, Act); 4] = [
        ("redis frozen", |_, redis| redis.freeze(), |_, redis| redis.thaw()),
        ("redis dead", |_, redis| redis.kill(), |_, redis| redis.start_again()),
        ("postgresql frozen", |postgres, _| postgres.freeze(), |postgres, _| postgres.thaw()),
        ("postgresql dead", |postgres, _| postgres.kill(), |postgres, _| postgres.start_again()),
    ];
    for (name, down, up) in outages {
        blocking(move || down(postgres, redis)).await;
        let (median, slow) = ask(&gateway, &secret, 300).await;
        asked += 300;
        // Not the promise of 5 ms, which a machine busy with other tests cannot keep: that nobody waits in line.
        assert!(slow < quiet + Duration::from_secs(1), "{name}: p50 {median:?}, p99 {slow:?}, before {quiet:?}");
        let is_redis = name.starts_with("redis");
        until(&gateway, name, |storage| match is_redis {
            true => storage["redis"] == "down",
            false => !storage["database_problem"].is_null(),
        })
        .await;

        blocking(move || up(postgres, redis)).await;
        until(&gateway, name, |storage| storage["redis"] == "up" && storage["database_problem"].is_null()).await;
        ask(&gateway, &secret, 20).await;
        asked += 20;
    }

    let month = gateway::clock::period(gateway::clock::unix_millis());
    let mut counted = 0;
    for _ in 0..200 {
        let totals = gateway.running.gateway.store.totals(month).await.unwrap_or_default();
        counted = totals.iter().filter(|(_, total)| total.key_id == id).map(|(_, total)| total.requests).sum();
        if counted == asked {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(counted, asked, "every request is in the database, none twice");
    assert_eq!(gateway.usage(&id).await["tokens"], asked * 18);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_its_database_knows_the_keys_it_knew_and_lets_no_others_in() {
    let postgres: &'static Postgres = Box::leak(Box::new(blocking(Postgres::start).await));
    let database = blocking(|| postgres.create_database()).await;
    let folder = crate::harness::data_dir().to_string_lossy().into_owned();
    let variables = [("DATABASE_URL", database.as_str()), ("DATA_DIR", &folder)];
    let gateway = Gateway::with_settings("", &variables).await;
    let (_, secret) = gateway.create_key(json!({})).await;
    gateway.running.stop(Duration::from_secs(5), std::future::pending()).await;
    blocking(|| postgres.kill()).await;

    let known = Gateway::with_settings("", &variables).await;
    let stranger = Gateway::with_settings("", &[("DATABASE_URL", &database)]).await;

    assert_eq!(known.chat_as(&secret, "gpt-4o-mini", "Hello", json!({})).await.status, 200);
    assert_eq!(known.ask("gpt-4o-mini", "Hello").await.status, 401);
    let refused = stranger.chat_as(&secret, "gpt-4o-mini", "Hello", json!({})).await;
    assert_eq!((refused.status.as_u16(), refused.error().1.as_str()), (503, "keys_unavailable"));
    let limited = known.admin(http::Method::POST, "/api/admin/keys", &json!({"name": "new"})).await;
    assert_eq!((limited.status.as_u16(), limited.error().1.as_str()), (503, "database_unavailable"));

    blocking(|| postgres.start_again()).await;
    for _ in 0..200 {
        if stranger.chat_as(&secret, "gpt-4o-mini", "Hello", json!({})).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the keys did not come with the database");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_cache_kept_while_the_database_was_away_survives_a_restart() {
    let postgres: &'static Postgres = Box::leak(Box::new(blocking(Postgres::start).await));
    let database = blocking(|| postgres.create_database()).await;
    let variables = [("DATABASE_URL", database.as_str()), ("CACHE_ENABLED", "true")];
    let gateway = Gateway::with_settings("", &variables).await;
    blocking(|| postgres.kill()).await;
    until(&gateway, "postgresql dead", |storage| !storage["database_problem"].is_null()).await;
    assert_eq!(gateway.ask("gpt-4o-mini", "What's 2+2?").await.header("x-gateway-cache"), Some("miss"));
    assert_eq!(gateway.ask("gpt-4o-mini", "What's 2+2?").await.header("x-gateway-cache"), Some("hit"));

    blocking(|| postgres.start_again()).await;
    let store = gateway.running.gateway.store.clone();
    let mut kept = 0;
    for _ in 0..400 {
        kept = store.cached(0, None, 10).await.unwrap_or_default().len();
        if kept > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(kept, 1, "the database has it");
    gateway.running.stop(Duration::from_secs(1), std::future::pending()).await;

    let gateway = Gateway::with_settings("", &variables).await;
    for _ in 0..200 {
        if !gateway.running.gateway.cache.entries(1).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(gateway.ask("gpt-4o-mini", "What is two plus two?").await.header("x-gateway-cache"), Some("hit"));
}
