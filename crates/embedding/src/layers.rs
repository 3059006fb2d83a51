//! The layers of the model: six of attention and a feed-forward step, in whole numbers where it multiplies matrices.
//!
//! What goes into a matrix is quantised to eight bits over the whole text, as ONNX's `DynamicQuantizeLinear` does, so
//! that the vectors are those of the file.

use crate::encoder::Error;
use crate::kernel::{LANES, Learned, Matrix, Steps, each, exp, gelu, sum};
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
    matrix: Matrix,
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
        let (matrix, scales, bias) = (Matrix::new(width), Vec::new(), Vec::new());
        let mut linear = Linear { width, matrix, scales, bias };
        for name in names {
            let columns = bytes_of(tensors, &format!("{name}.wT_quantized"), width.saturating_mul(height))?;
            linear.matrix.extend(columns);
            linear.scales.extend(floats_of(tensors, &format!("{name}.wT_scale"), height)?);
            linear.bias.extend(floats_of(tensors, &format!("{name}.b"), height)?);
        }
        Ok(linear)
    }

    fn apply(&self, states: &[f32]) -> Vec<f32> {
        let learned = Learned { scales: &self.scales, bias: &self.bias };
        self.matrix.apply(&Steps::of(states, self.width), &learned)
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

/// Tokens whose keys lie side by side.
const BESIDE: usize = 2 * LANES;

/// Every token's mean of all tokens' values, weighed by how its query meets their keys, head by head.
fn attend(states: &[f32]) -> Vec<f32> {
    const ALL: usize = 3 * DIMENSIONS;
    let count = states.len() / ALL;
    let mut out = vec![0.0; count * DIMENSIONS];
    let mut keys = vec![[[0.0_f32; BESIDE]; HEAD]; count.div_ceil(BESIDE)];
    let mut weights = vec![[0.0_f32; BESIDE]; keys.len()];
    let part = |state: &[f32], from: usize| state.get(from..).and_then(|rest| rest.first_chunk::<HEAD>().copied());
    each(
        #[inline(always)]
        || {
            for head in (0..DIMENSIONS).step_by(HEAD) {
                for (keys, states) in keys.iter_mut().zip(states.chunks(BESIDE * ALL)) {
                    for (lane, state) in states.chunks_exact(ALL).enumerate() {
                        let key = part(state, DIMENSIONS + head).unwrap_or_default();
                        for (line, key) in keys.iter_mut().zip(key) {
                            if let Some(place) = line.get_mut(lane) {
                                *place = key;
                            }
                        }
                    }
                }
                for (state, out) in states.chunks_exact(ALL).zip(out.chunks_exact_mut(DIMENSIONS)) {
                    let query = part(state, head).unwrap_or_default();
                    for (weights, keys) in weights.iter_mut().zip(&keys) {
                        *weights = meet(&query, keys);
                    }
                    soften(weights.as_flattened_mut(), count);
                    let mut mean = [0.0_f32; HEAD];
                    for (weight, state) in weights.as_flattened().iter().zip(states.chunks_exact(ALL)) {
                        let value = part(state, 2 * DIMENSIONS + head).unwrap_or_default();
                        for (mean, value) in mean.iter_mut().zip(value) {
                            *mean += weight * value;
                        }
                    }
                    out.iter_mut().skip(head).zip(mean).for_each(|(out, mean)| *out = mean);
                }
            }
        },
    );
    out
}

/// The products of a query with keys that lie side by side, to the measure of a head.
#[inline(always)]
fn meet(query: &[f32; HEAD], keys: &[[f32; BESIDE]; HEAD]) -> [f32; BESIDE] {
    let mut products = [0.0; BESIDE];
    for (by, line) in query.iter().zip(keys) {
        for (product, key) in products.iter_mut().zip(line) {
            *product += by * key;
        }
    }
    products.map(|product| product * (HEAD as f32).sqrt().recip())
}

/// Makes weights that sum to one of the first `count`, and nothing of the rest, which fills the last vector.
#[inline(always)]
fn soften(weights: &mut [f32], count: usize) {
    weights.iter_mut().skip(count).for_each(|weight| *weight = f32::MIN);
    let mut most = [f32::MIN; LANES];
    for weights in weights.as_chunks::<LANES>().0 {
        for (most, weight) in most.iter_mut().zip(weights) {
            *most = if *weight > *most { *weight } else { *most };
        }
    }
    let most = most.into_iter().fold(f32::MIN, f32::max);
    for weight in &mut *weights {
        *weight = exp(*weight - most);
    }
    let all = sum(weights, |weight| weight).recip();
    for weight in weights {
        *weight *= all;
    }
}

fn add(states: &mut [f32], more: &[f32]) {
    for (state, more) in states.iter_mut().zip(more) {
        *state += more;
    }
}

fn bytes_of(tensors: &Tensors, name: &str, count: usize) -> Result<&'static [u8], Error> {
    let bytes = tensors.get(name).filter(|bytes| bytes.len() == count);
    bytes.copied().ok_or_else(|| Error(name.to_owned()))
}

pub(crate) fn floats_of(tensors: &Tensors, name: &str, count: usize) -> Result<Vec<f32>, Error> {
    Ok(floats(bytes_of(tensors, name, count.saturating_mul(size_of::<f32>()))?).collect())
}
