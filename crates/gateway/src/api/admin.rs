//! The admin API: what changes the gateway's state. Every route needs the admin key, every change leaves a row in the
//! audit log.

pub(super) mod keys;
pub(super) mod routing;

/// Who is written into the audit log for what comes through this API.
const ACTOR: &str = "admin API";
