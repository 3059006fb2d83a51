//! One client: what it asks, how it behaves, and what it is told.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a client does.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) starts: Duration,
    model: &'static str,
    is_stream: bool,
    max_tokens: u64,
    timeout_ms: Option<u64>,
    habit: Habit,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Habit {
    /// Reads to the end.
    Reads,
    /// Reads with pauses.
    ReadsSlowly,
    /// Leaves after so long.
    LeavesAfter(Duration),
    /// Leaves when it has so many bytes.
    LeavesAt(usize),
}

/// What a client was told.
#[derive(Debug)]
pub(super) enum Outcome {
    /// An answer.
    Whole,
    /// An error in place of an answer.
    Refused(String),
    /// A stream: the ids of its chunks, whether it ended with `[DONE]`, how many error events it had.
    Stream { events: Vec<String>, is_done: bool, errors: usize },
    /// It did not wait.
    Left,
    /// Nothing.
    Hung,
}

impl Outcome {
    pub(super) fn is_told(&self) -> bool {
        matches!(self, Outcome::Whole | Outcome::Refused(_) | Outcome::Stream { .. })
    }
}

impl Plan {
    pub(super) fn draw(chance: &mut fastrand::Rng, _number: usize, span: Duration) -> Plan {
        let habit = match chance.u8(..10) {
            0 => Habit::LeavesAfter(Duration::from_millis(chance.u64(1..4_000))),
            1 => Habit::LeavesAt(chance.usize(1..3_000)),
            2 => Habit::ReadsSlowly,
            _ => Habit::Reads,
        };
        Plan {
            starts: span.mul_f64(chance.f64()),
            model: chance.choice(["all", "all", "all", "a/model", "b/model"]).unwrap_or("all"),
            is_stream: chance.bool(),
            max_tokens: chance.u64(1..50),
            timeout_ms: (chance.u8(..5) == 0).then(|| chance.u64(200..6_000)),
            habit,
        }
    }

    /// Whether it stays to the end.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.habit, Habit::Reads | Habit::ReadsSlowly)
    }

    /// The longest that it may wait for its outcome.
    pub(super) fn patience(&self) -> Duration {
        self.timeout_ms.map_or(super::LONGEST, Duration::from_millis)
    }

    pub(super) async fn ask(&self, address: SocketAddr, number: usize) -> Outcome {
        let asking = self.read(address, number);
        match self.habit {
            Habit::LeavesAfter(time) => tokio::time::timeout(time, asking).await.unwrap_or(Outcome::Left),
            Habit::Reads | Habit::ReadsSlowly | Habit::LeavesAt(_) => asking.await,
        }
    }

    async fn read(&self, address: SocketAddr, number: usize) -> Outcome {
        let mut body = json!({
            "model": self.model, "stream": self.is_stream, "max_tokens": self.max_tokens,
            "messages": [{"role": "user", "content": format!("request-{number} asks for something.")}],
        });
        if let Some(timeout) = self.timeout_ms {
            body["x-timeout-ms"] = timeout.into();
        }
        let body = body.to_string();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-request-id: request-{number}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all((head + &body).as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let mut slice = [0; 700];
        loop {
            match socket.read(&mut slice).await {
                Ok(0) | Err(_) => break,
                Ok(count) => bytes.extend_from_slice(&slice[..count]),
            }
            if matches!(self.habit, Habit::LeavesAt(most) if bytes.len() >= most) {
                return Outcome::Left;
            }
            if self.habit == Habit::ReadsSlowly {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        outcome(&String::from_utf8_lossy(&bytes))
    }
}

fn outcome(answer: &str) -> Outcome {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    if !head.contains("text/event-stream") {
        let start = body.find('{').unwrap_or(0);
        let json: Value = serde_json::from_str(body.get(start..).unwrap_or_default().trim()).unwrap_or(Value::Null);
        return match json["error"]["code"].as_str() {
            Some(code) => Outcome::Refused(code.to_owned()),
            None if head.starts_with("HTTP/1.1 200") && json.is_object() => Outcome::Whole,
            None => Outcome::Hung,
        };
    }
    // Chunk sizes stand on lines of their own, and frames are never cut by one.
    let payloads: Vec<&str> = body.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let chunks: Vec<Value> = payloads.iter().filter_map(|payload| serde_json::from_str(payload).ok()).collect();
    Outcome::Stream {
        events: chunks.iter().filter_map(|chunk| chunk["id"].as_str().map(str::to_owned)).collect(),
        is_done: payloads.last() == Some(&"[DONE]"),
        errors: chunks.iter().filter(|chunk| chunk.get("error").is_some()).count(),
    }
}
