//! The fault matrix, a test a row: what the client is told, who is asked again, who is asked instead, what it does to the
//! breaker, and what it costs.

mod after_content;
mod before_content;
mod credentials;
mod hedges;
mod resources;
mod transport;

use serde_json::{Value, json};
use testkit::Upstream;

use crate::harness::{Answer, Gateway};

/// A provider that may fail, and one that does not.
pub(crate) struct Pair {
    pub(crate) gateway: Gateway,
    pub(crate) second: Upstream,
}

/// The lines of a provider with one priced model.
pub(crate) fn provider(name: &str, url: &str, more: &str) -> String {
    format!(
        "[[provider]]\nname = \"{name}\"\ndialect = \"openai\"\nbase_url = \"{url}\"\n{more}\
         [[provider.model]]\nid = \"model\"\ncontext_window = 100000\ninput_usd_per_million = 1\n\
         output_usd_per_million = 10\n"
    )
}

impl Pair {
    /// `first` is the name of the provider at `url`; the group `both` has `first/model` and then `second/model`.
    pub(crate) async fn at(url: &str, settings: &str, variables: &[(&str, &str)]) -> Pair {
        let second = Upstream::steady_openai().await;
        let file = settings.to_owned()
            + &provider("first", url, "")
            + &provider("second", &second.url(), "")
            + "[groups.both]\nkind = \"ordered\"\ntargets = [\"first/model\", \"second/model\"]\n";
        Pair { gateway: Gateway::with_settings(&file, variables).await, second }
    }

    /// Requests that `second` was sent.
    pub(crate) fn second_calls(&self) -> usize {
        calls(&self.second)
    }

    /// The breaker of `first/model`.
    pub(crate) async fn breaker(&self) -> Value {
        breaker(&self.gateway, "first").await
    }
}

/// Chat requests that an upstream was sent.
pub(crate) fn calls(upstream: &Upstream) -> usize {
    upstream.requests().iter().filter(|request| request.path.ends_with("/chat/completions")).count()
}

/// The row of a provider's `model` in `/api/circuit-breakers`.
pub(crate) async fn breaker(gateway: &Gateway, provider: &str) -> Value {
    let told = gateway.get("/api/circuit-breakers").await.json();
    let rows = told["circuit_breakers"].as_array().unwrap();
    let row = rows.iter().find(|row| row["provider"] == provider && row["model"] == "model");
    row.cloned().unwrap_or_else(|| panic!("{provider} is not in {told}"))
}

/// The metadata of an answer, of its last chunk where it is a stream.
pub(crate) fn metadata(answer: &Answer) -> Value {
    if answer.header("content-type") == Some("application/json") {
        return answer.json()["x-gateway"].clone();
    }
    let chunks = answer.events().into_iter().filter_map(|event| serde_json::from_str::<Value>(&event).ok());
    chunks.filter_map(|chunk| chunk.get("x-gateway").cloned()).next_back().unwrap_or(Value::Null)
}

/// What a fault does to the breaker of its model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Breaker {
    /// Nothing.
    Same,
    /// So many failures are counted.
    Counts(u64),
    /// It opens, for the reason that it tells.
    Opens(&'static str),
}

/// What a fault costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cost {
    Nothing,
    /// The prompt, as an estimate, once for each attempt.
    Input,
}

/// A row: a fault of the first provider before content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// What the client is told where nobody else can serve.
    pub(crate) says: (u16, &'static str, &'static str),
    /// How often the first provider is asked by then.
    pub(crate) calls: usize,
    /// Whether the second is asked.
    pub(crate) falls_back: bool,
    pub(crate) breaker: Breaker,
    pub(crate) cost: Cost,
    /// `Retry-After`, where there has to be one: at least and at most so many seconds.
    pub(crate) retry_after: Option<(u64, u64)>,
    /// Plain requests, streams.
    pub(crate) shapes: &'static [bool],
}

pub(crate) const BOTH: &[bool] = &[false, true];

