//! The leases against a Redis of their own: no stand-in shows what a frozen or emptied server does.
#![expect(clippy::arithmetic_side_effects, reason = "made-up numbers within small bounds")]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;
use crate::limits::budget::ShortKind;
use crate::limits::budgets::{Budgets, Recorded, Reservation, Shortage};

const NOVEMBER: Period = Period(202611);
const CENT: i64 = 10_000_000;
const NONE: Ceiling = Ceiling { usd: None, tokens: None };
/// As by default, only shorter.
const TERMS: Terms = Terms {
    usable: Duration::from_secs(30),
    dropped: Duration::from_secs(60),
    lost: Duration::from_secs(1),
    newcomer: Duration::from_millis(400),
};

/// A Redis that remembers nothing over a restart.
struct Redis {
    port: u16,
    server: Child,
    /// What keeps the connections.
    watches: Mutex<JoinSet<()>>,
}

impl Redis {
    async fn start() -> Redis {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let redis = Redis { port, server: Redis::serve(port), watches: Mutex::default() };
        redis.ready().await;
        redis
    }

    fn serve(port: u16) -> Child {
        Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("`redis-server` is installed")
    }

    async fn ready(&self) {
        while self.tell("PING").await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn tell(&self, command: &str) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        redis::cmd(command).query_async(&mut client.get_multiplexed_async_connection().await?).await
    }

