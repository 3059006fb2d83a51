//! What a text says, as far as the guards compare it: parsed once, bounded, and small enough to keep beside a cached
//! answer.

use crate::clause::{Frame, Manner};
use crate::stem::stem;
use crate::tokens::{Kind, Token, tokens};
use crate::words;

/// A longer text is not read.
pub const MOST_BYTES: usize = 4096;
/// Nor is one with more words that carry meaning.
const MOST_TERMS: usize = 128;

/// What a text says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    reason: Option<Reason>,
    pub(crate) frame: Frame,
    /// The words that carry meaning, in their order.
    pub(crate) terms: Vec<Term>,
    /// Numbers with the words that they count, in their order.
    pub(crate) numbers: Vec<Marked>,
    /// Code, quotations, addresses, identifiers and operators, in their order: which is which may depend on it.
    pub(crate) verbatim: Vec<String>,
    /// Sorted: groups of words that say how much or which.
    pub(crate) scope: Vec<usize>,
    /// The words that such a word, or a negation, stands before.
    pub(crate) marked: Vec<Marked>,
    /// Third persons in their order.
    pub(crate) pronouns: Vec<&'static str>,
    pub(crate) negations: usize,
    pub(crate) has_or: bool,
    pub(crate) has_and: bool,
    pub(crate) speaker: bool,
    pub(crate) listener: bool,
    /// Past forms, and present ones.
    pub(crate) past: bool,
    pub(crate) present: bool,
    /// Particles of direction, sorted.
    pub(crate) particles: Vec<&'static str>,
}

/// A word that carries meaning.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Term {
    pub(crate) stem: String,
    /// The preposition that it stands behind.
    pub(crate) role: Role,
    /// Whether it is one of a row: "X and Y".
    pub(crate) row: Option<usize>,
    pub(crate) is_name: bool,
    /// Whether the model knows the word as a whole, as it is written.
    pub(crate) is_known: bool,
    pub(crate) is_filler: bool,
    /// A filler that is a verb.
    pub(crate) is_light: bool,
    /// Whether it is what an "is it" says: "is it safe to …".
    pub(crate) is_judgement: bool,
}

/// A small word, or a number, and the stem of the word that it marks; none at the end of a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Marked {
    pub(crate) by: String,
    pub(crate) stem: Option<String>,
}

impl Marked {
    /// The name under which a group of scope words marks.
    pub(crate) fn scope(group: usize) -> String {
        format!("scope {group}")
    }
}

/// What a word is to the others, by the preposition before it; `None` without one.
pub(crate) type Role = Option<&'static str>;

/// Why a text has no place in the semantic tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is said.
    Empty,
    /// Longer than [`MOST_BYTES`], or of too many words.
    TooLong,
    /// It points at something outside of it: "this photo", "the text above".
    Deictic,
    /// Its answer changes with time: "today", "latest", "now".
    TimeDependent,
    /// It is about words as such, or hands over a text to be worked on: there no word stands for another.
    Literal,
    /// The guards do not know its language.
    Language,
}

impl Reason {
    /// The word for metrics and explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Empty => "empty",
            Reason::TooLong => "too_long",
            Reason::Deictic => "deictic",
            Reason::TimeDependent => "time_dependent",
            Reason::Literal => "literal",
            Reason::Language => "language",
        }
    }
}

impl Reading {
    /// Reads a text. Of one longer than [`MOST_BYTES`] nothing is read.
    pub fn of(text: &str) -> Reading {
        let refused = |reason| Reading { reason: Some(reason), ..Reading::default() };
        if text.len() > MOST_BYTES {
            return refused(Reason::TooLong);
        }
        let (tokens, is_english) = tokens(text);
        if tokens.iter().all(|token| matches!(token.kind, Kind::Mark | Kind::Break)) {
            return refused(Reason::Empty);
        }
        if !is_english {
            return refused(Reason::Language);
        }
        let words = lower(&tokens);
        let all: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        if let Some(reason) = outside(&all) {
            return refused(reason);
        }
        let reading = Reader::default().read(&in_short(&words));
        if reading.terms.len() > MOST_TERMS { refused(Reason::TooLong) } else { reading }
    }

    /// Why the text has no place in the semantic tier; `None` if it has.
    pub fn ineligible(&self) -> Option<Reason> {
        self.reason
    }

    pub(crate) fn stems(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().map(|term| term.stem.as_str())
    }
}

/// What the words point at outside of the text.
fn outside(words: &[&str]) -> Option<Reason> {
    for place in 0..words.len() {
        let rest = words.get(place..).unwrap_or_default();
        if words::is_of_time(rest) {
            return Some(Reason::TimeDependent);
        }
        if rest.first().is_some_and(|word| words::is_deictic(word)) || matches!(rest, ["is" | "does" | "mean", "that"])
        {
            return Some(Reason::Deictic);
        }
    }
    let is_literal = words.iter().any(|word| words::is_literal(&stem(word))) || hands_over(words);
    is_literal.then_some(Reason::Literal)
}

