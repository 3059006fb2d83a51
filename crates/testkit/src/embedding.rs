//! Vectors that depend on nothing but the text: the same text, the same numbers.

use serde_json::Value;

/// Dimensions where none are asked for: few, so that a test can show them.
const DIMENSIONS: usize = 8;
/// As many as any vendor's model has.
const MAX_DIMENSIONS: u64 = 8192;

/// One vector of length 1 per input, as many dimensions as `request` asks for.
pub(crate) fn vectors(request: &Value) -> Vec<Vec<f32>> {
    let asked = request["dimensions"].as_u64().map(|count| count.clamp(1, MAX_DIMENSIONS));
    let dimensions = asked.and_then(|count| usize::try_from(count).ok()).unwrap_or(DIMENSIONS);
    inputs(request).iter().map(|input| vector(input, dimensions)).collect()
}

/// A vector's numbers as vendors write them: the shortest decimals that are these 32-bit numbers.
pub(crate) fn numbers(vector: &[f32]) -> Value {
    vector.iter().filter_map(|value| value.to_string().parse::<f64>().ok()).collect()
}

/// A token for four characters, and at least one an input.
pub(crate) fn tokens(request: &Value) -> usize {
    inputs(request).iter().map(|input| input.len() / 4 + 1).sum()
}

/// The inputs as text; token lists in their JSON form. A list of numbers is one input.
fn inputs(request: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match &request["input"] {
        Value::Array(list) if !list.iter().any(Value::is_number) => list.iter().map(text).collect(),
        Value::Null => Vec::new(),
        one => vec![text(one)],
    }
}

fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut state = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let [.., top] = state.to_le_bytes();
        f32::from(top) - 127.5
    };
    let raw: Vec<f32> = (0..dimensions).map(|_| next()).collect();
    let length = raw.iter().map(|value| value * value).sum::<f32>().sqrt();
    raw.iter().map(|value| value / length).collect()
}
