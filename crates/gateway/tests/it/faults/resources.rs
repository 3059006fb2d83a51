//! What happens when the gateway's own machine has no more to give.

use std::process::Command;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use testkit::Upstream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::data_dir;
use crate::process::{Http, binary, free_port, ready, serve};

async fn ask(port: u16) -> String {
    ask_model(port, "gpt-4o-mini").await
}

async fn ask_model(port: u16, model: &str) -> String {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "Hello"}]}).to_string();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json";
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    client.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_open_files_makes_clients_wait_and_keeps_what_runs_going() {
    let (folder, port, upstream) = (data_dir(), free_port(), Upstream::openai().await);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 110; exec \"$0\" \"$@\""]).arg(binary().get_program());
    let mut gateway = serve(limited, &folder, port, &upstream.url());
    let client: Http = Client::builder(TokioExecutor::new()).build_http();
    ready(&client, port).await;
    drop(client);
    assert!(ask(port).await.contains("200 OK"));

    let mut idle = Vec::new();
    for _ in 0..150 {
        idle.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let mut waiting = Box::pin(ask(port));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "there is no place for it");
    let first = &mut idle[0];
    first.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200", "those who are in are served");
    drop(idle);

    assert!(waiting.await.contains("200 OK"), "it is served when there is a place");
    gateway.kill().unwrap();
    gateway.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_is_nearly_used_up_refuses_what_is_new() {
    let (folder, port, upstream) = (data_dir(), free_port(), Upstream::openai().await);
    let mut command = Command::new("sh");
    command.args(["-c", "export MEMORY_LIMIT_BYTES=1048576; exec \"$0\" \"$@\""]).arg(binary().get_program());
    let mut gateway = serve(command, &folder, port, &upstream.url());
    let client: Http = Client::builder(TokioExecutor::new()).build_http();
    ready(&client, port).await;
    tokio::time::sleep(Duration::from_millis(700)).await;

    let answer = ask(port).await;

    gateway.kill().unwrap();
    gateway.wait().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after"), "{head}");
    assert_eq!(body["error"]["code"], "overloaded");
    assert!(upstream.requests().iter().all(|request| !request.path.contains("chat")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_with_an_error_changes_nothing_and_is_counted() {
    let (folder, port, upstream) = (data_dir(), free_port(), Upstream::openai().await);
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("gateway.toml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("[aliases]\nold = \"openai/gpt-4o-mini\"\n");
    let mut command = Command::new("sh");
    command.args(["-c", "export GATEWAY_CONFIG=\"$DATA_DIR/gateway.toml\"; exec \"$0\" \"$@\""]);
    command.arg(binary().get_program());
    let mut gateway = serve(command, &folder, port, &upstream.url());
    let client: Http = Client::builder(TokioExecutor::new()).build_http();
    ready(&client, port).await;

    // The first section is good, and is not put in force on its own.
    write("[aliases]\nnew = \"openai/gpt-4o-mini\"\n[timeouts]\nidle_seconds = \"many\"\n");

    let mut refused = 0.0;
    for _ in 0..200 {
        refused = counter(&client, port, "gateway_config_errors_total").await;
        if refused > 0.0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let (old, new) = (ask_model(port, "old").await, ask_model(port, "new").await);
    write("[aliases]\nnew = \"openai/gpt-4o-mini\"\n");
    let mut mended = String::new();
    for _ in 0..200 {
        mended = ask_model(port, "new").await;
        if mended.contains("200 OK") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    assert!((1.0..=2.0).contains(&refused), "{refused}");
    assert!(old.contains("200 OK") && new.contains("model_not_found"), "{old}\n{new}");
    assert!(mended.contains("200 OK"), "{mended}");
}

async fn counter(client: &Http, port: u16, name: &str) -> f64 {
    let answer = client.get(format!("http://127.0.0.1:{port}/metrics").parse().unwrap()).await.unwrap();
    let text = String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in {text}")).parse().unwrap()
}
