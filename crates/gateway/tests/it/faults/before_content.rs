//! Faults before content has gone to the client: another provider can take over unseen.

use serde_json::json;
use testkit::Upstream;

use super::{Breaker, Cost, Pair, Row, calls, metadata, provider};
use crate::harness::Gateway;

const API: &str = "api_error";
const TIMEOUT: &str = "timeout_error";
const INVALID: &str = "invalid_request_error";

/// Patience that a test can wait for.
const HURRIED: &str = "[timeouts]\nconnect_seconds = 0.3\nheaders_seconds = 0.3\nheaders_plain_seconds = 0.3\n\
                       first_content_seconds = 0.3\nidle_seconds = 0.3\n";

/// A row of a provider that cannot be reached at `url`: nobody counts its calls.
async fn unreachable(row: Row, url: &str, attempts: usize) {
    let pair = Pair::at(url, "", &[]).await;
    row.alone(&pair, "", false, || attempts).await;
    let pair = Pair::at(url, "", &[]).await;
    row.with_another(&pair, "", true).await;
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let row = Row { calls: 2, breaker: Breaker::Counts(2), ..Row::failure(502, API, "provider_unreachable") };
    unreachable(row, "http://no-such-host.invalid/v1", 2).await;
}

#[tokio::test]
async fn a_refused_connection() {
    unreachable(Row::failure(502, API, "provider_unreachable"), "http://127.0.0.1:9/v1", 1).await;
}

#[tokio::test]
async fn a_connection_that_is_never_accepted() {
    // A listener whose queue is full: what comes after is neither accepted nor refused.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Long enough for a machine that is busy with other tests: what is not heard by then finds no room.
    let knock = move || std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_secs(3));
    let fill = move || (0..100).map_while(|_| knock().ok()).collect::<Vec<_>>();
    let waiting = tokio::task::spawn_blocking(fill).await.unwrap();
    assert!(waiting.len() < 100, "the queue has no end");
    let row = Row::failure(504, TIMEOUT, "provider_timeout");

    let pair = Pair::at(&format!("http://{address}/v1"), HURRIED, &[]).await;

    row.alone(&pair, "", false, || 1).await;
    row.with_another(&pair, "", true).await;
}

#[tokio::test]
async fn no_headers_in_time() {
    let row = Row { cost: Cost::Input, ..Row::failure(504, TIMEOUT, "provider_timeout") };
    row.holds_with("latency_ms=5000", HURRIED).await;
}

#[tokio::test]
async fn headers_and_no_content_in_time() {
    let row = Row { cost: Cost::Input, shapes: &[true], ..Row::failure(504, TIMEOUT, "first_token_timeout") };
    row.holds_with("first_ms=5000", HURRIED).await;
}

/// WIRE 9.2.
#[tokio::test]
async fn a_400_and_its_kin() {
    for status in [400, 413, 415, 422] {
        let row = Row { falls_back: false, breaker: Breaker::Same, ..Row::failure(400, INVALID, "invalid_value") };
        row.holds(&format!("status={status}")).await;
    }
}

#[tokio::test]
async fn a_prompt_that_is_too_long() {
    let code = "context_length_exceeded";
    let row = Row { falls_back: false, breaker: Breaker::Same, ..Row::failure(400, INVALID, code) };
    row.holds("status=400 error=context_length").await;
}

#[tokio::test]
async fn a_prompt_that_is_too_long_goes_to_a_model_with_a_larger_window() {
    let (first, second) = (Upstream::openai().await, Upstream::steady_openai().await);
    let larger = provider("second", &second.url(), "").replace("100000", "200000");
    let group = "[groups.both]\nkind = \"ordered\"\ntargets = [\"first/model\", \"second/model\"]\n";
    let gateway = Gateway::with_settings(&(provider("first", &first.url(), "") + &larger + group), &[]).await;

    let answer = gateway.ask("both", "[upstream status=400 error=context_length] Hello").await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(metadata(&answer)["attempts"][0]["outcome"], "context_length_exceeded");
    assert_eq!((calls(&first), calls(&second)), (1, 1));
}

#[tokio::test]
async fn a_content_filter() {
    for words in ["status=400 error=content_filter", "status=403 error=content_filter"] {
        let row = Row { falls_back: false, breaker: Breaker::Same, ..Row::failure(400, INVALID, "content_filter") };
        row.holds(words).await;
    }
    let row = Row { breaker: Breaker::Same, ..Row::failure(400, INVALID, "content_filter") };
    row.holds_with("status=400 error=content_filter", "[upstream]\nfallback_on_content_filter = true\n").await;
}

