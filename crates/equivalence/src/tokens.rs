//! Pieces in canonical spelling: contractions apart, numbers in digits, operators as signs, fillers gone.
//!
//! Both the canonical form and the reading are made of them, so that the two tiers agree on what a word is.

use std::borrow::Cow;

use crate::numerals;
use crate::pieces::{Piece, pieces};
use crate::words;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Number,
    Code,
    Quote,
    Name,
    Mark,
    Break,
}

/// A piece in canonical spelling.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: Cow<'a, str>,
    /// Whether it was written with a capital.
    pub(crate) is_capital: bool,
}

impl Token<'_> {
    pub(crate) fn is(&self, word: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Mark) && self.text == word
    }

    fn is_word_of(&self, list: &[&str]) -> bool {
        self.kind == Kind::Word && list.contains(&self.text.as_ref())
    }
}

/// The tokens of a text, and whether the text is English. Of another language they are the pieces as they stand.
pub(crate) fn tokens(text: &str) -> (Vec<Token<'_>>, bool) {
    let pieces = pieces(text);
    let shouts = shouts(&pieces);
    let mut tokens = Vec::with_capacity(pieces.len());
    for piece in &pieces {
        spell(*piece, shouts, &mut tokens);
    }
    if !is_english(&tokens) {
        return (pieces.iter().map(|piece| as_it_stands(*piece)).collect(), false);
    }
    let mut tokens = numerals::in_digits(tokens);
    operators(&mut tokens);
    drop_fillers(&mut tokens);
    (tokens, true)
}

/// Whether all of it is in capitals, which then say nothing.
fn shouts(pieces: &[Piece<'_>]) -> bool {
    let mut words = pieces.iter().filter_map(|piece| match piece {
        Piece::Word(word) => Some(*word),
        _ => None,
    });
    pieces.len() > 2 && words.all(|word| !word.contains(char::is_lowercase))
}

fn as_it_stands(piece: Piece<'_>) -> Token<'_> {
    let (kind, text) = match piece {
        Piece::Word(text) => (Kind::Word, Cow::Borrowed(text)),
        Piece::Number(text) => (Kind::Number, Cow::Borrowed(text)),
        Piece::Code(text) => (Kind::Code, Cow::Borrowed(text)),
        Piece::Quote(text) => (Kind::Quote, Cow::Borrowed(text)),
        Piece::Name(text) => (Kind::Name, Cow::Borrowed(text)),
        Piece::Mark(mark) => (Kind::Mark, Cow::Owned(mark.to_string())),
        Piece::Break => (Kind::Break, Cow::Borrowed("\n")),
    };
    Token { kind, text, is_capital: false }
}

fn spell<'a>(piece: Piece<'a>, shouts: bool, out: &mut Vec<Token<'a>>) {
    match piece {
        Piece::Word(word) => spell_word(word, shouts, out),
        Piece::Number(number) => {
            let text = Cow::Owned(numerals::plain(number));
            out.push(Token { kind: Kind::Number, text, is_capital: false });
        }
        Piece::Mark(mark) => {
            let text = match mark {
                '×' => "*".into(),
                '÷' => "/".into(),
                '−' => "-".into(),
                other => Cow::Owned(other.to_string()),
            };
            out.push(Token { kind: Kind::Mark, text, is_capital: false });
        }
        Piece::Code(_) | Piece::Quote(_) | Piece::Name(_) | Piece::Break => out.push(as_it_stands(piece)),
    }
}

/// A word in lower case, its contraction in full. Words whose case says something keep it.
fn spell_word<'a>(word: &'a str, shouts: bool, out: &mut Vec<Token<'a>>) {
    let is_capital = word.starts_with(char::is_uppercase) && !shouts;
    let plain = word.trim_start_matches(['-', '\'', '’']).trim_end_matches(['-', '\'', '’']);
    let inner_capital = plain.chars().skip(1).any(char::is_uppercase);
    if !shouts && (inner_capital || words::is_capitonym(plain)) {
        out.push(Token { kind: Kind::Word, text: Cow::Borrowed(word), is_capital: true });
        return;
    }
    let mut lower = if word.contains('’') { word.replace('’', "'") } else { word.to_owned() };
    lower = lower.to_lowercase();
    match words::contraction(&lower) {
        Some(parts) => {
            let part = |text| Token { kind: Kind::Word, text: Cow::Borrowed(text), is_capital: false };
            out.extend(parts.split(' ').map(part));
        }
        None => out.push(Token { kind: Kind::Word, text: Cow::Owned(lower), is_capital }),
    }
}

