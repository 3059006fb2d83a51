//! A gateway in a process of its own: what `kill`, a full disk and memory do to it can be seen from outside only.

#![expect(clippy::disallowed_methods, reason = "a test measures with its own clock")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::body::Body;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;

pub(crate) type Http = Client<HttpConnector, Body>;

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `llm-gateway`, or the build that `GATEWAY_BINARY` names: the figures of a promise are those of the shipped one.
pub(crate) fn binary() -> Command {
    match std::env::var_os("GATEWAY_BINARY") {
        Some(path) => Command::new(path),
        None => Command::new(env!("CARGO_BIN_EXE_llm-gateway")),
    }
}

/// Starts it on that folder and port, with that OpenAI behind it.
pub(crate) fn spawn(folder: &Path, port: u16, upstream: &str) -> Child {
    serve(binary(), folder, port, upstream)
}

/// The same by a command that is prepared already.
pub(crate) fn serve(mut command: Command, folder: &Path, port: u16, upstream: &str) -> Child {
    command.arg("serve").env_clear().current_dir(std::env::temp_dir());
    command.env("DATA_DIR", folder).env("PORT", port.to_string()).env("LOG_LEVEL", "error");
    command.env("CACHE_ENABLED", "false");
    command.env("OPENAI_API_KEY", "sk-test").env("OPENAI_BASE_URL", upstream).env("OLLAMA_URL", "http://127.0.0.1:9");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until it takes requests; how long that took.
pub(crate) async fn ready(client: &Http, port: u16) -> Duration {
    let began = Instant::now();
    loop {
        let probe = client.get(format!("http://127.0.0.1:{port}/health/ready").parse().unwrap()).await;
        if probe.is_ok_and(|answer| answer.status() == 200) {
            return began.elapsed();
        }
        assert!(began.elapsed() < Duration::from_secs(30), "the gateway does not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
