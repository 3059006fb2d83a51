//! The way to the providers: one pooled client, and the loop that tries a plan's targets until one answers.

mod attempt;
pub mod breaker;
mod client;
pub mod composite;
mod failure;
pub mod health;
mod hedge;
pub mod standing;
pub mod webhook;

use std::time::Duration;

pub use attempt::Opened;
pub(crate) use attempt::stream_fault;
pub use breaker::BreakerState;
pub use client::Client;
use composite::Outcome;
pub use failure::{Charge, Failure, Harm, Kind, Retry, Rule, Verdict};
use hedge::Hedge;
use standing::{Closed, Pass, Why};

use crate::call::Call;
use crate::clock::{self, Instant};
use crate::live::Live;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::router::{Plan, Target};

/// Attempts that one request may make in all.
const MAX_ATTEMPTS: usize = 4;
/// Of these, at one provider that has a single credential.
const MAX_ATTEMPTS_AT_PROVIDER: usize = 2;
/// The longest wait that a provider may ask for before it is asked again by the same request.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What a provider gave.
#[expect(clippy::large_enum_variant, reason = "one a request, soon taken apart; a stream is boxed where it stays")]
#[derive(Debug)]
pub enum Content {
    /// A whole answer, in the client's format.
    Whole(wire::Whole),
    /// A stream whose first content has arrived.
    Stream(Opened),
}

/// How long a request may take, and until when that is.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
    allowed: Duration,
}

impl Deadline {
    /// The gateway's own limit, or the caller's where that is shorter.
    pub fn of(live: &Live, call: &Call) -> Deadline {
        let timeouts = &live.config.timeouts;
        let limit = if call.payload.is_stream() { timeouts.stream_total } else { timeouts.total };
        let allowed = call.extensions.timeout.map_or(limit, |wanted| wanted.min(limit));
        Deadline { at: call.received + allowed, allowed }
    }

    /// When it is over.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The whole time.
    pub fn allowed(&self) -> Duration {
        self.allowed
    }

    fn has_passed(&self) -> bool {
        clock::now() >= self.at
    }
}

/// Tries the targets in order. Returns when one has answered in whole, or has sent the first content of its stream:
/// until then nothing has gone to the client, and another target can take over unseen.
///
/// Dropping the future drops the connection to the provider, which stops its work.
///
/// # Errors
/// The failure that no further target could mend, that nobody can be asked now, or the deadline.
pub async fn execute(
    client: &Client,
    live: &Live,
    plan: &Plan,
    call: &Call,
    record: &mut Record,
) -> Result<Content, Refusal> {
    let deadline = Deadline::of(live, call);
    let mut trail = Trail::default();
    if let Some(composite) = plan.composite {
        let targets: Vec<&Target> = plan.targets.iter().collect();
        let (members, rest) = targets.split_at_checked(composite.members).unwrap_or((&targets, &[]));
        let outcome = composite::run((client, live), composite, members, (call, deadline), record, &mut trail).await;
        let outcome = match outcome {
            Outcome { good: Some(content), .. } => return Ok(content),
            outcome => outcome,
        };
        let better = first_answer((client, live), plan, rest, (call, deadline), record, trail).await;
        return better.or_else(|refusal| outcome.into_held(record).ok_or(refusal));
    }
    let targets = by_headroom(plan, clock::now());
    let mut rest = targets.as_slice();
    if let Some(hedge) = Hedge::of(client, live, plan, &targets, call, deadline) {
        if let Some(content) = hedge.run(record, &mut trail).await {
            return Ok(content);
        }
        if deadline.has_passed() {
            return Err(Refusal::DeadlineExceeded { allowed: deadline.allowed });
        }
        rest = rest.get(record.attempts()..).unwrap_or_default();
    }
    first_answer((client, live), plan, rest, (call, deadline), record, trail).await
}

