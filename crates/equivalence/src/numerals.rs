//! Numbers that are spelled out, in digits.

use std::borrow::Cow;

use crate::tokens::{Kind, Token};

const UNITS: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const SCALES: [(&str, u64); 4] =
    [("hundred", 100), ("thousand", 1_000), ("million", 1_000_000), ("billion", 1_000_000_000)];

/// Digits without separators of thousands, which count only where they part three digits each.
pub(crate) fn plain(number: &str) -> String {
    let mut groups = number.split('.').next().unwrap_or_default().split(',').skip(1).peekable();
    let digits = |group: &str| group.trim_end_matches('%').len() == 3;
    if groups.peek().is_some() && groups.all(digits) { number.replace(',', "") } else { number.to_owned() }
}

/// The tokens with their spelled-out numbers in digits. A lone "one" is mostly no number, and stays.
pub(crate) fn in_digits(tokens: Vec<Token<'_>>) -> Vec<Token<'_>> {
    let mut done: Vec<Token<'_>> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.as_slice();
    while let Some((token, behind)) = rest.split_first() {
        match number(rest) {
            Some((value, length)) if value != 1 || length > 1 || counts(done.last(), behind.first()) => {
                done.push(Token { kind: Kind::Number, text: Cow::Owned(value.to_string()), is_capital: false });
                rest = rest.get(length..).unwrap_or_default();
            }
            Some(_) | None => {
                done.push(token.clone());
                rest = behind;
            }
        }
    }
    done
}

/// Whether what stands around a "one" makes a number of it.
fn counts(before: Option<&Token<'_>>, behind: Option<&Token<'_>>) -> bool {
    let is_operator = |token: &Token<'_>| {
        matches!(token.text.as_ref(), "plus" | "minus" | "times" | "+" | "*" | "=" | "-" | "divided" | "multiplied")
    };
    before.is_some_and(is_operator) || behind.is_some_and(is_operator)
}

/// A number that begins the tokens, and how many of them it takes.
fn number(tokens: &[Token<'_>]) -> Option<(u64, usize)> {
    let (mut whole, mut part, mut last, mut length) = (0_u64, 0_u64, u64::MAX, 0_usize);
    for token in tokens.iter().take(MOST_WORDS) {
        let word = if token.kind == Kind::Word { token.text.as_ref() } else { "" };
        if let Some(value) = below_hundred(word) {
            // "twenty five" and "hundred five" add up; "two three" and "twenty twenty" do not.
            let fits =
                length == 0 || last >= 100 || value < 10 && value > 0 && (20..100).contains(&last) && last % 10 == 0;
            if !fits {
                break;
            }
            (part, last) = (part.saturating_add(value), value);
        } else if let Some((_, scale)) =
            SCALES.iter().find(|(name, _)| *name == word).filter(|_| length > 0 && part > 0)
        {
            if *scale == 100 {
                if part >= 100 {
                    break;
                }
                part = part.saturating_mul(100);
            } else {
                if whole > 0 && whole % (scale.saturating_mul(1000)) != 0 {
                    break;
                }
                (whole, part) = (whole.saturating_add(part.saturating_mul(*scale)), 0);
            }
            last = *scale;
        } else {
            break;
        }
        length = length.saturating_add(1);
    }
    (length > 0).then_some((whole.saturating_add(part), length))
}

/// The longest number in words has fewer.
const MOST_WORDS: usize = 24;

fn below_hundred(word: &str) -> Option<u64> {
    let unit = |word: &str| UNITS.iter().position(|unit| *unit == word).and_then(|value| u64::try_from(value).ok());
    let tens = |word: &str| {
        let place = TENS.iter().position(|tens| *tens == word)?;
        u64::try_from(place).ok()?.checked_add(2)?.checked_mul(10)
    };
    if let Some((ten, one)) = word.split_once('-') {
        return tens(ten)?.checked_add(unit(one).filter(|value| (1..10).contains(value))?);
    }
    unit(word).or_else(|| tens(word))
}
