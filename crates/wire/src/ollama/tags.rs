//! Reasoning that a model writes into its text, between `<think>` and `</think>`: models whose template Ollama does not
//! know as thinking ones. The tags may be cut anywhere by the stream.

use crate::event::Event;

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// Tells reasoning from text. Only a tag that the answer begins with counts: one that comes later is quoted.
#[derive(Debug, Default)]
pub(super) struct Tags {
    place: Place,
    /// What may be the beginning of a tag.
    held: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Nothing but white space has come.
    #[default]
    Start,
    /// After the first tag, where line ends still belong to it.
    Opened,
    Thinking,
    /// After the tag, where white space still belongs to it.
    Closed,
    Text,
}

impl Tags {
    /// Takes a piece of text and appends what it is to `out`.
    pub(super) fn push(&mut self, piece: &str, out: &mut Vec<Event>) {
        self.held.push_str(piece);
        if self.place == Place::Start {
            let begun = self.held.trim_start();
            if let Some(rest) = begun.strip_prefix(OPEN) {
                (self.place, self.held) = (Place::Opened, rest.to_owned());
            } else if OPEN.starts_with(begun) {
                return;
            } else {
                self.place = Place::Text;
            }
        }
        if self.place == Place::Opened {
            let thought = self.held.trim_start_matches('\n');
            if thought.is_empty() {
                return;
            }
            (self.place, self.held) = (Place::Thinking, thought.to_owned());
        }
        if self.place == Place::Thinking {
            match self.held.split_once(CLOSE) {
                Some((thought, text)) => {
                    think(thought.trim_end_matches('\n'), out);
                    (self.place, self.held) = (Place::Closed, text.to_owned());
                }
                None => {
                    let rest = self.held.split_off(self.held.len().saturating_sub(unclear(&self.held)));
                    think(&std::mem::replace(&mut self.held, rest), out);
                }
            }
        }
        if self.place == Place::Closed {
            let text = self.held.trim_start();
            if text.is_empty() {
                return;
            }
            (self.place, self.held) = (Place::Text, text.to_owned());
        }
        if self.place == Place::Text {
            say(std::mem::take(&mut self.held), out);
        }
    }

    /// Appends what was held, at the end of the answer.
    pub(super) fn end(&mut self, out: &mut Vec<Event>) {
        let held = std::mem::take(&mut self.held);
        match self.place {
            Place::Thinking => think(&held, out),
            Place::Start | Place::Text => say(held, out),
            Place::Opened | Place::Closed => {}
        }
    }
}

/// How many of the last bytes may be a tag's beginning, or line ends before it.
fn unclear(text: &str) -> usize {
    let before = text.trim_end_matches('\n');
    let lines = text.len().saturating_sub(before.len());
    let longest = (1..CLOSE.len()).rev().find(|length| CLOSE.get(..*length).is_some_and(|start| text.ends_with(start)));
    match longest {
        None => lines,
        Some(length) => {
            let before = text.get(..text.len().saturating_sub(length)).unwrap_or_default();
            length.saturating_add(before.len().saturating_sub(before.trim_end_matches('\n').len()))
        }
    }
}

fn think(text: &str, out: &mut Vec<Event>) {
    if !text.is_empty() {
        out.push(Event::Thinking { choice: 0, text: text.to_owned() });
    }
}

fn say(text: String, out: &mut Vec<Event>) {
    if !text.is_empty() {
        out.push(Event::Text { choice: 0, text });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&str]) -> (String, String) {
        let (mut tags, mut events) = (Tags::default(), Vec::new());
        pieces.iter().for_each(|piece| tags.push(piece, &mut events));
        tags.end(&mut events);
        let mut said = (String::new(), String::new());
        for event in events {
            match event {
                Event::Thinking { text, .. } => said.0.push_str(&text),
                Event::Text { text, .. } => said.1.push_str(&text),
                other => panic!("{other:?}"),
            }
        }
        said
    }

    /// WIRE 8.2.
    #[test]
    fn reasoning_is_told_from_text_wherever_the_stream_is_cut() {
        for (answer, thought, text) in [
            ("<think>\nhm < 3\n\né</think>\n\nHello </think>", "hm < 3\n\né", "Hello </think>"),
            ("\n<think></think>Hi", "", "Hi"),
            ("Say <think>this</think>", "", "Say <think>this</think>"),
            ("<thin", "", "<thin"),
            ("<think>never closed </th", "never closed </th", ""),
            ("", "", ""),
        ] {
            let expected = (thought.to_owned(), text.to_owned());
            assert_eq!(split(&[answer]), expected, "{answer:?}");
            for cut in (0..=answer.len()).filter(|cut| answer.is_char_boundary(*cut)) {
                let (head, tail) = answer.split_at(cut);
                assert_eq!(split(&[head, tail]), expected, "{answer:?} cut at {cut}");
            }
            let letters: Vec<String> = answer.chars().map(String::from).collect();
            assert_eq!(split(&letters.iter().map(String::as_str).collect::<Vec<_>>()), expected, "{answer:?}");
        }
    }
}
