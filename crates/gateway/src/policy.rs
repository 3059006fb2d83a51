//! Keys, and what an admin has changed of the routing, from the database into memory: at the start, and within a second of any change, whoever made it.
//!
//! With PostgreSQL a copy of the last state stays in the data directory, so that a start finds its keys while the
//! database is away. Without either nobody is let in who would need a key.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use store::{Location, Store};
use tracing::{info, warn};

use crate::config::Config;
use crate::gateway::Gateway;
use crate::keys::Policy;
use crate::keys::secret::{self, Hasher};
use crate::steering::{self, Changes};

/// How often the database is asked whether anything changed; a revoked key is refused everywhere within a second.
const LOOK: Duration = Duration::from_millis(400);
/// Pause after the database did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// Letters of a secret that is made: 256 bits.
const SECRET_LETTERS: usize = 43;
/// The copy in the data directory.
const COPY: &str = "keys.copy.db";
/// Who is written into the audit log of the copy.
const ACTOR: &str = "copy";
const HASH_SECRET: &str = "key_hash_secret";
const ADMIN_HASH: &str = "admin_key_hash";

/// What a start found.
#[derive(Debug, Default)]
pub struct Found {
    /// What to put in force; `None` while neither database nor copy can be read.
    pub policy: Option<Policy>,
    /// What an admin has changed of the routing.
    pub changes: Changes,
    /// The admin key that was made just now; it cannot be shown again.
    pub new_admin_key: Option<SecretString>,
}

/// Reads the keys from the database, or from the copy where that does not answer.
pub async fn find(config: &Config, store: &Store) -> Found {
    match load(config, store).await {
        Ok(found) => found,
        Err(error) => {
            warn!(error = %Chain(&error), "the database does not answer; the keys come from the copy in the data directory");
            let copy = read_copy(config).await.unwrap_or_default();
            Found { new_admin_key: None, ..copy }
        }
    }
}

/// What keys are hashed with.
///
/// # Errors
/// The database does not answer.
pub async fn hasher(config: &Config, store: &Store) -> Result<Hasher, store::Error> {
    store.migrate().await?;
    Ok(Hasher::new(&hash_secret(config, store).await?))
}

async fn hash_secret(config: &Config, store: &Store) -> Result<String, store::Error> {
    match &config.storage.key_hash_secret {
        Some(secret) => Ok(secret.expose_secret().to_owned()),
        None => store.setting_or_insert(HASH_SECRET, &made()?).await,
    }
}

async fn load(config: &Config, store: &Store) -> Result<Found, store::Error> {
    store.migrate().await?;
    let hash_secret = hash_secret(config, store).await?;
    let hasher = Hasher::new(&hash_secret);
    let (admin, new_admin_key) = match &config.admin_key {
        Some(_) => (None, None),
        None => kept_admin_key(store, &hasher).await.map(|(admin, made)| (Some(admin), made))?,
    };
    let keys = store.keys().await?;
    let changes = store.setting(steering::SETTING).await?;
    if store.is_postgres()
        && let Err(error) = write_copy(config, &hash_secret, admin.as_ref(), &keys, changes.as_deref()).await
    {
        warn!(error = %Chain(&error), "the copy of the keys in the data directory is out of date");
    }
    let changes = Changes::kept(changes.as_deref());
    Ok(Found { policy: Some(Policy { hasher, keys, admin }), changes, new_admin_key })
}

/// The hash of the admin key that was made at the first start, or a new one where this is it.
async fn kept_admin_key(store: &Store, hasher: &Hasher) -> Result<([u8; 32], Option<SecretString>), store::Error> {
    let made = made()?;
    let hash = hex(&hasher.hash(&made));
    let kept = store.setting_or_insert(ADMIN_HASH, &hash).await?;
    let is_new = kept == hash;
    let admin = unhex(&kept).ok_or(store::Error::Corrupt { what: format!("the setting `{ADMIN_HASH}`") })?;
    Ok((admin, is_new.then(|| made.into())))
}

