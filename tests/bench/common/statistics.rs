//! Medians, percentiles, and an interval for a mean of ratios.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The value below which `share` (0 to 1) of the values lie; zero of none.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    sorted[index(super::float(last as u64) * share).min(last)]
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index in a Vec")]
fn index(position: f64) -> usize {
    position.round() as usize
}

pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The geometric mean: that of ratios, for which twice and half cancel out.
pub(crate) fn mean_ratio(ratios: &[f64]) -> f64 {
    let logarithms: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    (logarithms / super::float(ratios.len() as u64)).exp()
}

/// The 95 % interval of the geometric mean, by drawing from the values again and again (seeded).
pub(crate) fn bootstrap(values: &[f64]) -> (f64, f64) {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let means: Vec<f64> = (0..10_000)
        .map(|_| {
            let draw = || values[random.random_range(0..values.len())];
            mean_ratio(&std::iter::repeat_with(draw).take(values.len()).collect::<Vec<_>>())
        })
        .collect();
    (quantile(&means, 0.025), quantile(&means, 0.975))
}
