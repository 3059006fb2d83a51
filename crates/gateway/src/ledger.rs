//! The money of requests: held before a provider is asked, settled exactly once, in the journal before the database.
//!
//! [`Ledger::reserve`] checks the budgets, then writes the hold to the journal; only then may a byte leave. The
//! [`Held`] that it returns ends in [`Held::settle`]: one entry an attempt goes to the journal, the budgets get the
//! difference back. Where a provider told no counts, they are counted on a thread that may take its time.
//! `ship` moves entries from the journal to the database behind all this.

pub mod alerts;
pub mod ship;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use catalog::Nanodollars;
use store::journal::{Journal, Staged};
use store::{Entry, Hold, HoldId, Period};
use tokio::sync::{Semaphore, mpsc};
use tracing::{error, warn};
use wire::Generated;
use wire::usage::Usage;

use crate::call::{Call, Payload};
use crate::clock::{self, Instant};
use crate::config::{self, Config};
use crate::estimate::{self, Prompt};
use crate::keys::Caller;
use crate::limits::budget::{Amount, Ceiling, ShortKind};
use crate::limits::budgets::{BudgetAlert, Budgets, Reservation, Shortage};
use crate::refusal::Refusal;
use crate::router::{Plan, Target};
use crate::shared::Shared;
use crate::tasks::Tasks;
use crate::tokens;

/// Requests whose tokens wait to be counted; beyond that they are reckoned by their size.
const UNCOUNTED: usize = 4_096;
/// Those that are counted at one time: it is work for a processor.
const COUNTERS: usize = 2;
/// A provider's count that is this many times our own cannot be true.
const ABSURD: u64 = 10;
/// Tokens that a prompt or an answer may have beyond what can be seen: system text of the provider's, hidden thought.
const SLACK_TOKENS: u64 = 2_000;
/// The outcome of a request that was open when the gateway died.
const ESTIMATED_CRASH: &str = "estimated_crash";
/// The journal in the data directory.
const JOURNAL: &str = "journal";

/// Holds and settles.
#[derive(Debug)]
pub struct Ledger {
    journal: Arc<Journal>,
    /// Who has used how much.
    pub budgets: Arc<Budgets>,
    tasks: Tasks,
    uncounted: Arc<Semaphore>,
    counters: Arc<Semaphore>,
    /// The sums of the month before this start are in `budgets`.
    is_restored: AtomicBool,
    instance: String,
}

/// Money set aside for one request. Dropped unsettled it is given back: nothing was sent.
#[derive(Debug)]
pub struct Held {
    ledger: Arc<Ledger>,
    id: HoldId,
    request_id: Arc<str>,
    key_id: Arc<str>,
    period: Period,
    reservation: Option<Reservation>,
}

/// One attempt at a provider, as it is charged.
#[derive(Debug)]
pub struct Attempt {
    /// Who was asked.
    pub target: Target,
    /// The code of what failed; `None` for the attempt that answered.
    pub failure: Option<&'static str>,
    /// What it used.
    pub used: Used,
    /// When it began.
    pub began: Instant,
    /// When its answer was there, where others were waited for behind it.
    pub answered: Option<Instant>,
}

/// What an attempt used, as far as is known.
#[derive(Debug)]
pub enum Used {
    /// Nothing.
    Nothing,
    /// The provider told.
    Reported(Usage),
    /// We counted.
    Estimated(Usage),
    /// The provider did not tell all: what is missing is counted in the prompt and in what was generated.
    Counted {
        /// What it told.
        reported: Usage,
        /// What it had generated.
        generated: Generated,
    },
}

impl Ledger {
    /// Takes over the journal and settles what a crash left open, at what was reserved for it. The alerts of the
    /// budgets come out of the receiver.
    ///
    /// # Errors
    /// The journal is damaged, or another process uses it.
    pub fn open(
        config: &Config,
        shared: Option<Arc<Shared>>,
        tasks: Tasks,
    ) -> Result<(Arc<Ledger>, mpsc::Receiver<BudgetAlert>), store::Error> {
        let options = ship::journal_options(config);
        let (journal, replay) = Journal::open(&config.storage.data_dir.join(JOURNAL), options)?;
        if !replay.open.is_empty() {
            let requests = replay.open.len();
            warn!(requests, "requests were open when the gateway died; each costs what was reserved for it");
        }
        for (id, hold) in replay.open {
            journal.settle(id, &[crashed(id, hold)]);
        }
        journal.flush()?;
        let instance = replay.instance;
        let (budgets, alerts) = match shared {
            Some(shared) => Budgets::shared(instance.clone(), shared),
            None => Budgets::local(instance.clone()),
        };
        let ledger = Ledger {
            journal: Arc::new(journal),
            budgets: Arc::new(budgets),
            tasks,
            uncounted: Arc::new(Semaphore::new(UNCOUNTED)),
            counters: Arc::new(Semaphore::new(COUNTERS)),
            is_restored: AtomicBool::new(false),
            instance,
        };
        Ok((Arc::new(ledger), alerts))
    }

