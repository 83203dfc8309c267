//! Requests and how long they took: all, or by how they were answered.

use std::collections::BTreeMap;

use super::float;
use super::model::{AnswerTraffic, TimedRequests, Times};
use crate::event::{Answers, Histogram, Status, TrafficWindow};

/// Sums of requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Timed {
    requests: u64,
    failed: u64,
    pub(super) latency: Histogram,
    pub(super) duration: Histogram,
    pub(super) waiting: Histogram,
}

impl Timed {
    /// Takes in requests of a window.
    pub(super) fn take(&mut self, answers: &Answers<'_>) {
        self.requests += answers.count;
        self.failed += answers.failed;
        self.latency.add(answers.latency_us);
        self.duration.add(answers.duration_us);
        self.waiting.add(answers.waiting_us);
    }

    /// Takes in another's sums.
    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.latency.add(&other.latency);
        self.duration.add(&other.duration);
        self.waiting.add(&other.waiting);
    }

    pub(super) fn finish(&self) -> TimedRequests {
        TimedRequests {
            requests: self.requests,
            failed: self.failed,
            latency: times(&self.latency),
            duration: times(&self.duration),
            waiting: times(&self.waiting),
        }
    }
}

/// Statuses of a phase that are told apart; beyond that, memory is worth more.
const ROWS_MAX: usize = 32;

/// Sums by how requests were answered, and whether that was expected.
#[derive(Debug, Default)]
pub(super) struct Answered(BTreeMap<(Status, bool), Timed>);

impl Answered {
    /// Takes in a window.
    pub(super) fn take(&mut self, window: &TrafficWindow) {
        for row in window.answers() {
            if let Some((status, expected)) = row.status.zip(row.expected) {
                self.of(status, expected).take(&row);
            }
        }
    }

    /// The sums, each of requests that were answered alike.
    pub(super) fn sums(&self) -> impl Iterator<Item = &Timed> {
        self.0.values()
    }

    /// Takes in another's sums.
    pub(super) fn add(&mut self, other: &Self) {
        for ((status, expected), timed) in &other.0 {
            self.of(*status, *expected).add(timed);
        }
    }

    fn of(&mut self, status: Status, expected: bool) -> &mut Timed {
        let known = self.0.contains_key(&(status, expected)) || self.0.len() < ROWS_MAX;
        self.0.entry((if known { status } else { Status::Other }, expected)).or_default()
    }

    pub(super) fn finish(&self) -> Vec<AnswerTraffic> {
        let rows = self.0.iter().map(|((status, expected), timed)| AnswerTraffic {
            status: *status,
            expected: *expected,
            timed: timed.finish(),
        });
        rows.collect()
    }
}

/// Four points of a histogram of microseconds, in milliseconds; none where it is empty.
pub(super) fn times(histogram: &Histogram) -> Option<Times> {
    let ms = |us: Option<u64>| us.map(|us| float(us) / 1e3);
    Some(Times {
        p50: ms(histogram.percentile(50.0))?,
        p95: ms(histogram.percentile(95.0))?,
        p99: ms(histogram.percentile(99.0))?,
        max: ms(histogram.max())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Counts, StatusWindow};

    fn row(status: u16, us: u64) -> StatusWindow {
        let mut duration_us = Histogram::new();
        duration_us.record(us);
        let (waiting_us, expected) = (duration_us.clone(), status < 400);
        let (count, failed) = (1, u64::from(!expected));
        let status = Status::Code(status);
        StatusWindow {
            status,
            expected,
            count,
            failed,
            duration_us,
            waiting_us,
            ..StatusWindow::default()
        }
    }

    #[test]
    fn requests_are_summed_up_by_status() {
        let mut answered = Answered::default();
        let mixed = TrafficWindow {
            by_status: vec![row(200, 1000), row(503, 9000)],
            ..TrafficWindow::default()
        };
        let alike = TrafficWindow {
            counts: Counts { ended: 2, ..Counts::default() },
            status: [(200, 2)].into(),
            ..TrafficWindow::default()
        };
        answered.take(&mixed);
        answered.take(&alike);
        let mut both = Answered::default();
        both.add(&answered);
        let rows = both.finish();
        let got: Vec<_> = rows
            .iter()
            .map(|row| (row.status, row.expected, row.timed.requests, row.timed.failed))
            .collect();
        assert_eq!(got, [(Status::Code(200), true, 3, 0), (Status::Code(503), false, 1, 1)]);
        assert!((8.9..9.1).contains(&rows[1].timed.waiting.unwrap().max));
    }

    #[test]
    fn statuses_are_bounded() {
        let mut answered = Answered::default();
        for code in 100..600 {
            let by_status = vec![row(code, 1), row(code, 1)];
            answered.take(&TrafficWindow { by_status, ..TrafficWindow::default() });
        }
        let rows = answered.finish();
        assert!(rows.len() <= ROWS_MAX + 2, "{}", rows.len());
        assert_eq!(rows.iter().map(|row| row.timed.requests).sum::<u64>(), 1000);
    }
}
