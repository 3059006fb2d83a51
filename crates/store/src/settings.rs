//! Single values by name: what the gateways that share a database must agree on.

use crate::session::Statement;
use crate::{Error, Store};

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

    /// The value of that name, which is `value` if there was none: of many that call, the first decides.
    pub async fn setting_or_insert(&self, name: &str, value: &str) -> Result<String, Error> {
        // The update changes nothing; without it an existing row would not be returned.
        const SQL: &str = "INSERT INTO settings (name, value) VALUES ($1, $2)
            ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING value";
        let rows = self.rows(Statement::new(SQL).bind(name).bind(value)).await?;
        rows.first().ok_or(Error::Conflict("the setting was neither found nor written"))?.text("value")
    }
}
