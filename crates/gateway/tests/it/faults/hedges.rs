//! Hedged requests: a second target is asked where the first is slow.

use std::time::Duration;

use serde_json::json;
use testkit::Upstream;

use super::{Pair, calls, metadata};
use crate::harness::Answer;

const HEDGED: &str = "[routing]\nhedge = true\n";

async fn pair(settings: &str) -> (Upstream, Pair) {
    let first = Upstream::openai().await;
    let pair = Pair::at(&first.url(), settings, &[]).await;
    for _ in 0..20 {
        assert_eq!(ask(&pair, "Hello", true).await.status, 200);
        assert_eq!(ask(&pair, "Hello", false).await.status, 200);
    }
    (first, pair)
}

async fn ask(pair: &Pair, prompt: &str, stream: bool) -> Answer {
    pair.gateway.chat("both", prompt, json!({"stream": stream, "x-routing-strategy": "latency"})).await
}

#[tokio::test]
async fn the_first_content_wins_and_the_loser_is_cancelled_and_accounted() {
    let (first, pair) = pair(HEDGED).await;
    for (words, stream) in [("latency_ms=8000", false), ("first_ms=8000", true)] {
        let before = pair.second_calls();
        let prompt = format!("[upstream {words}] Hello");
        let asked = ask(&pair, &prompt, stream);
        let answer = tokio::time::timeout(Duration::from_secs(6), asked).await.expect("the second has answered");

        let told = metadata(&answer);
        assert_eq!((answer.status.as_u16(), &told["provider"]), (200, &json!("second")), "{}", answer.text());
        let outcomes: Vec<_> = told["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["outcome"]).collect();
        assert_eq!(outcomes, ["hedge_lost", "ok"], "{told}");
        assert_eq!(pair.second_calls() - before, 1);
        let entries = pair.gateway.entries(answer.header("x-request-id").unwrap(), 2).await;
        let lost = entries.iter().find(|entry| entry.outcome == "hedge_lost").unwrap();
        assert!(lost.provider == "first" && lost.is_estimated && lost.input_tokens > 0, "{lost:?}");
        for _ in 0..200 {
            if first.open_streams() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(first.open_streams(), 0, "the loser goes on");
    }
    assert_eq!(pair.breaker().await["failures_in_a_row"], 0, "slow is not broken");
    let metrics = pair.gateway.get("/metrics").await.text();
    assert!(metrics.contains("gateway_hedges_total{provider=\"second\",model=\"model\"} "), "{metrics}");
}

#[tokio::test]
async fn hedges_are_few_however_slow_everything_is() {
    let (_first, pair) = pair(HEDGED).await;
    let slow: Vec<_> = (0..60).map(|_| ask(&pair, "[upstream latency_ms=1000] Hello", false)).collect();

    let answers = futures_util::future::join_all(slow).await;

    assert!(answers.iter().all(|answer| answer.status == 200));
    // One a second over ten, and a twentieth of the requests, give or take.
    assert!((1..=25).contains(&pair.second_calls()), "{}", pair.second_calls());
}

#[tokio::test]
async fn nothing_is_hedged_unless_it_is_switched_on_and_latency_counts() {
    let (_first, pair) = pair("").await;
    assert_eq!(ask(&pair, "[upstream latency_ms=500] Hello", false).await.status, 200);
    assert_eq!(pair.second_calls(), 0);
    let (first, pair) = self::pair(HEDGED).await;
    // One of the first requests can have been slow, and hedged.
    let before = (pair.second_calls(), calls(&first));
    assert_eq!(pair.gateway.ask("both", "[upstream latency_ms=500] Hello").await.status, 200);
    assert_eq!((pair.second_calls(), calls(&first)), (before.0, before.1 + 1));
}

#[tokio::test]
async fn a_hedge_whose_first_fails_goes_on_with_the_second() {
    let (_first, pair) = pair(HEDGED).await;

    let answer = ask(&pair, "[upstream status=500] Hello", false).await;

    let told = metadata(&answer);
    assert_eq!((answer.status.as_u16(), &told["provider"]), (200, &json!("second")), "{}", answer.text());
    assert_eq!(told["attempts"][0]["outcome"], "provider_error");
}
