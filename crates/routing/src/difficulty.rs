//! How hard a prompt is, from its features alone.

use crate::Features;

/// Estimated difficulty of a prompt, 0 (any model will do) to 1 (only the best will do).
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Difficulty(f64);

/// Difficulty in three steps, as the decision names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complexity {
    /// Below 0.35.
    Simple,
    /// From 0.35 to below 0.65.
    Moderate,
    /// From 0.65.
    Complex,
}

impl Complexity {
    /// The word used in decisions and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Complexity::Simple => "simple",
            Complexity::Moderate => "moderate",
            Complexity::Complex => "complex",
        }
    }
}

impl Difficulty {
    /// Weighs the features into one number.
    ///
    /// Length carries most of it: prompt length alone orders prompts nearly as well as published routers do, so the
    /// logarithm of the word count leads and the rest corrects. The weights are set by hand until they are trained.
    pub fn of(features: &Features) -> Difficulty {
        let Features { bytes: _, words, digits, symbols, lines, hard_words, has_code, turns, tools } = *features;
        let share = |count: usize| count as f64 / (words.max(1) as f64);
        let logit = -3.2
            + 0.55 * (1.0 + words as f64).ln()
            + 0.9 * share(symbols).min(1.5)
            + 0.6 * share(digits).min(1.5)
            + 0.15 * (lines.min(20) as f64).sqrt()
            + 0.8 * (hard_words.min(4) as f64).sqrt()
            + if has_code { 0.8 } else { 0.0 }
            + 0.1 * (turns.saturating_sub(1).min(10) as f64)
            + if tools > 0 { 0.4 } else { 0.0 };
        Difficulty(1.0 / (1.0 + (-logit).exp()))
    }

    /// The number itself, 0 to 1.
    pub fn value(self) -> f64 {
        self.0
    }

    /// The step it falls into.
    pub fn complexity(self) -> Complexity {
        match self.0 {
            value if value < 0.35 => Complexity::Simple,
            value if value < 0.65 => Complexity::Moderate,
            _ => Complexity::Complex,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complexity(text: &str) -> Complexity {
        let mut features = Features { turns: 1, ..Features::default() };
        features.read(text);
        Difficulty::of(&features).complexity()
    }

    #[test]
    fn small_talk_is_simple_and_a_proof_is_not() {
        assert_eq!(complexity("Hello, how are you?"), Complexity::Simple);
        assert_eq!(complexity("What is the capital of France?"), Complexity::Simple);
        assert_eq!(
            complexity(
                "Prove that the algorithm below runs in O(n log n), derive the recurrence and compare it with \
                 merge sort:\n```rust\nfn sort(v: &mut [u32]) { if v.len() < 2 { return; } let p = v[0]; }\n```\n\
                 Explain each step, then implement a version that does not allocate."
            ),
            Complexity::Complex
        );
    }

    #[test]
    fn difficulty_stays_in_bounds_for_any_input() {
        for text in ["", " ", &"=".repeat(100_000), &"why ".repeat(50_000), &"1".repeat(100_000)] {
            let mut features = Features::default();
            features.read(text);
            let value = Difficulty::of(&features).value();
            assert!((0.0..=1.0).contains(&value), "{value}");
        }
    }
}
