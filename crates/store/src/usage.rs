//! The accounts: a row for every attempt, and what they come to for each key and month.
//!
//! Gateways account in their journals and bring the entries here in batches. Rows and sums are written in one
//! transaction with the journal's position, so that a batch counts once however often it is brought.

use std::collections::{BTreeMap, HashSet};

use catalog::Nanodollars;

use crate::session::{Row, Session, Statement};
use crate::{Entry, Error, HoldId, Period, Position, Store, Total};

/// Which entries to show.
#[derive(Clone, Copy, Debug)]
pub enum EntryFilter<'a> {
    /// Those of a request, by the id that its client knows.
    Request(&'a str),
    /// What a key paid for in a month.
    Key {
        /// The key, or [`ANONYMOUS`](crate::ANONYMOUS).
        id: &'a str,
        /// The month.
        period: Period,
    },
}

/// The ledger's columns but for the instance, whose entries are shown as one.
macro_rules! entry_columns {
    () => {
        "hold, attempt, request_id, key_id, provider, model, outcome, at_ms, period, input_tokens, \
         cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost, is_estimated"
    };
}
impl Store {
    /// Writes what `instance` has in its journal before `upto`: rows, sums and that position, or none of them.
    ///
    /// Does nothing where the position is already that far, and counts no entry twice: after an error, even one that
    /// leaves open whether the batch was written, the same call is right.
    pub async fn record(&self, instance: &str, upto: Position, entries: &[Entry]) -> Result<(), Error> {
        match self.record_as(Rows::New, instance, upto, entries).await {
            // The position says that none is there. Should it ever be wrong, this is slower and right.
            Err(Error::Conflict(_)) => self.record_as(Rows::Doubtful, instance, upto, entries).await,
            recorded => recorded,
        }
    }

    async fn record_as(&self, rows: Rows, instance: &str, upto: Position, entries: &[Entry]) -> Result<(), Error> {
        let mut session = self.begin().await?;
        if !advance(&mut session, instance, upto).await? {
            return session.commit().await;
        }
        let mut sums = Sums::new();
        for chunk in in_chunks(entries) {
            match rows {
                Rows::New => insert_new(&mut session, instance, chunk, &mut sums).await?,
                Rows::Doubtful => insert_missing(&mut session, instance, chunk, &mut sums).await?,
            }
        }
        let sums: Vec<_> = sums.into_iter().collect();
        for chunk in in_chunks(&sums) {
            add_to_totals(&mut session, instance, chunk).await?;
        }
        session.commit().await
    }

    /// How far the journal of `instance` was recorded.
    pub async fn position(&self, instance: &str) -> Result<Option<Position>, Error> {
        const SQL: &str = "SELECT segment, byte FROM positions WHERE instance = $1";
        let rows = self.rows(Statement::new(SQL).bind(instance)).await?;
        rows.first()
            .map(|row| Ok(Position { segment: count(row, "segment")?, offset: count(row, "byte")? }))
            .transpose()
    }

    /// What each instance recorded for each key in that month. The sum over the instances is a key's total, the sum
    /// of all is the month's.
    pub async fn totals(&self, period: Period) -> Result<Vec<(String, Total)>, Error> {
        const SQL: &str = "SELECT instance, key_id, cost, tokens, requests, unpriced FROM totals
            WHERE period = $1 ORDER BY key_id, instance";
        self.rows(Statement::new(SQL).bind(i64::from(period.0))).await?.iter().map(read_total).collect()
    }

    /// The entries that pass the filter, newest first.
    pub async fn entries(&self, filter: EntryFilter<'_>, limit: u32) -> Result<Vec<Entry>, Error> {
        let statement = match filter {
            EntryFilter::Request(id) => Statement::new(ENTRIES_OF_REQUEST).bind(id),
            EntryFilter::Key { id, period } => Statement::new(ENTRIES_OF_KEY).bind(id).bind(i64::from(period.0)),
        };
        self.rows(statement.bind(i64::from(limit))).await?.iter().map(read_entry).collect()
    }
}

