//! The trained heads: from what was read of a prompt to its kinds, its traits, its difficulty and the answer's length.
//!
//! Inputs are centred and scaled, compared with some landmarks (`1/(1 + γd²)²`, a soft membership in neighbourhoods), and
//! all of that goes through one matrix. The constants are `data/heads.bin`, which `cargo xtask train` rebuilds.

use std::sync::LazyLock;

use embedding::DIMENSIONS;

use crate::Reading;
use crate::features::NUMBERS;
pub use crate::kind::KINDS;

/// Numbers read of a prompt.
pub const INPUTS: usize = NUMBERS + DIMENSIONS;
/// Points that prompts are compared with.
pub const LANDMARKS: usize = 128;
/// Numbers that the matrix takes.
pub const TERMS: usize = LANDMARKS + INPUTS;
/// Directions in which models differ most, beyond kinds.
pub const TRAITS: usize = 8;
/// Kinds, traits, ease and spread, difficulty, length.
pub const OUTPUTS: usize = KINDS.len() + SHARED + TRAITS + 2;
/// Ease (how many models answer it) and spread (how far strong ones lead), both within prompts of its origin.
pub const SHARED: usize = 2;
/// Numbers that stand for a prompt in a model's evidence: 1, kinds, ease and spread, traits.
pub const BASIS: usize = 1 + KINDS.len() + SHARED + TRAITS;

/// Standard deviations from the mean beyond which an input is not taken at its word.
const MOST_DEVIATIONS: f32 = 5.0;
/// How fast a landmark's pull falls with the square of the distance.
pub const FALL: f32 = 0.01;
/// What inputs count beside landmarks.
pub const INPUT_SCALE: f32 = 0.7;
/// How sharply the likeliest kinds stand out.
pub const SHARPNESS: f32 = 16.0;

/// All constants, in the order of the file.
pub struct Heads {
    /// Mean of each input, and one over its standard deviation.
    pub scale: Vec<[f32; 2]>,
    /// For each input, its value at each landmark.
    pub landmarks: Vec<[f32; LANDMARKS]>,
    /// Squared length of each landmark.
    pub lengths: [f32; LANDMARKS],
    /// Mean of each landmark's pull, and one over its standard deviation.
    pub pulls: Vec<[f32; 2]>,
    /// For each term, what it adds to each output.
    pub weights: Vec<[f32; OUTPUTS]>,
    /// Where outputs begin.
    pub bias: [f32; OUTPUTS],
    /// What a middling model gives, over the basis.
    pub middle: [f32; BASIS],
    /// What each further point of overall quality adds to that.
    pub slope: [f32; BASIS],
    /// How far models stray from that line, as a standard deviation over the basis.
    pub stray: [f32; BASIS],
    /// The mean prompt, over the basis.
    pub mean: [f32; BASIS],
}

/// What the heads make of a prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outputs {
    /// What a model's evidence is made of.
    pub basis: [f32; BASIS],
    /// Expected share that a middling model misses, before it is cut.
    pub difficulty: f32,
    /// Binary logarithm of the answer's length in tokens.
    pub length: f32,
}

/// Changes whenever the constants do: the file's own sum.
pub(crate) static READING: LazyLock<u32> = LazyLock::new(|| {
    FILE.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
});

static FILE: &[u8] = include_bytes!("../data/heads.bin");
/// The constants that were checked in.
pub(crate) static HEADS: LazyLock<Heads> = LazyLock::new(|| Heads::from_bytes(FILE));

