//! One answer with what it answers, in memory and as it is written down.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use catalog::Nanodollars;
use embedding::Row;
use serde::{Deserialize, Serialize};

use super::{Answer, Digest, Inquiry};
use crate::clock;

/// What an entry weighs besides its texts: its place in three maps, and its vectors.
const OVERHEAD_BYTES: usize = 1_536;

/// An answer that can be given again.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Everything that was asked.
    pub id: Digest,
    /// The same with the question in canonical words; `None` where only the very same request may have the answer.
    pub(super) phrase: Option<Digest>,
    /// Everything but the question, where the answer may serve the same meaning.
    pub(super) frame: Option<Digest>,
    /// The question, where there is a phrase.
    pub(super) question: Option<Box<str>>,
    /// The gateway key that paid for it.
    pub owner: Box<str>,
    /// The path of the API.
    pub surface: Box<str>,
    /// The model that was asked for.
    pub asked: Box<str>,
    /// The provider that answered.
    pub provider: Box<str>,
    /// The model that answered.
    pub model: Box<str>,
    /// The whole answer in the client's format, without metadata.
    pub answer: Box<str>,
    /// Tokens that it took.
    pub tokens: u64,
    /// What it had cost in nanodollars, where that is known.
    cost: Option<i64>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub made_at_ms: i64,
    /// From when on it is not given any more.
    pub expires_at_ms: i64,
    /// When it was used last, as the shelf counts.
    #[serde(skip)]
    pub(super) used: AtomicU64,
    /// How often it was given again.
    #[serde(skip)]
    pub hits: AtomicU64,
    /// The question's direction, once that is known.
    #[serde(skip)]
    pub(super) row: OnceLock<Row>,
}

/// An entry as it travels: with its vector and whose that is.
#[derive(Serialize)]
struct Written<'a> {
    entry: &'a Entry,
    row: Option<String>,
    embedder: Option<&'a str>,
}

#[derive(Deserialize)]
struct Read {
    entry: Entry,
    row: Option<String>,
    embedder: Option<String>,
}

impl Entry {
    /// An entry of an answer that was just made. `is_text`: it may be given to others than the very same request.
    pub(super) fn new(inquiry: Inquiry, is_text: bool, body: &str, answer: &Answer<'_>, ttl: Duration) -> Entry {
        let made_at_ms = clock::unix_millis();
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let may_mean_the_same = inquiry.may_mean_the_same;
        let phrase = inquiry.phrase.filter(|_| is_text);
        Entry {
            id: inquiry.exact,
            phrase: phrase.as_ref().map(|phrase| phrase.digest),
            frame: phrase.as_ref().filter(|_| may_mean_the_same).map(|phrase| phrase.frame),
            question: phrase.map(|phrase| phrase.text.into()),
            owner: (&*inquiry.owner).into(),
            surface: inquiry.surface.path().into(),
            asked: inquiry.model.into(),
            provider: (&*answer.target.offer.provider.name).into(),
            model: (&*answer.target.offer.model).into(),
            answer: body.into(),
            tokens: answer.tokens,
            cost: answer.cost.map(|cost| cost.0),
            made_at_ms,
            expires_at_ms: made_at_ms.saturating_add(ttl_ms),
            used: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            row: OnceLock::new(),
        }
    }

    /// What it had cost, where that is known.
    pub fn cost(&self) -> Option<Nanodollars> {
        self.cost.map(Nanodollars)
    }

    /// The memory that it takes, give or take.
    pub(super) fn bytes(&self) -> usize {
        let question = self.question.as_ref().map_or(0, |question| question.len());
        self.answer.len().saturating_add(question).saturating_add(self.asked.len()).saturating_add(OVERHEAD_BYTES)
    }

    /// All of it as JSON, its vector with the name of who made it.
    pub(super) fn write(&self, embedder: &str) -> Option<String> {
        let row = self
            .row
            .get()
            .map(|row| STANDARD.encode(row.bytes().iter().map(|byte| byte.cast_unsigned()).collect::<Vec<u8>>()));
        serde_json::to_string(&Written { entry: self, embedder: row.is_some().then_some(embedder), row }).ok()
    }

    /// Reads what [`Entry::write`] wrote; a vector of another embedder's is left out.
    pub(super) fn read(text: &str, embedder: &str) -> Option<Entry> {
        let Read { entry, row, embedder: made_by } = serde_json::from_str(text).ok()?;
        let row = row.filter(|_| made_by.as_deref() == Some(embedder)).and_then(|row| STANDARD.decode(row).ok());
        if let Some(row) = row {
            let _ = entry.row.set(Row::from_bytes(row.into_iter().map(u8::cast_signed).collect()));
        }
        Some(entry)
    }
}
