//! The inner loops, compiled for each set of vector instructions and chosen by the processor at run time.

use pulp::Arch;
#[cfg(target_arch = "x86_64")]
use pulp::{i8x16, i16x16, x86::V3};

/// Rows of a matrix that lie side by side.
const SIDE: usize = 16;
/// Rows of numbers that go through the matrix together: their sums and what is multiplied fill the registers.
const TOGETHER: usize = 6;

/// A matrix of bytes as the vectors take it: [`SIDE`] of its rows side by side, two numbers of each at a time.
#[derive(Default)]
pub(crate) struct Matrix {
    width: usize,
    pairs: Vec<[[i8; 2]; SIDE]>,
}

/// Numbers in whole steps as the vectors take them: up to [`TOGETHER`] rows side by side, two numbers of each at a time.
pub(crate) struct Steps {
    pairs: Vec<[i16; 2]>,
    /// What a step stands for.
    size: f32,
}

/// What a row of a matrix is multiplied with in the end, and what is added.
pub(crate) struct Learned<'a> {
    pub(crate) scales: &'a [f32],
    pub(crate) bias: &'a [f32],
}

impl Matrix {
    /// Without a row yet. The width is even.
    pub(crate) fn new(width: usize) -> Matrix {
        Matrix { width, pairs: Vec::new() }
    }

    /// Adds rows, as many as a multiple of [`SIDE`], of which the columns are given one after the other.
    pub(crate) fn extend(&mut self, columns: &[u8]) {
        let height = columns.len() / self.width;
        for from in (0..height).step_by(SIDE) {
            for two in columns.chunks_exact(2 * height) {
                let (first, second) = two.split_at(height);
                let mut pairs = [[0; 2]; SIDE];
                let rows = first.iter().zip(second).skip(from);
                for (pair, (first, second)) in pairs.iter_mut().zip(rows) {
                    *pair = [first.cast_signed(), second.cast_signed()];
                }
                self.pairs.push(pairs);
            }
        }
    }

    /// Every row of numbers times every row of the matrix, scaled and shifted: a linear layer.
    pub(crate) fn apply(&self, steps: &Steps, learned: &Learned<'_>) -> Vec<f32> {
        let height = learned.bias.len();
        let mut out = vec![0.0; steps.pairs.len() * 2 / self.width * height];
        #[cfg(target_arch = "x86_64")]
        if let Some(vectors) = V3::try_new() {
            let of = Wide { vectors, matrix: self, steps, learned, out: &mut out };
            pulp::Simd::vectorize(vectors, of);
            return out;
        }
        self.apply_with(&Plain, steps, learned, &mut out);
        out
    }

    #[inline(always)]
    fn apply_with(&self, sums: &impl Sums, steps: &Steps, learned: &Learned<'_>, out: &mut [f32]) {
        let (half, height) = (self.width / 2, learned.bias.len());
        for (rows, out) in steps.pairs.chunks(TOGETHER * half).zip(out.chunks_mut(TOGETHER * height)) {
            match rows.len() / half {
                1 => self.tile::<1>(sums, rows, steps.size, learned, out),
                2 => self.tile::<2>(sums, rows, steps.size, learned, out),
                3 => self.tile::<3>(sums, rows, steps.size, learned, out),
                4 => self.tile::<4>(sums, rows, steps.size, learned, out),
                5 => self.tile::<5>(sums, rows, steps.size, learned, out),
                _ => self.tile::<TOGETHER>(sums, rows, steps.size, learned, out),
            }
        }
    }

    #[inline(always)]
    fn tile<const N: usize>(
        &self,
        sums: &impl Sums,
        rows: &[[i16; 2]],
        size: f32,
        learned: &Learned<'_>,
        out: &mut [f32],
    ) {
        let height = learned.bias.len();
        let learned = learned.scales.as_chunks::<SIDE>().0.iter().zip(learned.bias.as_chunks::<SIDE>().0);
        let blocks = self.pairs.chunks_exact(self.width / 2).zip(learned);
        for (at, (block, (scales, bias))) in blocks.enumerate() {
            let sums = sums.of::<N>(block, rows.as_chunks::<N>().0);
            for (sums, out) in sums.iter().zip(out.chunks_exact_mut(height)) {
                let out = out.iter_mut().skip(at * SIDE);
                for (((out, sum), scale), bias) in out.zip(sums).zip(scales).zip(bias) {
                    *out = *sum as f32 * (size * scale) + bias;
                }
            }
        }
    }
}