impl Heads {
    /// Reads the constants; what a short file lacks is zero.
    pub fn from_bytes(bytes: &[u8]) -> Heads {
        let mut values = bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value));
        let mut next = || values.next().unwrap_or_default();
        fn take<const N: usize>(next: &mut impl FnMut() -> f32) -> [f32; N] {
            std::array::from_fn(|_| next())
        }
        Heads {
            scale: (0..INPUTS).map(|_| take(&mut next)).collect(),
            landmarks: (0..INPUTS).map(|_| take(&mut next)).collect(),
            lengths: take(&mut next),
            pulls: (0..LANDMARKS).map(|_| take(&mut next)).collect(),
            weights: (0..TERMS).map(|_| take(&mut next)).collect(),
            bias: take(&mut next),
            middle: take(&mut next),
            slope: take(&mut next),
            stray: take(&mut next),
            mean: take(&mut next),
        }
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Heads { scale, landmarks, lengths, pulls, weights, bias, middle, slope, stray, mean } = self;
        let pairs = |pairs: &[[f32; 2]]| pairs.as_flattened().to_vec();
        let parts = [
            pairs(scale),
            landmarks.as_flattened().to_vec(),
            lengths.to_vec(),
            pairs(pulls),
            weights.as_flattened().to_vec(),
            bias.to_vec(),
            middle.to_vec(),
            slope.to_vec(),
            stray.to_vec(),
            mean.to_vec(),
        ];
        parts.iter().flatten().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// What the heads make of what was read.
    pub fn outputs(&self, reading: &Reading) -> Outputs {
        let mut inputs = [0.0; INPUTS];
        let read = reading.numbers().into_iter().chain(reading.vector);
        for ((input, value), [mean, scale]) in inputs.iter_mut().zip(read).zip(&self.scale) {
            *input = (value - mean) * scale;
        }
        bound(&mut inputs);
        self.outputs_of(&inputs)
    }

    /// The same of inputs that are centred and scaled.
    pub fn outputs_of(&self, inputs: &[f32; INPUTS]) -> Outputs {
        let terms = self.terms(inputs);
        let mut out = self.bias;
        for (term, row) in terms.iter().zip(&self.weights) {
            for (sum, weight) in out.iter_mut().zip(row) {
                *sum += term * weight;
            }
        }
        let (kinds, rest) = out.split_at(KINDS.len());
        let mut basis = [0.0; BASIS];
        let traits = rest.iter().take(SHARED + TRAITS).copied();
        for (place, value) in basis.iter_mut().zip(std::iter::once(1.0).chain(memberships(kinds)).chain(traits)) {
            *place = value;
        }
        let last = |place: usize| rest.get(SHARED + TRAITS + place).copied().unwrap_or_default();
        Outputs { basis, difficulty: last(0), length: last(1) }
    }

    /// Pulls of the landmarks, then the inputs.
    pub fn terms(&self, inputs: &[f32; INPUTS]) -> [f32; TERMS] {
        let mut products = [0.0_f32; LANDMARKS];
        let mut length = 0.0;
        for (input, row) in inputs.iter().zip(&self.landmarks) {
            length += input * input;
            for (product, value) in products.iter_mut().zip(row) {
                *product += input * value;
            }
        }
        let mut terms = [0.0; TERMS];
        let (near, linear) = terms.split_at_mut(LANDMARKS);
        for (((term, product), own), [mean, scale]) in near.iter_mut().zip(products).zip(self.lengths).zip(&self.pulls)
        {
            *term = (pull(length + own - 2.0 * product) - mean) * scale;
        }
        for (term, input) in linear.iter_mut().zip(inputs) {
            *term = input * INPUT_SCALE;
        }
        terms
    }
}

/// Holds inputs within what training has seen of nearly all.
pub fn bound(inputs: &mut [f32; INPUTS]) {
    for input in inputs {
        *input = input.clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS);
    }
}

/// What a landmark at that squared distance counts.
pub fn pull(distance: f32) -> f32 {
    let near = 1.0 / (1.0 + FALL * distance.max(0.0));
    near * near
}

/// Shares that sum to 1, the more the larger a score. In place of the exponential stands a power: the same bits everywhere.
fn memberships(scores: &[f32]) -> impl Iterator<Item = f32> {
    let best = scores.iter().copied().fold(f32::MIN, f32::max);
    let mut shares = [0.0; KINDS.len()];
    for (share, score) in shares.iter_mut().zip(scores) {
        let root = (1.0 + (score - best) * (SHARPNESS / 16.0)).max(0.0);
        let power = root * root * (root * root);
        *share = power * power * (power * power);
    }
    let sum: f32 = shares.iter().sum();
    shares.into_iter().map(move |share| share / sum.max(f32::MIN_POSITIVE))
}
