//! The way to the providers: one pooled client, and the loop that tries a plan's targets until one answers.

mod attempt;
mod client;
mod failure;
pub mod health;
pub mod webhook;

use std::time::Duration;

pub use attempt::Opened;
pub(crate) use attempt::stream_fault;
pub use client::Client;
pub use failure::{Charge, Failure, Kind, Verdict};

use crate::call::Call;
use crate::clock::{self, Instant};
use crate::live::Live;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::router::{Plan, Target};

/// Attempts that one request may make in all.
const MAX_ATTEMPTS: usize = 4;

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
/// The failure that no further target could mend, or the deadline.
pub async fn execute(
    client: &Client,
    live: &Live,
    plan: &Plan,
    call: &Call,
    record: &mut Record,
) -> Result<Content, Refusal> {
    let deadline = Deadline::of(live, call);
    let mut last: Option<Failure> = None;
    for target in &plan.targets {
        if record.attempts() == MAX_ATTEMPTS || !may_follow(last.as_ref(), target, plan) {
            continue;
        }
        record.begin_attempt(target);
        match attempt::attempt(client, live, target, call, deadline).await {
            Ok(content) => return Ok(content),
            Err(failure) => {
                record.attempt_failed(&failure);
                if deadline.has_passed() {
                    return Err(Refusal::DeadlineExceeded { allowed: deadline.allowed });
                }
                let is_final = failure.kind.verdict() == Verdict::Stop;
                last = Some(failure);
                if is_final {
                    break;
                }
            }
        }
    }
    Err(last.map_or(Refusal::NoModels, |failure| Refusal::Upstream {
        failure: Box::new(failure),
        attempts: record.attempts(),
    }))
}

/// Whether `target` can do better after `last`.
fn may_follow(last: Option<&Failure>, target: &Target, plan: &Plan) -> bool {
    let Some(failure) = last else { return true };
    match failure.kind.verdict() {
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
