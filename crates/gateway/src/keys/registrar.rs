//! Making and changing gateway keys, for the admin API and the command line alike.

use catalog::Nanodollars;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use store::{Key, Store};
use wire::Problem;

use super::secret::{self, Hasher};
use crate::clock;
use crate::refusal::Refusal;

/// Letters of a key's public id beyond its prefix: enough for two never to meet.
const ID_LETTERS: usize = 16;
const LONGEST_NAME: usize = 200;
/// Entries of a list, and letters of one.
const LONGEST_LIST: usize = 200;
const ENVIRONMENTS: [&str; 3] = ["development", "staging", "production"];

/// What a new key shall be. Limits that are not given do not exist.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// What people call it.
    pub name: String,
    /// `development`, `staging` or `production`; `development` when not said.
    #[serde(default)]
    pub environment: Option<String>,
    /// Whether it opens anything; `true` when not said.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// US dollars a calendar month.
    #[serde(default, deserialize_with = "dollars")]
    pub monthly_budget_usd: Option<Nanodollars>,
    /// Tokens a calendar month.
    #[serde(default)]
    pub monthly_budget_tokens: Option<u64>,
    /// Requests a minute.
    #[serde(default)]
    pub rpm: Option<u64>,
    /// Tokens a minute.
    #[serde(default)]
    pub tpm: Option<u64>,
    /// Requests at one time.
    #[serde(default)]
    pub max_concurrent: Option<u64>,
    /// Models that it may use; empty allows all.
    #[serde(default)]
    pub allowed_models: Vec<String>,
    /// When it ends by itself.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Labels.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// What shall be different about a key. A field that is absent stays; one that is `null` goes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// What people call it.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether it opens anything.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// US dollars a calendar month.
    #[serde(default, deserialize_with = "given_dollars")]
    pub monthly_budget_usd: Option<Option<Nanodollars>>,
    /// Tokens a calendar month.
    #[serde(default, deserialize_with = "given")]
    pub monthly_budget_tokens: Option<Option<u64>>,
    /// Requests a minute.
    #[serde(default, deserialize_with = "given")]
    pub rpm: Option<Option<u64>>,
    /// Tokens a minute.
    #[serde(default, deserialize_with = "given")]
    pub tpm: Option<Option<u64>>,
    /// Requests at one time.
    #[serde(default, deserialize_with = "given")]
    pub max_concurrent: Option<Option<u64>>,
    /// Models that it may use.
    #[serde(default)]
    pub allowed_models: Option<Vec<String>>,
    /// When it ends by itself.
    #[serde(default, deserialize_with = "given")]
    pub expires_at: Option<Option<Timestamp>>,
    /// Labels.
    #[serde(default)]
    pub tags: Option<Vec<String>>,
}

/// Makes a key and its secret, which is not kept.
///
/// # Errors
/// A field is not acceptable, or the database does not answer.
pub async fn create(
    store: &Store,
    hasher: &Hasher,
    wanted: NewKey,
    actor: &str,
) -> Result<(Key, SecretString), Refusal> {
    let environment = wanted.environment.unwrap_or_else(|| "development".to_owned());
    if !ENVIRONMENTS.contains(&environment.as_str()) {
        return Err(invalid("environment", "use `development`, `staging` or `production`"));
    }
    let now = clock::unix_millis();
    let secret = secret::generate(&environment).map_err(|_| Refusal::Internal)?;
    let letters = secret::random_letters(ID_LETTERS).map_err(|_| Refusal::Internal)?;
    let key = Key {
        id: format!("key_{letters}"),
        hash: hasher.hash(secret.expose_secret()),
        hint: secret::hint(secret.expose_secret()),
        name: wanted.name,
        environment,
        enabled: wanted.enabled.unwrap_or(true),
        monthly_budget_usd: wanted.monthly_budget_usd,
        monthly_budget_tokens: limit("monthly_budget_tokens", wanted.monthly_budget_tokens)?,
        rpm: limit("rpm", wanted.rpm)?,
        tpm: limit("tpm", wanted.tpm)?,
        max_concurrent: limit("max_concurrent", wanted.max_concurrent)?,
        allowed_models: wanted.allowed_models,
        tags: wanted.tags,
        expires_at_ms: wanted.expires_at.map(Timestamp::as_millisecond),
        created_at_ms: now,
        updated_at_ms: now,
        revoked_at_ms: None,
    };
    check(&key)?;
    store.insert_key(&key, actor).await.map_err(kept)?;
    Ok((key, secret))
}

/// Changes a key.
///
/// # Errors
/// A field is not acceptable, there is no such key or it is revoked, or the database does not answer.
pub async fn update(store: &Store, id: &str, change: Change, actor: &str) -> Result<Key, Refusal> {
    // Tried on a copy first, so that what is wrong with the change is told before anything is written.
    apply(&mut find(store, id).await?, &change)?;
    write(store, id, actor, move |key| {
        let _ = apply(key, &change);
    })
    .await
}

/// Gives a key another secret; the one before opens nothing from then on.
///
/// # Errors
/// There is no such key or it is revoked, or the database does not answer.
pub async fn rotate(store: &Store, hasher: &Hasher, id: &str, actor: &str) -> Result<SecretString, Refusal> {
    let key = find(store, id).await?;
    let secret = secret::generate(&key.environment).map_err(|_| Refusal::Internal)?;
    let (hash, hint) = (hasher.hash(secret.expose_secret()), secret::hint(secret.expose_secret()));
    write(store, id, actor, move |key| (key.hash, key.hint) = (hash, hint)).await?;
    Ok(secret)
}

