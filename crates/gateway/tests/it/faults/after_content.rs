//! Faults after content has gone to the client: nothing may be asked again, and the end has to be told.

use serde_json::{Value, json};
use testkit::Upstream;

use super::{Pair, breaker, calls};
use crate::harness::Answer;

/// Checks a fault in the middle of a stream: the code of its last event, whether it harms the breaker, that nobody else
/// was asked, and that what was generated is charged. Returns the text that came before.
async fn interrupted(words: &str, settings: &str, code: &str) -> String {
    let first = Upstream::openai().await;
    let pair = Pair::at(&first.url(), settings, &[]).await;
    let prompt = format!("[upstream {words}] Hello there.");

    let answer = pair.gateway.chat("both", &prompt, json!({"stream": true})).await;

    let what = format!("{words}: {}", answer.text());
    assert_eq!(answer.status, 200, "{what}");
    assert_eq!(error_of(&answer)["code"], code, "{what}");
    assert!(!answer.text().contains("[DONE]"), "{what}");
    assert_eq!((calls(&first), pair.second_calls()), (1, 0), "nobody is asked again: {what}");
    assert_eq!(breaker(&pair.gateway, "first").await["failures_in_a_row"], 1, "{what}");
    let entry = pair.gateway.entries(answer.header("x-request-id").unwrap(), 1).await.remove(0);
    assert!(entry.is_estimated && entry.input_tokens > 0 && entry.output_tokens > 0, "{what}: {entry:?}");
    answer.streamed_text()
}

/// The error of the last event, of which there is one.
fn error_of(answer: &Answer) -> Value {
    let events = answer.events();
    let errors: Vec<Value> = events.iter().filter_map(|event| serde_json::from_str(event).ok()).collect();
    assert_eq!(errors.iter().filter(|event| event.get("error").is_some()).count(), 1, "{}", answer.text());
    let last = errors.last().unwrap()["error"].clone();
    for key in ["message", "type", "param", "code"] {
        assert!(last.get(key).is_some(), "{last}");
    }
    last
}

/// TRAPS 19 and 20: an error event, no `[DONE]`, and nobody is asked again.
#[tokio::test]
async fn a_connection_that_breaks() {
    assert!(!interrupted("chunks=6 cut=3", "", "stream_interrupted").await.is_empty());
}

/// TRAPS 19.
#[tokio::test]
async fn an_end_without_a_finish_reason() {
    interrupted("chunks=4 no_finish no_done", "", "stream_interrupted").await;
}

/// TRAPS 20.
#[tokio::test]
async fn an_error_event() {
    interrupted("chunks=6 error_event=3", "", "provider_error").await;
}

#[tokio::test]
async fn an_event_that_is_not_json() {
    interrupted("chunks=6 bad_json=3", "", "provider_bad_response").await;
}

#[tokio::test]
async fn silence_between_events() {
    interrupted("chunks=3 delay_ms=3000", "[timeouts]\nidle_seconds = 0.3\n", "stream_idle_timeout").await;
}

#[tokio::test]
async fn an_end_without_done_after_a_finish_reason_is_a_complete_answer() {
    let first = Upstream::openai().await;
    let pair = Pair::at(&first.url(), "", &[]).await;

    let answer = pair.gateway.stream("both", "[upstream no_done]").await;

    assert_eq!(answer.events().last().unwrap(), "[DONE]");
    assert_eq!(breaker(&pair.gateway, "first").await["failures_in_a_row"], 0);
}

#[tokio::test]
async fn data_after_done_is_ignored() {
    let first = Upstream::openai().await;
    let pair = Pair::at(&first.url(), "", &[]).await;

    let answer = pair.gateway.stream("both", "[upstream after_done]").await;

    assert_eq!(answer.events().last().unwrap(), "[DONE]");
    assert!(!answer.text().contains("LATE"), "{}", answer.text());
}

#[tokio::test]
async fn bytes_that_drip_and_complete_no_event() {
    interrupted("chunks=6 drip_ms=20", "[timeouts]\nidle_seconds = 0.3\n", "stream_idle_timeout").await;
}

#[tokio::test]
async fn a_stream_that_hangs() {
    interrupted("chunks=6 hang_at=3", "[timeouts]\nidle_seconds = 0.3\n", "stream_idle_timeout").await;
}

#[tokio::test]
async fn a_stream_that_runs_too_long() {
    let first = Upstream::openai().await;
    let pair = Pair::at(&first.url(), "[timeouts]\nstream_total_seconds = 0.5\n", &[]).await;

    let answer = pair.gateway.stream("both", "[upstream chunks=1000 delay_ms=20]").await;

    assert_eq!(error_of(&answer)["code"], "deadline_exceeded", "{}", answer.text());
    assert!(!answer.text().contains("[DONE]") && !answer.streamed_text().is_empty());
}
