//! What callers get for what they send: the error contract, row by row.

use axum::body::Body;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Answer, Gateway};

const CHAT: &str = "/v1/chat/completions";

fn refused(answer: &Answer, status: u16, kind: &str, code: &str, param: Option<&str>) {
    let (got_kind, got_code, got_param) = answer.error();
    let got = (answer.status.as_u16(), got_kind.as_str(), got_code.as_str(), got_param.as_deref());
    assert_eq!(got, (status, kind, code, param), "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-powered-by"), Some("llm-gateway"));
    assert!(answer.header("x-request-id").is_some() && answer.header("x-response-time").is_some());
}

/// A valid chat body with `change` laid over it.
fn body(change: Value) -> Value {
    let mut body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn bad_json_and_bad_fields_are_a_400_that_names_them() {
    let gateway = Gateway::with_upstreams().await;
    let deep = format!("{{\"model\":\"m\",\"messages\":[],\"x\":{}{}}}", "[".repeat(200), "]".repeat(200));
    let raw = [
        ("", "invalid_json", None),
        ("{", "invalid_json", None),
        ("[]", "invalid_type", None),
        ("not json", "invalid_json", None),
        ("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\\ud800\"}]}", "invalid_json", None),
        (&deep, "invalid_json", None),
        ("{\"model\":\"a\",\"model\":\"b\",\"messages\":[]}", "duplicate_parameter", Some("model")),
    ];
    for (body, code, param) in raw {
        let answer = gateway.post_with(CHAT, &[], body.to_owned()).await;
        refused(&answer, 400, "invalid_request_error", code, param);
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }

    let user = json!({"role": "user", "content": "hi"});
    let fields = [
        (json!({"messages": [user]}), "missing_required_parameter", "model"),
        (json!({"model": "m"}), "missing_required_parameter", "messages"),
        (body(json!({"model": 5})), "invalid_type", "model"),
        (body(json!({"messages": "hi"})), "invalid_type", "messages"),
        (body(json!({"messages": []})), "invalid_value", "messages"),
        (body(json!({"messages": ["hi"]})), "invalid_type", "messages[0]"),
        (body(json!({"messages": [user, {"content": "hi"}]})), "missing_required_parameter", "messages[1].role"),
        (body(json!({"messages": [{"role": "wizard", "content": "hi"}]})), "invalid_value", "messages[0].role"),
        (body(json!({"messages": [{"role": "user", "content": 5}]})), "invalid_type", "messages[0].content"),
        (body(json!({"stream": "yes"})), "invalid_type", "stream"),
        (body(json!({"stream_options": []})), "invalid_type", "stream_options"),
        (body(json!({"n": 0})), "invalid_value", "n"),
        (body(json!({"n": 17})), "invalid_value", "n"),
        (body(json!({"stop": ["1", "2", "3", "4", "5"]})), "invalid_value", "stop"),
        (body(json!({"stop": 5})), "invalid_type", "stop"),
        (body(json!({"max_tokens": -1})), "invalid_value", "max_tokens"),
        (body(json!({"temperature": "hot"})), "invalid_type", "temperature"),
        (body(json!({"x-routing-strategy": "best"})), "invalid_value", "x-routing-strategy"),
        (body(json!({"x-timeout-ms": "soon"})), "invalid_value", "x-timeout-ms"),
        (body(json!({"x-cache": "maybe"})), "invalid_value", "x-cache"),
    ];
    for (body, code, param) in fields {
        let answer = gateway.post(CHAT, &body).await;
        refused(&answer, 400, "invalid_request_error", code, Some(param));
    }
    assert!(gateway.openai.requests().iter().all(|request| request.path != CHAT), "nothing went upstream");
}

#[tokio::test]
async fn bad_embeddings_requests_are_a_400_that_names_the_field() {
    let gateway = Gateway::with_upstreams().await;
    let many: Vec<&str> = vec!["a"; 2_049];
    for (body, code, param) in [
        (json!({"input": "a"}), "missing_required_parameter", "model"),
        (json!({"model": "text-embedding-3-small"}), "missing_required_parameter", "input"),
        (json!({"model": "text-embedding-3-small", "input": 5}), "invalid_type", "input"),
        (json!({"model": "text-embedding-3-small", "input": []}), "invalid_value", "input"),
        (json!({"model": "text-embedding-3-small", "input": many}), "invalid_value", "input"),
        (
            json!({"model": "text-embedding-3-small", "input": "a", "encoding_format": "hex"}),
            "invalid_value",
            "encoding_format",
        ),
        (json!({"model": "text-embedding-3-small", "input": "a", "dimensions": 0}), "invalid_value", "dimensions"),
    ] {
        let answer = gateway.post("/v1/embeddings", &body).await;
        refused(&answer, 400, "invalid_request_error", code, Some(param));
    }
}

#[tokio::test]
async fn an_unknown_model_is_a_404_that_names_close_ones() {
    let gateway = Gateway::with_upstreams().await;

    let answer = gateway.ask("gpt4o-mini", "hi").await;

    refused(&answer, 404, "invalid_request_error", "model_not_found", Some("model"));
    assert!(answer.text().contains("`gpt-4o-mini`"), "{}", answer.text());
}

#[tokio::test]
async fn unknown_routes_and_wrong_methods_say_so() {
    let gateway = Gateway::with_upstreams().await;

    let unknown = gateway.get("/v1/chat/completion").await;
    let method = gateway.get(CHAT).await;

    refused(&unknown, 404, "invalid_request_error", "unknown_url", None);
    refused(&method, 405, "invalid_request_error", "method_not_supported", None);
    assert_eq!(method.header("allow"), Some("POST"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413_whether_announced_or_not() {
    let gateway = Gateway::with_settings("[limits]\nbody_bytes = 2000\n", &[]).await;
    let large = body(json!({"user": "u".repeat(3_000)})).to_string();

    let announced = gateway.post_with(CHAT, &[], large.clone()).await;
    let pieces = large.into_bytes().chunks(100).map(|part| Ok::<_, std::io::Error>(part.to_vec())).collect::<Vec<_>>();
    let streamed = gateway.post_with(CHAT, &[], Body::from_stream(futures_util::stream::iter(pieces))).await;

    refused(&announced, 413, "invalid_request_error", "request_too_large", None);
    refused(&streamed, 413, "invalid_request_error", "request_too_large", None);
}

#[tokio::test]
async fn a_compressed_body_is_refused_before_it_is_read() {
    let gateway = Gateway::with_upstreams().await;

    let answer = gateway.post_with(CHAT, &[("content-encoding", "gzip")], "x").await;

    refused(&answer, 415, "invalid_request_error", "unsupported_content_encoding", None);
}

#[tokio::test]
async fn more_requests_than_the_gateway_takes_are_shed_with_retry_after() {
    let gateway = Gateway::with_settings("[limits]\nconcurrent_requests = 1\n", &[]).await;
    let slow = body(json!({"messages": [{"role": "user", "content": "[upstream latency_ms=3000]"}]})).to_string();
    let first = gateway.post_with(CHAT, &[], slow);
    let second = async {
        while gateway.openai.requests().iter().all(|request| !request.path.ends_with("/chat/completions")) {
            tokio::task::yield_now().await;
        }
        gateway.ask("gpt-4o-mini", "hi").await
    };

    let refusal = tokio::select! {
        _ = first => panic!("the slow request came back first"),
        refusal = second => refusal,
    };

    refused(&refusal, 503, "overloaded_error", "overloaded", None);
    let wait: u64 = refusal.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait));
    assert_eq!(refusal.header("x-should-retry"), Some("true"));
}

#[tokio::test]
async fn a_callers_request_id_is_kept_only_where_it_is_safe() {
    let gateway = Gateway::with_upstreams().await;

    let kept = gateway.send(Method::GET, "/", &[("x-request-id", "abc-1.2_3")], Body::empty()).await;
    let long = "a".repeat(65);
    let replaced = [
        gateway.send(Method::GET, "/", &[("x-request-id", "a b")], Body::empty()).await,
        gateway.send(Method::GET, "/", &[("x-request-id", &long)], Body::empty()).await,
    ];

    assert_eq!(kept.header("x-request-id"), Some("abc-1.2_3"));
    for answer in replaced {
        assert_eq!(answer.header("x-request-id").unwrap().len(), 32);
    }
}

/// Sends bytes as they are and reads until the gateway closes or `stop` has come.
async fn raw(gateway: &Gateway, bytes: &[u8], stop: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(gateway.running.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&read).contains(stop) {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn a_missing_doubled_or_broken_host_is_a_400() {
    let gateway = Gateway::with_upstreams().await;
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x/#@evil\r\n\r\n",
    ] {
        let answer = raw(&gateway, head.as_bytes(), "\"}}").await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{head:?}: {answer}");
        assert!(answer.contains("\"code\":\"invalid_request\""), "{answer}");
    }
    let fine = raw(&gateway, b"GET /health/live HTTP/1.1\r\nHost: [::1]:4000\r\n\r\n", "\r\n\r\n").await;
    assert!(fine.starts_with("HTTP/1.1 200"), "{fine}");
}

#[tokio::test]
async fn content_length_beside_chunked_gets_one_answer_and_a_closed_connection() {
    let gateway = Gateway::with_upstreams().await;
    let smuggled = "POST /v1/models HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
                    0\r\n\r\nGET /health/live HTTP/1.1\r\nHost: a\r\n\r\n";

    let answer = raw(&gateway, smuggled.as_bytes(), "\u{0}").await;

    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

#[tokio::test]
async fn heads_over_the_limits_are_refused() {
    let gateway = Gateway::with_upstreams().await;
    let many: String = (0..101).map(|number| format!("x-{number}: 1\r\n")).collect();
    let cases = [
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nx: {}\r\n\r\n", "a".repeat(70_000)), "431"),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(17_000)), "414"),
    ];
    for (head, status) in cases {
        let answer = raw(&gateway, head.as_bytes(), "\r\n\r\n").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {answer}");
    }
}
