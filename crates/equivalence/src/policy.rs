//! The decision: similar enough, and no guard objects.

use crate::alignment::Alignment;
use crate::clause::Manner;
use crate::order;
use crate::reading::{Marked, Reading, Term};
use crate::words;

/// How strict the guards are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guard {
    /// Every word that carries meaning needs its counterpart in the other text.
    Strict,
    /// Words that add little may be without one, as the "best" of a list or the "and why" behind a question.
    #[default]
    Standard,
}

/// What keeps two texts from sharing an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mismatch {
    /// Not similar enough.
    Similarity,
    /// One of them is not eligible at all.
    Ineligible,
    /// Numbers differ.
    Number,
    /// Code, a quotation, an address or an identifier differs.
    Verbatim,
    /// One of them negates.
    Negation,
    /// A word stands against its opposite.
    Opposite,
    /// A name stands against another, or against none.
    Name,
    /// The same words in other parts.
    Order,
    /// They ask for other kinds of answers.
    Question,
    /// One has alternatives.
    Conjunction,
    /// They speak of other persons.
    Pronoun,
    /// How much, how often, which one, when: not the same.
    Scope,
    /// A word that carries meaning has no counterpart.
    Words,
}

impl Mismatch {
    /// All of them.
    pub const ALL: [Mismatch; 13] = [
        Mismatch::Similarity,
        Mismatch::Ineligible,
        Mismatch::Number,
        Mismatch::Verbatim,
        Mismatch::Negation,
        Mismatch::Opposite,
        Mismatch::Name,
        Mismatch::Order,
        Mismatch::Question,
        Mismatch::Conjunction,
        Mismatch::Pronoun,
        Mismatch::Scope,
        Mismatch::Words,
    ];

    /// The word for metrics and explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            Mismatch::Similarity => "similarity",
            Mismatch::Ineligible => "ineligible",
            Mismatch::Number => "number",
            Mismatch::Verbatim => "verbatim",
            Mismatch::Negation => "negation",
            Mismatch::Opposite => "opposite",
            Mismatch::Name => "name",
            Mismatch::Order => "order",
            Mismatch::Question => "question",
            Mismatch::Conjunction => "conjunction",
            Mismatch::Pronoun => "pronoun",
            Mismatch::Scope => "scope",
            Mismatch::Words => "words",
        }
    }
}

/// When one text's answer may serve another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// The calibrated similarity that is asked for, 0 to 1.
    pub threshold: f32,
    /// How strict the guards are.
    pub guard: Guard,
}

impl Policy {
    /// The least calibrated similarity that can be accepted: a search need not propose less.
    pub fn floor(&self) -> f32 {
        self.threshold
    }

    /// Whether the stored text's answer may serve the asked one, at their calibrated similarity.
    ///
    /// # Errors
    /// What stands against it.
    pub fn accept(&self, asked: &Reading, stored: &Reading, similarity: f32) -> Result<(), Mismatch> {
        let agreement = agreement(asked, stored, self.guard)?;
        let needed = match agreement {
            Agreement::Whole => self.threshold,
            Agreement::Padded => 1.0 - (1.0 - self.threshold) * PADDED,
            Agreement::Almost => 1.0 - (1.0 - self.threshold) * ALMOST,
            Agreement::Reworded => 1.0 - (1.0 - self.threshold) * REWORDED,
        };
        // A similarity that is not a number is refused as well.
        if similarity >= needed { Ok(()) } else { Err(Mismatch::Similarity) }
    }
}

/// How far two texts may be apart of which one has words that add little, as a share of what others may.
const PADDED: f32 = 0.7;
/// The same of two of which one misses a word.
const ALMOST: f32 = 0.5;
/// The same of two that ask by different words for what may be one thing.
const REWORDED: f32 = 0.4;
/// Words with a counterpart that a text needs before one without, or another question word, is forgiven.
const ENOUGH: usize = 3;

/// What the guards find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agreement {
    /// Every word has its counterpart.
    Whole,
    /// Every word that carries meaning, but one has more of those that add little: "someone", "really", "find".
    Padded,
    /// All but one of a longer text.
    Almost,
    /// Every word, but the questions begin otherwise, "what is the best place" and "where is the best place", or one has
    /// a word such as "any".
    Reworded,
}

/// Whether the guards find that two texts ask the same, word for word. Which of them is which does not matter.
///
/// # Errors
/// The first guard that objects.
pub fn compare(one: &Reading, other: &Reading, guard: Guard) -> Result<(), Mismatch> {
    match agreement(one, other, guard)? {
        Agreement::Whole | Agreement::Padded => Ok(()),
        Agreement::Almost => Err(Mismatch::Words),
        Agreement::Reworded => Err(Mismatch::Question),
    }
}

