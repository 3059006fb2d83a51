//! The canonical answer: a sequence of events, or the [`Answer`] that they fold into.

use crate::chat::Thought;
use crate::usage::Usage;

/// One step of an answer, whatever dialect it came in.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A piece of visible text of choice `choice`.
    Text {
        /// Index of the choice (0 unless `n` > 1).
        choice: u32,
        /// The text, never empty.
        text: String,
    },
    /// A piece of reasoning text.
    Thinking {
        /// Index of the choice.
        choice: u32,
        /// The text, never empty.
        text: String,
    },
    /// The reasoning so far ends, with the vendor's proof of it.
    Signature {
        /// Index of the choice.
        choice: u32,
        /// The proof.
        signature: String,
    },
    /// A block of reasoning that only the vendor can read.
    Redacted {
        /// Index of the choice.
        choice: u32,
        /// What it reads it from.
        data: String,
    },
    /// A tool call begins, or its arguments go on.
    ToolCall {
        /// Index of the choice.
        choice: u32,
        /// Position of the call in the answer; one number per call over the whole stream.
        index: u32,
        /// Id and function name, present in the first event of a call and only there.
        head: Option<ToolCallHead>,
        /// A piece of the arguments as JSON text; the pieces of a call concatenate to the whole.
        arguments: String,
    },
    /// Why the model refuses, in the vendor's words; the text, if any, is the model's.
    Refusal {
        /// Index of the choice.
        choice: u32,
        /// The explanation, never empty.
        text: String,
    },
    /// Nothing but a sign of life.
    Alive,
    /// Token counts, cumulative: later ones replace earlier ones.
    Usage(Usage),
    /// A choice is complete.
    Finish {
        /// Index of the choice.
        choice: u32,
        /// Why it ended.
        reason: Finish,
    },
}

/// Identity of a tool call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCallHead {
    /// Unique within the conversation; empty where the provider gave none, and then minted by the encoder.
    pub id: String,
    /// Name of the function.
    pub name: String,
}

/// Why a choice ended, in OpenAI's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// A natural end or a stop sequence.
    Stop,
    /// The token limit or the context window was reached.
    Length,
    /// The model wants tools called.
    ToolCalls,
    /// The provider withheld the answer.
    ContentFilter,
    /// A reason that OpenAI's contract does not name (`eos`, `function_call`, …), passed on as it is.
    Other(String),
}

impl Finish {
    /// The `finish_reason` of OpenAI's contract.
    pub fn as_str(&self) -> &str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::ToolCalls => "tool_calls",
            Finish::ContentFilter => "content_filter",
            Finish::Other(reason) => reason,
        }
    }

    /// Reads OpenAI's `finish_reason`.
    pub fn parse(reason: &str) -> Finish {
        match reason {
            "stop" => Finish::Stop,
            "length" => Finish::Length,
            "tool_calls" => Finish::ToolCalls,
            "content_filter" => Finish::ContentFilter,
            other => Finish::Other(other.to_owned()),
        }
    }
}

/// A whole answer with one choice: what non-streaming dialects other than OpenAI's give.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Answer {
    /// Visible text.
    pub text: String,
    /// Blocks of reasoning in order.
    pub thoughts: Vec<Thought<'static>>,
    /// Why the model refuses, where its vendor explains it.
    pub refusal: Option<String>,
    /// Tool calls in order: identity and arguments as JSON text.
    pub tool_calls: Vec<(ToolCallHead, String)>,
    /// Why it ended; `None` when the provider did not say.
    pub finish: Option<Finish>,
    /// Token counts.
    pub usage: Usage,
}

impl Answer {
    /// Folds one event in. Events of choices other than 0 are ignored: only OpenAI's dialect has them, and its
    /// answers are never folded.
    pub fn fold(&mut self, event: Event) {
        match event {
            Event::Text { choice: 0, text } => self.text.push_str(&text),
            Event::Thinking { choice: 0, text } => match self.thoughts.last_mut() {
                Some(Thought::Text { text: held, signature: None }) => held.to_mut().push_str(&text),
                _ => self.thoughts.push(Thought::Text { text: text.into(), signature: None }),
            },
            Event::Signature { choice: 0, signature: proof } => match self.thoughts.last_mut() {
                Some(Thought::Text { signature: signature @ None, .. }) => *signature = Some(proof.into()),
                _ => self.thoughts.push(Thought::Text { text: "".into(), signature: Some(proof.into()) }),
            },
            Event::Redacted { choice: 0, data } => self.thoughts.push(Thought::Redacted(data.into())),
            Event::ToolCall { choice: 0, head: Some(head), arguments, .. } => self.tool_calls.push((head, arguments)),
            Event::ToolCall { choice: 0, index, head: None, arguments } => {
                if let Some((_, held)) = self.tool_calls.get_mut(index as usize) {
                    held.push_str(&arguments);
                }
            }
            Event::Refusal { choice: 0, text } => self.refusal = Some(text),
            Event::Usage(usage) => self.usage.merge(usage),
            Event::Finish { choice: 0, reason } => self.finish = Some(reason),
            Event::Text { .. }
            | Event::Thinking { .. }
            | Event::Signature { .. }
            | Event::Redacted { .. }
            | Event::Refusal { .. }
            | Event::Alive
            | Event::ToolCall { .. }
            | Event::Finish { .. } => {}
        }
    }
}
