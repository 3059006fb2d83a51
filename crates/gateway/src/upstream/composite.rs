//! Plans of several models: `cascade` asks two cheap ones and a strong one where they disagree, `escalate` asks a cheap
//! one and a stronger one where its answer is no good.
//!
//! The members are asked for whole answers, because nobody can judge half of one; only the last one may stream. Every
//! member is paid for. A member that fails is no member that agreed, and where the strong one fails in the end, a
//! cheap answer is better than none.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use wire::conclusion::{self, Conclusion, Form, Shortfall};
use wire::loss::Loss;

use super::standing::Pass;
use super::{Client, Content, Deadline, Failure, Trail, attempt};
use crate::call::Call;
use crate::clock;
use crate::ledger::{self, Used};
use crate::live::Live;
use crate::record::Record;
use crate::router::Target;

/// What becomes of the first targets of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Composite {
    /// How they are used.
    pub kind: Kind,
    /// How many of the plan's first targets are asked before the rest.
    pub members: usize,
    /// What form the result has, where the request shows it.
    pub form: Form,
    /// The request asks for JSON.
    pub wants_json: bool,
}

/// How several models are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All members at once; where they agree, that is the answer.
    Cascade,
    /// One member after the other, until an answer is good.
    Escalate,
}

/// Outcomes of members whose answer was not taken, in metadata and accounts.
const AGREED: &str = "agreed";
const OUTVOTED: &str = "outvoted";

/// A member's answer.
struct Answer {
    /// Its attempt's place in the record.
    number: usize,
    pass: Pass,
    loss: Loss,
    whole: wire::Whole,
}

/// An answer that is good, or the best that there is until somebody gives a better one.
pub(super) struct Outcome {
    /// Ends the request where it is good.
    pub(super) good: Option<Content>,
    held: Option<Held>,
}

/// An answer that was not taken, for when nobody gives a better one.
struct Held(Answer);

/// Asks the members of a plan. What they used is in the record.
pub(super) async fn run(
    (client, live): (&Client, &Live),
    composite: Composite,
    members: &[&Target],
    (call, deadline): (&Call, Deadline),
    record: &mut Record,
    trail: &mut Trail,
) -> Outcome {
    let whole_call = Arc::new(call.as_whole());
    let asking = Asking { client, live, call: &whole_call, deadline };
    match composite.kind {
        Kind::Cascade => cascade(&asking, composite, members, record, trail).await,
        Kind::Escalate => escalate(&asking, composite, members, record, trail).await,
    }
}

impl Outcome {
    /// The answer that was not taken, now that nobody gives a better one.
    pub(super) fn into_held(self, record: &mut Record) -> Option<Content> {
        let Held(answer) = self.held?;
        Some(take(answer, record))
    }
}

/// What all members are asked.
struct Asking<'a> {
    client: &'a Client,
    live: &'a Live,
    call: &'a Arc<Call>,
    deadline: Deadline,
}

async fn cascade(
    asking: &Asking<'_>,
    composite: Composite,
    members: &[&Target],
    record: &mut Record,
    trail: &mut Trail,
) -> Outcome {
    let mut answers = asking.ask(members, record, trail).await;
    let client = asking.call.surface.client();
    // Two that decline in the same words have not answered.
    let is_good = |answer: &&Answer| match conclusion::shortfall(client, &answer.whole.body, composite.wants_json) {
        None => true,
        Some(Shortfall::CutShort) => is_at_limit(asking.call, &answer.whole),
        Some(_) => false,
    };
    let conclusion = |answer: &Answer| {
        let good = Some(answer).filter(is_good)?;
        conclusion::conclusion(client, &good.whole.body, composite.form)
    };
    let conclusions: Vec<Option<Conclusion>> = answers.iter().map(conclusion).collect();
    let do_agree = answers.len() == members.len() && agree(&conclusions);
    for answer in answers.iter().skip(1) {
        record.not_taken(answer.number, if do_agree { AGREED } else { OUTVOTED });
    }
    let first = (!answers.is_empty()).then(|| answers.remove(0));
    match (do_agree, first) {
        (true, Some(first)) => Outcome { good: Some(take(first, record)), held: None },
        (_, first) => {
            if let Some(first) = &first {
                record.not_taken(first.number, OUTVOTED);
                // What one refused another has answered, so the strong one may as well.
                trail.forgive();
            }
            Outcome { good: None, held: first.map(Held) }
        }
    }
}

