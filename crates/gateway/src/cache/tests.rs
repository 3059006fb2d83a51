//! The cache without the port: what may find what, ten thousand times.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use http::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;
use wire::usage::Usage;

use super::{Hit, Look, Tier};
use crate::call::{Call, Head, Surface};
use crate::clock;
use crate::config::{Config, Sources};
use crate::gateway::{Gateway, start_still};
use crate::keys::Caller;
use crate::limits::budget::Ceiling;
use crate::limits::rates::{Meter, RateLimits};
use crate::live::Live;
use crate::router::{Choice, Target};

const PROBES: usize = 10_000;

struct Fixture {
    gateway: Arc<Gateway>,
    live: Arc<Live>,
    _folder: TempDir,
}

impl Fixture {
    async fn new() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().to_string_lossy().into_owned();
        let environment: BTreeMap<String, String> =
            [("PORT", "0"), ("DATA_DIR", data_dir.as_str()), ("OPENAI_API_KEY", "sk-test")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        let config = Config::load(&Sources { environment, ..Sources::default() }).unwrap();
        let gateway = start_still(config).await.unwrap().gateway;
        let live = gateway.registry.snapshot();
        Fixture { gateway, live, _folder: folder }
    }

    fn caller(&self, id: &str, tags: &[&str]) -> Arc<Caller> {
        let key = store::Key {
            id: id.to_owned(),
            hash: [0; 32],
            hint: String::new(),
            name: id.to_owned(),
            environment: "development".to_owned(),
            enabled: true,
            monthly_budget_usd: None,
            monthly_budget_tokens: None,
            rpm: None,
            tpm: None,
            max_concurrent: None,
            allowed_models: Vec::new(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            expires_at_ms: None,
            created_at_ms: 0,
            updated_at_ms: 0,
            revoked_at_ms: None,
        };
        Arc::new(Caller {
            key: Some(key),
            id: id.into(),
            rates: RateLimits::default(),
            meter: Arc::new(Meter::new(id)),
            ceiling: Ceiling::default(),
            account: self.gateway.ledger.budgets.account(id),
        })
    }

    async fn look(&self, caller: &Arc<Caller>, surface: Surface, body: &Value) -> Look {
        let head =
            Head { request_id: "r".into(), headers: HeaderMap::new(), received: clock::now(), caller: caller.clone() };
        let call = Call::read(&self.live.config.limits, surface, head, Body::from(body.to_string())).await.unwrap();
        self.gateway.cache.look(&self.live, caller, &Arc::new(call)).await
    }

    /// Has the answer to a request kept, unless it is there; what it was found by.
    async fn ask(&self, caller: &Arc<Caller>, body: &Value, answer: &str) -> Option<Hit> {
        match self.look(caller, Surface::Chat, body).await {
            Look::Hit(hit) => Some(*hit),
            Look::Miss(inquiry) => {
                let provider = self.live.directory.provider("openai").unwrap();
                let offer = self.live.directory.offer_at(provider, "gpt-4o", Surface::Chat, &self.live.metrics);
                let target = Target { offer, choice: Choice::Direct };
                let body = json!({"id": "a", "choices": [{"index": 0, "finish_reason": "stop",
                    "message": {"role": "assistant", "content": answer}}]});
                inquiry.keep(body.to_string().as_bytes(), &target, &Usage::default(), None);
                None
            }
            Look::Bypass => panic!("the cache is on"),
        }
    }
}

/// P9: no hit crosses a scope, whoever asks what how. Every answer says what it answers.
#[tokio::test]
async fn no_probe_of_ten_thousand_gets_what_belongs_to_another() {
    let fixture = Fixture::new().await;
    let callers: Vec<Arc<Caller>> = (0..6)
        .map(|number| match number {
            0 | 1 => fixture.caller(&format!("key_{number}"), &["cache:a"]),
            2 | 3 => fixture.caller(&format!("key_{number}"), &["cache:b"]),
            _ => fixture.caller(&format!("key_{number}"), &[]),
        })
        .collect();
    let audience = |caller: usize| if caller < 4 { caller / 2 } else { caller };
    // Each question in three ways that are written differently and say the same.
    let questions =
        [["What is 2 + 2", "what is  2 + 2", "What is 2 + 2 "], ["Name 1 fish", "name 1 fish", "Name  1 fish"]];
    let mut random = fastrand::Rng::with_seed(11);
    let mut hits = 0;

    for _ in 0..PROBES {
        let (caller, question, way) = (random.usize(..6), random.usize(..2), random.usize(..3));
        let (system, model, seed, tools) = (random.usize(..3), random.usize(..2), random.usize(..2), random.bool());
        let mut body = json!({"model": (["gpt-4o", "openai/gpt-4o"][model]), "seed": seed, "stream": random.bool(),
            "user": random.u8(..).to_string(),
            "messages": [{"role": "system", "content": system.to_string()},
                {"role": "user", "content": (questions[question][way])}]});
        if tools {
            body["tools"] = json!([{"type": "function", "function": {"name": "f"}}]);
        }
        let exact = if tools { way } else { 0 };
        let meant = json!([audience(caller), question, system, model, seed, tools, exact]).to_string();

        if let Some(hit) = fixture.ask(&callers[caller], &body, &meant).await {
            hits += 1;
            let given = wire::replay::text(wire::Client::OpenAi, hit.entry.answer.as_bytes()).unwrap();
            assert_eq!(given, meant, "{body}");
            assert!(!tools || hit.tier == Tier::Exact);
        }
    }

    assert!(hits > PROBES / 2, "{hits}");
}

/// An entry comes back from what is written of it, its vector only to whoever made it.
#[tokio::test]
async fn an_entry_comes_back_from_what_is_written() {
    let fixture = Fixture::new().await;
    let caller = fixture.caller("key_1", &[]);
    let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Say \u{0} \"this\" é"}]});
    assert!(fixture.ask(&caller, &body, "an answer").await.is_none());
    let entry = fixture.gateway.cache.entries(1).remove(0);
    entry.row.set(embedding::Row::of(&[0.5, -1.0, 0.25])).unwrap();

    let written = entry.write("m").unwrap();

    let back = super::Entry::read(&written, "m").unwrap();
    assert_eq!(
        (&back.id, &back.question, &back.answer, back.row.get()),
        (&entry.id, &entry.question, &entry.answer, entry.row.get())
    );
    assert!(super::Entry::read(&written, "other").unwrap().row.get().is_none());
    for bad in ["", "{}", &written[1..]] {
        assert!(super::Entry::read(bad, "m").is_none());
    }
}

