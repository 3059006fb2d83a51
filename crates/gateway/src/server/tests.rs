//! What one request's misfortune, or one client's, does to the rest.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use store::{ANONYMOUS, Entry, EntryFilter};
use testkit::Upstream;

use super::*;
use crate::api;
use crate::clock;
use crate::config::{Config, Sources};
use crate::gateway::{Running, start_still};
use crate::ledger;

/// Where a request is made to panic.
const PANIC: &str = "x-panic";
const BEFORE_ITS_ANSWER: &str = "before its answer";
const IN_ITS_STREAM: &str = "in its stream";

/// A gateway with a budget, whose requests panic when they say so.
struct World {
    running: Running,
    address: SocketAddr,
    upstream: Upstream,
    client: Client<HttpConnector, Body>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn over(version: http::Version) -> World {
        let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::openai().await);
        let file = format!(
            "[[provider]]\nname = \"first\"\ndialect = \"openai\"\nbase_url = \"{}\"\nkey = \"sk-one\"\n\
             [[provider.model]]\nid = \"model\"\ninput_usd_per_million = 100\noutput_usd_per_million = 1000\n",
            upstream.url()
        );
        let environment = [
            ("PORT", "0"),
            ("ADMIN_API_KEY", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"),
            ("OLLAMA_URL", "http://127.0.0.1:9"),
            ("DATA_DIR", folder.path().to_str().unwrap()),
            ("GLOBAL_MONTHLY_USD_BUDGET", "100"),
            ("CLIENT_STALL_SECONDS", "1"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let file = Some(("gateway.toml".into(), file));
        let config = Config::load(&Sources { environment, file, ..Sources::default() }).unwrap();
        let running = start_still(config).await.unwrap();
        let address = listen(running.gateway.clone()).await;
        let is_http2 = version == http::Version::HTTP_2;
        let client = Client::builder(TokioExecutor::new()).http2_only(is_http2).build_http();
        World { running, address, upstream, client, _folder: folder }
    }

    async fn begin(&self, prompt: &str, stream: bool, panic: &str) -> http::Response<Incoming> {
        let body = json!({
            "model": "first/model", "stream": stream, "max_tokens": 100,
            "messages": [{"role": "user", "content": prompt}],
        });
        let request = Request::post(format!("http://{}/v1/chat/completions", self.address))
            .header("content-type", "application/json")
            .header(PANIC, panic)
            .body(Body::from(body.to_string()));
        self.client.request(request.unwrap()).await.unwrap()
    }

    async fn ask(&self, prompt: &str, panic: &str) -> (u16, Value) {
        let (head, body) = self.begin(prompt, false, panic).await.into_parts();
        (head.status.as_u16(), serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap())
    }

    fn panics(&self) -> u64 {
        self.running.gateway.registry.snapshot().metrics.panics.get()
    }

    /// The accounts, once nothing is reserved any more.
    async fn settled(&self) -> Vec<Entry> {
        let gateway = &self.running.gateway;
        let period = clock::period(clock::unix_millis());
        let limit = ledger::global_ceiling(&gateway.registry.snapshot().config);
        let reserved = || gateway.ledger.budgets.global().status(limit, period).reserved.usd.0;
        until(|| reserved() == 0 && gateway.concurrency.active() == 0).await;
        ledger::ship::last(&gateway.ledger, &gateway.store).await;
        gateway.store.entries(EntryFilter::Key { id: ANONYMOUS, period }, 100).await.unwrap()
    }
}

async fn listen(gateway: Arc<Gateway>) -> SocketAddr {
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let worker = Arc::new(Worker { client: gateway.client.sibling(), gateway: gateway.clone() });
    let router = api::router(worker).layer(from_fn(fall));
    let builder = Arc::new(builder());
    gateway.clone().tasks.spawn("accept", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = serve(stream, builder.clone(), gateway.clone(), router.clone());
            gateway.tasks.spawn("connection", connection);
        }
    });
    address
}

async fn fall(request: Request, next: Next) -> Response {
    let panic = request.headers().get(PANIC).cloned();
    let panics = |wanted: &str| panic.as_ref().is_some_and(|panic| panic == wanted);
    if panics(BEFORE_ITS_ANSWER) {
        return tokio::select! {
            response = next.run(request) => response,
            () = tokio::time::sleep(Duration::from_millis(100)) => panic!("as the test wants it"),
        };
    }
    let response = next.run(request).await;
    if !panics(IN_ITS_STREAM) {
        return response;
    }
    response.map(|body| {
        let frames = body.into_data_stream().enumerate().map(|(number, frame)| {
            assert!(number < 2, "as the test wants it");
            frame
        });
        Body::from_stream(frames)
    })
}

async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not come to pass");
}

#[tokio::test]
async fn a_panic_in_one_request() {
    for version in [http::Version::HTTP_11, http::Version::HTTP_2] {
        let world = World::over(version).await;

        let ((status, told), (other, _)) = tokio::join!(
            world.ask("[upstream latency_ms=3000] Hello", BEFORE_ITS_ANSWER),
            world.ask("[upstream latency_ms=300] Hello", ""),
        );

        assert_eq!((status, &told["error"]["code"]), (500, &"internal_error".into()), "{version:?}: {told}");
        assert_eq!((other, world.panics()), (200, 1), "others are unaffected");
        let entries = world.settled().await;
        assert_eq!(entries.len(), 2, "both are accounted: {entries:?}");
        assert!(entries.iter().all(|entry| entry.cost.is_some_and(|cost| cost.0 > 0)), "{entries:?}");
        assert_eq!(world.ask("Hello", "").await.0, 200);
    }
}

#[tokio::test]
async fn a_panic_in_one_stream() {
    for version in [http::Version::HTTP_11, http::Version::HTTP_2] {
        let world = World::over(version).await;
        let slow = "[upstream chunks=10 delay_ms=30] Hello";

        let (fallen, other) = tokio::join!(world.begin(slow, true, IN_ITS_STREAM), world.begin(slow, true, ""));
        let (fallen, other) = tokio::join!(fallen.into_body().collect(), other.into_body().collect());

        assert!(fallen.is_err(), "{version:?}: a stream that was cut does not look complete");
        let other: Bytes = other.unwrap().to_bytes();
        assert!(other.ends_with(b"data: [DONE]\n\n"), "{version:?}: others are unaffected");
        assert_eq!(world.panics(), 1);
        let entries = world.settled().await;
        assert!(entries.len() == 2 && entries.iter().all(|entry| entry.output_tokens > 0), "{entries:?}");
    }
}

#[tokio::test]
async fn a_stream_whose_window_stays_shut_lets_its_provider_go() {
    let world = World::over(http::Version::HTTP_2).await;

    let shut = world.begin("[upstream fast_mb=20]", true, "").await;
    let other = world.begin("[upstream chunks=40 delay_ms=60]", true, "").await.into_body().collect().await;

    let other = other.unwrap().to_bytes();
    assert!(other.ends_with(b"data: [DONE]\n\n"), "a stream that is taken goes on for longer than the patience");
    until(|| world.upstream.open_streams() == 0).await;
    let entries = world.settled().await;
    assert!(entries.iter().any(|entry| entry.outcome != "ok" && entry.output_tokens > 0), "{entries:?}");
    assert!(shut.into_body().collect().await.is_err(), "and is told so when it looks again");
}
