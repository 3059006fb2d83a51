//! Who is asking: gateway keys in memory, told from a request's headers alone. No database is asked.
//!
//! A ring of keys is swapped whole when [`crate::policy`] sees a change; what a key has used (its meter, its account)
//! is kept by id and outlives the ring.

pub mod registrar;
pub mod secret;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderMap, header};
use parking_lot::Mutex;
use secrecy::ExposeSecret;
use store::ANONYMOUS;
use subtle::ConstantTimeEq;

use crate::clock;
use crate::config::{AuthMode, Config};
use crate::limits::budget::Ceiling;
use crate::limits::budgets::{Account, Budgets};
use crate::limits::rates::{Meter, RateLimits};
use crate::refusal::Refusal;
use secret::Hasher;

/// A gateway key without its secret, and what it has used.
#[derive(Debug)]
pub struct Caller {
    /// The key as it is kept; `None` for requests without one.
    pub key: Option<store::Key>,
    /// Its id, or [`ANONYMOUS`].
    pub id: Arc<str>,
    /// What it may do in a minute and at one time.
    pub rates: RateLimits,
    /// What it did of that.
    pub meter: Arc<Meter>,
    /// What it may use in a month.
    pub ceiling: Ceiling,
    /// What it used.
    pub account: Arc<Account>,
}

/// The keys in force.
#[derive(Debug)]
pub struct Keys {
    ring: ArcSwap<Ring>,
    anonymous: Arc<Caller>,
    budgets: Arc<Budgets>,
    // A std mutex: taken when the ring changes, never by a request.
    meters: Mutex<HashMap<String, Arc<Meter>>>,
}

/// One state of the keys.
#[derive(Debug, Default)]
struct Ring {
    /// What keys are hashed with; `None` before the database was read.
    hasher: Option<Hasher>,
    by_hash: HashMap<[u8; 32], Arc<Caller>>,
    callers: Vec<Arc<Caller>>,
    admin: Option<[u8; 32]>,
}

/// What the ring is made of, as the database has it.
#[derive(Debug)]
pub struct Policy {
    /// What keys are hashed with.
    pub hasher: Hasher,
    /// Every key that was ever made.
    pub keys: Vec<store::Key>,
    /// The hash of the admin key that was made at the first start; `None` where the operator chose one.
    pub admin: Option<[u8; 32]>,
}

impl Keys {
    /// No key is known yet.
    pub fn new(budgets: Arc<Budgets>) -> Keys {
        let anonymous = Caller {
            key: None,
            id: ANONYMOUS.into(),
            rates: RateLimits::default(),
            meter: Arc::new(Meter::new(ANONYMOUS)),
            ceiling: Ceiling::default(),
            account: budgets.account(ANONYMOUS),
        };
        Keys { ring: ArcSwap::default(), anonymous: Arc::new(anonymous), budgets, meters: Mutex::default() }
    }

    /// Puts what the database says in force, at once and for every request that comes after.
    pub fn install(&self, policy: Policy) {
        let mut meters = self.meters.lock();
        let callers: Vec<Arc<Caller>> = policy.keys.into_iter().map(|key| self.caller(key, &mut meters)).collect();
        let by_hash = callers.iter().filter_map(|caller| Some((caller.key.as_ref()?.hash, caller.clone()))).collect();
        self.ring.store(Arc::new(Ring { hasher: Some(policy.hasher), by_hash, callers, admin: policy.admin }));
    }

    fn caller(&self, key: store::Key, meters: &mut HashMap<String, Arc<Meter>>) -> Arc<Caller> {
        let meter = meters.entry(key.id.clone()).or_insert_with(|| Arc::new(Meter::new(&key.id))).clone();
        let positive = |limit: Option<i64>| limit.and_then(|limit| u64::try_from(limit).ok());
        Arc::new(Caller {
            id: key.id.as_str().into(),
            rates: RateLimits {
                rpm: positive(key.rpm),
                tpm: positive(key.tpm),
                max_concurrent: positive(key.max_concurrent),
            },
            meter,
            ceiling: Ceiling { usd: key.monthly_budget_usd, tokens: key.monthly_budget_tokens },
            account: self.budgets.account(&key.id),
            key: Some(key),
        })
    }

    /// Whether the keys have been read.
    pub fn are_known(&self) -> bool {
        self.ring.load().hasher.is_some()
    }

