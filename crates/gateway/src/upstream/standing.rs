//! What requests have learned of a provider: whether a model's breaker is open, which credentials are of use, how much
//! of its rate limits is left. It outlives the directory that names the provider.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use parking_lot::Mutex;
use routing::Availability;
use secrecy::{ExposeSecret, SecretString};
use tower::retry::budget::{Budget, TpsBudget};
use wire::Dialect;

use super::breaker::{Admission, Breaker, BreakerState};
use super::failure::{Failure, Harm, Kind};
use crate::clock::{self, Instant};
use crate::config::{CredentialConfig, ProviderConfig};
use crate::directory::Offer;

/// A credential that was refused, or whose account is empty, is tried again after this.
const RETIREMENT: Duration = Duration::from_secs(300);
/// A rest where the provider names no time: the first, doubled each time up to the longest.
const REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// Below this share of a rate limit, requests go elsewhere where they can.
const SHORT: f64 = 0.1;
/// How long the provider's word about its limits counts where it does not say.
const HEADROOM_LASTS: Duration = Duration::from_secs(10);
/// Retries of one provider: this share of its recent requests, and so many a second besides.
const RETRY_SHARE: f32 = 0.2;
const RETRIES_A_SECOND: u32 = 3;
/// Hedges: as retries, of all requests that may be hedged.
const HEDGE_SHARE: f32 = 0.05;
const HEDGES_A_SECOND: u32 = 1;
/// Requests of which one is told to the budget.
const DEPOSIT: u32 = 16;
const RETRY_WINDOW: Duration = Duration::from_secs(10);

/// What opens a provider's door.
pub struct Credential {
    how: How,
    /// How often it is used in relation to others.
    weight: u32,
    secret: Option<SecretString>,
    /// Whether there is anything in `retired`, so that most requests need no lock to know.
    is_retired: AtomicBool,
    retired: Mutex<Option<(Instant, &'static str)>>,
}

enum How {
    Nothing,
    Header(HeaderName, HeaderValue),
    /// `name=secret`, at the end of the URL.
    Query(String),
}

/// All that is known of one model at one provider.
#[derive(Debug)]
pub struct Standing {
    // A std mutex: held to look and count, never across an await.
    learned: Mutex<Learned>,
}

#[derive(Debug, Default)]
struct Learned {
    breaker: Breaker,
    /// One a credential.
    lanes: Vec<Lane>,
    is_touched: bool,
}

#[derive(Debug, Default)]
struct Lane {
    rests_until: Option<Instant>,
    /// Rests in a row without a time named.
    rests: u32,
    headroom: Option<Headroom>,
}

/// What is left of a provider's rate limits: the smallest share, and until when that counts.
#[derive(Clone, Copy, Debug)]
struct Headroom {
    share: f64,
    until: Instant,
}

/// A budget of attempts beyond the first: retries that a provider may be burdened with, or hedges.
pub struct Retries(TpsBudget);

/// A request's way in at one offer. It ends in [`Pass::succeeded`] or [`Pass::failed`]; dropped, it says nothing about
/// the provider.
#[derive(Debug)]
pub struct Pass {
    door: Door,
    admission: Admission,
    is_told: bool,
}

/// Where a request goes in, and with which credential.
#[derive(Clone, Debug)]
pub struct Door {
    offer: Arc<Offer>,
    credential: usize,
}

/// Nobody is let through at the moment.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// When that may change.
    pub until: Instant,
    /// Why.
    pub why: Why,
}

/// Why nobody is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The breaker is open.
    Open,
    /// Every credential is refused or without money.
    Retired,
    /// The provider asked for a rest.
    Resting,
}

impl Why {
    /// The word in the answer's metadata.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Open => "circuit_open",
            Why::Retired => "credentials_retired",
            Why::Resting => "resting",
        }
    }
}

