//! One chunk of a stream in OpenAI's format, observed in one borrowed parse.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::AnswerContext;
use crate::choices::Choices;
use crate::event::Finish;
use crate::generated::{Carriers, Generated};
use crate::lenient::Lenient;
use crate::outline::Text;
use crate::usage::{Usage, count};

/// What a chunk says, as far as relaying needs it. Its text goes to [`Generated`].
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Text, a tool call, reasoning or a refusal is in it.
    pub(crate) has_content: bool,
    /// The choices that it speaks of.
    pub(crate) choices: Choices,
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
    #[serde(default)]
    usage: Lenient<UsageBody>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(default)]
    x_groq: Lenient<Nested>,
}

#[derive(Deserialize)]
struct Nested {
    #[serde(default)]
    usage: Lenient<UsageBody>,
}

#[derive(Deserialize)]
struct ChoiceBody<'a> {
    #[serde(borrow)]
    index: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<Carriers<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

/// Token counts in OpenAI's format. Counts may be written as floats; what is no number is unknown.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct UsageBody {
    prompt_tokens: Lenient<f64>,
    completion_tokens: Lenient<f64>,
    prompt_tokens_details: Lenient<PromptDetails>,
    completion_tokens_details: Lenient<CompletionDetails>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Lenient<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Lenient<f64>,
}

impl UsageBody {
    pub(crate) fn usage(self) -> Usage {
        Usage {
            input: count(self.prompt_tokens),
            cached_input: self.prompt_tokens_details.0.and_then(|details| count(details.cached_tokens)),
            output: count(self.completion_tokens),
            reasoning: self.completion_tokens_details.0.and_then(|details| count(details.reasoning_tokens)),
            ..Usage::default()
        }
    }
}

/// Reads one chunk and appends its text to `generated`; `None` when it is not JSON of the dialect.
pub(crate) fn observe(data: &[u8], usage_in_x_groq: bool, generated: &mut Generated) -> Option<Seen> {
    // One check of all bytes, instead of one for each of the strings.
    let chunk: ChunkBody<'_> = serde_json::from_str(std::str::from_utf8(data).ok()?).ok()?;
    let mut seen = Seen {
        is_usage_only: chunk.choices.as_ref().is_some_and(Vec::is_empty),
        is_error: chunk.error.is_some_and(|error| error.get() != "null"),
        ..Seen::default()
    };
    for choice in chunk.choices.into_iter().flatten() {
        if let Some(delta) = choice.delta {
            seen.has_content |= delta.collect(generated);
        }
        let reason = choice.finish_reason.filter(|reason| !reason.0.is_empty());
        let index = choice.index.and_then(|index| index.get().parse().ok());
        seen.choices.saw(index.unwrap_or(0), reason.is_some());
        seen.finish = reason.map(|reason| Finish::parse(&reason.0)).or(seen.finish);
    }
    let nested = chunk.x_groq.0.filter(|_| usage_in_x_groq).and_then(|nested| nested.usage.0);
    seen.usage = chunk.usage.0.or(nested).map(UsageBody::usage).filter(|usage| !usage.is_unknown());
    Some(seen)
}

/// What a chunk says of the answer that it belongs to; `None` where it has no id, as the chunk that some providers
/// send before the answer.
pub(crate) fn context_in(data: &[u8]) -> Option<AnswerContext> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        id: Text<'a>,
        #[serde(default)]
        created: Lenient<i64>,
        #[serde(default)]
        model: Lenient<String>,
    }
    let head: Head<'_> = serde_json::from_slice(data).ok().filter(|head: &Head<'_>| !head.id.0.is_empty())?;
    Some(AnswerContext {
        id: head.id.0.into_owned(),
        created: head.created.0.unwrap_or_default(),
        model: head.model.0.unwrap_or_default(),
        prompt_tokens: 0,
        bent: Default::default(),
    })
}
