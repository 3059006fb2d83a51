//! Faults of TLS and HTTP/2.

use testkit::{Certificate, Http2Fault, Transport, Upstream, authority_pem};

use super::{Breaker, Cost, Pair, Row, calls, metadata};
use crate::harness::data_dir;

/// A pair whose first provider is reached that way, by a gateway that trusts the tests' authority.
async fn over(transport: Transport) -> (Upstream, Pair) {
    let first = Upstream::openai_over(transport).await;
    let folder = data_dir();
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("authority.pem");
    std::fs::write(&file, authority_pem()).unwrap();
    let pair = Pair::at(&first.url(), "", &[("UPSTREAM_CA_FILE", file.to_str().unwrap())]).await;
    (first, pair)
}

#[tokio::test]
async fn a_certificate_that_cannot_be_trusted() {
    for certificate in [Certificate::Expired, Certificate::WrongName, Certificate::UnknownAuthority] {
        let row =
            Row { breaker: Breaker::Opens("circuit_open"), ..Row::failure(502, "api_error", "provider_tls_error") };
        let (_first, pair) = over(Transport::Tls(certificate)).await;
        row.alone(&pair, &format!("{certificate:?}=1").to_lowercase(), false, || 1).await;
        let (first, pair) = over(Transport::Tls(certificate)).await;
        row.with_another(&pair, "", true).await;
        assert_eq!(calls(&first), 0);
    }
}

#[tokio::test]
async fn a_good_certificate_of_a_private_authority_over_http1_and_http2() {
    for transport in [Transport::Tls(Certificate::Good), Transport::Http2] {
        let (first, pair) = over(transport).await;
        for stream in [false, true] {
            let answer = pair.gateway.chat("first/model", "Hello", serde_json::json!({"stream": stream})).await;
            assert_eq!(answer.status, 200, "{transport:?}: {}", answer.text());
            assert_eq!(stream, answer.text().contains("[DONE]"));
        }
        assert_eq!(calls(&first), 2);
    }
}

#[tokio::test]
async fn a_stream_that_was_refused_or_is_not_covered_by_a_goaway_is_asked_again_at_once() {
    for fault in [Http2Fault::RefusedStream, Http2Fault::GoAwayBefore] {
        let (first, pair) = over(Transport::BrokenHttp2(fault, 1)).await;

        let answer = pair.gateway.ask("first/model", "Hello").await;

        assert_eq!((answer.status.as_u16(), calls(&first)), (200, 1), "{fault:?}: {}", answer.text());
        assert_eq!(pair.breaker().await["failures_in_a_row"], 0);
        let told = metadata(&answer)["attempts"].clone();
        let entries = pair.gateway.entries(answer.header("x-request-id").unwrap(), 1).await;
        assert!(entries.iter().filter(|entry| entry.outcome != "ok").all(|entry| entry.input_tokens == 0), "{told}");
    }
}

#[tokio::test]
async fn a_stream_that_is_refused_again_falls_back() {
    let (_first, pair) = over(Transport::BrokenHttp2(Http2Fault::RefusedStream, 100)).await;

    let answer = pair.gateway.ask("both", "Hello").await;

    assert_eq!((answer.status.as_u16(), &metadata(&answer)["provider"]), (200, &"second".into()), "{}", answer.text());
    assert_eq!(pair.breaker().await["failures_in_a_row"], 0);
}

#[tokio::test]
async fn a_stream_that_a_goaway_covers_and_that_is_reset_is_not_asked_again() {
    let row = Row { cost: Cost::Input, ..Row::failure(502, "api_error", "provider_error") };
    let (first, pair) = over(Transport::BrokenHttp2(Http2Fault::GoAwayAndReset, 100)).await;
    row.alone(&pair, "", false, || first.connections() - 1).await;
    let (_first, pair) = over(Transport::BrokenHttp2(Http2Fault::GoAwayAndReset, 100)).await;
    row.with_another(&pair, "", true).await;
}
