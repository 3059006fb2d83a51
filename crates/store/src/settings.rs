//! Single values by name: what the gateways that share a database must agree on.

use crate::session::Statement;
use crate::{AuditRow, Error, Store, audit};

/// A change of a setting, for the audit.
#[derive(Clone, Copy, Debug)]
pub struct SettingChange<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it shall be, as JSON without secrets.
    pub value: &'a str,
    /// Who changes it.
    pub actor: &'a str,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

impl Store {
    /// The value of that name.
    pub async fn setting(&self, name: &str) -> Result<Option<String>, Error> {
        const SQL: &str = "SELECT value FROM settings WHERE name = $1";
        let rows = self.rows(Statement::new(SQL).bind(name)).await?;
        rows.first().map(|row| row.text("value")).transpose()
    }

    /// Writes the value, over whatever was there.
    pub async fn set_setting(&self, name: &str, value: &str) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO settings (name, value) VALUES ($1, $2)
            ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.rows(Statement::new(SQL).bind(name).bind(value)).await.map(drop)
    }

    /// Writes a value that people decide on, over whatever was there, with a row of the audit, and moves the
    /// [revision](Store::revision) that other gateways watch.
    pub async fn change_setting(&self, change: SettingChange<'_>) -> Result<(), Error> {
        const BEFORE: &str = "SELECT value FROM settings WHERE name = $1";
        const WRITE: &str = "INSERT INTO settings (name, value) VALUES ($1, $2)
            ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        let mut session = self.begin().await?;
        // From here on others who change policy wait for us.
        audit::count(&mut session, "keys").await?;
        let before = session.rows(Statement::new(BEFORE).bind(change.name)).await?;
        let before = before.first().map(|row| row.text("value")).transpose()?;
        session.rows(Statement::new(WRITE).bind(change.name).bind(change.value)).await?;
        let row = AuditRow {
            at_ms: change.at_ms,
            actor: change.actor.to_owned(),
            action: "setting.update".to_owned(),
            target: change.name.to_owned(),
            before,
            after: Some(change.value.to_owned()),
        };
        audit::write(&mut session, &row).await?;
        session.commit().await
    }

    /// The value of that name, which is `value` if there was none: of many that call, the first decides.
    pub async fn setting_or_insert(&self, name: &str, value: &str) -> Result<String, Error> {
        // The update changes nothing; without it an existing row would not be returned.
        const SQL: &str = "INSERT INTO settings (name, value) VALUES ($1, $2)
            ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING value";
        let rows = self.rows(Statement::new(SQL).bind(name).bind(value)).await?;
        rows.first().ok_or(Error::Conflict("the setting was neither found nor written"))?.text("value")
    }
}
