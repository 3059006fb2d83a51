//! The gateway as its users see it: through its HTTP port, in front of imitation upstreams.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

mod budgets;
mod cache;
mod charges;
mod chat;
mod contract;
mod crashes;
mod docs;
mod faults;
mod harness;
mod keys;
mod lifecycle;
mod limits;
mod media;
mod messages;
mod models;
mod outages;
mod process;
mod promises;
mod providers;
mod repeats;
mod replicas;
mod routing;
mod sdk;
mod tidy;