impl Row {
    /// A failure that is tried elsewhere, counts, and costs nothing.
    pub(crate) const fn failure(status: u16, kind: &'static str, code: &'static str) -> Row {
        Row {
            says: (status, kind, code),
            calls: 1,
            falls_back: true,
            breaker: Breaker::Counts(1),
            cost: Cost::Nothing,
            retry_after: None,
            shapes: BOTH,
        }
    }

    /// Checks the row with the fault that the words tell an imitation of.
    pub(crate) async fn holds(self, words: &str) {
        self.holds_with(words, "").await;
    }

    /// The same with further lines of `gateway.toml`.
    pub(crate) async fn holds_with(self, words: &str, settings: &str) {
        for &stream in self.shapes {
            let first = Upstream::openai().await;
            let pair = Pair::at(&first.url(), settings, &[]).await;
            self.alone(&pair, words, stream, || calls(&first)).await;
            let first = Upstream::openai().await;
            let pair = Pair::at(&first.url(), settings, &[]).await;
            self.with_another(&pair, words, stream).await;
        }
    }

    /// Nobody else has the model.
    pub(crate) async fn alone(&self, pair: &Pair, words: &str, stream: bool, calls: impl Fn() -> usize) {
        let gateway = &pair.gateway;
        let answer = gateway.chat("first/model", &prompt(words), json!({"stream": stream})).await;

        let what = format!("{words} stream={stream}: {}", answer.text());
        let (kind, code, _) = answer.error();
        assert_eq!((answer.status.as_u16(), kind.as_str(), code.as_str()), self.says, "{what}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{what}");
        assert!(!answer.text().contains("sentinel") && !answer.text().contains("127.0.0.1"), "{what}");
        assert_eq!(calls(), self.calls, "{what}");
        if let Some((least, most)) = self.retry_after {
            let told: u64 = answer.header("retry-after").unwrap_or_else(|| panic!("{what}")).parse().unwrap();
            assert!((least..=most).contains(&told), "Retry-After {told}: {what}");
        }
        // Waiting cures a limit; all else was tried again already.
        if self.calls > 1 && self.says.0 != 429 {
            assert_eq!(answer.header("x-should-retry"), Some("false"), "{what}");
        }
        let breaker = pair.breaker().await;
        let found = (breaker["state"].as_str().unwrap(), breaker["failures_in_a_row"].as_u64().unwrap());
        match self.breaker {
            Breaker::Same => assert_eq!(found, ("closed", 0), "{what}"),
            Breaker::Counts(count) => assert_eq!(found, ("closed", count), "{what}"),
            Breaker::Opens(why) => {
                assert_eq!(found.0, "open", "{what}");
                assert_eq!(breaker["reason"], why, "{what}");
            }
        }
        self.costs(gateway, answer.header("x-request-id").unwrap(), &what).await;
    }

    async fn costs(&self, gateway: &Gateway, request_id: &str, what: &str) {
        let entries = gateway.entries(request_id, self.calls.max(1)).await;
        assert_eq!(entries.len(), self.calls.max(1), "a row an attempt: {what}");
        for entry in entries {
            assert_eq!(entry.provider, "first");
            match self.cost {
                Cost::Nothing => assert_eq!((entry.input_tokens, entry.output_tokens), (0, 0), "{what}"),
                Cost::Input => assert!(entry.input_tokens > 0 && entry.is_estimated, "{what} {entry:?}"),
            }
        }
    }

    /// The group's second target is well.
    async fn with_another(&self, pair: &Pair, words: &str, stream: bool) {
        let answer = pair.gateway.chat("both", &prompt(words), json!({"stream": stream})).await;

        let what = format!("{words} stream={stream}: {}", answer.text());
        if !self.falls_back {
            assert_eq!(answer.status.as_u16(), self.says.0, "{what}");
            assert_eq!(pair.second_calls(), 0, "{what}");
            return;
        }
        assert_eq!((answer.status.as_u16(), pair.second_calls()), (200, 1), "{what}");
        let metadata = metadata(&answer);
        assert_eq!((&metadata["fallback_used"], &metadata["provider"]), (&json!(true), &json!("second")), "{what}");
        assert_eq!(metadata["attempts"][0]["outcome"], self.says.2, "{what}");
    }
}

fn prompt(words: &str) -> String {
    format!("[upstream {words}] Hello there.")
}
