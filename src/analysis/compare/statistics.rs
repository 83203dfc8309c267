//! The statistics: tests that hold for a whole table of metrics at once, and intervals that hold
//! for few values.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use super::float;

/// So many ways to label the runs are all gone through; of more, as many are drawn.
const MOST_LABELLINGS: usize = 5000;
/// Labellings are drawn from this seed: the same runs give the same answer.
const SEED: u64 = 1;
/// Above this product of counts, ranks are taken as normal.
const EXACT_RANKS: usize = 900;

/// A metric's values over all runs, the base side's first; none where a run has none.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) values: Vec<Option<f64>>,
    /// What the measurement alone may be off by: differences of this size are no large ones,
    /// however little the values at hand differ among themselves.
    pub(super) floor: f64,
}

/// What a test of a whole table says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tested {
    /// For each column, how probable so high a new side would be in any of them by chance.
    pub(super) higher: Vec<f64>,
    /// The same for so low a one.
    pub(super) lower: Vec<f64>,
}

/// In how many ways `total` runs can be labelled so that `base` of them are the base; at most what
/// is gone through.
pub(super) fn labellings(base: usize, total: usize) -> usize {
    let mut count = 1_usize;
    for k in 1..=base.min(total - base) {
        count = count * (total - k + 1) / k;
        if count > MOST_LABELLINGS {
            return MOST_LABELLINGS;
        }
    }
    count
}

/// Tests all columns at once, by permutation of the runs' labels: the greatest statistic of any
/// column is compared with the greatest under every other labelling (Westfall and Young,
/// Resampling-Based Multiple Testing, 1993: single-step maxT). Columns that move together cost
/// nothing, and of runs that do not differ one table in twenty gives an alarm at 0.05, however
/// many metrics it has.
pub(super) fn permute(columns: &[Column], base: usize, total: usize) -> Tested {
    let observed: Vec<usize> = (0..total).map(|run| usize::from(run >= base)).collect();
    let scores = scores(columns, &observed);
    let mut above = vec![0_usize; columns.len()];
    let mut below = vec![0_usize; columns.len()];
    let mut count = 0;
    each_labelling(base, total, |labels| {
        count += 1;
        let (mut most, mut least) = (f64::NEG_INFINITY, f64::INFINITY);
        for column in columns {
            if let Some(score) = score(column, labels) {
                most = most.max(score);
                least = least.min(score);
            }
        }
        for (index, score) in scores.iter().enumerate() {
            let Some(score) = score else { continue };
            let rounding = 1e-9 * score.abs();
            above[index] += usize::from(most >= score - rounding);
            below[index] += usize::from(least <= score + rounding);
        }
    });
    let share = |counts: Vec<usize>| {
        let p = |(hits, score): (usize, &Option<f64>)| match score {
            Some(_) => float(hits) / float(count),
            None => 1.0,
        };
        counts.into_iter().zip(&scores).map(p).collect()
    };
    Tested { higher: share(above), lower: share(below) }
}

fn scores(columns: &[Column], labels: &[usize]) -> Vec<Option<f64>> {
    columns.iter().map(|column| score(column, labels)).collect()
}

/// By how many standard errors the new side's mean is above the base's; none where a side has no
/// value, or both have one.
fn score(column: &Column, labels: &[usize]) -> Option<f64> {
    let mut count = [0.0; 2];
    let mut sum = [0.0; 2];
    for (value, side) in column.values.iter().zip(labels) {
        if let Some(value) = value {
            count[*side] += 1.0;
            sum[*side] += value;
        }
    }
    let free = count[0] + count[1] - 2.0;
    if count[0] < 1.0 || count[1] < 1.0 || free < 1.0 {
        return None;
    }
    let mean = [sum[0] / count[0], sum[1] / count[1]];
    let square: f64 = column
        .values
        .iter()
        .zip(labels)
        .filter_map(|(value, side)| value.map(|value| (value - mean[*side]).powi(2)))
        .sum();
    let error = (square / free * (1.0 / count[0] + 1.0 / count[1])).sqrt() + column.floor;
    let difference = mean[1] - mean[0];
    Some(if error > 0.0 { difference / error } else { 0.0 })
}

