//! Everything that survives a restart.
//!
//! [`journal`] is a local append-only file: money is in it before a provider is asked. [`Store`] is SQLite or
//! PostgreSQL: keys, settings, and the accounts, which get the journal's entries in batches.

mod account;
mod audit;
mod cache;
mod database;
mod error;
mod feedback;
pub mod journal;
pub mod keys;
mod session;
mod settings;
mod usage;

pub use account::{ANONYMOUS, Entry, Hold, HoldId, Period, Position, Total};
pub use audit::AuditRow;
pub use cache::CachedAnswer;
pub use database::{Location, Store};
pub use error::Error;
pub use feedback::Feedback;
pub use keys::Key;
pub use settings::SettingChange;
pub use usage::EntryFilter;
