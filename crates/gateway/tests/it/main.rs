//! The gateway as its users see it: through its HTTP port, in front of imitation upstreams.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

mod chat;
mod contract;
mod docs;
mod harness;
mod lifecycle;
mod limits;
mod models;
mod sdk;
mod tidy;
