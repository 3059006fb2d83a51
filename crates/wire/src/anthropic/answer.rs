//! Anthropic's whole answers, and what a stream's events share with them: token counts and stop reasons.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::chat::Thought;
use crate::error_body;
use crate::event::{Answer, Finish, ToolCallHead};
use crate::generated::Generated;
use crate::lenient::Lenient;
use crate::types::{AnswerContext, BadAnswer, Kept, Whole};
use crate::usage::{Usage, count};

/// Token counts as Anthropic sends them: `input_tokens` are those that no cache was involved in.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    input_tokens: Lenient<f64>,
    cache_read_input_tokens: Lenient<f64>,
    cache_creation_input_tokens: Lenient<f64>,
    cache_creation: Lenient<Creation>,
    output_tokens: Lenient<f64>,
    output_tokens_details: Lenient<Details>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Creation {
    ephemeral_1h_input_tokens: Lenient<f64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    thinking_tokens: Lenient<f64>,
}

impl Counts {
    /// Takes each count that `later` has: a stream tells the input first and the output last, and repeats itself.
    pub(crate) fn merge(&mut self, later: Counts) {
        fn over<T>(held: &mut Lenient<T>, later: Lenient<T>) {
            if later.0.is_some() {
                *held = later;
            }
        }
        over(&mut self.input_tokens, later.input_tokens);
        over(&mut self.cache_read_input_tokens, later.cache_read_input_tokens);
        over(&mut self.cache_creation_input_tokens, later.cache_creation_input_tokens);
        over(&mut self.cache_creation, later.cache_creation);
        over(&mut self.output_tokens, later.output_tokens);
        over(&mut self.output_tokens_details, later.output_tokens_details);
    }

    /// The same in OpenAI's convention: the input includes what was read from and written to the cache.
    pub(crate) fn usage(self) -> Usage {
        let (cached_input, cache_write) =
            (count(self.cache_read_input_tokens), count(self.cache_creation_input_tokens));
        let cached = cached_input.unwrap_or(0).saturating_add(cache_write.unwrap_or(0));
        Usage {
            input: count(self.input_tokens).map(|fresh| fresh.saturating_add(cached)),
            cached_input,
            cache_write,
            cache_write_1h: self.cache_creation.0.and_then(|creation| count(creation.ephemeral_1h_input_tokens)),
            output: count(self.output_tokens),
            reasoning: self.output_tokens_details.0.and_then(|details| count(details.thinking_tokens)),
            ..Usage::default()
        }
    }
}

/// The `usage` object for these counts; a count that nobody knows is 0, because clients want a number.
pub(super) fn counts(usage: &Usage) -> Value {
    let (cached, written) = (usage.cached_input.unwrap_or(0), usage.cache_write.unwrap_or(0));
    let fresh = usage.input.unwrap_or(0).saturating_sub(cached).saturating_sub(written);
    json!({
        "input_tokens": fresh,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.output.unwrap_or(0),
    })
}

/// What a stop reason means. `pause_turn` is passed on by its name: the answer is not at its end.
pub(super) fn finish(reason: &str) -> Finish {
    match reason {
        "end_turn" | "stop_sequence" => Finish::Stop,
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "tool_use" => Finish::ToolCalls,
        "refusal" => Finish::ContentFilter,
        other => Finish::Other(other.to_owned()),
    }
}

/// The stop reason for an end.
pub(super) fn stop_reason(finish: Option<&Finish>) -> &str {
    match finish {
        None | Some(Finish::Stop) => "end_turn",
        Some(Finish::Length) => "max_tokens",
        Some(Finish::ToolCalls) => "tool_use",
        Some(Finish::ContentFilter) => "refusal",
        Some(Finish::Other(reason)) if reason == "pause_turn" => reason,
        Some(Finish::Other(_)) => "end_turn",
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(rename = "type", default)]
    kind: Lenient<String>,
    #[serde(borrow)]
    content: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    stop_reason: Lenient<String>,
    #[serde(default)]
    stop_details: Lenient<StopDetails>,
    #[serde(default)]
    usage: Lenient<Counts>,
}

/// Why the model refused.
#[derive(Deserialize)]
pub(super) struct StopDetails {
    #[serde(default)]
    pub(super) explanation: Lenient<String>,
}

/// A content block of an answer, as far as another dialect can say it. Its members by any type, because raw JSON cannot
/// be read from inside a tagged enum.
#[derive(Deserialize)]
struct BlockBody<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    thinking: String,
    #[serde(default)]
    signature: String,
    #[serde(default)]
    data: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

/// A content block by its type.
pub(super) enum Block<'a> {
    Text(String),
    Thinking { text: String, signature: Option<String> },
    Redacted(String),
    ToolUse { head: ToolCallHead, input: &'a str },
}

/// Reads a block; `None` for what the vendor's own tools did, whose results are in the text.
pub(super) fn block(raw: &RawValue) -> Option<Block<'_>> {
    let BlockBody { kind, text, thinking, signature, data, id, name, input } = serde_json::from_str(raw.get()).ok()?;
    match kind.as_str() {
        "text" => Some(Block::Text(text)),
        "thinking" => {
            let signature = Some(signature).filter(|signature| !signature.is_empty());
            Some(Block::Thinking { text: thinking, signature })
        }
        "redacted_thinking" => Some(Block::Redacted(data)),
        "tool_use" => {
            Some(Block::ToolUse { head: ToolCallHead { id, name }, input: input.map_or("{}", RawValue::get) })
        }
        _ => None,
    }
}

