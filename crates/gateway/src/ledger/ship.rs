//! Entries from the journal to the database, in batches, behind the requests.
//!
//! The database keeps the place up to which it has the journal in the same transaction as the entries: nothing arrives
//! twice, and nothing is lost while the database is away, because the journal keeps what it does not have.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use store::journal::{Fsync, Options};
use store::{Entry, Error, Period, Position, Store};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::Ledger;
use crate::clock;
use crate::config::{self, Config};
use crate::limits::budget::Amount;
use crate::limits::budgets::Recorded;
use crate::policy::Chain;

/// How often waiting settlements are written and synced, and looked for.
const TURN: Duration = Duration::from_millis(100);
/// Pause after the database did not take a batch.
const PAUSE: Duration = Duration::from_secs(1);
/// Entries in one transaction.
const BATCH: usize = 1_000;
/// Time to bring the last entries to the database when the gateway ends. What is left stays in the journal.
const LAST: Duration = Duration::from_millis(1_500);

/// How the journal is kept.
pub(super) fn journal_options(config: &Config) -> Options {
    let fsync = match config.storage.ledger_fsync {
        config::Fsync::Interval => Fsync::Interval(TURN),
        config::Fsync::Always => Fsync::Always,
    };
    Options { fsync, ..Options::default() }
}

/// Keeps the journal written and moves its entries until `stop`. A database that is away does not keep the journal
/// waiting.
pub async fn run(ledger: Arc<Ledger>, store: Arc<Store>, stop: CancellationToken) {
    tokio::join!(keep_written(&ledger, &stop), keep_moving(&ledger, &store, &stop));
}

async fn keep_written(ledger: &Arc<Ledger>, stop: &CancellationToken) {
    let mut is_told = false;
    while !stop.is_cancelled() {
        let problem = flush(ledger).await.err();
        if let Some(problem) = &problem
            && !is_told
        {
            error!(error = %Chain(problem), "the journal of money cannot be written; requests that cost are refused");
        }
        is_told = problem.is_some();
        tokio::select! {
            () = tokio::time::sleep(TURN) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn keep_moving(ledger: &Arc<Ledger>, store: &Store, stop: &CancellationToken) {
    let mut place = None;
    let mut is_told = false;
    loop {
        let pause = match ship(ledger, store, &mut place).await {
            Ok(()) => {
                is_told = false;
                TURN
            }
            Err(problem) => {
                if !std::mem::replace(&mut is_told, true) {
                    warn!(error = %Chain(&problem), "the database takes no entries; they stay in the journal");
                }
                place = None;
                PAUSE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Moves what is left when no request runs any more. What cannot be moved in time stays in the journal.
pub async fn last(ledger: &Arc<Ledger>, store: &Store) {
    if let Err(problem) = flush(ledger).await {
        error!(error = %Chain(&problem), "what the requests that ended last have cost is not in the journal");
    }
    match tokio::time::timeout(LAST, ship(ledger, store, &mut None)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) | Err(_) => warn!("the database takes no entries; the next start brings what the journal has"),
    }
}

async fn flush(ledger: &Arc<Ledger>) -> Result<(), Error> {
    let journal = ledger.journal.clone();
    let flushed = tokio::task::spawn_blocking(move || journal.flush().and_then(|()| journal.sync()));
    flushed.await.unwrap_or_else(|_| Err(Error::Corrupt { what: "writing the journal panicked".to_owned() }))
}

/// Brings everything that the journal has to the database.
async fn ship(ledger: &Arc<Ledger>, store: &Store, place: &mut Option<Position>) -> Result<(), Error> {
    let mut at = match *place {
        Some(at) => at,
        None => store.position(&ledger.instance).await?.unwrap_or_default(),
    };
    if !ledger.is_restored() {
        restore(ledger, store).await?;
    }
    loop {
        let (entries, next) = read(ledger, at).await?;
        if next == at {
            break;
        }
        store.record(&ledger.instance, next, &entries).await?;
        if next.segment > at.segment {
            let journal = ledger.journal.clone();
            // One segment stays: a power failure can take back what a database committed last, its place included.
            let done = Position { segment: next.segment.saturating_sub(1), offset: 0 };
            if let Ok(Err(problem)) = tokio::task::spawn_blocking(move || journal.forget(done)).await {
                warn!(error = %Chain(&problem), "old segments of the journal stay");
            }
        }
        at = next;
        *place = Some(at);
    }
    *place = Some(at);
    Ok(())
}

/// Tells the budgets what was spent this month before this start: what the database has, and what only the journal
/// has.
pub async fn restore(ledger: &Arc<Ledger>, store: &Store) -> Result<(), Error> {
    let period = clock::period(clock::unix_millis());
    let mut spent: HashMap<(String, String), Amount> = HashMap::new();
    let mut add = |instance: &str, key_id: &str, amount: Amount| {
        let sum = spent.entry((instance.to_owned(), key_id.to_owned())).or_default();
        *sum = sum.plus(amount);
    };
    let mut at = store.position(&ledger.instance).await?.unwrap_or_default();
    for (instance, total) in store.totals(period).await? {
        add(&instance, &total.key_id, Amount { usd: total.cost, tokens: total.tokens });
    }
    loop {
        let (entries, next) = read(ledger, at).await?;
        if next == at {
            break;
        }
        for entry in entries.iter().filter(|entry| entry.period == period) {
            add(&ledger.instance, &entry.key_id, amount_of(entry));
        }
        at = next;
    }
    let recorded = |((instance, key_id), spent)| Recorded { instance, key_id, spent };
    let records: Vec<Recorded> = spent.into_iter().map(recorded).collect();
    ledger.budgets.restore(Period(period.0), &records);
    ledger.is_restored.store(true, Ordering::Release);
    Ok(())
}

async fn read(ledger: &Arc<Ledger>, at: Position) -> Result<(Vec<Entry>, Position), Error> {
    let journal = ledger.journal.clone();
    match tokio::task::spawn_blocking(move || journal.read(at, BATCH)).await {
        Ok(read) => read,
        Err(_) => Err(Error::Corrupt { what: "reading the journal panicked".to_owned() }),
    }
}

fn amount_of(entry: &Entry) -> Amount {
    let tokens = entry.input_tokens.saturating_add(entry.output_tokens);
    Amount { usd: entry.cost.unwrap_or_default(), tokens }
}
