//! A simulation of gateway, three providers and clients, in one thread and in simulated time: minutes of faults in a
//! fraction of a second. All chance comes from a seed.
//!
//! The gateway is the real one, from the socket to the journal; so are the sockets, which deliver at once on one
//! machine. Time moves only when nobody has anything to do. `SEEDS=20000` runs as many as that, `SEED=7` that one.

mod client;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use client::{Outcome, Plan};
use serde_json::Value;
use store::{ANONYMOUS, Entry, EntryFilter};
use testkit::Upstream;

use crate::clock;
use crate::config::{Config, Sources};
use crate::gateway::{Running, start_still};
use crate::ledger;
use crate::limits::budget::Ceiling;

const ADMIN_KEY: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b";
/// Requests of one seed, over so much simulated time.
const REQUESTS: usize = 40;
const SPAN: Duration = Duration::from_secs(120);
/// The longest that any request may take, and what is allowed beside it.
const LONGEST: Duration = Duration::from_secs(40);
const MARGIN: Duration = Duration::from_secs(3);
/// What a provider can be like for a while.
const MOODS: [&str; 22] = [
    "chunks=12 delay_ms=150",
    "latency_ms=1500",
    "first_ms=2500 comments=2",
    "slice=3 crlf",
    "no_usage",
    "no_done",
    "status=500",
    "status=503",
    "status=529",
    "status=429 retry_after=1",
    "status=429 retry_after=20",
    "status=429",
    "bad_key=sk-two",
    "status=402",
    "close",
    "html",
    "error_in_200",
    "chunks=8 cut=3",
    "chunks=8 error_event=4",
    "chunks=8 bad_json=2",
    "chunks=6 hang_at=3",
    "latency_ms=60000",
];

