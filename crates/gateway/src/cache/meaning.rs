//! The semantic tier: vectors propose, the guards of the `equivalence` crate decide, and every doubt is a miss.
//!
//! Nothing is embedded while somebody waits unless there is something to find: a frame with entries, one of which has
//! words that lie near.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use embedding::{Row, token_vector};
use equivalence::{Calibration, Mismatch, Policy, Reading};
use serde::Serialize;
use tracing::{error, warn};

use super::errand::Errands;
use super::own_model::OwnModel;
use super::shelf::Scope;
use super::{Entry, Why};
use crate::config::Config;
use crate::live::Live;
use crate::tasks::Tasks;

/// The longest that a request waits for its vector.
const PATIENCE: Duration = Duration::from_millis(150);
/// A text of more tokens has no place here: what was cut off could be what counts.
const MAX_TOKENS: usize = 128;
/// Entries that the guards look at.
const CANDIDATES: usize = 8;
/// The least cosine of the mean word vectors at which a text is worth embedding: of human-labelled questions that mean the
/// same 1.3 in 100 lie below, and so does the best of ten that have nothing to do with it, three times out of four.
const LEAST_HINT: f32 = 0.65;
/// What `llm-gateway cache calibrate` prints is read from here, in the data directory.
pub const CALIBRATION: &str = "cache-calibration.json";

/// What makes vectors, and the scale on which they are judged.
#[derive(Debug)]
pub(super) struct Meaning {
    own: Arc<OwnModel>,
    errands: Arc<Errands>,
    embedder: Embedder,
}

#[derive(Debug)]
enum Embedder {
    /// The model that is in this binary.
    Own(Calibration),
    /// A provider's.
    Provider(Calibration),
    /// A provider's, and nobody has measured what its cosines mean.
    Uncalibrated(String),
}

/// How the semantic tier stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct State {
    /// `on`, `off`, or `uncalibrated`.
    pub(super) state: &'static str,
    /// The embedding model.
    pub(super) model: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
    /// Texts that the embedded model has encoded.
    pub(super) embedded_texts: u64,
    /// Entries that are found by meaning.
    pub(super) entries: usize,
}

impl Meaning {
    pub(super) fn new(errands: Arc<Errands>, tasks: Tasks) -> Meaning {
        let config = &errands.live().config;
        let embedder = match &config.cache.embedding_model {
            None => Embedder::Own(Calibration::embedded()),
            Some(model) => match calibration(&config.storage.data_dir, model) {
                Some(calibration) => Embedder::Provider(calibration),
                None => Embedder::Uncalibrated(model.clone()),
            },
        };
        if let Embedder::Uncalibrated(model) = &embedder
            && is_wanted(config)
        {
            error!(%model, "{}", to_do(model));
        }
        Meaning { own: Arc::new(OwnModel::new(tasks)), errands, embedder }
    }

    pub(super) fn own_model(&self) -> &Arc<OwnModel> {
        &self.own
    }

    /// The name that vectors are kept under.
    pub(super) fn embedder(&self) -> &str {
        match &self.embedder {
            Embedder::Own(calibration) | Embedder::Provider(calibration) => calibration.embedder(),
            Embedder::Uncalibrated(model) => model,
        }
    }

    fn calibration(&self) -> Option<&Calibration> {
        match &self.embedder {
            Embedder::Own(calibration) | Embedder::Provider(calibration) => Some(calibration),
            Embedder::Uncalibrated(_) => None,
        }
    }

    /// Whether meanings are compared at all.
    pub(super) fn is_on(&self, live: &Live) -> bool {
        is_wanted(&live.config) && self.calibration().is_some()
    }

    pub(super) fn state(&self, live: &Live, entries: usize) -> State {
        let (state, hint) = match &self.embedder {
            _ if !is_wanted(&live.config) => ("off", None),
            Embedder::Own(_) | Embedder::Provider(_) => ("on", None),
            Embedder::Uncalibrated(model) => ("uncalibrated", Some(to_do(model))),
        };
        State { state, model: self.embedder().to_owned(), hint, embedded_texts: self.own.encoded(), entries }
    }

