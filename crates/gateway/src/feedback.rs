//! What people thought of answers, as far as routing learns from it.
//!
//! A request that was routed is remembered for a while by its id, with the numbers that stand for its prompt; words are
//! not kept. An opinion of it becomes a row of the database, and every replica adds up the rows of all.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use routing::{Evidence, Prior, Prompt, Quality};
use store::Feedback;
use tracing::warn;

use crate::clock;
use crate::directory::Offer;
use crate::gateway::Gateway;
use crate::policy::Chain;
use crate::refusal::Refusal;

/// Requests that are remembered, and for how long.
const MOST: u64 = 20_000;
const REMEMBERED: Duration = Duration::from_secs(24 * 3_600);
/// How often other replicas' opinions are looked for.
const LOOK: Duration = Duration::from_secs(5);
/// Opinions that count: the latest.
const LATEST: i64 = 50_000;
/// Rows that are read at a time.
const CHUNK: u32 = 1_000;

/// The requests of late.
pub struct Asked(Cache<Arc<str>, Option<Answered>>);

/// One request and who answered it.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Who answered.
    pub provider: Arc<str>,
    /// With which model.
    pub model: Arc<str>,
    /// The prompt in numbers.
    pub prompt: Prompt,
}

/// What was learned of each model, by provider and model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opinions(HashMap<(String, String), Evidence>);

impl Default for Asked {
    fn default() -> Asked {
        Asked(Cache::builder().max_capacity(MOST).time_to_live(REMEMBERED).build())
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("known", &self.0.entry_count()).finish()
    }
}

impl Asked {
    /// Remembers who answered a request.
    pub fn answered(&self, request_id: &Arc<str>, answered: Answered) {
        // Ids may be the clients' own: an opinion of one that came twice could be of either.
        let is_known = self.0.contains_key(request_id);
        self.0.insert(request_id.clone(), (!is_known).then_some(answered));
    }

    fn get(&self, request_id: &str) -> Result<Answered, Refusal> {
        let known = self.0.get(request_id).ok_or(Refusal::NotFound { what: "routed request" })?;
        known.ok_or(Refusal::Conflict("Several requests had this id, so that the opinion could be of any of them."))
    }
}

impl Opinions {
    /// How well an offer answers: the catalogue's word, and what people thought.
    pub fn quality(&self, offer: &Offer) -> Quality {
        let key = (offer.provider.name.to_string(), offer.model.to_string());
        let feedback = self.0.get(&key);
        let none = Evidence::none();
        Quality::new(&Prior::overall(offer.facts.quality), &none, feedback.unwrap_or(&none))
    }

    /// Whether nothing was learned.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what others say.
    pub fn merge(&mut self, other: Opinions) {
        for (model, evidence) in other.0 {
            self.0.entry(model).or_default().merge(&evidence);
        }
    }

    fn add(&mut self, row: Feedback) {
        let read = |text: String| serde_json::from_str::<Evidence>(&text).ok();
        // What another version wrote cannot be read, and teaches nothing.
        let Some(evidence) = row.evidence.and_then(read) else { return };
        self.0.entry((row.provider, row.model)).or_default().merge(&evidence);
    }
}

/// Takes an opinion of a request: `score` is the share of a perfect answer, 0 to 1.
///
/// # Errors
/// Nobody remembers the request or its id came twice, there is an opinion of it, or the database does not answer.
pub async fn give(gateway: &Gateway, request_id: &str, score: f64) -> Result<Answered, Refusal> {
    let live = gateway.registry.snapshot();
    let answered = live.memory.asked.get(request_id)?;
    let mut evidence = Evidence::none();
    evidence.observe(&answered.prompt, score);
    let row = Feedback {
        request_id: request_id.to_owned(),
        at_ms: clock::unix_millis(),
        provider: answered.provider.to_string(),
        model: answered.model.to_string(),
        score_thousandths: (score * 1e3).round() as i64,
        evidence: serde_json::to_string(&evidence).ok(),
    };
    match gateway.store.add_feedback(&row).await {
        Ok(()) => Ok(answered),
        Err(store::Error::Conflict(_)) => Err(Refusal::Conflict("There is an opinion of this request already.")),
        Err(error) => {
            warn!(error = %Chain(&error), "an opinion could not be written");
            Err(Refusal::StoreUnavailable)
        }
    }
}

/// Learns from the opinions in the database, those of other replicas too.
pub async fn watch(gateway: Arc<Gateway>) {
    let stop = gateway.tasks.draining().clone();
    let mut seen = None;
    loop {
        // The task that reads the keys tells of a database that is away.
        if let Err(error) = learn(&gateway, &mut seen).await {
            tracing::debug!(error = %Chain(&error), "opinions cannot be read");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Reads on after number `seen`, which follows what was learned: nothing is learned twice.
async fn learn(gateway: &Gateway, seen: &mut Option<i64>) -> Result<(), store::Error> {
    let last = gateway.store.last_feedback().await?;
    let seen = seen.get_or_insert(last.saturating_sub(LATEST));
    while *seen < last {
        let rows = gateway.store.feedback_after(*seen, CHUNK).await?;
        let Some((number, _)) = rows.last() else {
            *seen = last;
            return Ok(());
        };
        *seen = *number;
        let mut opinions = Opinions::default();
        rows.into_iter().for_each(|(_, row)| opinions.add(row));
        gateway.registry.learn(opinions);
    }
    Ok(())
}
