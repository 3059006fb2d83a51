//! Symmetric positive definite matrices: factor, solve. Also compiled into the training program, on larger ones.
//!
//! A matrix is its lower half row by row. Only additions, multiplications, divisions and square roots, in a fixed order:
//! the same bits on every machine.

/// A lower triangular factor `L` with `L·Lᵀ` the matrix it was made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Cholesky {
    half: Vec<f64>,
    side: usize,
}

/// Smaller pivots are noise of rounding; the matrix is taken as if it had this there.
const LEAST_PIVOT: f64 = 1e-12;

impl Cholesky {
    /// Factors the lower half of a matrix with that many rows. Entries that are missing count as zero.
    pub fn of(mut half: Vec<f64>, side: usize) -> Cholesky {
        half.resize(triangle(side), 0.0);
        let mut done: Vec<f64> = Vec::with_capacity(half.len());
        for row in 0..side {
            let begin = triangle(row);
            for column in 0..row {
                let pivot_row = done.get(triangle(column)..triangle(column) + column).unwrap_or_default();
                let this_row = done.get(begin..).unwrap_or_default();
                let rest = half.get(begin + column).copied().unwrap_or_default() - dot(this_row, pivot_row);
                let pivot = done.get(triangle(column) + column).copied().unwrap_or(1.0);
                done.push(rest / pivot);
            }
            let this_row = done.get(begin..).unwrap_or_default();
            let rest = half.get(begin + row).copied().unwrap_or_default() - dot(this_row, this_row);
            done.push(rest.max(LEAST_PIVOT).sqrt());
        }
        Cholesky { half: done, side }
    }

    /// `L⁻¹·right`.
    pub fn forward(&self, right: &mut [f64]) {
        for row in 0..self.side {
            let (begin, end) = (triangle(row), triangle(row) + row);
            let sum = dot(self.half.get(begin..end).unwrap_or_default(), right);
            let pivot = self.half.get(end).copied().unwrap_or(1.0);
            if let Some(value) = right.get_mut(row) {
                *value = (*value - sum) / pivot;
            }
        }
    }

    /// `L⁻ᵀ·right`.
    pub fn backward(&self, right: &mut [f64]) {
        for row in (0..self.side).rev() {
            let (begin, end) = (triangle(row), triangle(row) + row);
            let pivot = self.half.get(end).copied().unwrap_or(1.0);
            let Some(value) = right.get_mut(row) else { continue };
            *value /= pivot;
            let value = *value;
            let factors = self.half.get(begin..end).unwrap_or_default();
            for (before, factor) in right.iter_mut().zip(factors) {
                *before -= factor * value;
            }
        }
    }

    /// The solution of `matrix · x = right`, in place.
    pub fn solve(&self, right: &mut [f64]) {
        self.forward(right);
        self.backward(right);
    }
}

impl Cholesky {
    /// The lower half of the matrix's inverse.
    pub fn inverse(&self) -> Vec<f64> {
        let mut inverse = vec![0.0; triangle(self.side)];
        for column in 0..self.side {
            let mut unit = vec![0.0; self.side];
            if let Some(one) = unit.get_mut(column) {
                *one = 1.0;
            }
            self.solve(&mut unit);
            for (row, value) in unit.iter().enumerate().skip(column) {
                if let Some(entry) = inverse.get_mut(triangle(row) + column) {
                    *entry = *value;
                }
            }
        }
        inverse
    }
}

/// Adds the product of a symmetric matrix's lower half and a vector to `sums`.
pub fn multiply(half: &[f64], vector: &[f64], sums: &mut [f64]) {
    let mut rest = half;
    for (place, value) in vector.iter().enumerate() {
        let Some((row, after)) = rest.split_at_checked(place + 1) else { return };
        let Some((before, [sum, ..])) = sums.split_at_mut_checked(place) else { return };
        *sum += dot(row, vector);
        for (sum, entry) in before.iter_mut().zip(row) {
            *sum += entry * value;
        }
        rest = after;
    }
}

/// Entries before a row of a lower half.
pub fn triangle(row: usize) -> usize {
    row * (row + 1) / 2
}

/// Adds the product of a row with itself, weighed, to a lower half.
pub fn add_square(half: &mut [f64], row: &[f64], weight: f64) {
    let mut rest = half;
    for (place, value) in row.iter().enumerate() {
        let Some((sums, after)) = rest.split_at_mut_checked(place + 1) else { return };
        let factor = value * weight;
        for (sum, other) in sums.iter_mut().zip(row) {
            *sum += factor * other;
        }
        rest = after;
    }
}

/// `vectorᵀ · matrix · vector` of a lower half.
pub fn quadratic(half: &[f64], vector: &[f64]) -> f64 {
    let mut rest = half;
    let mut total = 0.0;
    for (place, value) in vector.iter().enumerate() {
        let Some((row, after)) = rest.split_at_checked(place + 1) else { break };
        let diagonal = row.last().copied().unwrap_or_default() * value;
        total += value * (2.0 * dot(row, vector.get(..place).unwrap_or_default()) + diagonal);
        rest = after;
    }
    total
}

/// The sum of products over the shorter of the two.
pub fn dot(left: &[f64], right: &[f64]) -> f64 {
    const LANES: usize = 4;
    let shorter = left.len().min(right.len());
    let (left, right) = (left.get(..shorter).unwrap_or_default(), right.get(..shorter).unwrap_or_default());
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (left, right) in left.iter().zip(right) {
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum += left * right;
        }
    }
    let rest: f64 = left_rest.iter().zip(right_rest).map(|(left, right)| left * right).sum();
    let [a, b, c, d] = sums;
    (a + b) + (c + d) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_solution_solves_and_a_form_is_the_form() {
        let half = vec![4.0, 2.0, 5.0, 0.6, 1.5, 3.0];
        let factor = Cholesky::of(half.clone(), 3);
        let mut solution = [1.0, 2.0, 3.0];

        factor.solve(&mut solution);

        let [x, y, z] = solution;
        assert!((4.0 * x + 2.0 * y + 0.6 * z - 1.0).abs() < 1e-12);
        assert!((2.0 * x + 5.0 * y + 1.5 * z - 2.0).abs() < 1e-12);
        assert!((0.6 * x + 1.5 * y + 3.0 * z - 3.0).abs() < 1e-12);
        let mut product = [0.0; 3];
        multiply(&half, &solution, &mut product);
        assert!(product.iter().zip([1.0, 2.0, 3.0]).all(|(product, right)| (product - right).abs() < 1e-12));
        let mut again = [0.0; 3];
        multiply(&factor.inverse(), &product, &mut again);
        assert!(again.iter().zip(solution).all(|(again, x)| (again - x).abs() < 1e-12));
        assert!((quadratic(&half, &solution) - (x + 2.0 * y + 3.0 * z)).abs() < 1e-12);
    }

    #[test]
    fn squares_add_up() {
        let mut half = vec![0.0; 3];

        add_square(&mut half, &[2.0, 3.0], 0.5);

        assert_eq!(half, [2.0, 3.0, 4.5]);
    }
}
