//! Canonical events and answers to OpenAI's `chat.completion.chunk` and `chat.completion`.
//!
//! Used where the provider speaks another dialect; an OpenAI provider's own bytes are never built anew. Counts that
//! the provider did not give are left out, not written as zero.

use serde::Serialize;

use crate::AnswerContext;
use crate::chat::Thought;
use crate::choices::Choices;
use crate::event::{Answer, Event, ToolCallHead};
use crate::usage::Usage;

/// Encoder of one stream. All chunks share the context's id, time and model.
#[derive(Debug)]
pub struct Encoder {
    context: AnswerContext,
    choices: Choices,
    /// The block of reasoning that is under way: its signature goes out with the whole of it.
    thought: String,
}

/// A longer block of reasoning is not told again with its signature.
const MAX_THOUGHT_BYTES: usize = 1024 * 1024;

impl Encoder {
    /// An encoder at the start of a stream.
    pub fn new(context: AnswerContext) -> Encoder {
        Encoder { context, choices: Choices::default(), thought: String::new() }
    }

    /// Takes the id, time and model of a stream that another encoder began.
    pub(crate) fn goes_on_from(&mut self, context: AnswerContext) {
        self.context = context;
    }

    /// Notes what the stream says of its choices in chunks that were not encoded here.
    pub(crate) fn observed(&mut self, choices: Choices) {
        self.choices.merge(choices);
    }

    /// The choices that are not complete; where none has begun, that is the first.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = u32> + use<> {
        self.choices.unfinished()
    }

    /// Appends the JSON payloads of the chunks that say `event` to `out`: none for token counts, two for the first
    /// event of a choice, whose role comes first in a chunk of its own.
    pub fn encode(&mut self, event: &Event, out: &mut Vec<Vec<u8>>) {
        let detail;
        let (index, delta, finish_reason) = match event {
            Event::Text { choice, text } => (*choice, Delta { content: Some(text), ..Delta::default() }, None),
            Event::Thinking { choice, text } => {
                if self.thought.len().saturating_add(text.len()) <= MAX_THOUGHT_BYTES {
                    self.thought.push_str(text);
                }
                (*choice, Delta { reasoning_content: Some(text), ..Delta::default() }, None)
            }
            Event::Signature { choice, signature } => {
                let text = std::mem::take(&mut self.thought);
                detail = Thought::Text { text: text.into(), signature: Some(signature.into()) };
                (*choice, Delta { reasoning_details: Some([Detail::of(&detail)]), ..Delta::default() }, None)
            }
            Event::Redacted { choice, data } => {
                detail = Thought::Redacted(data.into());
                (*choice, Delta { reasoning_details: Some([Detail::of(&detail)]), ..Delta::default() }, None)
            }
            Event::Refusal { choice, text } => (*choice, Delta { refusal: Some(text), ..Delta::default() }, None),
            Event::ToolCall { choice, index, head, arguments } => {
                let call = CallDelta::new(&self.context.id, *index, head.as_ref(), arguments);
                (*choice, Delta { tool_calls: Some([call]), ..Delta::default() }, None)
            }
            Event::Finish { choice, reason } => (*choice, Delta::default(), Some(reason.as_str())),
            Event::Usage(_) | Event::Alive => return,
        };
        if !self.choices.has_begun(index) {
            let delta = Delta { role: Some("assistant"), content: Some(""), ..Delta::default() };
            out.push(self.chunk([ChunkChoice { index, delta, logprobs: (), finish_reason: None }], None));
        }
        out.push(self.chunk([ChunkChoice { index, delta, logprobs: (), finish_reason }], None));
        self.choices.saw(index, finish_reason.is_some());
    }

    /// The JSON payload of the last chunk of a stream whose caller asked for usage: no choices, all counts.
    pub fn usage_chunk(&self, usage: &Usage) -> Vec<u8> {
        self.chunk([], Some(Counts::from(usage)))
    }

    fn chunk<const N: usize>(&self, choices: [ChunkChoice<'_>; N], usage: Option<Counts>) -> Vec<u8> {
        to_json(&Envelope::new("chat.completion.chunk", &self.context, &choices, usage))
    }
}

