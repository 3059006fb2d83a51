//! The time limits on clients, through real sockets.

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