/// What is known of the rows of a batch.
#[derive(Clone, Copy)]
enum Rows {
    /// None of them is in the database.
    New,
    /// Some may be.
    Doubtful,
}

/// What a batch adds to the totals, by month and key, in the order in which they are written.
type Sums<'a> = BTreeMap<(Period, &'a str), Total>;

/// Moves the position forward. False if it was there already; a second call for the same instance waits here until
/// the first has ended.
async fn advance(session: &mut Session, instance: &str, upto: Position) -> Result<bool, Error> {
    const SQL: &str = "INSERT INTO positions (instance, segment, byte) VALUES ($1, $2, $3)
        ON CONFLICT (instance) DO UPDATE SET segment = excluded.segment, byte = excluded.byte
        WHERE (positions.segment, positions.byte) < (excluded.segment, excluded.byte)
        RETURNING instance";
    let statement = Statement::new(SQL).bind(instance).bind(number(upto.segment)?).bind(number(upto.offset)?);
    Ok(!session.rows(statement).await?.is_empty())
}

/// Writes the rows and adds them up.
async fn insert_new<'a>(
    session: &mut Session,
    instance: &str,
    entries: &'a [Entry],
    sums: &mut Sums<'a>,
) -> Result<(), Error> {
    session.rows(insert(instance, entries, "")?).await?;
    entries.iter().try_for_each(|entry| add(sums, entry))
}

/// Writes the rows that are not there yet, and adds up those.
async fn insert_missing<'a>(
    session: &mut Session,
    instance: &str,
    entries: &'a [Entry],
    sums: &mut Sums<'a>,
) -> Result<(), Error> {
    const UNLESS_THERE: &str = "ON CONFLICT (instance, hold, attempt) DO NOTHING RETURNING hold, attempt";
    let rows = session.rows(insert(instance, entries, UNLESS_THERE)?).await?;
    let written = rows.iter().map(|row| Ok((row.number("hold")?, row.number("attempt")?)));
    let mut written: HashSet<(i64, i64)> = written.collect::<Result<_, Error>>()?;
    for entry in entries {
        if written.remove(&(number(entry.hold.0)?, entry.attempt)) {
            add(sums, entry)?;
        }
    }
    Ok(())
}

fn insert<'a>(instance: &'a str, entries: &'a [Entry], ending: &'static str) -> Result<Statement<'a>, Error> {
    const SQL: &str = concat!("INSERT INTO ledger (instance, ", entry_columns!(), ")");
    let statement = Statement::with_rows(SQL, entries.len(), 17, ending);
    entries.iter().try_fold(statement, |statement, entry| bind_entry(statement.bind(instance), entry))
}

/// In the order of the columns.
fn bind_entry<'a>(statement: Statement<'a>, entry: &'a Entry) -> Result<Statement<'a>, Error> {
    let who = statement.bind(number(entry.hold.0)?).bind(entry.attempt).bind(&entry.request_id).bind(&entry.key_id);
    let what = who.bind(&entry.provider).bind(&entry.model).bind(&entry.outcome);
    let when = what.bind(entry.at_ms).bind(i64::from(entry.period.0));
    let prompt = when.bind(entry.input_tokens).bind(entry.cached_input_tokens).bind(entry.cache_write_tokens);
    let answer = prompt.bind(entry.output_tokens).bind(entry.reasoning_tokens);
    Ok(answer.bind(entry.cost.map(|cost| cost.0)).bind(entry.is_estimated))
}