/// Revokes a key for good. What it used stays in the accounts.
///
/// # Errors
/// There is no such key or it is revoked, or the database does not answer.
pub async fn revoke(store: &Store, id: &str, actor: &str) -> Result<Key, Refusal> {
    find(store, id).await?;
    write(store, id, actor, |key| key.revoked_at_ms = Some(clock::unix_millis())).await
}

fn apply(key: &mut Key, change: &Change) -> Result<(), Refusal> {
    let limits = [
        ("monthly_budget_tokens", change.monthly_budget_tokens, &mut key.monthly_budget_tokens),
        ("rpm", change.rpm, &mut key.rpm),
        ("tpm", change.tpm, &mut key.tpm),
        ("max_concurrent", change.max_concurrent, &mut key.max_concurrent),
    ];
    for (name, given, held) in limits {
        if let Some(given) = given {
            *held = limit(name, given)?;
        }
    }
    key.enabled = change.enabled.unwrap_or(key.enabled);
    key.monthly_budget_usd = change.monthly_budget_usd.unwrap_or(key.monthly_budget_usd);
    if let Some(expires_at) = change.expires_at {
        key.expires_at_ms = expires_at.map(Timestamp::as_millisecond);
    }
    if let Some(name) = &change.name {
        key.name.clone_from(name);
    }
    if let Some(models) = &change.allowed_models {
        key.allowed_models.clone_from(models);
    }
    if let Some(tags) = &change.tags {
        key.tags.clone_from(tags);
    }
    check(key)
}

/// The id of a key that is named by its id or by its secret.
///
/// # Errors
/// The database does not answer.
pub async fn id_of(store: &Store, hasher: &Hasher, id_or_secret: &str) -> Result<String, Refusal> {
    if !secret::is_ours(id_or_secret) {
        return Ok(id_or_secret.to_owned());
    }
    let hash = hasher.hash(id_or_secret);
    let keys = store.keys().await.map_err(kept)?;
    keys.into_iter().find(|key| key.hash == hash).map(|key| key.id).ok_or(Refusal::NotFound { what: "key" })
}

async fn find(store: &Store, id: &str) -> Result<Key, Refusal> {
    let key = store.key(id).await.map_err(kept)?.ok_or(Refusal::NotFound { what: "key" })?;
    match key.revoked_at_ms {
        None => Ok(key),
        Some(_) => Err(Refusal::Conflict("This key is revoked; make another one.")),
    }
}

async fn write(store: &Store, id: &str, actor: &str, edit: impl FnOnce(&mut Key) + Send) -> Result<Key, Refusal> {
    let edited = store.change_key(id, actor, |key| {
        edit(key);
        // Two changes within a millisecond still get different times.
        key.updated_at_ms = clock::unix_millis().max(key.updated_at_ms.saturating_add(1));
    });
    edited.await.map_err(kept)
}

fn check(key: &Key) -> Result<(), Refusal> {
    if key.name.trim().is_empty() || key.name.chars().count() > LONGEST_NAME {
        return Err(invalid("name", "use 1 to 200 characters"));
    }
    if key.monthly_budget_usd.is_some_and(|budget| budget <= Nanodollars(0)) {
        return Err(invalid("monthly_budget_usd", "use US dollars, more than none, or leave it out for no limit"));
    }
    for (name, list) in [("allowed_models", &key.allowed_models), ("tags", &key.tags)] {
        if list.len() > LONGEST_LIST || list.iter().any(|entry| entry.is_empty() || entry.len() > LONGEST_LIST) {
            return Err(invalid(name, "use at most 200 entries of 1 to 200 bytes"));
        }
    }
    Ok(())
}

fn limit(name: &'static str, value: Option<u64>) -> Result<Option<i64>, Refusal> {
    match value {
        None => Ok(None),
        // Zero would let nothing pass for ever, which `enabled` says more clearly.
        Some(value @ 1..=1_000_000_000_000) => Ok(i64::try_from(value).ok()),
        Some(_) => Err(invalid(name, "use a whole number from 1 to 1000000000000, or leave it out for no limit")),
    }
}

fn invalid(param: &'static str, hint: &str) -> Refusal {
    let message = format!("`{param}` has a value that is not accepted; {hint}.");
    Refusal::Invalid(wire::Error::at(param, Problem::InvalidValue, message))
}

/// What a fault of the store means to whoever changes a key.
fn kept(error: store::Error) -> Refusal {
    tracing::warn!(%error, cause = std::error::Error::source(&error), "the database refused a change of a key");
    match error {
        store::Error::Conflict(_) => Refusal::Conflict("The key was changed by somebody else; look at it again."),
        _ => Refusal::StoreUnavailable,
    }
}

/// A number, or a text that holds one, read digit by digit: a float would not be exact.
fn dollars<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Nanodollars>, D::Error> {
    let Some(raw) = Option::<Box<RawValue>>::deserialize(deserializer)? else { return Ok(None) };
    let text = raw.get().trim_matches('"');
    match text {
        "null" => Ok(None),
        text => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

fn given_dollars<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Nanodollars>>, D::Error> {
    dollars(deserializer).map(Some)
}

fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}
