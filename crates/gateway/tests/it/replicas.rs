//! Three gateways on one PostgreSQL and one Redis: as one.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use testkit::{Postgres, Redis};

use crate::budgets::{CENT, TEN};
use crate::harness::Gateway;

/// A machine that is busy with other tests is no Redis that is away.
pub(crate) const PATIENT: (&str, &str) = ("REDIS_TIMEOUT_SECONDS", "10");

/// Three replicas, and what they share.
async fn three(settings: &str) -> (Vec<Gateway>, Redis) {
    let redis = tokio::task::spawn_blocking(Redis::start).await.unwrap();
    let database = tokio::task::spawn_blocking(|| Postgres::shared().create_database()).await.unwrap();
    let url = redis.url();
    let variables = [("DATABASE_URL", database.as_str()), ("REDIS_URL", url.as_str()), ("REPLICAS", "3"), PATIENT];
    let mut gateways = Vec::new();
    for _ in 0..3 {
        gateways.push(Gateway::with_settings(settings, &variables).await);
    }
    (gateways, redis)
}

async fn known_everywhere(gateways: &[Gateway], secret: &str) {
    for gateway in gateways {
        for _ in 0..100 {
            if gateway.running.gateway.keys.of_secret(secret).is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_never_overrun_a_budget() {
    let (gateways, _redis) = three(CENT).await;
    for round in 0..20 {
        let (_, secret) = gateways[0].create_key(json!({"monthly_budget_usd": 1.0})).await;
        known_everywhere(&gateways, &secret).await;
        let asked = (0..200).map(|index| gateways[index % 3].chat_as(&secret, "cent", TEN, json!({"max_tokens": 10})));

        let answers = join_all(asked).await;

        let admitted = answers.iter().filter(|answer| answer.status == 200).count();
        let other = answers.iter().find(|answer| ![200, 429].contains(&answer.status.as_u16()));
        assert!(other.is_none(), "round {round}: {other:?}");
        assert!((60..=100).contains(&admitted), "round {round}: {admitted}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_revoked_on_every_replica_within_a_second() {
    let (gateways, _redis) = three("").await;
    let (id, secret) = gateways[0].create_key(json!({})).await;
    known_everywhere(&gateways, &secret).await;
    for gateway in &gateways {
        assert_eq!(gateway.chat_as(&secret, "gpt-4o-mini", "Hello", json!({})).await.status, 200);
    }

    gateways[1].admin(http::Method::DELETE, &format!("/api/admin/keys/{id}"), &serde_json::Value::Null).await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    for gateway in &gateways {
        assert_eq!(gateway.chat_as(&secret, "gpt-4o-mini", "Hello", json!({})).await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_share_one_rate_limit_and_one_account() {
    let (gateways, _redis) = three("").await;
    let (id, secret) = gateways[0].create_key(json!({"rpm": 12})).await;
    known_everywhere(&gateways, &secret).await;

    let mut admitted = 0;
    for index in 0..30 {
        let answer = gateways[index % 3].chat_as(&secret, "gpt-4o-mini", "Hello", json!({})).await;
        admitted += usize::from(answer.status == 200);
    }

    assert!((12..=13).contains(&admitted), "{admitted}");
    let period = gateway::clock::period(gateway::clock::unix_millis());
    for _ in 0..200 {
        let totals = gateways[0].running.gateway.store.totals(period).await.unwrap();
        let requests: i64 =
            totals.iter().filter(|(_, total)| total.key_id == id).map(|(_, total)| total.requests).sum();
        if requests == i64::try_from(admitted).unwrap() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the entries of all replicas did not come together");
}
