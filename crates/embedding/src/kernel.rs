//! The inner loops, compiled for each set of vector instructions and chosen by the processor at run time.

use pulp::Arch;
#[cfg(target_arch = "x86_64")]
use pulp::{i16x16, i32x8, x86::V3};

/// Numbers that a vector multiplies at once.
#[cfg(target_arch = "x86_64")]
const BLOCK: usize = 16;

/// The products of quantised rows with every row of a matrix: what a linear layer is made of.
pub(crate) struct Products<'a> {
    /// Rows of `width` numbers, each within 9 bits.
    pub(crate) rows: &'a [i16],
    /// The rows of the matrix, of `width` bytes each.
    pub(crate) matrix: &'a [i8],
    pub(crate) width: usize,
    /// Row after row of the matrix, one number for each of the rows.
    pub(crate) products: &'a mut [i32],
}

impl Products<'_> {
    pub(crate) fn compute(self) {
        #[cfg(target_arch = "x86_64")]
        if let Some(vectors) = V3::try_new() {
            pulp::Simd::vectorize(vectors, Wide { products: self, vectors });
            return;
        }
        self.with(plain_fours, plain_product);
    }

    #[inline(always)]
    fn with(self, fours: impl Fn(&[i8], [&[i16]; 4]) -> [i32; 4], product_of: impl Fn(&[i8], &[i16]) -> i32) {
        let Products { rows, matrix, width, products } = self;
        let count = rows.len() / width;
        // Four rows at once: a byte of the matrix is widened once for all of them. The matrix is the larger, and passes by
        // once, while the rows stay near.
        let (four_rows, rest) = rows.split_at(rows.len() - rows.len() % (4 * width));
        for (bytes, products) in matrix.chunks_exact(width).zip(products.chunks_exact_mut(count)) {
            let (products, last) = products.split_at_mut(four_rows.len() / width);
            for (four, products) in four_rows.chunks_exact(4 * width).zip(products.as_chunks_mut().0) {
                let (ab, cd) = four.split_at(2 * width);
                let ((a, b), (c, d)) = (ab.split_at(width), cd.split_at(width));
                *products = fours(bytes, [a, b, c, d]);
            }
            for (row, product) in rest.chunks_exact(width).zip(last) {
                *product = product_of(bytes, row);
            }
        }
    }
}

/// Loops that the compiler turns into vectors of 128 bits.
#[inline(always)]
fn plain_fours(bytes: &[i8], rows: [&[i16]; 4]) -> [i32; 4] {
    rows.map(|row| plain_product(bytes, row))
}

#[inline(always)]
fn plain_product(bytes: &[i8], row: &[i16]) -> i32 {
    bytes
        .iter()
        .zip(row)
        .fold(0, |sum, (byte, value)| sum.wrapping_add(i32::from(*byte).wrapping_mul(i32::from(*value))))
}

/// The same in vectors of 256 bits, which the compiler does not find by itself.
#[cfg(target_arch = "x86_64")]
struct Wide<'a> {
    products: Products<'a>,
    vectors: V3,
}

#[cfg(target_arch = "x86_64")]
impl pulp::NullaryFnOnce for Wide<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let vectors = self.vectors;
        let zero = vectors.splat_i32x8(0);
        self.products.with(
            #[inline(always)]
            |bytes, [a, b, c, d]| {
                let (mut p, mut q, mut r, mut s) = (zero, zero, zero, zero);
                let blocks = bytes.as_chunks().0.iter().zip(a.as_chunks().0).zip(b.as_chunks().0);
                for ((((bytes, a), b), c), d) in blocks.zip(c.as_chunks().0).zip(d.as_chunks().0) {
                    let bytes = widen(vectors, bytes);
                    p = add(vectors, p, bytes, a);
                    q = add(vectors, q, bytes, b);
                    r = add(vectors, r, bytes, c);
                    s = add(vectors, s, bytes, d);
                }
                [total(p, bytes, a), total(q, bytes, b), total(r, bytes, c), total(s, bytes, d)]
            },
            #[inline(always)]
            |bytes, row| {
                let mut sum = zero;
                for (bytes, row) in bytes.as_chunks().0.iter().zip(row.as_chunks().0) {
                    sum = add(vectors, sum, widen(vectors, bytes), row);
                }
                total(sum, bytes, row)
            },
        );
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn widen(vectors: V3, bytes: &[i8; BLOCK]) -> i16x16 {
    vectors.convert_i8x16_to_i16x16(pulp::cast(*bytes))
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn add(vectors: V3, sum: i32x8, bytes: i16x16, row: &[i16; BLOCK]) -> i32x8 {
    vectors.wrapping_add_i32x8(sum, vectors.multiply_wrapping_add_adjacent_i16x16(bytes, pulp::cast(*row)))
}

/// The sum of a vector, and of the products that the blocks leave.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn total(sum: i32x8, bytes: &[i8], row: &[i16]) -> i32 {
    let parts: [i32; 8] = pulp::cast(sum);
    let rest = plain_product(bytes.as_chunks::<BLOCK>().1, row.as_chunks::<BLOCK>().1);
    parts.iter().fold(rest, |total, part| total.wrapping_add(*part))
}

/// Runs a step of the model over floats, compiled for the vectors that there are.
#[inline(always)]
pub(crate) fn each(step: impl FnOnce()) {
    Arch::new().dispatch(step);
}

/// Sums of floats are made in so many lanes, since their order may not be changed for the sake of speed.
const LANES: usize = 8;

/// The sum of products of two slices of one length, a multiple of [`LANES`].
#[inline(always)]
pub(crate) fn dot(one: &[f32], other: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for (one, other) in one.as_chunks::<LANES>().0.iter().zip(other.as_chunks::<LANES>().0) {
        for ((sum, one), other) in sums.iter_mut().zip(one).zip(other) {
            *sum += one * other;
        }
    }
    sums.iter().sum()
}

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
