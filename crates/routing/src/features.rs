//! A prompt as numbers: one pass over a bounded part of the conversation, in linear time.

use wire::chat::{Chat, Format, Message, Part};

use crate::words::{FAMILIES, LONGEST, family_of};

/// Text beyond this many bytes of the last user turn says little more about difficulty.
pub(crate) const READ_BYTES: usize = 16 * 1024;
/// Parts of a turn that are looked at; more would be read for nothing.
const READ_PARTS: usize = 64;

/// What one pass over the prompt sees: counts, in the part that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Features {
    /// Bytes of the last user turn, read or not.
    pub bytes: usize,
    /// Bytes that were read.
    pub read: usize,
    /// Words, cut at white space.
    pub words: usize,
    /// Letters of all words.
    pub letters: usize,
    /// Words of eight letters and more.
    pub long_words: usize,
    /// Words that begin with a capital.
    pub capitals: usize,
    /// Digits.
    pub digits: usize,
    /// Words that hold a digit.
    pub numbers: usize,
    /// Signs of formulas: `+ * / ^ = < >`.
    pub operators: usize,
    /// Backslashes and dollar signs around formulas.
    pub formulas: usize,
    /// Brackets, braces, underscores, semicolons.
    pub brackets: usize,
    /// Quotation marks.
    pub quotes: usize,
    /// Commas.
    pub commas: usize,
    /// Ends of sentences.
    pub stops: usize,
    /// Question marks.
    pub questions: usize,
    /// Bytes of letters beyond ASCII.
    pub foreign: usize,
    /// Lines.
    pub lines: usize,
    /// Lines that are an option of a choice: `A. …`, `(b) …`.
    pub options: usize,
    /// Bytes in those lines.
    pub option_bytes: usize,
    /// Those lines that hold a digit.
    pub numeric_options: usize,
    /// Lines that are an item of a list.
    pub items: usize,
    /// Indented lines.
    pub indented: usize,
    /// A fenced block, a function's head or a brace at a line's end: code is in play.
    pub has_code: bool,
    /// User turns in the conversation.
    pub turns: usize,
    /// Functions on offer.
    pub tools: usize,
    /// Bytes of system messages.
    pub system: usize,
    /// The answer must be JSON.
    pub wants_json: bool,
    /// Words of each family, in the order of `words::Family`.
    pub(crate) families: [u16; FAMILIES],
    /// Words of each family among the first words of the turn, which say what is asked.
    pub(crate) opening: [u16; FAMILIES],
}

/// Words that open a turn.
const OPENING_WORDS: usize = 8;

