//! Several credentials of one provider: the one that fails is left alone, the others serve.

use std::collections::BTreeMap;

use testkit::Upstream;

use super::{calls, provider};
use crate::harness::Gateway;

async fn with_keys(first: &Upstream) -> Gateway {
    let keys = "[[provider.credential]]\nkey = \"sk-one\"\n[[provider.credential]]\nkey = \"sk-two\"\nweight = 3\n";
    let file = provider("first", &first.url(), "") + keys;
    Gateway::with_settings(&file, &[]).await
}

fn bearers(upstream: &Upstream) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in upstream.requests().iter().filter(|request| request.path.ends_with("/chat/completions")) {
        let bearer = request.headers.get("authorization").map_or("", |value| value.to_str().unwrap());
        *counts.entry(bearer.to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn credentials_are_used_by_their_weights() {
    let first = Upstream::openai().await;
    let gateway = with_keys(&first).await;

    for _ in 0..80 {
        assert_eq!(gateway.ask("first/model", "Hello").await.status, 200);
    }

    let counts = bearers(&first);
    assert!((5..=40).contains(&counts["Bearer sk-one"]), "{counts:?}");
    assert_eq!(counts.values().sum::<usize>(), 80);
}

/// TRAPS 21.
#[tokio::test]
async fn a_credential_that_fails_is_left_alone_and_nobody_notices() {
    for (words, reason) in [("bad_key=sk-two", "provider_auth_error"), ("broke_key=sk-two", "provider_quota_exhausted")]
    {
        let first = Upstream::openai().await;
        let gateway = with_keys(&first).await;
        for _ in 0..20 {
            let answer = gateway.ask("first/model", &format!("[upstream {words}]")).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }

        assert_eq!(bearers(&first)["Bearer sk-two"], 1, "{words}");
        assert_eq!(calls(&first), 21);
        let told = gateway.get("/api/circuit-breakers").await.json();
        let row = told["providers"].as_array().unwrap().iter().find(|row| row["provider"] == "first").unwrap().clone();
        assert_eq!((&row["credentials"], row["retired"].as_array().unwrap().len()), (&2.into(), 1), "{row}");
        assert_eq!((&row["retired"][0]["credential"], &row["retired"][0]["reason"]), (&2.into(), &reason.into()));
        let metrics = gateway.get("/metrics").await.text();
        assert!(metrics.contains("gateway_credentials_retired{provider=\"first\"} 1"), "{metrics}");
    }
}

#[tokio::test]
async fn a_credential_that_is_limited_rests_while_the_other_serves() {
    let first = Upstream::openai().await;
    let gateway = with_keys(&first).await;

    for _ in 0..20 {
        assert_eq!(gateway.ask("first/model", "[upstream limited_key=sk-two retry_after=60]").await.status, 200);
    }

    assert_eq!(bearers(&first)["Bearer sk-two"], 1);
}
