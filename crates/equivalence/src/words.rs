//! What is known of English words: lists of our own, one file each in `words/`.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use crate::stem::stem;

/// Words that bind others together: they have no counterpart of their own.
static FUNCTION: LazyLock<HashSet<&str>> = LazyLock::new(|| all(include_str!("words/function.txt")));
/// What a question begins with.
static QUESTION: LazyLock<HashSet<&str>> = LazyLock::new(|| all(include_str!("words/question.txt")));
/// Small words of other languages that are none of English.
static FOREIGN: LazyLock<HashSet<&str>> = LazyLock::new(|| all(include_str!("words/foreign.txt")));
/// Words that mean something else with a capital.
static CAPITONYM: LazyLock<HashSet<&str>> = LazyLock::new(|| all(include_str!("words/capitonym.txt")));
/// Contractions in full.
static CONTRACTION: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| pairs(include_str!("words/contraction.txt"), ' '));
/// Words that may stand in one text and not in the other.
static FILLER: LazyLock<HashSet<String>> = LazyLock::new(|| stems(include_str!("words/filler.txt")));
/// Verbs that may be missing from one text, but not replaced.
static LIGHT: LazyLock<HashSet<String>> = LazyLock::new(|| stems(include_str!("words/light.txt")));
/// Groups of words of one meaning, a line each; a word may be in several.
static SYNONYM: LazyLock<HashMap<String, Vec<usize>>> = LazyLock::new(|| groups(include_str!("words/synonym.txt")));
/// Groups of words that say how much, how often, in which order.
static SCOPE: LazyLock<HashMap<String, Vec<usize>>> = LazyLock::new(|| groups(include_str!("words/scope.txt")));
/// Pairs of opposites.
static ANTONYM: LazyLock<HashSet<(String, String)>> = LazyLock::new(|| opposites(include_str!("words/antonym.txt")));
/// Phrases and what they come to; with `^` at the beginning of a text only.
static PHRASE: LazyLock<HashMap<&str, Vec<Phrase>>> = LazyLock::new(|| phrases(include_str!("words/phrase.txt")));
/// Verbs that follow a "to".
static VERB: LazyLock<HashSet<&str>> = LazyLock::new(|| all(include_str!("words/verb.txt")));
/// Words that point outside of the text.
static DEICTIC: LazyLock<HashSet<&str>> = LazyLock::new(|| all(include_str!("words/deictic.txt")));
/// Stems of words with which a text is about words.
static LITERAL: LazyLock<HashSet<String>> = LazyLock::new(|| stems(include_str!("words/literal.txt")));
/// Words whose meaning changes with time, and phrases of the kind.
static TIME: LazyLock<HashSet<&str>> = LazyLock::new(|| all(include_str!("words/time.txt")));
static TIME_PHRASE: LazyLock<Vec<Vec<&str>>> =
    LazyLock::new(|| include_str!("words/timephrase.txt").lines().map(|line| line.split(' ').collect()).collect());

/// Words that another phrase stands for.
pub(crate) struct Phrase {
    pub(crate) words: Vec<&'static str>,
    pub(crate) meaning: Vec<&'static str>,
    pub(crate) is_opening: bool,
}

pub(crate) fn is_function(word: &str) -> bool {
    FUNCTION.contains(word)
}

pub(crate) fn begins_question(word: &str) -> bool {
    QUESTION.contains(word)
}

pub(crate) fn is_foreign(word: &str) -> bool {
    FOREIGN.contains(word)
}

/// Whether a word means something else for its capital, as it is written here.
pub(crate) fn is_capitonym(word: &str) -> bool {
    word.starts_with(char::is_uppercase) && CAPITONYM.contains(word.to_lowercase().as_str())
}

pub(crate) fn contraction(word: &str) -> Option<&'static str> {
    CONTRACTION.get(word).copied()
}

/// A word before which a "please" is what the text is about.
pub(crate) fn is_function_or_speech(word: &str) -> bool {
    is_function(word)
        || matches!(word, "word" | "say" | "says" | "said" | "saying" | "spell" | "write" | "pretty" | "called")
}

pub(crate) fn is_filler(stem: &str) -> bool {
    FILLER.contains(stem)
}