/// English by its small words: at least one, and none that other languages have.
fn is_english(tokens: &[Token<'_>]) -> bool {
    let mut ours = 0_usize;
    for token in tokens.iter().filter(|token| token.kind == Kind::Word) {
        if words::is_foreign(&token.text) || !token.text.is_ascii() && token.text.chars().any(|letter| letter > 'ɏ') {
            return false;
        }
        ours = ours.saturating_add(usize::from(words::is_function(&token.text)));
    }
    ours > 0
}

/// "plus" and its like between numbers, as signs.
fn operators(tokens: &mut Vec<Token<'_>>) {
    let mut done: Vec<Token<'_>> = Vec::with_capacity(tokens.len());
    let mut rest = std::mem::take(tokens).into_iter().peekable();
    while let Some(mut token) = rest.next() {
        let after_number = done.last().is_some_and(|last| last.kind == Kind::Number);
        let whole = done.last_mut().filter(|last| after_number && !last.text.ends_with('%'));
        if let Some(number) = whole.filter(|_| token.is_word_of(&["percent"])) {
            number.text.to_mut().push('%');
            continue;
        }
        if after_number && token.is_word_of(&["multiplied", "divided"]) && rest.peek().is_some_and(|next| next.is("by"))
        {
            rest.next();
            token.text = if token.is("divided") { "/".into() } else { "*".into() };
            token.kind = Kind::Mark;
        }
        if after_number && rest.peek().is_some_and(|next| next.kind == Kind::Number) {
            let sign = match token.text.as_ref() {
                "plus" => Some("+"),
                "minus" => Some("-"),
                "times" => Some("*"),
                _ => None,
            };
            if let Some(sign) = sign {
                token = Token { kind: Kind::Mark, text: sign.into(), is_capital: false };
            }
        }
        done.push(token);
    }
    *tokens = done;
}

/// Takes away politeness at the beginning and the end, as long as something remains.
fn drop_fillers(tokens: &mut Vec<Token<'_>>) {
    let mut begin = 0_usize;
    while let Some(length) = filler(tokens.get(begin..).unwrap_or_default()) {
        begin = begin.saturating_add(length);
    }
    let mut end = tokens.len();
    while let Some(length) = thanks(tokens.get(begin..end).unwrap_or_default()) {
        end = end.saturating_sub(length);
    }
    if begin < end {
        tokens.truncate(end);
        tokens.drain(..begin);
    }
}

/// How many tokens of politeness begin the text.
fn filler(tokens: &[Token<'_>]) -> Option<usize> {
    let at = |place: usize| tokens.get(place);
    let is = |place: usize, list: &[&str]| at(place).is_some_and(|token| token.is_word_of(list));
    let asks =
        |place: usize| at(place).is_some_and(|token| token.kind == Kind::Word && words::begins_question(&token.text));
    // Not the end of a line: what stands alone on one may be what the next speaks of.
    let pause = |place: usize| at(place).is_some_and(|token| matches!(token.text.as_ref(), "," | "!" | "."));
    if is(0, &["hey", "hi", "hello", "ok", "okay", "so", "well", "please"]) {
        if pause(1) && at(2).is_some() {
            return Some(2);
        }
        if asks(1) || is(0, &["please"]) && at(1).is_some_and(|next| next.kind == Kind::Word) {
            return Some(1);
        }
    }
    if pause(0) || at(0).is_some_and(|token| token.kind == Kind::Break) {
        return Some(1);
    }
    let mut place = if is(0, &["can", "could", "would", "will"]) && is(1, &["you"]) { 2 } else { 0 };
    if place == 0 && is(0, &["do"]) && is(1, &["you"]) && is(2, &["know"]) && asks(3) && !is(3, &["how"]) {
        return Some(3);
    }
    if is(place, &["please", "kindly"]) {
        place = place.saturating_add(1);
    }
    if is(place, &["tell"]) && is(place.saturating_add(1), &["me"]) && asks(place.saturating_add(2)) {
        return Some(place.saturating_add(2));
    }
    None
}

/// How many tokens of thanks end the text.
fn thanks(tokens: &[Token<'_>]) -> Option<usize> {
    let back = |place: usize| tokens.len().checked_sub(place).and_then(|at| tokens.get(at));
    let is = |place: usize, word: &str| back(place).is_some_and(|token| token.is(word));
    let pause =
        |place: usize| back(place).is_some_and(|token| matches!(token.text.as_ref(), "," | "!" | "." | "?" | "\n"));
    let stop = |place: usize| back(place).is_some_and(|token| matches!(token.text.as_ref(), "," | "!" | "." | "?"));
    // "How do I say please" is about the word, and so is what stands behind a colon or on a line of its own.
    let named = |place: usize| {
        !stop(place)
            && back(place).is_none_or(|token| match token.kind {
                Kind::Word => words::is_function_or_speech(&token.text),
                Kind::Mark | Kind::Break => true,
                Kind::Number | Kind::Code | Kind::Quote | Kind::Name => false,
            })
    };
    if is(1, "\n") {
        return Some(1);
    }
    // A mark behind the thanks goes with them, the mark before them stays.
    let tail = usize::from(pause(1));
    let at = tail.saturating_add(1);
    let next = at.saturating_add(1);
    if is(at, "please") || is(at, "thanks") {
        if is(next, ",") {
            return Some(next);
        }
        return (!named(next) && (tail == 0 || !is(1, "?"))).then_some(at);
    }
    if is(at, "you") && is(next, "thank") && stop(next.saturating_add(1)) {
        return Some(next);
    }
    None
}
