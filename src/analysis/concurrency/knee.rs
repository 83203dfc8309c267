//! Where throughput stops to follow the load, and where it falls.

use super::findings::{LoadLevel, Saturation};

/// Fewer levels with a throughput than this say nothing.
const LEAST: usize = 5;
/// At this share of the highest, throughput has come as far as it will.
const NEARLY: f64 = 0.9;
/// It is saturated where the load still rose by so much from there on.
const STILL_ROSE: f64 = 1.4;
/// Below this share of the highest it has collapsed.
const COLLAPSED: f64 = 0.75;
/// Of fewer requests a second, chance decides.
const LEAST_RATE: f64 = 1.0;

/// How throughput followed the load; none where too little of it is known.
///
/// The rule: throughput saturates at the least load at which it is 90 % of its highest, where the
/// load went on to 1.4 times that. It collapses where it ends below 75 % of its highest, which was
/// at a lesser load. Each level counts as the median of itself and its two neighbours.
pub(super) fn saturation(levels: &[LoadLevel]) -> Option<Saturation> {
    let points: Vec<(f64, f64)> =
        levels.iter().filter_map(|row| Some((row.load, row.throughput?))).collect();
    if points.len() < LEAST {
        return None;
    }
    let smooth = smoothed(&points);
    let (highest_at, highest) =
        smooth.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.total_cmp(&a.0)))?;
    if highest < LEAST_RATE {
        return None;
    }
    let most_load = points.last()?.0;
    let nearly = smooth.iter().find(|row| row.1 >= NEARLY * highest)?.0;
    let from = (most_load >= STILL_ROSE * nearly).then_some(nearly);
    let at_end = smooth.last()?.1;
    let collapsed = at_end < COLLAPSED * highest;
    let after = smooth.iter().filter(|row| row.0 > highest_at);
    let collapses_from = after
        .rev()
        .take_while(|row| row.1 < COLLAPSED * highest)
        .last()
        .filter(|_| collapsed)
        .map(|row| row.0);
    Some(Saturation { highest, highest_at, from, collapses_from, at_end })
}

/// Each point as the median of itself and its neighbours; the ends with one of them counted twice.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let value = |index: usize| points[index.min(points.len() - 1)].1;
    let middle = |index: usize| {
        let (a, b, c) = (value(index.saturating_sub(1)), value(index), value(index + 1));
        a.max(b).min(a.min(b).max(c))
    };
    points.iter().enumerate().map(|(index, point)| (point.0, middle(index))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn levels(seed: u64, noise: f64, of: impl Fn(f64) -> f64) -> Vec<LoadLevel> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let level = |n: u32| {
            let load = 6.25 * f64::from(n) + 3.0;
            let noise = 1.0 + noise * rng.random_range(-1.0..1.0);
            LoadLevel { load, throughput: Some(of(load) * noise), ..LoadLevel::default() }
        };
        (0..16).map(level).collect()
    }

    proptest! {
        // The same cases each time: of noise, chance decides what a statistic says.
        #![proptest_config(ProptestConfig {
            rng_seed: proptest::test_runner::RngSeed::Fixed(1),
            ..ProptestConfig::default()
        })]
        #[test]
        fn what_follows_the_load_is_not_saturated(seed in any::<u64>(), slope in 0.5_f64..50.0) {
            let got = saturation(&levels(seed, 0.03, |load| slope * load)).unwrap();
            prop_assert_eq!((got.from, got.collapses_from), (None, None), "seed {}", seed);
        }

        #[test]
        fn a_roof_is_found_where_it_begins(seed in any::<u64>(), roof in 12.0_f64..50.0) {
            let got = saturation(&levels(seed, 0.03, |load| 10.0 * load.min(roof))).unwrap();
            let from = got.from.unwrap();
            prop_assert!((0.75 * roof..=1.2 * roof + 6.25).contains(&from), "seed {}: {} of {}", seed, from, roof);
            prop_assert_eq!(got.collapses_from, None);
            prop_assert!((got.highest / (10.0 * roof) - 1.0).abs() < 0.05);
        }

        #[test]
        fn a_fall_is_a_collapse(seed in any::<u64>(), roof in 20.0_f64..50.0) {
            let falls = |load: f64| 10.0 * if load < roof { load } else { (2.0 * roof - load).max(1.0) };
            let got = saturation(&levels(seed, 0.03, falls)).unwrap();
            let from = got.collapses_from.unwrap();
            prop_assert!(from > roof && from < 1.6 * roof + 12.5, "seed {}: {} of {}", seed, from, roof);
        }
    }

    #[test]
    fn from_the_start_and_too_little() {
        let flat = saturation(&levels(1, 0.01, |_| 900.0)).unwrap();
        assert_eq!(flat.from, Some(3.0));
        assert_eq!(saturation(&levels(1, 0.0, |load| load)[..4]), None);
        assert_eq!(saturation(&levels(1, 0.0, |_| 0.1)), None);
    }
}
