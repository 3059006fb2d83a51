//! The simulated providers: one small server on a loopback port that speaks OpenAI's dialect for all of them, under
//! `/<provider>/v1`. The rest of the gateway cannot tell it from a real one.
//!
//! Everything it says is marked as simulated, and depends on nothing but the request's seed, the model, the prompt and
//! how many requests the model had before. What a prompt can order is in `simulated/question.rs`.

mod answer;
mod completion;
mod embedding;
mod fate;
mod models;
mod question;
mod sample;
pub mod traffic;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::debug;

use answer::Answer;
use completion::Event;
use embedding::EmbeddingRequest;
use fate::{Course, Fate};
use models::{Kind, MODELS, Model};
use question::{Directives, Question};

/// Largest request body in bytes.
const LARGEST_BODY: usize = 32 << 20;
/// Most connections at once; others wait in the system's queue.
const MOST_CONNECTIONS: usize = 1024;
/// Rest after a connection could not be accepted, mostly for want of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// The server of all simulated providers, bound and not yet serving.
#[derive(Debug)]
pub struct Simulated {
    listener: TcpListener,
    address: SocketAddr,
}

/// Requests that each model had so far, in the order of [`MODELS`].
type Counts = [AtomicU64; MODELS.len()];

/// An answer may break off: that is its error.
type Body = UnsyncBoxBody<Bytes, io::Error>;

