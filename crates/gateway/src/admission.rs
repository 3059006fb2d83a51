//! What comes in and what is shed, decided from a request's headers alone, before its body is read.

use std::sync::Arc;

use secrecy::ExposeSecret;

use crate::call::{Call, Head};
use crate::clock;
use crate::concurrency::Slot;
use crate::estimate;
use crate::gateway::Gateway;
use crate::keys::Caller;
use crate::ledger;
use crate::limits::rates::{Admitted, RateStatus};
use crate::live::Live;
use crate::refusal::Refusal;

/// One request's place among those that run; free again when dropped.
#[derive(Debug)]
pub struct Place {
    slot: Slot,
    rates: Admitted,
}

impl Place {
    /// How the caller's limits stand.
    pub fn status(&self) -> RateStatus {
        self.rates.status()
    }

    /// Takes the tokens of a request from the caller's limit: the prompt by its size, and the output that it allows.
    ///
    /// # Errors
    /// There are not as many at present.
    pub async fn take_tokens(&mut self, gateway: &Gateway, call: &Call) -> Result<(), Refusal> {
        if !self.rates.counts_tokens() {
            return Ok(());
        }
        let tokens = estimate::likely_input(call).saturating_add(call.payload.max_tokens().unwrap_or(0));
        let taken = gateway.rates.take_tokens(&mut self.rates, tokens).await;
        taken.map_err(|refusal| Refusal::RateLimited(Box::new(refusal)))
    }

    /// Frees the place and keeps what the caller's limit of tokens is still to be told.
    pub fn into_rates(self) -> Admitted {
        drop(self.slot);
        self.rates
    }
}

/// Lets a request in or sheds it.
///
/// # Errors
/// The gateway is full, or the caller has nothing left of a limit or a budget.
pub async fn admit(gateway: &Gateway, live: &Live, head: &Head) -> Result<Place, Refusal> {
    let config = &live.config;
    if gateway.memory.is_full() {
        return Err(Refusal::Overloaded);
    }
    let slot = gateway.concurrency.admit(config.limits.concurrent_requests).ok_or(Refusal::Overloaded)?;
    let caller = &head.caller;
    let period = clock::period(clock::unix_millis());
    let global = ledger::global_ceiling(config);
    if let Some(shortage) = gateway.ledger.budgets.used_up(&caller.account, caller.ceiling, global, period) {
        return Err(Refusal::Budget(Box::new(shortage)));
    }
    let rates = gateway.rates.admit(&caller.meter, caller.rates, &head.request_id).await;
    let rates = rates.map_err(|refusal| Refusal::RateLimited(Box::new(refusal)))?;
    Ok(Place { slot, rates })
}

/// Who pays: the caller, or, where the headers named nobody, the key in the body's `x-budget-key`.
///
/// # Errors
/// That key opens nothing.
pub fn payer(gateway: &Gateway, caller: Arc<Caller>, call: &Call) -> Result<Arc<Caller>, Refusal> {
    match &call.extensions.budget_key {
        Some(secret) if caller.key.is_none() => gateway.keys.of_secret(secret.expose_secret()),
        Some(_) | None => Ok(caller),
    }
}
