//! When trials have come out so much alike that more would tell nothing new.
//!
//! The rule: at least two trials under the limit that were not killed and became ready (a first one
//! from a cold page cache doesn't count), whose unreclaimable peaks lie within 2 % of the highest, or
//! within the kernel's charge slack where that is more but no more than 10 %; and whose times to
//! ready lie within a quarter of the longest, or 50 ms.

use super::findings::{Spread, Trial};
use crate::units::Bytes;

/// The fewest trials that can be called alike.
const LEAST: usize = 2;
/// Peaks differ by no more than this share of the highest.
const PEAK: f64 = 0.02;
/// The kernel's slack excuses no more than this share.
const SLACK_MOST: f64 = 0.1;
/// Times to ready differ by no more than this share of the longest, or so many milliseconds.
const READY: f64 = 0.25;
const READY_MS: f64 = 50.0;

/// Whether these trials are enough. `cold`: whether the first one came from a cold page cache.
pub(super) fn enough(trials: &[&Trial], slack: Bytes, cold: bool) -> bool {
    let counted = || trials.iter().skip(usize::from(cold));
    let peaks = Spread::of(counted().filter_map(|row| Some(row.unreclaimable_peak?.as_f64())));
    let ready = Spread::of(counted().filter_map(|row| row.ready_ms));
    let (Some(peaks), Some(ready)) = (peaks, ready) else { return false };
    let slack = slack.as_f64().min(SLACK_MOST * peaks.max);
    let count = counted().count();
    count >= LEAST
        && peaks.count == count
        && ready.count == count
        && peaks.width() <= slack.max(PEAK * peaks.max)
        && ready.width() <= READY_MS.max(READY * ready.max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::Limit;

    fn trials(rows: &[(f64, f64)]) -> Vec<Trial> {
        let trial = |(mib, ready): &(f64, f64)| Trial {
            number: 1,
            unlimited: false,
            limit: Limit::Unlimited,
            ready_ms: Some(*ready),
            peak: None,
            rss_peak: None,
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            unreclaimable_peak: Some(Bytes::new((mib * 1024.0 * 1024.0) as u64)),
            peak_at: None,
            settled: None,
            before_exec: None,
            killed: false,
            major_faults: None,
            cache: None,
        };
        rows.iter().map(trial).collect()
    }

    fn is_enough(rows: &[(f64, f64)], cold: bool) -> bool {
        let trials = trials(rows);
        enough(&trials.iter().collect::<Vec<_>>(), Bytes::from_kib(504), cold)
    }

    #[test]
    fn two_alike_are_enough_and_a_cold_one_does_not_count() {
        assert!(!is_enough(&[(100.0, 300.0)], false));
        assert!(is_enough(&[(100.0, 300.0), (101.5, 340.0)], false));
        assert!(!is_enough(&[(100.0, 300.0), (104.0, 300.0)], false), "peaks differ");
        assert!(!is_enough(&[(100.0, 300.0), (100.0, 500.0)], false), "times differ");
        assert!(is_enough(&[(5.0, 10.0), (5.4, 40.0)], false), "within slack and 50 ms");
        assert!(!is_enough(&[(2.0, 10.0), (2.4, 10.0)], false), "slack is no excuse for a fifth");
        assert!(!is_enough(&[(100.0, 900.0), (100.0, 300.0)], true));
        assert!(is_enough(&[(100.0, 900.0), (100.0, 300.0), (100.0, 310.0)], true));
    }

    proptest! {
        // The same cases each time: of noise, chance decides what a statistic says.
        #![proptest_config(ProptestConfig {
            rng_seed: proptest::test_runner::RngSeed::Fixed(1),
            ..ProptestConfig::default()
        })]
        #[test]
        fn order_is_nothing_and_a_far_one_spoils_all(
            mut rows in prop::collection::vec((90.0_f64..91.0, 300.0_f64..330.0), 2..8),
            far in 100.0_f64..200.0,
        ) {
            prop_assert!(is_enough(&rows, false));
            rows.reverse();
            prop_assert!(is_enough(&rows, false));
            rows.push((far, 300.0));
            prop_assert!(!is_enough(&rows, false));
        }
    }
}
