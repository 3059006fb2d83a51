//! What a caller may use: requests and tokens a minute, requests at one time, money and tokens a month.
//!
//! Arithmetic lives in values without a clock ([`bucket`], [`budget`]); [`rates`] and [`budgets`] own them, for this
//! process alone or, through Redis, for all replicas together.

pub mod bucket;
pub mod budget;
pub mod budgets;
pub mod leases;
pub mod rates;