/// The body of a whole answer.
pub fn encode_answer(answer: &Answer, context: &AnswerContext) -> Vec<u8> {
    let calls = (0..).zip(&answer.tool_calls);
    let message = Message {
        role: "assistant",
        content: Some(answer.text.as_str()).filter(|text| !text.is_empty() || answer.tool_calls.is_empty()),
        refusal: answer.refusal.as_deref(),
        reasoning_content: answer.thoughts.iter().map(Thought::text).collect(),
        reasoning_details: details(&answer.thoughts),
        tool_calls: calls.map(|(index, (head, arguments))| Call::new(&context.id, index, head, arguments)).collect(),
    };
    let finish_reason = answer.finish.as_ref().map(|finish| finish.as_str());
    let choices = [AnswerChoice { index: 0, message, logprobs: (), finish_reason }];
    let usage = Some(&answer.usage).filter(|usage| !usage.is_unknown()).map(Counts::from);
    to_json(&Envelope::new("chat.completion", context, &choices, usage))
}

/// The JSON of a value made of structs, strings, numbers and raw JSON.
#[expect(clippy::expect_used, reason = "our types have no maps and no hand-written serialisation, so nothing can fail")]
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a plain value serialises")
}

#[derive(Serialize)]
struct Envelope<'a, C> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: &'a [C],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Counts>,
}

impl<'a, C> Envelope<'a, C> {
    fn new(object: &'static str, context: &'a AnswerContext, choices: &'a [C], usage: Option<Counts>) -> Self {
        Envelope { id: &context.id, object, created: context.created, model: &context.model, choices, usage }
    }
}

/// `logprobs` is `()`, which is `null`: OpenAI sends it so, and no other dialect has it.
#[derive(Serialize)]
struct ChunkChoice<'a> {
    index: u32,
    delta: Delta<'a>,
    logprobs: (),
    finish_reason: Option<&'a str>,
}

#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_details: Option<[Detail<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[CallDelta<'a>; 1]>,
}

/// A whole block of reasoning with what the vendor wants to see again, in OpenRouter's form. Clients send it back as it
/// is.
#[derive(Serialize)]
pub(super) struct Detail<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    format: &'static str,
}

impl<'a> Detail<'a> {
    pub(super) fn of(thought: &'a Thought<'_>) -> Detail<'a> {
        let format = "anthropic-claude-v1";
        match thought {
            Thought::Text { text, signature } => Detail {
                r#type: "reasoning.text",
                text: Some(text),
                signature: signature.as_deref(),
                data: None,
                format,
            },
            Thought::Redacted(data) => {
                Detail { r#type: "reasoning.encrypted", text: None, signature: None, data: Some(data), format }
            }
        }
    }
}

/// The blocks that must come back as they are; none where nothing is signed.
fn details<'a>(thoughts: &'a [Thought<'_>]) -> Vec<Detail<'a>> {
    if thoughts.iter().any(Thought::is_proven) { thoughts.iter().map(Detail::of).collect() } else { Vec::new() }
}

#[derive(Serialize)]
struct CallDelta<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    function: FunctionDelta<'a>,
}

#[derive(Serialize)]
struct FunctionDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

impl<'a> CallDelta<'a> {
    fn new(answer_id: &str, index: u32, head: Option<&'a ToolCallHead>, arguments: &'a str) -> CallDelta<'a> {
        CallDelta {
            index,
            id: head.map(|head| call_id(answer_id, index, head)),
            r#type: head.map(|_| "function"),
            function: FunctionDelta { name: head.map(|head| head.name.as_str()), arguments },
        }
    }
}

#[derive(Serialize)]
struct AnswerChoice<'a> {
    index: u32,
    message: Message<'a>,
    logprobs: (),
    finish_reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<&'a str>,
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reasoning_content: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasoning_details: Vec<Detail<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
}

#[derive(Serialize)]
struct Call<'a> {
    id: String,
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

impl<'a> Call<'a> {
    fn new(answer_id: &str, index: u32, head: &'a ToolCallHead, arguments: &'a str) -> Call<'a> {
        let function = Function { name: &head.name, arguments };
        Call { id: call_id(answer_id, index, head), r#type: "function", function }
    }
}