#[tokio::test]
async fn a_401_or_403() {
    for status in [401, 403] {
        let breaker = Breaker::Opens("credentials_retired");
        let row = Row { breaker, ..Row::failure(502, API, "provider_auth_error") };
        row.holds(&format!("status={status}")).await;
    }
}

/// TRAPS 21.
#[tokio::test]
async fn a_402_or_an_exhausted_quota() {
    for words in ["status=402", "status=429 error=quota"] {
        let breaker = Breaker::Opens("credentials_retired");
        let row = Row { breaker, retry_after: Some((1, 300)), ..Row::failure(503, API, "provider_quota_exhausted") };
        row.holds(words).await;
    }
}

#[tokio::test]
async fn a_404_for_the_model() {
    let row = Row { breaker: Breaker::Opens("circuit_open"), ..Row::failure(502, API, "provider_model_not_found") };
    row.holds("status=404 error=not_found").await;
}

#[tokio::test]
async fn a_408() {
    let row = Row { calls: 2, breaker: Breaker::Counts(2), ..Row::failure(502, API, "provider_error") };
    row.holds("status=408").await;
}

#[tokio::test]
async fn a_409() {
    let row = Row { calls: 2, breaker: Breaker::Same, ..Row::failure(502, API, "provider_error") };
    row.holds("status=409").await;
}

const RATE_LIMITED: Row = Row {
    breaker: Breaker::Opens("resting"),
    retry_after: Some((1, 1)),
    ..Row::failure(429, "rate_limit_error", "provider_rate_limited")
};

#[tokio::test]
async fn a_429_with_a_short_retry_after_is_tried_again_where_nobody_else_can_serve() {
    Row { calls: 2, ..RATE_LIMITED }.holds("status=429 retry_after=1").await;
}

#[tokio::test]
async fn a_429_with_a_long_retry_after() {
    Row { retry_after: Some((59, 60)), ..RATE_LIMITED }.holds("status=429 retry_after=60").await;
    Row { retry_after: Some((119, 120)), ..RATE_LIMITED }.holds("status=429 retry_after=4000").await;
}

#[tokio::test]
async fn a_429_without_a_retry_after_doubles_the_rest() {
    RATE_LIMITED.holds("status=429").await;
    let first = Upstream::openai().await;
    let pair = Pair::at(&first.url(), "", &[]).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        let answer = pair.gateway.ask("first/model", "[upstream status=429]").await;
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        told.push(wait);
        tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
    }
    assert_eq!(told, [1, 2, 4]);
}

/// TRAPS 21.
#[tokio::test]
async fn a_provider_that_rests_is_asked_by_nobody() {
    let first = Upstream::openai().await;
    let pair = Pair::at(&first.url(), "", &[]).await;
    pair.gateway.ask("first/model", "[upstream status=429 retry_after=60]").await;

    let alone = pair.gateway.ask("first/model", "Hello").await;
    assert_eq!((alone.status.as_u16(), alone.error().1.as_str()), (429, "provider_rate_limited"));
    assert!(alone.header("retry-after").unwrap().parse::<u64>().unwrap() > 50);
    assert_eq!(alone.header("x-should-retry"), Some("true"));
    let both = pair.gateway.ask("both", "Hello").await;
    assert_eq!((both.status.as_u16(), &metadata(&both)["fallback_used"]), (200, &json!(true)), "{}", both.text());
    assert_eq!(metadata(&both)["attempts"][0]["outcome"], "resting");
    assert_eq!(calls(&first), 1);
}

#[tokio::test]
async fn a_500() {
    let row = Row { calls: 2, breaker: Breaker::Counts(2), ..Row::failure(502, API, "provider_error") };
    row.holds("status=500").await;
}

#[tokio::test]
async fn a_502_503_or_504() {
    for status in [502, 503, 504] {
        let row = Row { calls: 2, breaker: Breaker::Counts(2), ..Row::failure(status, API, "provider_error") };
        row.holds(&format!("status={status}")).await;
    }
    // A retry would have to wait for longer than a client should.
    let row = Row { retry_after: Some((30, 30)), ..Row::failure(503, API, "provider_error") };
    row.holds("status=503 retry_after=30").await;
}

#[tokio::test]
async fn a_529() {
    let row = Row {
        calls: 2,
        breaker: Breaker::Counts(2),
        retry_after: Some((1, 1)),
        ..Row::failure(503, "overloaded_error", "provider_overloaded")
    };
    row.holds("status=529").await;
}