impl Simulated {
    /// Binds a free loopback port.
    ///
    /// # Errors
    /// The system has none.
    pub async fn bind() -> io::Result<Simulated> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Simulated { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is ready, then drops every connection at once. Dropping the future does the same.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let counts = Arc::new(Counts::default());
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                accepted = self.listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                    Ok((socket, _)) => { connections.spawn(converse(socket, counts.clone())); }
                    Err(_) => tokio::time::sleep(ACCEPT_REST).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn converse(socket: TcpStream, counts: Arc<Counts>) {
    // Without it small events wait for each other; it cannot fail on a socket that was just accepted.
    let _ = socket.set_nodelay(true);
    let service = service_fn(move |request| {
        let counts = counts.clone();
        async move { Ok::<_, Infallible>(respond(request, &counts).await.unwrap_or_else(Problem::response)) }
    });
    // Broken-off answers end here too, by intention.
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await {
        debug!(%error, "simulated connection ended early");
    }
}

async fn respond(request: Request<Incoming>, counts: &Counts) -> Result<Response<Body>, Problem> {
    let path = request.uri().path().to_owned();
    let (provider, route) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
    if models::of_provider(provider).next().is_none() {
        return Err(Problem::no_route(&path));
    }
    match (request.method(), route) {
        (&Method::GET, "v1/models") => Ok(json_response(StatusCode::OK, list(provider))),
        (&Method::POST, "v1/chat/completions") => chat(provider, read(request).await?, counts).await,
        (&Method::POST, "v1/embeddings") => {
            let asked: EmbeddingRequest = read(request).await?;
            let (_, model) = find(provider, &asked.model, Kind::Embedding)?;
            tokio::time::sleep(Duration::from_millis(model.first_token_ms)).await;
            asked.answer(model).map(|bytes| json_response(StatusCode::OK, bytes)).map_err(Problem::bad_request)
        }
        _ => Err(Problem::no_route(&path)),
    }
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Problem> {
    let body = Limited::new(request.into_body(), LARGEST_BODY).collect().await.map_err(|error| {
        let status =
            if error.is::<LengthLimitError>() { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
        Problem { status, message: format!("cannot read the body: {error}"), code: None }
    })?;
    serde_json::from_slice(&body.to_bytes())
        .map_err(|error| Problem::bad_request(format!("cannot read the JSON: {error}")))
}

fn find(provider: &str, id: &str, kind: Kind) -> Result<(usize, &'static Model), Problem> {
    let mut all = MODELS.iter().enumerate();
    all.find(|(_, model)| model.provider == provider && model.id == id && model.kind == kind).ok_or_else(|| Problem {
        status: StatusCode::NOT_FOUND,
        message: format!("the model `{id}` does not exist"),
        code: Some("model_not_found"),
    })
}

async fn chat(provider: &str, question: Question, counts: &Counts) -> Result<Response<Body>, Problem> {
    let (place, model) = find(provider, &question.model, Kind::Chat)?;
    let prompt = question.prompt();
    let directives = Directives::of(&prompt);
    let count = counts.get(place).map_or(0, |count| count.fetch_add(1, Ordering::Relaxed));
    let Course { wait, fate } = fate::decide(model, directives, question.seed(), &prompt, count);
    tokio::time::sleep(wait).await;
    if let Fate::Refused(status) = fate {
        return Err(Problem::simulated(status));
    }
    let answer = answer::compose(model, &question, directives);
    if question.is_streamed() {
        Ok(streamed(model, answer, question.wants_usage(), fate))
    } else {
        Ok(at_once(model, answer, fate).await)
    }
}

fn streamed(model: &'static Model, answer: Answer, wants_usage: bool, fate: Fate) -> Response<Body> {
    let until = match fate {
        Fate::Answered | Fate::Refused(_) => usize::MAX,
        // The first event is the role.
        Fate::CutBefore => 1,
        Fate::CutInside => 1 + answer.pieces.len() / 2,
    };
    let events = completion::events(model, answer, wants_usage);
    let frames = stream::iter(events.enumerate()).then(move |(place, event)| frame(event, model.pace(), place < until));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    set_type(&mut response, "text/event-stream; charset=utf-8");
    response
}

async fn frame(event: Event, pace: Duration, is_sent: bool) -> io::Result<Frame<Bytes>> {
    if event.is_content {
        tokio::time::sleep(pace).await;
    }
    if is_sent { Ok(Frame::data(event.bytes)) } else { Err(broken_off().await) }
}

async fn at_once(model: &Model, answer: Answer, fate: Fate) -> Response<Body> {
    let pieces = u32::try_from(answer.pieces.len()).unwrap_or(u32::MAX);
    tokio::time::sleep(model.pace().saturating_mul(pieces)).await;
    let bytes = completion::whole(model, &answer);
    let begun = match fate {
        Fate::Answered | Fate::Refused(_) => return json_response(StatusCode::OK, bytes),
        Fate::CutBefore => Bytes::new(),
        Fate::CutInside => bytes.slice(..bytes.len() / 2),
    };
    let frames = stream::iter([Ok(Frame::data(begun))]).chain(stream::once(async { Err(broken_off().await) }));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    set_type(&mut response, "application/json");
    response
}

async fn broken_off() -> io::Error {
    // Whoever writes the answer sends what it has while it waits; an error at once would swallow it.
    tokio::task::yield_now().await;
    io::Error::new(io::ErrorKind::ConnectionAborted, "simulated break-off")
}

fn list(provider: &str) -> Bytes {
    let object = |model: &Model| json!({"id": model.id, "object": "model", "created": 0, "owned_by": model.provider});
    let data: Vec<Value> = models::of_provider(provider).map(object).collect();
    Bytes::from(json!({"object": "list", "data": data}).to_string())
}

fn json_response(status: StatusCode, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(bytes).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    set_type(&mut response, "application/json");
    response
}

fn set_type(response: &mut Response<Body>, content_type: &'static str) {
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
}

/// Why there is no answer.
struct Problem {
    status: StatusCode,
    message: String,
    code: Option<&'static str>,
}

impl Problem {
    fn bad_request(message: String) -> Problem {
        Problem { status: StatusCode::BAD_REQUEST, message, code: None }
    }

    fn no_route(path: &str) -> Problem {
        let message = format!("there is nothing at `{path}`");
        Problem { status: StatusCode::NOT_FOUND, message, code: None }
    }

    fn simulated(status: StatusCode) -> Problem {
        let code = (status == StatusCode::TOO_MANY_REQUESTS).then_some("rate_limit_exceeded");
        Problem { status, message: format!("simulated failure: {status}"), code }
    }

    fn response(self) -> Response<Body> {
        let kind = match self.status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        let error = json!({"message": self.message, "type": kind, "param": null, "code": self.code});
        let mut response = json_response(self.status, Bytes::from(json!({"error": error}).to_string()));
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests;