pub(crate) fn is_light(stem: &str) -> bool {
    LIGHT.contains(stem)
}

/// Whether two stems are of one meaning.
pub(crate) fn are_synonyms(one: &str, other: &str) -> bool {
    let (Some(one), Some(other)) = (SYNONYM.get(one), SYNONYM.get(other)) else { return false };
    one.iter().any(|group| other.contains(group))
}

/// The group of scope words that a stem is of.
pub(crate) fn scope(stem: &str) -> Option<usize> {
    SCOPE.get(stem).and_then(|groups| groups.first().copied())
}

/// The group of scope words that a word is of.
pub(crate) fn scope_of(word: &str) -> Option<usize> {
    scope(&stem(word))
}

/// Whether a group of scope words adds only weight to what a list is asked of.
pub(crate) fn is_emphasis(group: usize) -> bool {
    ["best", "ever", "other", "all", "any", "every", "most"].iter().any(|word| scope_of(word) == Some(group))
}

/// Whether a group of scope words says so little that a question is hardly another without it.
pub(crate) fn is_mild(group: usize) -> bool {
    ["any", "ever", "usually"].iter().any(|word| scope_of(word) == Some(group))
}

/// Whether two stems are opposites: listed, or one is the other with a prefix that negates it.
pub(crate) fn are_opposites(one: &str, other: &str) -> bool {
    let negates = |long: &str, short: &str| {
        ["un", "in", "im", "ir", "il", "dis", "non", "anti", "de", "mis"]
            .iter()
            .any(|prefix| long.strip_prefix(prefix) == Some(short))
    };
    ANTONYM.contains(&(one.to_owned(), other.to_owned())) || negates(one, other) || negates(other, one)
}

/// The phrases that begin with a word, longest first.
pub(crate) fn phrases_of(word: &str) -> &'static [Phrase] {
    PHRASE.get(word).map_or(&[], Vec::as_slice)
}

/// Whether a word behind "to" is rather what to do than where to go.
pub(crate) fn is_verb(word: &str) -> bool {
    VERB.contains(word)
}

pub(crate) fn is_deictic(word: &str) -> bool {
    DEICTIC.contains(word)
}

pub(crate) fn is_literal(stem: &str) -> bool {
    LITERAL.contains(stem)
}

/// Whether words begin with what changes with time.
pub(crate) fn is_of_time(words: &[&str]) -> bool {
    words.first().is_some_and(|word| TIME.contains(word)) || TIME_PHRASE.iter().any(|phrase| words.starts_with(phrase))
}

fn all(file: &'static str) -> HashSet<&'static str> {
    file.split_whitespace().collect()
}

fn stems(file: &str) -> HashSet<String> {
    file.split_whitespace().map(stem).collect()
}

fn pairs(file: &'static str, between: char) -> HashMap<&'static str, &'static str> {
    file.lines().filter_map(|line| line.split_once(between)).collect()
}

fn groups(file: &str) -> HashMap<String, Vec<usize>> {
    let mut groups: HashMap<String, Vec<usize>> = HashMap::new();
    for (group, line) in file.lines().enumerate() {
        for word in line.split_whitespace() {
            groups.entry(stem(word)).or_default().push(group);
        }
    }
    groups
}

fn opposites(file: &str) -> HashSet<(String, String)> {
    let pairs = file.lines().filter_map(|line| line.split_once(' ')).map(|(one, other)| (stem(one), stem(other)));
    pairs.flat_map(|(one, other)| [(one.clone(), other.clone()), (other, one)]).collect()
}

fn phrases(file: &'static str) -> HashMap<&'static str, Vec<Phrase>> {
    let mut phrases: HashMap<&str, Vec<Phrase>> = HashMap::new();
    for (from, to) in file.lines().filter_map(|line| line.split_once(" > ")) {
        let (is_opening, from) = from.strip_prefix('^').map_or((false, from), |from| (true, from));
        let words: Vec<&str> = from.split(' ').collect();
        let Some(first) = words.first().copied() else { continue };
        phrases.entry(first).or_default().push(Phrase { words, meaning: to.split(' ').collect(), is_opening });
    }
    for phrases in phrases.values_mut() {
        phrases.sort_by_key(|phrase| std::cmp::Reverse(phrase.words.len()));
    }
    phrases
}