/// Adds the entry to the sum of its month and key.
fn add<'a>(sums: &mut Sums<'a>, entry: &'a Entry) -> Result<(), Error> {
    let sum = sums.entry((entry.period, &entry.key_id)).or_default();
    let added = || {
        Some(Total {
            key_id: entry.key_id.clone(),
            cost: sum.cost.checked_add(entry.cost.unwrap_or_default())?,
            tokens: sum.tokens.checked_add(entry.input_tokens)?.checked_add(entry.output_tokens)?,
            requests: sum.requests.checked_add((entry.attempt == 0).into())?,
            unpriced: sum.unpriced.checked_add(entry.cost.is_none().into())?,
        })
    };
    *sum = added().ok_or_else(|| Error::Corrupt { what: format!("the sums of `{}` overflow", entry.key_id) })?;
    Ok(())
}

/// The sums come sorted: two transactions that touch the same rows take them in the same order.
async fn add_to_totals(session: &mut Session, instance: &str, sums: &[((Period, &str), Total)]) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO totals (period, key_id, instance, cost, tokens, requests, unpriced)";
    const ADD: &str = "ON CONFLICT (period, key_id, instance) DO UPDATE SET cost = totals.cost + excluded.cost,
        tokens = totals.tokens + excluded.tokens, requests = totals.requests + excluded.requests,
        unpriced = totals.unpriced + excluded.unpriced";
    let mut statement = Statement::with_rows(SQL, sums.len(), 7, ADD);
    for ((period, key_id), sum) in sums {
        statement = statement.bind(i64::from(period.0)).bind(*key_id).bind(instance);
        statement = statement.bind(sum.cost.0).bind(sum.tokens).bind(sum.requests).bind(sum.unpriced);
    }
    session.rows(statement).await.map(drop)
}

fn read_entry(row: &Row) -> Result<Entry, Error> {
    Ok(Entry {
        hold: HoldId(count(row, "hold")?),
        attempt: row.number("attempt")?,
        request_id: row.text("request_id")?,
        key_id: row.text("key_id")?,
        provider: row.text("provider")?,
        model: row.text("model")?,
        outcome: row.text("outcome")?,
        at_ms: row.number("at_ms")?,
        period: Period(i32::try_from(row.number("period")?).map_err(|_| out_of_range())?),
        input_tokens: row.number("input_tokens")?,
        cached_input_tokens: row.number("cached_input_tokens")?,
        cache_write_tokens: row.number("cache_write_tokens")?,
        output_tokens: row.number("output_tokens")?,
        reasoning_tokens: row.number("reasoning_tokens")?,
        cost: row.number_or_null("cost")?.map(Nanodollars),
        is_estimated: row.number("is_estimated")? != 0,
    })
}

fn read_total(row: &Row) -> Result<(String, Total), Error> {
    let total = Total {
        key_id: row.text("key_id")?,
        cost: Nanodollars(row.number("cost")?),
        tokens: row.number("tokens")?,
        requests: row.number("requests")?,
        unpriced: row.number("unpriced")?,
    };
    Ok((row.text("instance")?, total))
}

/// A count as the databases hold it.
fn number(count: u64) -> Result<i64, Error> {
    i64::try_from(count).map_err(|_| out_of_range())
}

fn count(row: &Row, column: &str) -> Result<u64, Error> {
    u64::try_from(row.number(column)?).map_err(|_| out_of_range())
}

fn out_of_range() -> Error {
    Error::Corrupt { what: "a number in the accounts is out of its range".into() }
}

const ENTRIES_OF_REQUEST: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM ledger WHERE request_id = $1 ORDER BY at_ms DESC, hold DESC, attempt DESC LIMIT $2"
);
const ENTRIES_OF_KEY: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM ledger WHERE key_id = $1 AND period = $2 ORDER BY at_ms DESC, hold DESC, attempt DESC LIMIT $3"
);

/// Rows of one statement. Each statement is a journey to the connection's thread or server and back.
const ROWS_PER_STATEMENT: usize = 128;

/// Chunks of powers of two, so that few different statements are prepared.
fn in_chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = rows.len().checked_ilog2().map(|power| 1 << power)?;
        let (chunk, rest) = rows.split_at_checked(ROWS_PER_STATEMENT.min(length))?;
        rows = rest;
        Some(chunk)
    })
}
