//! The time limits on clients, through real sockets.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::Gateway;

const SHORT: &str = "[limits]\nheader_read_seconds = 0.3\nkeep_alive_seconds = 0.9\nbody_read_seconds = 0.3\n";

/// What the gateway sends until it closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut read).await;
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut() {
    let gateway = Gateway::with_settings(SHORT, &[]).await;
    let mut stream = TcpStream::connect(gateway.running.address()).await.unwrap();

    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: a\r\nx-slow: ").await.unwrap();

    assert!(!rest(&mut stream).await.contains("200"));
}

#[tokio::test]
async fn an_idle_connection_outlives_the_head_limit_and_ends_at_its_own() {
    let gateway = Gateway::with_settings(SHORT, &[]).await;
    let mut stream = TcpStream::connect(gateway.running.address()).await.unwrap();
    let request = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut buffer = [0; 1024];

    stream.write_all(request).await.unwrap();
    assert!(stream.read(&mut buffer).await.unwrap() > 0);
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    stream.write_all(request).await.unwrap();
    let second = stream.read(&mut buffer).await.unwrap();

    assert!(second > 0, "the connection was kept beyond the head limit");
    assert_eq!(rest(&mut stream).await, "", "it ends by itself");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_a_408() {
    let gateway = Gateway::with_settings(SHORT, &[]).await;
    let mut stream = TcpStream::connect(gateway.running.address()).await.unwrap();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{\"model\":";

    stream.write_all(head.as_bytes()).await.unwrap();

    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("\"code\":\"request_timeout\""), "{answer}");
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_place() {
    let gateway = Gateway::with_settings("[limits]\nconnections = 2\n", &[]).await;
    let mut taken = vec![
        TcpStream::connect(gateway.running.address()).await.unwrap(),
        TcpStream::connect(gateway.running.address()).await.unwrap(),
    ];
    let mut third = TcpStream::connect(gateway.running.address()).await.unwrap();
    third.write_all(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut buffer = [0; 1024];

    let early = tokio::time::timeout(std::time::Duration::from_millis(200), third.read(&mut buffer)).await;
    taken.clear();
    let late = third.read(&mut buffer).await.unwrap();

    assert!(early.is_err(), "served beyond the limit");
    assert!(late > 0);
}

#[tokio::test]
async fn counts_over_their_limits_are_a_400_through_the_port() {
    let gateway = Gateway::with_upstreams().await;
    let messages = vec![json!({"role": "user", "content": "a"}); 10_001];

    let answer = gateway.post("/v1/chat/completions", &json!({"model": "gpt-4o-mini", "messages": messages})).await;

    assert_eq!((answer.status.as_u16(), answer.error().2.as_deref()), (400, Some("messages")));
}

#[tokio::test]
async fn a_body_of_the_default_limit_is_read_and_one_byte_more_is_not() {
    let gateway = Gateway::with_upstreams().await;
    let limit = gateway.running.gateway.registry.snapshot().config.limits.body_bytes;
    assert_eq!(limit, 32 * 1024 * 1024);
    let head = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":""#;
    let body = |size: usize| format!("{head}{}\"}}]}}", "a".repeat(size - head.len() - 4));

    let fits = gateway.post_with("/v1/chat/completions", &[], body(limit)).await;
    let over = gateway.post_with("/v1/chat/completions", &[], body(limit + 1)).await;

    assert_eq!((fits.status.as_u16(), over.status.as_u16()), (200, 413), "{}", fits.text());
}

#[tokio::test]
async fn every_patience_with_a_provider_has_its_end_and_its_code() {
    let file = "[timeouts]\nheaders_seconds = 0.3\nheaders_plain_seconds = 0.3\nfirst_content_seconds = 0.3\n\
                idle_seconds = 0.5\nstream_total_seconds = 2\n[stream]\nkeepalive_after_seconds = 0.1\n";
    let patient = "[timeouts]\nheaders_seconds = 0.3\nheaders_plain_seconds = 0.3\nfirst_content_seconds = 0.3\n";
    let gateway = Gateway::with_settings(patient, &[]).await;
    for (directive, stream, code) in [
        ("latency_ms=5000", false, "provider_timeout"),
        ("latency_ms=5000", true, "provider_timeout"),
        ("first_ms=5000", true, "first_token_timeout"),
    ] {
        let answer = gateway.chat("gpt-4o-mini", &format!("[upstream {directive}]"), json!({"stream": stream})).await;
        assert_eq!((answer.status.as_u16(), answer.error().1.as_str()), (504, code), "{directive}");
    }

    let gateway = Gateway::with_settings(file, &[]).await;
    for (directive, code) in
        [("chunks=3 delay_ms=5000", "stream_idle_timeout"), ("chunks=1000 delay_ms=20", "deadline_exceeded")]
    {
        let answer = gateway.stream("gpt-4o-mini", &format!("[upstream {directive}]")).await;
        let error: Value = serde_json::from_str(answer.events().last().unwrap()).unwrap();
        assert_eq!(error["error"]["code"], code, "{directive}: {}", answer.text());
        assert!(!answer.text().contains("[DONE]"));
    }
}

#[tokio::test]
async fn at_most_two_attempts_are_made_at_a_provider_and_four_in_all() {
    let target = |number: usize| format!("\"dead-{}/model-{number}\"", number / 3);
    let targets: Vec<String> = (0..9).map(target).collect();
    let dead = |number: usize| {
        format!("[[provider]]\nname = \"dead-{number}\"\ndialect = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\n")
    };
    let providers: String = (0..3).map(dead).collect();
    let group = format!("[groups.many]\nkind = \"ordered\"\ntargets = [{}]\n", targets.join(", "));
    let file = providers + &group;
    let gateway = Gateway::with_settings(&file, &[]).await;

    let answer = gateway.ask("many", "hi").await;

    assert_eq!((answer.status.as_u16(), answer.error().1.as_str()), (502, "provider_unreachable"));
    assert!(answer.text().contains("`dead-1` could not be reached. 4 attempts were made"), "{}", answer.text());
    assert_eq!(answer.header("x-should-retry"), Some("false"));
}

#[tokio::test]
async fn an_http2_connection_carries_at_most_a_hundred_streams() {
    let gateway = Gateway::with_upstreams().await;
    let socket = TcpStream::connect(gateway.running.address()).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(socket);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        // It ends with the test.
        let _ = connection.await;
    });
    let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "[upstream latency_ms=600]"}]});
    let body = http_body_util::Full::new(bytes::Bytes::from(body.to_string()));
    let uri = format!("{}/v1/chat/completions", gateway.url());
    let mut answers = tokio::task::JoinSet::new();
    for _ in 0..120 {
        sender.ready().await.unwrap();
        let request = http::Request::post(&uri).body(body.clone()).unwrap();
        answers.spawn(sender.send_request(request));
    }

    let mut most = 0;
    while let Some(answer) = answers.join_next().await {
        most = most.max(gateway.running.gateway.concurrency.active());
        assert_eq!(answer.unwrap().unwrap().status(), 200);
    }

    assert!(most <= 100, "{most} at once");
}