fn agreement(one: &Reading, other: &Reading, guard: Guard) -> Result<Agreement, Mismatch> {
    if one.ineligible().is_some() || other.ineligible().is_some() {
        return Err(Mismatch::Ineligible);
    }
    // Which word is taken first may matter where synonyms branch, so the order is one's own.
    let (one, other) = if one.stems().gt(other.stems()) { (other, one) } else { (one, other) };
    let is_turned = one.scope != other.scope && is_turned(&one.scope, &other.scope);
    let has_scope = scopes_agree(one, other, guard);
    let is_mild = guard == Guard::Standard && !has_scope && differ_mildly(&one.scope, &other.scope);
    let is_reworded = guard == Guard::Standard && one.frame.is_kin(&other.frame) || is_mild;
    let checks = [
        (numbers_agree(&one.numbers, &other.numbers), Mismatch::Number),
        (one.verbatim == other.verbatim, Mismatch::Verbatim),
        (one.negations == other.negations, Mismatch::Negation),
        (one.frame.agrees(&other.frame, guard) || is_reworded, Mismatch::Question),
        (alternatives_agree(one, other, guard), Mismatch::Conjunction),
        (one.pronouns == other.pronouns && persons_agree(one, other), Mismatch::Pronoun),
        (is_turned || is_mild || has_scope, Mismatch::Scope),
        (marks_agree(one, other, "not"), Mismatch::Negation),
        (places_agree(one, other), Mismatch::Scope),
        (tenses_agree(one, other) && particles_agree(one, other), Mismatch::Scope),
    ];
    if let Some((_, mismatch)) = checks.into_iter().find(|(agrees, _)| !agrees) {
        return Err(mismatch);
    }
    let Alignment { pairs, left } = Alignment::of(one, other);
    let is_padded = left.iter().any(|left| !left.is_empty());
    if is_reworded && pairs.len() < ENOUGH {
        return Err(Mismatch::Question);
    }
    if is_turned {
        let [[ours], [theirs]] = left.each_ref().map(Vec::as_slice) else { return Err(Mismatch::Scope) };
        if !words::are_opposites(&ours.stem, &theirs.stem) {
            return Err(Mismatch::Scope);
        }
    } else if let Some(mismatch) = unmatched(one, other, &left, guard) {
        let is_long = !one.frame.is_yes_or_no() && pairs.len() >= ENOUGH;
        let forgives = guard == Guard::Standard && is_long && !is_reworded;
        if mismatch != Unmatched::One || !forgives {
            return Err(mismatch.into());
        }
        return if order::agrees(&one.terms, &other.terms, &pairs) {
            Ok(Agreement::Almost)
        } else {
            Err(Mismatch::Order)
        };
    }
    match order::agrees(&one.terms, &other.terms, &pairs) {
        true if is_reworded => Ok(Agreement::Reworded),
        true if is_padded && !is_turned => Ok(Agreement::Padded),
        true => Ok(Agreement::Whole),
        false => Err(Mismatch::Order),
    }
}

/// What the words without a counterpart come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unmatched {
    Opposite,
    Name,
    /// One word more than the other text has.
    One,
    Several,
}

impl From<Unmatched> for Mismatch {
    fn from(unmatched: Unmatched) -> Mismatch {
        match unmatched {
            Unmatched::Opposite => Mismatch::Opposite,
            Unmatched::Name => Mismatch::Name,
            Unmatched::One | Unmatched::Several => Mismatch::Words,
        }
    }
}

fn unmatched(one: &Reading, other: &Reading, left: &[Vec<&Term>; 2], guard: Guard) -> Option<Unmatched> {
    let is_listing = one.frame.lists();
    let is_praise = |term: &Term| matches!(term.stem.as_str(), "good" | "great");
    let counts = |term: &&&Term| guard == Guard::Strict || !(term.is_filler || is_listing && is_praise(term));
    let [ours, theirs] = left.each_ref().map(|left| left.iter().filter(counts).copied().collect::<Vec<&Term>>());
    let is_opposed = |left: &[&Term], terms: &[Term]| {
        left.iter().any(|term| terms.iter().any(|other| words::are_opposites(&term.stem, &other.stem)))
    };
    // A light verb may be missing, but not stand against another word.
    let [our_light, their_light] = left.each_ref().map(|left| left.iter().any(|term| term.is_light));
    let is_replaced = our_light && (their_light || !theirs.is_empty()) || their_light && !ours.is_empty();
    if is_opposed(&ours, &other.terms) || is_opposed(&theirs, &one.terms) {
        Some(Unmatched::Opposite)
    } else if ours.iter().chain(&theirs).any(|term| term.is_name) {
        Some(Unmatched::Name)
    } else if is_replaced {
        Some(Unmatched::Several)
    } else {
        match ours.len().saturating_add(theirs.len()) {
            0 => None,
            1 => Some(Unmatched::One),
            _ => Some(Unmatched::Several),
        }
    }
}