/// One offer, as `/api/circuit-breakers` shows it.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Closed, half-open or open.
    pub state: BreakerState,
    /// Failures since the last success.
    pub failures_in_a_row: u32,
    /// When the next request is let through, where none is now.
    pub until: Option<Instant>,
    /// Why none is.
    pub why: Option<Why>,
    /// Whether it has been used at all.
    pub is_touched: bool,
}

impl Credential {
    /// The credentials of a provider, at least one; the same as before where nothing changed.
    pub fn of(config: &ProviderConfig, previous: &[Arc<Credential>]) -> Vec<Arc<Credential>> {
        if config.credentials.is_empty() {
            let known = previous.iter().find(|known| known.secret.is_none());
            return vec![known.cloned().unwrap_or_else(|| Arc::new(Credential::none()))];
        }
        let credential = |entry: &CredentialConfig| {
            let made = Credential::new(config, entry)?;
            let known = previous.iter().find(|known| known.is_same(&made));
            Some(known.cloned().unwrap_or_else(|| Arc::new(made)))
        };
        config.credentials.iter().filter_map(credential).collect()
    }

    fn none() -> Credential {
        Credential {
            how: How::Nothing,
            weight: 1,
            secret: None,
            is_retired: AtomicBool::default(),
            retired: Mutex::default(),
        }
    }

    fn new(config: &ProviderConfig, entry: &CredentialConfig) -> Option<Credential> {
        let key = entry.key.expose_secret();
        let header = |name: HeaderName, value: String| {
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            Some(How::Header(name, value))
        };
        let how = match &config.auth {
            catalog::Auth::None => How::Nothing,
            catalog::Auth::Bearer => header(http::header::AUTHORIZATION, format!("Bearer {key}"))?,
            catalog::Auth::Header(name) => header(HeaderName::try_from(name.as_str()).ok()?, key.to_owned())?,
            catalog::Auth::Query(name) => How::Query(format!("{name}={key}")),
        };
        let (weight, secret) = (entry.weight, Some(entry.key.clone()));
        Some(Credential { how, weight, secret, is_retired: AtomicBool::default(), retired: Mutex::default() })
    }

    fn is_same(&self, other: &Credential) -> bool {
        let secret = |of: &Credential| of.secret.as_ref().map(|secret| secret.expose_secret().to_owned());
        secret(self) == secret(other) && self.weight == other.weight
    }

    /// Adds itself to a request.
    pub fn sign(&self, uri: &mut Uri, headers: &mut HeaderMap) {
        match &self.how {
            How::Nothing => {}
            How::Header(name, value) => drop(headers.insert(name.clone(), value.clone())),
            How::Query(pair) => {
                let mut parts = std::mem::take(uri).into_parts();
                let path = parts.path_and_query.as_ref().map_or("/", |path| path.as_str());
                let mark = if path.contains('?') { '&' } else { '?' };
                parts.path_and_query = format!("{path}{mark}{pair}").parse().ok().or(parts.path_and_query);
                *uri = Uri::from_parts(parts).unwrap_or_default();
            }
        }
    }

    /// Since when it is of no use, and why.
    pub fn retired(&self, now: Instant) -> Option<(Instant, &'static str)> {
        if !self.is_retired.load(Ordering::Acquire) {
            return None;
        }
        self.retired.lock().filter(|(until, _)| now < *until)
    }

    fn retire(&self, until: Instant, code: &'static str) {
        *self.retired.lock() = Some((until, code));
        self.is_retired.store(true, Ordering::Release);
    }

    fn reinstate(&self) {
        if self.is_retired.load(Ordering::Acquire) && self.is_retired.swap(false, Ordering::AcqRel) {
            *self.retired.lock() = None;
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("weight", &self.weight).field("retired", &self.retired).finish()
    }
}

impl Standing {
    /// Nothing is known yet; of a provider with so many credentials.
    pub fn new(credentials: usize) -> Standing {
        let lanes = std::iter::repeat_with(Lane::default).take(credentials).collect();
        Standing { learned: Mutex::new(Learned { lanes, ..Learned::default() }) }
    }

