//! A text cut into pieces: words, numbers, what must keep its bytes, and marks.
//!
//! One pass, linear in the text whatever stands in it.

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Piece<'a> {
    /// Letters, with hyphens and apostrophes inside.
    Word(&'a str),
    /// Digits, with their separators.
    Number(&'a str),
    /// Code, a quotation without its marks.
    Code(&'a str),
    Quote(&'a str),
    /// An address, a path, an identifier, a version: letters mixed with something else.
    Name(&'a str),
    /// Punctuation and operators.
    Mark(char),
    /// The end of a line.
    Break,
}

/// Cuts a text.
pub(crate) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut cutter = Cutter { rest: text, before: None, pieces: Vec::new(), unclosed: [false; QUOTES.len()] };
    while let Some(letter) = cutter.rest.chars().next() {
        cutter.cut(letter);
    }
    cutter.pieces
}

/// What opens and closes code and quotations. A single quote does so only at the edges of words.
const QUOTES: [(&str, &str); 6] = [("```", "```"), ("`", "`"), ("\"", "\""), ("“", "”"), ("«", "»"), ("'", "'")];
const FENCES: usize = 2;

struct Cutter<'a> {
    rest: &'a str,
    before: Option<char>,
    pieces: Vec<Piece<'a>>,
    /// Which quotes have no end in the rest of the text: looked for once.
    unclosed: [bool; QUOTES.len()],
}

impl<'a> Cutter<'a> {
    fn cut(&mut self, letter: char) {
        if letter == '\n' {
            self.pieces.push(Piece::Break);
            self.advance(1);
        } else if letter.is_whitespace() {
            self.advance(letter.len_utf8());
        } else if !self.quoted() {
            self.chunk();
        }
    }

    fn advance(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.before = taken.chars().next_back();
        self.rest = rest;
        taken
    }

    /// Takes code or a quotation that begins here.
    fn quoted(&mut self) -> bool {
        for ((index, (open, close)), unclosed) in QUOTES.iter().enumerate().zip(self.unclosed) {
            let Some(inside) = self.rest.strip_prefix(open).filter(|_| !unclosed) else { continue };
            if *open == "'" && self.before.is_some_and(char::is_alphanumeric) {
                return false;
            }
            let Some(end) = end_of(inside, close) else {
                if let Some(unclosed) = self.unclosed.get_mut(index) {
                    *unclosed = true;
                }
                continue;
            };
            self.advance(open.len());
            let inside = self.advance(end);
            self.advance(close.len());
            self.pieces.push(if index < FENCES { Piece::Code(inside) } else { Piece::Quote(inside) });
            return true;
        }
        false
    }

    /// Takes what stands until white space or a quote.
    fn chunk(&mut self) {
        let ends = |(at, letter): &(usize, char)| {
            *at > 0 && (letter.is_whitespace() || matches!(letter, '`' | '"' | '“' | '«'))
        };
        let end = self.rest.char_indices().find(ends).map_or(self.rest.len(), |(at, _)| at);
        let chunk = self.advance(end);
        if is_address(chunk) {
            let core = chunk.trim_end_matches(['.', ',', ';', '!', '?', ')']);
            self.pieces.push(Piece::Name(core));
            self.marks(chunk.get(core.len()..).unwrap_or_default());
            return;
        }
        let is_inner =
            |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '#' | '$' | '€' | '£' | '@' | '\\');
        let begin = chunk.find(|letter: char| is_inner(letter) || letter == '/').unwrap_or(chunk.len());
        let after = chunk.char_indices().rfind(|(_, letter)| is_inner(*letter) || *letter == '%');
        let after = after.map_or(begin, |(at, letter)| at.saturating_add(letter.len_utf8())).max(begin);
        // What sticks to a name: `c++`, `.net`, `-v`, `~/x`.
        let dotted = chunk.get(..begin).filter(|lead| matches!(*lead, "." | "-" | "--" | "./" | "../" | "~"));
        let begin = if dotted.is_some() { 0 } else { begin };
        let after =
            if chunk.get(after..).is_some_and(|tail| tail.starts_with("++")) { after.saturating_add(2) } else { after };
        self.marks(chunk.get(..begin).unwrap_or_default());
        self.core(chunk.get(begin..after).unwrap_or_default());
        self.marks(chunk.get(after..).unwrap_or_default());
    }

    fn marks(&mut self, marks: &str) {
        self.pieces.extend(marks.chars().map(Piece::Mark));
    }

    fn core(&mut self, core: &'a str) {
        if core.is_empty() {
        } else if core.chars().all(|letter| letter.is_alphabetic() || matches!(letter, '\'' | '’' | '-')) {
            self.pieces.push(Piece::Word(core));
        } else if is_number(core) {
            self.pieces.push(Piece::Number(core));
        } else if !self.sum(core) {
            self.pieces.push(Piece::Name(core));
        }
    }

    /// Takes numbers with operators between them.
    fn sum(&mut self, core: &'a str) -> bool {
        let is_operator = |letter: char| matches!(letter, '+' | '*' | '×' | '÷' | '=' | '^');
        let is_sum = core.contains(is_operator) && core.split(is_operator).all(is_number);
        if is_sum {
            for part in core.split_inclusive(is_operator) {
                let number = part.trim_end_matches(is_operator);
                self.pieces.push(Piece::Number(number));
                self.pieces.extend(part.get(number.len()..).unwrap_or_default().chars().map(Piece::Mark));
            }
        }
        is_sum
    }
}

/// Where a quotation ends; a closing single quote has no letter after it.
fn end_of(inside: &str, close: &str) -> Option<usize> {
    if close != "'" {
        return inside.find(close).filter(|end| *end > 0 || close == "```");
    }
    let is_edge =
        |at: &usize| !inside.get(at.saturating_add(1)..).is_some_and(|rest| rest.starts_with(char::is_alphanumeric));
    inside.match_indices('\'').map(|(at, _)| at).find(is_edge).filter(|end| *end > 0)
}

fn is_address(chunk: &str) -> bool {
    chunk.contains("://") || chunk.starts_with("www.") || chunk.starts_with('/') && chunk.len() > 1
}

/// Digits with separators among them, a sign of money before and of a share behind.
fn is_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['$', '€', '£']).trim_end_matches('%');
    let mut last = ' ';
    for letter in digits.chars() {
        let fits = letter.is_ascii_digit() || matches!(letter, '.' | ',') && last.is_ascii_digit();
        if !fits {
            return false;
        }
        last = letter;
    }
    last.is_ascii_digit()
}
