//! The upstream of every measurement: an imitation provider on 127.0.0.1, one thread, bodies built beforehand.
//!
//! `mock --port 9100`. It speaks OpenAI's `/v1/chat/completions`, Anthropic's `/v1/messages` and Ollama's `/api/chat`, plain and streamed, and lists
//! one model in either's manner. `[mock chunks=20 delay_ms=100]` anywhere in the request, so in a prompt, which every
//! gateway passes on, sets the length of a stream and the pause between its chunks. `GET /__stats` tells how many
//! requests, streams and chunks were served, so that a gateway's cache or retry cannot pass for speed.

mod dialect;
mod output;

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use memchr::memmem;
use tokio::net::{TcpSocket, TcpStream};

use dialect::Dialect;
use output::{Output, Stream};

/// Chunks of a stream whose prompt names no number.
const DEFAULT_CHUNKS: usize = 20;

struct Mock {
    openai: Rc<Dialect>,
    anthropic: Rc<Dialect>,
    ollama: Rc<Dialect>,
    requests: Cell<u64>,
    streams: Cell<u64>,
    chunks: Rc<Cell<u64>>,
}

impl Mock {
    async fn answer(&self, request: Request<Incoming>) -> Response<Output> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|whole| whole.to_bytes()).unwrap_or_default();
        match head.uri.path() {
            "/v1/chat/completions" => self.chat(&self.openai, is_true(&body, b"\"stream\""), &body),
            "/v1/messages" => self.chat(&self.anthropic, is_true(&body, b"\"stream\""), &body),
            // Ollama streams unless told not to.
            "/api/chat" => {
                let streamed = is_true(&body, b"\"stream\"") || memmem::find(&body, b"\"stream\"").is_none();
                self.chat(&self.ollama, streamed, &body)
            }
            "/v1/models" => json(self.openai.models.clone()),
            "/api/tags" => json(self.ollama.models.clone()),
            "/__stats" => json(self.stats().into()),
            _ => {
                let mut response = json(Bytes::from_static(b"{\"error\":{\"message\":\"no such path\"}}"));
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
        }
    }

    fn chat(&self, dialect: &Rc<Dialect>, streamed: bool, body: &[u8]) -> Response<Output> {
        self.requests.set(self.requests.get() + 1);
        if !streamed {
            return json(dialect.whole.clone());
        }
        self.streams.set(self.streams.get() + 1);
        let order = memmem::find(body, b"[mock ").map_or(&[][..], |at| &body[at..body.len().min(at + 100)]);
        let chunks = number(order, b"chunks=").map_or(DEFAULT_CHUNKS, |count| count as usize);
        let delay = Duration::from_millis(number(order, b"delay_ms=").unwrap_or(0));
        let with_usage = is_true(body, b"\"include_usage\"");
        let stream = Stream::new(dialect.clone(), chunks, delay, with_usage, self.chunks.clone());
        respond(Output::Stream(stream), dialect.stream_type)
    }

    fn stats(&self) -> String {
        let (requests, streams, chunks) = (self.requests.get(), self.streams.get(), self.chunks.get());
        format!("{{\"requests\":{requests},\"streams\":{streams},\"chunks\":{chunks}}}")
    }
}

fn json(body: Bytes) -> Response<Output> {
    respond(Output::Whole(Some(body)), "application/json")
}

fn respond(output: Output, content_type: &'static str) -> Response<Output> {
    let response = Response::builder()
        .header(CONTENT_TYPE, content_type)
        .header("x-request-id", "req_mock");
    response.body(output).expect("static headers are valid")
}

/// The digits after `key`.
fn number(text: &[u8], key: &[u8]) -> Option<u64> {
    let start = memmem::find(text, key)? + key.len();
    let digits: String = text[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .map(|&byte| byte as char)
        .collect();
    digits.parse().ok()
}

/// Whether the quoted key is followed by `true`, spaces or not.
fn is_true(body: &[u8], key: &[u8]) -> bool {
    let Some(at) = memmem::find(body, key) else {
        return false;
    };
    let value = body[at + key.len()..].trim_ascii_start().strip_prefix(b":");
    value.is_some_and(|value| value.trim_ascii_start().starts_with(b"true"))
}

async fn serve(mock: Rc<Mock>, stream: TcpStream) {
    stream.set_nodelay(true).ok();
    let service = service_fn(|request| {
        let mock = mock.clone();
        async move { Ok::<_, Infallible>(mock.answer(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new();
    // A client that goes away mid-answer is none of the mock's business.
    connection
        .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
        .await
        .ok();
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let port = arguments
        .windows(2)
        .find(|pair| pair[0] == "--port")
        .map_or("9100", |pair| pair[1].as_str());
    let port: u16 = port.parse().expect("a port");
    let mock = Rc::new(Mock {
        openai: Rc::new(Dialect::openai()),
        anthropic: Rc::new(Dialect::anthropic()),
        ollama: Rc::new(Dialect::ollama()),
        requests: Cell::default(),
        streams: Cell::default(),
        chunks: Rc::default(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(([127, 0, 0, 1], port).into())?;
        let listener = socket.listen(4096)?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::task::spawn_local(serve(mock.clone(), stream))),
                // Out of file descriptors: some come back.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
}
