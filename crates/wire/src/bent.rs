//! What was bent in a request, because its provider cannot be told it otherwise, and has to be bent back in the answer.

use std::borrow::Cow;

use crate::chat::{Chat, Message, ToolChoice};
use crate::event::Event;

/// The longest name of a function that every provider takes, of letters, digits, `_` and `-`: OpenAI and Anthropic
/// document 64, some take more.
const MAX_NAME_BYTES: usize = 64;

/// What has to be bent back.
#[derive(Clone, Debug, Default)]
pub struct Bent {
    /// The function whose arguments the answer's text will be, where the provider cannot be made to call one.
    pub forced_call: Option<String>,
    /// Functions under the name that the provider knows, each with the client's own.
    names: Vec<(String, String)>,
}

impl Bent {
    /// The event as the client would have it.
    pub(crate) fn back(&self, event: &mut Event) {
        if let Event::ToolCall { head: Some(head), .. } = event {
            self.name(&mut head.name);
        }
    }

    /// The client's own name of a function.
    pub(crate) fn name(&self, name: &mut String) {
        if let Some((_, own)) = self.names.iter().find(|(sent, _)| sent == name) {
            own.clone_into(name);
        }
    }

    /// Gives every function a name that the provider takes.
    pub(crate) fn names(&mut self, chat: &mut Chat<'_>) {
        for tool in &mut chat.tools {
            if let Some(fit) = fitting(&tool.name) {
                self.names.push((fit.clone(), tool.name.to_string()));
                tool.name = Cow::Owned(fit);
            }
        }
        let rename = |name: &mut Cow<'_, str>| {
            if let Some(fit) = fitting(name) {
                *name = Cow::Owned(fit);
            }
        };
        if let ToolChoice::Function(name) = &mut chat.tool_choice {
            rename(name);
        }
        for message in &mut chat.messages {
            match message {
                Message::Assistant { tool_calls, .. } => tool_calls.iter_mut().for_each(|call| rename(&mut call.name)),
                Message::Tool { name: Some(name), .. } => rename(name),
                Message::Tool { name: None, .. } | Message::System(_) | Message::User(_) => {}
            }
        }
    }
}

/// A name that every provider takes, where this is none. The end tells apart what has the same beginning.
fn fitting(name: &str) -> Option<String> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    if name.len() <= MAX_NAME_BYTES && name.chars().all(is_letter) || name.is_empty() {
        return None;
    }
    let hash = name.bytes().fold(FNV_OFFSET, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(FNV_PRIME));
    let plain = name.chars().map(|letter| if is_letter(letter) { letter } else { '_' });
    let beginning: String = plain.take(MAX_NAME_BYTES.saturating_sub(9)).collect();
    Some(format!("{beginning}_{hash:08x}"))
}

/// FNV-1a of 32 bits: the same name has the same end in every replica and version.
const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

#[cfg(test)]
mod tests {
    use super::*;

    /// WIRE 3.2.
    #[test]
    fn names_that_fit_stay_and_others_are_told_apart() {
        let long = "mcp__a_server_with_a_long_name__and_a_tool_with_a_name_that_is_longer";
        let (one, two) = (fitting(&format!("{long}_1")).unwrap(), fitting(&format!("{long}_2")).unwrap());

        assert_eq!(fitting("get_weather-2"), None);
        assert_eq!((one.len(), &one[..55]), (64, &long[..55]));
        assert_ne!(one, two);
        assert!(fitting("wetter.für:morgen").unwrap().starts_with("wetter_f_r_morgen_"));
    }
}