impl Steps {
    /// Numbers as steps from zero, 256 of them from the least to the largest. They lie in rows of a width.
    pub(crate) fn of(values: &[f32], width: usize) -> Steps {
        let mut steps = Steps { pairs: vec![[0; 2]; values.len() / 2], size: 0.0 };
        let mut row_of_steps = vec![0_i16; width];
        each(
            #[inline(always)]
            || {
                let (mut least, mut most) = ([0.0_f32; LANES], [0.0_f32; LANES]);
                for values in values.as_chunks::<LANES>().0 {
                    for ((least, most), value) in least.iter_mut().zip(&mut most).zip(values) {
                        *least = if *value < *least { *value } else { *least };
                        *most = if *value > *most { *value } else { *most };
                    }
                }
                let (least, most) = (least.into_iter().fold(0.0, f32::min), most.into_iter().fold(0.0, f32::max));
                steps.size = ((most - least) / 255.0).max(f32::MIN_POSITIVE);
                let zero = (-least / steps.size).round_ties_even();
                let by = steps.size.recip();
                let tiles = steps.pairs.chunks_mut(TOGETHER * width / 2).zip(values.chunks(TOGETHER * width));
                for (pairs, rows) in tiles {
                    let count = rows.len() / width;
                    for (at, row) in rows.chunks_exact(width).enumerate() {
                        for (step, value) in row_of_steps.iter_mut().zip(row) {
                            // Within -255 and 255 by the clamp.
                            *step = (value * by).round_ties_even().clamp(-zero, 255.0 - zero) as i16;
                        }
                        let places = pairs.iter_mut().skip(at).step_by(count);
                        for (pair, two) in places.zip(row_of_steps.as_chunks::<2>().0) {
                            *pair = *two;
                        }
                    }
                }
            },
        );
        steps
    }
}

/// The inner loop: products of pairs, summed up.
trait Sums {
    /// For each of `N` rows of numbers its products with [`SIDE`] rows of the matrix.
    fn of<const N: usize>(&self, block: &[[[i8; 2]; SIDE]], rows: &[[[i16; 2]; N]]) -> [[i32; SIDE]; N];
}

/// A loop that the compiler turns into vectors of 128 bits.
struct Plain;

impl Sums for Plain {
    #[inline(always)]
    fn of<const N: usize>(&self, block: &[[[i8; 2]; SIDE]], rows: &[[[i16; 2]; N]]) -> [[i32; SIDE]; N] {
        let mut sums = [[0_i32; SIDE]; N];
        for (pairs, rows) in block.iter().zip(rows) {
            for (sums, [first, second]) in sums.iter_mut().zip(rows) {
                for (sum, [by_first, by_second]) in sums.iter_mut().zip(pairs) {
                    let product = |one: &i16, other: &i8| i32::from(*one).wrapping_mul(i32::from(*other));
                    *sum = sum.wrapping_add(product(first, by_first)).wrapping_add(product(second, by_second));
                }
            }
        }
        sums
    }
}

/// The same in vectors of 256 bits, which the compiler does not find by itself.
#[cfg(target_arch = "x86_64")]
impl Sums for V3 {
    #[inline(always)]
    fn of<const N: usize>(&self, block: &[[[i8; 2]; SIDE]], rows: &[[[i16; 2]; N]]) -> [[i32; SIDE]; N] {
        let mut sums = [[self.splat_i32x8(0); 2]; N];
        for (pairs, rows) in block.iter().zip(rows) {
            let parts: [i8x16; 2] = pulp::cast(*pairs);
            let parts = parts.map(|part| self.convert_i8x16_to_i16x16(part));
            for (sums, pair) in sums.iter_mut().zip(rows) {
                let pair: i16x16 = pulp::cast(self.splat_i32x8(pulp::cast(*pair)));
                for (sum, part) in sums.iter_mut().zip(parts) {
                    *sum = self.wrapping_add_i32x8(*sum, self.multiply_wrapping_add_adjacent_i16x16(part, pair));
                }
            }
        }
        sums.map(pulp::cast)
    }
}

#[cfg(target_arch = "x86_64")]
struct Wide<'a> {
    vectors: V3,
    matrix: &'a Matrix,
    steps: &'a Steps,
    learned: &'a Learned<'a>,
    out: &'a mut [f32],
}

#[cfg(target_arch = "x86_64")]
impl pulp::NullaryFnOnce for Wide<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.matrix.apply_with(&self.vectors, self.steps, self.learned, self.out);
    }
}

/// The products of one row with many of bytes that lie one after the other.
pub(crate) fn products(row: &[i16], many: &[i8]) -> Vec<i32> {
    #[cfg(target_arch = "x86_64")]
    if let Some(vectors) = V3::try_new() {
        return pulp::Simd::vectorize(vectors, Scan { vectors, row, many });
    }
    many.chunks_exact(row.len()).map(|bytes| plain_product(bytes, row)).collect()
}

#[inline(always)]
fn plain_product(bytes: &[i8], row: &[i16]) -> i32 {
    let products = bytes.iter().zip(row).map(|(byte, value)| i32::from(*byte).wrapping_mul(i32::from(*value)));
    products.fold(0, i32::wrapping_add)
}

#[cfg(target_arch = "x86_64")]
struct Scan<'a> {
    vectors: V3,
    row: &'a [i16],
    many: &'a [i8],
}

