use proptest::prelude::*;
use testkit::Redis as Server;

use super::*;

const LIMITS: RateLimits = RateLimits { rpm: Some(5), tpm: Some(100), max_concurrent: Some(3) };

fn local() -> (Rates, Arc<Meter>) {
    (Rates::new(None, 1), Arc::new(Meter::new("key")))
}

/// A replica that is connected.
async fn replica(server: &Server, replicas: usize) -> (Rates, Arc<Meter>, Arc<Shared>) {
    let shared = Arc::new(Shared::new(&server.url().into(), Duration::from_millis(50)).unwrap());
    shared.look().await;
    assert!(shared.is_up());
    (Rates::new(Some(shared.clone()), replicas), Arc::new(Meter::new("key")), shared)
}

#[tokio::test(start_paused = true)]
async fn requests_a_minute_come_back_one_by_one() {
    let (rates, meter) = local();
    let limits = RateLimits { rpm: Some(5), ..RateLimits::default() };
    for left in (0..5).rev() {
        let admitted = rates.admit(&meter, limits, "r").await.unwrap();
        assert_eq!(admitted.status().requests.unwrap().remaining, left);
    }

    let refused = rates.admit(&meter, limits, "r").await.unwrap_err();

    assert_eq!((refused.kind, refused.retry_after), (RateKind::Requests, Duration::from_secs(12)));
    tokio::time::advance(refused.retry_after).await;
    assert!(rates.admit(&meter, limits, "r").await.is_ok());
}

