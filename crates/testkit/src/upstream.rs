//! The server: accepts, records, asks the vendor's module, waits, answers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::directive::Directive;
use crate::http2::{self, Http2Fault};
use crate::reply::{Asked, Content, Reply};
use crate::script::{Counts, Script};
use crate::tls::{self, Certificate};
use crate::{anthropic, ollama, openai};

/// An imitation provider on a loopback port of its own. It stops when dropped: streams break, connections close.
#[derive(Debug)]
pub struct Upstream {
    vendor: Vendor,
    address: SocketAddr,
    state: Arc<State>,
    _accepting: JoinSet<()>,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The request's method.
    pub method: Method,
    /// The path without its query.
    pub path: String,
    /// The query.
    pub query: Option<String>,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Vendor {
    OpenAi,
    Anthropic,
    Ollama,
}

/// How an upstream is reached.
#[derive(Clone, Copy, Debug, Default)]
pub enum Transport {
    /// HTTP/1.1 without TLS.
    #[default]
    Plain,
    /// HTTP/1.1 over TLS.
    Tls(Certificate),
    /// HTTP/2 over TLS.
    Http2,
    /// HTTP/2 over TLS, where so many connections end this way after the first, which is a health check's.
    BrokenHttp2(Http2Fault, usize),
}

#[derive(Debug, Default)]
struct State {
    is_steady: bool,
    transport: Transport,
    /// Connections that were broken.
    broken: AtomicUsize,
    /// Connections that were ever accepted, and those that are open.
    connections: AtomicUsize,
    open: AtomicUsize,
    requests: Mutex<Vec<Recorded>>,
    /// What holds for requests that say nothing.
    told: Mutex<Directive>,
    /// How often each directive that counts for a few times was seen.
    seen: Mutex<Vec<(Directive, usize)>>,
    counts: Arc<Counts>,
}

impl Upstream {
    /// Imitates OpenAI: chat completions, embeddings, models. Panics where no loopback port is free.
    pub async fn openai() -> Upstream {
        Upstream::start(Vendor::OpenAi).await
    }

    /// Imitates Anthropic: messages, their count, models. Panics where no loopback port is free.
    pub async fn anthropic() -> Upstream {
        Upstream::start(Vendor::Anthropic).await
    }

    /// Imitates Ollama: chat, embed, tags, show, version. Panics where no loopback port is free.
    pub async fn ollama() -> Upstream {
        Upstream::start(Vendor::Ollama).await
    }

    /// Imitates OpenAI over another transport.
    pub async fn openai_over(transport: Transport) -> Upstream {
        Upstream::start_with(Vendor::OpenAi, State { transport, ..State::default() }).await
    }

    /// Imitates an OpenAI that answers well whatever it is told: the one that others fall back to.
    pub async fn steady_openai() -> Upstream {
        Upstream::start_with(Vendor::OpenAi, State { is_steady: true, ..State::default() }).await
    }

    /// The base URL as the vendor's clients take it: `http://127.0.0.1:PORT/v1` for OpenAI, no path for Ollama.
    pub fn url(&self) -> String {
        let scheme = if matches!(self.state.transport, Transport::Plain) { "http" } else { "https" };
        match self.vendor {
            Vendor::OpenAi | Vendor::Anthropic => format!("{scheme}://{}/v1", self.address),
            Vendor::Ollama => format!("{scheme}://{}", self.address),
        }
    }

    /// Connections that were accepted so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Every request whose body came whole, in the order of their ends.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Behaves from now on as these words say, towards requests that carry no directive of their own.
    ///
    /// # Errors
    /// The word that is no directive.
    pub fn tell(&self, words: &str) -> Result<(), String> {
        let directive = Directive::find(format!("[upstream {words}]").as_bytes())?;
        *self.state.told.lock().unwrap_or_else(PoisonError::into_inner) = directive;
        Ok(())
    }

