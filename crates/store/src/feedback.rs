//! What people thought of answers: a row a request, for the router to learn from.

use crate::session::{Row, Statement};
use crate::{Error, Store, audit};

/// One opinion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// The request, by the id that its client knows.
    pub request_id: String,
    /// When it came, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Who answered.
    pub provider: String,
    /// With which model.
    pub model: String,
    /// How good the answer was, in thousandths of the best: 0 to 1000.
    pub score_thousandths: i64,
    /// What it teaches about the model, as JSON of numbers that the router reads.
    pub evidence: Option<String>,
}

impl Store {
    /// Adds an opinion. [`Error::Conflict`] where the request has one.
    pub async fn add_feedback(&self, feedback: &Feedback) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO feedback
            (number, request_id, at_ms, provider, model, score_thousandths, evidence)
            VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let mut session = self.begin().await?;
        let number = audit::count(&mut session, "feedback").await?;
        let row = Statement::new(SQL).bind(number).bind(&feedback.request_id).bind(feedback.at_ms);
        let row = row.bind(&feedback.provider).bind(&feedback.model).bind(feedback.score_thousandths);
        session.rows(row.bind(feedback.evidence.as_deref())).await?;
        session.commit().await
    }

    /// Opinions that came after number `after`, the oldest first, each with its number. Numbers rise in the order in
    /// which opinions can be seen, so whoever reads on from the last one misses none.
    pub async fn feedback_after(&self, after: i64, limit: u32) -> Result<Vec<(i64, Feedback)>, Error> {
        const SQL: &str = "SELECT number, request_id, at_ms, provider, model, score_thousandths, evidence FROM feedback
            WHERE number > $1 ORDER BY number LIMIT $2";
        self.rows(Statement::new(SQL).bind(after).bind(i64::from(limit))).await?.iter().map(read).collect()
    }

    /// The number of the opinion that came last; 0 before the first.
    pub async fn last_feedback(&self) -> Result<i64, Error> {
        const SQL: &str = "SELECT value FROM counters WHERE name = 'feedback'";
        let rows = self.rows(Statement::new(SQL)).await?;
        rows.first().ok_or_else(|| Error::Corrupt { what: "the counter `feedback` is gone".into() })?.number("value")
    }
}

fn read(row: &Row) -> Result<(i64, Feedback), Error> {
    let feedback = Feedback {
        request_id: row.text("request_id")?,
        at_ms: row.number("at_ms")?,
        provider: row.text("provider")?,
        model: row.text("model")?,
        score_thousandths: row.number("score_thousandths")?,
        evidence: row.text_or_null("evidence")?,
    };
    Ok((row.number("number")?, feedback))
}