/// Calls with the labels (0: base, 1: new) of every labelling, or of as many as are looked at; the
/// observed one is among them.
fn each_labelling(base: usize, total: usize, mut call: impl FnMut(&[usize])) {
    let mut labels: Vec<usize> = (0..total).map(|run| usize::from(run >= base)).collect();
    if labellings(base, total) < MOST_LABELLINGS {
        loop {
            call(&labels);
            if !next_labelling(&mut labels) {
                return;
            }
        }
    }
    call(&labels);
    let mut draw = ChaCha8Rng::seed_from_u64(SEED);
    for _ in 1..MOST_LABELLINGS {
        labels.shuffle(&mut draw);
        call(&labels);
    }
}

/// The next labelling in lexical order; false after the last.
fn next_labelling(labels: &mut [usize]) -> bool {
    let Some(rise) = labels.windows(2).rposition(|pair| pair[0] < pair[1]) else {
        return false;
    };
    let above = labels.iter().rposition(|label| *label > labels[rise]).expect("one stands after");
    labels.swap(rise, above);
    labels[rise + 1..].reverse();
    true
}

/// A difference of two sides, and between what it lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shift {
    /// The median of all differences between a new value and one of the base (Hodges and Lehmann).
    pub(super) middle: f64,
    /// An interval for it, with the confidence that it has; none where values are too few for 80 %.
    pub(super) interval: Option<Interval>,
}

/// An interval and its confidence, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// How often such an interval holds the truth, 0 to 1.
    pub confidence: f64,
}

/// How far the new side lies from the base; none where a side is empty.
///
/// The interval is that of Moses (Hodges and Lehmann 1963; exact by the distribution of the
/// Mann–Whitney statistic where values are few): of 95 %, or the widest that there is.
pub(super) fn shift(base: &[f64], new: &[f64]) -> Option<Shift> {
    let mut differences: Vec<f64> =
        new.iter().flat_map(|new| base.iter().map(move |base| new - base)).collect();
    differences.sort_by(f64::total_cmp);
    let middle = median(&differences)?;
    let (rank, confidence) = rank_for(base.len(), new.len());
    let interval = (confidence >= 0.8).then(|| Interval {
        low: differences[rank],
        high: differences[differences.len() - 1 - rank],
        confidence,
    });
    Some(Shift { middle, interval })
}

/// How many differences are left out at each end for 95 %, and the confidence that this has.
fn rank_for(n: usize, m: usize) -> (usize, f64) {
    let pairs = n * m;
    if pairs > EXACT_RANKS {
        let deviation = (float(pairs) * float(n + m + 1) / 12.0).sqrt();
        let rank = (float(pairs) / 2.0 - 1.959_964 * deviation).floor().max(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative"
        )]
        return (rank as usize, 0.95);
    }
    let counts = mann_whitney(n, m);
    let all: f64 = counts.iter().sum();
    let mut tail = 0.0;
    let mut found = (0, 1.0 - 2.0 * counts[0] / all);
    for (rank, count) in counts.iter().enumerate() {
        tail += count / all;
        if tail > 0.025 {
            break;
        }
        found = (rank, 1.0 - 2.0 * tail);
    }
    found
}

/// In how many orders of `n` and `m` values the Mann–Whitney statistic takes each value.
fn mann_whitney(n: usize, m: usize) -> Vec<f64> {
    // Gaussian binomial coefficients: multiply by 1 - q^(m+k), divide by 1 - q^k.
    let size = n * m + 1;
    let mut counts = vec![0.0; size];
    counts[0] = 1.0;
    for k in 1..=n {
        for at in (m + k..size).rev() {
            counts[at] -= counts[at - m - k];
        }
        for at in k..size {
            counts[at] += counts[at - k];
        }
    }
    counts
}

/// The middle of sorted values; none of none.
fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let odd = sorted.len() % 2 == 1;
    Some(if odd { upper } else { f64::midpoint(sorted[sorted.len() / 2 - 1], upper) })
}

/// The middle of values in any order; none of none.
pub(super) fn median_of(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    median(&sorted)
}

/// The mean; none of none.
pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / float(values.len()))
}

