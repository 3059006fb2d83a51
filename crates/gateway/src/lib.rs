//! The server and the command line of `llm-gateway`.
//!
//! A request enters through [`server`], is routed by [`api`], and travels down [`pipeline`]; everything else is a part
//! that the pipeline uses or a task that keeps such a part up to date.

pub mod admission;
pub mod affordable;
pub mod api;
pub mod call;
pub mod cli;
pub mod clock;
pub mod coalesce;
pub mod concurrency;
pub mod config;
pub mod conversations;
pub mod directory;
pub mod estimate;
pub mod explain;
pub mod facts;
pub mod feedback;
pub mod gateway;
pub mod idempotency;
pub mod keys;
pub mod latency;
pub mod ledger;
pub mod limits;
pub mod live;
pub mod memory;
pub mod pipeline;
pub mod policy;
pub mod record;
pub mod refusal;
pub mod router;
pub mod server;
pub mod shared;
pub mod simulated;
#[cfg(test)]
mod simulation;
pub mod steering;
pub mod streaming;
pub mod tasks;
pub mod telemetry;
pub mod tokens;
pub mod upstream;
pub mod usage;
mod vault;
pub mod wrong_keys;