    /// Whether a request would be let through.
    pub fn is_open_for(&self, offer: &Offer, now: Instant) -> bool {
        if !offer.provider.config.has_breaker {
            return true;
        }
        let learned = self.learned.lock();
        learned.breaker.state(now).0 != BreakerState::Open && usable(offer, &learned, now).next().is_some()
    }

    /// Whether it can be asked now, for the router: one look for everything that [`Standing::is_open_for`] and
    /// [`Standing::is_short`] tell.
    pub fn availability(&self, offer: &Offer, now: Instant) -> Availability {
        let learned = self.learned.lock();
        let has_breaker = offer.provider.config.has_breaker;
        let mut lanes = usable(offer, &learned, now).peekable();
        let is_open = learned.breaker.state(now).0 != BreakerState::Open && lanes.peek().is_some();
        if has_breaker && !is_open {
            return Availability::Unreachable;
        }
        let is_short = lanes.peek().is_some()
            && lanes.all(|place| learned.lanes.get(place).is_some_and(|lane| lane.is_short(now)));
        if is_short { Availability::Short } else { Availability::Ready }
    }

    /// Whether so little is left of the provider's rate limits that requests better go elsewhere.
    pub fn is_short(&self, offer: &Offer, now: Instant) -> bool {
        let learned = self.learned.lock();
        let mut lanes = usable(offer, &learned, now).peekable();
        lanes.peek().is_some() && lanes.all(|place| learned.lanes.get(place).is_some_and(|lane| lane.is_short(now)))
    }

    /// What is known, for people.
    pub fn report(&self, offer: &Offer, now: Instant) -> Report {
        let learned = self.learned.lock();
        let (state, until) = learned.breaker.state(now);
        let mut report = Report {
            state,
            failures_in_a_row: learned.breaker.failures_in_a_row(),
            until,
            why: until.map(|_| Why::Open),
            is_touched: learned.is_touched,
        };
        if let Some(closed) = no_credential(offer, &learned, now) {
            report.state = BreakerState::Open;
            (report.until, report.why) = (Some(closed.until), Some(closed.why));
        }
        report
    }

    /// Notes what an answer says of the provider's rate limits.
    fn note_headroom(&self, dialect: Dialect, credential: usize, headers: &HeaderMap, now: Instant) {
        let Some(headroom) = Headroom::read(dialect, headers, now) else { return };
        if let Some(lane) = self.learned.lock().lanes.get_mut(credential) {
            lane.headroom = Some(headroom);
        }
    }
}

impl Lane {
    fn is_resting(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }

    fn is_short(&self, now: Instant) -> bool {
        self.headroom.is_some_and(|headroom| now < headroom.until && headroom.share < SHORT)
    }

    /// Lets it rest for as long as the provider named, or longer each time; returns how long.
    fn rest(&mut self, named: Option<Duration>, now: Instant) -> Duration {
        let wait = named.unwrap_or_else(|| REST.saturating_mul(1 << self.rests.min(8)).min(LONGEST_REST));
        if named.is_none() {
            self.rests = self.rests.saturating_add(1);
        }
        self.rests_until = Some(now + wait);
        wait
    }
}

/// The credentials by which the offer can be asked now.
fn usable<'a>(offer: &'a Offer, learned: &'a Learned, now: Instant) -> impl Iterator<Item = usize> + 'a {
    let credentials = offer.provider.credentials.iter().enumerate();
    credentials.filter_map(move |(place, credential)| {
        let is_resting = learned.lanes.get(place).is_some_and(|lane| lane.is_resting(now));
        (!is_resting && credential.retired(now).is_none()).then_some(place)
    })
}

/// Why the offer has no credential that can be used, if that is so.
fn no_credential(offer: &Offer, learned: &Learned, now: Instant) -> Option<Closed> {
    if usable(offer, learned, now).next().is_some() {
        return None;
    }
    let resting = learned.lanes.iter().filter_map(|lane| lane.rests_until).filter(|until| now < *until).min();
    let retired = offer.provider.credentials.iter().filter_map(|credential| credential.retired(now)).map(|it| it.0);
    match (resting, retired.min()) {
        (Some(until), _) => Some(Closed { until, why: Why::Resting }),
        (None, Some(until)) => Some(Closed { until, why: Why::Retired }),
        (None, None) => Some(Closed { until: now + RETIREMENT, why: Why::Retired }),
    }
}

impl Door {
    /// What opens the door.
    pub fn credential(&self) -> Option<&Credential> {
        self.offer.provider.credentials.get(self.credential).map(|credential| &**credential)
    }

