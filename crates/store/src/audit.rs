//! Who changed what. Rows are added in the transaction of the change itself and never altered.

use crate::session::{Row, Session, Statement};
use crate::{Error, Store};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Who.
    pub actor: String,
    /// What was done: `key.create`, `key.rotate`.
    pub action: String,
    /// To what, by its id.
    pub target: String,
    /// What it was, as JSON without secrets.
    pub before: Option<String>,
    /// What it became, as JSON without secrets.
    pub after: Option<String>,
}

impl Store {
    /// The last changes, newest first.
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditRow>, Error> {
        const SQL: &str = "SELECT at_ms, actor, action, target, was, became FROM audit ORDER BY number DESC LIMIT $1";
        let rows = self.rows(Statement::new(SQL).bind(i64::from(limit))).await?;
        rows.iter().map(read).collect()
    }

    /// The last changes of one target, newest first.
    pub async fn audit_of(&self, target: &str, limit: u32) -> Result<Vec<AuditRow>, Error> {
        const SQL: &str = "SELECT at_ms, actor, action, target, was, became FROM audit
            WHERE target = $1 ORDER BY number DESC LIMIT $2";
        let rows = self.rows(Statement::new(SQL).bind(target).bind(i64::from(limit))).await?;
        rows.iter().map(read).collect()
    }

    /// Writes down a change that was made elsewhere.
    pub async fn note(&self, row: &AuditRow) -> Result<(), Error> {
        let mut session = self.begin().await?;
        write(&mut session, row).await?;
        session.commit().await
    }
}

/// Writes a row within the transaction of what it tells.
pub(crate) async fn write(session: &mut Session, row: &AuditRow) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO audit (number, at_ms, actor, action, target, was, became)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let number = count(session, "audit").await?;
    let statement = Statement::new(SQL).bind(number).bind(row.at_ms).bind(&row.actor).bind(&row.action);
    let statement = statement.bind(&row.target).bind(row.before.as_deref()).bind(row.after.as_deref());
    session.rows(statement).await.map(drop)
}

/// Moves a counter and returns it. Until the transaction ends, others who move it wait.
pub(crate) async fn count(session: &mut Session, counter: &'static str) -> Result<i64, Error> {
    const SQL: &str = "UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value";
    let rows = session.rows(Statement::new(SQL).bind(counter)).await?;
    rows.first().ok_or_else(|| Error::Corrupt { what: format!("the counter `{counter}` is gone") })?.number("value")
}

fn read(row: &Row) -> Result<AuditRow, Error> {
    Ok(AuditRow {
        at_ms: row.number("at_ms")?,
        actor: row.text("actor")?,
        action: row.text("action")?,
        target: row.text("target")?,
        before: row.text_or_null("was")?,
        after: row.text_or_null("became")?,
    })
}