#[tokio::test]
async fn another_3xx() {
    Row::failure(502, API, "provider_error").holds("status=302").await;
}

#[tokio::test]
async fn a_200_that_is_html() {
    let row = Row { cost: Cost::Input, ..Row::failure(502, API, "provider_bad_response") };
    row.holds("html").await;
}

/// WIRE 9.1.
#[tokio::test]
async fn a_200_with_an_error_inside() {
    let row = Row { calls: 2, breaker: Breaker::Counts(2), ..Row::failure(502, API, "provider_error") };
    row.holds("error_in_200").await;
    let breaker = Breaker::Opens("credentials_retired");
    Row { breaker, ..Row::failure(503, API, "provider_quota_exhausted") }.holds("error_in_200 error=quota").await;
}

#[tokio::test]
async fn a_200_without_choices() {
    let row = Row { cost: Cost::Input, shapes: &[false], ..Row::failure(502, API, "provider_bad_response") };
    for words in ["empty_choices", "no_choices", "null_message"] {
        row.holds(words).await;
    }
    Row { shapes: &[true], ..row }.holds("done_only").await;
}

#[tokio::test]
async fn a_200_without_usage() {
    let first = Upstream::openai().await;
    let pair = Pair::at(&first.url(), "", &[]).await;
    for stream in [false, true] {
        let answer = pair.gateway.chat("first/model", "[upstream no_usage] Hi", json!({"stream": stream})).await;
        assert_eq!((answer.status.as_u16(), &metadata(&answer)["estimated"]), (200, &json!(true)), "{}", answer.text());
        let entry = pair.gateway.entries(answer.header("x-request-id").unwrap(), 1).await.remove(0);
        assert!(entry.is_estimated && entry.output_tokens > 0);
    }
    assert_eq!(pair.breaker().await["failures_in_a_row"], 0);
}

#[tokio::test]
async fn a_200_with_absurd_usage() {
    let first = Upstream::openai().await;
    let pair = Pair::at(&first.url(), "", &[]).await;
    for stream in [false, true] {
        let answer = pair.gateway.chat("first/model", "[upstream absurd_usage] Hi", json!({"stream": stream})).await;
        let entry = pair.gateway.entries(answer.header("x-request-id").unwrap(), 1).await.remove(0);
        assert!(entry.is_estimated && (1..100).contains(&entry.output_tokens), "{entry:?}");
    }
    let metrics = pair.gateway.get("/metrics").await.text();
    assert!(metrics.contains("gateway_usage_mismatch_total{provider=\"first\",model=\"model\"} 2"), "{metrics}");
}

#[tokio::test]
async fn a_connection_that_closes_in_place_of_an_answer_is_tried_once_more_on_a_new_one() {
    let row = Row {
        calls: 2,
        breaker: Breaker::Counts(1),
        cost: Cost::Input,
        ..Row::failure(502, API, "provider_unreachable")
    };
    row.holds("close").await;
    let first = Upstream::openai().await;
    let pair = Pair::at(&first.url(), "", &[]).await;
    let answer = pair.gateway.ask("first/model", "[upstream close times=1]").await;
    assert_eq!((answer.status.as_u16(), calls(&first)), (200, 2), "{}", answer.text());
    assert_eq!(metadata(&answer)["fallback_used"], false, "a retry is no fallback");
    assert_eq!(pair.breaker().await["failures_in_a_row"], 0);
}