struct World {
    running: Running,
    providers: Vec<(&'static str, Upstream)>,
    _folder: tempfile::TempDir,
}

/// What came of a request.
struct Told {
    number: usize,
    plan: Plan,
    outcome: Outcome,
    took: Duration,
}

#[test]
fn no_seed_loses_money_hangs_a_request_or_storms_a_provider() {
    let number = |name: &str| std::env::var_os(name).and_then(|text| text.to_str()?.parse::<u64>().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(200),
    };
    for seed in seeds {
        run(seed);
    }
}

#[test]
fn a_seed_gives_the_same_every_time() {
    for seed in [1, 2, 3] {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

/// Simulates one seed and returns what its clients were told. Not when: the order in which tasks draw their jitter is
/// the runtime's.
fn run(seed: u64) -> Vec<String> {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::new().await;
        tokio::time::pause();
        let (told, outages) = world.play(seed).await;
        tokio::time::resume();
        world.check(seed, &told, &outages).await;
        if std::env::var_os("SEED").is_some() {
            told.iter().for_each(|told| {
                println!("{:>3} {:>6} ms {:?} {:?}", told.number, told.took.as_millis(), told.outcome, told.plan)
            });
        }
        told.iter().map(|told| format!("{} {:?}", told.number, told.outcome)).collect()
    })
}

/// A time in which a provider failed without exception.
struct Outage {
    provider: usize,
    seconds: u64,
    calls: usize,
    sent: usize,
}

impl World {
    async fn new() -> World {
        let folder = tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "." }).unwrap();
        let mut providers = Vec::new();
        let mut file =
            String::from("[groups.all]\nkind = \"ordered\"\ntargets = [\"a/model\", \"b/model\", \"c/model\"]\n");
        for name in ["a", "b", "c"] {
            let upstream = Upstream::openai().await;
            file += &format!(
                "[[provider]]\nname = \"{name}\"\ndialect = \"openai\"\nbase_url = \"{}\"\nkey = \"sk-one\"\n\
                 [[provider.model]]\nid = \"model\"\ninput_usd_per_million = 100\noutput_usd_per_million = 1000\n",
                upstream.url()
            );
            if name == "a" {
                file += "[[provider.credential]]\nkey = \"sk-two\"\n";
            }
            providers.push((name, upstream));
        }
        let environment = [
            ("PORT", "0"),
            ("CACHE_ENABLED", "false"),
            ("ADMIN_API_KEY", ADMIN_KEY),
            ("OLLAMA_URL", "http://127.0.0.1:9"),
            ("DATA_DIR", folder.path().to_str().unwrap()),
            ("GLOBAL_MONTHLY_USD_BUDGET", "0.5"),
            ("HEADERS_TIMEOUT_SECONDS", "5"),
            ("HEADERS_PLAIN_TIMEOUT_SECONDS", "8"),
            ("FIRST_CONTENT_TIMEOUT_SECONDS", "5"),
            ("IDLE_TIMEOUT_SECONDS", "5"),
            ("TOTAL_TIMEOUT_SECONDS", "40"),
            ("STREAM_TOTAL_TIMEOUT_SECONDS", "40"),
            ("KEEPALIVE_AFTER_SECONDS", "2"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let file = Some(("gateway.toml".into(), file));
        let config = Config::load(&Sources { environment, file, ..Sources::default() }).unwrap();
        World { running: start_still(config).await.unwrap(), providers, _folder: folder }
    }

    /// Lets providers change their moods and clients ask, until the last client has its outcome.
    async fn play(&self, seed: u64) -> (Vec<Told>, Vec<Outage>) {
        let mut chance = fastrand::Rng::with_seed(seed);
        let plans: Vec<Plan> = (0..REQUESTS).map(|number| Plan::draw(&mut chance, number, SPAN)).collect();
        let moods: Vec<_> = (0..self.providers.len()).map(|_| chance.fork()).collect();
        let address = self.running.address();
        let clients = plans.into_iter().enumerate().map(|(number, plan)| async move {
            tokio::time::sleep(plan.starts).await;
            let began = clock::now();
            let outcome = tokio::time::timeout(LONGEST + MARGIN, plan.ask(address, number)).await;
            Told { number, outcome: outcome.unwrap_or(Outcome::Hung), took: clock::now() - began, plan }
        });
        let outages = Rc::default();
        let moody =
            moods.into_iter().enumerate().map(|(place, chance)| self.change_moods(place, chance, Rc::clone(&outages)));
        let told = tokio::select! {
            told = futures_util::future::join_all(clients) => told,
            _ = futures_util::future::join_all(moody) => unreachable!("moods change for ever"),
        };
        (told, outages.take())
    }

    async fn change_moods(
        &self,
        place: usize,
        mut chance: fastrand::Rng,
        outages: Rc<std::cell::RefCell<Vec<Outage>>>,
    ) {
        let upstream = &self.providers[place].1;
        loop {
            let is_outage = chance.u8(..8) == 0;
            let mood = match (is_outage, chance.bool()) {
                (true, _) => "status=503",
                (false, true) => "",
                (false, false) => chance.choice(MOODS).unwrap_or_default(),
            };
            upstream.tell(mood).unwrap();
            let (before, seconds) = (calls(upstream), if is_outage { chance.u64(30..60) } else { chance.u64(1..20) });
            let sent = self.routed();
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            if is_outage {
                let calls = calls(upstream) - before;
                outages.borrow_mut().push(Outage { provider: place, seconds, calls, sent: self.routed() - sent });
            }
        }
    }

    /// Chat requests that any provider was sent.
    fn routed(&self) -> usize {
        self.providers.iter().map(|(_, upstream)| calls(upstream)).sum()
    }

    async fn check(&self, seed: u64, told: &[Told], outages: &[Outage]) {
        for told in told {
            check_outcome(seed, told);
        }
        for outage in outages {
            let (name, most) = (self.providers[outage.provider].0, outage.sent * 5 / 4 + 10 + outage.seconds as usize);
            assert!(outage.calls <= most, "seed {seed}: {} calls to {name} in {} s", outage.calls, outage.seconds);
        }
        let gateway = &self.running.gateway;
        let is_idle = || gateway.concurrency.active() == 0 && self.reserved() == 0;
        assert!(within_seconds(is_idle).await, "seed {seed}: something is still reserved or active");
        ledger::ship::last(&gateway.ledger, &gateway.store).await;
        self.check_accounts(seed, told).await;
        for (name, upstream) in &self.providers {
            let is_idle = || upstream.open_streams() == 0;
            assert!(within_seconds(is_idle).await, "seed {seed}: {name} still writes for nobody");
        }
    }

    fn reserved(&self) -> i64 {
        let gateway = &self.running.gateway;
        let limit = ledger::global_ceiling(&gateway.registry.snapshot().config);
        let status = gateway.ledger.budgets.global().status(limit, clock::period(clock::unix_millis()));
        status.reserved.usd.0
    }

    async fn check_accounts(&self, seed: u64, told: &[Told]) {
        let gateway = &self.running.gateway;
        let period = clock::period(clock::unix_millis());
        let filter = EntryFilter::Key { id: ANONYMOUS, period };
        let entries = gateway.store.entries(filter, 10_000).await.unwrap();
        let mut by_request: BTreeMap<String, Vec<&Entry>> = BTreeMap::new();
        for entry in &entries {
            by_request.entry(entry.request_id.clone()).or_default().push(entry);
        }
        let seen = self.seen_by_providers();
        let accounted: BTreeSet<String> =
            entries.iter().filter(|entry| is_sent(entry)).map(|entry| entry.request_id.clone()).collect();
        assert_eq!(seen.keys().cloned().collect::<BTreeSet<_>>(), accounted, "seed {seed}: ids sent and accounted");
        for (id, entries) in &by_request {
            let holds: BTreeSet<_> = entries.iter().map(|entry| entry.hold).collect();
            let attempts: BTreeSet<_> = entries.iter().map(|entry| entry.attempt).collect();
            assert_eq!(
                (holds.len(), attempts.len()),
                (1, entries.len()),
                "seed {seed}: {id} is settled once: {entries:?}"
            );
            assert!(entries.len() <= 4, "seed {seed}: {id} has {} attempts", entries.len());
            for provider in ["b", "c"] {
                let count = entries.iter().filter(|entry| entry.provider == provider).count();
                assert!(count <= 2, "seed {seed}: {id} asked {provider} {count} times");
            }
            let calls = seen.get(id).map_or(0, Vec::len);
            assert!(calls <= entries.len(), "seed {seed}: {id} has {calls} calls and {} entries", entries.len());
        }
        let sum: i64 = entries.iter().map(|entry| entry.cost.unwrap_or_default().0).sum();
        let totals = gateway.store.totals(period).await.unwrap();
        assert_eq!(totals.iter().map(|(_, total)| total.cost.0).sum::<i64>(), sum, "seed {seed}: sums");
        let limit = ledger::global_ceiling(&gateway.registry.snapshot().config);
        let status = gateway.ledger.budgets.global().status(limit, period);
        assert_eq!((status.spent.usd.0, status.reserved.usd.0), (sum, 0), "seed {seed}: what the budget says");
        assert!(told.iter().all(|told| !told.plan.is_whole() || told.outcome.is_told()), "seed {seed}");
        let Ceiling { usd, .. } = limit;
        assert!(sum <= usd.unwrap().0 + MOST_OF_RETRIES, "seed {seed}: {sum} is beyond the budget");
    }

    /// The calls that providers got, by the id in their prompt.
    fn seen_by_providers(&self) -> BTreeMap<String, Vec<&'static str>> {
        let mut seen: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
        for (name, upstream) in &self.providers {
            for request in upstream.requests().iter().filter(|request| request.path.ends_with("/chat/completions")) {
                let body: Value = serde_json::from_slice(&request.body).unwrap();
                let prompt = body["messages"][0]["content"].as_str().unwrap().to_owned();
                seen.entry(prompt.split_whitespace().next().unwrap().to_owned()).or_default().push(name);
            }
        }
        seen
    }
}

