//! The gateway as its users see it: through its HTTP port, in front of imitation upstreams.

mod chat;
mod contract;
mod docs;
mod harness;
mod lifecycle;
mod limits;
mod models;
mod sdk;
mod tidy;