#[tokio::test]
async fn a_retry_that_succeeds_is_told_as_what_it_is() {
    let first = Upstream::openai().await;
    let pair = Pair::at(&first.url(), "", &[]).await;

    let answer = pair.gateway.ask("both", "[upstream status=500 times=1]").await;

    let told = metadata(&answer);
    let outcomes: Vec<_> = told["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["outcome"]).collect();
    assert_eq!(outcomes, ["provider_error", "ok"], "{told}");
    assert_eq!((&told["fallback_used"], &told["provider"]), (&json!(false), &json!("first")));
    let metrics = pair.gateway.get("/metrics").await.text();
    assert!(metrics.contains("gateway_upstream_retries_total{provider=\"first\",model=\"model\"} 1"), "{metrics}");
}

#[tokio::test]
async fn comments_that_go_on_for_ever_get_five_times_the_patience() {
    let first = Upstream::openai().await;
    let pair = Pair::at(&first.url(), HURRIED, &[]).await;
    // A second of comments, where silence may last for 0.3 s.
    let answer = pair.gateway.stream("first/model", "[upstream comments=3 first_ms=1000]").await;
    assert!(answer.text().contains("[DONE]"), "{}", answer.text());
    let answer = pair.gateway.stream("first/model", "[upstream comments=3 first_ms=4000]").await;
    assert_eq!((answer.status.as_u16(), answer.error().1.as_str()), (504, "first_token_timeout"));
}

#[tokio::test]
async fn little_headroom_at_one_provider_shifts_the_load_to_another() {
    let first = Upstream::openai().await;
    let pair = Pair::at(&first.url(), "", &[]).await;
    let first_choice =
        async || metadata(&pair.gateway.ask("both", "[upstream left_percent=50]").await)["provider"].clone();
    assert_eq!(first_choice().await, "first");
    pair.gateway.ask("both", "[upstream left_percent=5]").await;

    assert_eq!(first_choice().await, "second");
    assert_eq!(pair.gateway.ask("first/model", "Hello").await.status, 200, "alone it still serves");
}

#[tokio::test]
async fn a_body_that_is_cut() {
    let row = Row { cost: Cost::Input, ..Row::failure(502, API, "provider_truncated") };
    row.holds("cut=0").await;
}

#[tokio::test]
async fn an_event_that_is_too_large() {
    let row = Row { cost: Cost::Input, shapes: &[true], ..Row::failure(502, API, "provider_response_too_large") };
    row.holds("huge_event").await;
}

#[tokio::test]
async fn a_body_that_is_too_large() {
    let row = Row { cost: Cost::Input, shapes: &[false], ..Row::failure(502, API, "provider_response_too_large") };
    row.holds("huge_body").await;
}

#[tokio::test]
async fn an_encoding_that_nobody_asked_for() {
    // Nothing is ever decoded, so that no bomb can go off.
    let row = Row { cost: Cost::Input, ..Row::failure(502, API, "provider_bad_response") };
    row.holds("gzip").await;
}

#[tokio::test]
async fn an_error_event_as_the_first_event() {
    let row = Row { calls: 2, breaker: Breaker::Counts(2), ..Row::failure(502, API, "provider_error") };
    Row { shapes: &[true], ..row }.holds("error_event=0").await;
    let breaker = Breaker::Opens("credentials_retired");
    let row = Row { breaker, ..Row::failure(503, API, "provider_quota_exhausted") };
    Row { shapes: &[true], ..row }.holds("error_event=0 error=quota").await;
}

#[tokio::test]
async fn breakers_that_are_all_open() {
    let first = Upstream::openai().await;
    let pair = Pair::at(&first.url(), "", &[]).await;
    for _ in 0..3 {
        pair.gateway.ask("first/model", "[upstream status=500]").await;
    }
    assert_eq!(pair.breaker().await["state"], "open");
    let before = calls(&first);

    // Nobody else can serve: one a second is let through.
    let trickle = pair.gateway.ask("first/model", "[upstream status=500]").await;
    assert_eq!(trickle.error().1, "provider_error");
    let answer = pair.gateway.ask("first/model", "[upstream status=500]").await;
    assert_eq!((answer.status.as_u16(), answer.error().1.as_str()), (503, "no_provider_available"));
    assert_eq!((answer.header("retry-after"), answer.header("x-should-retry")), (Some("1"), Some("true")));
    assert_eq!(calls(&first) - before, 1);
    let both = pair.gateway.ask("both", "Hello").await;
    assert_eq!(metadata(&both)["attempts"][0]["outcome"], "circuit_open", "{}", both.text());
    assert_eq!(calls(&first) - before, 1, "where another can serve, nobody goes there");

    // It is well again, and the trickle finds out.
    for _ in 0..2 {
        tokio::time::sleep(std::time::Duration::from_millis(1_050)).await;
        assert_eq!(pair.gateway.ask("first/model", "Hello").await.status, 200);
    }
    assert_eq!(pair.breaker().await["state"], "closed");
    let metrics = pair.gateway.get("/metrics").await.text();
    assert!(metrics.contains("gateway_circuit_breaker_state{provider=\"first\",model=\"model\"} 0"), "{metrics}");
}

#[tokio::test]
async fn a_deadline_that_is_used_up() {
    let first = Upstream::openai().await;
    let pair = Pair::at(&first.url(), "", &[]).await;
    for model in ["first/model", "both"] {
        let answer = pair.gateway.chat(model, "[upstream latency_ms=5000]", json!({"x-timeout-ms": 200})).await;
        assert_eq!((answer.status.as_u16(), answer.error().1.as_str()), (504, "deadline_exceeded"), "{model}");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }
    assert_eq!(pair.second_calls(), 0, "no time is left for another");
}
