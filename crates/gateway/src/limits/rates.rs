//! What a key may do in a minute and at one time: in this process, or in Redis for all replicas together.
//!
//! Redis does the sums of [`super::bucket`] in one script a step. While it is away each replica allows its share of the
//! limits by itself. Keys without such limits come through here without a lock.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use redis::Script;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::bucket::{Bucket, MOST_PER_MINUTE, Window};
use crate::clock;
use crate::shared::{Shared, Unavailable};

/// Retry-After of a key that has as many requests running as it may: nobody knows when one ends.
const PLACE_WAIT: Duration = Duration::from_secs(1);
/// After this long a request has ended, whatever became of its replica: the longest stream and a margin.
const LIFETIME_MS: u64 = 1_000_000;
/// Steps that wait to be told to Redis; more are dropped, and what they would have freed frees itself in time.
const WAITING: usize = 4_096;

/// The limits of a key; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests a minute.
    pub rpm: Option<u64>,
    /// Tokens a minute.
    pub tpm: Option<u64>,
    /// Requests at one time.
    pub max_concurrent: Option<u64>,
}

/// What one key did lately.
#[derive(Debug)]
pub struct Meter {
    id: String,
    // A std mutex: its sections are a few sums and never wait.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    requests: Bucket,
    tokens: Bucket,
    active: u64,
}

/// How a key's limits stand; `None` where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateStatus {
    /// Requests a minute.
    pub requests: Option<Window>,
    /// Tokens a minute.
    pub tokens: Option<Window>,
}

/// Why a request was not let in.
#[derive(Clone, Debug)]
pub struct RateRefusal {
    /// Which limit.
    pub kind: RateKind,
    /// When there is room again.
    pub retry_after: Duration,
    /// How the limits stand.
    pub status: RateStatus,
}

/// Which limit was in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateKind {
    /// Requests a minute.
    Requests,
    /// Requests at one time.
    Concurrency,
    /// Tokens a minute.
    Tokens,
}

/// Keeps the limits.
#[derive(Debug)]
pub struct Rates {
    redis: Option<Redis>,
    replicas: NonZeroU64,
}

#[derive(Debug)]
struct Redis {
    shared: Arc<Shared>,
    script: Script,
    later: mpsc::Sender<Later>,
    // Taken once by the task that empties it.
    waiting: Mutex<Option<mpsc::Receiver<Later>>>,
}

/// A step that no request waits for.
#[derive(Debug)]
struct Later {
    step: &'static str,
    key: String,
    limits: RateLimits,
    request: String,
    tokens: i64,
}

/// A request that was let in. Dropping it frees its place.
#[derive(Debug)]
pub struct Admitted {
    limits: RateLimits,
    status: RateStatus,
    taken: u64,
    place: Place,
}

/// Where a request is counted.
#[derive(Debug)]
enum Place {
    /// Nowhere: its key has no limits.
    None,
    Here(Arc<Meter>),
    Redis {
        meter: Arc<Meter>,
        request: String,
        later: mpsc::Sender<Later>,
    },
}

