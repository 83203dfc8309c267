//! Traffic as it was sent: windows for the timeline, counts and histograms a step.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_tuple::Serialize_tuple;

use super::answers::StatusWindow;
use super::histogram::Histogram;
use crate::clock::Moment;

/// How a request failed, other than by an unexpected status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// No complete answer within the timeout.
    Timeout,
    /// The connection was refused.
    Refused,
    /// The connection was reset before the answer was complete, or closed before any of it came.
    Reset,
    /// The connection was closed in order, but in the middle of the answer.
    CutShort,
    /// The answer was not HTTP, or switched to a protocol that nobody had asked for.
    Protocol,
    /// No connection could be made for another reason (no route, no port left).
    Connect,
    /// The generator itself had no file descriptor left for a connection.
    Descriptors,
    /// The status was not one of those expected.
    Status,
    /// Still in flight when the drain time ended.
    Unfinished,
    /// The answer was not as the step expects it, its status apart.
    Expectation,
    /// A value that later steps need was not in the answer.
    Capture,
    /// A template gave no request: a value is missing, or what it gives can't be sent.
    Template,
    /// The answer's body is too large to be looked into.
    TooLarge,
}

impl ErrorKind {
    /// What happened, in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Timeout => "there was no complete answer in time",
            Self::Refused => "the connection was refused",
            Self::Reset => "the connection broke before the answer was complete",
            Self::CutShort => "the connection was closed in the middle of the answer",
            Self::Protocol => "the answer was no proper HTTP",
            Self::Connect => "no connection could be made",
            Self::Descriptors => "too many open files here for another connection (`ulimit -n`)",
            Self::Status => "the answer had another status than expected",
            Self::Unfinished => "the answer had not come by the end",
            Self::Expectation => "the answer was not as expected",
            Self::Capture => "the answer did not hold a value to capture",
            Self::Template => "a template gave no request",
            Self::TooLarge => "the answer was too large to be looked into",
        }
    }

    /// What befell the requests, in as few words as go after their number.
    #[must_use]
    pub const fn in_short(self) -> &'static str {
        match self {
            Self::Timeout => "timed out",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::CutShort => "cut short",
            Self::Protocol => "answered by no proper HTTP",
            Self::Connect => "not connected",
            Self::Descriptors => "without a file descriptor",
            Self::Status => "× another status",
            Self::Unfinished => "unfinished",
            Self::Expectation => "not answered as expected",
            Self::Capture => "without a value to capture",
            Self::Template => "not made by their template",
            Self::TooLarge => "answered by too much",
        }
    }

    /// The name that `run.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::CutShort => "cut_short",
            Self::Protocol => "protocol",
            Self::Connect => "connect",
            Self::Descriptors => "descriptors",
            Self::Status => "status",
            Self::Unfinished => "unfinished",
            Self::Expectation => "expectation",
            Self::Capture => "capture",
            Self::Template => "template",
            Self::TooLarge => "too_large",
        }
    }
}

/// Plain sums over requests. Written as a row; new fields come last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize_tuple, Deserialize)]
pub struct Counts {
    /// Requests that fell due.
    pub due: u64,
    /// Requests whose first byte went to a socket.
    pub sent: u64,
    /// Requests that ended, well or badly, after being sent or while connecting.
    pub ended: u64,
    /// Of those that ended, the failed ones.
    pub failed: u64,
    /// Requests that fell due and were never sent: beyond the bound of requests in flight, or
    /// still waiting when the run ended.
    pub unsent: u64,
    /// Bytes written to sockets, heads included.
    pub bytes_sent: u64,
    /// Bytes read from sockets, heads included.
    pub bytes_received: u64,
    /// Checks of answers that found what they look for.
    #[serde(default)]
    pub checks_passed: u64,
    /// Checks of answers that did not.
    #[serde(default)]
    pub checks_failed: u64,
}

impl Counts {
    /// Takes in another's sums.
    pub const fn add(&mut self, other: &Self) {
        self.due += other.due;
        self.sent += other.sent;
        self.ended += other.ended;
        self.failed += other.failed;
        self.unsent += other.unsent;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.checks_passed += other.checks_passed;
        self.checks_failed += other.checks_failed;
    }
}

/// Traffic in one window of the timeline, over all workers, by the time at which things happened.
/// Written as a row; new fields come last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize)]
pub struct FlowWindow {
    /// When the window began; it ends at the event's time.
    pub start: Moment,
    /// Sums over the window.
    pub counts: Counts,
    /// Steps with anything in flight in the window, by their index in the plan.
    pub steps: Vec<StepFlow>,
}