#[cfg(target_arch = "x86_64")]
impl pulp::NullaryFnOnce for Scan<'_> {
    type Output = Vec<i32>;

    #[inline(always)]
    fn call(self) -> Vec<i32> {
        let Scan { vectors, row, many } = self;
        let (blocks, rest) = row.as_chunks::<SIDE>();
        let mut products = Vec::with_capacity(many.len() / row.len());
        for bytes in many.chunks_exact(row.len()) {
            let (parts, last) = bytes.as_chunks::<SIDE>();
            let mut sum = vectors.splat_i32x8(0);
            for (part, block) in parts.iter().zip(blocks) {
                let part = vectors.convert_i8x16_to_i16x16(pulp::cast(*part));
                let pairs = vectors.multiply_wrapping_add_adjacent_i16x16(part, pulp::cast(*block));
                sum = vectors.wrapping_add_i32x8(sum, pairs);
            }
            let lanes: [i32; 8] = pulp::cast(sum);
            products.push(lanes.into_iter().fold(plain_product(last, rest), i32::wrapping_add));
        }
        products
    }
}

/// Runs a step of the model over floats, compiled for the vectors that there are.
#[inline(always)]
pub(crate) fn each(step: impl FnOnce()) {
    Arch::new().dispatch(step);
}

/// Sums of floats are made in so many lanes, since their order may not be changed for the sake of speed.
pub(crate) const LANES: usize = 8;

/// The sum of what a function makes of each number of a slice, its length a multiple of [`LANES`].
#[inline(always)]
pub(crate) fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for values in values.as_chunks::<LANES>().0 {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += of(*value);
        }
    }
    sums.iter().sum()
}

/// e to a number of at most 0, to seven digits: two to a whole number, times a polynomial of what remains.
#[inline(always)]
pub(crate) fn exp(value: f32) -> f32 {
    // Adding this number leaves the whole part in the lowest bits.
    const SHIFT: f32 = 12_582_912.0;
    const LN_2: f32 = std::f32::consts::LN_2;
    let value = value.max(-87.0);
    let shifted = value * std::f32::consts::LOG2_E + SHIFT;
    let rest = value - (shifted - SHIFT) * LN_2;
    let series = 1.0 + rest * (1.0 + rest * (0.5 + rest * (1.0 / 6.0 + rest * (1.0 / 24.0 + rest * (1.0 / 120.0)))));
    series * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// The Gaussian error linear unit, with the error function of Abramowitz and Stegun, 7.1.26: right to 2e-7.
#[inline(always)]
pub(crate) fn gelu(value: f32) -> f32 {
    let x = value.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let series = t * (0.254_829_6 + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    let erf = 1.0 - series * exp(-x * x);
    0.5 * value * (1.0 + erf.copysign(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_matrix_multiplies_rows_whatever_the_vectors(
            rows in 1..15_usize,
            blocks in 1..4_usize,
            half in 1..20_usize,
            seed in any::<u64>(),
        ) {
            let (width, height) = (8 * half, SIDE * blocks);
            let numbers: Vec<f32> = (0..rows * width)
                .map(|at| (seed.wrapping_mul(at as u64 * 2 + 1) >> 40) as f32 / 1e6 - 8.0)
                .collect();
            let columns: Vec<u8> =
                (0..width * height).map(|at| (seed.wrapping_mul(at as u64 * 2 + 7) >> 33) as u8).collect();
            let scales: Vec<f32> = (0..height).map(|row| row as f32 / 100.0).collect();
            let bias: Vec<f32> = (0..height).map(|row| 5.0 - row as f32).collect();
            let mut matrix = Matrix::new(width);
            matrix.extend(&columns);
            let (steps, learned) = (Steps::of(&numbers, width), Learned { scales: &scales, bias: &bias });

            let found = matrix.apply(&steps, &learned);
            let mut plain = vec![0.0; found.len()];
            matrix.apply_with(&Plain, &steps, &learned, &mut plain);

            prop_assert_eq!(&found, &plain);
            for (row, found) in numbers.chunks_exact(width).zip(found.chunks_exact(height)) {
                for (at, found) in found.iter().enumerate() {
                    let taken = row.iter().map(|value| (value / steps.size).round_ties_even());
                    let column = columns.iter().skip(at).step_by(height);
                    let product: f32 =
                        taken.zip(column).map(|(step, byte)| step * f32::from(byte.cast_signed())).sum();
                    let wanted = product * steps_size(&numbers) * scales[at] + bias[at];
                    // A number at the edge between two steps may fall to either side.
                    let edge = 128.0 * steps_size(&numbers) * scales[at] * 4.0;
                    prop_assert!((found - wanted).abs() <= edge + wanted.abs() * 1e-4 + 1e-3, "{} {}", found, wanted);
                }
            }
        }
    }

    fn steps_size(numbers: &[f32]) -> f32 {
        let least = numbers.iter().copied().fold(0.0, f32::min);
        (numbers.iter().copied().fold(0.0, f32::max) - least) / 255.0
    }
}
