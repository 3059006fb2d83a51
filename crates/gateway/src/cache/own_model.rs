//! The embedded sentence model: loaded at first use, used on threads that may take their time, a few at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use embedding::{Encoder, Sentence};
use tokio::sync::Semaphore;
use tracing::warn;
use wire::Problem;
use wire::embeddings;

use crate::call::{Call, Payload};
use crate::refusal::Refusal;
use crate::tasks::Tasks;

/// Its name, for clients of `/v1/embeddings`.
pub const MODEL: &str = "all-MiniLM-L6-v2";
/// Who has it.
pub const OWNER: &str = "llm-gateway";
/// Texts that are encoded at one time: more would take the processor from the requests.
const AT_ONCE: usize = 2;
/// Tokens of one text that clients may have embedded: what the model was trained on.
const MAX_TOKENS: usize = 256;

/// The model.
pub struct OwnModel {
    encoder: OnceLock<Option<Encoder>>,
    turns: Arc<Semaphore>,
    encoded: AtomicU64,
    tasks: Tasks,
}

impl OwnModel {
    pub(super) fn new(tasks: Tasks) -> OwnModel {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        OwnModel { encoder: OnceLock::new(), turns, encoded: AtomicU64::new(0), tasks }
    }

    /// Whether it is in memory.
    pub(super) fn is_loaded(&self) -> bool {
        self.encoder.get().is_some()
    }

    /// Has it loaded, behind whoever asks.
    pub(super) fn load(self: &Arc<Self>) {
        let model = self.clone();
        self.tasks.spawn_blocking(self.turns.clone(), move || {
            let _ = model.encoder();
        });
    }

    /// Texts that were encoded so far.
    pub fn encoded(&self) -> u64 {
        self.encoded.load(Ordering::Relaxed)
    }

    fn encoder(&self) -> Option<&Encoder> {
        let load = || Encoder::load().inspect_err(|error| warn!(%error, "the embedded model cannot be used")).ok();
        self.encoder.get_or_init(load).as_ref()
    }

    /// Encodes texts, each when it is its turn: nobody's many keep another's one waiting. `None` where the model cannot
    /// be used. Dropping the future gives the turn back when the text under way is done.
    pub(super) async fn encode(self: &Arc<Self>, texts: Vec<String>, limit: usize) -> Option<Vec<Sentence>> {
        let mut sentences = Vec::with_capacity(texts.len());
        for text in texts {
            let turn = self.turns.clone().acquire_owned().await.ok()?;
            let model = self.clone();
            let work = move || {
                let sentence = model.encoder()?.encode(&text, limit);
                model.encoded.fetch_add(1, Ordering::Relaxed);
                drop(turn);
                Some(sentence)
            };
            sentences.push(tokio::task::spawn_blocking(work).await.ok()??);
        }
        Some(sentences)
    }
}

impl std::fmt::Debug for OwnModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnModel").field("is_loaded", &self.is_loaded()).finish_non_exhaustive()
    }
}

/// The body that answers a request to `/v1/embeddings` for the embedded model.
///
/// # Errors
/// Tokens in place of text, a text that is too long, or dimensions that the model does not have.
pub async fn embed_request(model: &Arc<OwnModel>, call: &Call) -> Result<Vec<u8>, Refusal> {
    let Payload::Embeddings(request) = &call.payload else { return Err(Refusal::Internal) };
    let dimensions = usize::try_from(request.dimensions.unwrap_or(embedding::DIMENSIONS as u64));
    let dimensions =
        dimensions.ok().filter(|wanted| (1..=embedding::DIMENSIONS).contains(wanted)).ok_or_else(|| {
            let message = format!("`dimensions` must be from 1 to {} for this model.", embedding::DIMENSIONS);
            wire::Error::at("dimensions", Problem::InvalidValue, message)
        })?;
    let texts = embeddings::texts(&call.body)?;
    let sentences = model.encode(texts, MAX_TOKENS).await.ok_or(Refusal::Internal)?;
    if let Some(place) = sentences.iter().position(|sentence| sentence.is_truncated) {
        let message = format!("`input[{place}]` is longer than the {MAX_TOKENS} tokens that this model reads.");
        return Err(wire::Error::at(format!("input[{place}]"), Problem::InvalidValue, message).into());
    }
    let tokens = sentences.iter().map(|sentence| sentence.tokens as u64).sum();
    let vectors: Vec<Vec<f32>> = sentences.iter().map(|sentence| shortened(&sentence.vector, dimensions)).collect();
    Ok(embeddings::encode_vectors(&vectors, request.encoding, MODEL, tokens))
}

/// The first numbers of a vector, of length 1 again.
fn shortened(vector: &[f32], dimensions: usize) -> Vec<f32> {
    let part = vector.get(..dimensions).unwrap_or(vector);
    let length = part.iter().map(|value| value * value).sum::<f32>().sqrt();
    let scale = if length > 0.0 { length.recip() } else { 0.0 };
    part.iter().map(|value| value * scale).collect()
}
