//! What a request can use and cost, before anybody has counted: the most it can, so that a budget holds.

use catalog::Nanodollars;
use wire::usage::Usage;

use crate::call::{Call, Payload};
use crate::directory::Offer;
use crate::limits::budget::Amount;
use crate::tokens;

/// Bytes of prompt text per token where a likely count is wanted and not the highest: what English prose has.
const BYTES_PER_TOKEN: u64 = 4;

/// Tokens an image is taken for: a high-detail image of medium size.
const TOKENS_PER_IMAGE: u64 = 800;

/// How the tokens of a prompt are reckoned.
#[derive(Clone, Copy, Debug)]
pub enum Prompt {
    /// No prompt of this size has more. Costs nothing to work out, and is about four times what prose has.
    AtMost,
    /// Counted: takes a tokenizer and its time.
    Counted(u64),
}

/// Tokens of the prompt that the request most likely has.
pub fn likely_input(call: &Call) -> u64 {
    match &call.payload {
        Payload::Chat(request) => {
            let facts = &request.facts;
            let around = tokens::chat_overhead(facts.messages).saturating_add(likely_image_tokens(facts.images));
            (facts.prompt_bytes / BYTES_PER_TOKEN).saturating_add(around)
        }
        Payload::Embeddings(_) => call.body.len() as u64 / BYTES_PER_TOKEN,
    }
}

/// Tokens that so many images most likely have.
pub fn likely_image_tokens(images: u32) -> u64 {
    u64::from(images).saturating_mul(TOKENS_PER_IMAGE)
}

/// The most tokens of input and output that `call` can use at `offer`. The output is what the request allows, or
/// `assumed` where it allows as much as the model can.
pub fn most_usage(call: &Call, offer: &Offer, prompt: Prompt, assumed: u64) -> Usage {
    let (input, output) = match &call.payload {
        Payload::Chat(request) => {
            let facts = &request.facts;
            let most = tokens::at_most(facts, call.body.len());
            let each = request
                .max_tokens
                .unwrap_or_else(|| offer.facts.max_output_tokens.map_or(assumed, |most| most.min(assumed)));
            (most, each.saturating_mul(u64::from(request.n)))
        }
        Payload::Embeddings(_) => (call.body.len() as u64, 0),
    };
    let input = match prompt {
        Prompt::AtMost => input,
        Prompt::Counted(tokens) => tokens,
    };
    // All of a prompt may be written to the provider's cache, and for the longer time.
    let written = matches!(&call.payload, Payload::Chat(request) if request.facts.caches).then_some(input);
    Usage {
        input: Some(input),
        output: Some(output),
        cache_write: written,
        cache_write_1h: written,
        ..Usage::default()
    }
}

/// The cost of `usage` at `offer`; `None` where its price is not known.
pub fn cost(offer: &Offer, usage: &Usage) -> Option<Nanodollars> {
    offer.facts.price.as_ref().map(|price| price.cost(usage))
}

/// The most that any of `offers` can use and cost. A price that is not known adds no money: whether such an offer may
/// be used at all is decided before.
pub fn worst_case<'a>(call: &Call, offers: impl Iterator<Item = &'a Offer>, prompt: Prompt, assumed: u64) -> Amount {
    let mut worst = Amount::default();
    for offer in offers {
        let usage = most_usage(call, offer, prompt, assumed);
        worst.usd = worst.usd.max(cost(offer, &usage).unwrap_or_default());
        worst.tokens = worst.tokens.max(tokens_of(&usage));
    }
    worst
}

/// Input and output tokens together, as budgets count them.
pub fn tokens_of(usage: &Usage) -> i64 {
    let sum = usage.input.unwrap_or(0).saturating_add(usage.output.unwrap_or(0));
    i64::try_from(sum).unwrap_or(i64::MAX)
}