    /// Notes what an answer says of the provider's rate limits.
    pub fn heard(&self, headers: &HeaderMap, now: Instant) {
        self.offer.standing.note_headroom(self.offer.dialect(), self.credential, headers, now);
    }
}

impl Pass {
    /// Lets a request in, or says why not. Where it `is_last`, and nobody else can serve, one a second goes to a provider
    /// whose breaker is open or whose credentials are retired; a rest that the provider asked for is kept.
    ///
    /// # Errors
    /// When and why that will be otherwise.
    pub fn enter(offer: &Arc<Offer>, now: Instant, is_last: bool) -> Result<Pass, Closed> {
        let mut learned = offer.standing.learned.lock();
        learned.is_touched = true;
        let closed = no_credential(offer, &learned, now);
        let admission = match closed {
            _ if !offer.provider.config.has_breaker => Admission::Pass,
            Some(closed) if closed.why == Why::Resting || !is_last => return Err(closed),
            Some(_) => learned.breaker.trickle(now),
            None if is_last => learned.breaker.admit_last(now),
            None => learned.breaker.admit(now),
        };
        if let Admission::Refused(until) = admission {
            return Err(closed.unwrap_or(Closed { until, why: Why::Open }));
        }
        let credential = choose(offer, &learned, now);
        Ok(Pass { door: Door { offer: offer.clone(), credential }, admission, is_told: false })
    }

    /// Where it leads in.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// The provider has answered.
    pub fn succeeded(&mut self, now: Instant) {
        if std::mem::replace(&mut self.is_told, true) {
            return;
        }
        let mut learned = self.door.offer.standing.learned.lock();
        learned.breaker.succeeded(self.admission, now);
        if let Some(lane) = learned.lanes.get_mut(self.door.credential) {
            lane.rests = 0;
        }
        drop(learned);
        if let Some(credential) = self.door.credential() {
            credential.reinstate();
        }
    }

