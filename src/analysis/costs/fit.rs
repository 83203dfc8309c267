//! The regression: non-negative least squares, with intervals by leaving out one stretch at a time.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::Estimate;
use super::blocks::Sums;
use super::count;
use super::lag::{Lag, lags};
use super::linear::{Matrix, inverse, non_negative, partner, solve};

/// Fewer stretches say nothing of chance.
const LEAST_BLOCKS: f64 = 3.0;
/// The standard normal quantile of a two-sided interval of 95 %.
const Z95: f64 = 1.96;

/// What came of the regression, by the index of each step.
#[derive(Debug, Clone)]
pub(super) struct Fit {
    pub(super) steps: Vec<Option<Fitted>>,
    /// Each step's cost averaged over its time in flight; zero where it is not known.
    pub(super) means: Vec<f64>,
}

/// One step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fitted {
    pub(super) estimate: Estimate,
    /// By how much its variance is inflated by the other steps; 1 where it stands alone.
    pub(super) inflation: f64,
    /// The step that goes along with it most.
    pub(super) partner: Option<usize>,
    /// As many stretches as would say the same, were it equally busy in all.
    pub(super) stretches: f64,
}

impl Fit {
    /// A step's mean memory as a share of that of all.
    pub(super) fn share(&self, index: usize, sums: &Sums) -> Option<f64> {
        let of = |index: usize| self.means[index] * sums.in_flight[index];
        let all: f64 = (0..self.means.len()).map(of).sum();
        (all > 0.0).then(|| of(index) / all)
    }
}

/// Fits all steps; none where there are too few stretches.
pub(super) fn fit(sums: &Sums) -> Option<Fit> {
    let size = sums.steps.len();
    if count(sums.blocks.len()) < LEAST_BLOCKS {
        return None;
    }
    let mut gram = Matrix::new(size);
    let mut moment = vec![0.0; size];
    for block in &sums.blocks {
        gram = gram.plus(&block.gram, 1.0);
        for (index, sum) in moment.iter_mut().enumerate() {
            *sum += block.moment(index);
        }
    }
    let values = non_negative(&gram, &moment);
    let free = solve(&gram, &moment);
    let inverse = inverse(&gram);
    let deviations = deviations(sums, &gram, &moment);
    let lags = lags(sums, &values);
    let steps = (0..size).map(|index| {
        let own = gram.at(index, index);
        if own <= 0.0 {
            return None;
        }
        let (stretches, lag) = (stretches(sums, index), lags[index]);
        let estimate = estimate(values[index], free[index], deviations[index], stretches, lag)?;
        let inflation = inverse.at(index, index) * own;
        let partner = partner(&gram, index);
        Some(Fitted { estimate, inflation, partner, stretches })
    });
    Some(Fit { steps: steps.collect(), means: values.clone() })
}

/// The cost by the means, and the interval around what it would be if it could be negative; both
/// for the time in which a request holds memory.
fn estimate(value: f64, free: f64, deviation: f64, stretches: f64, lag: Lag) -> Option<Estimate> {
    let freedom = (stretches - 1.0).max(1.0);
    let quantile = StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(0.975);
    let of_lag = lag.deviation * value;
    let around = (quantile * deviation).hypot(Z95 * of_lag);
    Some(Estimate {
        value: lag.factor * value,
        low: lag.factor * (free - around).clamp(0.0, value),
        high: lag.factor * (free + around).max(value),
    })
}

/// The deviation of each step's cost: delete-a-group jackknife over stretches.
fn deviations(sums: &Sums, gram: &Matrix, moment: &[f64]) -> Vec<f64> {
    let without: Vec<Vec<f64>> = sums
        .blocks
        .iter()
        .map(|block| {
            let gram = gram.plus(&block.gram, -1.0);
            let moment: Vec<f64> =
                moment.iter().enumerate().map(|(i, sum)| sum - block.moment(i)).collect();
            solve(&gram, &moment)
        })
        .collect();
    let n = count(without.len());
    let all = solve(gram, moment);
    let deviation = |index: usize| {
        let squares = without.iter().map(|values| (values[index] - all[index]).powi(2));
        ((n - 1.0) / n * squares.sum::<f64>()).sqrt()
    };
    (0..moment.len()).map(deviation).collect()
}

/// As many equally busy stretches as weigh the same.
fn stretches(sums: &Sums, index: usize) -> f64 {
    let weights = sums.blocks.iter().map(|block| block.gram.at(index, index));
    let (sum, squares) = weights
        .fold((0.0, 0.0), |(sum, squares), weight| (sum + weight, squares + weight * weight));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}
