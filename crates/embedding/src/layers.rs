//! The layers of the model: six of attention and a feed-forward step, in whole numbers where it multiplies matrices.
//!
//! What goes into a matrix is quantised to eight bits over the whole text, as ONNX's `DynamicQuantizeLinear` does, so
//! that the vectors are those of the file.

use crate::encoder::Error;
use crate::kernel::{Products, dot, each, exp, gelu, sum};
use crate::onnx::{Tensors, floats};
use crate::table::DIMENSIONS;

/// Layers of the model, heads of each, and numbers of a head.
const LAYERS: usize = 6;
const HEADS: usize = 12;
const HEAD: usize = DIMENSIONS / HEADS;
/// Numbers between the two halves of a feed-forward step.
const INNER: usize = 4 * DIMENSIONS;
/// Added to a variance before its root, as the model was trained.
const EPSILON: f32 = 1e-12;

/// Shifts and stretches each token to the mean and the spread that were learned.
pub(crate) struct Norm {
    gain: Vec<f32>,
    bias: Vec<f32>,
}

/// A matrix in bytes with a scale a row, and what is added to its products.
struct Linear {
    width: usize,
    rows: Vec<i8>,
    scales: Vec<f32>,
    bias: Vec<f32>,
}

/// One layer.
pub(crate) struct Layer {
    /// Queries, keys and values, one after the other.
    attention: Linear,
    attended: Linear,
    attention_norm: Norm,
    inner: Linear,
    outer: Linear,
    norm: Norm,
}

impl Norm {
    pub(crate) fn read(tensors: &Tensors, name: &str) -> Result<Norm, Error> {
        let gain = floats_of(tensors, &format!("{name}.g"), DIMENSIONS)?;
        Ok(Norm { gain, bias: floats_of(tensors, &format!("{name}.be"), DIMENSIONS)? })
    }

    pub(crate) fn apply(&self, states: &mut [f32]) {
        each(
            #[inline(always)]
            || {
                for token in states.chunks_exact_mut(DIMENSIONS) {
                    let mean = sum(token, |value| value) / DIMENSIONS as f32;
                    let variance = sum(token, |value| (value - mean) * (value - mean)) / DIMENSIONS as f32;
                    let stretch = (variance + EPSILON).sqrt().recip();
                    for ((value, gain), bias) in token.iter_mut().zip(&self.gain).zip(&self.bias) {
                        *value = (*value - mean) * stretch * gain + bias;
                    }
                }
            },
        );
    }
}

impl Linear {
    /// Reads matrices of one width and lays their rows one after the other.
    fn read(tensors: &Tensors, names: &[String], width: usize, height: usize) -> Result<Linear, Error> {
        let mut linear = Linear { width, rows: Vec::new(), scales: Vec::new(), bias: Vec::new() };
        for name in names {
            let columns = bytes_of(tensors, &format!("{name}.wT_quantized"), width.saturating_mul(height))?;
            linear.rows.extend(
                (0..height).flat_map(|row| columns.iter().skip(row).step_by(height).map(|byte| byte.cast_signed())),
            );
            linear.scales.extend(floats_of(tensors, &format!("{name}.wT_scale"), height)?);
            linear.bias.extend(floats_of(tensors, &format!("{name}.b"), height)?);
        }
        Ok(linear)
    }

    fn apply(&self, states: &[f32]) -> Vec<f32> {
        let (rows, scale) = quantise(states);
        let height = self.bias.len();
        let mut products = vec![0; states.len() / self.width * height];
        Products { rows: &rows, matrix: &self.rows, width: self.width, products: &mut products }.compute();
        let mut out = vec![0.0; products.len()];
        let learned = self.scales.iter().zip(&self.bias);
        for (at, (products, (by, bias))) in products.chunks_exact(states.len() / self.width).zip(learned).enumerate() {
            for (out, product) in out.iter_mut().skip(at).step_by(height).zip(products) {
                *out = *product as f32 * (scale * by) + bias;
            }
        }
        out
    }
}

impl Layer {
    pub(crate) fn read_all(tensors: &Tensors) -> Result<Vec<Layer>, Error> {
        (0..LAYERS).map(|index| Layer::read(tensors, &format!("encoder.layer.{index}"))).collect()
    }

