//! Which word of one text stands for which of the other.

use crate::reading::{Reading, Term};
use crate::words;

/// The pairs of terms that mean the same, and what is left on both sides.
pub(crate) struct Alignment<'a> {
    /// In the order of the first text, with the places of both.
    pub(crate) pairs: Vec<(usize, usize)>,
    pub(crate) left: [Vec<&'a Term>; 2],
}

impl<'a> Alignment<'a> {
    /// Aligns the terms of two texts: the very same first, then those of one meaning, then what looks misspelt.
    pub(crate) fn of(one: &'a Reading, other: &'a Reading) -> Alignment<'a> {
        let mut partners: Vec<Option<usize>> = vec![None; one.terms.len()];
        let mut taken = vec![false; other.terms.len()];
        for matches in [is_same, is_synonym, is_misspelt] {
            for (term, partner) in one.terms.iter().zip(&mut partners).filter(|(_, partner)| partner.is_none()) {
                let mut open = other.terms.iter().enumerate().zip(&mut taken).filter(|(_, taken)| !**taken);
                if let Some(((place, _), taken)) = open.find(|((_, candidate), _)| matches(term, candidate)) {
                    (*partner, *taken) = (Some(place), true);
                }
            }
        }
        let matched = |place: usize| partners.get(place).is_some_and(Option::is_some);
        let left =
            [rest(&one.terms, matched), rest(&other.terms, |place| taken.get(place).is_some_and(|taken| *taken))];
        let pairs = partners.iter().enumerate().filter_map(|(place, partner)| Some((place, (*partner)?))).collect();
        Alignment { pairs, left }
    }
}

/// Terms without a partner, other than what is said twice.
fn rest(terms: &[Term], matched: impl Fn(usize) -> bool) -> Vec<&Term> {
    let is_repeated =
        |term: &Term| terms.iter().enumerate().any(|(place, other)| matched(place) && other.stem == term.stem);
    let open = terms.iter().enumerate().filter(|(place, _)| !matched(*place)).map(|(_, term)| term);
    open.filter(|term| !is_repeated(term)).collect()
}

fn is_same(one: &Term, other: &Term) -> bool {
    one.stem == other.stem
}

fn is_synonym(one: &Term, other: &Term) -> bool {
    words::are_synonyms(&one.stem, &other.stem)
}

/// One is a word that the model knows, the other none, and a slip of the fingers is between them. Names differ by less.
fn is_misspelt(one: &Term, other: &Term) -> bool {
    !one.is_name
        && !other.is_name
        && one.stem.len().max(other.stem.len()) >= SHORTEST_SLIP
        && one.stem.is_ascii()
        && other.stem.is_ascii()
        && one.is_known != other.is_known
        && is_slip(one.stem.as_bytes(), other.stem.as_bytes())
}

/// In shorter words a letter makes another word.
const SHORTEST_SLIP: usize = 5;

/// Whether one letter is missing, added, another, or two neighbours have changed places.
fn is_slip(one: &[u8], other: &[u8]) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    let same = short.iter().zip(long).take_while(|(a, b)| a == b).count();
    let (short, long) = (short.get(same..).unwrap_or_default(), long.get(same..).unwrap_or_default());
    match (short, long) {
        ([a, b, rest @ ..], [c, d, end @ ..]) if a == d && b == c && rest == end => true,
        ([_, rest @ ..], [_, end @ ..]) if rest == end => true,
        (rest, [_, end @ ..]) => rest == end,
        _ => false,
    }
}