    /// Sets money aside for a request, at the dearest target of its plan, and makes that durable.
    ///
    /// # Errors
    /// The budget of the key or of all does not allow it, or nothing can be written down.
    pub async fn reserve(
        self: &Arc<Self>,
        config: &Config,
        caller: &Caller,
        call: &Arc<Call>,
        plan: &Plan,
    ) -> Result<Held, Refusal> {
        let at_ms = clock::unix_millis();
        let period = clock::period(at_ms);
        let global = global_ceiling(config);
        let is_limited = !(caller.ceiling.is_none() && global.is_none());
        if is_limited && !self.is_restored.load(Ordering::Acquire) {
            return Err(Refusal::StoreUnavailable);
        }
        let worst = |prompt| worst_case(config, call, plan, prompt);
        let take = |amount| self.budgets.reserve(&caller.account, caller.ceiling, global, amount, period);
        let mut amount = worst(Prompt::AtMost);
        let reservation = match take(amount).await {
            // The bound that costs nothing did not fit; the prompt's own count may.
            Err(shortage) if could_be_less(&shortage) => {
                amount = worst(Prompt::Counted(count_prompt(call.clone()).await));
                take(amount).await
            }
            reservation => reservation,
        };
        let reservation = reservation.map_err(|shortage| Refusal::Budget(Box::new(shortage)))?;
        let staged = self.stage(caller, call, plan, amount, at_ms, period)?;
        let mut held = Held {
            ledger: self.clone(),
            id: staged.id,
            request_id: call.request_id.clone(),
            key_id: caller.id.clone(),
            period,
            reservation: Some(reservation),
        };
        // Whoever else is ready on this thread stages theirs, and one write serves all.
        tokio::task::yield_now().await;
        if let Err(problem) = self.journal.commit(&staged) {
            held.reservation = None;
            return Err(unwritable(&problem));
        }
        if config.storage.ledger_fsync == config::Fsync::Always {
            self.journal.synced().await.map_err(|problem| unwritable(&problem))?;
        }
        Ok(held)
    }

    fn stage(
        &self,
        caller: &Caller,
        call: &Call,
        plan: &Plan,
        amount: Amount,
        at_ms: i64,
        period: Period,
    ) -> Result<Staged, Refusal> {
        let first = plan.targets.first().ok_or(Refusal::NoModels)?;
        let hold = Hold {
            request_id: call.request_id.to_string(),
            key_id: caller.id.to_string(),
            provider: first.offer.provider.name.to_string(),
            model: first.offer.model.to_string(),
            cost: first.offer.facts.price.is_some().then_some(amount.usd),
            tokens: amount.tokens,
            at_ms,
            period,
        };
        Ok(self.journal.stage(&hold))
    }

    /// Whether holds can be written down.
    pub fn is_writable(&self) -> bool {
        self.journal.is_writable()
    }

    /// Why they cannot.
    pub fn problem(&self) -> Option<String> {
        self.journal.failure()
    }

    /// Whether the month's sums from before this start are known.
    pub fn is_restored(&self) -> bool {
        self.is_restored.load(Ordering::Acquire)
    }
}

impl Held {
    /// Settles the request with its attempts. What nobody told is counted first, off this thread; `call` is what was
    /// asked.
    pub fn settle(self, call: Arc<Call>, attempts: Vec<Attempt>, done: impl FnOnce(Amount) + Send + 'static) {
        let is_counted = attempts.iter().any(|attempt| matches!(attempt.used, Used::Counted { .. }));
        if !is_counted {
            done(self.close(attempts, |_| Usage::default()));
            return;
        }
        let Ok(place) = self.ledger.uncounted.clone().try_acquire_owned() else {
            let input = estimate::likely_input(&call);
            return done(self.close(attempts, |generated| counted(&call, input, generated.bytes().div_ceil(4))));
        };
        let (tasks, counters) = (self.ledger.tasks.clone(), self.ledger.counters.clone());
        tasks.spawn_blocking(counters, move || {
            let input = prompt_tokens(&call);
            let output = |generated: &Generated| generated.scale(tokens::count(generated.text()));
            done(self.close(attempts, |generated| counted(&call, input, output(generated))));
            drop(place);
        });
    }

