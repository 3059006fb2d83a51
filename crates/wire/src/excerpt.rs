//! The beginning of a text that comes in pieces, and how long all of it was: enough to estimate its tokens without
//! holding it.

/// At most the first `KEPT` bytes of a text, and the number of all its bytes. Takes no memory before the first piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt<const KEPT: usize> {
    text: String,
    bytes: u64,
}

impl<const KEPT: usize> Excerpt<KEPT> {
    /// Appends a piece. What is beyond the bound is counted and not kept.
    pub fn push(&mut self, piece: &str) {
        // Once something was left out, nothing follows: the text has no gaps.
        if !self.is_cut() {
            let room = KEPT.saturating_sub(self.text.len());
            let kept = piece.get(..piece.floor_char_boundary(room)).unwrap_or_default();
            if self.text.len().saturating_add(kept.len()) > self.text.capacity() && self.text.capacity() > KEPT / 2 {
                // The next doubling would go past the bound.
                self.text.reserve_exact(room);
            }
            self.text.push_str(kept);
        }
        self.bytes = self.bytes.saturating_add(length(piece));
    }

    /// The beginning of the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Bytes of the whole text.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// True when there was no text.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The tokens of the whole text, where [`Excerpt::text`] has `tokens_of_text`: the same number for a text that was
    /// kept, and in proportion to the bytes, rounded up, for one that was cut.
    pub fn scale(&self, tokens_of_text: u64) -> u64 {
        let kept = length(&self.text);
        if kept == 0 {
            // Only a bound smaller than one character leaves a text without a beginning; no tokenizer makes more
            // tokens than bytes.
            return self.bytes;
        }
        let scaled = (u128::from(tokens_of_text) * u128::from(self.bytes)).div_ceil(u128::from(kept));
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }

    fn is_cut(&self) -> bool {
        self.bytes != length(&self.text)
    }
}

fn length(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_kept_up_to_its_bound_and_counted_beyond() {
        let mut excerpt = Excerpt::<8>::default();

        for piece in ["abc", "", "déf", "ü", "x"] {
            excerpt.push(piece);
        }

        assert_eq!(
            (excerpt.text(), excerpt.bytes()),
            ("abcdéf", 10),
            "`ü` would end in the middle, and `x` follow a gap"
        );
        assert_eq!(excerpt.scale(3), 5, "3 tokens in 7 bytes are 4.3 in 10");
    }

    #[test]
    fn what_was_kept_whole_is_not_scaled() {
        let mut excerpt = Excerpt::<8>::default();
        assert!(excerpt.is_empty() && excerpt.scale(0) == 0);

        excerpt.push("abcdefgh");

        assert_eq!((excerpt.scale(2), excerpt.scale(u64::MAX)), (2, u64::MAX));
    }

    #[test]
    fn memory_stays_within_the_bound() {
        let mut excerpt = Excerpt::<16_384>::default();
        assert_eq!(excerpt.text.capacity(), 0);

        (0..10_000).for_each(|_| excerpt.push(" word"));

        assert_eq!((excerpt.text.capacity(), excerpt.text().len(), excerpt.bytes()), (16_384, 16_384, 50_000));
    }

    proptest! {
        #[test]
        fn pieces_make_the_same_text_as_the_whole(pieces in proptest::collection::vec(".{0,6}", 0..12)) {
            let (mut cut, mut whole) = (Excerpt::<24>::default(), Excerpt::<24>::default());
            pieces.iter().for_each(|piece| cut.push(piece));
            whole.push(&pieces.concat());

            prop_assert_eq!(cut.bytes(), whole.bytes());
            prop_assert!(whole.text().starts_with(cut.text()) && cut.text().len() <= 24);
            prop_assert!(u128::from(cut.scale(7)) * u128::from(length(cut.text())) >= u128::from(7 * cut.bytes()));
        }
    }
}