fn agree(conclusions: &[Option<Conclusion>]) -> bool {
    let Some((Some(first), others)) = conclusions.split_first() else { return false };
    others.iter().all(|other| other.as_ref().is_some_and(|other| first.agrees(other)))
}

async fn escalate(
    asking: &Asking<'_>,
    composite: Composite,
    members: &[&Target],
    record: &mut Record,
    trail: &mut Trail,
) -> Outcome {
    let mut held = None;
    for member in members {
        let Some(answer) = asking.ask(&[member], record, trail).await.pop() else { continue };
        let client = asking.call.surface.client();
        match conclusion::shortfall(client, &answer.whole.body, composite.wants_json) {
            None => return Outcome { good: Some(take(answer, record)), held: None },
            // The caller's own limit ended it, and would end a stronger model's answer as well.
            Some(Shortfall::CutShort) if is_at_limit(asking.call, &answer.whole) => {
                return Outcome { good: Some(take(answer, record)), held: None };
            }
            Some(shortfall) => {
                record.not_taken(answer.number, shortfall.as_str());
                held = Some(Held(answer));
            }
        }
    }
    Outcome { good: None, held }
}

fn is_at_limit(call: &Call, whole: &wire::Whole) -> bool {
    call.payload.max_tokens().zip(whole.usage.output).is_some_and(|(limit, used)| used >= limit)
}

impl Asking<'_> {
    /// Asks these at once; those that answered, in their order.
    async fn ask(&self, members: &[&Target], record: &mut Record, trail: &mut Trail) -> Vec<Answer> {
        let mut begun = Vec::with_capacity(members.len());
        for target in members {
            match Pass::enter(&target.offer, clock::now(), false) {
                Ok(pass) => {
                    record.begin_member(target);
                    begun.push((record.attempts().saturating_sub(1), *target, pass));
                }
                Err(closed) => {
                    record.skipped(target, closed.why);
                    trail.note(closed);
                }
            }
        }
        let attempts = begun.into_iter().map(|(number, target, pass)| async move {
            let outcome = self.attempt(target, &pass).await;
            (number, pass, outcome)
        });
        let mut attempts: FuturesUnordered<_> = attempts.collect();
        let mut answers = Vec::with_capacity(attempts.len());
        // Each is accounted as it comes: the client may leave before the next.
        while let Some((number, mut pass, outcome)) = attempts.next().await {
            match outcome {
                Ok((whole, loss, used)) => {
                    pass.succeeded(clock::now());
                    record.used_at(number, used);
                    answers.push(Answer { number, pass, loss, whole });
                }
                Err(failure) => {
                    let rest = pass.failed(&failure, false, clock::now());
                    record.attempt_failed_at(number, &failure);
                    trail.failed(failure, rest, clock::now());
                }
            }
        }
        drop(attempts);
        answers.sort_by_key(|answer| answer.number);
        answers
    }

    async fn attempt(&self, target: &Target, pass: &Pass) -> Result<(wire::Whole, Loss, Used), Failure> {
        let (content, loss) =
            attempt::attempt(self.client, self.live, target, self.call, self.deadline, pass.door()).await?;
        let Content::Whole(whole) = content else {
            let kind = super::Kind::BadResponse;
            let (provider, model) = (target.offer.provider.name.clone(), target.offer.model.clone());
            let detail = "a stream, which was not asked for".to_owned();
            return Err(Failure { kind, provider, model, retry_after: None, detail });
        };
        let used = ledger::used_by_answer(self.call, &whole).await;
        Ok((whole, loss, used))
    }
}

/// Makes this answer the request's.
fn take(answer: Answer, record: &mut Record) -> Content {
    let Answer { number, pass, loss, whole } = answer;
    record.taken(number);
    record.served(pass, loss);
    Content::Whole(whole)
}
