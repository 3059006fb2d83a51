//! Which entries are to go.

use serde::{Deserialize, Serialize};

use super::Entry;

/// What entries must have, all of it; nothing chooses all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selector {
    /// A question or a model's name, `*` standing for any text.
    pub pattern: Option<String>,
    /// The model that was asked for or that answered, with or without its provider.
    pub model: Option<String>,
    /// The id of the gateway key that paid.
    pub key: Option<String>,
    /// The question, in any words that are canonically the same.
    pub text: Option<String>,
    /// The id that the metadata of an answer names.
    pub id: Option<String>,
}

impl Selector {
    /// Whether every entry is meant.
    pub fn is_all(&self) -> bool {
        *self == Selector::default() || (self.pattern.as_deref() == Some("*") && self.clone().without_pattern())
    }

    fn without_pattern(mut self) -> bool {
        self.pattern = None;
        self == Selector::default()
    }

    /// Tells whether an entry is one of them.
    pub(super) fn choice(&self) -> impl Fn(&Entry) -> bool {
        let words = self.text.as_deref().map(equivalence::canonical);
        move |entry| self.fits(words.as_deref(), entry)
    }

    /// Whether the entry is one of them, `words` being the text in canonical words.
    fn fits(&self, words: Option<&str>, entry: &Entry) -> bool {
        let question = entry.question.as_deref();
        let is_model = |name: &String| {
            let at = name
                .split_once('/')
                .is_some_and(|(provider, model)| (provider, model) == (&*entry.provider, &*entry.model));
            at || **name == *entry.asked || **name == *entry.model
        };
        let has_text = |words| question.is_some_and(|question| equivalence::canonical(question) == words);
        let fits = |pattern: &String| {
            let texts = [question, Some(&*entry.asked), Some(&*entry.model)];
            texts.into_iter().flatten().any(|text| matches_pattern(pattern, text)) || pattern == "*"
        };
        // The id of a pair begins with its entry's.
        let is_id = |id: &String| id.split('-').next() == Some(entry.id.to_string().as_str());
        self.pattern.as_ref().is_none_or(fits)
            && self.model.as_ref().is_none_or(is_model)
            && self.key.as_ref().is_none_or(|key| **key == *entry.owner)
            && words.is_none_or(has_text)
            && self.id.as_ref().is_none_or(is_id)
    }
}

/// Whether `text` is the pattern with something in place of each `*`. Takes time in proportion to the text, because each
/// part is looked for once.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut rest = rest;
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, is_match) in [
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "abd", false),
            ("*b*", "abc", true),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("a*b*c*d", "abxbcyd", true),
        ] {
            assert_eq!(matches_pattern(pattern, text), is_match, "{pattern} {text}");
        }
    }
}
