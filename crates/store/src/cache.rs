//! Answers that are given again, as they survive a restart. What is in them is the cache's affair.

use crate::session::{Row, Statement};
use crate::{Error, Store};

/// One answer with what it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedAnswer {
    /// Which one: hexadecimal, made of everything that was asked.
    pub id: String,
    /// The id of the gateway key that it was made for.
    pub owner: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub made_at_ms: i64,
    /// From when on it is not given any more.
    pub expires_at_ms: i64,
    /// All of it, as JSON.
    pub entry: String,
}

impl Store {
    /// Writes answers over what was there under the same ids; all or none.
    pub async fn keep_cached(&self, answers: &[CachedAnswer]) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO cache_entries (id, owner, made_at_ms, expires_at_ms, entry)
            VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, made_at_ms = excluded.made_at_ms,
            expires_at_ms = excluded.expires_at_ms, entry = excluded.entry";
        let mut session = self.begin().await?;
        for answer in answers {
            let statement = Statement::new(SQL).bind(&answer.id).bind(&answer.owner).bind(answer.made_at_ms);
            session.rows(statement.bind(answer.expires_at_ms).bind(&answer.entry)).await?;
        }
        session.commit().await
    }

    /// At most `limit` answers that are still good at `now_ms`, the newest first, of those made before `before`: a
    /// time and an id, those of the last answer of the page before. `None` begins at the newest.
    pub async fn cached(
        &self,
        now_ms: i64,
        before: Option<(i64, &str)>,
        limit: i64,
    ) -> Result<Vec<CachedAnswer>, Error> {
        const SQL: &str = "SELECT id, owner, made_at_ms, expires_at_ms, entry FROM cache_entries
            WHERE expires_at_ms > $1 AND (made_at_ms, id) < ($2, $3) ORDER BY made_at_ms DESC, id DESC LIMIT $4";
        let (made_at_ms, id) = before.unwrap_or((i64::MAX, ""));
        let statement = Statement::new(SQL).bind(now_ms).bind(made_at_ms).bind(id).bind(limit);
        self.rows(statement).await?.iter().map(read).collect()
    }

    /// Removes answers by their ids.
    pub async fn forget_cached(&self, ids: &[String]) -> Result<(), Error> {
        const SQL: &str = "DELETE FROM cache_entries WHERE id = $1";
        let mut session = self.begin().await?;
        for id in ids {
            session.rows(Statement::new(SQL).bind(id)).await?;
        }
        session.commit().await
    }

    /// Removes every answer.
    pub async fn forget_all_cached(&self) -> Result<(), Error> {
        self.rows(Statement::new("DELETE FROM cache_entries")).await.map(drop)
    }

    /// Removes what is past its time at `now_ms`.
    pub async fn forget_expired(&self, now_ms: i64) -> Result<(), Error> {
        const SQL: &str = "DELETE FROM cache_entries WHERE expires_at_ms <= $1";
        self.rows(Statement::new(SQL).bind(now_ms)).await.map(drop)
    }

    /// Notes a pair that must not meet again.
    pub async fn reject_pair(&self, pair: &str, at_ms: i64) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO cache_rejections (pair, at_ms) VALUES ($1, $2)
            ON CONFLICT (pair) DO UPDATE SET at_ms = excluded.at_ms";
        self.rows(Statement::new(SQL).bind(pair).bind(at_ms)).await.map(drop)
    }

    /// The pairs that were noted last, at most `limit`, the oldest of them first.
    pub async fn rejected_pairs(&self, limit: i64) -> Result<Vec<String>, Error> {
        const SQL: &str = "SELECT pair FROM cache_rejections ORDER BY at_ms DESC, pair LIMIT $1";
        let rows = self.rows(Statement::new(SQL).bind(limit)).await?;
        rows.iter().rev().map(|row| row.text("pair")).collect()
    }
}

fn read(row: &Row) -> Result<CachedAnswer, Error> {
    Ok(CachedAnswer {
        id: row.text("id")?,
        owner: row.text("owner")?,
        made_at_ms: row.number("made_at_ms")?,
        expires_at_ms: row.number("expires_at_ms")?,
        entry: row.text("entry")?,
    })
}