/// Tries the targets in order until one answers.
async fn first_answer(
    (client, live): (&Client, &Live),
    plan: &Plan,
    mut rest: &[&Target],
    (call, deadline): (&Call, Deadline),
    record: &mut Record,
    mut trail: Trail,
) -> Result<Content, Refusal> {
    while let Some((target, others)) = rest.split_first() {
        rest = others;
        if !trail.may_lead_to(target, plan, live) {
            continue;
        }
        let course = Course { client, live, target, others, call, deadline };
        if let Some(content) = ask(&course, record, &mut trail).await? {
            return Ok(content);
        }
    }
    Err(trail.refusal(record))
}

/// Asks the plan's first target how many tokens the prompt has; `None` where its dialect cannot tell or it does not
/// answer well. Says nothing about the provider's health.
pub async fn count_tokens(client: &Client, live: &Live, plan: &Plan, call: &Call) -> Option<u64> {
    let target = plan.targets.first()?;
    let path = wire::count_tokens_path(target.offer.dialect())?;
    let pass = Pass::enter(&target.offer, clock::now(), false).ok()?;
    attempt::count_tokens(client, live, target, call, path, pass.door()).await
}

/// One target, and what else there is.
struct Course<'a> {
    client: &'a Client,
    live: &'a Live,
    target: &'a Target,
    /// Those that come after it.
    others: &'a [&'a Target],
    call: &'a Call,
    deadline: Deadline,
}

/// What was met on the way.
#[derive(Default)]
struct Trail {
    last: Option<Failure>,
    /// When a target that rests, and when one that is closed for another reason, may be asked again.
    rests_until: Option<Instant>,
    closed_until: Option<Instant>,
}

/// Asks one target, again where that helps. `None` is that the next one may be asked.
async fn ask(course: &Course<'_>, record: &mut Record, trail: &mut Trail) -> Result<Option<Content>, Refusal> {
    let Course { live, target, call, deadline, .. } = *course;
    let mut fresh = None;
    while course.may_ask(record) {
        let is_last = record.attempts() == 0 && !course.has_other(record);
        let mut pass = match Pass::enter(&target.offer, clock::now(), is_last) {
            Ok(pass) => pass,
            Err(closed) => {
                record.skipped(target, closed.why);
                trail.note(closed);
                return Ok(None);
            }
        };
        let is_again = record.begin_attempt(target);
        let failure =
            match attempt::attempt(fresh.as_ref().unwrap_or(course.client), live, target, call, deadline, pass.door())
                .await
            {
                Ok((content, loss)) => {
                    record.served(pass, loss);
                    return Ok(Some(content));
                }
                Err(failure) => failure,
            };
        let rest = pass.failed(&failure, is_again, clock::now());
        drop(pass);
        record.attempt_failed(&failure);
        if deadline.has_passed() {
            return Err(Refusal::DeadlineExceeded { allowed: deadline.allowed });
        }
        let rule = failure.kind.rule();
        let wait = course.wait_before_retry(rule, failure.retry_after, record);
        if rule.retry == Retry::AtOnce {
            fresh = Some(course.client.sibling());
        }
        trail.failed(failure, rest, clock::now());
        if trail.verdict(live) == Some(Verdict::Stop) {
            return Err(std::mem::take(trail).refusal(record));
        }
        let Some(wait) = wait else { return Ok(None) };
        tokio::time::sleep(wait).await;
    }
    Ok(None)
}

impl Course<'_> {
    fn may_ask(&self, record: &Record) -> bool {
        may_ask(self.target, record)
    }

    /// Whether another target could serve instead.
    fn has_other(&self, record: &Record) -> bool {
        let now = clock::now();
        let could = |other: &&&Target| may_ask(other, record) && other.offer.standing.is_open_for(&other.offer, now);
        self.others.iter().any(|other| could(&other))
    }

    /// How long to wait before the same target is asked again; `None` where it is not.
    fn wait_before_retry(&self, rule: Rule, told: Option<Duration>, record: &Record) -> Option<Duration> {
        let (offer, now) = (&self.target.offer, clock::now());
        let is_credential = matches!(rule.harm, Harm::Retires | Harm::Rests);
        if is_credential && offer.provider.credentials.len() > 1 && offer.standing.is_open_for(offer, now) {
            return Some(Duration::ZERO);
        }
        let told = told.filter(|_| rule.retry != Retry::AtOnce);
        if !self.may_ask(record) || told.is_some_and(|told| told > LONGEST_WAIT) {
            return None;
        }
        let jitter = |from: Duration, to: Duration| from + to.saturating_sub(from).mul_f64(fastrand::f64());
        let wait = match rule.retry {
            Retry::Never => return None,
            Retry::AtOnce => Duration::ZERO,
            Retry::After(from, to) => jitter(from, to).max(told.unwrap_or_default()),
            Retry::AfterIfLast(..) | Retry::AsToldIfLast if self.has_other(record) => return None,
            Retry::AfterIfLast(from, to) => jitter(from, to).max(told.unwrap_or_default()),
            Retry::AsToldIfLast => jitter(told?, told?.mul_f64(1.1)),
        };
        (now + wait < self.deadline.at && offer.provider.retries.withdraw()).then_some(wait)
    }
}

