//! Which choices of a stream have begun, and which of them have ended.

/// A set of choices, by index. Indices that no request can ask for (see [`limits::MAX_N`]) count as the last one.
///
/// [`limits::MAX_N`]: crate::openai::request::limits::MAX_N
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choices {
    begun: u32,
    finished: u32,
}

impl Choices {
    /// Something was said of the choice; `is_end`: that it is complete.
    pub(crate) fn saw(&mut self, index: u32, is_end: bool) {
        self.begun |= bit(index);
        self.finished |= if is_end { bit(index) } else { 0 };
    }

    /// Adds what `later` has seen.
    pub(crate) fn merge(&mut self, later: Choices) {
        self.begun |= later.begun;
        self.finished |= later.finished;
    }

    /// Whether something was said of the choice.
    pub(crate) fn has_begun(self, index: u32) -> bool {
        self.begun & bit(index) != 0
    }

    /// The choices that are not complete; where none has begun, that is the first.
    pub(crate) fn unfinished(self) -> impl Iterator<Item = u32> {
        let open = if self.begun == 0 { bit(0) } else { self.begun & !self.finished };
        (0..u32::BITS).filter(move |index| open & bit(*index) != 0)
    }
}

fn bit(index: u32) -> u32 {
    1 << index.min(u32::BITS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_unfinished_from_its_beginning_to_its_end() {
        let mut choices = Choices::default();
        assert_eq!(choices.unfinished().collect::<Vec<_>>(), [0]);

        choices.saw(2, true);
        choices.saw(1, false);
        assert_eq!(choices.unfinished().collect::<Vec<_>>(), [1]);

        let mut later = Choices::default();
        later.saw(1, true);
        later.saw(u32::MAX, false);
        choices.merge(later);
        assert_eq!(choices.unfinished().collect::<Vec<_>>(), [31]);
        assert!(choices.has_begun(2) && choices.has_begun(31) && !choices.has_begun(0));
    }
}