impl Features {
    /// Reads the last user turn and the shape of the conversation, and gives each text of that turn to `also`.
    pub(crate) fn of<'c>(chat: &'c Chat<'_>, mut also: impl FnMut(&'c str)) -> Features {
        let mut features = Features {
            tools: chat.tools.len(),
            wants_json: !matches!(chat.format, Format::Text),
            ..Features::default()
        };
        let mut last = None;
        for message in &chat.messages {
            match message {
                Message::User(parts) => {
                    features.turns = features.turns.saturating_add(1);
                    last = Some(parts);
                }
                Message::System(parts) => {
                    let bytes = texts(parts).map(str::len).fold(0, usize::saturating_add);
                    features.system = features.system.saturating_add(bytes);
                }
                Message::Assistant { .. } | Message::Tool { .. } => {}
            }
        }
        for text in last.into_iter().flat_map(|parts| texts(parts)) {
            let read = features.read_text(text);
            also(read);
        }
        features
    }

    /// Reads one piece of text as far as the bound allows and gives back the part that was read; pieces add up.
    pub(crate) fn read_text<'t>(&mut self, text: &'t str) -> &'t str {
        self.bytes = self.bytes.saturating_add(text.len());
        let text = text.get(..text.floor_char_boundary(READ_BYTES.saturating_sub(self.read))).unwrap_or_default();
        self.read = self.read.saturating_add(text.len());
        for line in text.split('\n') {
            self.read_line(line);
        }
        self.has_code |= text.contains("```") || text.contains("{\n") || text.contains("):\n");
        text
    }

    fn read_line(&mut self, line: &str) {
        self.lines = self.lines.saturating_add(1);
        self.indented = self.indented.saturating_add(usize::from(line.starts_with("    ") || line.starts_with('\t')));
        let trimmed = line.trim_start();
        let digits = self.digits;
        for byte in trimmed.bytes() {
            self.read_byte(byte);
        }
        if is_option(trimmed.as_bytes()) {
            self.options = self.options.saturating_add(1);
            self.option_bytes = self.option_bytes.saturating_add(trimmed.len());
            self.numeric_options = self.numeric_options.saturating_add(usize::from(self.digits > digits));
        }
        self.items = self.items.saturating_add(usize::from(is_item(trimmed.as_bytes())));
        for word in trimmed.split_ascii_whitespace() {
            self.read_word(word);
        }
    }

    fn read_byte(&mut self, byte: u8) {
        let count = match byte {
            b'0'..=b'9' => &mut self.digits,
            b'+' | b'*' | b'/' | b'^' | b'=' | b'<' | b'>' => &mut self.operators,
            b'\\' | b'$' => &mut self.formulas,
            b'{' | b'}' | b'[' | b']' | b'(' | b')' | b'_' | b';' | b'|' => &mut self.brackets,
            b'"' | b'\'' | b'`' => &mut self.quotes,
            b',' => &mut self.commas,
            b'.' | b'!' => &mut self.stops,
            b'?' => &mut self.questions,
            0x80.. => &mut self.foreign,
            _ => return,
        };
        *count = count.saturating_add(1);
    }

    fn read_word(&mut self, word: &str) {
        self.words = self.words.saturating_add(1);
        let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
        self.numbers = self.numbers.saturating_add(usize::from(has_digit));
        let is_capital = word.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase());
        self.capitals = self.capitals.saturating_add(usize::from(is_capital));
        let bare = word.trim_matches(|letter: char| !letter.is_alphanumeric());
        self.letters = self.letters.saturating_add(bare.len());
        self.long_words = self.long_words.saturating_add(usize::from(bare.len() >= 8));
        let mut lower = [0; LONGEST];
        let Some(lower) = lower.get_mut(..bare.len()) else { return };
        lower.copy_from_slice(bare.as_bytes());
        lower.make_ascii_lowercase();
        let Some(family) = family_of(lower) else { return };
        let count = |counts: &mut [u16; FAMILIES]| {
            if let Some(count) = counts.get_mut(family as usize) {
                *count = count.saturating_add(1);
            }
        };
        count(&mut self.families);
        if self.words <= OPENING_WORDS {
            count(&mut self.opening);
        }
    }

    /// Words of one family.
    pub(crate) fn family(&self, family: crate::words::Family) -> usize {
        self.families.get(family as usize).copied().map_or(0, usize::from)
    }

    /// The features that the trained heads read, each from 0 to 1.
    pub(crate) fn numbers(&self) -> [f32; NUMBERS] {
        let share = |count: usize, of: usize| (count as f32 / of.max(1) as f32).min(1.0);
        let log = |count: usize, most: f32| ((1.0 + count as f32).ln() / (1.0 + most).ln()).min(1.0);
        let flag = |is: bool| f32::from(u8::from(is));
        let own = [
            log(self.read, 16_384.0),
            log(self.words, 4_096.0),
            share(self.letters, self.words.saturating_mul(12)),
            share(self.long_words, self.words),
            share(self.capitals, self.words),
            share(self.digits.saturating_mul(3), self.read),
            log(self.numbers, 128.0),
            share(self.numbers.saturating_mul(2), self.words),
            share(self.operators.saturating_mul(8), self.read),
            log(self.operators, 128.0),
            log(self.formulas, 64.0),
            log(self.brackets, 256.0),
            log(self.quotes, 64.0),
            share(self.commas.saturating_mul(5), self.words),
            log(self.stops, 64.0),
            log(self.questions, 8.0),
            share(self.foreign.saturating_mul(4), self.read),
            log(self.lines, 256.0),
            log(self.options, 16.0),
            flag(self.options > 5),
            log(self.option_bytes / self.options.max(1), 256.0),
            share(self.numeric_options, self.options),
            log(self.items, 32.0),
            share(self.indented, self.lines),
            flag(self.has_code),
        ];
        let mut numbers = [0.0; NUMBERS];
        let families = self.families.iter().map(|count| log(usize::from(*count), 16.0));
        let opening = self.opening.iter().map(|count| log(usize::from(*count), 4.0));
        for (number, value) in numbers.iter_mut().zip(own.into_iter().chain(families).chain(opening)) {
            *number = value;
        }
        numbers
    }
}

/// Features of the text itself, before those of the families.
const OWN: usize = 25;
/// How many numbers the trained heads read.
pub(crate) const NUMBERS: usize = OWN + 2 * FAMILIES;

fn texts<'c>(parts: &'c [Part<'_>]) -> impl Iterator<Item = &'c str> {
    parts.iter().take(READ_PARTS).filter_map(|part| match part {
        Part::Text(text) => Some(&**text),
        Part::Image { .. } | Part::File { .. } | Part::CacheUntilHere(_) | Part::Other { .. } => None,
    })
}

/// `A. …`, `B) …`, `(c) …`
fn is_option(line: &[u8]) -> bool {
    match line {
        [b'(', letter, b')', b' ', ..] => letter.is_ascii_alphabetic(),
        [letter, b'.' | b')', b' ', ..] => letter.is_ascii_alphabetic(),
        _ => false,
    }
}

/// `- …`, `* …`, `• …`, `1. …`, `2) …`
fn is_item(line: &[u8]) -> bool {
    match line {
        [b'-' | b'*', b' ', ..] | [0xe2, 0x80, 0xa2, ..] => true,
        [digit, b'.' | b')', b' ', ..] | [_, digit, b'.' | b')', b' ', ..] => digit.is_ascii_digit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Features {
        let mut features = Features::default();
        features.read_text(text);
        features
    }

    #[test]
    fn counts_what_it_sees() {
        let seen = of("Prove that 2 + 2 = 4.\n```rust\nfn f() {}\n```\nA. yes\n(b) 12 or 13");

        assert_eq!((seen.digits, seen.numbers, seen.lines, seen.has_code), (7, 5, 6, true));
        assert_eq!((seen.options, seen.numeric_options, seen.operators), (2, 1, 2));
        assert_eq!(seen.family(crate::words::Family::Rigour), 1);
    }

    #[test]
    fn a_huge_prompt_is_read_in_part_and_cut_on_a_character() {
        let text = format!("a{}", "é".repeat(READ_BYTES));

        let seen = of(&text);

        assert_eq!((seen.bytes, seen.words, seen.read), (text.len(), 1, READ_BYTES - 1));
    }

    #[test]
    fn numbers_stay_within_bounds_for_any_text() {
        for text in ["", " ", &"=".repeat(100_000), &"why ".repeat(50_000), &"1\n".repeat(100_000), "é\u{0}"] {
            assert!(of(text).numbers().iter().all(|number| (0.0..=1.0).contains(number)), "{text:.10}");
        }
    }
}
