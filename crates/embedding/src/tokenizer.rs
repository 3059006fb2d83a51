//! BERT's uncased WordPiece: what the model calls a token.
//!
//! Text is cleaned, lower-cased and stripped of its accents, cut at white space and punctuation, and each word is read as
//! the longest pieces that the vocabulary has. Time is linear in the text, whatever stands in it.

use std::collections::HashMap;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

static VOCABULARY: &str = include_str!("../model/vocab.txt");
/// The token of a word that cannot be read.
pub const UNKNOWN: u32 = 100;
/// A longer word is not read, as in the vendor's tokenizer.
const MOST_LETTERS: usize = 100;
/// What goes before a piece that does not begin its word.
const INSIDE: &str = "##";

struct Vocabulary {
    /// Pieces that begin a word, and those inside of one, without their mark.
    begins: HashMap<&'static str, u32>,
    inside: HashMap<&'static str, u32>,
    /// Letters of the longest.
    longest: usize,
}

static PIECES: LazyLock<Vocabulary> = LazyLock::new(|| {
    let mut pieces = Vocabulary { begins: HashMap::new(), inside: HashMap::new(), longest: 0 };
    for (id, piece) in (0_u32..).zip(VOCABULARY.lines()) {
        let (map, piece) = match piece.strip_prefix(INSIDE) {
            Some(inside) if !inside.is_empty() => (&mut pieces.inside, inside),
            Some(_) | None => (&mut pieces.begins, piece),
        };
        map.insert(piece, id);
        pieces.longest = pieces.longest.max(piece.chars().count());
    }
    pieces
});

/// The tokens of a text, without the marks around it.
pub fn tokens(text: &str) -> impl Iterator<Item = u32> {
    let mut words = Words { text, word: String::new() };
    let mut ready: Vec<u32> = Vec::new();
    std::iter::from_fn(move || {
        while ready.is_empty() {
            if !words.next_word() {
                return None;
            }
            read(&words.word, &mut ready);
            ready.reverse();
        }
        ready.pop()
    })
}

/// Whether a word in lower case is one that the model knows as a whole.
pub fn is_word(word: &str) -> bool {
    PIECES.begins.contains_key(word)
}

/// Reads a word as the longest pieces that there are, from its beginning.
fn read(word: &str, out: &mut Vec<u32>) {
    let pieces = &*PIECES;
    if word.chars().count() > MOST_LETTERS {
        out.push(UNKNOWN);
        return;
    }
    let mut rest = word;
    while !rest.is_empty() {
        let map = if rest.len() == word.len() { &pieces.begins } else { &pieces.inside };
        let mut end = rest.char_indices().nth(pieces.longest).map_or(rest.len(), |(end, _)| end);
        let found = loop {
            match map.get(rest.get(..end).unwrap_or_default()) {
                Some(id) => break Some(*id),
                None => match rest.get(..end).and_then(|part| part.char_indices().next_back()) {
                    Some((0, _)) | None => break None,
                    Some((shorter, _)) => end = shorter,
                },
            }
        };
        let Some(id) = found else {
            out.clear();
            out.push(UNKNOWN);
            return;
        };
        out.push(id);
        rest = rest.get(end..).unwrap_or_default();
    }
}

/// Cuts a text into words, lower-cased and without accents.
struct Words<'a> {
    text: &'a str,
    word: String,
}

impl Words<'_> {
    /// Puts the next word into `word`; false at the end.
    fn next_word(&mut self) -> bool {
        self.word.clear();
        while let Some(letter) = self.text.chars().next() {
            let kind = kind(letter);
            if !self.word.is_empty() && kind != Kind::Letter && kind != Kind::Nothing {
                return true;
            }
            self.text = self.text.get(letter.len_utf8()..).unwrap_or_default();
            match kind {
                Kind::Space | Kind::Nothing => {}
                Kind::Alone => {
                    self.push(letter);
                    // An accent alone leaves nothing.
                    if !self.word.is_empty() {
                        return true;
                    }
                }
                Kind::Letter => self.push(letter),
            }
        }
        !self.word.is_empty()
    }

    fn push(&mut self, letter: char) {
        if letter.is_ascii() {
            self.word.push(letter.to_ascii_lowercase());
            return;
        }
        for part in letter.nfd().filter(|part| part.general_category() != GeneralCategory::NonspacingMark) {
            self.word.extend(part.to_lowercase());
        }
    }
}

#[derive(PartialEq)]
enum Kind {
    Letter,
    /// A word of its own: punctuation, Chinese characters.
    Alone,
    Space,
    /// Left out: control characters.
    Nothing,
}

fn kind(letter: char) -> Kind {
    match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' => Kind::Letter,
        '\t' | '\n' | '\r' | ' ' => Kind::Space,
        '\0'..='\x1f' | '\x7f' | '\u{fffd}' => Kind::Nothing,
        '!'..='~' => Kind::Alone,
        _ if is_chinese(letter) => Kind::Alone,
        _ if letter.is_whitespace() => Kind::Space,
        _ => match letter.general_category_group() {
            GeneralCategoryGroup::Punctuation => Kind::Alone,
            GeneralCategoryGroup::Other => Kind::Nothing,
            _ => Kind::Letter,
        },
    }
}

/// The blocks that BERT's authors list.
fn is_chinese(letter: char) -> bool {
    matches!(
        u32::from(letter),
        0x4e00..=0x9fff
            | 0x3400..=0x4dbf
            | 0x20000..=0x2a6df
            | 0x2a700..=0x2b73f
            | 0x2b740..=0x2b81f
            | 0x2b820..=0x2ceaf
            | 0xf900..=0xfaff
            | 0x2f800..=0x2fa1f
    )
}

#[cfg(test)]
mod tests;