/// The provider's id of a call, or one made of the answer's id and the call's number: unique wherever the answer's id
/// is, the same whenever the answer is encoded again, and in the letters and length that every provider accepts when
/// the conversation goes on elsewhere.
fn call_id(answer_id: &str, index: u32, head: &ToolCallHead) -> String {
    const TAIL: usize = 24;
    if !head.id.is_empty() {
        return head.id.clone();
    }
    let unique: Vec<char> = answer_id.chars().filter(char::is_ascii_alphanumeric).collect();
    let tail: String = unique.iter().skip(unique.len().saturating_sub(TAIL)).collect();
    format!("call_{tail}_{index}")
}

/// OpenAI's `usage` object.
#[derive(Serialize)]
pub(crate) struct Counts {
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

impl From<&Usage> for Counts {
    fn from(usage: &Usage) -> Counts {
        Counts {
            prompt_tokens: usage.input,
            completion_tokens: usage.output,
            total_tokens: usage.input.zip(usage.output).map(|(input, output)| input.saturating_add(output)),
            prompt_tokens_details: usage.cached_input.map(|cached_tokens| PromptDetails { cached_tokens }),
            completion_tokens_details: usage.reasoning.map(|reasoning_tokens| CompletionDetails { reasoning_tokens }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Finish;

    fn context() -> AnswerContext {
        AnswerContext {
            id: "chatcmpl-1".to_owned(),
            created: 7,
            model: "m".to_owned(),
            prompt_tokens: 0,
            bent: Default::default(),
        }
    }

    /// The `choices` of the chunks that the events become.
    fn choices(events: &[Event]) -> Vec<String> {
        let mut encoder = Encoder::new(context());
        let mut payloads = Vec::new();
        events.iter().for_each(|event| encoder.encode(event, &mut payloads));
        let head = r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m","choices":["#;
        let texts = payloads.into_iter().map(|payload| String::from_utf8(payload).unwrap());
        texts.map(|text| text.strip_prefix(head).unwrap().strip_suffix("]}").unwrap().to_owned()).collect()
    }

    /// WIRE 3.5.
    #[test]
    fn a_call_has_its_id_type_and_name_in_its_first_chunk_only() {
        let head = Some(ToolCallHead { id: "call_1".to_owned(), name: "f".to_owned() });
        let call =
            |head, arguments: &str| Event::ToolCall { choice: 0, index: 1, head, arguments: arguments.to_owned() };

        let chunks = choices(&[call(head, ""), call(None, "{\"a\":"), call(None, "1}")]);

        assert_eq!(
            chunks,
            [
                r#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}"#,
                r#"{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]},"logprobs":null,"finish_reason":null}"#,
                r#"{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"{\"a\":"}}]},"logprobs":null,"finish_reason":null}"#,
                r#"{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"1}"}}]},"logprobs":null,"finish_reason":null}"#,
            ]
        );
    }

    /// WIRE 5.1.
    #[test]
    fn every_choice_begins_with_its_role_and_ends_with_its_reason() {
        let text = |choice| Event::Text { choice, text: "a".to_owned() };
        let finish = |choice, reason| Event::Finish { choice, reason };
        let events = [
            text(0),
            text(1),
            text(0),
            Event::Usage(Usage { input: Some(1), ..Usage::default() }),
            finish(1, Finish::ContentFilter),
            finish(0, Finish::Other("eos".to_owned())),
        ];

        let said = |choice: u32, delta: &str, finish: &str| {
            format!(r#"{{"index":{choice},"delta":{{{delta}}},"logprobs":null,"finish_reason":{finish}}}"#)
        };
        let (role, a) = (r#""role":"assistant","content":"""#, r#""content":"a""#);
        assert_eq!(
            choices(&events),
            [
                said(0, role, "null"),
                said(0, a, "null"),
                said(1, role, "null"),
                said(1, a, "null"),
                said(0, a, "null"),
                said(1, "", "\"content_filter\""),
                said(0, "", "\"eos\""),
            ]
        );
    }

    #[test]
    fn an_answer_without_a_reason_says_null() {
        let answer = Answer { text: "a".to_owned(), ..Answer::default() };

        let body = String::from_utf8(encode_answer(&answer, &context())).unwrap();

        assert!(body.ends_with(r#""logprobs":null,"finish_reason":null}]}"#), "{body}");
    }
}