    fn read(tensors: &Tensors, at: &str) -> Result<Layer, Error> {
        let attention = ["query", "key", "value"].map(|part| format!("{at}.attention.self.{part}"));
        let linear = |name, width, height| Linear::read(tensors, &[format!("{at}.{name}")], width, height);
        Ok(Layer {
            attention: Linear::read(tensors, &attention, DIMENSIONS, DIMENSIONS)?,
            attended: linear("attention.output.dense", DIMENSIONS, DIMENSIONS)?,
            attention_norm: Norm::read(tensors, &format!("{at}.attention.output.LayerNorm"))?,
            inner: linear("intermediate.dense", DIMENSIONS, INNER)?,
            outer: linear("output.dense", INNER, DIMENSIONS)?,
            norm: Norm::read(tensors, &format!("{at}.output.LayerNorm"))?,
        })
    }

    /// Takes the states of a text's tokens one layer further.
    pub(crate) fn apply(&self, states: &mut [f32]) {
        let attended = self.attended.apply(&attend(&self.attention.apply(states)));
        add(states, &attended);
        self.attention_norm.apply(states);

        let mut inner = self.inner.apply(states);
        each(
            #[inline(always)]
            || {
                for value in &mut inner {
                    *value = gelu(*value);
                }
            },
        );
        add(states, &self.outer.apply(&inner));
        self.norm.apply(states);
    }
}

/// Every token's mean of all tokens' values, weighed by how its query meets their keys, head by head.
fn attend(states: &[f32]) -> Vec<f32> {
    const ALL: usize = 3 * DIMENSIONS;
    let count = states.len() / ALL;
    let mut out = vec![0.0; count * DIMENSIONS];
    let mut weights = vec![0.0; count];
    each(
        #[inline(always)]
        || {
            for (state, out) in states.chunks_exact(ALL).zip(out.chunks_exact_mut(DIMENSIONS)) {
                for (head, (query, out)) in state.chunks_exact(HEAD).zip(out.chunks_exact_mut(HEAD)).enumerate() {
                    let parts = |from: usize| {
                        let begin = from + head * HEAD;
                        states.chunks_exact(ALL).map(move |state| state.get(begin..begin + HEAD).unwrap_or_default())
                    };
                    for (weight, key) in weights.iter_mut().zip(parts(DIMENSIONS)) {
                        *weight = dot(query, key) * (HEAD as f32).sqrt().recip();
                    }
                    soften(&mut weights);
                    for (weight, value) in weights.iter().zip(parts(2 * DIMENSIONS)) {
                        for (out, value) in out.iter_mut().zip(value) {
                            *out += weight * value;
                        }
                    }
                }
            }
        },
    );
    out
}

/// Weights that sum to one.
#[inline(always)]
fn soften(weights: &mut [f32]) {
    let most = weights.iter().copied().fold(f32::MIN, f32::max);
    for weight in &mut *weights {
        *weight = exp(*weight - most);
    }
    let all = weights.iter().sum::<f32>().recip();
    for weight in weights {
        *weight *= all;
    }
}

fn add(states: &mut [f32], more: &[f32]) {
    for (state, more) in states.iter_mut().zip(more) {
        *state += more;
    }
}

/// Numbers as steps from zero, 256 of them from the least to the largest, and what a step stands for.
fn quantise(values: &[f32]) -> (Vec<i16>, f32) {
    let mut rows = vec![0_i16; values.len()];
    let mut scale = 0.0;
    each(
        #[inline(always)]
        || {
            let (mut least, mut most) = (0.0_f32, 0.0_f32);
            for value in values {
                least = if *value < least { *value } else { least };
                most = if *value > most { *value } else { most };
            }
            scale = ((most - least) / 255.0).max(f32::MIN_POSITIVE);
            let zero = (-least / scale).round_ties_even();
            let by = scale.recip();
            for (row, value) in rows.iter_mut().zip(values) {
                let step = (value * by).round_ties_even().clamp(-zero, 255.0 - zero);
                // Within -255 and 255 by the clamp.
                *row = step as i16;
            }
        },
    );
    (rows, scale)
}

fn bytes_of(tensors: &Tensors, name: &str, count: usize) -> Result<&'static [u8], Error> {
    let bytes = tensors.get(name).filter(|bytes| bytes.len() == count);
    bytes.copied().ok_or_else(|| Error(name.to_owned()))
}

pub(crate) fn floats_of(tensors: &Tensors, name: &str, count: usize) -> Result<Vec<f32>, Error> {
    Ok(floats(bytes_of(tensors, name, count.saturating_mul(size_of::<f32>()))?).collect())
}
