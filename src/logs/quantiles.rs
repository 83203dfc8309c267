//! What remains of many sizes.

/// Evenly spaced quantiles of `sizes`, by nearest rank: percentages, from 0 (the smallest size) to
/// 100 (the largest), and sizes, both ascending. At most `points`, and no more than there are
/// sizes, but always the two ends; none where there are no sizes.
pub fn quantiles(sizes: impl Iterator<Item = u64>, points: usize) -> Vec<(f64, u64)> {
    let mut sizes: Vec<u64> = sizes.collect();
    sizes.sort_unstable();
    if sizes.is_empty() {
        return Vec::new();
    }
    let steps = points.min(sizes.len()).max(2) - 1;
    (0..=steps).map(|step| (percent(step, steps), sizes[rank(step, steps, sizes.len())])).collect()
}

/// The index of the smallest size that at least `step` of `steps` parts of all don't exceed.
fn rank(step: usize, steps: usize, count: usize) -> usize {
    // Widened, for the product of two lengths may not fit.
    let rank = (step as u128 * count as u128).div_ceil(steps as u128).max(1) - 1;
    usize::try_from(rank).map_or(count - 1, |rank| rank.min(count - 1))
}

#[expect(clippy::cast_precision_loss, reason = "no list has 2^53 sizes")]
fn percent(step: usize, steps: usize) -> f64 {
    100.0 * step as f64 / steps as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_quantiles() {
        let of = |points| quantiles((1..=100).rev(), points);
        assert_eq!(of(5), [(0.0, 1), (25.0, 25), (50.0, 50), (75.0, 75), (100.0, 100)]);
        assert_eq!(of(0), [(0.0, 1), (100.0, 100)]);
        assert_eq!(of(1000).len(), 100);
        assert_eq!(quantiles([7].into_iter(), 9), [(0.0, 7), (100.0, 7)]);
        assert_eq!(quantiles([3, 1, 2].into_iter(), 9), [(0.0, 1), (50.0, 2), (100.0, 3)]);
        assert_eq!(quantiles(std::iter::empty(), 9), []);
    }

    proptest! {
        #[test]
        fn quantiles_ascend_within_the_sizes(
            sizes in proptest::collection::vec(any::<u64>(), 1..300),
            points in 2_usize..400,
        ) {
            let found = quantiles(sizes.iter().copied(), points);
            prop_assert!((2..=points).contains(&found.len()));
            prop_assert_eq!(found[0], (0.0, *sizes.iter().min().unwrap()));
            prop_assert_eq!(found[found.len() - 1], (100.0, *sizes.iter().max().unwrap()));
            prop_assert!(found.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        }
    }
}
