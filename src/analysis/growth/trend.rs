//! Robust slopes and whether they could be chance.

use statrs::distribution::{ContinuousCDF, Normal};

/// The standard normal quantile of a two-sided interval of 95 %.
const Z95: f64 = 1.959_963_985;

/// A slope by Theil and Sen, and the Mann–Kendall test of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::analysis) struct Trend {
    /// The median of the slopes of all pairs, in units of y per unit of x.
    pub(in crate::analysis) slope: f64,
    /// Sen's interval of 95 % for it, widened for autocorrelation.
    pub(in crate::analysis) low: f64,
    /// Its upper end.
    pub(in crate::analysis) high: f64,
    /// The two-sided p-value that there is no trend, autocorrelation accounted for.
    pub(in crate::analysis) p: f64,
}

/// The trend of points; none of fewer than three, or where all have one x.
///
/// Slope: Theil 1950; interval: Sen, JASA 63 (1968); test: Mann 1945 and Kendall 1975, with the
/// variance correction of Hamed and Rao, J. Hydrology 204 (1998), for the autocorrelation of the
/// ranks of the detrended series. The correction never makes a trend more certain.
pub(in crate::analysis) fn trend(x: &[f64], y: &[f64]) -> Option<Trend> {
    let n = x.len().min(y.len());
    if n < 3 {
        return None;
    }
    let mut slopes = Vec::with_capacity(n * (n - 1) / 2);
    let mut score = 0.0;
    for i in 0..n {
        for j in i + 1..n {
            score += sign(y[j] - y[i]);
            if x[j] > x[i] {
                slopes.push((y[j] - y[i]) / (x[j] - x[i]));
            }
        }
    }
    slopes.sort_by(f64::total_cmp);
    let slope = median_of_sorted(&slopes)?;
    let variance = variance(&y[..n]) * correction(x, &y[..n], slope);
    let deviation = variance.max(0.0).sqrt();
    let p = if deviation > 0.0 {
        // The continuity correction: scores move in steps of two.
        let z = (score.abs() - 1.0).max(0.0) / deviation;
        2.0 * (1.0 - Normal::standard().cdf(z))
    } else {
        1.0
    };
    let (low, high) = interval(&slopes, deviation);
    Some(Trend { slope, low, high, p })
}

/// The middle of values; none of none.
pub(in crate::analysis) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    median_of_sorted(&sorted)
}

fn median_of_sorted(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { upper } else { f64::midpoint(sorted[middle - 1], upper) })
}

fn sign(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value.signum() }
}

/// Sen's interval: the slopes whose ranks lie so many deviations of the score from the middle.
fn interval(sorted: &[f64], deviation: f64) -> (f64, f64) {
    let count = float(sorted.len());
    let half = Z95 * deviation;
    let last = sorted.len() - 1;
    let low = index((count - half) / 2.0).saturating_sub(1).min(last);
    let high = index(f64::midpoint(count, half)).min(last);
    (sorted[low], sorted[high])
}

/// The variance of the score without autocorrelation, ties accounted for.
fn variance(y: &[f64]) -> f64 {
    let term = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0);
    let mut sorted = y.to_vec();
    sorted.sort_by(f64::total_cmp);
    let ties: f64 =
        sorted.chunk_by(|a, b| a.total_cmp(b).is_eq()).map(|group| term(float(group.len()))).sum();
    (term(float(y.len())) - ties) / 18.0
}

