//! A tool that must be called. Ollama cannot make a model call one, and can hold its answer to a schema: that of the
//! tool's parameters. What comes back are the arguments, and they are handed on as the call.

use std::borrow::Cow;

use crate::chat::{Chat, Format, Tool, ToolChoice};
use crate::event::{Event, Finish, ToolCallHead};

/// The tool whose call is certain, where that is one.
pub(super) fn forced<'a>(chat: &'a Chat<'a>) -> Option<&'a Tool<'a>> {
    if !matches!(chat.format, Format::Text) {
        return None;
    }
    match (&chat.tool_choice, chat.tools.as_slice()) {
        (ToolChoice::Function(name), tools) => tools.iter().find(|tool| tool.name == *name),
        (ToolChoice::Required, [only]) => Some(only),
        _ => None,
    }
}

/// What the model is told of the tool, which it is not offered.
pub(super) fn instruction(tool: &Tool<'_>) -> Cow<'static, str> {
    let description = tool.description.as_deref().unwrap_or_default();
    format!("Call the function `{}`: answer with nothing but a JSON object of its arguments. {description}", tool.name)
        .trim_end()
        .to_owned()
        .into()
}

/// Turns the text of an answer into the call that it is.
#[derive(Debug, Default)]
pub(super) struct Forced {
    name: Option<String>,
    is_begun: bool,
}

impl Forced {
    /// `name` is the function's; `None` leaves every answer as it is.
    pub(super) fn new(name: Option<&str>) -> Forced {
        Forced { name: name.map(str::to_owned), is_begun: false }
    }

    /// The event as the client is told of it.
    pub(super) fn told(&mut self, event: Event) -> Event {
        let Some(name) = &self.name else { return event };
        match event {
            Event::Text { choice, text } => {
                let is_first = !std::mem::replace(&mut self.is_begun, true);
                let head = is_first.then(|| ToolCallHead { id: String::new(), name: name.clone() });
                Event::ToolCall { choice, index: 0, head, arguments: text }
            }
            Event::Finish { choice, reason: Finish::Stop } if self.is_begun => {
                Event::Finish { choice, reason: Finish::ToolCalls }
            }
            other => other,
        }
    }
}
