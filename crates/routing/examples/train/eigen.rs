//! Eigenvectors of a symmetric matrix, by Jacobi's rotations.

/// Rounds over all pairs; far fewer reach the last bit.
const ROUNDS: usize = 30;
/// What is left off the diagonal then counts as nothing.
const NOTHING: f64 = 1e-24;

/// The largest eigenvalues with their vectors, the largest first; the sign of a vector's largest entry is positive.
pub(crate) fn largest(mut matrix: Vec<Vec<f64>>, count: usize) -> Vec<(f64, Vec<f64>)> {
    let side = matrix.len();
    let mut vectors: Vec<Vec<f64>> =
        (0..side).map(|row| (0..side).map(|column| if row == column { 1.0 } else { 0.0 }).collect()).collect();
    for _ in 0..ROUNDS {
        let off: f64 = (0..side).flat_map(|row| matrix[row][..row].iter()).map(|value| value * value).sum();
        if off < NOTHING {
            break;
        }
        for high in 1..side {
            for low in 0..high {
                rotate(&mut matrix, &mut vectors, low, high);
            }
        }
    }
    let mut order: Vec<usize> = (0..side).collect();
    order.sort_by(|a, b| matrix[*b][*b].total_cmp(&matrix[*a][*a]).then(a.cmp(b)));
    order.truncate(count);
    order
        .into_iter()
        .map(|place| (matrix[place][place], signed(vectors.iter().map(|row| row[place]).collect())))
        .collect()
}

/// Turns the two axes so that their entry becomes zero.
fn rotate(matrix: &mut [Vec<f64>], vectors: &mut [Vec<f64>], low: usize, high: usize) {
    let entry = matrix[low][high];
    if entry == 0.0 {
        return;
    }
    let ratio = (matrix[high][high] - matrix[low][low]) / (2.0 * entry);
    let tangent = ratio.signum() / (ratio.abs() + (ratio * ratio + 1.0).sqrt());
    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sine = tangent * cosine;
    for row in matrix.iter_mut() {
        let (a, b) = (row[low], row[high]);
        (row[low], row[high]) = (cosine * a - sine * b, sine * a + cosine * b);
    }
    let (before, after) = matrix.split_at_mut(high);
    for (a, b) in before[low].iter_mut().zip(after[0].iter_mut()) {
        (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
    }
    for row in vectors.iter_mut() {
        let (a, b) = (row[low], row[high]);
        (row[low], row[high]) = (cosine * a - sine * b, sine * a + cosine * b);
    }
}

fn signed(vector: Vec<f64>) -> Vec<f64> {
    let largest =
        vector.iter().copied().fold(0.0_f64, |best, value| if value.abs() > best.abs() { value } else { best });
    if largest < 0.0 { vector.into_iter().map(|value| -value).collect() } else { vector }
}