    fn close(mut self, attempts: Vec<Attempt>, counted: impl Fn(&Generated) -> Usage) -> Amount {
        let at_ms = clock::unix_millis();
        let mut actual = Amount::default();
        let mut entries = Vec::with_capacity(attempts.len());
        for (number, attempt) in attempts.into_iter().enumerate() {
            let (usage, is_estimated) = match &attempt.used {
                Used::Nothing => (Usage { input: Some(0), output: Some(0), ..Usage::default() }, false),
                Used::Reported(usage) => (*usage, false),
                Used::Estimated(usage) => (*usage, true),
                Used::Counted { reported, generated } => (believed(counted(generated), reported), true),
            };
            let offer = &attempt.target.offer;
            let cost = match attempt.used {
                Used::Nothing => Some(Nanodollars(0)),
                Used::Reported(_) | Used::Estimated(_) | Used::Counted { .. } => estimate::cost(offer, &usage),
            };
            actual.usd = actual.usd.checked_add(cost.unwrap_or_default()).unwrap_or(Nanodollars(i64::MAX));
            actual.tokens = actual.tokens.saturating_add(estimate::tokens_of(&usage));
            offer.metrics.usage(&usage, cost);
            entries.push(self.entry(number, &attempt, &usage, cost, is_estimated, at_ms));
        }
        self.ledger.journal.settle(self.id, &entries);
        if let Some(reservation) = self.reservation.take() {
            reservation.settle(actual);
        }
        actual
    }

    fn entry(
        &self,
        number: usize,
        attempt: &Attempt,
        usage: &Usage,
        cost: Option<Nanodollars>,
        is_estimated: bool,
        at_ms: i64,
    ) -> Entry {
        let count = |tokens: Option<u64>| i64::try_from(tokens.unwrap_or(0)).unwrap_or(i64::MAX);
        Entry {
            hold: self.id,
            attempt: i64::try_from(number).unwrap_or(i64::MAX),
            request_id: self.request_id.to_string(),
            key_id: self.key_id.to_string(),
            provider: attempt.target.offer.provider.name.to_string(),
            model: attempt.target.offer.model.to_string(),
            outcome: attempt.failure.unwrap_or("ok").to_owned(),
            at_ms,
            period: self.period,
            input_tokens: count(usage.input),
            cached_input_tokens: count(usage.cached_input),
            cache_write_tokens: count(usage.cache_write),
            output_tokens: count(usage.output),
            reasoning_tokens: count(usage.reasoning),
            cost,
            is_estimated,
        }
    }
}

impl Drop for Held {
    /// A hold that was never settled belongs to a request that was never sent: it is closed without an entry.
    fn drop(&mut self) {
        if self.reservation.take().is_some() {
            self.ledger.journal.settle(self.id, &[]);
        }
    }
}

/// A closer count of the prompt may fit where the bound did not.
fn could_be_less(shortage: &Shortage) -> bool {
    match shortage {
        Shortage::Key(short) | Shortage::Global(short) => short.kind != ShortKind::Spent,
        Shortage::SharedUnavailable => false,
    }
}

/// The most that a request of this plan can use and cost.
fn worst_case(config: &Config, call: &Call, plan: &Plan, prompt: Prompt) -> Amount {
    let worst = |targets: &[Target]| {
        let offers = targets.iter().map(|target| &*target.offer);
        estimate::worst_case(call, offers, prompt, config.budget.assumed_output_tokens)
    };
    let members = plan.composite.map_or(0, |composite| composite.members);
    let (members, rest) = plan.targets.split_at_checked(members).unwrap_or_default();
    // Each model of a composite plan is paid for, and then one of the others.
    let each = members.iter().map(std::slice::from_ref).chain(std::iter::once(rest)).map(worst);
    each.fold(Amount::default(), |sum, worst| Amount {
        usd: sum.usd.checked_add(worst.usd).unwrap_or(Nanodollars(i64::MAX)),
        tokens: sum.tokens.saturating_add(worst.tokens),
    })
}

/// What all requests together may use.
pub fn global_ceiling(config: &Config) -> Ceiling {
    Ceiling { usd: config.budget.global_usd, tokens: config.budget.global_tokens }
}

