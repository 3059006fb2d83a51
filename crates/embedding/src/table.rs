//! The model's table of input vectors, one a token, read where it stands in the model's file.

use std::sync::LazyLock;

use crate::onnx::tensors;
use crate::tokenizer::tokens;

/// Numbers of a vector.
pub const DIMENSIONS: usize = 384;
/// The mean of a text's input vectors.
pub type Vector = [f32; DIMENSIONS];

/// The model in ONNX's format, quantised to bytes; sha256 6cda6b0eddf3977ec0e1ba618cf304de4823297be24d414950f688db021dac5e.
pub(crate) static MODEL: &[u8] = include_bytes!("../model/minilm-l6-v2-int8.onnx");
/// The table's name in it.
const NAME: &str = "wordE_quantized";
/// Its rows: the words of the vocabulary.
const ROWS: usize = 30_522;
/// What a byte of it stands for: `(byte - ZERO) * SCALE`, as the file says under `wordE_zero_point` and `wordE_scale`.
const ZERO: f32 = 83.0;
const SCALE: f32 = 0.006_104_801;

static TABLE: LazyLock<&'static [u8]> = LazyLock::new(|| {
    let table = tensors(MODEL).remove(NAME);
    table.filter(|table| Some(table.len()) == ROWS.checked_mul(DIMENSIONS)).unwrap_or_default()
});

/// The input vector of a token; nothing for one that the table does not have.
pub(crate) fn row(token: u32) -> impl Iterator<Item = f32> {
    let begin = (token as usize).saturating_mul(DIMENSIONS);
    let row = TABLE.get(begin..begin.saturating_add(DIMENSIONS)).unwrap_or_default();
    row.iter().map(|byte| (f32::from(*byte) - ZERO) * SCALE)
}

/// The mean of the input vectors of a text's first `limit` tokens; zeros for a text without any.
pub fn token_vector(text: &str, limit: usize) -> Vector {
    let table = *TABLE;
    let mut sums = [0_u32; DIMENSIONS];
    // Bytes are summed in halves first, which twice as many fit into a register.
    let mut some = [0_u16; DIMENSIONS];
    let mut count = 0_u32;
    for token in tokens(text).take(limit.min(MOST_TOKENS)) {
        let begin = (token as usize).saturating_mul(DIMENSIONS);
        let Some(row) = table.get(begin..begin.saturating_add(DIMENSIONS)) else { continue };
        for (sum, byte) in some.iter_mut().zip(row) {
            *sum = sum.wrapping_add(u16::from(*byte));
        }
        count = count.saturating_add(1);
        if count.is_multiple_of(FIT_A_HALF) {
            gather(&mut sums, &mut some);
        }
    }
    gather(&mut sums, &mut some);
    let mut vector = [0.0; DIMENSIONS];
    if count > 0 {
        for (value, sum) in vector.iter_mut().zip(sums) {
            *value = (sum as f32 / count as f32 - ZERO) * SCALE;
        }
    }
    vector
}

fn gather(sums: &mut [u32; DIMENSIONS], some: &mut [u16; DIMENSIONS]) {
    for (sum, some) in sums.iter_mut().zip(some) {
        *sum = sum.wrapping_add(u32::from(std::mem::take(some)));
    }
}

/// So many bytes cannot leave the range of a half.
const FIT_A_HALF: u32 = 256;
/// More could leave the range of the sums.
const MOST_TOKENS: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_found_where_the_file_has_it() {
        assert_eq!(TABLE.len(), ROWS * DIMENSIONS);
    }

    /// Rows as the vendor's own runtime dequantises them (onnx 1.x, `numpy_helper`).
    #[test]
    fn a_word_has_the_vector_that_the_model_gives_it() {
        let vector = token_vector("hello", 8);

        let expected = [-0.0427336, 0.1037816, 0.0305240, 0.0122096, 0.0061048, 0.1037816];
        for (value, wanted) in vector.iter().zip(expected) {
            assert!((value - wanted).abs() < 1e-5, "{value} {wanted}");
        }
        assert_eq!(token_vector("", 8), [0.0; DIMENSIONS]);
    }
}
