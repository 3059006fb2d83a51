//! Token counts with one meaning, whatever the provider's convention was.

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
    /// All generated tokens, reasoning included.
    pub output: Option<u64>,
    /// Generated tokens that were reasoning.
    pub reasoning: Option<u64>,
}

impl Usage {
    /// Takes each count that `later` has over the one held: providers repeat cumulative usage, and some split it over
    /// several frames. Counts are never added.
    pub fn merge(&mut self, later: Usage) {
        let Usage { input, cached_input, cache_write, output, reasoning } = later;
        self.input = input.or(self.input);
        self.cached_input = cached_input.or(self.cached_input);
        self.cache_write = cache_write.or(self.cache_write);
        self.output = output.or(self.output);
        self.reasoning = reasoning.or(self.reasoning);
    }

    /// True when neither input nor output is known.
    pub fn is_unknown(&self) -> bool {
        self.input.is_none() && self.output.is_none()
    }
}
