//! A text in canonical words.

/// A text with what carries no meaning taken out. Two texts with equal canonical forms get each other's answers.
pub fn canonical(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
