//! Traffic by how it was answered, runs of scenarios, and users: what rules with such tags ask for.

use serde::{Deserialize, Serialize};
use serde_tuple::Serialize_tuple;

use super::histogram::Histogram;
use super::traffic::{ErrorKind, TrafficWindow};
use crate::clock::Moment;

/// How a request was answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// With this HTTP status.
    Code(u16),
    /// Not at all, or not to the end.
    #[default]
    None,
    /// With one of those that are not told apart, because there were too many.
    Other,
}

/// Requests of one step in a window that were answered alike. Written as a row; new fields come last.
#[derive(Debug, Clone, Default, PartialEq, Serialize_tuple, Deserialize)]
pub struct StatusWindow {
    /// How they were answered.
    pub status: Status,
    /// Whether the step expects that status.
    pub expected: bool,
    /// How many ended so.
    pub count: u64,
    /// Of those, the failed ones.
    pub failed: u64,
    /// From *due* to the last byte of the answer, in microseconds.
    pub latency_us: Histogram,
    /// From *sent* to the last byte of the answer, in microseconds.
    pub duration_us: Histogram,
    /// From *sent* to the first byte of the answer, in microseconds.
    pub waiting_us: Histogram,
    /// From the first to the last byte of the answer, in microseconds.
    pub receiving_us: Histogram,
}

impl StatusWindow {
    /// The most statuses that are told apart in one window of a step.
    pub const CODES_MAX: usize = 8;

    /// Takes in another's sums.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.failed += other.failed;
        for (mine, theirs) in self.times_mut().into_iter().zip(other.times()) {
            if !theirs.is_empty() {
                mine.add(theirs);
            }
        }
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        (self.count, self.failed) = (0, 0);
        for times in self.times_mut() {
            times.clear();
        }
    }

    const fn times(&self) -> [&Histogram; 4] {
        [&self.latency_us, &self.duration_us, &self.waiting_us, &self.receiving_us]
    }

    const fn times_mut(&mut self) -> [&mut Histogram; 4] {
        [&mut self.latency_us, &mut self.duration_us, &mut self.waiting_us, &mut self.receiving_us]
    }
}

/// Requests of a step in a window: all, or those answered alike.
#[derive(Debug, Clone, Copy)]
pub struct Answers<'a> {
    /// How they were answered; none where that differs.
    pub status: Option<Status>,
    /// Whether the step expects that status; none where that differs.
    pub expected: Option<bool>,
    /// How many ended.
    pub count: u64,
    /// Of those, the failed ones.
    pub failed: u64,
    /// From *due* to the last byte of the answer, in microseconds.
    pub latency_us: &'a Histogram,
    /// From *sent* to the last byte of the answer, in microseconds.
    pub duration_us: &'a Histogram,
    /// From *sent* to the first byte of the answer, in microseconds.
    pub waiting_us: &'a Histogram,
    /// From the first to the last byte of the answer, in microseconds.
    pub receiving_us: &'a Histogram,
}

impl<'a> From<&'a StatusWindow> for Answers<'a> {
    fn from(row: &'a StatusWindow) -> Self {
        Self {
            status: Some(row.status),
            expected: Some(row.expected),
            count: row.count,
            failed: row.failed,
            latency_us: &row.latency_us,
            duration_us: &row.duration_us,
            waiting_us: &row.waiting_us,
            receiving_us: &row.receiving_us,
        }
    }
}

impl TrafficWindow {
    /// All its requests.
    #[must_use]
    pub fn all(&self) -> Answers<'_> {
        let (status, expected) = self.alike().unzip();
        Answers {
            status,
            expected,
            count: self.counts.ended,
            failed: self.counts.failed,
            latency_us: &self.latency_us,
            duration_us: &self.duration_us,
            waiting_us: &self.waiting_us,
            receiving_us: &self.receiving_us,
        }
    }

    /// Its requests by how they were answered, as far as that is known.
    #[must_use]
    pub fn answers(&self) -> Vec<Answers<'_>> {
        if self.by_status.is_empty() {
            vec![self.all()]
        } else {
            self.by_status.iter().map(Answers::from).collect()
        }
    }

    /// How all requests were answered, and whether that was expected; none where it differs.
    fn alike(&self) -> Option<(Status, bool)> {
        let mut codes = self.status.iter();
        match (codes.next(), codes.next()) {
            _ if !self.by_status.is_empty() || self.counts.ended == 0 => None,
            (None, None) => Some((Status::None, false)),
            (Some((code, count)), None) if *count == self.counts.ended => {
                let unexpected = self.errors.get(&ErrorKind::Status).copied().unwrap_or(0);
                let settled = unexpected == 0 || unexpected == *count;
                settled.then_some((Status::Code(*code), unexpected == 0))
            }
            _ => None,
        }
    }
}

