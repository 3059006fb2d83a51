//! What a look at the cache costs: the very same request, a miss, and a question among ten thousand of one scope.
//!
//! `cargo bench -p llm-gateway --bench cache` prints, beside criterion's figures, the quantiles of single semantic looks
//! and the memory that ten thousand entries take.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench measures with its own clock")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use criterion::{Criterion, criterion_group, criterion_main};
use gateway::cache::Look;
use gateway::call::{Call, Head, Surface};
use gateway::clock;
use gateway::config::{Config, Sources};
use gateway::gateway::{Gateway, Running};
use gateway::keys::Caller;
use gateway::live::Live;
use gateway::router::{Choice, Target};
use http::HeaderMap;
use serde_json::json;
use tokio::runtime::Runtime;
use wire::usage::Usage;

const ENTRIES: usize = 10_000;
const SINGLE_LOOKS: usize = 500;

struct Bench {
    runtime: Runtime,
    running: Running,
    live: Arc<Live>,
    caller: Arc<Caller>,
}

impl Bench {
    fn new(folder: &std::path::Path) -> Bench {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let folder = folder.to_string_lossy().into_owned();
        let environment: BTreeMap<String, String> =
            [("PORT", "0"), ("DATA_DIR", &folder), ("OPENAI_API_KEY", "sk-none"), ("CACHE_PERSIST", "false")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        let config = Config::load(&Sources { environment, ..Sources::default() }).unwrap();
        let running = runtime.block_on(gateway::gateway::start(config)).unwrap();
        let live = running.gateway.registry.snapshot();
        let caller = running.gateway.keys.anonymous().clone();
        Bench { runtime, running, live, caller }
    }

    fn gateway(&self) -> &Gateway {
        &self.running.gateway
    }

    fn call(&self, question: &str, system: &str) -> Arc<Call> {
        let body = json!({"model": "gpt-4o", "temperature": 0.7, "messages": [
            {"role": "system", "content": system}, {"role": "user", "content": question}]});
        let head = Head {
            request_id: "request".into(),
            headers: HeaderMap::new(),
            received: clock::now(),
            caller: self.caller.clone(),
        };
        let read = Call::read(&self.live.config.limits, Surface::Chat, head, Body::from(body.to_string()));
        Arc::new(self.runtime.block_on(read).unwrap())
    }

    fn look(&self, call: &Arc<Call>) -> Look {
        self.runtime.block_on(self.gateway().cache.look(&self.live, &self.caller, call))
    }

    fn keep(&self, call: &Arc<Call>) {
        let Look::Miss(inquiry) = self.look(call) else { return };
        let provider = self.live.directory.provider("openai").unwrap();
        let offer = self.live.directory.offer_at(provider, "gpt-4o", Surface::Chat, &self.live.metrics);
        let target = Target { offer, choice: Choice::Direct };
        let content = "An answer of some length, as answers are. ".repeat(20);
        let body = json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "logprobs": null,
                "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 200, "completion_tokens": 180, "total_tokens": 380}});
        inquiry.keep(body.to_string().as_bytes(), &target, &Usage::default(), None);
    }

    /// Waits until every question that was kept has its vector.
    fn settle(&self, questions: u64) {
        while self.gateway().cache.own_model().encoded() < questions {
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn question(number: usize) -> String {
    const SUBJECTS: [&str; 10] =
        ["egg", "violin", "bridge", "garden", "engine", "letter", "mountain", "window", "recipe", "novel"];
    const VERBS: [&str; 10] = ["cook", "paint", "repair", "clean", "move", "sell", "describe", "draw", "find", "keep"];
    let (subject, verb) = (SUBJECTS[number % 10], VERBS[number / 10 % 10]);
    format!("How do people in town {} {verb} a {subject} of the oldest kind?", number / 100)
}

fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
}

fn looks(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let long = "You answer briefly and to the point. ".repeat(24);
    let known = bench.call("Why is the sky blue?", &long);
    bench.keep(&known);
    criterion.bench_function("exact hit, 1 KB, replayed", |bencher| {
        bencher.iter(|| {
            let Look::Hit(hit) = bench.look(black_box(&known)) else { panic!("it is there") };
            let body = wire::replay::renamed(wire::Client::OpenAi, hit.entry.answer.as_bytes(), "other", 2);
            wire::splice::append_member(&body, "x-gateway", br#"{"cache_hit":true}"#)
        });
    });
    criterion.bench_function("exact hit, 1 KB, replayed as a stream", |bencher| {
        bencher.iter(|| {
            let Look::Hit(hit) = bench.look(black_box(&known)) else { panic!("it is there") };
            let body = wire::replay::renamed(wire::Client::OpenAi, hit.entry.answer.as_bytes(), "other", 2);
            wire::replay::stream(wire::Client::OpenAi, &body, true, br#"{"cache_hit":true}"#).unwrap()
        });
    });
    let unknown = bench.call("Why is the sea salty?", &format!("{long}!"));
    criterion.bench_function("miss in an empty scope, 1 KB", |bencher| {
        bencher.iter(|| matches!(bench.look(black_box(&unknown)), Look::Miss(_)));
    });

    let before = resident_kib();
    let mut kept = bench.gateway().cache.own_model().encoded();
    for number in 0..ENTRIES {
        bench.keep(&bench.call(&question(number), "Be brief."));
        kept += 1;
        if number % 1_000 == 999 {
            bench.settle(kept);
        }
    }
    println!("{ENTRIES} entries take {} MiB", resident_kib().saturating_sub(before) / 1_024);
    let paraphrases: Vec<Arc<Call>> = (0..SINGLE_LOOKS)
        .map(|number| bench.call(&format!("In town {number}, how would people repair an oldest violin?"), "Be brief."))
        .collect();
    let mut times: Vec<Duration> = paraphrases
        .iter()
        .map(|call| {
            let began = Instant::now();
            black_box(bench.look(call));
            began.elapsed()
        })
        .collect();
    times.sort();
    let (half, most) = (times[SINGLE_LOOKS / 2], times[SINGLE_LOOKS * 99 / 100]);
    println!("semantic look among {ENTRIES}: p50 {half:?}, p99 {most:?}");
    let mut number = 0;
    criterion.bench_function("semantic look among 10,000", |bencher| {
        bencher.iter(|| {
            number = (number + 1) % SINGLE_LOOKS;
            bench.look(black_box(&paraphrases[number]))
        });
    });
}

criterion_group!(benches, looks);
criterion_main!(benches);
