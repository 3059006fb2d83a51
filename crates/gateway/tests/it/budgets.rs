//! Budgets of a month: kept under concurrency, told before they are used up, shown exactly.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use testkit::Upstream;

use crate::harness::Gateway;

/// A model whose output costs 1000 dollars a million tokens: ten tokens are a cent.
pub(crate) const CENT: &str = "[[provider]]\nname = \"openai\"\n\
    [[provider.model]]\nid = \"cent\"\ninput_usd_per_million = 0\noutput_usd_per_million = 1000\n";
/// Ten tokens, all that `max_tokens` allows.
pub(crate) const TEN: &str = "[upstream chunks=10]";

#[tokio::test]
async fn a_budget_that_is_used_up_says_which_how_much_and_until_when() {
    let gateway = Gateway::with_settings(CENT, &[]).await;
    let (id, secret) = gateway.create_key(json!({"monthly_budget_usd": 0.02})).await;
    for _ in 0..2 {
        assert_eq!(gateway.chat_as(&secret, "cent", TEN, json!({"max_tokens": 10})).await.status, 200);
    }

    let refused = gateway.chat_as(&secret, "cent", TEN, json!({"max_tokens": 10})).await;

    assert_eq!(refused.status, 429);
    assert_eq!((refused.error().0.as_str(), refused.error().1.as_str()), ("insufficient_quota", "budget_exceeded"));
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("$0.02") && message.contains("-01T00:00:00Z"), "{message}");
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() <= 31 * 86_400);
    let usage = gateway.usage(&id).await;
    assert_eq!((&usage["spent_usd"], &usage["remaining_usd"]), (&json!(0.02), &json!(0.0)));
    assert_eq!(gateway.openai.requests().iter().filter(|request| request.path.contains("chat")).count(), 2);
}

#[tokio::test]
async fn a_request_that_does_not_fit_says_so_and_a_smaller_one_passes() {
    let gateway = Gateway::with_settings(CENT, &[]).await;
    let (_, secret) = gateway.create_key(json!({"monthly_budget_usd": 0.05})).await;

    let large = gateway.chat_as(&secret, "cent", TEN, json!({"max_tokens": 51})).await;
    let small = gateway.chat_as(&secret, "cent", TEN, json!({"max_tokens": 50})).await;

    assert_eq!((large.status.as_u16(), large.error().1.as_str()), (429, "budget_exceeded"));
    assert!(large.text().contains("can cost $0.051"), "{}", large.text());
    assert_eq!(small.status, 200);
}

#[tokio::test]
async fn money_of_requests_in_flight_is_reserved_and_comes_back() {
    let gateway = Gateway::with_settings(CENT, &[]).await;
    let (id, secret) = gateway.create_key(json!({"monthly_budget_usd": 0.01})).await;
    let slow = gateway.chat_as(&secret, "cent", "[upstream chunks=4 latency_ms=3000]", json!({"max_tokens": 10}));
    let second = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        gateway.chat_as(&secret, "cent", TEN, json!({"max_tokens": 1})).await
    };
    let (first, second) = tokio::join!(slow, second);

    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 429));
    assert_eq!((second.error().0.as_str(), second.error().1.as_str()), ("rate_limit_error", "budget_reserved"));
    assert_eq!((second.header("retry-after"), second.header("x-should-retry")), (Some("1"), Some("true")));
    let usage = gateway.usage(&id).await;
    assert_eq!((&usage["spent_usd"], &usage["reserved_usd"]), (&json!(0.004), &json!(0.0)));
}

