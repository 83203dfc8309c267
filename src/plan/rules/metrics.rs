//! What rules may be about.

use super::{RuleError, Tag};
use crate::scenario::{CustomKind, Words};

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Unreclaimable memory (upper bound).
    Memory,
    /// Charged memory.
    MemoryUsage,
    /// `anon`.
    MemoryRss,
    /// usage − inactive file pages.
    MemoryWorkingSet,
    /// The charged peak.
    MemoryChargedPeak,
    /// Unreclaimable memory in startup trials.
    Startup,
    /// The charged peak in startup trials.
    StartupCharged,
    /// Time to ready.
    Ready,
    /// CPU use in cores.
    Cpu,
    /// Share of time throttled.
    Throttled,
    /// Threads of the target.
    Threads,
    /// Open descriptors of the target.
    OpenFiles,
    /// Time in which some task waited for memory.
    PsiMemory,
    /// Bytes written to block devices since the container began.
    DiskWritten,
    /// Bytes printed since the container began.
    LogBytes,
    /// Requests.
    HttpReqs,
    /// Share of failed requests.
    HttpReqFailed,
    /// From sent to the last byte.
    HttpReqDuration,
    /// From sent to the first byte.
    HttpReqWaiting,
    /// From the first byte to the last.
    HttpReqReceiving,
    /// From due to the last byte.
    HttpReqLatency,
    /// Share of the checks that passed.
    Checks,
    /// Scenario runs that ended.
    Iterations,
    /// How long scenario runs took.
    IterationDuration,
    /// Arrivals that could not begin their run.
    DroppedIterations,
    /// Users who are there.
    Vus,
    /// The most users so far.
    VusMax,
    /// Bytes sent.
    DataSent,
    /// Bytes received.
    DataReceived,
    /// One of the scenario's own, by its index among them.
    Custom(u16, CustomKind),
}

/// What kind of values a metric has, which decides its aggregations and units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A level in bytes.
    Size,
    /// A level without a unit.
    Level,
    /// A level in milliseconds.
    Time,
    /// Many times in milliseconds.
    Trend,
    /// A share of hits.
    Share,
    /// A sum.
    Counter,
}

impl MetricKind {
    /// Whether its values follow one another in time, rather than being of requests.
    #[must_use]
    pub const fn is_level(self) -> bool {
        matches!(self, Self::Size | Self::Level | Self::Time)
    }
}

const METRICS: [(&str, Metric, MetricKind); 29] = [
    ("memory", Metric::Memory, MetricKind::Size),
    ("memory_usage", Metric::MemoryUsage, MetricKind::Size),
    ("memory_rss", Metric::MemoryRss, MetricKind::Size),
    ("memory_working_set", Metric::MemoryWorkingSet, MetricKind::Size),
    ("memory_charged_peak", Metric::MemoryChargedPeak, MetricKind::Size),
    ("startup", Metric::Startup, MetricKind::Size),
    ("startup_charged", Metric::StartupCharged, MetricKind::Size),
    ("ready", Metric::Ready, MetricKind::Time),
    ("cpu", Metric::Cpu, MetricKind::Level),
    ("throttled", Metric::Throttled, MetricKind::Level),
    ("threads", Metric::Threads, MetricKind::Level),
    ("open_files", Metric::OpenFiles, MetricKind::Level),
    ("psi_memory", Metric::PsiMemory, MetricKind::Time),
    ("disk_written", Metric::DiskWritten, MetricKind::Size),
    ("log_bytes", Metric::LogBytes, MetricKind::Size),
    ("http_reqs", Metric::HttpReqs, MetricKind::Counter),
    ("http_req_failed", Metric::HttpReqFailed, MetricKind::Share),
    ("http_req_duration", Metric::HttpReqDuration, MetricKind::Trend),
    ("http_req_waiting", Metric::HttpReqWaiting, MetricKind::Trend),
    ("http_req_receiving", Metric::HttpReqReceiving, MetricKind::Trend),
    ("http_req_latency", Metric::HttpReqLatency, MetricKind::Trend),
    ("checks", Metric::Checks, MetricKind::Share),
    ("iterations", Metric::Iterations, MetricKind::Counter),
    ("iteration_duration", Metric::IterationDuration, MetricKind::Trend),
    ("dropped_iterations", Metric::DroppedIterations, MetricKind::Counter),
    ("vus", Metric::Vus, MetricKind::Level),
    ("vus_max", Metric::VusMax, MetricKind::Level),
    ("data_sent", Metric::DataSent, MetricKind::Counter),
    ("data_received", Metric::DataReceived, MetricKind::Counter),
];

