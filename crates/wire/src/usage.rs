//! Token counts with one meaning, whatever the provider's convention was.

use crate::lenient::Lenient;

/// Counts above this are no counts: the largest context windows are of ten million tokens.
const MOST_TOKENS: u64 = 20_000_000;
/// How many times our own count a reported one may be: vocabularies differ, above all in scripts that one of them lacks.
const TOLERANCE: u64 = 10;
/// Bytes of English prose that make a token.
const BYTES_PER_TOKEN: u64 = 4;
/// What a reported count may be above that: providers add prompts of their own, Anthropic up to 530 tokens for tools.
const SLACK_TOKENS: u64 = 1_000;

/// Tokens of one answer. `None` means the provider did not say, which is not zero.
///
/// Conventions are OpenAI's: `input` includes what was read from and written to a prompt cache, `output` includes
/// reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All prompt tokens, cached ones included.
    pub input: Option<u64>,
    /// Prompt tokens that were read from the provider's prompt cache.
    pub cached_input: Option<u64>,
    /// Prompt tokens that were written to the provider's prompt cache.
    pub cache_write: Option<u64>,
    /// Of those, the ones that the provider keeps for an hour, which cost more.
    pub cache_write_1h: Option<u64>,
    /// All generated tokens, reasoning included.
    pub output: Option<u64>,
    /// Generated tokens that were reasoning.
    pub reasoning: Option<u64>,
    /// Prompt tokens of images or sound, where they cost other than text and the provider tells them apart.
    pub media_input: Option<u64>,
    /// What is paid for where it is not tokens: images made, characters spoken, seconds heard.
    pub units: Option<u64>,
}

impl Usage {
    /// Takes each count that `later` has over the one held: providers repeat cumulative usage, and some split it over
    /// several frames. Counts are never added.
    pub fn merge(&mut self, later: Usage) {
        let Usage { input, cached_input, cache_write, cache_write_1h, output, reasoning, media_input, units } = later;
        self.input = input.or(self.input);
        self.cached_input = cached_input.or(self.cached_input);
        self.cache_write = cache_write.or(self.cache_write);
        self.cache_write_1h = cache_write_1h.or(self.cache_write_1h);
        self.output = output.or(self.output);
        self.reasoning = reasoning.or(self.reasoning);
        self.media_input = media_input.or(self.media_input);
        self.units = units.or(self.units);
    }

    /// The counts, and estimates of those that nobody told: for clients that want numbers, where zero would be wrong.
    pub(crate) fn or_estimated(&self, prompt_tokens: u64, generated_bytes: u64) -> Usage {
        let output = generated_bytes.div_ceil(BYTES_PER_TOKEN);
        Usage { input: self.input.or(Some(prompt_tokens)), output: self.output.or(Some(output)), ..*self }
    }

    /// True when neither input nor output is known.
    pub fn is_unknown(&self) -> bool {
        self.input.is_none() && self.output.is_none()
    }

    /// True when a count that was reported cannot be right beside `own`, our count of the same prompt and the same
    /// answer. Counts that either side does not know are not compared.
    ///
    /// Of the output only what is not reported as reasoning is compared, because reasoning may be hidden. A provider
    /// that hides reasoning and does not report it either looks absurd after a long thought: do not count the output
    /// in `own` for a model that reasons.
    pub fn is_absurd(&self, own: &Usage) -> bool {
        let beyond = |reported: Option<u64>, own: Option<u64>| {
            let limit = own.map_or(u64::MAX, |own| own.saturating_mul(TOLERANCE).saturating_add(SLACK_TOKENS));
            reported.is_some_and(|reported| reported > limit)
        };
        let visible = self.output.map(|output| output.saturating_sub(self.reasoning.unwrap_or(0)));
        beyond(self.input, own.input)
            || beyond(visible, own.output)
            || [self.input, self.output].into_iter().flatten().any(|count| count > MOST_TOKENS)
    }
}

/// A count as it came: negative numbers and absurd ones are as good as none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
pub(crate) fn count(number: Lenient<f64>) -> Option<u64> {
    number.0.filter(|number| (0.0..1e12).contains(number)).map(|number| number.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_far_above_our_own_is_absurd() {
        let usage = |input, output, reasoning| Usage { input, output, reasoning, ..Usage::default() };
        for (reported, own, is_absurd) in [
            (usage(Some(2_000), Some(1_500), None), usage(Some(100), Some(50), None), false),
            (usage(Some(2_001), Some(1_500), None), usage(Some(100), Some(50), None), true),
            (usage(Some(2_000), Some(1_501), None), usage(Some(100), Some(50), None), true),
            (usage(Some(2_000), Some(9_000), Some(8_000)), usage(Some(100), Some(50), None), false),
            (usage(Some(2_000), Some(9_000), None), usage(Some(100), None, None), false),
            (usage(None, None, None), usage(Some(0), Some(0), None), false),
            (usage(Some(0), Some(0), None), usage(Some(9), Some(9), None), false),
            (usage(Some(1), Some(20_000_001), Some(20_000_001)), usage(None, None, None), true),
            (usage(Some(u64::MAX), None, None), usage(Some(u64::MAX), None, None), true),
        ] {
            assert_eq!(reported.is_absurd(&own), is_absurd, "{reported:?} beside {own:?}");
        }
    }
}
