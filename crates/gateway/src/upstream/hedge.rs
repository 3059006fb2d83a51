//! A hedged request: where the first target takes longer than it mostly does, a second one is asked as well, and the
//! first content wins. The loser is cancelled; its provider may charge for the prompt, and so it is accounted.
//!
//! Only for the strategy `latency`, only where the operator has switched it on, and never for more than a small share of
//! all requests: a hedge costs money, and helps least when everything is slow.

use std::pin::pin;
use std::time::Duration;

use super::standing::{Door, Pass};
use super::{Client, Content, Deadline, Failure, Trail, attempt};
use wire::loss::Loss;

use crate::call::Call;
use crate::clock;
use crate::live::Live;
use crate::record::Record;
use crate::router::{Plan, Target};

/// The outcome of an attempt that was cancelled because the other one was faster.
const HEDGE_LOST: &str = "hedge_lost";

/// Two targets, and how long the first may take alone.
pub(super) struct Hedge<'a> {
    pub(super) client: &'a Client,
    pub(super) live: &'a Live,
    pub(super) call: &'a Call,
    pub(super) deadline: Deadline,
    first: &'a Target,
    second: &'a Target,
    wait: Duration,
}

impl<'a> Hedge<'a> {
    /// The hedge of this plan, if there is to be one. `targets` are its targets in order.
    pub(super) fn of(
        client: &'a Client,
        live: &'a Live,
        plan: &Plan,
        targets: &[&'a Target],
        call: &'a Call,
        deadline: Deadline,
    ) -> Option<Hedge<'a>> {
        if !live.routing.hedge || plan.strategy != routing::Strategy::Latency {
            return None;
        }
        live.hedges.deposit();
        let [first, second, ..] = *targets else { return None };
        let now = clock::now();
        let are_open = [first, second].iter().all(|target| target.offer.standing.is_open_for(&target.offer, now));
        let stats = &first.offer.stats;
        let window = if call.payload.is_stream() { &stats.first_content } else { &stats.total };
        let wait = Duration::try_from_secs_f64(window.quantiles()?.p95 / 1e3).ok()?;
        are_open.then_some(Hedge { client, live, call, deadline, first, second, wait })
    }

    /// Asks the first, and the second where the first is slow. `None` is that neither has answered.
    pub(super) async fn run(&self, record: &mut Record, trail: &mut Trail) -> Option<Content> {
        let mut first_pass = Pass::enter(&self.first.offer, clock::now(), false).ok()?;
        record.begin_attempt(self.first);
        let mut first = pin!(self.attempt(self.first, first_pass.door().clone()));
        let early = tokio::time::timeout(self.wait, first.as_mut()).await;
        let second_pass = match &early {
            Ok(_) => None,
            Err(_) => Pass::enter(&self.second.offer, clock::now(), false).ok().filter(|_| self.live.hedges.withdraw()),
        };
        let Some(mut second_pass) = second_pass else {
            let outcome = match early {
                Ok(outcome) => outcome,
                Err(_) => first.await,
            };
            let (content, loss) = settle(outcome, &mut first_pass, 0, record, trail)?;
            record.served(first_pass, loss);
            return Some(content);
        };
        record.begin_attempt(self.second);
        self.second.offer.metrics.hedge();
        let mut second = pin!(self.attempt(self.second, second_pass.door().clone()));
        let (is_first, outcome) = tokio::select! {
            outcome = first.as_mut() => (true, outcome),
            outcome = second.as_mut() => (false, outcome),
        };
        let (number, pass) = if is_first { (0, &mut first_pass) } else { (1, &mut second_pass) };
        let (is_first, (content, loss)) = match settle(outcome, pass, number, record, trail) {
            Some(content) => {
                record.not_taken(1 - number, HEDGE_LOST);
                (is_first, content)
            }
            None if is_first => (false, settle(second.await, &mut second_pass, 1, record, trail)?),
            None => (true, settle(first.await, &mut first_pass, 0, record, trail)?),
        };
        record.taken(if is_first { 0 } else { 1 });
        record.served(if is_first { first_pass } else { second_pass }, loss);
        Some(content)
    }

    async fn attempt(&self, target: &Target, door: Door) -> Result<(Content, Loss), Failure> {
        attempt::attempt(self.client, self.live, target, self.call, self.deadline, &door).await
    }
}

/// Notes how an attempt ended, and hands its content out.
fn settle(
    outcome: Result<(Content, Loss), Failure>,
    pass: &mut Pass,
    number: usize,
    record: &mut Record,
    trail: &mut Trail,
) -> Option<(Content, Loss)> {
    match outcome {
        Ok(content) => Some(content),
        Err(failure) => {
            let now = clock::now();
            let rest = pass.failed(&failure, false, now);
            record.attempt_failed_at(number, &failure);
            trail.failed(failure, rest, now);
            None
        }
    }
}
