//! What a request can use and cost, before anybody has counted: the most it can, so that a budget holds.

use catalog::Nanodollars;
use wire::media::{self, Endpoint};
use wire::usage::Usage;

use crate::call::{Call, Payload};
use crate::directory::Offer;
use crate::limits::budget::Amount;
use crate::tokens;

/// Bytes of prompt text per token where a likely count is wanted and not the highest: what English prose has.
const BYTES_PER_TOKEN: u64 = 4;

/// Tokens an image is taken for: a high-detail image of medium size.
const TOKENS_PER_IMAGE: u64 = 800;

/// A second of speech, compressed as people send it: 128 kbit/s.
const LIKELY_SOUND_BYTES: u64 = 16_000;
/// The same, compressed as far as it can still be understood: 6 kbit/s, the lowest that Opus has.
const LEAST_SOUND_BYTES: u64 = 750;
/// Speech has some ten tokens a second at OpenAI ("Speech to text": 1 minute at $0.006 and $10 a million makes 600).
const TOKENS_PER_SECOND: u64 = 10;
const SOUND_BYTES_PER_TOKEN: u64 = LEAST_SOUND_BYTES / TOKENS_PER_SECOND;
/// The most tokens of an image that is to be edited: OpenAI, "Image generation", high fidelity of a non-square one.
const MOST_FILE_TOKENS: u64 = 6_240 + 1_024;
/// No character of UTF-8 has more bytes, and no byte-level vocabulary makes more tokens than bytes.
const MOST_BYTES_PER_CHARACTER: u64 = 4;

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
        Payload::Media(request) => likely_media(request).input.unwrap_or(0),
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
            let each = request.max_tokens.unwrap_or_else(|| most_output(offer, assumed));
            (most, each.saturating_mul(u64::from(request.n)))
        }
        Payload::Embeddings(_) => (call.body.len() as u64, 0),
        Payload::Media(request) => return most_media(request, most_output(offer, assumed)),
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

/// The most that an answer has where the request sets no limit.
fn most_output(offer: &Offer, assumed: u64) -> u64 {
    offer.facts.max_output_tokens.map_or(assumed, |most| most.min(assumed))
}

/// What a request that passes through most likely uses, where its provider does not tell.
pub fn likely_media(request: &media::Request) -> Usage {
    let files = match request.endpoint {
        Endpoint::Transcriptions | Endpoint::Translations => {
            units(request, LIKELY_SOUND_BYTES).saturating_mul(TOKENS_PER_SECOND)
        }
        _ => request.files.saturating_mul(TOKENS_PER_IMAGE),
    };
    Usage {
        input: Some((request.characters / BYTES_PER_TOKEN).saturating_add(files)),
        output: Some(0),
        units: Some(units(request, LIKELY_SOUND_BYTES)),
        ..Usage::default()
    }
}

/// The most that it can use.
fn most_media(request: &media::Request, assumed: u64) -> Usage {
    let files =
        request.files.saturating_mul(MOST_FILE_TOKENS).saturating_add(request.file_bytes / SOUND_BYTES_PER_TOKEN);
    let makes_tokens = !matches!(request.endpoint, Endpoint::Speech | Endpoint::Moderations);
    Usage {
        input: Some(request.characters.saturating_mul(MOST_BYTES_PER_CHARACTER).saturating_add(files)),
        output: Some(if makes_tokens { assumed.saturating_mul(request.images) } else { 0 }),
        units: Some(units(request, LEAST_SOUND_BYTES)),
        ..Usage::default()
    }
}

/// Images, characters or seconds, the latter for sound of so many bytes a second.
fn units(request: &media::Request, sound_bytes: u64) -> u64 {
    match request.endpoint {
        Endpoint::ImageGenerations | Endpoint::ImageEdits | Endpoint::ImageVariations => request.images,
        Endpoint::Speech => request.characters,
        Endpoint::Transcriptions | Endpoint::Translations => request.file_bytes.div_ceil(sound_bytes),
        Endpoint::Moderations => 0,
    }
}

/// The cost of `usage` at `offer`; `None` where its price is not known, or of what nobody has counted.
pub fn cost(offer: &Offer, usage: &Usage) -> Option<Nanodollars> {
    offer.facts.price.as_ref().filter(|price| price.covers(usage)).map(|price| price.cost(usage))
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