/// Runs of one scenario in a window, counted in the phase in which they began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IterationWindow {
    /// When the window began; it ends at the event's time.
    pub start: Moment,
    /// The phase, by its index in the plan.
    pub phase: u16,
    /// The scenario, by the index of its first step in the plan.
    pub step: u16,
    /// Runs that began.
    pub begun: u64,
    /// Runs that ended, well or badly; those that the phase's end cut short are not among them.
    pub ended: u64,
    /// Arrivals that could not begin because too many requests were in flight.
    pub dropped: u64,
    /// How long those that ended took, pauses included, in microseconds.
    pub duration_us: Histogram,
}

/// Users who were there in a window: those of closed loads, and arrivals whose run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserWindow {
    /// When the window began; it ends at the event's time.
    pub start: Moment,
    /// The phase for which they came, by its index in the plan.
    pub phase: u16,
    /// The fewest, of several looks in which there were any.
    pub min: u32,
    /// The most at once (an upper bound: the sum of each worker's own greatest).
    pub max: u32,
    /// How many the last look saw, of those in which there were any.
    pub last: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Counts, Event, What};

    fn histogram(us: u64) -> Histogram {
        let mut histogram = Histogram::new();
        histogram.record(us);
        histogram
    }

    fn window() -> TrafficWindow {
        TrafficWindow {
            start: Moment::START,
            counts: Counts { ended: 2, failed: 1, checks_passed: 3, ..Counts::default() },
            status: [(200, 2)].into(),
            waiting_us: histogram(7),
            ..TrafficWindow::default()
        }
    }

    #[test]
    fn what_was_answered_alike_needs_no_list() {
        let alike = window();
        let all = alike.answers();
        assert_eq!((all[0].status, all[0].expected), (Some(Status::Code(200)), Some(true)));
        let bad = TrafficWindow { errors: [(ErrorKind::Status, 2)].into(), ..window() };
        assert_eq!(bad.all().expected, Some(false));
        let silent = TrafficWindow { status: [].into(), ..window() };
        assert_eq!(silent.all().status, Some(Status::None));
        // An old recording doesn't tell which times belong to which status.
        let mixed = TrafficWindow { status: [(200, 1), (503, 1)].into(), ..window() };
        assert_eq!(mixed.all().status, None);
    }

    #[test]
    fn windows_read_back_and_those_without_the_new_parts_too() {
        let row = StatusWindow { count: 1, waiting_us: histogram(5), ..StatusWindow::default() };
        let full = TrafficWindow { by_status: vec![row], ..window() };
        let runs = IterationWindow {
            start: Moment::START,
            phase: 1,
            step: 2,
            begun: 3,
            ended: 2,
            dropped: 1,
            duration_us: histogram(9),
        };
        let users = UserWindow { start: Moment::START, phase: 0, min: 1, max: 4, last: 2 };
        for what in [What::Traffic(Box::new(full)), What::Iterations(runs), What::Users(users)] {
            let event = Event { at: Moment::from_millis(5), what };
            let stored = rmp_serde::to_vec_named(&event).unwrap();
            assert_eq!(rmp_serde::from_slice::<Event>(&stored).unwrap(), event);
        }
    }

    /// As formats 1 and 2 have it: with names, and without what came later.
    #[derive(Serialize)]
    struct Named {
        start: Moment,
        phase: u16,
        step: u16,
        counts: NamedCounts,
        status: std::collections::BTreeMap<u16, u64>,
        errors: std::collections::BTreeMap<ErrorKind, u64>,
        latency_us: Histogram,
        duration_us: Histogram,
        lateness_us: Histogram,
    }

    #[derive(Serialize)]
    struct NamedCounts {
        due: u64,
        sent: u64,
        ended: u64,
        failed: u64,
        unsent: u64,
        bytes_sent: u64,
        bytes_received: u64,
    }

    #[test]
    fn windows_with_names_are_read_as_well() {
        let mut plain = window();
        (plain.counts.checks_passed, plain.waiting_us) = (0, Histogram::new());
        let counts = plain.counts;
        let named = Named {
            start: plain.start,
            phase: plain.phase,
            step: plain.step,
            counts: NamedCounts {
                due: counts.due,
                sent: counts.sent,
                ended: counts.ended,
                failed: counts.failed,
                unsent: counts.unsent,
                bytes_sent: counts.bytes_sent,
                bytes_received: counts.bytes_received,
            },
            status: plain.status.clone(),
            errors: plain.errors.clone(),
            latency_us: plain.latency_us.clone(),
            duration_us: plain.duration_us.clone(),
            lateness_us: plain.lateness_us.clone(),
        };
        let stored = rmp_serde::to_vec_named(&named).unwrap();
        assert_eq!(rmp_serde::from_slice::<TrafficWindow>(&stored).unwrap(), plain);
    }
}