/// By what the variance grows for the autocorrelation of the detrended ranks; 1 at least.
fn correction(x: &[f64], y: &[f64], slope: f64) -> f64 {
    let n = y.len();
    let rest: Vec<f64> = x.iter().zip(y).map(|(x, y)| y - slope * x).collect();
    let ranks = ranks(&rest);
    let mean = ranks.iter().sum::<f64>() / float(n);
    let off: Vec<f64> = ranks.iter().map(|rank| rank - mean).collect();
    let square: f64 = off.iter().map(|off| off * off).sum();
    if square <= 0.0 {
        return 1.0;
    }
    let count = float(n);
    let sum: f64 = (1..n.saturating_sub(2))
        .filter_map(|lag| {
            let product: f64 = off.iter().zip(&off[lag..]).map(|(a, b)| a * b).sum();
            let correlation = product / square;
            let left = float(n - lag);
            // Only what differs from nothing counts, else chance widens what is certain.
            let significant = correlation.abs() > Z95 / count.sqrt();
            significant.then_some(left * (left - 1.0) * (left - 2.0) * correlation)
        })
        .sum();
    (1.0 + 2.0 / (count * (count - 1.0) * (count - 2.0)) * sum).max(1.0)
}

/// Ranks from 1, equal values sharing the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for group in order.chunk_by(|a, b| values[*a].total_cmp(&values[*b]).is_eq()) {
        let rank = float(before) + f64::midpoint(1.0, float(group.len()));
        for index in group {
            ranks[*index] = rank;
        }
        before += group.len();
    }
    ranks
}

pub(in crate::analysis) fn float(count: usize) -> f64 {
    super::super::float(count as u64)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at 0")]
fn index(position: f64) -> usize {
    position.round() as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_published_example_comes_out() {
        // Gilbert, Statistical Methods for Environmental Pollution Monitoring (1987), 16.4.
        let y = [10.0, 15.0, 14.0, 20.0];
        let x = [1.0, 2.0, 3.0, 4.0];
        let trend = trend(&x, &y).unwrap();
        // Slopes of pairs: 5, 2, 10/3, -1, 2.5, 6.
        assert!((trend.slope - f64::midpoint(2.5, 10.0 / 3.0)).abs() < 1e-12);
        // S = 4, its variance 4·3·13/18.
        let z = 3.0 / (156.0_f64 / 18.0).sqrt();
        let p = 2.0 * (1.0 - Normal::standard().cdf(z));
        assert!((trend.p - p).abs() < 1e-9, "{trend:?}");
    }

    #[test]
    fn a_step_a_line_and_nothing() {
        let x: Vec<f64> = (0..16).map(float).collect();
        let line: Vec<f64> = x.iter().map(|x| 3.0 * x + 7.0).collect();
        let line = trend(&x, &line).unwrap();
        assert!((line.slope - 3.0).abs() < 1e-12 && line.p < 0.001, "{line:?}");
        assert!((line.low - 3.0).abs() < 1e-12 && (line.high - 3.0).abs() < 1e-12);
        let flat = trend(&x, &[5.0; 16]).unwrap();
        assert_eq!((flat.slope, flat.p), (0.0, 1.0));
        assert_eq!(trend(&x[..2], &x[..2]), None);
    }

    proptest! {
        #[test]
        fn the_slope_follows_scale_and_shift(
            y in prop::collection::vec(-1e6_f64..1e6, 4..40), scale in 0.1_f64..10.0, shift in -1e6_f64..1e6,
        ) {
            let x: Vec<f64> = (0..y.len()).map(float).collect();
            let plain = trend(&x, &y).unwrap();
            prop_assert!(plain.low <= plain.slope && plain.slope <= plain.high);
            prop_assert!((0.0..=1.0).contains(&plain.p));
            let moved: Vec<f64> = x.iter().zip(&y).map(|(x, y)| scale * y + shift + 2.0 * x).collect();
            let moved = trend(&x, &moved).unwrap();
            prop_assert!((moved.slope - (scale * plain.slope + 2.0)).abs() < 1e-3);
        }

        #[test]
        fn ranks_sum_up(values in prop::collection::vec(0_u8..10, 1..50)) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let n = float(values.len());
            prop_assert!((ranks(&values).iter().sum::<f64>() - n * (n + 1.0) / 2.0).abs() < 1e-6);
        }
    }
}