impl Meter {
    /// The meter of that key.
    pub fn new(id: &str) -> Meter {
        Meter { id: id.to_owned(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn admit(&self, limits: RateLimits, now_ms: i64) -> Result<RateStatus, RateRefusal> {
        let mut state = self.state();
        if limits.max_concurrent.is_some_and(|most| state.active >= most) {
            return Err(state.refusal(RateKind::Concurrency, PLACE_WAIT, limits, now_ms));
        }
        let requests = limits.rpm.and_then(|rpm| state.requests.wait(rpm, 1, now_ms).err());
        let tokens = limits.tpm.and_then(|tpm| state.tokens.wait(tpm, 1, now_ms).err());
        // Of two waits the longer one: after the shorter the other limit would refuse.
        match (requests, tokens) {
            (Some(wait), other) if Some(wait) >= other => {
                return Err(state.refusal(RateKind::Requests, wait, limits, now_ms));
            }
            (_, Some(wait)) => return Err(state.refusal(RateKind::Tokens, wait, limits, now_ms)),
            (_, None) => {}
        }
        if let Some(rpm) = limits.rpm {
            let taken = state.requests.take(rpm, 1, now_ms);
            debug_assert!(taken.is_ok(), "there was no wait");
        }
        state.active = state.active.saturating_add(1);
        Ok(state.status(limits, now_ms))
    }

    fn take_tokens(&self, limits: RateLimits, tokens: u64, now_ms: i64) -> Result<RateStatus, RateRefusal> {
        let mut state = self.state();
        let taken = limits.tpm.map_or(Ok(()), |tpm| state.tokens.take(tpm, tokens, now_ms));
        taken.map_err(|wait| state.refusal(RateKind::Tokens, wait, limits, now_ms))?;
        Ok(state.status(limits, now_ms))
    }
}

impl State {
    fn status(&mut self, limits: RateLimits, now_ms: i64) -> RateStatus {
        RateStatus {
            requests: limits.rpm.map(|rpm| self.requests.window(rpm, now_ms)),
            tokens: limits.tpm.map(|tpm| self.tokens.window(tpm, now_ms)),
        }
    }

    fn refusal(&mut self, kind: RateKind, retry_after: Duration, limits: RateLimits, now_ms: i64) -> RateRefusal {
        RateRefusal { kind, retry_after, status: self.status(limits, now_ms) }
    }
}

impl RateLimits {
    fn are_none(self) -> bool {
        self == RateLimits::default()
    }

    /// One replica's part.
    fn share(self, replicas: NonZeroU64) -> RateLimits {
        let part = |limit: Option<u64>| limit.map(|limit| (limit / replicas).max(1));
        RateLimits { rpm: part(self.rpm), tpm: part(self.tpm), max_concurrent: part(self.max_concurrent) }
    }
}

impl Rates {
    /// Limits of this process, or of all `replicas` that share a Redis.
    pub fn new(shared: Option<Arc<Shared>>, replicas: usize) -> Rates {
        let redis = shared.map(|shared| {
            let (later, waiting) = mpsc::channel(WAITING);
            Redis { shared, script: Script::new(include_str!("rates.lua")), later, waiting: Mutex::new(Some(waiting)) }
        });
        let replicas = u64::try_from(replicas).ok().and_then(NonZeroU64::new).unwrap_or(NonZeroU64::MIN);
        Rates { redis, replicas }
    }

    /// Lets one request of a key in: it takes a request of the minute and a place, both or none. Nothing is let in
    /// while the tokens of the minute are used up.
    ///
    /// # Errors
    /// A limit is used up.
    pub async fn admit(&self, meter: &Arc<Meter>, limits: RateLimits, request: &str) -> Result<Admitted, RateRefusal> {
        if limits.are_none() {
            return Ok(Admitted { limits, status: RateStatus::default(), taken: 0, place: Place::None });
        }
        if let Some(redis) = &self.redis {
            // A client may use one id twice at one time, and each has its place.
            let request = format!("{request}-{:x}", fastrand::u32(..));
            if let Ok(admitted) = redis.step("admit", &meter.id, limits, &request, 0).await {
                let status = admitted?;
                let (meter, later) = (meter.clone(), redis.later.clone());
                return Ok(Admitted { limits, status, taken: 0, place: Place::Redis { meter, request, later } });
            }
        }
        let limits = if self.redis.is_some() { limits.share(self.replicas) } else { limits };
        let status = meter.admit(limits, clock::monotonic_millis())?;
        Ok(Admitted { limits, status, taken: 0, place: Place::Here(meter.clone()) })
    }

    /// Takes tokens of the minute; more than the limit take all of it.
    ///
    /// # Errors
    /// There are not as many at present.
    pub async fn take_tokens(&self, admitted: &mut Admitted, tokens: u64) -> Result<(), RateRefusal> {
        let limits = admitted.limits;
        let Some(tpm) = limits.tpm else { return Ok(()) };
        let told = match (&admitted.place, &self.redis) {
            (Place::None, _) => return Ok(()),
            (Place::Redis { meter, request, .. }, Some(redis)) => {
                let tokens = i64::try_from(tokens).unwrap_or(i64::MAX);
                redis.step("take", &meter.id, limits, request, tokens).await
            }
            (Place::Redis { .. } | Place::Here(_), _) => Err(Unavailable),
        };
        admitted.status = match (told, &admitted.place) {
            (Ok(taken), _) => taken?,
            (Err(Unavailable), Place::Here(meter)) => meter.take_tokens(limits, tokens, clock::monotonic_millis())?,
            // Redis went away in between: the share that is counted here was not asked before, and is now.
            (Err(Unavailable), Place::Redis { meter, .. }) => {
                meter.take_tokens(limits.share(self.replicas), tokens, clock::monotonic_millis())?
            }
            (Err(Unavailable), Place::None) => return Ok(()),
        };
        admitted.taken = tokens.min(tpm);
        Ok(())
    }

    /// Tells Redis what no request waits for, until `stop`, and then what is left.
    pub async fn run(&self, stop: CancellationToken) {
        let Some(redis) = &self.redis else { return };
        let waiting = redis.waiting.lock().take();
        let Some(mut waiting) = waiting else { return };
        loop {
            let later = tokio::select! {
                later = waiting.recv() => later,
                () = stop.cancelled() => waiting.try_recv().ok(),
            };
            let Some(Later { step, key, limits, request, tokens }) = later else { return };
            // Redis being away costs a place until it expires, or tokens that drain by themselves.
            let _ = redis.step(step, &key, limits, &request, tokens).await;
        }
    }
}

impl Redis {
    async fn step(
        &self,
        step: &str,
        key: &str,
        limits: RateLimits,
        request: &str,
        tokens: i64,
    ) -> Result<Result<RateStatus, RateRefusal>, Unavailable> {
        let limit = |limit: Option<u64>| limit.unwrap_or(0).min(MOST_PER_MINUTE).to_string();
        let keys = [format!("gw:rate:{{{key}}}"), format!("gw:active:{{{key}}}")];
        let arguments = [
            step.to_owned(),
            String::new(),
            limit(limits.rpm),
            limit(limits.tpm),
            limit(limits.max_concurrent),
            request.to_owned(),
            LIFETIME_MS.to_string(),
            tokens.to_string(),
        ];
        let told: [u64; 6] = self.shared.run(&self.script, &keys, &arguments).await?;
        Ok(read(limits, told))
    }
}

/// The script's answer.
fn read(limits: RateLimits, told: [u64; 6]) -> Result<RateStatus, RateRefusal> {
    let [code, wait, requests_left, requests_reset, tokens_left, tokens_reset] = told;
    let window = |limit: Option<u64>, remaining, reset| {
        limit.map(|limit| Window { limit, remaining, reset: Duration::from_millis(reset) })
    };
    let status = RateStatus {
        requests: window(limits.rpm, requests_left, requests_reset),
        tokens: window(limits.tpm, tokens_left, tokens_reset),
    };
    let kind = match code {
        0 => return Ok(status),
        1 => RateKind::Requests,
        2 => RateKind::Concurrency,
        _ => RateKind::Tokens,
    };
    Err(RateRefusal { kind, retry_after: Duration::from_millis(wait), status })
}

impl Admitted {
    /// How the key's limits stood when this request had taken its part.
    pub fn status(&self) -> RateStatus {
        self.status
    }

    /// Whether the key has a limit of tokens a minute.
    pub fn counts_tokens(&self) -> bool {
        self.limits.tpm.is_some()
    }

    /// Corrects the tokens that were taken to those that were used.
    pub fn settle_tokens(&self, actual: u64) {
        let Some(tpm) = self.limits.tpm else { return };
        let signed = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        let delta = signed(actual).saturating_sub(signed(self.taken));
        match &self.place {
            Place::None => {}
            Place::Here(meter) => meter.state().tokens.adjust(tpm, delta, clock::monotonic_millis()),
            Place::Redis { .. } => self.later("settle", delta),
        }
    }

    fn later(&self, step: &'static str, tokens: i64) {
        if let Place::Redis { meter, request, later } = &self.place {
            let (key, request) = (meter.id.clone(), request.clone());
            // Full means that Redis is away: the place expires, the tokens drain.
            let _ = later.try_send(Later { step, key, limits: self.limits, request, tokens });
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        match &self.place {
            Place::None => {}
            Place::Here(meter) => {
                let mut state = meter.state();
                state.active = state.active.saturating_sub(1);
            }
            Place::Redis { .. } => {
                if self.limits.max_concurrent.is_some() {
                    self.later("release", 0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