    /// The entry of the scope that means the same, with its calibrated similarity. `may` says whether an entry can be
    /// given at all.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn nearest(
        &self,
        live: &Live,
        scope: &Scope,
        text: &str,
        threshold: f32,
        may: impl Fn(&Entry) -> bool,
    ) -> Result<(Arc<Entry>, f32), Why> {
        let calibration = self.calibration().ok_or(Why::Absent)?;
        let reading = Reading::of(text);
        if reading.ineligible().is_some() {
            return Err(Why::Ineligible);
        }
        if scope.members.read().hints.nearest(&hint(text), LEAST_HINT, 1).is_empty() {
            return Err(Why::NotNear);
        }
        if matches!(self.embedder, Embedder::Own(_)) && !self.own.is_loaded() {
            self.own.load();
            return Err(Why::Slow);
        }
        let embedded = tokio::time::timeout(PATIENCE, self.rows(vec![text.to_owned()])).await;
        let row = embedded.ok().flatten().and_then(|rows| rows.into_iter().next()?).ok_or(Why::Slow)?;
        let policy = Policy { threshold, guard: live.config.cache.guard };
        let near: Vec<(Arc<Entry>, f32)> = {
            let members = scope.members.read();
            let found = members.rows.nearest(&row, calibration.cosine(policy.floor()), CANDIDATES);
            found.iter().filter_map(|near| Some((members.entries.get(near.place)?.clone(), near.similarity))).collect()
        };
        let mut why = Why::NotNear;
        for (entry, cosine) in near.into_iter().filter(|(entry, _)| may(entry)) {
            let similarity = calibration.similarity(cosine);
            match policy.accept(&reading, &Reading::of(entry.question.as_deref().unwrap_or_default()), similarity) {
                Ok(()) => return Ok((entry, similarity)),
                Err(Mismatch::Similarity) => {}
                Err(_) => why = Why::Guard,
            }
        }
        Err(why)
    }

    /// Gives each entry the direction of its question, where that has one.
    pub(super) async fn direct(&self, entries: &[Arc<Entry>]) {
        let eligible = |entry: &&Arc<Entry>| {
            let question = entry.question.as_deref().filter(|_| entry.frame.is_some() && entry.row.get().is_none());
            question.is_some_and(|question| Reading::of(question).ineligible().is_none())
        };
        let entries: Vec<&Arc<Entry>> = entries.iter().filter(eligible).collect();
        if entries.is_empty() || self.calibration().is_none() {
            return;
        }
        let texts = entries.iter().filter_map(|entry| entry.question.as_deref().map(str::to_owned)).collect();
        let Some(rows) = self.rows(texts).await else {
            warn!(entries = entries.len(), "questions could not be embedded; their answers serve the same words only");
            return;
        };
        for (entry, row) in entries.iter().zip(rows) {
            if let Some(row) = row {
                let _ = entry.row.set(row);
            }
        }
    }

    /// The direction of each text; none for one that is too long.
    async fn rows(&self, texts: Vec<String>) -> Option<Vec<Option<Row>>> {
        match &self.embedder {
            Embedder::Own(_) => {
                let sentences = self.own.encode(texts, MAX_TOKENS).await?;
                let row = |sentence: &embedding::Sentence| (!sentence.is_truncated).then(|| Row::of(&sentence.vector));
                Some(sentences.iter().map(row).collect())
            }
            Embedder::Provider(calibration) => {
                let vectors = self.errands.vectors(calibration.embedder(), &texts).await?;
                let is_long = |text: &String| embedding::tokens(text).nth(MAX_TOKENS).is_some();
                let rows = texts.iter().zip(vectors).map(|(text, vector)| (!is_long(text)).then(|| Row::of(&vector)));
                Some(rows.collect())
            }
            Embedder::Uncalibrated(_) => None,
        }
    }

    /// The vectors that a provider's model has for texts; `None` where it does not answer with one for each.
    pub(super) async fn vectors_of(&self, model: &str, texts: &[String]) -> Option<Vec<Vec<f32>>> {
        self.errands.vectors(model, texts).await
    }

    /// How alike two answers are, as the embedded model sees their beginnings.
    pub(super) async fn likeness(&self, one: &str, other: &str) -> Option<f32> {
        let sentences = self.own.encode(vec![one.to_owned(), other.to_owned()], embedding::MOST_TOKENS).await?;
        let [one, other] = sentences.as_slice() else { return None };
        Some(Row::of(&one.vector).similarity(&Row::of(&other.vector)))
    }
}

/// The mean of a text's word vectors: microseconds, and enough to tell that nothing is near.
pub(super) fn hint(text: &str) -> Row {
    Row::of(&token_vector(text, MAX_TOKENS))
}

fn is_wanted(config: &Config) -> bool {
    config.cache.enabled && config.cache.semantic
}

fn to_do(model: &str) -> String {
    format!(
        "the cache does not compare meanings by `{model}`: nobody has measured its scale; let `llm-gateway cache \
         calibrate` do so and keep what it prints as `{CALIBRATION}` in the data directory, or leave `CACHE_EMBEDDING_MODEL` out for the embedded model"
    )
}

/// The scale of a provider's model, where it was measured.
fn calibration(data_dir: &Path, model: &str) -> Option<Calibration> {
    let path = data_dir.join(CALIBRATION);
    let text = std::fs::read_to_string(&path).ok()?;
    let read: Result<Calibration, _> = serde_json::from_str(&text);
    let read = read.inspect_err(|problem| warn!(path = %path.display(), %problem, "the calibration cannot be read"));
    read.ok().filter(|calibration| calibration.embedder() == model)
}
