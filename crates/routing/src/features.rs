//! A prompt as numbers: one pass over a bounded part of the conversation, no allocation, linear time.

use wire::chat::{Chat, Message, Part};

/// Text beyond this many bytes of the last user turn says little more about difficulty.
const READ_BYTES: usize = 16 * 1024;

/// What one pass over the prompt sees.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Features {
    /// Bytes of the last user turn.
    pub bytes: usize,
    /// Words in the part that was read.
    pub words: usize,
    /// Digits among the characters read.
    pub digits: usize,
    /// Mathematical and programming symbols among the characters read.
    pub symbols: usize,
    /// Line breaks read.
    pub lines: usize,
    /// Words that ask for reasoning, proof, design or comparison.
    pub hard_words: usize,
    /// A fenced block or an indented brace: code is in play.
    pub has_code: bool,
    /// User turns in the conversation.
    pub turns: usize,
    /// Functions on offer.
    pub tools: usize,
}

/// Words that raise difficulty wherever they stand. Lower case; matched on whole words.
const HARD_WORDS: [&str; 28] = [
    "algorithm",
    "analyze",
    "analyse",
    "architecture",
    "calculate",
    "compare",
    "complexity",
    "debug",
    "derive",
    "design",
    "equation",
    "evaluate",
    "explain",
    "implement",
    "integral",
    "optimize",
    "optimise",
    "plan",
    "proof",
    "prove",
    "reason",
    "refactor",
    "solve",
    "step",
    "strategy",
    "theorem",
    "trade-offs",
    "why",
];

impl Features {
    /// Reads the last user turn and the shape of the conversation.
    pub fn of(chat: &Chat<'_>) -> Features {
        let mut features = Features { tools: chat.tools.len(), ..Features::default() };
        let user_turns = chat.messages.iter().filter_map(|message| match message {
            Message::User(parts) => Some(parts),
            Message::System(_) | Message::Assistant { .. } | Message::Tool { .. } => None,
        });
        let mut last = None;
        for parts in user_turns {
            features.turns += 1;
            last = Some(parts);
        }
        for part in last.into_iter().flatten() {
            if let Part::Text(text) = part {
                features.read(text);
            }
        }
        features
    }

    /// Reads one piece of text; several pieces add up.
    pub fn read(&mut self, text: &str) {
        self.bytes += text.len();
        let mut end = text.len().min(READ_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text.get(..end).unwrap_or_default();
        self.has_code |= text.contains("```") || text.contains("{\n");
        for byte in text.bytes() {
            match byte {
                b'0'..=b'9' => self.digits += 1,
                b'\n' => self.lines += 1,
                b'+' | b'*' | b'/' | b'^' | b'=' | b'<' | b'>' | b'\\' | b'{' | b'}' | b'[' | b']' | b'|' | b'_'
                | b';' => self.symbols += 1,
                _ => {}
            }
        }
        for word in text.split_ascii_whitespace() {
            self.words += 1;
            let word = word.trim_matches(|c: char| !c.is_alphanumeric());
            if HARD_WORDS.iter().any(|hard| hard.eq_ignore_ascii_case(word)) {
                self.hard_words += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Features {
        let mut features = Features::default();
        features.read(text);
        features
    }

    #[test]
    fn counts_what_it_sees() {
        let seen = of("Prove that 2 + 2 = 4.\n```rust\nfn f() {}\n```");

        assert_eq!((seen.digits, seen.hard_words, seen.lines, seen.has_code), (3, 1, 3, true));
    }

    #[test]
    fn a_huge_prompt_is_read_in_part_and_cut_on_a_character() {
        let text = "é".repeat(READ_BYTES);

        let seen = of(&text);

        assert_eq!((seen.bytes, seen.words), (text.len(), 1));
    }
}