/// Whether the request may go to the target's provider once more.
fn may_ask(target: &Target, record: &Record) -> bool {
    let provider = &target.offer.provider;
    let at_provider = if provider.credentials.len() > 1 { MAX_ATTEMPTS } else { MAX_ATTEMPTS_AT_PROVIDER };
    record.attempts() < MAX_ATTEMPTS && record.attempts_at(&provider.name) < at_provider
}

/// The plan's targets, those last whose provider has told that little is left of its rate limits.
fn by_headroom(plan: &Plan, now: Instant) -> Vec<&Target> {
    let mut targets: Vec<&Target> = plan.targets.iter().collect();
    if targets.len() > 1 {
        targets.sort_by_cached_key(|target| target.offer.standing.is_short(&target.offer, now));
    }
    targets
}

impl Trail {
    fn note(&mut self, closed: Closed) {
        let until = match closed.why {
            Why::Resting => &mut self.rests_until,
            Why::Open | Why::Retired => &mut self.closed_until,
        };
        *until = Some(until.map_or(closed.until, |known| known.min(closed.until)));
    }

    /// Takes the last failure for one of its target alone.
    fn forgive(&mut self) {
        self.last = None;
    }

    fn failed(&mut self, failure: Failure, rest: Option<Duration>, now: Instant) {
        if let Some(rest) = rest {
            self.note(Closed { until: now + rest, why: Why::Resting });
        }
        self.last = Some(failure);
    }

    /// Who may be asked after the last failure.
    fn verdict(&self, live: &Live) -> Option<Verdict> {
        let kind = &self.last.as_ref()?.kind;
        let is_opinion = matches!(kind, Kind::ContentFilter(_)) && live.config.upstream.fallback_on_content_filter;
        Some(if is_opinion { Verdict::NextTarget } else { kind.rule().verdict })
    }

    /// Whether `target` can do better after the last failure.
    fn may_lead_to(&self, target: &Target, plan: &Plan, live: &Live) -> bool {
        let (Some(verdict), Some(failure)) = (self.verdict(live), &self.last) else { return true };
        match verdict {
            Verdict::Stop => false,
            Verdict::NextTarget => true,
            Verdict::LargerWindow => {
                let failed = plan.targets.iter().find(|tried| tried.offer.model == failure.model);
                let window = |target: &Target| target.offer.facts.context_window;
                match (failed.and_then(window), window(target)) {
                    (Some(failed), Some(this)) => this > failed,
                    (Some(_) | None, _) => false,
                }
            }
        }
    }

    /// What the client is told when nobody has answered.
    fn refusal(self, record: &Record) -> Refusal {
        let now = clock::now();
        let wait = |until: Instant| until.saturating_duration_since(now);
        let rest = self.rests_until.map(wait);
        match (self.last, self.closed_until) {
            (Some(mut failure), _) => {
                if matches!(failure.kind, Kind::RateLimited) {
                    failure.retry_after = rest.or(failure.retry_after);
                }
                Refusal::Upstream { failure: Box::new(failure), attempts: record.attempts() }
            }
            (None, closed) => match (rest, closed.map(wait)) {
                (Some(retry_after), _) => Refusal::ProvidersRest { retry_after },
                (None, Some(retry_after)) => Refusal::NoProviderAvailable { retry_after },
                (None, None) => Refusal::NoModels,
            },
        }
    }
}
