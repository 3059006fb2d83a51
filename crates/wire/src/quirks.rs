//! Deviations of providers from the dialect they speak. A quirk is code once, here and in the dialect it bends, and
//! data afterwards: a catalogue entry names it.

use serde::Deserialize;

/// One known deviation, named in a provider's catalogue entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quirk {
    /// Groq: a stream's usage comes as `x_groq.usage` in the last chunk.
    UsageInXGroq,
    /// Refuses `stream_options`; usage comes unasked in the last chunk, or not at all.
    NoStreamOptions,
    /// Knows `max_tokens` only and refuses `max_completion_tokens`.
    MaxTokensOnly,
    /// Refuses the role `developer`; it is sent as `system`.
    NoDeveloperRole,
}