#[tokio::test]
async fn tokens_and_the_whole_gateway_have_budgets_too() {
    let gateway = Gateway::with_settings(CENT, &[("GLOBAL_MONTHLY_USD_BUDGET", "0.01")]).await;
    let (_, tokens) = gateway.create_key(json!({"monthly_budget_tokens": 20})).await;
    let refused = gateway.chat_as(&tokens, "cent", TEN, json!({"max_tokens": 10})).await;
    assert_eq!((refused.status.as_u16(), refused.error().1.as_str()), (429, "budget_exceeded"));
    assert!(refused.text().contains("20 tokens"), "{}", refused.text());

    let (_, free) = gateway.create_key(json!({})).await;
    assert_eq!(gateway.chat_as(&free, "cent", TEN, json!({"max_tokens": 10})).await.status, 200);
    let refused = gateway.chat_as(&free, "cent", TEN, json!({"max_tokens": 10})).await;
    assert_eq!((refused.status.as_u16(), refused.error().1.as_str()), (429, "global_budget_exceeded"));

    let budget = gateway.admin(Method::GET, "/api/budget", &Value::Null).await.json();
    assert_eq!((&budget["global"]["spent_usd"], &budget["global"]["remaining_usd"]), (&json!(0.01), &json!(0.0)));
    assert_eq!(budget["keys"].as_array().unwrap().len(), 3);
    let metrics = gateway.admin(Method::GET, "/metrics", &Value::Null).await.text();
    assert!(metrics.contains("gateway_budget_remaining{api_key=\"global\",type=\"usd\"} 0.0"), "{metrics}");
}

#[tokio::test]
async fn two_hundred_at_once_never_overrun_a_budget() {
    let gateway = Gateway::with_settings(CENT, &[]).await;
    for round in 0..20 {
        let (id, secret) = gateway.create_key(json!({"monthly_budget_usd": 1.0})).await;
        let asked = (0..200).map(|_| gateway.chat_as(&secret, "cent", TEN, json!({"max_tokens": 10})));

        let answers = join_all(asked).await;

        let admitted = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(admitted, 100, "round {round}");
        let usage = gateway.usage(&id).await;
        assert_eq!((&usage["spent_usd"], &usage["reserved_usd"]), (&json!(1.0), &json!(0.0)), "round {round}");
    }
}

#[tokio::test]
async fn what_was_spent_survives_a_restart() {
    let folder = crate::harness::data_dir().to_string_lossy().into_owned();
    let variables = [("DATA_DIR", folder.as_str())];
    let gateway = Gateway::with_settings(CENT, &variables).await;
    let (id, secret) = gateway.create_key(json!({"monthly_budget_usd": 0.02})).await;
    assert_eq!(gateway.chat_as(&secret, "cent", TEN, json!({"max_tokens": 10})).await.status, 200);
    gateway.running.stop(Duration::from_secs(5), std::future::pending()).await;

    let gateway = Gateway::with_settings(CENT, &variables).await;

    assert_eq!(gateway.usage(&id).await["spent_usd"], 0.01);
    assert_eq!(gateway.chat_as(&secret, "cent", TEN, json!({"max_tokens": 10})).await.status, 200);
    assert_eq!(gateway.chat_as(&secret, "cent", TEN, json!({"max_tokens": 10})).await.status, 429);
}

#[tokio::test]
async fn a_budget_that_is_nearly_used_up_is_told_once_a_threshold() {
    let hook = Upstream::openai().await;
    let url = format!("{}/hook", hook.url());
    let gateway = Gateway::with_settings(CENT, &[("BUDGET_WEBHOOK_URL", &url)]).await;
    let (id, secret) = gateway.create_key(json!({"name": "Ada", "monthly_budget_usd": 0.2})).await;
    for _ in 0..20 {
        assert_eq!(gateway.chat_as(&secret, "cent", TEN, json!({"max_tokens": 10})).await.status, 200);
    }

    let mut metrics = String::new();
    for _ in 0..300 {
        metrics = gateway.admin(Method::GET, "/metrics", &Value::Null).await.text();
        if metrics.contains("percent=\"100\"") && hook.requests().len() >= 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    for percent in [80, 95, 100] {
        let line = format!("gateway_budget_alerts_total{{api_key=\"{id}\",type=\"usd\",percent=\"{percent}\"}} 1");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    let messages = hook.requests().into_iter().map(|request| serde_json::from_slice::<Value>(&request.body).unwrap());
    let message = messages.into_iter().find(|message| message["percent"] == 80).unwrap();
    assert_eq!(
        (&message["event"], &message["budget"], &message["name"]),
        (&json!("budget_alert"), &json!(id), &json!("Ada"))
    );
    assert_eq!((&message["unit"], &message["percent"], &message["limit"]), (&json!("usd"), &json!(80), &json!(0.2)));
}