    /// Whether a request needs a key. A key that was revoked still counts: revoking the last one opens no door.
    pub fn are_required(&self, config: &Config) -> bool {
        match config.auth {
            AuthMode::Required => true,
            AuthMode::Optional => false,
            AuthMode::Automatic => config.is_public() || !self.ring.load().callers.is_empty(),
        }
    }

    /// Who sent these headers: the key in `Authorization` or `x-api-key`, else the one in `x-budget-key`.
    ///
    /// # Errors
    /// A key is needed and there is none, or it opens nothing; one text for a key that is unknown, revoked, disabled
    /// or past its time. While the keys could not be read nobody is let in who would need one.
    pub fn identify(&self, config: &Config, headers: &HeaderMap) -> Result<Arc<Caller>, Refusal> {
        let ring = self.ring.load();
        let is_required = self.are_required(config);
        if ring.hasher.is_none() && config.auth != AuthMode::Optional {
            return Err(Refusal::KeysUnavailable);
        }
        let sent = bearer(headers).or_else(|| text(headers, "x-api-key")).or_else(|| text(headers, "x-budget-key"));
        match sent {
            Some(sent) if is_required || secret::is_ours(sent) => self.of_secret(sent),
            // Clients send any key where none is needed: the SDKs do not start without one.
            Some(_) => Ok(self.anonymous.clone()),
            None if is_required => Err(Refusal::MissingKey),
            None => Ok(self.anonymous.clone()),
        }
    }

    /// The caller whose secret this is.
    ///
    /// # Errors
    /// It opens nothing.
    pub fn of_secret(&self, secret: &str) -> Result<Arc<Caller>, Refusal> {
        let ring = self.ring.load();
        let hasher = ring.hasher.as_ref().ok_or(Refusal::KeysUnavailable)?;
        // The checksum costs nothing beside the hash, and most of what is tried at random does not have one.
        let hash = secret::is_well_formed(secret).then(|| hasher.hash(secret)).ok_or(Refusal::InvalidKey)?;
        let caller = ring.by_hash.get(&hash).ok_or(Refusal::InvalidKey)?;
        let key = caller.key.as_ref().ok_or(Refusal::InvalidKey)?;
        let is_same: bool = key.hash.ct_eq(&hash).into();
        let is_open = key.enabled
            && key.revoked_at_ms.is_none()
            && key.expires_at_ms.is_none_or(|end| clock::unix_millis() < end);
        if is_same && is_open { Ok(caller.clone()) } else { Err(Refusal::InvalidKey) }
    }

    /// Whether these headers hold the admin key.
    ///
    /// # Errors
    /// They hold none, or another one. A key of the configuration opens without the database.
    pub fn admit_admin(&self, config: &Config, headers: &HeaderMap) -> Result<(), Refusal> {
        let sent = bearer(headers).or_else(|| text(headers, "x-api-key")).ok_or(Refusal::MissingAdminKey)?;
        let ring = self.ring.load();
        let is_same: bool = match (&config.admin_key, &ring.hasher, &ring.admin) {
            (Some(key), _, _) => key.expose_secret().as_bytes().ct_eq(sent.as_bytes()).into(),
            (None, Some(hasher), Some(admin)) => hasher.hash(sent).ct_eq(admin).into(),
            (None, _, _) => return Err(Refusal::KeysUnavailable),
        };
        if is_same { Ok(()) } else { Err(Refusal::InvalidAdminKey) }
    }

    /// What keys are hashed with; `None` before the database was read.
    pub fn hasher(&self) -> Option<Hasher> {
        self.ring.load().hasher.clone()
    }

    /// Every key, those that open nothing included.
    pub fn callers(&self) -> Vec<Arc<Caller>> {
        self.ring.load().callers.clone()
    }

    /// Requests without a key.
    pub fn anonymous(&self) -> &Arc<Caller> {
        &self.anonymous
    }
}

impl Caller {
    /// Whether the caller may use a model: by the name asked for, the model's own, or `provider/model`; `provider/*`
    /// allows all models of a provider.
    pub fn may_use(&self, asked: &str, provider: &str, model: &str) -> bool {
        let Some(key) = &self.key else { return true };
        let is_named = |allowed: &String| {
            allowed == asked
                || allowed == model
                || allowed.split_once('/').is_some_and(|(at, name)| at == provider && (name == model || name == "*"))
        };
        key.allowed_models.is_empty() || key.allowed_models.iter().any(is_named)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests;
