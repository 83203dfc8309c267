//! Whether something stays, settles or rises as a line while the load climbs.

use super::findings::{Dependence, DependenceClass};
use crate::analysis::growth::GrowthClass;
use crate::analysis::growth::class::{Floors, judge};
use crate::analysis::growth::trend::{median, trend};

/// Of fewer levels than this no line can be told from a bend.
const LEAST: usize = 8;
/// Of this many a slope can be told, where the order of all of them agrees.
const LEAST_SLOPE: usize = 3;
/// One part in so many is the end, and rises there by this share of what a line would.
const TAIL: usize = 5;
const TAIL_RISES: f64 = 0.3;
/// In a line of few points, the late half rises by this share of the early half at least.
const STILL_RISES: f64 = 0.6;

/// Judges values at loads that climb; `slack` is what is no rise at all. None of no values.
pub(super) fn judged(points: &[(f64, f64)], slack: f64) -> Option<Dependence> {
    let (first, last) = (points.first()?, points.last()?);
    let loads: Vec<f64> = points.iter().map(|point| point.0).collect();
    let values: Vec<f64> = points.iter().map(|point| point.1).collect();
    let slope = trend(&loads, &values);
    let class = if points.len() >= LEAST {
        let floors =
            Floors { times: loads.clone(), values: values.clone(), slack, ..Floors::default() };
        match judge(&floors).class {
            GrowthClass::Flat => DependenceClass::Flat,
            GrowthClass::Settles | GrowthClass::Retained => DependenceClass::Settles,
            GrowthClass::Leak => at_the_end(points, slack),
            // A plain end is one, however the way there looked.
            GrowthClass::Unclear => match at_the_end(points, slack) {
                DependenceClass::Settles => DependenceClass::Settles,
                _ => DependenceClass::Unclear,
            },
        }
    } else {
        of_few(points, slack)
    };
    Some(Dependence {
        class,
        first: first.1,
        last: last.1,
        per_unit: slope.map(|row| row.slope),
        ci95: slope.map(|row| (row.low, row.high)),
        levels: points.len(),
    })
}

/// What looks like a line may have come to its end just now, as where a doorman keeps further load
/// away: a line's last levels rise as the others do.
fn at_the_end(points: &[(f64, f64)], slack: f64) -> DependenceClass {
    let (first, last) = (points[0], points[points.len() - 1]);
    let tail = points[points.len() - (points.len() / TAIL).max(LEAST_SLOPE)];
    let expected = (last.1 - first.1) / (last.0 - first.0).max(1e-9) * (last.0 - tail.0);
    let rise = last.1 - tail.1;
    if expected <= 2.0 * slack || rise >= TAIL_RISES * expected {
        DependenceClass::Linear
    } else if rise <= slack {
        DependenceClass::Settles
    } else {
        DependenceClass::Unclear
    }
}

/// Of few levels, only what is plain.
fn of_few(points: &[(f64, f64)], slack: f64) -> DependenceClass {
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for (_, value) in points {
        (least, most) = (least.min(*value), most.max(*value));
    }
    if points.len() < LEAST_SLOPE {
        return DependenceClass::Unclear;
    }
    if most - least <= 2.0 * slack {
        return DependenceClass::Flat;
    }
    let rise = |pair: &[(f64, f64)]| (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0).max(1e-9);
    let slopes: Vec<f64> = points.windows(2).map(rise).collect();
    let (early, late) = slopes.split_at(slopes.len() / 2);
    let (Some(early), Some(late)) = (median(early), median(late)) else {
        return DependenceClass::Unclear;
    };
    if slopes.iter().all(|slope| *slope > 0.0) && late >= STILL_RISES * early {
        DependenceClass::Linear
    } else {
        DependenceClass::Unclear
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Sixteen levels of a curve, with noise that hangs together from level to level.
    fn points(seed: u64, noise: f64, of: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut drift = 0.0;
        let level = |n: u32| {
            drift = 0.5 * drift + rng.random_range(-1.0..1.0);
            let load = 6.25 * f64::from(n) + 3.0;
            (load, of(load) + noise * drift)
        };
        (0..16).map(level).collect()
    }

    const MIB: f64 = 1024.0 * 1024.0;

    fn class(points: &[(f64, f64)]) -> DependenceClass {
        judged(points, 0.5 * MIB).unwrap().class
    }

    proptest! {
        // The same cases each time: of noise, chance decides what a statistic says.
        #![proptest_config(ProptestConfig {
            rng_seed: proptest::test_runner::RngSeed::Fixed(1),
            ..ProptestConfig::default()
        })]
        #[test]
        fn a_flat_one_is_never_linear(seed in any::<u64>(), noise in 0.0_f64..1.5, base in 5.0_f64..500.0) {
            let flat = points(seed, noise * MIB, |_| base * MIB);
            prop_assert_ne!(class(&flat), DependenceClass::Linear, "seed {}", seed);
        }

        #[test]
        fn a_line_is_found_with_its_slope(seed in any::<u64>(), slope in 0.2_f64..4.0, base in 5.0_f64..500.0) {
            let line = points(seed, 0.05 * slope * MIB, |load| (base + slope * load) * MIB);
            let judged = judged(&line, 0.5 * MIB).unwrap();
            prop_assert_eq!(judged.class, DependenceClass::Linear, "seed {}: {:?}", seed, judged);
            let (low, high) = judged.ci95.unwrap();
            let got = judged.per_unit.unwrap() / MIB;
            prop_assert!((got / slope - 1.0).abs() < 0.05, "seed {}: {} of {}", seed, got, slope);
            prop_assert!(low <= judged.per_unit.unwrap() && judged.per_unit.unwrap() <= high);
        }

        #[test]
        fn what_bends_is_never_linear(seed in any::<u64>(), rise in 8.0_f64..200.0, knee in 10.0_f64..40.0) {
            let bend = points(seed, 0.1 * MIB, |load| (50.0 + rise * (1.0 - (-load / knee).exp())) * MIB);
            prop_assert_ne!(class(&bend), DependenceClass::Linear, "seed {}", seed);
        }
    }

    #[test]
    fn what_comes_to_its_end_in_the_last_levels_is_no_line() {
        let roofed = points(1, 0.02 * MIB, |load| load.min(84.0) * MIB);
        assert_eq!(class(&roofed), DependenceClass::Settles);
        let line = points(1, 0.02 * MIB, |load| load * MIB);
        assert_eq!(class(&line), DependenceClass::Linear);
    }

    #[test]
    fn of_few_levels_only_what_is_plain() {
        let line: Vec<_> = [10.0, 20.0, 40.0].map(|load| (load, load * MIB)).into();
        assert_eq!(class(&line), DependenceClass::Linear);
        assert_eq!(class(&line[..2]), DependenceClass::Unclear);
        let flat: Vec<_> = [10.0, 20.0, 40.0].map(|load| (load, 7.0 * MIB)).into();
        assert_eq!(class(&flat), DependenceClass::Flat);
        assert_eq!(judged(&[], MIB), None);
    }
}
