//! Gateway keys as they are kept: everything but the key itself.

use catalog::Nanodollars;
use serde::Serialize;

use crate::session::{Row, Statement};
use crate::{AuditRow, Error, Store, audit};

/// One gateway key. As JSON, for the audit, it lacks the hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    /// Its public name in the API: `key_` and random letters.
    pub id: String,
    /// The keyed hash of the secret.
    #[serde(skip)]
    pub hash: [u8; 32],
    /// The secret's beginning and end, for people to recognise it.
    pub hint: String,
    /// What people call it.
    pub name: String,
    /// `development`, `staging` or `production`.
    pub environment: String,
    /// Whether it opens anything at present.
    pub enabled: bool,
    /// What it may spend in a calendar month; `None` is no limit.
    pub monthly_budget_usd: Option<Nanodollars>,
    /// Tokens that it may use in a calendar month.
    pub monthly_budget_tokens: Option<i64>,
    /// Requests a minute.
    pub rpm: Option<i64>,
    /// Tokens a minute.
    pub tpm: Option<i64>,
    /// Requests at one time.
    pub max_concurrent: Option<i64>,
    /// Models and `provider/model` names that it may use; empty allows all.
    pub allowed_models: Vec<String>,
    /// Labels of the operator's.
    pub tags: Vec<String>,
    /// When it ends by itself, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<i64>,
    /// When it was made.
    pub created_at_ms: i64,
    /// When it was changed last.
    pub updated_at_ms: i64,
    /// When it was revoked, for good.
    pub revoked_at_ms: Option<i64>,
}

macro_rules! columns {
    () => {
        "id, hash, hint, name, environment, enabled, monthly_budget_nanodollars, monthly_budget_tokens, rpm, tpm, \
         max_concurrent, allowed_models, tags, expires_at_ms, created_at_ms, updated_at_ms, revoked_at_ms"
    };
}

/// One for each of the columns.
macro_rules! parameters {
    () => {
        "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
    };
}

impl Store {
    /// All keys, revoked ones too, the oldest first.
    pub async fn keys(&self) -> Result<Vec<Key>, Error> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM keys ORDER BY created_at_ms, id");
        self.rows(Statement::new(SQL)).await?.iter().map(read).collect()
    }

    /// The key of that id, even if it is revoked.
    pub async fn key(&self, id: &str) -> Result<Option<Key>, Error> {
        self.rows(Statement::new(KEY).bind(id)).await?.first().map(read).transpose()
    }

    /// A number that moves with every change of a key or of a setting that people decide on, by whichever gateway. One
    /// that reads it before them misses nothing.
    pub async fn revision(&self) -> Result<i64, Error> {
        const SQL: &str = "SELECT value FROM counters WHERE name = 'keys'";
        let rows = self.rows(Statement::new(SQL)).await?;
        rows.first().ok_or_else(|| Error::Corrupt { what: "the counter `keys` is gone".into() })?.number("value")
    }

    /// Adds a key, and to the audit that `actor` did. [`Error::Conflict`] where its id or its secret is taken.
    pub async fn insert_key(&self, key: &Key, actor: &str) -> Result<(), Error> {
        const SQL: &str = concat!("INSERT INTO keys (", columns!(), ") VALUES ", parameters!());
        let mut session = self.begin().await?;
        audit::count(&mut session, "keys").await?;
        let (models, tags) = (json(&key.allowed_models)?, json(&key.tags)?);
        session.rows(bind(Statement::new(SQL), key, &hex(&key.hash), &models, &tags)).await?;
        audit::write(&mut session, &change("key.create", None, key, actor)?).await?;
        session.commit().await
    }

    /// Puts this key in the place of the one with its id. See [`Store::change_key`], which loses no other change that
    /// is made meanwhile.
    pub async fn update_key(&self, key: &Key, actor: &str) -> Result<(), Error> {
        self.change_key(&key.id, actor, |stored| *stored = key.clone()).await.map(drop)
    }

    /// Applies `edit` to the key as it is now, while no other change can be made, writes it with a row of the audit,
    /// dated by the new [`Key::updated_at_ms`], and returns it.
    ///
    /// Covers a new secret, by its hash, and the end, by [`Key::revoked_at_ms`]. [`Error::Conflict`] where the key is
    /// gone or revoked already, for that is for good, or where the secret is taken.
    pub async fn change_key(&self, id: &str, actor: &str, edit: impl FnOnce(&mut Key) + Send) -> Result<Key, Error> {
        const SQL: &str = concat!("UPDATE keys SET (", columns!(), ") = ", parameters!(), " WHERE id = $1");
        let mut session = self.begin().await?;
        // From here on others who change keys wait for us.
        audit::count(&mut session, "keys").await?;
        let before = session.rows(Statement::new(KEY).bind(id)).await?.first().map(read).transpose()?;
        let before = before.ok_or(Error::Conflict("the key does not exist"))?;
        if before.revoked_at_ms.is_some() {
            return Err(Error::Conflict("the key is revoked"));
        }
        let mut key = before.clone();
        edit(&mut key);
        key.id.clone_from(&before.id);
        let (models, tags) = (json(&key.allowed_models)?, json(&key.tags)?);
        session.rows(bind(Statement::new(SQL), &key, &hex(&key.hash), &models, &tags)).await?;
        audit::write(&mut session, &change(action(&before, &key), Some(&before), &key, actor)?).await?;
        session.commit().await?;
        Ok(key)
    }
}