/// One step in a window of the timeline. Written as a row; new fields come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_tuple, Deserialize)]
pub struct StepFlow {
    /// The step's index in the plan.
    pub step: u16,
    /// Requests sent in the window.
    pub sent: u32,
    /// Requests ended in the window.
    pub ended: u32,
    /// The most in flight at once (an upper bound: the sum of each worker's own greatest).
    pub in_flight_max: u32,
    /// In flight at the window's end.
    pub in_flight_end: u32,
    /// Requests in flight summed up over the window's time, in requests × µs; none in recordings
    /// of before it was told.
    #[serde(default)]
    pub in_flight_us: Option<u64>,
    /// Bytes of the bodies of the requests sent in the window.
    #[serde(default)]
    pub body_bytes_sent: u64,
    /// Bytes read of the answers that ended in the window, heads included.
    #[serde(default)]
    pub bytes_received: u64,
}

/// Requests of one step that ended in a window, counted in the phase in which they were due.
/// Written as a row; new fields come last.
#[derive(Debug, Clone, Default, PartialEq, Serialize_tuple, Deserialize)]
pub struct TrafficWindow {
    /// When the window began; it ends at the event's time.
    pub start: Moment,
    /// The phase in which they were due, by its index in the plan.
    pub phase: u16,
    /// The step's index in the plan.
    pub step: u16,
    /// Sums over the window.
    pub counts: Counts,
    /// Answers by HTTP status.
    pub status: BTreeMap<u16, u64>,
    /// Failures by kind.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// From *due* to the last byte of the answer, in microseconds.
    pub latency_us: Histogram,
    /// From *sent* to the last byte of the answer, in microseconds.
    pub duration_us: Histogram,
    /// From *due* to *sent*, in microseconds.
    pub lateness_us: Histogram,
    /// From *sent* to the first byte of the answer, in microseconds.
    #[serde(default)]
    pub waiting_us: Histogram,
    /// From the first to the last byte of the answer, in microseconds.
    #[serde(default)]
    pub receiving_us: Histogram,
    /// Sizes of the request bodies that were not empty, in bytes.
    #[serde(default)]
    pub request_bytes: Histogram,
    /// Sizes of the bodies of complete answers that were not empty, in bytes.
    #[serde(default)]
    pub response_bytes: Histogram,
    /// What answers gave to metrics of the scenario's own, by the metric's index.
    #[serde(default)]
    pub metrics: BTreeMap<u16, MetricSums>,
    /// Times by how requests were answered; empty where all were answered alike, for then the
    /// sums above say it all.
    #[serde(default)]
    pub by_status: Vec<StatusWindow>,
}

impl TrafficWindow {
    /// Takes in the next window of the same step, where both were answered alike; gives whether it
    /// did: of others, what was answered how would be lost.
    pub fn join(&mut self, later: &Self) -> bool {
        let alike = self.by_status.is_empty()
            && later.by_status.is_empty()
            && self.status.keys().eq(later.status.keys())
            && self.errors.keys().eq(later.errors.keys());
        if !alike || (self.phase, self.step) != (later.phase, later.step) {
            return false;
        }
        self.counts.add(&later.counts);
        for (status, count) in &later.status {
            *self.status.entry(*status).or_default() += count;
        }
        for (kind, count) in &later.errors {
            *self.errors.entry(*kind).or_default() += count;
        }
        for (index, sums) in &later.metrics {
            self.metrics.entry(*index).or_default().add(*sums);
        }
        for (mine, theirs) in [
            (&mut self.latency_us, &later.latency_us),
            (&mut self.duration_us, &later.duration_us),
            (&mut self.lateness_us, &later.lateness_us),
            (&mut self.waiting_us, &later.waiting_us),
            (&mut self.receiving_us, &later.receiving_us),
            (&mut self.request_bytes, &later.request_bytes),
            (&mut self.response_bytes, &later.response_bytes),
        ] {
            if !theirs.is_empty() {
                mine.add(theirs);
            }
        }
        true
    }
}

/// What answers gave to one metric of the scenario's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricSums {
    /// A counter's sum, or the hits of a rate.
    pub hits: u64,
    /// How many answers gave something.
    pub of: u64,
}

impl MetricSums {
    /// Takes in another's sums.
    pub const fn add(&mut self, other: Self) {
        self.hits = self.hits.saturating_add(other.hits);
        self.of += other.of;
    }
}

/// How requests reach the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GeneratorPath {
    /// Inside the container's network namespace: nothing stands between.
    Netns,
    /// Through a port published on 127.0.0.1.
    Published,
    /// Straight to a process of this host.
    Native,
}

/// The load generator's account of itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GeneratorReport {
    /// CPU time of all workers, in nanoseconds.
    pub cpu_ns: u64,
    /// Wall time over which that was used, in nanoseconds.
    pub wall_ns: u64,
    /// Worker threads.
    pub workers: u32,
    /// The harness's own greatest resident set, in bytes.
    pub rss_peak: u64,
    /// Whether the generator, not the target, set the pace.
    pub saturated: bool,
    /// How requests reached the target.
    pub path: GeneratorPath,
}