fn prompt_tokens(call: &Call) -> u64 {
    let (prompt, around) = match &call.payload {
        Payload::Chat(request) => {
            let prompt = wire::chat_prompt(call.surface.client(), &call.body);
            (prompt, tokens::chat_overhead(request.facts.messages))
        }
        Payload::Embeddings(_) => (wire::embeddings::prompt(&call.body), 0),
        Payload::Media(_) => return estimate::likely_input(call),
    };
    let Ok(prompt) = prompt else { return estimate::likely_input(call) };
    prompt
        .text
        .scale(tokens::count(prompt.text.text()))
        .saturating_add(prompt.tokens)
        .saturating_add(estimate::likely_image_tokens(prompt.images))
        .saturating_add(around)
}

/// Tokens of the prompt, counted on a thread that may take its time.
pub async fn count_prompt(call: Arc<Call>) -> u64 {
    let quick = estimate::likely_input(&call);
    tokio::task::spawn_blocking(move || prompt_tokens(&call)).await.unwrap_or(quick)
}

/// What a whole answer used: the provider's word, or our count where it has none or none that can be.
pub async fn used_by_answer(call: &Arc<Call>, answer: &wire::Whole) -> Used {
    let reported = answer.usage;
    if is_believable(call, &reported, answer.body.len() as u64) {
        return Used::Reported(reported);
    }
    let answer = answer.clone();
    used_by(call.clone(), reported, move || answer.generated()).await
}

/// Our count of what `generated` and its prompt have, with what the provider told about the rest.
pub async fn used_by(call: Arc<Call>, reported: Usage, generated: impl FnOnce() -> Generated + Send + 'static) -> Used {
    let counted = tokio::task::spawn_blocking(move || {
        let generated = generated();
        let output = generated.scale(tokens::count(generated.text()));
        believed(counted(&call, prompt_tokens(&call), output), &reported)
    });
    counted.await.map_or(Used::Counted { reported, generated: Generated::default() }, Used::Estimated)
}

/// Our count of an answer. What passes through is not read, and so is judged by what was sent.
fn counted(call: &Call, input: u64, output: u64) -> Usage {
    match &call.payload {
        Payload::Media(request) => estimate::likely_media(request),
        Payload::Chat(_) | Payload::Embeddings(_) => {
            Usage { input: Some(input), output: Some(output), ..Usage::default() }
        }
    }
}

/// Whether the provider's counts are whole and can be: none is far beyond what the bytes of prompt and answer hold.
pub fn is_believable(call: &Call, usage: &Usage, answer_bytes: u64) -> bool {
    if let Payload::Media(_) = call.payload {
        return usage.units.is_some() || !usage.is_unknown();
    }
    let needs_output = matches!(call.payload, Payload::Chat(_));
    let (Some(input), output) = (usage.input, usage.output) else { return false };
    let Some(output) = output.or((!needs_output).then_some(0)) else { return false };
    let visible = output.saturating_sub(usage.reasoning.unwrap_or(0));
    input <= ABSURD.saturating_mul(estimate::likely_input(call).saturating_add(SLACK_TOKENS))
        && visible <= ABSURD.saturating_mul((answer_bytes / 4).saturating_add(SLACK_TOKENS))
}

/// The count, and of the provider's word what can be true beside it.
fn believed(counted: Usage, reported: &Usage) -> Usage {
    let near = |told: Option<u64>, own: Option<u64>| {
        told.filter(|told| *told <= ABSURD.saturating_mul(own.unwrap_or(0).saturating_add(SLACK_TOKENS)))
    };
    let mut usage = counted;
    usage.merge(Usage {
        input: near(reported.input, counted.input),
        output: near(reported.output, counted.output),
        cached_input: near(reported.cached_input, counted.input),
        cache_write: near(reported.cache_write, counted.input),
        cache_write_1h: near(reported.cache_write_1h, counted.input),
        reasoning: near(reported.reasoning, counted.output),
        media_input: near(reported.media_input, counted.input),
        units: near(reported.units, counted.units),
    });
    usage
}

fn unwritable(problem: &store::Error) -> Refusal {
    error!(%problem, "the journal of money cannot be written; nothing is sent that could not be accounted");
    Refusal::LedgerUnavailable
}

/// The entry of a request that was open when the process died: nobody knows what it cost, so it costs what was held.
fn crashed(id: HoldId, hold: Hold) -> Entry {
    Entry {
        hold: id,
        attempt: 0,
        request_id: hold.request_id,
        key_id: hold.key_id,
        provider: hold.provider,
        model: hold.model,
        outcome: ESTIMATED_CRASH.to_owned(),
        at_ms: clock::unix_millis(),
        period: hold.period,
        input_tokens: hold.tokens,
        cached_input_tokens: 0,
        cache_write_tokens: 0,
        output_tokens: 0,
        reasoning_tokens: 0,
        cost: hold.cost,
        is_estimated: true,
    }
}