    /// Forgets the requests so far, which a long test would keep for nothing.
    pub fn forget(&self) {
        self.state.requests.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The body of the last request that carried JSON; null before there was one.
    pub fn last_json(&self) -> Value {
        let requests = self.requests();
        requests.iter().rev().find_map(|request| serde_json::from_slice(&request.body).ok()).unwrap_or_default()
    }

    /// Streamed answers that are being written now. Falls when a stream ends or its reader is seen to have left.
    pub fn open_streams(&self) -> usize {
        self.state.counts.open_streams.load(Ordering::SeqCst)
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// Content chunks written so far, over all streams.
    pub fn chunks_written(&self) -> usize {
        self.state.counts.chunks_written.load(Ordering::SeqCst)
    }

    async fn start(vendor: Vendor) -> Upstream {
        Upstream::start_with(vendor, State::default()).await
    }

    #[expect(clippy::expect_used, reason = "a test without its upstream can only stop")]
    async fn start_with(vendor: Vendor, state: State) -> Upstream {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free loopback port");
        let address = listener.local_addr().expect("the port's number");
        let state = Arc::new(state);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, vendor, Arc::clone(&state)));
        Upstream { vendor, address, state, _accepting: accepting }
    }
}

/// Owns the connections: they end with this task.
async fn accept(listener: TcpListener, vendor: Vendor, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((socket, _)) = listener.accept() => {
                connections.spawn(serve(socket, vendor, Arc::clone(&state)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(socket: TcpStream, vendor: Vendor, state: Arc<State>) {
    // A delayed write would blur what the directive says about time.
    let _ = socket.set_nodelay(true);
    state.connections.fetch_add(1, Ordering::SeqCst);
    let _open = Open::count(&state);
    let transport = state.transport;
    let shared = Arc::clone(&state);
    let service = service_fn(move |request| {
        let state = Arc::clone(&shared);
        async move { answer(request, vendor, &state).await }
    });
    // A reader that leaves and a directed cut both end here with an error, and both are meant.
    let (certificate, protocol) = match transport {
        Transport::Plain => {
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
            return;
        }
        Transport::Tls(certificate) => (certificate, "http/1.1"),
        Transport::Http2 | Transport::BrokenHttp2(..) => (Certificate::Good, "h2"),
    };
    let Ok(socket) = tls::acceptor(certificate, &[protocol]).accept(socket).await else { return };
    match transport {
        Transport::Plain | Transport::Tls(_) => {
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        }
        Transport::BrokenHttp2(fault, times) if (1..=times).contains(&state.broken.fetch_add(1, Ordering::SeqCst)) => {
            let _ = http2::fail(socket, fault).await;
        }
        Transport::Http2 | Transport::BrokenHttp2(..) => {
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(socket), service).await;
        }
    }
}

async fn answer(request: Request<Incoming>, vendor: Vendor, state: &State) -> Result<Response<Script>, io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes().to_vec();
    let (method, path) = (parts.method, parts.uri.path().to_owned());
    let query = parts.uri.query().map(str::to_owned);
    let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let model = json["model"].as_str().unwrap_or_default();
    let told = || state.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let found = match (state.is_steady, is_told(&body)) {
        (true, _) => Ok(Directive::default()),
        (false, true) => Directive::find(&body).map(|found| if found.is_for(model) { found } else { told() }),
        (false, false) => Ok(told()),
    };
    let headers = parts.headers.clone();
    let raw = body.clone();
    let recorded = Recorded { method: method.clone(), path: path.clone(), query, headers: parts.headers, body };
    let number = {
        let mut requests = state.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push(recorded);
        requests.len()
    };
    let found = found.map(|directive| state.in_its_times(directive).for_bearer(&headers).for_model(model));
    let directive = found.clone().unwrap_or_default();
    if directive.close {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    if !directive.latency.is_zero() {
        tokio::time::sleep(directive.latency).await;
    }
    let asked = Asked {
        route: (method.as_str(), &path),
        body: &json,
        raw: &raw,
        directive: &directive,
        number,
        headers: &headers,
    };
    let reply = match (found, vendor) {
        (Err(word), _) => unknown_word(&word),
        (Ok(directive), _) if directive.html => Reply::html(),
        (Ok(_), Vendor::OpenAi) => openai::answer(&asked),
        (Ok(_), Vendor::Anthropic) => anthropic::answer(&asked),
        (Ok(_), Vendor::Ollama) => ollama::answer(&asked),
    };
    let limit_name = match vendor {
        Vendor::OpenAi | Vendor::Ollama => |what: &str, unit: &str| format!("x-ratelimit-{what}-{unit}"),
        Vendor::Anthropic => |what: &str, unit: &str| format!("anthropic-ratelimit-{unit}-{what}"),
    };
    Ok(reply.into_response(&directive, number, Arc::clone(&state.counts), limit_name))
}

/// A connection, as long as it is open.
struct Open(Arc<State>);

impl Open {
    fn count(state: &Arc<State>) -> Open {
        state.open.fetch_add(1, Ordering::SeqCst);
        Open(Arc::clone(state))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl State {
    /// The directive, or none once it has counted as often as it says.
    fn in_its_times(&self, directive: Directive) -> Directive {
        let Some(times) = directive.times else { return directive };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let place = seen.iter().position(|(known, _)| *known == directive).unwrap_or(seen.len());
        if place == seen.len() {
            seen.push((directive.clone(), 0));
        }
        let Some((_, count)) = seen.get_mut(place) else { return directive };
        *count += 1;
        if *count > times { Directive::default() } else { directive }
    }
}

fn is_told(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).contains("[upstream ")
}

fn unknown_word(word: &str) -> Reply {
    let content = Content::Whole(format!("testkit: `{word}` is no directive"));
    Reply { status: StatusCode::NOT_IMPLEMENTED, content_type: "text/plain", content }
}