/// The sum of squares around the mean.
pub(super) fn squares(values: &[f64]) -> f64 {
    let mean = mean(values).unwrap_or(0.0);
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

/// How probable a Student's t of at least this is by chance.
pub(super) fn student_above(t: f64, degrees: f64) -> f64 {
    match StudentsT::new(0.0, 1.0, degrees) {
        Ok(student) => student.sf(t),
        Err(_) => 1.0,
    }
}

/// The t that a Student's t passes in absolute value in one case of twenty.
pub(super) fn student_95(degrees: f64) -> f64 {
    let student = StudentsT::new(0.0, 1.0, degrees);
    student.map_or_else(|_| Normal::standard().inverse_cdf(0.975), |t| t.inverse_cdf(0.975))
}

/// Holm's adjustment (1979): p-values that hold for the whole table.
pub(super) fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut adjusted = vec![1.0; p.len()];
    let mut least: f64 = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        least = least.max((float(p.len() - rank) * p[index]).min(1.0));
        adjusted[index] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_mann_whitney_distribution_is_the_published_one() {
        // Mann and Whitney 1947, table I: n = 3, m = 4, P(U <= 1) = 0.057.
        let counts = mann_whitney(3, 4);
        let all: f64 = counts.iter().sum();
        assert!((all - 35.0).abs() < 1e-9);
        assert_eq!(counts[..5], [1.0, 1.0, 2.0, 3.0, 4.0]);
        assert!((mann_whitney(5, 5).iter().sum::<f64>() - 252.0).abs() < 1e-9);
    }

    #[test]
    fn every_labelling_comes_once() {
        let mut seen = std::collections::BTreeSet::new();
        each_labelling(3, 7, |labels| assert!(seen.insert(labels.to_vec())));
        assert_eq!(seen.len(), 35);
        assert_eq!(labellings(3, 7), 35);
        assert_eq!(labellings(1, 2), 2);
        assert_eq!(labellings(20, 40), MOST_LABELLINGS);
        let mut count = 0;
        each_labelling(20, 40, |labels| {
            assert_eq!(labels.iter().sum::<usize>(), 20);
            count += 1;
        });
        assert_eq!(count, MOST_LABELLINGS);
    }

    #[test]
    fn intervals_of_few_values_have_their_true_confidence() {
        // Three a side: all differences, which hold the truth in 18 of 20 cases.
        let three = shift(&[1.0, 2.0, 3.0], &[11.0, 12.0, 13.0]).unwrap();
        assert!((three.middle - 10.0).abs() < 1e-9);
        let interval = three.interval.unwrap();
        assert_eq!((interval.low, interval.high), (8.0, 12.0));
        assert!((interval.confidence - 0.9).abs() < 1e-9);
        assert_eq!(shift(&[1.0, 2.0], &[3.0, 4.0]).unwrap().interval, None);
        assert_eq!(shift(&[], &[3.0]), None);
        let five = rank_for(5, 5);
        // P(U <= 2) = 4/252 is within 0.025, P(U <= 3) = 7/252 is not.
        assert_eq!(five.0, 2);
    }

    #[test]
    fn holm_is_the_textbooks() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        let wanted = [0.03, 0.06, 0.06, 0.02];
        for (adjusted, wanted) in adjusted.iter().zip(wanted) {
            assert!((adjusted - wanted).abs() < 1e-12);
        }
    }

    #[test]
    fn student_matches_its_table() {
        assert!((student_95(4.0) - 2.776).abs() < 1e-3);
        assert!((student_above(2.776, 4.0) - 0.025).abs() < 1e-4);
    }

    proptest! {
        // The same cases each time: of noise, chance decides what a statistic says.
        #![proptest_config(ProptestConfig {
            rng_seed: proptest::test_runner::RngSeed::Fixed(1),
            ..ProptestConfig::default()
        })]
        #[test]
        fn a_shift_is_found_where_it_is(
            base in prop::collection::vec(-1e3_f64..1e3, 3..12), by in -1e3_f64..1e3,
        ) {
            let new: Vec<f64> = base.iter().map(|value| value + by).collect();
            let found = shift(&base, &new).unwrap();
            prop_assert!((found.middle - by).abs() < 1e-6);
            let interval = found.interval.unwrap();
            prop_assert!(interval.low <= found.middle && found.middle <= interval.high);
        }

        #[test]
        fn p_values_are_shares(values in prop::collection::vec(0.0_f64..1e3, 6..9)) {
            let total = values.len();
            let column = Column { values: values.into_iter().map(Some).collect(), floor: 0.0 };
            let tested = permute(&[column], 3, total);
            let least = 1.0 / float(labellings(3, total));
            for p in tested.higher.iter().chain(&tested.lower) {
                prop_assert!(*p >= least - 1e-12 && *p <= 1.0);
            }
        }
    }
}
