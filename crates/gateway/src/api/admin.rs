//! The admin API: what changes the gateway's state. Every route needs the admin key, every change leaves a row in the
//! audit log.

pub(super) mod keys;

use serde::de::DeserializeOwned;
use wire::Problem;

use crate::refusal::Refusal;

/// Who is written into the audit log for what comes through this API.
const ACTOR: &str = "admin API";

/// Reads a body of ours: unknown fields are refused by name.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let reader = &mut serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let path = error.path().to_string();
        let param = (path != ".").then_some(path);
        let message = format!("The body is not accepted: {}.", without_place(&error.into_inner().to_string()));
        Refusal::Invalid(wire::Error { param, problem: Problem::InvalidValue, message: message.into() })
    })
}

/// serde_json's message without its line and column, which mean nothing to somebody who sent one line.
fn without_place(message: &str) -> &str {
    message.split(" at line ").next().unwrap_or(message)
}
