//! Normal equations of a few steps: non-negative least squares, and what goes along with what.

/// What is added to each step's own variation, as a share of it, so that steps that go together
/// exactly have a solution at all; they are refused for going together.
const RIDGE: f64 = 1e-9;
/// Rounds of the descent, and the change at which it has arrived.
const ROUNDS: usize = 2000;
const ARRIVED: f64 = 1e-9;

/// A symmetric matrix that is taken to be zero where it is not filled.
#[derive(Debug, Clone, Default)]
pub(super) struct Matrix {
    size: usize,
    cells: Vec<f64>,
}

impl Matrix {
    pub(super) fn new(size: usize) -> Self {
        Self { size, cells: vec![0.0; size * size] }
    }

    pub(super) fn at(&self, i: usize, j: usize) -> f64 {
        if i < self.size && j < self.size { self.cells[i * self.size + j] } else { 0.0 }
    }

    pub(super) fn add(&mut self, i: usize, j: usize, value: f64) {
        self.cells[i * self.size + j] += value;
    }

    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// The sum of both, `sign` times the other.
    pub(super) fn plus(&self, other: &Self, sign: f64) -> Self {
        let mut sum = Self::new(self.size.max(other.size));
        for i in 0..sum.size {
            for j in 0..sum.size {
                sum.add(i, j, self.at(i, j) + sign * other.at(i, j));
            }
        }
        sum
    }
}

/// The step that correlates most with one.
pub(super) fn partner(gram: &Matrix, index: usize) -> Option<usize> {
    let correlation = |other: usize| {
        let norm = (gram.at(index, index) * gram.at(other, other)).sqrt();
        if norm > 0.0 { gram.at(index, other).abs() / norm } else { 0.0 }
    };
    let others = (0..gram.size()).filter(|other| *other != index);
    others.max_by(|a, b| correlation(*a).total_cmp(&correlation(*b)))
}

fn ridge(gram: &Matrix, index: usize) -> f64 {
    let own = gram.at(index, index);
    if own > 0.0 { own * RIDGE } else { 1.0 }
}

/// Non-negative least squares by descent along one step at a time.
pub(super) fn non_negative(gram: &Matrix, moment: &[f64]) -> Vec<f64> {
    let mut values: Vec<f64> = solve(gram, moment).into_iter().map(|v| v.max(0.0)).collect();
    for _ in 0..ROUNDS {
        let mut moved = 0.0_f64;
        for index in 0..values.len() {
            let own = gram.at(index, index) + ridge(gram, index);
            let others: f64 = (0..values.len())
                .filter(|other| *other != index)
                .map(|other| gram.at(index, other) * values[other])
                .sum();
            let value = ((moment[index] - others) / own).max(0.0);
            moved = moved.max((value - values[index]).abs() / (1.0 + value));
            values[index] = value;
        }
        if moved < ARRIVED {
            break;
        }
    }
    values
}

/// The lower triangle of Cholesky; rows whose own variation is used up by others are as good as
/// nothing.
fn cholesky(gram: &Matrix) -> Matrix {
    let size = gram.size();
    let mut lower = Matrix::new(size);
    for i in 0..size {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| lower.at(i, k) * lower.at(j, k)).sum();
            let own = if i == j { ridge(gram, i) } else { 0.0 };
            let rest = gram.at(i, j) + own - known;
            let value = if i == j { rest.max(own).sqrt() } else { rest / lower.at(j, j) };
            lower.add(i, j, value);
        }
    }
    lower
}

/// Solves `gram × values = moment`.
pub(super) fn solve(gram: &Matrix, moment: &[f64]) -> Vec<f64> {
    let lower = cholesky(gram);
    let size = gram.size();
    let mut values = moment.to_vec();
    for i in 0..size {
        let known: f64 = (0..i).map(|k| lower.at(i, k) * values[k]).sum();
        values[i] = (values[i] - known) / lower.at(i, i);
    }
    for i in (0..size).rev() {
        let known: f64 = (i + 1..size).map(|k| lower.at(k, i) * values[k]).sum();
        values[i] = (values[i] - known) / lower.at(i, i);
    }
    values
}

pub(super) fn inverse(gram: &Matrix) -> Matrix {
    let size = gram.size();
    let mut inverse = Matrix::new(size);
    for j in 0..size {
        let mut unit = vec![0.0; size];
        unit[j] = 1.0;
        for (i, value) in solve(gram, &unit).into_iter().enumerate() {
            inverse.add(i, j, value);
        }
    }
    inverse
}
