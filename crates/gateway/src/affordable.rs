//! Which targets of a plan the request may cost: unknown prices, and the caller's own `x-max-cost-usd`.

use std::sync::Arc;

use catalog::{Nanodollars, Price};
use wire::usage::Usage;

use crate::call::Call;
use crate::config::{Config, UnknownPrice};
use crate::directory::Offer;
use crate::estimate::{self, Prompt};
use crate::keys::Caller;
use crate::ledger;
use crate::refusal::Refusal;
use crate::router::Plan;

/// Where a stream is ended because it has cost enough.
#[derive(Clone, Debug)]
pub struct Cap {
    cost: Nanodollars,
    input_tokens: u64,
}

impl Cap {
    /// Whether an answer of that many tokens from this offer costs as much as it may, or more.
    pub fn is_reached(&self, price: Option<&Price>, output_tokens: u64) -> bool {
        let usage =
            Usage { input: Some(self.input_tokens), output: Some(output_tokens.saturating_add(1)), ..Usage::default() };
        price.is_some_and(|price| price.cost(&usage) > self.cost)
    }

    /// What an answer of that many tokens has used.
    pub fn usage(&self, output_tokens: u64) -> Usage {
        Usage { input: Some(self.input_tokens), output: Some(output_tokens), ..Usage::default() }
    }
}

/// Leaves the targets in the plan that the request may cost, and tells where a stream is to be ended.
///
/// A cap in dollars refuses what can cost more: the prompt, and the output that the request allows. A stream that
/// sets no `max_tokens` is let begin when its prompt leaves something, and ended when the cap is reached.
///
/// # Errors
/// No target is left.
pub async fn keep(config: &Config, caller: &Caller, call: &Arc<Call>, plan: &mut Plan) -> Result<Option<Cap>, Refusal> {
    let is_priced = |offer: &Offer| offer.facts.price.is_some();
    let has_dollar_budget = caller.ceiling.usd.is_some() || config.budget.global_usd.is_some();
    let must_be_priced = has_dollar_budget && config.budget.unknown_price == UnknownPrice::Refuse;
    if must_be_priced || call.extensions.max_cost.is_some() {
        plan.retain(|target| is_priced(&target.offer));
        if plan.targets.is_empty() {
            return Err(Refusal::UnknownPrice { model: call.payload.model().to_owned() });
        }
    }
    let Some(cost) = call.extensions.max_cost else { return Ok(None) };
    // Counting also loads the tokenizer, which the stream's own count will need at once.
    let input_tokens = ledger::count_prompt(call.clone()).await;
    let least_output = |usage: Usage| if is_open_ended(call) { Usage { output: Some(1), ..usage } } else { usage };
    let worst = |offer: &Offer| {
        let usage = estimate::most_usage(call, offer, Prompt::Counted(input_tokens), u64::MAX);
        estimate::cost(offer, &least_output(usage)).unwrap_or(Nanodollars(i64::MAX))
    };
    let cheapest = plan.targets.iter().map(|target| worst(&target.offer)).min();
    plan.retain(|target| worst(&target.offer) <= cost);
    match plan.targets.is_empty() {
        true => Err(Refusal::MaxCost { cap: cost, worst_case: cheapest.unwrap_or_default() }),
        false => Ok(Some(Cap { cost, input_tokens })),
    }
}

/// A stream without a limit of its own can be ended at the cap; a whole answer cannot.
fn is_open_ended(call: &Call) -> bool {
    call.payload.is_stream() && call.payload.max_tokens().is_none()
}
