//! Names like a name that nobody has, for the message that says so.

/// Longest name that is compared, in characters. What clients send has no bound of its own, and the comparison costs
/// the product of both lengths.
const LONGEST_NAME: usize = 64;

/// The names of `known` that are most like `name`, best first, at most `limit` of them and each once. Case,
/// punctuation and a `provider/` in front count for little; a third of the characters may be wrong.
pub fn close_matches<'a>(name: &str, known: impl Iterator<Item = &'a str>, limit: usize) -> Vec<&'a str> {
    let wanted = essence(name);
    if wanted.is_empty() || wanted.len() > LONGEST_NAME {
        return Vec::new();
    }
    let mut ranked: Vec<(usize, &str)> =
        known.filter_map(|candidate| Some((distance(&wanted, &essence(candidate))?, candidate))).collect();
    ranked.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.len().cmp(&b.1.len())).then(a.1.cmp(b.1)));
    ranked.dedup_by(|a, b| a.1 == b.1);
    ranked.into_iter().take(limit).map(|(_, candidate)| candidate).collect()
}

/// Letters and digits of the part behind the last slash, in lower case; one more than is compared is enough to tell
/// that a name is too long.
fn essence(name: &str) -> Vec<char> {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(LONGEST_NAME + 1).collect()
}

/// How far apart two names are, `None` when too far to be meant. A name that the other begins with is near whatever
/// follows: `llama` means `llama3.2`.
fn distance(wanted: &[char], candidate: &[char]) -> Option<usize> {
    if candidate.is_empty() || candidate.len() > LONGEST_NAME {
        return None;
    }
    let edits = edit_distance(wanted, candidate);
    let is_prefix = wanted.len() >= 3 && candidate.starts_with(wanted);
    let tolerated = wanted.len().max(candidate.len()).div_ceil(3);
    match (is_prefix, edits <= tolerated) {
        (true, _) => Some(edits.min(2)),
        (false, true) => Some(edits),
        (false, false) => None,
    }
}

/// Levenshtein's distance, one row at a time.
fn edit_distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (deleted, from) in a.iter().enumerate() {
        let mut left = deleted + 1;
        let mut diagonal = deleted;
        for (cell, to) in row.iter_mut().skip(1).zip(b) {
            let replaced = diagonal + usize::from(from != to);
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = deleted + 1;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KNOWN: [&str; 8] =
        ["gpt-4o", "gpt-4o-mini", "gpt-4.1-mini", "gpt-5-mini", "llama3.2", "llama3.1", "openai/gpt-oss-120b", "auto"];

    fn close(name: &str) -> Vec<&'static str> {
        close_matches(name, KNOWN.into_iter(), 3)
    }

    #[test]
    fn what_was_meant_comes_first() {
        for (name, meant) in [
            ("gpt4o-mini", "gpt-4o-mini"),
            ("gpt-4o-minni", "gpt-4o-mini"),
            ("GPT-4o", "gpt-4o"),
            ("gpt-oss-120b", "openai/gpt-oss-120b"),
            ("openai/gpt-40-mini", "gpt-4o-mini"),
            ("llama", "llama3.1"),
            ("llama-3.2", "llama3.2"),
            ("atuo", "auto"),
        ] {
            assert_eq!(close(name).first(), Some(&meant), "{name}");
        }
    }

    #[test]
    fn what_is_like_nothing_matches_nothing() {
        for name in ["", "///", "claude-opus", "x", &"gpt-4o-mini".repeat(100_000)] {
            assert!(close(name).is_empty(), "{}", name.chars().take(20).collect::<String>());
        }
    }

    #[test]
    fn no_more_than_asked_for_and_none_twice() {
        assert_eq!(
            close_matches("gpt-4o", ["gpt-4o", "gpt-4o", "gpt-4o-mini"].into_iter(), 5),
            ["gpt-4o", "gpt-4o-mini"]
        );
        assert_eq!(close_matches("gpt", KNOWN.into_iter(), 2).len(), 2);
        assert!(close_matches("gpt", KNOWN.into_iter(), 0).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn a_distance_is_symmetric_and_bounded(a in "[a-f]{0,12}", b in "[a-f]{0,12}") {
            let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
            let edits = edit_distance(&a, &b);

            prop_assert_eq!(edits, edit_distance(&b, &a));
            prop_assert_eq!(edits == 0, a == b);
            prop_assert!(edits >= a.len().abs_diff(b.len()) && edits <= a.len().max(b.len()));
        }

        #[test]
        fn no_name_panics(name in ".{0,200}") {
            prop_assert!(close(&name).len() <= 3);
        }
    }
}