#[tokio::test]
async fn a_place_is_free_again_when_its_request_ends() {
    let (rates, meter) = local();
    let limits = RateLimits { max_concurrent: Some(1), ..RateLimits::default() };
    let first = rates.admit(&meter, limits, "r").await.unwrap();
    assert_eq!(rates.admit(&meter, limits, "r").await.unwrap_err().kind, RateKind::Concurrency);

    drop(first);

    assert!(rates.admit(&meter, limits, "r").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn tokens_are_corrected_to_what_was_used_and_debt_keeps_the_next_out() {
    let (rates, meter) = local();
    let mut first = rates.admit(&meter, LIMITS, "r").await.unwrap();
    rates.take_tokens(&mut first, 40).await.unwrap();
    assert_eq!(first.status().tokens.unwrap().remaining, 60);

    first.settle_tokens(150);

    let refused = rates.admit(&meter, LIMITS, "r").await.unwrap_err();
    assert_eq!((refused.kind, refused.retry_after), (RateKind::Tokens, Duration::from_millis(30_600)));
    tokio::time::advance(refused.retry_after).await;
    let mut second = rates.admit(&meter, LIMITS, "r").await.unwrap();
    assert_eq!(rates.take_tokens(&mut second, 2).await.unwrap_err().kind, RateKind::Tokens);
}

#[tokio::test]
async fn a_refused_request_takes_nothing() {
    let (rates, meter) = local();
    let limits = RateLimits { rpm: Some(2), max_concurrent: Some(1), ..RateLimits::default() };
    let first = rates.admit(&meter, limits, "r").await.unwrap();
    for _ in 0..10 {
        assert_eq!(rates.admit(&meter, limits, "r").await.unwrap_err().kind, RateKind::Concurrency);
    }
    drop(first);

    assert_eq!(rates.admit(&meter, limits, "r").await.unwrap().status().requests.unwrap().remaining, 0);
}

#[tokio::test]
async fn replicas_on_one_redis_allow_no_more_than_one_would() {
    let server = Server::start();
    let (one, other, third) = (replica(&server, 3).await, replica(&server, 3).await, replica(&server, 3).await);
    let limits = RateLimits { rpm: Some(30), ..RateLimits::default() };

    let mut admitted = 0;
    for _ in 0..20 {
        for (rates, meter, _) in [&one, &other, &third] {
            admitted += usize::from(rates.admit(meter, limits, "r").await.is_ok());
        }
    }

    assert!((30..=31).contains(&admitted), "{admitted}");
}

#[tokio::test]
async fn places_in_redis_are_never_more_than_allowed_and_all_come_back() {
    let server = Server::start();
    let (one, other) = (replica(&server, 2).await, replica(&server, 2).await);
    let limits = RateLimits { max_concurrent: Some(7), ..RateLimits::default() };
    let stop = CancellationToken::new();
    let keep = async { tokio::join!(one.0.run(stop.clone()), other.0.run(stop.clone())) };
    let work = async {
        for _ in 0..3 {
            let asked =
                (0..50).flat_map(|_| [&one, &other]).map(|(rates, meter, _)| rates.admit(meter, limits, "same"));
            let held: Vec<_> = futures_util::future::join_all(asked).await.into_iter().filter_map(Result::ok).collect();
            assert_eq!(held.len(), 7);
            drop(held);
            let is_free = async {
                while one.0.admit(&one.1, RateLimits { max_concurrent: Some(1), ..limits }, "probe").await.is_err() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(5), is_free).await.expect("all places come back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stop.cancel();
    };
    tokio::join!(keep, work);
}

#[tokio::test]
async fn while_redis_is_frozen_or_dead_each_replica_allows_its_share_at_once() {
    let server = Server::start();
    let (rates, meter, shared) = replica(&server, 2).await;
    let limits = RateLimits { rpm: Some(10), ..RateLimits::default() };
    let stop = CancellationToken::new();
    let watch = shared.clone().watch(stop.clone());
    let work = async {
        for (down, up) in
            [(Server::freeze as fn(&Server), Server::thaw as fn(&Server)), (Server::kill, Server::start_again)]
        {
            down(&server);
            let began = clock::now();
            let meter = Arc::new(Meter::new("key"));
            let mut admitted = 0;
            for _ in 0..20 {
                admitted += usize::from(rates.admit(&meter, limits, "r").await.is_ok());
            }
            assert_eq!(admitted, 5);
            assert!(clock::now().duration_since(began) < Duration::from_millis(900), "one waits, not each in turn");
            assert!(!shared.is_up());

            up(&server);
            let is_up = async {
                while !shared.is_up() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), is_up).await.expect("redis is found again");
        }
        server.flush();
        let remaining = rates.admit(&meter, limits, "r").await.unwrap().status().requests.unwrap().remaining;
        assert_eq!(remaining, 9, "the whole limit is counted in Redis again");
        stop.cancel();
    };
    tokio::join!(watch, work);
}

/// One step of the script and what the arithmetic here says to it.
#[derive(Clone, Debug)]
enum Step {
    Admit,
    Take(u64),
    Settle(i64),
}

fn step() -> impl Strategy<Value = (i64, Step)> {
    let step = prop_oneof![
        3 => Just(Step::Admit),
        2 => (0..300_u64).prop_map(Step::Take),
        1 => (-300..300_i64).prop_map(Step::Settle),
    ];
    (0..20_000_i64, step)
}

#[test]
fn the_script_and_the_arithmetic_here_agree() {
    let server = Server::start();
    let client = redis::Client::open(server.url()).unwrap();
    let connection = std::cell::RefCell::new(client.get_connection().unwrap());
    let script = Script::new(include_str!("../rates.lua"));
    let mut run = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let sequence = (1..2_000_u64, 1..200_u64, prop::collection::vec(step(), 1..40));

    run.run(&sequence, |(rpm, tpm, steps)| {
        server.flush();
        let (mut requests, mut tokens, mut now) = (Bucket::default(), Bucket::default(), 1_800_000_000_000_i64);
        for (pause, step) in steps {
            now += pause;
            let (word, cost) = match step {
                Step::Admit => ("admit", 0),
                Step::Take(cost) => ("take", i64::try_from(cost).unwrap()),
                Step::Settle(delta) => ("settle", delta),
            };
            let mut call = script.key("requests");
            call.key("places").arg(word).arg(now).arg(rpm).arg(tpm).arg(0).arg("r").arg(LIFETIME_MS).arg(cost);
            let told: [u64; 6] = call.invoke(&mut *connection.borrow_mut()).unwrap();

            let expected = match step {
                Step::Admit => match (requests.wait(rpm, 1, now), tokens.wait(tpm, 1, now)) {
                    (Ok(()), Ok(())) => requests.take(rpm, 1, now).map_err(|wait| (1, wait)),
                    (Err(first), Err(second)) => Err(if first >= second { (1, first) } else { (3, second) }),
                    (Err(wait), Ok(())) => Err((1, wait)),
                    (Ok(()), Err(wait)) => Err((3, wait)),
                },
                Step::Take(cost) => tokens.take(tpm, cost, now).map_err(|wait| (3, wait)),
                Step::Settle(delta) => {
                    tokens.adjust(tpm, delta, now);
                    Ok(())
                }
            };
            let (code, wait) = expected.err().unwrap_or_default();
            let (request, token) = (requests.window(rpm, now), tokens.window(tpm, now));
            let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
            let expected =
                [code, millis(wait), request.remaining, millis(request.reset), token.remaining, millis(token.reset)];
            prop_assert_eq!(told, expected, "{:?} at {}", step, now);
        }
        Ok(())
    })
    .unwrap();
}