/// Puts the database's state in force now, after a change through this replica.
pub async fn refresh(gateway: &Gateway) {
    let config = gateway.registry.snapshot().config.clone();
    match load(&config, &gateway.store).await {
        Ok(found) => drop(install(gateway, found)),
        Err(error) => warn!(error = %Chain(&error), "the keys could not be read again; this is tried until it works"),
    }
}

/// Puts what was found in force, and hands out the admin key if one was made.
pub fn install(gateway: &Gateway, found: Found) -> Option<SecretString> {
    let Found { policy, changes, new_admin_key } = found;
    if let Some(policy) = policy {
        gateway.keys.install(policy);
        gateway.registry.steer(changes);
    }
    new_admin_key
}

/// Follows the changes that others make.
pub async fn watch(gateway: Arc<Gateway>) {
    let mut seen = None;
    let stop = gateway.tasks.draining().clone();
    loop {
        let pause = match look(&gateway, seen).await {
            Ok(revision) => {
                if seen.is_none() && gateway.store_health.note(None) {
                    info!("the database answers");
                }
                seen = Some(revision);
                LOOK
            }
            Err(error) => {
                if gateway.store_health.note(Some(error.to_string())) {
                    warn!(error = %Chain(&error), "the database does not answer; keys stay as they were");
                }
                seen = None;
                PAUSE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// The database's revision, after what it stands for was put in force.
async fn look(gateway: &Gateway, seen: Option<i64>) -> Result<i64, store::Error> {
    if seen.is_none() {
        gateway.store.migrate().await?;
    }
    let revision = gateway.store.revision().await?;
    if seen != Some(revision) {
        let config = gateway.registry.snapshot().config.clone();
        if let Some(key) = install(gateway, load(&config, &gateway.store).await?) {
            crate::cli::serve::show_admin_key(&key);
        }
    }
    Ok(revision)
}

fn made() -> Result<String, store::Error> {
    secret::random_letters(SECRET_LETTERS).map_err(|error| store::Error::Corrupt { what: error.to_string() })
}

fn copy_location(config: &Config) -> Location {
    Location::Sqlite(config.storage.data_dir.join(COPY))
}

/// Only PostgreSQL can be away: SQLite is in the same directory as the copy would be.
async fn write_copy(
    config: &Config,
    hash_secret: &str,
    admin: Option<&[u8; 32]>,
    keys: &[store::Key],
    changes: Option<&str>,
) -> Result<(), store::Error> {
    let copy = Store::open(&copy_location(config)).await?;
    copy.set_setting(HASH_SECRET, hash_secret).await?;
    if let Some(admin) = admin {
        copy.set_setting(ADMIN_HASH, &hex(admin)).await?;
    }
    if let Some(changes) = changes {
        copy.set_setting(steering::SETTING, changes).await?;
    }
    let held = copy.keys().await?;
    for key in keys.iter().filter(|key| !held.contains(key)) {
        match held.iter().any(|held| held.id == key.id) {
            true => copy.update_key(key, ACTOR).await?,
            false => copy.insert_key(key, ACTOR).await?,
        }
    }
    copy.close().await;
    Ok(())
}

async fn read_copy(config: &Config) -> Option<Found> {
    let Location::Sqlite(path) = copy_location(config) else { return None };
    if config.storage.database_url.is_none() || !path.exists() {
        return None;
    }
    let copy = Store::open(&Location::Sqlite(path)).await;
    let found = match &copy {
        // Boxed: reading the copy is reading a database, which writes no further copy.
        Ok(copy) => Box::pin(load(config, copy)).await,
        Err(_) => return None,
    };
    found.inspect_err(|error| warn!(error = %Chain(error), "the copy cannot be read")).ok()
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    (text.len() == 64).then_some(bytes)
}

/// An error with its causes, in one line.
pub struct Chain<'a>(pub &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
