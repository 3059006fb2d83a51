//! One chunk of a stream in OpenAI's format, observed in one borrowed parse.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::Finish;
use crate::outline::Text;
use crate::usage::Usage;

/// What a chunk says, as far as relaying needs it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Text, a tool call, reasoning or a refusal is in it.
    pub(crate) has_content: bool,
    /// Bytes of all that.
    pub(crate) output_bytes: u64,
    /// A choice ends with it.
    pub(crate) finish: Option<Finish>,
    /// Token counts in it.
    pub(crate) usage: Option<Usage>,
    /// It has a list of choices and the list is empty.
    pub(crate) is_usage_only: bool,
    /// It is an error.
    pub(crate) is_error: bool,
}

#[derive(Deserialize)]
struct ChunkBody<'a> {
    #[serde(borrow)]
    choices: Option<Vec<ChoiceBody<'a>>>,
    usage: Option<UsageBody>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    x_groq: Option<Nested>,
}

#[derive(Deserialize)]
struct Nested {
    usage: Option<UsageBody>,
}

#[derive(Deserialize)]
struct ChoiceBody<'a> {
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

/// The fields of a delta that carry content. Whatever their shape, what is not null and not empty counts.
#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    function_call: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_details: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    audio: Option<&'a RawValue>,
}

/// Token counts in OpenAI's format. Counts may be written as floats.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct UsageBody {
    prompt_tokens: Option<f64>,
    completion_tokens: Option<f64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct PromptDetails {
    cached_tokens: Option<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct CompletionDetails {
    reasoning_tokens: Option<f64>,
}

impl UsageBody {
    pub(crate) fn usage(self) -> Usage {
        Usage {
            input: count(self.prompt_tokens),
            cached_input: count(self.prompt_tokens_details.and_then(|details| details.cached_tokens)),
            cache_write: None,
            output: count(self.completion_tokens),
            reasoning: count(self.completion_tokens_details.and_then(|details| details.reasoning_tokens)),
        }
    }
}

/// A count that can be one: negative and absurd numbers are as good as none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn count(number: Option<f64>) -> Option<u64> {
    number.filter(|number| (0.0..1e12).contains(number)).map(|number| number.round() as u64)
}

/// Reads one chunk; `None` when it is not JSON of the dialect.
pub(crate) fn observe(data: &[u8], usage_in_x_groq: bool) -> Option<Seen> {
    let chunk: ChunkBody<'_> = serde_json::from_slice(data).ok()?;
    let mut seen = Seen {
        is_usage_only: chunk.choices.as_ref().is_some_and(Vec::is_empty),
        is_error: chunk.error.is_some_and(|error| error.get() != "null"),
        ..Seen::default()
    };
    for choice in chunk.choices.into_iter().flatten() {
        if let Some(delta) = choice.delta {
            let bytes: usize = delta.carriers().map(carried).iter().sum();
            seen.has_content |= bytes > 0;
            seen.output_bytes = seen.output_bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        }
        if let Some(reason) = choice.finish_reason.filter(|reason| !reason.0.is_empty()) {
            seen.finish = Some(Finish::parse(&reason.0));
        }
    }
    let nested = chunk.x_groq.filter(|_| usage_in_x_groq).and_then(|nested| nested.usage);
    seen.usage = chunk.usage.or(nested).map(UsageBody::usage).filter(|usage| !usage.is_unknown());
    Some(seen)
}

impl<'a> Delta<'a> {
    fn carriers(&self) -> [Option<&'a RawValue>; 8] {
        let Delta { content, tool_calls, function_call, reasoning_content, reasoning, reasoning_details, .. } = *self;
        let Delta { refusal, audio, .. } = *self;
        [content, tool_calls, function_call, reasoning_content, reasoning, reasoning_details, refusal, audio]
    }
}

/// Bytes that a field carries: none for null and for what is empty.
fn carried(field: Option<&RawValue>) -> usize {
    match field.map_or("null", RawValue::get) {
        "null" | "\"\"" | "[]" | "{}" => 0,
        text => text.len().saturating_sub(2).max(1),
    }
}