/// Whether one says "more" where the other says "less", and nothing else differs: then an opposite makes them one.
fn is_turned(one: &[usize], other: &[usize]) -> bool {
    let (more, less) = (words::scope_of("more"), words::scope_of("less"));
    let only = |scope: &[usize], of: &[usize]| -> Vec<usize> {
        scope.iter().filter(|group| !of.contains(group)).copied().collect()
    };
    let found = match (only(one, other).as_slice(), only(other, one).as_slice()) {
        ([ours], [theirs]) => [Some(*ours), Some(*theirs)],
        _ => return false,
    };
    one.len() == other.len() && (found == [more, less] || found == [less, more])
}

/// Whether all that differs are words of scope that say little: "any", "ever", "usually".
fn differ_mildly(one: &[usize], other: &[usize]) -> bool {
    let weighty = |scope: &[usize]| scope.iter().filter(|group| !words::is_mild(**group)).copied().collect::<Vec<_>>();
    weighty(one) == weighty(other)
}

/// Whether both have the same numbers: of the same things, or where these go by other names, in one order.
fn numbers_agree(one: &[Marked], other: &[Marked]) -> bool {
    fn sorted<T: Ord>(numbers: &[Marked], of: impl Fn(&Marked) -> T) -> Vec<T> {
        let mut found: Vec<T> = numbers.iter().map(of).collect();
        found.sort_unstable();
        found
    }
    let counts_things = one.iter().chain(other).all(|number| number.stem.is_some());
    if counts_things && sorted(one, |number| number.stem.clone()) == sorted(other, |number| number.stem.clone()) {
        return sorted(one, Marked::clone) == sorted(other, Marked::clone);
    }
    one.iter().map(|number| &number.by).eq(other.iter().map(|number| &number.by))
}

/// Whether the words that a small word stands before are the same.
fn marks_agree(one: &Reading, other: &Reading, by: &str) -> bool {
    let stems = |reading: &'_ Reading| {
        let marked = reading.marked.iter().filter(|marked| marked.by == by);
        let mut stems: Vec<String> = marked.map(|marked| marked.stem.clone().unwrap_or_default()).collect();
        stems.sort_unstable();
        stems
    };
    let (ours, theirs) = (stems(one), stems(other));
    ours.len() == theirs.len()
        && ours.iter().zip(&theirs).all(|(ours, theirs)| ours == theirs || words::are_synonyms(ours, theirs))
}

/// Whether words of scope that both have stand before the same words, where there are two or it is "only": which of them
/// is the best and which the worst.
fn places_agree(one: &Reading, other: &Reading) -> bool {
    let only = words::scope_of("only");
    let is_several = one.scope.first() != one.scope.last();
    let mut groups = one.scope.iter().filter(|group| other.scope.contains(group));
    groups.all(|group| !(is_several || Some(*group) == only) || marks_agree(one, other, &Marked::scope(*group)))
}

/// Whether both have alternatives, or none. Where the question is not between them, a further one may be an example.
fn alternatives_agree(one: &Reading, other: &Reading, guard: Guard) -> bool {
    if one.has_or == other.has_or {
        return true;
    }
    let plain = if one.has_or { other } else { one };
    guard == Guard::Standard && !plain.has_and && !one.frame.is_yes_or_no()
}

/// Whether both say the same of how much, how often and which one. "Best" and "ever" add nothing to what a list is asked of.
fn scopes_agree(one: &Reading, other: &Reading, guard: Guard) -> bool {
    let is_listing = one.frame.lists() && guard == Guard::Standard;
    // How to become patient is how to become more so.
    let more = words::scope_of("more").filter(|_| one.frame.manner == Manner::HowTo);
    let counts = |group: &&usize| !is_listing || !words::is_emphasis(**group) && Some(**group) != more;
    one.scope.iter().filter(counts).eq(other.scope.iter().filter(counts))
}

/// "How do I" and "how do you" are one, "can I" and "can you" are not.
fn persons_agree(one: &Reading, other: &Reading) -> bool {
    let crossed = one.speaker != other.speaker && one.listener != other.listener;
    !crossed || one.frame.manner == Manner::HowTo
}

fn tenses_agree(one: &Reading, other: &Reading) -> bool {
    let past = |reading: &Reading| reading.past && !reading.present;
    let present = |reading: &Reading| reading.present && !reading.past;
    !(past(one) && present(other) || present(one) && past(other))
}

/// Whether no particle stands against its opposite.
fn particles_agree(one: &Reading, other: &Reading) -> bool {
    let only = |reading: &Reading, of: &Reading| -> Vec<&'static str> {
        reading.particles.iter().filter(|particle| !of.particles.contains(particle)).copied().collect()
    };
    let (ours, theirs) = (only(one, other), only(other, one));
    !ours.iter().any(|particle| theirs.iter().any(|other| words::are_opposites(particle, other)))
}