    /// The provider has failed. `is_again` says that this request has failed there before. Returns how long the provider
    /// rests, where it does.
    pub fn failed(&mut self, failure: &Failure, is_again: bool, now: Instant) -> Option<Duration> {
        self.is_told = true;
        let rule = failure.kind.rule();
        let mut learned = self.door.offer.standing.learned.lock();
        let jitter = fastrand::f64();
        match rule.harm {
            Harm::None => learned.breaker.released(self.admission),
            Harm::IfAgain if !is_again => learned.breaker.released(self.admission),
            // Somebody's typing error must not close the provider's other unlisted models.
            Harm::Opens if self.door.offer.is_unlisted() && matches!(failure.kind, Kind::ModelNotFound) => {
                learned.breaker.released(self.admission);
            }
            Harm::IfAgain | Harm::Counts => learned.breaker.failed(self.admission, now, jitter),
            Harm::Opens => learned.breaker.open(now, jitter),
            Harm::Retires => {
                learned.breaker.released(self.admission);
                if let Some(credential) = self.door.offer.provider.credentials.get(self.door.credential) {
                    credential.retire(now + RETIREMENT, rule.code);
                }
            }
            Harm::Rests => {
                learned.breaker.released(self.admission);
                return learned.lanes.get_mut(self.door.credential).map(|lane| lane.rest(failure.retry_after, now));
            }
        }
        None
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.is_told {
            self.door.offer.standing.learned.lock().breaker.released(self.admission);
        }
    }
}

/// One of the usable credentials, by weight; those with little headroom only where all have. Any, where none is usable.
fn choose(offer: &Offer, learned: &Learned, now: Instant) -> usize {
    let credentials = &offer.provider.credentials;
    if credentials.len() < 2 {
        return 0;
    }
    let is_roomy = |place: &usize| learned.lanes.get(*place).is_none_or(|lane| !lane.is_short(now));
    let mut choice: Vec<usize> = usable(offer, learned, now).filter(is_roomy).collect();
    if choice.is_empty() {
        choice = usable(offer, learned, now).collect();
    }
    let weight = |place: &usize| credentials.get(*place).map_or(0, |credential| u64::from(credential.weight));
    let total: u64 = choice.iter().map(weight).sum();
    let mut drawn = fastrand::u64(..total.max(1));
    let chosen = choice.iter().find(|place| {
        let weight = weight(place);
        let is_drawn = drawn < weight;
        drawn = drawn.saturating_sub(weight);
        is_drawn
    });
    chosen.copied().unwrap_or_else(|| fastrand::usize(..credentials.len()))
}

impl Headroom {
    /// The smallest share that the dialect's headers tell of: requests or tokens that are left.
    fn read(dialect: Dialect, headers: &HeaderMap, now: Instant) -> Option<Headroom> {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
        let share = |left: &str, limit: &str, reset: &str| {
            let share = number(left)? / number(limit).filter(|limit| *limit > 0.0)?;
            let lasts = headers.get(reset).and_then(|value| value.to_str().ok()).and_then(lasts);
            let until = now + lasts.unwrap_or(HEADROOM_LASTS).min(LONGEST_REST);
            share.is_finite().then_some(Headroom { share, until })
        };
        let [requests, tokens] =
            wire::rate_limit_headers(dialect).map(|[left, limit, reset]| share(left, limit, reset));
        match (requests, tokens) {
            (Some(requests), Some(tokens)) => Some(if tokens.share < requests.share { tokens } else { requests }),
            (one, other) => one.or(other),
        }
    }
}

/// How long until all is there again: a time, or the moment as Anthropic's headers have it.
fn lasts(text: &str) -> Option<Duration> {
    duration(text).or_else(|| {
        let at = text.trim().parse::<jiff::Timestamp>().ok()?.as_second();
        Duration::try_from_secs_f64(at.saturating_sub(clock::unix_seconds()) as f64).ok()
    })
}

/// A time as OpenAI's headers have it: `20ms`, `1.5s`, `6m0s`, `1h2m3s`.
fn duration(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let letters = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(letters)?;
        let unit = match unit {
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * unit;
        rest = next;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

impl Retries {
    /// Notes a request that is not a retry. Few of them are told to the budget, each for many: telling takes a lock.
    pub fn deposit(&self) {
        if fastrand::u32(..DEPOSIT) == 0 {
            self.0.deposit();
        }
    }

    /// Whether one more retry is allowed, and counts it.
    pub fn withdraw(&self) -> bool {
        self.0.withdraw()
    }
}

impl Default for Retries {
    fn default() -> Retries {
        Retries(TpsBudget::new(RETRY_WINDOW, RETRIES_A_SECOND, RETRY_SHARE * DEPOSIT as f32))
    }
}

impl Retries {
    /// The second attempts of hedged requests, over all providers.
    pub fn for_hedges() -> Retries {
        Retries(TpsBudget::new(RETRY_WINDOW, HEDGES_A_SECOND, HEDGE_SHARE * DEPOSIT as f32))
    }
}

impl fmt::Debug for Retries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retries").finish_non_exhaustive()
    }
}