/// Metrics of k6 that this engine has no stamps for, and what is nearest.
const UNMEASURED: [(&str, &str); 5] = [
    (
        "http_req_blocked",
        "`http_req_latency` counts from due, so it holds the wait for a connection",
    ),
    ("http_req_connecting", "`http_req_latency` counts from due, so it holds the connecting"),
    ("http_req_tls_handshaking", "traffic is plain HTTP; `http_req_latency` holds the connecting"),
    (
        "http_req_sending",
        "`http_req_waiting` counts from the first byte sent, so it holds the sending",
    ),
    (
        "group_duration",
        "`iteration_duration` is of whole runs, `http_req_duration{step:…}` of steps",
    ),
];

impl Metric {
    /// All names, for suggestions.
    pub fn names() -> impl Iterator<Item = &'static str> {
        METRICS.iter().map(|row| row.0)
    }

    /// Whether a name is that of a metric, measured or not.
    #[must_use]
    pub fn is_known(name: &str) -> bool {
        Self::names().any(|known| known == name) || UNMEASURED.iter().any(|row| row.0 == name)
    }

    /// The kind of its values.
    #[must_use]
    pub fn kind(self) -> MetricKind {
        match self {
            Self::Custom(_, CustomKind::Rate) => return MetricKind::Share,
            Self::Custom(_, CustomKind::Counter) => return MetricKind::Counter,
            _ => {}
        }
        METRICS.iter().find(|row| row.1 == self).map_or(MetricKind::Level, |row| row.2)
    }

    /// Whether traffic alone tells it.
    #[must_use]
    pub fn is_of_traffic(self) -> bool {
        !self.kind().is_level() || matches!(self, Self::Vus | Self::VusMax)
    }

    /// Whether it is about bytes on sockets.
    pub(super) const fn is_data(self) -> bool {
        matches!(self, Self::DataSent | Self::DataReceived)
    }

    pub(super) fn parse(words: &Words, name: &str) -> Result<Self, RuleError> {
        if let Some(row) = METRICS.iter().find(|row| row.0 == name) {
            return Ok(row.1);
        }
        if let Some((id, kind)) = words.metric(name) {
            return Ok(Self::Custom(id, kind));
        }
        Err(match UNMEASURED.iter().find(|row| row.0 == name) {
            Some((_, nearest)) => {
                RuleError::new(format!("`{name}` is not measured by this version"), *nearest)
            }
            None => {
                RuleError::new(format!("no metric is called `{name}`"), nearest_to(words, name))
            }
        })
    }

    /// Whether its values are told apart by step, and so by tags of the scenario's own.
    pub(super) fn is_of_steps(self) -> bool {
        self.tags().contains(&Tag::Step)
    }

    /// The tags that tell its values apart, in the order in which people are told.
    pub(super) const fn tags(self) -> &'static [Tag] {
        match self {
            Self::HttpReqs
            | Self::HttpReqFailed
            | Self::HttpReqDuration
            | Self::HttpReqWaiting
            | Self::HttpReqReceiving
            | Self::HttpReqLatency => &Tag::ALL,
            Self::Checks | Self::DataSent | Self::DataReceived | Self::Custom(..) => {
                &[Tag::Phase, Tag::Scenario, Tag::Step, Tag::Name, Tag::Method]
            }
            Self::Iterations | Self::IterationDuration | Self::DroppedIterations => {
                &[Tag::Phase, Tag::Scenario]
            }
            _ => &[Tag::Phase],
        }
    }

    /// Its aggregations, for help.
    pub(super) fn aggregates(self) -> &'static str {
        match self.kind() {
            MetricKind::Share => "it takes `rate`",
            MetricKind::Counter => "it takes `count` or `rate`",
            MetricKind::Trend => "it takes `p(95)`, `med`, `avg`, `max`, `min` or `count`",
            _ if self == Self::Memory => {
                "it takes `max`, `min`, `avg`, `last`, `p(95)`, `slope`, `oom_kills` or `limit_hits`"
            }
            _ => "it takes `max`, `min`, `avg`, `last`, `p(95)` or `slope`",
        }
    }
}

fn nearest_to(words: &Words, name: &str) -> String {
    let mut all: Vec<&str> = Metric::names().collect();
    all.extend(words.metrics.iter().map(|metric| metric.name.as_str()));
    let likeness = |known: &str| strsim::jaro_winkler(known, name);
    match all.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))) {
        Some(near) if likeness(near) > 0.8 => format!("did you mean `{near}`?"),
        _ => format!("known metrics: {}", all.join(", ")),
    }
}
