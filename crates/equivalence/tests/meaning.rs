//! What may share an answer and what may not, by the encoder and the decision that serve.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use embedding::{Encoder, Row};
use equivalence::{Calibration, Guard, Mismatch, Policy, Reading, canonical, compare, judge};
use proptest::prelude::*;

const PAIRS: &str = include_str!("pairs.txt");
const STANDARD: Policy = Policy { threshold: 0.95, guard: Guard::Standard };

/// Rows of the table: what is expected, and two texts.
fn rows() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    PAIRS.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut cells = line.split(" | ");
        (cells.next().unwrap(), cells.next().unwrap(), cells.next().unwrap())
    })
}

#[test]
fn every_pair_of_the_table_is_decided_as_it_says() {
    let encoder = Encoder::load().unwrap();
    let calibration = Calibration::embedded();
    let mut wrong = Vec::new();
    for (expected, one, other) in rows() {
        let row = |text| Row::of(&encoder.encode(text, 128).vector);
        let cosine = row(one).similarity(&row(other));
        let found = match judge(one, other, cosine, &calibration, &STANDARD) {
            Ok(()) if canonical(one) == canonical(other) => "normalised",
            Ok(()) => "same",
            // A guard must object by itself, not only because the texts are unlike.
            Err(_) => compare(&Reading::of(one), &Reading::of(other), Guard::Standard)
                .map_or_else(Mismatch::as_str, |()| "unlike"),
        };
        if found != expected {
            wrong.push(format!("{found} instead of {expected} ({cosine:.3}): {one} | {other}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_guard_has_a_pair_that_it_keeps_apart() {
    let silent: Vec<&str> = Mismatch::ALL
        .into_iter()
        .filter(|mismatch| *mismatch != Mismatch::Similarity)
        .map(Mismatch::as_str)
        .filter(|guard| !rows().any(|(expected, _, _)| expected == *guard))
        .collect();
    assert_eq!(silent, Vec::<&str>::new());
    assert!(rows().count() >= 100);
}

#[test]
fn which_text_was_first_does_not_matter() {
    for (_, one, other) in rows() {
        for guard in [Guard::Standard, Guard::Strict] {
            let (one, other) = (Reading::of(one), Reading::of(other));
            assert_eq!(compare(&one, &other, guard).is_ok(), compare(&other, &one, guard).is_ok());
        }
    }
}

#[test]
fn strict_guards_accept_nothing_that_the_standard_ones_refuse() {
    for (_, one, other) in rows() {
        let (one, other) = (Reading::of(one), Reading::of(other));
        assert!(compare(&one, &other, Guard::Strict).is_err() || compare(&one, &other, Guard::Standard).is_ok());
    }
}

#[test]
fn what_must_keep_its_bytes_keeps_them() {
    for text in [
        "What does `A  b` do",
        "Say \"Hello  World\"",
        "What is https://Example.com/Path",
        "What is getUserName",
        "How do I pronounce Polish",
        "def f():\n    return 1\n",
        "if x:\n\ty",
        "Wie geht es Dir",
    ] {
        let kept = canonical(text);
        for word in [
            "A  b",
            "Hello  World",
            "Example.com/Path",
            "getUserName",
            "Polish",
            "def f():\n    return 1\n",
            "\n\ty",
            "Dir",
        ] {
            assert_eq!(kept.contains(word), text.contains(word), "{text:?} {kept:?}");
        }
    }
}

#[test]
fn what_is_about_politeness_keeps_it() {
    for (one, other) in [
        ("How do I say please", "How do I say"),
        ("Hello world in Python is what", "world in Python is what"),
        ("What does thank you mean", "What does mean"),
    ] {
        assert_ne!(canonical(one), canonical(other));
    }
}

#[test]
fn a_question_differs_from_a_statement_of_the_same_words() {
    assert_ne!(canonical("The sky is green?"), canonical("The sky is green."));
}

#[test]
fn hostile_texts_of_a_megabyte_are_read_in_linear_time() {
    for unit in
        ["\"", "`", "'", "“", "```", "a'", "one ", "hey, ", "please ", "2+", "can you tell me ", ". ", "\n ", "é"]
    {
        let text = unit.repeat((1 << 20) / unit.len());

        assert!(canonical(&text).len() <= 4 * text.len());
        assert!(Reading::of(&text).ineligible().is_some());
    }
}

/// But for case: without its numbers in words a text may be all in capitals. Nor of politeness: a "please" may be at the
/// end only when the mark behind it is gone.
fn is_its_own(form: &str) -> bool {
    canonical(form).to_lowercase() == form.to_lowercase()
}

proptest! {
    #[test]
    fn the_canonical_form_of_anything_is_its_own(text in "\\PC{0,60}") {
        prop_assert!(is_its_own(&canonical(&text)));
    }

    #[test]
    fn the_canonical_form_of_words_is_its_own(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "What", "is", "two", "twenty", "one", "hundred", "plus", "times", "hey", "Hi,",
                "you", "tell", "me", "can", "don't", "what's", "IT", "us", "Polish", "?", "!", ".", ",", "\"a b\"", "`x`", "'q'", "2+2",
                "5%", "percent", "1,000", "3.5", "divided", "by", "http://a.b/C", "a-b", "-", "\n", "DID", "ok", "so", "well", "x's",
            ]),
            0..12,
        ),
        between in prop::sample::select(vec![" ", "  "]),
    ) {
        prop_assert!(is_its_own(&canonical(&words.join(between))));
    }

    #[test]
    fn anything_can_be_read_and_compared_both_ways(one in "\\PC{0,80}", other in "\\PC{0,80}") {
        let (one, other) = (Reading::of(&one), Reading::of(&other));
        for guard in [Guard::Standard, Guard::Strict] {
            prop_assert_eq!(compare(&one, &other, guard).is_ok(), compare(&other, &one, guard).is_ok());
        }
    }

    #[test]
    fn another_number_is_another_question(one in 0_u32..100_000, other in 0_u32..100_000) {
        prop_assume!(one != other);
        let ask = |number: u32| format!("How many days are {number} hours?");
        prop_assert_ne!(canonical(&ask(one)), canonical(&ask(other)));
        prop_assert_eq!(
            compare(&Reading::of(&ask(one)), &Reading::of(&ask(other)), Guard::Standard),
            Err(Mismatch::Number)
        );
    }

    #[test]
    fn another_quotation_or_code_is_another_question(one in "[a-zA-Z .]{1,12}", other in "[a-zA-Z .]{1,12}") {
        prop_assume!(one != other);
        for quote in ["\"", "`"] {
            let ask = |text: &str| format!("What does {quote}{text}{quote} mean?");
            prop_assert_ne!(canonical(&ask(&one)), canonical(&ask(&other)));
            prop_assert!(compare(&Reading::of(&ask(&one)), &Reading::of(&ask(&other)), Guard::Standard).is_err());
        }
    }
}
