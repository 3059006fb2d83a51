//! Vectors as bytes, and the search among them: exact, over one contiguous slab.

/// A vector with a byte a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    values: Box<[i8]>,
    /// What a step of a byte stands for, over the vector's length: makes the product of two rows their cosine.
    scale: f32,
}

impl Row {
    /// Quantises a vector of any length; what is not a number counts as zero.
    pub fn of(vector: &[f32]) -> Row {
        let largest =
            vector.iter().filter(|value| value.is_finite()).fold(0.0_f32, |most, value| most.max(value.abs()));
        let step = if largest > 0.0 { f32::from(i8::MAX) / largest } else { 0.0 };
        // `as` saturates, and takes what is not a number for zero.
        let values: Box<[i8]> = vector.iter().map(|value| (value * step).round() as i8).collect();
        Row::from_bytes(values)
    }

    /// A row from the bytes of one.
    pub fn from_bytes(values: Box<[i8]>) -> Row {
        let length = values.iter().map(|value| f32::from(*value) * f32::from(*value)).sum::<f32>().sqrt();
        Row { values, scale: if length > 0.0 { length.recip() } else { 0.0 } }
    }

    /// Its bytes: all that need be kept.
    pub fn bytes(&self) -> &[i8] {
        &self.values
    }

    /// The cosine of two rows; 0 where their lengths differ.
    pub fn similarity(&self, other: &Row) -> f32 {
        if self.values.len() != other.values.len() {
            return 0.0;
        }
        dot(&self.values, &other.values) as f32 * self.scale * other.scale
    }
}

/// A row that a search has found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// Its place among the rows.
    pub place: usize,
    /// Its cosine to what was looked for.
    pub similarity: f32,
}

/// Rows of one length, side by side.
#[derive(Clone, Debug)]
pub struct Rows {
    dimensions: usize,
    values: Vec<i8>,
    scales: Vec<f32>,
}

impl Rows {
    /// Room for rows of so many numbers each.
    pub fn new(dimensions: usize) -> Rows {
        Rows { dimensions: dimensions.max(1), values: Vec::new(), scales: Vec::new() }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.scales.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }

    /// Adds a row at the end; false, and nothing is added, where its length is another.
    pub fn push(&mut self, row: &Row) -> bool {
        let fits = row.values.len() == self.dimensions;
        if fits {
            self.values.extend_from_slice(&row.values);
            self.scales.push(row.scale);
        }
        fits
    }

    /// Takes a row out and puts the last in its place; false where there is none.
    pub fn swap_remove(&mut self, place: usize) -> bool {
        let Some(last) = self.len().checked_sub(1).filter(|last| place <= *last) else { return false };
        let from = last.saturating_mul(self.dimensions);
        self.values.copy_within(from.., place.saturating_mul(self.dimensions));
        self.values.truncate(from);
        self.scales.swap_remove(place);
        true
    }

    /// The nearest rows, the best first: at most `most`, each with a cosine of `least` or more.
    pub fn nearest(&self, row: &Row, least: f32, most: usize) -> Vec<Near> {
        let mut found: Vec<Near> = Vec::new();
        if row.values.len() != self.dimensions || most == 0 {
            return found;
        }
        for (place, (values, scale)) in self.values.chunks_exact(self.dimensions).zip(&self.scales).enumerate() {
            let similarity = dot(&row.values, values) as f32 * row.scale * scale;
            if similarity >= least {
                keep(&mut found, Near { place, similarity }, most);
            }
        }
        found
    }
}

/// Puts a row among the best ones found so far.
fn keep(found: &mut Vec<Near>, near: Near, most: usize) {
    let at = found.partition_point(|other| other.similarity >= near.similarity);
    if at < most {
        found.truncate(most.saturating_sub(1));
        found.insert(at, near);
    }
}

/// The product of two rows: at most 127 * 127 for each of their numbers.
fn dot(one: &[i8], other: &[i8]) -> i32 {
    one.iter().zip(other).fold(0_i32, |sum, (a, b)| sum.wrapping_add(i32::from(*a) * i32::from(*b)))
}
