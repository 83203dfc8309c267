//! Whether requests still reached the target when a phase ended.

use std::time::Duration;

use crate::clock::Moment;
use crate::event::{ErrorKind, TrafficWindow};

/// A target that was out of reach over less than one in so many parts of a phase is left alone.
const LEAST_PART: u32 = 4;
/// Windows of traffic are about this long: the last that a request came through in began so much
/// before the loss can be seen.
const SEEN_LATE: Duration = Duration::from_secs(1);
/// Failures of a target that is gone.
const LOST: [ErrorKind; 3] = [ErrorKind::Refused, ErrorKind::Reset, ErrorKind::Connect];

/// Follows the requests of one phase, to about a second.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// The end of the last window in which a request came to something else than a broken
    /// connection.
    reached_until: Moment,
    lost_since: Option<Moment>,
}

impl Reach {
    /// Takes in a window that ended at `at`.
    pub(super) fn take(&mut self, at: Moment, window: &TrafficWindow) {
        let of = |kind: ErrorKind| window.errors.get(&kind).copied().unwrap_or(0);
        let lost: u64 = LOST.into_iter().map(of).sum();
        // What the end of the run cut short tells nothing.
        let others = window.counts.ended.saturating_sub(lost + of(ErrorKind::Unfinished));
        if others > 0 {
            self.reached_until = self.reached_until.max(at);
            self.lost_since = None;
        } else if lost > 0 && window.start >= self.reached_until {
            self.lost_since.get_or_insert(window.start);
        }
    }

    /// Since when nothing reached the target any more, where that is a good part of the phase.
    pub(super) fn lost_since(&self, start: Moment, end: Moment) -> Option<Moment> {
        let since = self.lost_since?.max(start);
        let lost = end.since(since) + SEEN_LATE;
        (end > since && lost * LEAST_PART >= end.since(start)).then_some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Counts;

    /// A window of a second, with so many good answers and so many failures of a kind.
    fn take(reach: &mut Reach, second: u64, good: u64, failed: (ErrorKind, u64)) {
        let window = TrafficWindow {
            start: Moment::from_millis(1000 * second),
            counts: Counts { ended: good + failed.1, failed: failed.1, ..Counts::default() },
            errors: [failed].into(),
            ..TrafficWindow::default()
        };
        reach.take(Moment::from_millis(1000 * (second + 1)), &window);
    }

    fn lost_since(reach: &Reach) -> Option<f64> {
        let ten = Moment::from_millis(10_000);
        reach.lost_since(Moment::START, ten).map(Moment::as_secs_f64)
    }

    #[test]
    fn a_target_that_is_gone_for_the_last_quarter_is_told() {
        for (died_at, expected) in [(8, Some(8.0)), (9, None)] {
            let mut reach = Reach::default();
            for second in 0..10 {
                let gone = second >= died_at;
                take(&mut reach, second, u64::from(!gone), (ErrorKind::Refused, u64::from(gone)));
            }
            assert_eq!(lost_since(&reach), expected);
        }
    }

    #[test]
    fn one_that_comes_back_is_not_gone() {
        let mut reach = Reach::default();
        take(&mut reach, 2, 0, (ErrorKind::Reset, 5));
        take(&mut reach, 9, 1, (ErrorKind::Refused, 5));
        assert_eq!(lost_since(&reach), None);
    }

    #[test]
    fn another_steps_answer_in_the_same_second_counts_in_any_order() {
        for first_lost in [true, false] {
            let mut reach = Reach::default();
            take(&mut reach, 2, u64::from(!first_lost), (ErrorKind::Refused, 1));
            take(&mut reach, 2, u64::from(first_lost), (ErrorKind::Refused, 1));
            assert_eq!(lost_since(&reach), None);
            take(&mut reach, 3, 0, (ErrorKind::Refused, 1));
            assert_eq!(lost_since(&reach), Some(3.0));
        }
    }

    #[test]
    fn timeouts_are_no_broken_connections_and_the_end_is_none_either() {
        let mut reach = Reach::default();
        take(&mut reach, 2, 0, (ErrorKind::Refused, 1));
        take(&mut reach, 9, 0, (ErrorKind::Unfinished, 1));
        assert_eq!(lost_since(&reach), Some(2.0));
        take(&mut reach, 9, 0, (ErrorKind::Timeout, 1));
        assert_eq!(lost_since(&reach), None);
    }
}