fn body(body: &[u8]) -> Result<Body<'_>, BadAnswer> {
    let parsed: Body<'_> = serde_json::from_slice(body).map_err(|_| BadAnswer::NotJson)?;
    if parsed.kind.0.as_deref() == Some("error") {
        return Err(BadAnswer::Error(error_in(body)));
    }
    if parsed.content.is_none() {
        return Err(BadAnswer::NoChoices);
    }
    Ok(parsed)
}

/// The error in a body that came with a success status.
pub(crate) fn error_in(body: &[u8]) -> error_body::ErrorBody {
    error_body::from_value(200, &serde_json::from_slice(body).unwrap_or_default())
}

/// Reads what accounting needs. The body stays as it is.
pub(crate) fn observe(bytes: Bytes) -> Result<Whole, BadAnswer> {
    let (usage, finish) = {
        let body = body(&bytes)?;
        (body.usage.0.unwrap_or_default().usage(), body.stop_reason.0.as_deref().map(finish))
    };
    Ok(Whole { body: bytes, usage, finish, kept: Kept::default(), media_type: None })
}

/// Reads a whole answer.
///
/// # Errors
/// The body is not an answer.
pub(crate) fn decode_answer(bytes: &[u8]) -> Result<Answer, BadAnswer> {
    let body = body(bytes)?;
    let mut answer = Answer {
        usage: body.usage.0.unwrap_or_default().usage(),
        finish: body.stop_reason.0.as_deref().map(finish),
        refusal: body.stop_details.0.and_then(|details| details.explanation.0).filter(|text| !text.is_empty()),
        ..Answer::default()
    };
    for block in body.content.into_iter().flatten().filter_map(block) {
        match block {
            Block::Text(text) => answer.text.push_str(&text),
            Block::Thinking { text, signature } => {
                answer.thoughts.push(Thought::Text { text: text.into(), signature: signature.map(Into::into) });
            }
            Block::Redacted(data) => answer.thoughts.push(Thought::Redacted(data.into())),
            Block::ToolUse { head, input } => answer.tool_calls.push((head, input.to_owned())),
        }
    }
    Ok(answer)
}

/// Reads the answer of `/messages/count_tokens`.
pub fn read_count(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Count {
        input_tokens: u64,
    }
    serde_json::from_slice(body).ok().map(|count: Count| count.input_tokens)
}

/// The text of all blocks.
pub(crate) fn generated_in(bytes: &[u8]) -> Generated {
    let mut generated = Generated::default();
    if let Ok(answer) = decode_answer(bytes) {
        answer.thoughts.iter().for_each(|thought| generated.push(thought.text()));
        generated.push(&answer.text);
        for (head, arguments) in &answer.tool_calls {
            generated.push(&head.name);
            generated.push(arguments);
        }
    }
    generated
}

/// The body of a whole answer.
pub(crate) fn encode_answer(answer: &Answer, context: &AnswerContext) -> Vec<u8> {
    let mut content: Vec<Value> = answer.thoughts.iter().map(thought).collect();
    if !answer.text.is_empty() {
        content.push(json!({"type": "text", "text": answer.text}));
    }
    for (number, (head, arguments)) in (0_u32..).zip(&answer.tool_calls) {
        let input: Value = input(arguments);
        let id = call_id(&context.id, number, &head.id);
        content.push(json!({"type": "tool_use", "id": id, "name": head.name, "input": input}));
    }
    let generated = answer.tool_calls.iter().map(|(_, arguments)| arguments.len()).sum::<usize>();
    let usage = answer.usage.or_estimated(context.prompt_tokens, answer.text.len().saturating_add(generated) as u64);
    let message = json!({
        "id": message_id(&context.id),
        "type": "message",
        "role": "assistant",
        "model": context.model,
        "content": content,
        "stop_reason": stop_reason(answer.finish.as_ref()),
        "stop_sequence": null,
        "usage": counts(&usage),
    });
    message.to_string().into_bytes()
}

fn thought(thought: &Thought<'_>) -> Value {
    match thought {
        Thought::Text { text, signature } => {
            json!({"type": "thinking", "thinking": text, "signature": signature.as_deref().unwrap_or_default()})
        }
        Thought::Redacted(data) => json!({"type": "redacted_thinking", "data": data}),
    }
}

/// Arguments as the object that they must be; what is none stands whole under `_raw`.
pub(super) fn input(arguments: &str) -> Value {
    match serde_json::from_str(arguments) {
        Ok(object @ Value::Object(_)) => object,
        _ if arguments.trim().is_empty() => json!({}),
        Ok(_) | Err(_) => json!({"_raw": arguments}),
    }
}

/// Our id of an answer, as Anthropic's begin.
pub(super) fn message_id(id: &str) -> String {
    format!("msg_{}", id.split_once('-').map_or(id, |(_, id)| id))
}

/// An id of a call that every provider accepts: the provider's own where it is made of letters that Anthropic takes.
pub(super) fn call_id(answer_id: &str, number: u32, id: &str) -> String {
    if id.is_empty() {
        let unique: String = answer_id.chars().filter(char::is_ascii_alphanumeric).collect();
        return format!("toolu_{unique}_{number}");
    }
    accepted_id(id).into_owned()
}

/// The id in letters that Anthropic takes. The same id always becomes the same.
pub(super) fn accepted_id(id: &str) -> std::borrow::Cow<'_, str> {
    let is_accepted = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    if !id.is_empty() && id.chars().all(is_accepted) {
        return id.into();
    }
    let letters = id.chars().map(|letter| if is_accepted(letter) { letter } else { '_' });
    let letters: String = letters.collect();
    if letters.is_empty() { "toolu_unknown".into() } else { letters.into() }
}