    async fn restart(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        self.server = Redis::serve(self.port);
        self.ready().await;
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.server.id().to_string()]).status().unwrap().success());
    }

    async fn shared(&self) -> Arc<Shared> {
        let url = format!("redis://127.0.0.1:{}", self.port);
        let shared = Arc::new(Shared::new(&url.into(), Duration::from_millis(50)).unwrap());
        shared.look().await;
        self.watches.lock().unwrap().spawn(shared.clone().watch(CancellationToken::new()));
        shared
    }

    /// A replica that was not started: it reports only when told.
    async fn silent_replica(&self, instance: &str, terms: Terms) -> Arc<Budgets> {
        let leases = Leases::new(instance.to_owned(), self.shared().await, terms);
        Arc::new(Budgets::new(instance.to_owned(), Some(leases)).0)
    }

    /// As many replicas, at work.
    async fn replicas(&self, count: usize) -> (Vec<Arc<Budgets>>, JoinSet<()>, CancellationToken) {
        let (mut all, mut tasks, stop) = (Vec::new(), JoinSet::new(), CancellationToken::new());
        for number in 0..count {
            let budgets = self.silent_replica(&format!("r{number}"), TERMS).await;
            budgets.start().await;
            let (running, stop) = (budgets.clone(), stop.clone());
            tasks.spawn(async move { running.run(&stop).await });
            all.push(budgets);
        }
        (all, tasks, stop)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn usd(limit: i64) -> Ceiling {
    Ceiling { usd: Some(Nanodollars(limit)), tokens: None }
}

fn amount(usd: i64, tokens: i64) -> Amount {
    Amount { usd: Nanodollars(usd), tokens }
}

async fn hold(budgets: &Budgets, key: &str, limit: i64, cost: i64) -> Result<Reservation, Shortage> {
    budgets.reserve(&budgets.account(key), usd(limit), NONE, amount(cost, 1), NOVEMBER).await
}

/// The same once more if the machine was too slow for Redis to answer in time.
async fn hold_in_time(budgets: &Budgets, key: &str, limit: i64, cost: i64) -> Result<Reservation, Shortage> {
    for _ in 0..40 {
        match hold(budgets, key, limit, cost).await {
            Err(Shortage::SharedUnavailable) => sleep(Duration::from_millis(50)).await,
            answer => return answer,
        }
    }
    Err(Shortage::SharedUnavailable)
}

/// Reports, and gives everything back.
async fn report(budgets: &Budgets) {
    let stop = CancellationToken::new();
    stop.cancel();
    budgets.run(&stop).await;
}

/// Reserves and settles cents, one after another, until the budget is used up; how many there were.
async fn use_up(replicas: &[Arc<Budgets>], key: &str, limit: i64) -> i64 {
    let mut count = 0;
    for turn in 0..4000 {
        match hold(&replicas[turn % replicas.len()], key, limit, CENT).await {
            Ok(reservation) => {
                reservation.settle(amount(CENT, 1));
                count += 1;
            }
            Err(Shortage::Key(Short { kind: ShortKind::Spent | ShortKind::TooLarge, .. })) => return count,
            Err(_) => sleep(Duration::from_millis(25)).await,
        }
    }
    panic!("some of the budget cannot be used: {count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_cents_at_three_replicas_never_admit_more_than_a_dollar_and_all_of_it_in_the_end() {
    let redis = Redis::start().await;
    let (replicas, _tasks, _stop) = redis.replicas(3).await;
    let (mut rounds, mut admitted_at_once) = (JoinSet::new(), Vec::new());

    for round in 0..20 {
        let key = format!("k{round}");
        let mut requests = JoinSet::new();
        for request in 0..200 {
            let (budgets, key) = (replicas[request % 3].clone(), key.clone());
            requests.spawn(async move { hold(&budgets, &key, 100 * CENT, CENT).await });
        }
        let admitted: Vec<_> = requests.join_all().await.into_iter().filter_map(Result::ok).collect();
        admitted_at_once.push(admitted.len());
        assert!(admitted.len() <= 100, "round {round}: {}", admitted.len());
        let replicas = replicas.clone();
        rounds.spawn(async move {
            let before = i64::try_from(admitted.len()).unwrap();
            admitted.into_iter().for_each(|reservation| reservation.settle(amount(CENT, 1)));
            before + use_up(&replicas, &key, 100 * CENT).await
        });
    }

    assert!(rounds.join_all().await.into_iter().all(|admitted| admitted == 100));
    println!("admitted at once: {admitted_at_once:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_share_the_budget_of_the_gateway() {
    let redis = Redis::start().await;
    let (replicas, _tasks, _stop) = redis.replicas(3).await;

    let mut requests = JoinSet::new();
    for request in 0..300 {
        let budgets = replicas[request % 3].clone();
        requests.spawn(async move {
            let key = budgets.account(&format!("k{}", request % 7));
            budgets.reserve(&key, usd(90 * CENT), usd(100 * CENT), amount(CENT, 1), NOVEMBER).await
        });
    }
    let admitted: Vec<_> = requests.join_all().await.into_iter().filter_map(Result::ok).collect();

    assert!((50..=100).contains(&admitted.len()), "{}", admitted.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_redis_leaves_the_lease_and_then_nothing() {
    let redis = Redis::start().await;
    let (replicas, _tasks, _stop) = redis.replicas(1).await;
    let budgets = &replicas[0];
    hold_in_time(budgets, "k", 100 * CENT, CENT).await.unwrap().settle(amount(CENT, 1));
    hold_in_time(budgets, "spent", CENT, CENT).await.unwrap().settle(amount(CENT, 1));

    redis.signal("-STOP");
    let mut leased = 0;
    let refused = loop {
        match hold(budgets, "k", 100 * CENT, CENT).await {
            Ok(reservation) => reservation.settle(amount(CENT, 1)),
            Err(refused) => break refused,
        }
        leased += 1;
    };

    assert_eq!(refused, Shortage::SharedUnavailable);
    assert_eq!(leased, 99 / 16, "the sixteenth part of what was left");
    assert!(matches!(
        hold(budgets, "spent", CENT, CENT).await,
        Err(Shortage::Key(Short { kind: ShortKind::Spent, .. }))
    ));
    let account = budgets.account("free");
    let free = budgets.reserve(&account, NONE, NONE, amount(CENT, 1), NOVEMBER);
    assert!(tokio::time::timeout(Duration::ZERO, free).await.unwrap().is_ok(), "no limit, no waiting");
    let waiters = (0..50).map(|_| hold(budgets, "k", 100 * CENT, CENT));
    let began = clock::now();
    assert!(futures(waiters).await.iter().all(Result::is_err));
    assert!(began.elapsed() < Duration::from_secs(2), "one waits for Redis, not each in turn");

    redis.signal("-CONT");
    assert_eq!(use_up(&replicas, "k", 100 * CENT).await, 100 - 1 - leased);
}

/// All of them at once.
async fn futures<T>(all: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, output) in &mut all {
            if output.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        if all.iter().all(|(_, output)| output.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    all.into_iter().filter_map(|(_, output)| output).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgets_everything_gives_nothing_away_twice() {
    let mut redis = Redis::start().await;
    let (replicas, _tasks, _stop) = redis.replicas(3).await;
    let (mut workers, ended) = (JoinSet::new(), CancellationToken::new());

    for worker in 0..24 {
        let (budgets, ended) = (replicas[worker % 3].clone(), ended.clone());
        workers.spawn(async move {
            let mut spent = 0;
            while !ended.is_cancelled() {
                if let Ok(reservation) = hold(&budgets, "k", 1000 * CENT, CENT).await {
                    sleep(Duration::from_millis(fastrand::u64(0..150))).await;
                    let cost = fastrand::i64(0..=CENT);
                    reservation.settle(amount(cost, 1));
                    spent += cost;
                }
                sleep(Duration::from_millis(10)).await;
            }
            spent
        });
    }
    for _ in 0..3 {
        sleep(Duration::from_millis(700)).await;
        redis.tell("FLUSHALL").await.unwrap();
    }
    sleep(Duration::from_millis(1500)).await;
    redis.restart().await;
    sleep(Duration::from_millis(700)).await;
    ended.cancel();
    let spent: i64 = workers.join_all().await.into_iter().sum();
    assert!(spent > 200 * CENT, "they did something: {spent}");
    let rest = use_up(&replicas, "k", 1000 * CENT).await;

    let all = spent + rest * CENT;
    // What is left in the end is less than the cent that was asked for.
    assert!(all <= 1000 * CENT, "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_grants_nothing_until_the_leases_were_reported_again() {
    let redis = Redis::start().await;
    let (replicas, _tasks, _stop) = redis.replicas(2).await;
    let held = hold_in_time(&replicas[0], "k", 10 * CENT, 9 * CENT).await.unwrap();
    assert!(matches!(hold_in_time(&replicas[1], "k", 10 * CENT, 2 * CENT).await, Err(Shortage::Key(_))));

    redis.tell("FLUSHALL").await.unwrap();

    assert_eq!(hold(&replicas[1], "k", 10 * CENT, 2 * CENT).await.err(), Some(Shortage::SharedUnavailable));
    sleep(TERMS.lost * 2).await;
    let Err(Shortage::Key(short)) = hold_in_time(&replicas[1], "k", 10 * CENT, 2 * CENT).await else {
        panic!("it fits")
    };
    assert!(short.kind == ShortKind::Reserved && short.reserved >= 9 * CENT, "{short:?}");
    held.settle(amount(9 * CENT, 1));
    sleep(TICK * 2).await;
    let Err(Shortage::Key(short)) = hold_in_time(&replicas[1], "k", 10 * CENT, 2 * CENT).await else {
        panic!("it fits")
    };
    assert_eq!((short.kind, short.spent), (ShortKind::TooLarge, 9 * CENT));
}

#[tokio::test]
async fn a_replica_that_is_cut_off_stops_in_time_and_a_dead_one_is_forgotten() {
    let redis = Redis::start().await;
    let terms = Terms { usable: Duration::from_millis(300), dropped: Duration::from_millis(1500), ..TERMS };
    let (dead, live) = (redis.silent_replica("dead", terms).await, redis.silent_replica("live", terms).await);
    dead.start().await;
    live.start().await;
    let _held = hold_in_time(&dead, "k", 100 * CENT, 50 * CENT).await.unwrap();

    redis.signal("-STOP");
    let _more = hold(&dead, "k", 100 * CENT, CENT).await.unwrap();
    sleep(terms.usable).await;
    assert_eq!(hold(&dead, "k", 100 * CENT, CENT).await.err(), Some(Shortage::SharedUnavailable));
    redis.signal("-CONT");
    sleep(Duration::from_millis(300)).await;

    assert!(hold_in_time(&live, "k", 100 * CENT, 60 * CENT).await.is_err(), "what the dead one holds may be in flight");
    sleep(terms.dropped).await;
    assert!(hold_in_time(&live, "k", 100 * CENT, 60 * CENT).await.is_ok());
}

#[tokio::test]
async fn a_replica_that_was_cut_off_claims_only_what_it_has_in_flight() {
    let redis = Redis::start().await;
    let terms = Terms { usable: Duration::from_millis(300), ..TERMS };
    let (away, other) = (redis.silent_replica("away", terms).await, redis.silent_replica("other", terms).await);
    away.start().await;
    let _held = hold_in_time(&away, "k", 100 * CENT, 50 * CENT).await.unwrap();

    sleep(terms.usable).await;
    assert!(matches!(hold_in_time(&away, "k", 100 * CENT, 60 * CENT).await, Err(Shortage::Key(_))));

    assert!(hold_in_time(&other, "k", 100 * CENT, 50 * CENT).await.is_ok());
}

#[tokio::test]
async fn what_other_replicas_recorded_counts_although_redis_never_heard_of_it() {
    let redis = Redis::start().await;
    let (a, b) = (redis.silent_replica("a", TERMS).await, redis.silent_replica("b", TERMS).await);
    let records = [("gone", 30), ("a", 20), ("b", 10)].map(|(instance, cents)| Recorded {
        instance: instance.to_owned(),
        key_id: "k".to_owned(),
        spent: amount(cents * CENT, cents),
    });

    a.start().await;
    a.restore(NOVEMBER, &records);
    report(&a).await;
    b.start().await;

    let Err(Shortage::Key(short)) = hold_in_time(&b, "k", 100 * CENT, 50 * CENT).await else { panic!("it fits") };
    assert_eq!((short.kind, short.spent), (ShortKind::TooLarge, 60 * CENT));
    assert_eq!(b.account("k").status(NONE, NOVEMBER).spent, amount(60 * CENT, 60));
    assert!(hold_in_time(&b, "k", 100 * CENT, 40 * CENT).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_is_told_what_dead_replicas_spent() {
    let redis = Redis::start().await;
    let (replicas, _tasks, _stop) = redis.replicas(2).await;
    let gone = Recorded { instance: "gone".to_owned(), key_id: "k".to_owned(), spent: amount(60 * CENT, 0) };
    replicas[0].restore(NOVEMBER, &[gone]);
    sleep(TICK * 3).await;

    redis.tell("FLUSHALL").await.unwrap();
    sleep(TERMS.lost * 2).await;

    let Err(Shortage::Key(short)) = hold_in_time(&replicas[1], "k", 100 * CENT, 50 * CENT).await else {
        panic!("it fits")
    };
    assert_eq!(short.spent, 60 * CENT);
}

#[tokio::test]
async fn an_idle_lease_goes_back_to_who_needs_it() {
    let redis = Redis::start().await;
    let (replicas, _tasks, _stop) = redis.replicas(2).await;
    hold_in_time(&replicas[0], "k", 100 * CENT, 80 * CENT).await.unwrap().settle(amount(CENT, 1));

    let wanted = hold_in_time(&replicas[1], "k", 100 * CENT, 90 * CENT).await;
    assert!(matches!(wanted, Err(Shortage::Key(Short { kind: ShortKind::Reserved, .. }))));
    sleep(REFRESH_LEASED + TICK * 3).await;
    assert!(hold_in_time(&replicas[1], "k", 100 * CENT, 90 * CENT).await.is_ok());
}

#[tokio::test]
async fn a_clock_that_went_back_over_a_restart_locks_nobody_out() {
    let redis = Redis::start().await;
    let before = redis.silent_replica("a", TERMS).await;
    before.start().await;
    drop(hold_in_time(&before, "k", 10 * CENT, CENT).await.unwrap());

    let leases = Leases::new("a".to_owned(), redis.shared().await, TERMS);
    leases.turn.store(1, Ordering::Relaxed);
    let (after, _alerts) = Budgets::new("a".to_owned(), Some(leases));
    after.start().await;

    assert!(hold_in_time(&after, "k", 10 * CENT, 10 * CENT).await.is_ok());
}

#[tokio::test]
async fn a_report_that_comes_late_takes_no_lease_away() {
    let redis = Redis::start().await;
    let (a, b) = (redis.silent_replica("a", TERMS).await, redis.silent_replica("b", TERMS).await);
    a.start().await;
    let _held = hold_in_time(&a, "k", 100 * CENT, 90 * CENT).await.unwrap();

    let late = Leases::new("a".to_owned(), redis.shared().await, TERMS);
    late.turn.store(1, Ordering::Relaxed);
    let (other, _alerts) = Budgets::local("a".to_owned());
    other.restore(NOVEMBER, &[]);
    let account = other.account("k");
    let report = late.due(&mut account.state(), NOVEMBER, Pass::Last).pop().unwrap();
    let (_, verdicts) = late.say(&[(&account, report)]).await.unwrap();

    assert_eq!(verdicts, [Verdict::Stale]);
    assert!(matches!(hold_in_time(&b, "k", 100 * CENT, 50 * CENT).await, Err(Shortage::Key(_))));
}

#[tokio::test]
async fn one_replica_tells_of_a_threshold() {
    let redis = Redis::start().await;
    let (mut replicas, mut alerts) = (Vec::new(), Vec::new());
    for instance in ["a", "b"] {
        let leases = Leases::new(instance.to_owned(), redis.shared().await, TERMS);
        let (budgets, receiver) = Budgets::new(instance.to_owned(), Some(leases));
        budgets.start().await;
        replicas.push(budgets);
        alerts.push(receiver);
    }

    for turn in 0..10 {
        hold_in_time(&replicas[turn % 2], "k", 10 * CENT, CENT).await.unwrap().settle(amount(CENT, 1));
        report(&replicas[turn % 2]).await;
    }
    report(&replicas[0]).await;

    let mut told = Vec::new();
    for receiver in &mut alerts {
        while let Ok(alert) = receiver.try_recv() {
            told.push((alert.account, alert.percent));
        }
    }
    told.sort();
    assert_eq!(told, [("k".to_owned(), 80), ("k".to_owned(), 100)]);
}

/// One thing that happens to three replicas.
#[derive(Clone, Debug)]
enum Step {
    Reserve {
        replica: usize,
        amount: Amount,
    },
    Settle {
        which: usize,
        percent: i64,
    },
    Cancel {
        which: usize,
    },
    Report {
        replica: usize,
    },
    /// A replica vanishes, what it had in flight is charged in full, and it comes back with what it recorded.
    Crash {
        replica: usize,
    },
    NextMonth,
}

fn any_step() -> impl Strategy<Value = Step> {
    let any_amount = (0..60i64, 0..60i64).prop_map(|(usd, tokens)| amount(usd, tokens));
    prop_oneof![
        8 => (0..3usize, any_amount).prop_map(|(replica, amount)| Step::Reserve { replica, amount }),
        5 => (0..8usize, 0..=100i64).prop_map(|(which, percent)| Step::Settle { which, percent }),
        2 => (0..8usize).prop_map(|which| Step::Cancel { which }),
        2 => (0..3usize).prop_map(|replica| Step::Report { replica }),
        1 => (0..3usize).prop_map(|replica| Step::Crash { replica }),
        1 => Just(Step::NextMonth),
    ]
}

#[test]
fn no_sequence_overruns_a_budget_that_three_replicas_share() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let redis = runtime.block_on(Redis::start());
    let shared = runtime.block_on(redis.shared());
    runtime.block_on(Leases::new("first".to_owned(), shared.clone(), TERMS).start());
    let steps = prop::collection::vec(any_step(), 1..80);
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) });

    let outcome = runner.run(&steps, |steps| {
        // A key of its own for each case: shrinking runs them again.
        let key = format!("k{}", fastrand::u64(..));
        runtime.block_on(replay(&shared, &key, steps))
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

async fn replay(shared: &Arc<Shared>, key: &str, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let ceiling = Ceiling { usd: Some(Nanodollars(150)), tokens: Some(170) };
    let names = ["r0", "r1", "r2"];
    let start = |name: &str| Budgets::new(name.to_owned(), Some(Leases::new(name.to_owned(), shared.clone(), TERMS))).0;
    let mut replicas = names.map(start);
    let mut journal: Vec<(usize, Period, Amount)> = Vec::new();
    let mut open: Vec<(usize, Reservation)> = Vec::new();
    let mut period = NOVEMBER;

    for step in steps {
        match step {
            Step::Reserve { replica, amount } => {
                let budgets = &replicas[replica];
                let held = budgets.reserve(&budgets.account(key), ceiling, NONE, amount, period).await;
                open.extend(held.map(|held| (replica, held)));
            }
            Step::Settle { which, percent } if which < open.len() => {
                let (replica, held) = open.swap_remove(which);
                let actual = amount(held.amount().usd.0 * percent / 100, held.amount().tokens * percent / 100);
                journal.push((replica, held.period(), actual));
                held.settle(actual);
            }
            Step::Cancel { which } if which < open.len() => drop(open.swap_remove(which)),
            Step::Settle { .. } | Step::Cancel { .. } => {}
            Step::Report { replica } => report(&replicas[replica]).await,
            Step::Crash { replica } => {
                let (lost, kept) = open.into_iter().partition(|(of, _)| *of == replica);
                open = kept;
                let lost: Vec<(usize, Reservation)> = lost;
                journal.extend(lost.iter().map(|(of, held)| (*of, held.period(), held.amount())));
                replicas[replica] = start(names[replica]);
                let records = journal.iter().filter(|(_, of, _)| *of == period).map(|(replica, _, spent)| Recorded {
                    instance: names[*replica].to_owned(),
                    key_id: key.to_owned(),
                    spent: *spent,
                });
                replicas[replica].restore(period, &records.collect::<Vec<_>>());
            }
            Step::NextMonth => period = Period(period.0 + 1),
        }
        let sum = |of: Period| {
            let spent = journal.iter().filter(|(_, period, _)| *period == of).map(|(_, _, spent)| *spent);
            let held = open.iter().filter(|(_, held)| held.period() == of).map(|(_, held)| held.amount());
            spent.chain(held).fold(Amount::default(), Amount::plus)
        };
        prop_assert!(sum(period).usd.0 <= 150 && sum(period).tokens <= 170, "{:?}", sum(period));
    }

    for (replica, held) in open {
        let actual = held.amount();
        journal.push((replica, held.period(), actual));
        held.settle(actual);
    }
    let reader = start("reader");
    let account = reader.account(key);
    for budgets in replicas.iter().chain([&reader]) {
        // As the keys and the records are loaded at a start, after a crash as well.
        budgets.account(key);
        budgets.restore(period, &[]);
        while !shared.is_up() {
            shared.look().await;
        }
        report(budgets).await;
    }
    let month = journal.iter().filter(|(_, of, _)| *of == period);
    let spent = month.fold(Amount::default(), |sum, (_, _, spent)| sum.plus(*spent));
    let status = account.status(ceiling, period);
    prop_assert_eq!((status.spent, status.reserved), (spent, Amount::default()));
    Ok(())
}