#[tokio::test]
async fn while_memory_is_short_nothing_more_is_kept_and_room_is_made() {
    let fixture = Fixture::new().await;
    let caller = fixture.caller("key_1", &[]);
    let ask = async |number: usize| {
        let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": format!("Name {number} fish")}]});
        fixture.ask(&caller, &body, "an answer").await
    };
    for number in 0..100 {
        ask(number).await;
    }
    let entries = || fixture.gateway.cache.entries(1_000).len();
    assert_eq!(entries(), 100);
    let memory = &fixture.gateway.memory;
    memory.look(None);
    // Tight, not full: between 80 and 95 percent.
    memory.look(Some(memory.resident_bytes() * 100 / 88));
    assert!(memory.is_tight() && !memory.is_full());

    ask(100).await;
    assert_eq!(entries(), 100);
    let stop = tokio_util::sync::CancellationToken::new();
    let keeping = super::run(fixture.gateway.cache.clone(), fixture.gateway.registry.clone(), stop.clone());
    let shrunk = async {
        while entries() > 64 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        memory.look(None);
        ask(101).await;
        let left = entries();
        assert!((1..=65).contains(&left), "{left}");
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        assert_eq!(entries(), left, "there is room again");
        stop.cancel();
    };
    tokio::join!(keeping, shrunk);
}

#[tokio::test]
async fn a_stream_that_met_short_memory_is_not_kept_and_another_is() {
    let fixture = Fixture::new().await;
    let caller = fixture.caller("key_1", &[]);
    let provider = fixture.live.directory.provider("openai").unwrap();
    let offer = fixture.live.directory.offer_at(provider, "gpt-4o", Surface::Chat, &fixture.live.metrics);
    let target = Target { offer, choice: Choice::Direct };
    let memory = &fixture.gateway.memory;
    memory.look(None);
    let (first, last) = (
        b"data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"four\"}}]}\n\n".as_slice(),
        b"data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n".as_slice(),
    );
    for (is_short, kept) in [(true, 0), (false, 1)] {
        let body = json!({"model": "gpt-4o", "stream": true, "messages": [{"role": "user", "content": "Say four"}]});
        let Look::Miss(mut inquiry) = fixture.look(&caller, Surface::Chat, &body).await else { panic!("it is new") };
        memory.look(is_short.then(|| memory.resident_bytes() * 100 / 88));
        inquiry.record(first);
        memory.look(None);
        inquiry.record(last);
        inquiry.keep_stream(&target, &Usage::default(), None);
        assert_eq!(fixture.gateway.cache.entries(10).len(), kept, "{is_short}");
    }
}
