//! `kill -9` under load: every request that reached the provider is in the accounts, none twice.
//!
//! Twenty kills; `KILLS=100` runs as many as that.

#![expect(clippy::disallowed_methods, reason = "a test measures with its own clock and runs its own clients")]

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use store::journal::{Journal, Options};
use store::{EntryFilter, Hold, Location, Period, Store};
use testkit::Upstream;

use crate::harness::data_dir;
use crate::process::{Http, free_port, ready, serve, spawn};

const CLIENTS: usize = 50;

/// Asks without end, half of it as streams; each request has an id of its own in header and prompt.
async fn ask_on(client: Http, port: u16, next: Arc<AtomicUsize>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let prompt = format!("[upstream chunks=5 delay_ms=3] request-{number}.");
        let body = json!({
            "model": "gpt-4o-mini", "stream": number.is_multiple_of(2), "max_tokens": 20,
            "messages": [{"role": "user", "content": prompt}],
        });
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://127.0.0.1:{port}/v1/chat/completions"))
            .header("x-request-id", format!("request-{number}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        match client.request(request).await {
            Ok(answer) => drop(answer.into_body().collect().await),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// The ids in the prompts that the provider got.
fn seen_by(upstream: &Upstream) -> BTreeSet<String> {
    let bodies =
        upstream.requests().into_iter().filter_map(|request| serde_json::from_slice::<Value>(&request.body).ok());
    let prompts = bodies.filter_map(|body| body["messages"][0]["content"].as_str().map(str::to_owned));
    prompts.filter_map(|prompt| Some(prompt.split_once("] ")?.1.trim_end_matches('.').to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_that_reached_a_provider_is_missing_after_kill_9() {
    let kills = std::env::var_os("KILLS").and_then(|kills| kills.to_str()?.parse().ok()).unwrap_or(20);
    let (folder, upstream) = (data_dir(), Upstream::openai().await);
    let client: Http = Client::builder(TokioExecutor::new()).build_http();
    let next = Arc::new(AtomicUsize::new(0));
    let mut slowest = Duration::ZERO;

    for round in 0..kills {
        let (port, stop) = (free_port(), Arc::new(AtomicBool::new(false)));
        let mut gateway = spawn(&folder, port, &upstream.url());
        slowest = slowest.max(ready(&client, port).await);
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| tokio::spawn(ask_on(client.clone(), port, next.clone(), stop.clone()))).collect();
        tokio::time::sleep(Duration::from_millis(150 + 37 * (round % 10))).await;

        gateway.kill().unwrap();
        gateway.wait().unwrap();

        stop.store(true, Ordering::Relaxed);
        futures_util::future::join_all(clients).await;
    }

    // The last start settles what the last kill left; ending it in order brings all of it to the database.
    let port = free_port();
    let mut gateway = spawn(&folder, port, &upstream.url());
    ready(&client, port).await;
    Command::new("kill").args(["-TERM", &gateway.id().to_string()]).status().unwrap();
    assert!(gateway.wait().unwrap().success());
    let store = Store::open(&Location::Sqlite(folder.join("gateway.db"))).await.unwrap();
    let seen = seen_by(&upstream);
    assert!(seen.len() > usize::try_from(kills).unwrap() * 10, "{}", seen.len());
    let mut crashed = 0;
    for id in &seen {
        let entries = store.entries(EntryFilter::Request(id), 10).await.unwrap();
        assert_eq!(entries.len(), 1, "{id}: {entries:?}");
        crashed += usize::from(entries[0].outcome == "estimated_crash");
    }
    assert!(crashed > 0, "no kill hit a request");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    let month = gateway::clock::period(gateway::clock::unix_millis());
    let totals = store.totals(month).await.unwrap();
    assert!(totals.iter().map(|(_, total)| total.requests).sum::<i64>() >= i64::try_from(seen.len()).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_with_a_hundred_thousand_journal_records_is_quick() {
    let folder = data_dir();
    let (journal, _) = Journal::open(&folder.join("journal"), Options::default()).unwrap();
    let month = gateway::clock::period(gateway::clock::unix_millis());
    for number in 0..100_000 {
        let hold = Hold {
            request_id: format!("request-{number}"),
            key_id: "anonymous".to_owned(),
            provider: "openai".to_owned(),
            model: "gpt-4o-mini".to_owned(),
            cost: Some(catalog::Nanodollars(1_000)),
            tokens: 10,
            at_ms: gateway::clock::unix_millis(),
            period: Period(month.0),
        };
        journal.reserve(&hold).unwrap();
    }
    drop(journal);
    let (port, upstream) = (free_port(), Upstream::openai().await);
    let client: Http = Client::builder(TokioExecutor::new()).build_http();

    let mut gateway = spawn(&folder, port, &upstream.url());
    let took = ready(&client, port).await;

    let budget = client.get(format!("http://127.0.0.1:{port}/api/budget").parse().unwrap()).await.unwrap();
    let budget: Value = serde_json::from_slice(&budget.into_body().collect().await.unwrap().to_bytes()).unwrap();
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    assert_eq!(budget["global"]["spent_usd"], 0.1, "all of them are charged what was reserved");
    // Two seconds is the promise for the shipped build on an idle machine; this one is neither.
    assert!(took < Duration::from_secs(15), "{took:?}");
}

/// The status and the error's code of a short request.
async fn ask(client: &Http, port: u16) -> (u16, String) {
    let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]});
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://127.0.0.1:{port}/v1/chat/completions"))
        .header("x-request-id", "x".repeat(64))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let answer = client.request(request).await.unwrap();
    let status = answer.status().as_u16();
    let json: Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
    (status, json["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_no_more_stops_what_costs_and_nothing_else() {
    let (folder, upstream, port) = (data_dir(), Upstream::openai().await, free_port());
    let client: Http = Client::builder(TokioExecutor::new()).build_http();
    // No file may grow beyond half a megabyte, as on a full disk; the limit is lifted later. A shell's blocks are 512 B.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -S -f 1024; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_llm-gateway")]);
    let mut gateway = serve(limited, &folder, port, &upstream.url());
    ready(&client, port).await;

    let mut served = 0;
    let refused = loop {
        match ask(&client, port).await {
            (200, _) => served += 1,
            refused => break refused,
        }
        assert!(served < 20_000, "the disk is never full");
    };
    assert_eq!(refused, (503, "ledger_unavailable".to_owned()));
    let sent = upstream.requests().iter().filter(|request| request.path.contains("chat")).count();
    assert_eq!(sent, served, "what could not be written down was not sent");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let health = client.get(format!("http://127.0.0.1:{port}/health").parse().unwrap()).await.unwrap();
    let health: Value = serde_json::from_slice(&health.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(health["status"], "degraded");
    assert!(health["storage"]["ledger_problem"].is_string(), "{health}");

    let lifted = Command::new("prlimit").args(["--pid", &gateway.id().to_string(), "--fsize=unlimited"]).status();
    assert!(lifted.unwrap().success());
    let mut recovered = false;
    for _ in 0..100 {
        recovered = ask(&client, port).await.0 == 200;
        if recovered {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    assert!(recovered, "it recovers by itself");
}
