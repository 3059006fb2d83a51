//! A trickle of varied requests to the gateway itself, so that a demo has something to show. It goes through the front
//! door like any client's, tagged `demo-traffic`, in an order that is the same each time.

mod prompts;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tracing::debug;

use super::models::{Kind, MODELS};
use prompts::{FAVOURITES, PROMPTS};

/// Longest time for one request.
const LIMIT: Duration = Duration::from_secs(60);
/// Requests at once: a slow model does not hold up the others.
const AT_ONCE: usize = 2;
/// Where the order of requests begins.
const SEED: u64 = 2;
/// One request in so many asks what is asked again and again in real life, now in these words, now in others.
const ONE_FAVOURITE_IN: u32 = 3;

type Client = legacy::Client<HttpConnector, Full<Bytes>>;

/// A request in the making.
#[derive(Debug, PartialEq)]
struct Order {
    path: &'static str,
    strategy: Option<&'static str>,
    body: Value,
}

/// Sends requests to the gateway at `base_url` (no path, no slash at its end) until `shutdown` is ready: one to each
/// reliable chat model first, so that latencies are known, then one every one to two seconds. Dropping the future ends
/// it too; requests under way are given up.
pub async fn trickle(base_url: String, shutdown: impl Future<Output = ()>) {
    tokio::select! {
        () = shutdown => {}
        () = send_forever(base_url) => {}
    }
}

async fn send_forever(base_url: String) {
    let client: Client = legacy::Client::builder(TokioExecutor::new()).build_http();
    for order in introductions() {
        send(client.clone(), base_url.clone(), order).await;
    }
    let mut chance = fastrand::Rng::with_seed(SEED);
    let mut running = JoinSet::new();
    loop {
        if running.len() >= AT_ONCE {
            running.join_next().await;
        }
        running.spawn(send(client.clone(), base_url.clone(), next(&mut chance)));
        tokio::time::sleep(Duration::from_millis(chance.u64(1000..2000))).await;
        while running.try_join_next().is_some() {}
    }
}

/// One short request to each reliable chat model.
fn introductions() -> impl Iterator<Item = Order> {
    let reliable = MODELS.iter().filter(|model| model.kind == Kind::Chat && model.failures_per_thousand == 0);
    reliable.map(|model| {
        let mut body = question(&format!("{}/{}", model.provider, model.id), "Say hello in one line.");
        body["max_tokens"] = json!(12);
        body["stream"] = json!(true);
        chat(None, body)
    })
}

fn next(chance: &mut fastrand::Rng) -> Order {
    if chance.u32(0..ONE_FAVOURITE_IN) == 0 {
        return favourite(chance);
    }
    let prompt = PROMPTS[chance.usize(0..PROMPTS.len())];
    if chance.u32(0..10) == 0 {
        return Order { path: "/v1/embeddings", strategy: None, body: json!({"model": "sim-embed", "input": prompt}) };
    }
    let mut body = question(NAMES[chance.usize(0..NAMES.len())], prompt);
    if chance.bool() {
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
    }
    if chance.u32(0..8) == 0 {
        body["tools"] = weather();
        body["tool_choice"] = json!("required");
    }
    chat(STRATEGIES[chance.usize(0..STRATEGIES.len())], body)
}

fn favourite(chance: &mut fastrand::Rng) -> Order {
    let words = FAVOURITES[chance.usize(0..FAVOURITES.len())];
    let mut body = question("auto", words[chance.usize(0..words.len())]);
    body["stream"] = json!(chance.bool());
    chat(None, body)
}

fn chat(strategy: Option<&'static str>, body: Value) -> Order {
    Order { path: "/v1/chat/completions", strategy, body }
}

fn question(model: &str, prompt: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": prompt}]})
}

fn weather() -> Value {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let function = json!({"name": "weather", "description": "Weather of a city today", "parameters": parameters});
    json!([{"type": "function", "function": function}])
}

async fn send(client: Client, base_url: String, order: Order) {
    match tokio::time::timeout(LIMIT, exchange(&client, &base_url, order)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "demo request failed"),
        Err(_) => debug!("demo request took too long"),
    }
}

async fn exchange(client: &Client, base_url: &str, order: Order) -> anyhow::Result<()> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("{base_url}{}", order.path))
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-tags", "demo-traffic");
    if let Some(strategy) = order.strategy {
        request = request.header("x-routing-strategy", strategy);
    }
    let response = client.request(request.body(Full::from(order.body.to_string()))?).await?;
    let status = response.status();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    anyhow::ensure!(status.is_success(), "status {status}");
    Ok(())
}

const NAMES: [&str; 12] = [
    "auto",
    "auto",
    "auto",
    "auto",
    "fast",
    "cheap",
    "quality",
    "sim-flaky",
    "sim-flaky",
    "sim-standard",
    "sim-swift",
    "sim-local",
];

const STRATEGIES: [Option<&str>; 8] =
    [None, None, None, None, Some("cost"), Some("quality"), Some("latency"), Some("balanced")];

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use hyper::body::Incoming;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    fn orders() -> Vec<Order> {
        let mut chance = fastrand::Rng::with_seed(SEED);
        (0..300).map(|_| next(&mut chance)).collect()
    }

    #[test]
    fn the_order_is_the_same_each_time() {
        assert_eq!(orders(), orders());
    }

    #[test]
    fn the_traffic_has_something_of_everything() {
        let orders = orders();

        for name in NAMES.iter().chain(&["sim-embed"]) {
            assert!(orders.iter().any(|order| order.body["model"] == *name), "{name}");
        }
        assert!(STRATEGIES.iter().all(|strategy| orders.iter().any(|order| order.strategy == *strategy)));
        assert!(orders.iter().any(|order| order.body["stream"] == true));
        assert!(orders.iter().any(|order| !order.body["tools"].is_null()));
        assert!(orders.iter().enumerate().any(|(place, order)| orders[..place].contains(order)));
    }

    #[test]
    fn every_reliable_chat_model_is_asked_first() {
        let names: Vec<String> = introductions().map(|order| order.body["model"].to_string()).collect();

        assert_eq!(names.len(), 5);
        assert!(names.contains(&"\"simulated-local/sim-local\"".to_owned()));
        assert!(!names.iter().any(|name| name.contains("flaky")));
    }

    #[tokio::test]
    async fn requests_are_tagged_and_end_with_the_shutdown() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (seen, mut arrivals) = mpsc::channel(1);
        let last = Arc::new(Mutex::new(None));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let service = service_fn(move |request: Request<Incoming>| {
                let seen = seen.clone();
                async move {
                    let tag = request.headers()["x-tags"].to_str().unwrap().to_owned();
                    seen.send((request.uri().path().to_owned(), tag)).await.unwrap();
                    std::future::pending::<Result<http::Response<Full<Bytes>>, std::io::Error>>().await
                }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });

        let first = last.clone();
        let mut traffic = JoinSet::new();
        traffic.spawn(trickle(url, async move { *first.lock().unwrap() = arrivals.recv().await }));
        traffic.join_next().await.unwrap().unwrap();

        let arrived = last.lock().unwrap().clone();
        assert_eq!(arrived, Some(("/v1/chat/completions".to_owned(), "demo-traffic".to_owned())));
    }
}