/// Whether it is an order with something behind a colon: "classify: …".
fn hands_over(words: &[&str]) -> bool {
    let colon = words.iter().position(|word| *word == ":");
    let rest = colon.and_then(|colon| words.get(colon.saturating_add(1)..)).unwrap_or_default();
    rest.iter().any(|word| word.contains(char::is_alphanumeric)) && Frame::of(words).manner == Manner::Told
}

/// A token in lower case.
struct Word {
    text: String,
    kind: Kind,
    is_name: bool,
}

/// Words in lower case; names of letters and a slash or hyphen fall apart.
fn lower(tokens: &[Token<'_>]) -> Vec<Word> {
    let capitals = tokens.iter().filter(|token| token.is_capital && !words::is_function(&token.text)).count();
    let long = tokens.iter().filter(|token| token.kind == Kind::Word && !words::is_function(&token.text)).count();
    // In a title every word has a capital.
    let is_title = long > 2 && capitals.saturating_mul(5) > long.saturating_mul(4);
    let mut words: Vec<Word> = Vec::with_capacity(tokens.len());
    for token in tokens {
        let begins = words.last().is_none_or(|last: &Word| matches!(last.text.as_str(), "." | "?" | "!" | ":" | "\n"));
        let is_name = token.is_capital
            && (!begins || token.text.chars().skip(1).any(char::is_uppercase))
            && !is_title
            && token.text.len() > 1;
        let splits = matches!(token.kind, Kind::Word | Kind::Name)
            && token.text.contains(['/', '-'])
            && token.text.matches('/').count() < 2
            && !token.text.starts_with('/')
            && token.text.chars().all(|letter| letter.is_alphabetic() || matches!(letter, '/' | '-' | '\''));
        if splits {
            let parts = token.text.split(['/', '-']).filter(|part| !part.is_empty());
            words.extend(parts.map(|part| Word { text: part.to_lowercase(), kind: Kind::Word, is_name }));
        } else {
            let text = match token.kind {
                // "US" is a country, "us" is not.
                Kind::Word if is_name && words::is_function(&token.text.to_lowercase()) => token.text.to_string(),
                Kind::Word => token.text.to_lowercase(),
                Kind::Name if token.text.len() <= SHORT_NAME => token.text.to_lowercase(),
                Kind::Number | Kind::Code | Kind::Quote | Kind::Name | Kind::Mark | Kind::Break => {
                    token.text.to_string()
                }
            };
            words.push(Word { text, kind: token.kind, is_name });
        }
    }
    words
}

/// `C++`, `B12`, `5km`: in names so short, case says nothing.
const SHORT_NAME: usize = 5;

/// The words with phrases put into fewer of them.
fn in_short(words: &[Word]) -> Vec<Word> {
    let mut short: Vec<Word> = Vec::with_capacity(words.len());
    let mut place = 0_usize;
    while let Some(word) = words.get(place) {
        let rest = words.get(place..).unwrap_or_default();
        let begins = |phrase: &&words::Phrase| {
            (!phrase.is_opening || short.is_empty())
                && rest.len() >= phrase.words.len()
                && rest.iter().zip(&phrase.words).all(|(word, part)| word.kind == Kind::Word && word.text == *part)
        };
        match words::phrases_of(&word.text).iter().find(begins) {
            Some(phrase) => {
                let part = |part: &&str| Word { text: (*part).to_owned(), kind: Kind::Word, is_name: false };
                short.extend(phrase.meaning.iter().map(part));
                place = place.saturating_add(phrase.words.len());
            }
            None => {
                short.push(Word { text: word.text.clone(), kind: word.kind, is_name: word.is_name });
                place = place.saturating_add(1);
            }
        }
    }
    short
}

/// Reads word after word.
#[derive(Default)]
struct Reader {
    reading: Reading,
    role: Role,
    /// Whether the last term is to be joined with the next in a row.
    joins: bool,
    rows: usize,
    judges: bool,
}

impl Reader {
    fn read(mut self, words: &[Word]) -> Reading {
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        self.reading.frame = Frame::of(&texts);
        for (place, word) in words.iter().enumerate() {
            match word.kind {
                Kind::Word => {
                    self.word(word, texts.get(..place).unwrap_or_default(), texts.get(place..).unwrap_or_default())
                }
                Kind::Number => self.reading.numbers.push(Marked { by: word.text.clone(), stem: None }),
                Kind::Code | Kind::Quote | Kind::Name => self.reading.verbatim.push(word.text.clone()),
                Kind::Mark => {
                    let beside = [place.checked_sub(1), place.checked_add(1)];
                    let mut beside = beside.into_iter().flatten().filter_map(|place| words.get(place));
                    self.mark(&word.text, beside.any(|word| word.kind == Kind::Number));
                }
                Kind::Break => {}
            }
            if matches!(word.kind, Kind::Number | Kind::Name) {
                self.role = None;
            }
        }
        self.reading.scope.sort_unstable();
        self.reading.particles.sort_unstable();
        self.reading
    }

    /// A mark is an operator by itself or beside a number.
    fn mark(&mut self, mark: &str, is_beside_number: bool) {
        match mark {
            "+" | "*" | "=" | "^" | "<" | ">" | "%" => self.reading.verbatim.push(mark.to_owned()),
            "-" | "/" | "(" | ")" | "!" | ":" if is_beside_number => self.reading.verbatim.push(mark.to_owned()),
            "," | "/" | "&" => self.joins = true,
            _ => {}
        }
    }

    fn word(&mut self, word: &Word, before: &[&str], rest: &[&str]) {
        let text = word.text.strip_suffix("'s").unwrap_or(&word.text);
        self.small(text, before);
        match text {
            "and" | "or" | "vs" | "versus" => self.joins = true,
            "it" => self.judges = matches!(before, ["is"] | [.., "is"]) || matches!(rest, [_, "is", ..]),
            _ => {
                if let Some(preposition) = preposition(text, rest) {
                    self.role = Some(preposition);
                }
            }
        }
        let stem = stem(text);
        if let Some(group) = words::scope(&stem) {
            self.reading.scope.push(group);
            self.reading.marked.push(Marked { by: Marked::scope(group), stem: None });
        } else if !words::is_function(text) || word.is_name {
            self.term(stem, text, word.is_name);
        }
    }

    fn term(&mut self, stem: String, word: &str, is_name: bool) {
        let row = match self.reading.terms.last_mut() {
            Some(last) if self.joins => {
                self.role = self.role.or(last.role);
                if last.row.is_none() {
                    self.rows = self.rows.saturating_add(1);
                    last.row = Some(self.rows);
                }
                last.row
            }
            Some(_) | None => None,
        };
        let is_light = words::is_light(&stem) && !is_name;
        let is_filler = is_light || words::is_filler(&stem) && !is_name;
        for marks in [&mut self.reading.numbers, &mut self.reading.marked] {
            let open = marks.iter_mut().filter(|marked| marked.stem.is_none());
            // A "not" or a number goes with what carries meaning, a "best" with whatever is next.
            let takes = |marked: &&mut Marked| !is_filler || marked.by.starts_with("scope");
            open.filter(takes).for_each(|marked| marked.stem = Some(stem.clone()));
        }
        let is_judgement = std::mem::take(&mut self.judges);
        let is_known = embedding::is_word(word);
        self.reading.terms.push(Term {
            stem,
            role: self.role.take(),
            row,
            is_name,
            is_known,
            is_filler,
            is_light,
            is_judgement,
        });
        self.joins = false;
    }

    /// What small words say.
    fn small(&mut self, word: &str, before: &[&str]) {
        let reading = &mut self.reading;
        match word {
            "not" | "no" | "nor" | "none" | "nobody" | "nothing" | "nowhere" | "without" | "non" | "neither"
            | "unless" => {
                reading.negations = reading.negations.saturating_add(1);
                reading.marked.push(Marked { by: "not".to_owned(), stem: None });
            }
            "or" => reading.has_or = true,
            "and" => reading.has_and = true,
            "i" | "me" | "my" | "mine" | "myself" | "we" | "us" | "our" | "ours" => reading.speaker = true,
            "you" | "your" | "yours" | "yourself" => reading.listener = true,
            "was" | "were" | "did" | "had" => reading.past = true,
            "is" | "are" | "am" | "do" | "does" | "has" | "have" => {
                reading.present |=
                    !matches!(before.last(), Some(&("should" | "would" | "could" | "must" | "can" | "will" | "to")));
            }
            _ => {}
        }
        let pronoun = THIRD.iter().find(|group| group.contains(&word));
        reading.pronouns.extend(pronoun.and_then(|group| group.first()));
        reading.particles.extend(PARTICLES.iter().find(|particle| **particle == word));
    }
}

/// Pronouns of third persons, in groups of one person and case.
const THIRD: [&[&str]; 6] = [&["he"], &["him"], &["his"], &["she"], &["her", "hers"], &["herself", "himself"]];

/// Which way: their difference is a difference, where the word is missing it may be implied.
const PARTICLES: [&str; 14] =
    ["up", "down", "on", "off", "in", "out", "before", "after", "above", "below", "over", "under", "with", "without"];

/// A word as a preposition; "to" before a verb is none, as far as that can be told.
fn preposition(word: &str, rest: &[&str]) -> Role {
    let known = PREPOSITIONS.iter().find(|preposition| **preposition == word).copied();
    if word == "to" && rest.get(1).is_none_or(|next| words::is_verb(next)) { None } else { known }
}

const PREPOSITIONS: [&str; 26] = [
    "using", "of", "in", "on", "at", "by", "for", "with", "about", "against", "between", "into", "through", "during",
    "before", "after", "above", "below", "to", "from", "over", "under", "than", "as", "via", "without",
];

impl Frame {
    /// The frame of a text of which the words are given in short.
    fn of(words: &[&str]) -> Frame {
        let mut frame = Frame::default();
        for (place, word) in words.iter().enumerate() {
            let next = words.get(place.saturating_add(1)).copied().unwrap_or_default();
            frame.see(word, next, place);
        }
        if frame.manner == Manner::None {
            frame.manner = Manner::Told;
        }
        frame
    }
}
