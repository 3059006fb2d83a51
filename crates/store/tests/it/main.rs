//! The store on SQLite and on a real PostgreSQL, each test on both where it holds for both.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod accounts;
mod cache;
mod database;
mod feedback;
mod fixture;
mod keys;
mod outage;
mod settings;
