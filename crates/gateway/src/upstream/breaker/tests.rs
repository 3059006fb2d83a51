use super::*;
use crate::clock;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn opened(now: Instant) -> Breaker {
    let mut breaker = Breaker::default();
    (0..IN_A_ROW).for_each(|_| breaker.failed(Admission::Pass, now, 0.5));
    breaker
}

#[test]
fn five_failures_in_a_row_open_it_for_fifteen_seconds() {
    let now = clock::now();
    let mut breaker = Breaker::default();
    for _ in 0..4 {
        breaker.failed(Admission::Pass, now, 0.5);
    }
    breaker.succeeded(Admission::Pass, now);
    for _ in 0..4 {
        breaker.failed(Admission::Pass, now, 0.5);
    }
    assert_eq!(breaker.admit(now), Admission::Pass, "a success in between begins the count anew");

    breaker.failed(Admission::Pass, now, 0.5);

    assert_eq!(breaker.admit(now), Admission::Refused(now + ms(15_000)));
    assert_eq!(breaker.state(now), (BreakerState::Open, Some(now + ms(15_000))));
}

#[test]
fn half_of_twenty_within_thirty_seconds_open_it_and_older_ones_do_not_count() {
    let began = clock::now();
    let alternate = |step: Duration| {
        let mut breaker = Breaker::default();
        for n in 0..20 {
            let now = began + step * n;
            if n % 2 == 0 { breaker.succeeded(Admission::Pass, now) } else { breaker.failed(Admission::Pass, now, 0.5) }
        }
        breaker.state(began + step * 19).0
    };

    assert_eq!(alternate(ms(1_000)), BreakerState::Open);
    assert_eq!(alternate(ms(3_000)), BreakerState::Closed);
}

#[test]
fn one_probe_at_a_time_and_two_good_ones_close_it() {
    let now = clock::now();
    let mut breaker = opened(now);
    let later = now + ms(15_001);

    assert_eq!(breaker.admit(later), Admission::Probe);
    assert!(matches!(breaker.admit(later), Admission::Refused(_)), "one is under way");
    breaker.succeeded(Admission::Pass, later);
    assert!(matches!(breaker.admit(later), Admission::Refused(_)), "an old request's success says nothing");
    breaker.succeeded(Admission::Probe, later);
    assert_eq!(breaker.state(later).0, BreakerState::HalfOpen);
    assert_eq!(breaker.admit(later), Admission::Probe);
    breaker.succeeded(Admission::Probe, later);

    assert_eq!(breaker.admit(later), Admission::Pass);
}

#[test]
fn a_bad_probe_doubles_the_cool_down_up_to_five_minutes() {
    let mut now = clock::now();
    let mut breaker = opened(now);
    let mut waits = Vec::new();
    for _ in 0..7 {
        let Admission::Refused(until) = breaker.admit(now) else { panic!("it is open") };
        waits.push((until - now).as_secs());
        now = until;
        assert_eq!(breaker.admit(now), Admission::Probe);
        breaker.failed(Admission::Probe, now, 0.5);
    }

    assert_eq!(waits, [15, 30, 60, 120, 240, 300, 300]);
}

#[test]
fn cool_downs_differ_by_a_tenth_so_that_replicas_do_not_probe_together() {
    let now = clock::now();
    for (jitter, ms_expected) in [(0.0, 13_500), (1.0, 16_500)] {
        let mut breaker = Breaker::default();
        (0..IN_A_ROW).for_each(|_| breaker.failed(Admission::Pass, now, jitter));
        assert_eq!(breaker.admit(now), Admission::Refused(now + ms(ms_expected)));
    }
}

#[test]
fn a_probe_whose_client_left_makes_room_for_the_next() {
    let now = clock::now();
    let mut breaker = opened(now);
    let later = now + ms(20_000);
    assert_eq!(breaker.admit(later), Admission::Probe);

    breaker.released(Admission::Probe);

    assert_eq!(breaker.admit(later), Admission::Probe);
}

#[test]
fn where_nobody_else_can_serve_one_a_second_goes_and_closes_it_when_it_is_well() {
    let now = clock::now();
    let mut breaker = opened(now);
    let admitted = |breaker: &mut Breaker, at: Instant| breaker.admit_last(at) == Admission::Probe;
    let let_through: Vec<u64> = (0..30).filter(|n| admitted(&mut breaker, now + ms(100 * n))).collect();
    assert_eq!(let_through, [0, 10, 20]);

    breaker.failed(Admission::Probe, now, 0.5);
    assert_eq!(breaker.state(now), (BreakerState::Open, Some(now + ms(15_000))), "it opens no longer for that");
    breaker.succeeded(Admission::Probe, now);
    assert_eq!(breaker.admit(now), Admission::Probe);
    breaker.succeeded(Admission::Probe, now);

    assert_eq!(breaker.admit(now), Admission::Pass);
}