/// The most that happened.
fn action(before: &Key, after: &Key) -> &'static str {
    if after.revoked_at_ms.is_some() {
        "key.revoke"
    } else if after.hash != before.hash {
        "key.rotate"
    } else {
        "key.update"
    }
}

fn change(action: &str, before: Option<&Key>, after: &Key, actor: &str) -> Result<AuditRow, Error> {
    Ok(AuditRow {
        at_ms: after.updated_at_ms,
        actor: actor.to_owned(),
        action: action.to_owned(),
        target: after.id.clone(),
        before: before.map(json).transpose()?,
        after: Some(json(after)?),
    })
}

/// In the order of the columns.
fn bind<'a>(
    statement: Statement<'a>,
    key: &'a Key,
    hash: &'a str,
    allowed_models: &'a str,
    tags: &'a str,
) -> Statement<'a> {
    let names = statement.bind(&key.id).bind(hash).bind(&key.hint).bind(&key.name).bind(&key.environment);
    let budgets = names.bind(key.enabled).bind(key.monthly_budget_usd.map(|usd| usd.0)).bind(key.monthly_budget_tokens);
    let limits = budgets.bind(key.rpm).bind(key.tpm).bind(key.max_concurrent);
    let lists = limits.bind(allowed_models).bind(tags);
    lists.bind(key.expires_at_ms).bind(key.created_at_ms).bind(key.updated_at_ms).bind(key.revoked_at_ms)
}

fn read(row: &Row) -> Result<Key, Error> {
    Ok(Key {
        id: row.text("id")?,
        hash: unhex(&row.text("hash")?)?,
        hint: row.text("hint")?,
        name: row.text("name")?,
        environment: row.text("environment")?,
        enabled: row.number("enabled")? != 0,
        monthly_budget_usd: row.number_or_null("monthly_budget_nanodollars")?.map(Nanodollars),
        monthly_budget_tokens: row.number_or_null("monthly_budget_tokens")?,
        rpm: row.number_or_null("rpm")?,
        tpm: row.number_or_null("tpm")?,
        max_concurrent: row.number_or_null("max_concurrent")?,
        allowed_models: list(&row.text("allowed_models")?)?,
        tags: list(&row.text("tags")?)?,
        expires_at_ms: row.number_or_null("expires_at_ms")?,
        created_at_ms: row.number("created_at_ms")?,
        updated_at_ms: row.number("updated_at_ms")?,
        revoked_at_ms: row.number_or_null("revoked_at_ms")?,
    })
}

fn json<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Corrupt { what: format!("a key has no JSON: {error}") })
}

fn list(text: &str) -> Result<Vec<String>, Error> {
    serde_json::from_str(text).map_err(|error| Error::Corrupt { what: format!("a key's list is not JSON: {error}") })
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<[u8; 32], Error> {
    let digits: Vec<u8> = text.chars().filter_map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect();
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |high, low| high << 4 | low)).collect();
    // Whatever is no digit makes it too short.
    bytes.try_into().map_err(|_| Error::Corrupt { what: "a key's hash is not 64 hexadecimal digits".into() })
}

const KEY: &str = concat!("SELECT ", columns!(), " FROM keys WHERE id = $1");
