//! Whether the same words play the same parts.

use crate::reading::{Role, Term};

/// Whether the aligned terms of two texts stand in one order, or in another that a change of construction explains.
pub(crate) fn agrees(one: &[Term], other: &[Term], pairs: &[(usize, usize)]) -> bool {
    let pair = |(a, b): &(usize, usize)| Some(Pair { ours: one.get(*a)?, theirs: other.get(*b)?, places: (*a, *b) });
    let pairs: Vec<Pair<'_>> = pairs.iter().filter_map(pair).collect();
    let is_symmetric = pairs.iter().any(holds_both_ways);
    let is_between = [one, other].iter().all(|terms| terms.iter().any(|term| term.role == Some("between")));
    let stays = |pair: &Pair<'_>| !(is_part(pair.ours.role) && is_part(pair.theirs.role)) || pair.keeps_role();
    if !pairs.iter().all(stays) {
        return false;
    }
    let Some(turned) = passive(&pairs) else { return false };
    pairs.iter().enumerate().all(|(at, first)| {
        pairs.iter().skip(at.saturating_add(1)).all(|second| {
            first.places.1 < second.places.1
                || turned.contains(&first.places)
                || turned.contains(&second.places)
                || is_between && !first.is_part() && !second.is_part()
                || may_swap(first, second)
                || is_symmetric && (changes_sides(first, second) || holds_both_ways(first) || holds_both_ways(second))
        })
    })
}

fn holds_both_ways(pair: &Pair<'_>) -> bool {
    SYMMETRIC.contains(&pair.ours.stem.as_str())
}

/// Stems of words that hold both ways.
const SYMMETRIC: [&str; 11] = [
    "differenc",
    "similar",
    "differ",
    "different",
    "equal",
    "friend",
    "marri",
    "relat",
    "compar",
    "identical",
    "equivalent",
];

/// The pairs that a change to the passive voice moves: who does it, and what it is done to. None where one text names with
/// "by" who does it and the other has not that one first, or each names another.
fn passive(pairs: &[Pair<'_>]) -> Option<Vec<(usize, usize)>> {
    let (mut turned, mut agents) = (Vec::new(), None);
    for agent in pairs
        .iter()
        .filter(|pair| matches!((pair.ours.role, pair.theirs.role), (Some("by"), None) | (None, Some("by"))))
    {
        let is_ours = agent.ours.role == Some("by");
        let active = |pair: &Pair<'_>| if is_ours { pair.places.1 } else { pair.places.0 };
        let passive = |pair: &Pair<'_>| if is_ours { pair.places.0 } else { pair.places.1 };
        let others = || pairs.iter().filter(|pair| pair.places != agent.places);
        if others().any(|other| active(other) < active(agent)) {
            return None;
        }
        if agents.is_some_and(|before| before != is_ours) {
            return None;
        }
        agents = Some(is_ours);
        turned.push(agent.places);
        turned.extend(others().min_by_key(|pair| passive(pair)).map(|pair| pair.places));
    }
    Some(turned)
}

/// A term of one text and the one of the other that stands for it.
struct Pair<'a> {
    ours: &'a Term,
    theirs: &'a Term,
    places: (usize, usize),
}

impl Pair<'_> {
    fn is_part(&self) -> bool {
        is_part(self.ours.role) || is_part(self.theirs.role)
    }

    /// Adverbs stand where they like.
    fn is_free(&self) -> bool {
        self.ours.is_judgement || self.theirs.is_judgement || self.ours.stem.len() > 4 && self.ours.stem.ends_with("li")
    }

    fn keeps_role(&self) -> bool {
        let into = |role: Role| if role == Some("into") { Some("to") } else { role };
        into(self.ours.role) == into(self.theirs.role)
    }
}

/// Whether two terms that have changed places say the same as before.
fn may_swap(one: &Pair<'_>, other: &Pair<'_>) -> bool {
    let in_row = |one: &Term, other: &Term| one.row.is_some() && one.row == other.row;
    if in_row(one.ours, other.ours) && in_row(one.theirs, other.theirs) {
        return true;
    }
    if one.is_free() || other.is_free() {
        return true;
    }
    // Two that stand behind the same word, or each behind the other's, would take each other's parts.
    let is_exchange = changes_sides(one, other) && (!one.keeps_role() || one.ours.role.is_some());
    if is_exchange {
        return false;
    }
    let roles = [one.ours.role, one.theirs.role, other.ours.role, other.theirs.role];
    let keep = one.keeps_role() && other.keeps_role();
    // A part that is moved with its preposition stays the same; without any, only a new preposition explains the move.
    if keep { roles.iter().any(Option::is_some) } else { !roles.iter().any(|role| is_part(*role)) }
}

/// Whether each takes the other's preposition.
fn changes_sides(one: &Pair<'_>, other: &Pair<'_>) -> bool {
    one.ours.role == other.theirs.role && other.ours.role == one.theirs.role
}

/// Prepositions that say which of two is which.
fn is_part(role: Role) -> bool {
    matches!(
        role,
        Some(
            "from"
                | "to"
                | "into"
                | "than"
                | "by"
                | "before"
                | "after"
                | "over"
                | "under"
                | "above"
                | "below"
                | "against"
        )
    )
}