/// What attempts beyond the first of a request can add to a budget that was checked for one, in nanodollars.
const MOST_OF_RETRIES: i64 = 20_000_000;

async fn within_seconds(is_so: impl Fn() -> bool) -> bool {
    for _ in 0..2_500 {
        if is_so() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    false
}

fn is_sent(entry: &Entry) -> bool {
    entry.outcome != "provider_timeout" || entry.input_tokens > 0
}

fn calls(upstream: &Upstream) -> usize {
    upstream.requests().iter().filter(|request| request.path.ends_with("/chat/completions")).count()
}

/// Every client has one outcome, in time, and of a stream a text that one provider has sent.
fn check_outcome(seed: u64, told: &Told) {
    let what =
        || format!("seed {seed}, request-{}: {:?} after {:?} of {:?}", told.number, told.outcome, told.took, told.plan);
    assert!(told.took <= told.plan.patience() + MARGIN, "{}", what());
    match &told.outcome {
        Outcome::Hung => panic!("{}", what()),
        Outcome::Left | Outcome::Whole => {}
        Outcome::Refused(code) => assert_ne!(code, "internal_error", "{}", what()),
        Outcome::Stream { events, is_done, errors } => {
            assert_eq!((usize::from(*is_done), *errors), if *is_done { (1, 0) } else { (0, 1) }, "{}", what());
            let ids: BTreeSet<&str> = events.iter().map(String::as_str).collect();
            assert!(ids.len() <= 1, "text of {} calls: {}", ids.len(), what());
        }
    }
}
