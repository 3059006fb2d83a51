//! Vectors as bytes, and the search among them: exact, over one contiguous slab.

use crate::kernel::products;

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
        let products = self.values.iter().zip(&other.values).map(|(one, other)| i32::from(*one) * i32::from(*other));
        products.fold(0_i32, i32::wrapping_add) as f32 * (self.scale * other.scale)
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
        let wide: Vec<i16> = row.values.iter().map(|value| i16::from(*value)).collect();
        let products = products(&wide, &self.values);
        for (place, (product, scale)) in products.into_iter().zip(&self.scales).enumerate() {
            let similarity = product as f32 * (row.scale * scale);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cosine(one: &[f32], other: &[f32]) -> f32 {
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        product(one, other) / (product(one, one) * product(other, other)).sqrt()
    }

    proptest! {
        #[test]
        fn bytes_keep_the_cosine(values in prop::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0), 64..400)) {
            let (one, other): (Vec<f32>, Vec<f32>) = values.into_iter().unzip();

            let similarity = Row::of(&one).similarity(&Row::of(&other));

            prop_assert!((similarity - cosine(&one, &other)).abs() < 0.01);
        }

        #[test]
        fn the_search_finds_what_looking_at_each_row_finds(
            vectors in prop::collection::vec(prop::collection::vec(-1.0_f32..1.0, 37), 1..40),
            gone in prop::collection::vec(0_usize..50, 0..8),
        ) {
            let mut kept: Vec<Row> = vectors.iter().map(|vector| Row::of(vector)).collect();
            let mut rows = Rows::new(37);
            for row in &kept {
                prop_assert!(rows.push(row));
            }
            for place in gone {
                prop_assert_eq!(rows.swap_remove(place), place < kept.len());
                if place < kept.len() {
                    kept.swap_remove(place);
                }
            }
            let asked = Row::of(&vectors[0]);

            let found = rows.nearest(&asked, 0.1, 3);

            let mut expected: Vec<f32> = kept.iter().map(|row| asked.similarity(row)).filter(|near| *near >= 0.1).collect();
            expected.sort_by(|one, other| other.total_cmp(one));
            expected.truncate(3);
            prop_assert_eq!(found.iter().map(|near| near.similarity).collect::<Vec<_>>(), expected);
            for near in found {
                prop_assert_eq!(asked.similarity(&kept[near.place]), near.similarity);
            }
        }
    }

    #[test]
    fn what_is_not_a_vector_is_near_to_nothing() {
        let mut rows = Rows::new(2);

        assert!(!rows.push(&Row::of(&[1.0, 0.0, 0.0])));
        assert!(rows.push(&Row::of(&[f32::NAN, f32::INFINITY])));
        assert!(rows.push(&Row::of(&[0.0, 0.0])));
        assert!(rows.nearest(&Row::of(&[1.0, 0.0]), 0.5, 9).is_empty());
        assert!(rows.nearest(&Row::of(&[1.0]), -1.0, 9).is_empty());
        assert!(rows.nearest(&Row::of(&[1.0, 0.0]), -1.0, 0).is_empty());
    }
}
