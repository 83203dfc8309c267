//! The findings: one plain model that every report renders.

use std::collections::{BTreeMap, BTreeSet};

use super::actions::Actions;
use super::columns::Timeline;
use crate::clock::{Anchor, Moment};
use crate::event::{
    ErrorKind, Evidence, Exit, GeneratorPath, HarnessReport, IoSource, KernelBands, PeakMethod,
    ProgramFacts, RunFacts, SchedulingClass, Status, WatchStart,
};
use crate::judge::Measured;
use crate::plan::{CustomKind, StepOutline};
use crate::units::{Bytes, Limit};

/// Everything that a run showed. What it did not do is none, never a made-up zero.
#[derive(Debug, Clone)]
pub struct Findings {
    /// The scenario's name.
    pub name: String,
    /// When the run started.
    pub anchor: Anchor,
    /// Where it ran, and what was run.
    pub facts: RunFacts,
    /// What the target's largest process turned out to be; none where none was looked at.
    pub program: Option<ProgramFacts>,
    /// The target's memory limit.
    pub limit: Limit,
    /// What it all comes to.
    pub verdict: Verdict,
    /// The exit code that goes with it.
    pub exit_code: u8,
    /// Why, the weightiest first.
    pub reasons: Vec<Reason>,
    /// Startup, apart from everything else.
    pub startup: Option<super::Startup>,
    /// The phases that began, in order.
    pub phases: Vec<Phase>,
    /// Memory over the main container's lives.
    pub memory: Option<Memory>,
    /// The main container's lives, in order.
    pub lives: Vec<super::LifeFinding>,
    /// The processes of the main container's lives with the highest RSS, the highest first; none
    /// where they were not looked at.
    pub processes: Option<Vec<ProcessPeak>>,
    /// What the main container's lives have written; none where it was not counted.
    pub written: Option<Written>,
    /// The largest spikes, by rise, the largest first.
    pub spikes: Vec<super::SpikeFinding>,
    /// All spikes; none where no raw ticks could show any.
    pub spikes_total: Option<u64>,
    /// How memory grew under steady or bursting traffic; none where no phase had any.
    pub growth: Option<super::Growth>,
    /// What requests cost; none without traffic.
    pub costs: Option<super::Costs>,
    /// Which limit the target needs: an estimate, or what a search has proved; none where no phase
    /// was run.
    pub sizing: Option<super::Sizing>,
    /// What more load did, in each phase whose load climbs and over phases of different load.
    pub concurrency: Vec<super::Concurrency>,
    /// The sampler's account.
    pub sampler: Option<SamplerAccount>,
    /// The load generator's account.
    pub generator: Option<GeneratorAccount>,
    /// What the harness's own process has used; none where it did not come to tell.
    pub harness: Option<HarnessReport>,
    /// What the threshold rules came to.
    pub thresholds: Vec<Measured>,
    /// The questions that a soak test has to answer.
    pub checklist: Vec<CheckItem>,
    /// What the producers wanted the reader to know.
    pub notes: Vec<String>,
    /// What was done at set times, beside the traffic.
    pub actions: Actions,
    /// What pictures are drawn from.
    pub timeline: Timeline,
    /// The targets of a watch, which were not started by us; empty for a run. With several, the
    /// findings above are those of the one that is worst off: killed, or else with the least
    /// headroom, or else (without limits) with the highest peak. Verdict, reasons and thresholds
    /// are those of all.
    pub watched: Vec<Watched>,
}

/// A target of a watch.
#[derive(Debug, Clone)]
pub struct Watched {
    /// What it is.
    pub start: WatchStart,
    /// When its watch began.
    pub began: Moment,
    /// When and how it ended; none where it outlived the watch.
    pub ended: Option<(Moment, Exit)>,
    /// Its lives: 1, and one more for each time that it was started again.
    pub lives: u32,
    /// The file of its own picture, where there are several targets.
    pub timeline: Option<String>,
    /// What it showed.
    pub findings: Findings,
}

/// What a run comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong.
    Pass,
    /// Nothing is broken, but something is close.
    Warn,
    /// The target was OOM-killed, or broke a threshold.
    Fail,
    /// The measurement can't be trusted.
    Untrusted,
    /// The run could not be done.
    Error,
    /// The run was interrupted.
    Interrupted,
}

impl Verdict {
    /// The name that `run.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Untrusted => "untrusted",
            Self::Error => "error",
            Self::Interrupted => "interrupted",
        }
    }
}

/// How much a reason weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It makes the run fail.
    Fail,
    /// It makes the run a warning.
    Warn,
    /// It explains.
    Info,
}

impl Level {
    /// The name that `run.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Warn => "warn",
            Self::Info => "info",
        }
    }
}

/// One reason of the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Its kind, for programs: `oom_kill`, `threshold`, `headroom` …
    pub id: &'static str,
    /// How much it weighs.
    pub level: Level,
    /// A sentence for people.
    pub text: String,
    /// When it happened, where it is of a moment.
    pub at: Option<Moment>,
    /// What to do about it, where that is not said already.
    pub next: Option<String>,
}

/// One phase.
#[derive(Debug, Clone)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// When it began.
    pub start: Moment,
    /// When it ended, or was cut off.
    pub end: Moment,
    /// Memory in it.
    pub memory: Option<PhaseMemory>,
    /// The target's CPU, threads and descriptors in it.
    pub target: Option<Vital>,
    /// The traffic that was due in it.
    pub traffic: Option<Traffic>,
    /// How it got over its bursts; none where it had none that could be followed.
    pub recovery: Option<super::Recovery>,
    /// How its requests failed, where that has a pattern.
    pub failing: Vec<super::FailurePattern>,
}

/// Memory in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhaseMemory {
    /// The charged peak.
    pub peak: Bytes,
    /// The greatest RSS.
    pub rss_peak: Bytes,
    /// The unreclaimable peak, upper bound.
    pub unreclaimable_peak: Bytes,
    /// The unreclaimable peak, lower bound.
    pub unreclaimable_peak_low: Bytes,
    /// The unreclaimable level (upper bound) in the first window: its least.
    pub start: Bytes,
    /// The unreclaimable level (upper bound) at the end.
    pub end: Bytes,
}

/// Slow measures of the target in a phase. What the kernel at hand does not tell is none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vital {
    /// CPU time per wall time.
    pub cpu_cores: Option<f64>,
    /// CPU time in user mode per wall time.
    pub cpu_user_cores: Option<f64>,
    /// CPU time in the kernel per wall time.
    pub cpu_system_cores: Option<f64>,
    /// CPU time per wall time on each core; v1 only.
    pub cpu_per_core: Option<Vec<f64>>,
    /// Throttled time per wall time, in percent.
    pub throttled_percent: Option<f64>,
    /// Periods in which the container was throttled.
    pub throttled_periods: Option<u64>,
    /// The most processes.
    pub processes_max: u32,
    /// The most threads.
    pub threads_max: u32,
    /// The most open descriptors.
    pub open_files_max: Option<u32>,
    /// The most sockets at one reading: TCP by state, then `udp` and `unix`.
    pub sockets_max: Option<BTreeMap<String, u32>>,
    /// Time in which some task waited for memory, in milliseconds.
    pub psi_some_ms: Option<f64>,
    /// Time in which all tasks waited for memory, in milliseconds.
    pub psi_full_ms: Option<f64>,
    /// Time in which some task waited for a CPU, in milliseconds.
    pub cpu_psi_ms: Option<f64>,
    /// Time in which some task waited for I/O, in milliseconds.
    pub io_psi_ms: Option<f64>,
    /// Bytes read from block devices.
    pub read_bytes: Option<u64>,
    /// Bytes written to block devices.
    pub written_bytes: Option<u64>,
    /// Who counted them.
    pub io_source: Option<IoSource>,
    /// Read operations on block devices.
    pub reads: Option<u64>,
    /// Write operations on block devices.
    pub writes: Option<u64>,
    /// Bytes printed.
    pub log_bytes: Option<u64>,
    /// Page faults.
    pub page_faults: Option<u64>,
    /// Page faults that waited for a device.
    pub major_faults: Option<u64>,
    /// Pages read again that had been dropped a short while before.
    pub refaults: Option<u64>,
    /// Times that it was slowed down at `memory.high`; v2 only.
    pub high_events: Option<u64>,
    /// Times that a charge met the limit.
    pub max_events: Option<u64>,
    /// The most swap in use.
    pub swap_peak: Option<Bytes>,
}

/// A process and the most resident memory that it was seen with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessPeak {
    /// Its id on the host.
    pub pid: i32,
    /// Its name, when it was last seen.
    pub name: String,
    /// The life that it was in.
    pub life: u32,
    /// Its greatest RSS.
    pub rss_peak: Bytes,
    /// When that was read.
    pub at: Moment,
}

/// What the main container's lives have written in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes printed.
    pub log_bytes: Option<u64>,
    /// Bytes in the containers' writable layers at their ends.
    pub layer_bytes: Option<u64>,
    /// Bytes written to block devices.
    pub disk_bytes: Option<u64>,
    /// Who counted those.
    pub disk_source: Option<IoSource>,
}

/// Four points of a distribution of times, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// Traffic that was due in a phase.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Traffic {
    /// Requests that ended, well or badly.
    pub requests: u64,
    /// The failed ones of them.
    pub failed: u64,
    /// Requests that fell due and were never sent.
    pub unsent: u64,
    /// Requests that were sent more than [`Traffic::LATE_US`] after they were due.
    pub late: u64,
    /// Requests per second of the phase.
    pub rate: Option<f64>,
    /// Bytes written to sockets.
    pub bytes_sent: u64,
    /// Bytes read from sockets.
    pub bytes_received: u64,
    /// From due to the last byte.
    pub latency: Option<Times>,
    /// From sent to the last byte.
    pub duration: Option<Times>,
    /// From sent to the first byte.
    pub waiting: Option<Times>,
    /// From due to sent, in microseconds: median and 99th percentile.
    pub send_lateness_us: Option<(f64, f64)>,
    /// Answers by status.
    pub status: BTreeMap<u16, u64>,
    /// Failures by kind.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// Since when no request reached the target any more, to about a second, where that is a
    /// quarter of the phase and more.
    pub unreachable_since: Option<Moment>,
    /// The same by how requests were answered, as far as that was recorded.
    pub answers: Vec<AnswerTraffic>,
    /// The same by scenario, in the plan's order.
    pub scenarios: Vec<ScenarioTraffic>,
    /// The same by step.
    pub steps: Vec<StepTraffic>,
    /// Metrics of the scenario's own.
    pub metrics: Vec<CustomTraffic>,
}

impl Traffic {
    /// From due to sent, in microseconds: what is more counts as late.
    pub const LATE_US: u64 = 10_000;
}

/// What answers gave to a metric of the scenario's own.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomTraffic {
    /// Its name.
    pub name: String,
    /// What it counts.
    pub kind: CustomKind,
    /// A counter's sum, or the hits of a rate.
    pub count: u64,
    /// How many answers gave something.
    pub answers: u64,
    /// A counter's sum per second, or the share of hits.
    pub rate: Option<f64>,
}

/// Requests, and how long they took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TimedRequests {
    /// Requests that ended.
    pub requests: u64,
    /// The failed ones of them.
    pub failed: u64,
    /// From due to the last byte.
    pub latency: Option<Times>,
    /// From sent to the last byte.
    pub duration: Option<Times>,
    /// From sent to the first byte.
    pub waiting: Option<Times>,
}

/// Traffic of one scenario in a phase.
#[derive(Debug, Clone, PartialEq)]
pub struct ScenarioTraffic {
    /// The scenario's name.
    pub scenario: String,
    /// Its requests.
    pub timed: TimedRequests,
}

/// Requests that were answered alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnswerTraffic {
    /// How.
    pub status: Status,
    /// Whether that status was expected.
    pub expected: bool,
    /// The requests.
    pub timed: TimedRequests,
}

/// Traffic of one step in a phase.
#[derive(Debug, Clone, PartialEq)]
pub struct StepTraffic {
    /// The scenario's name.
    pub scenario: String,
    /// The step's name.
    pub step: String,
    /// Its tags of the scenario's own.
    pub tags: BTreeMap<String, String>,
    /// Requests that ended.
    pub requests: u64,
    /// The failed ones of them.
    pub failed: u64,
    /// Requests that fell due and were never sent.
    pub unsent: u64,
    /// Bytes written to sockets.
    pub bytes_sent: u64,
    /// Bytes read from sockets.
    pub bytes_received: u64,
    /// From due to the last byte.
    pub latency: Option<Times>,
    /// From sent to the last byte.
    pub duration: Option<Times>,
    /// From sent to the first byte.
    pub waiting: Option<Times>,
    /// Sizes of its request bodies, but for empty ones.
    pub request_body: Option<Sizes>,
    /// Sizes of the bodies of its answers, but for empty ones.
    pub response_body: Option<Sizes>,
    /// The sizes of request bodies that were asked for; the greatest comes last.
    pub wanted_body: Option<Sizes>,
    /// The same by how requests were answered, as far as that was recorded.
    pub answers: Vec<AnswerTraffic>,
}

/// How large bodies were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The median.
    pub p50: Bytes,
    /// The 99th percentile.
    pub p99: Bytes,
    /// The greatest.
    pub max: Bytes,
}

/// What memory was made of in the window of the unreclaimable peak: the greatest value of each in
/// it, as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Composition {
    /// When that window ended.
    pub at: Moment,
    /// Anonymous memory.
    pub anon: Bytes,
    /// tmpfs and shared memory.
    pub shmem: Bytes,
    /// Page cache that can be dropped.
    pub cache: Bytes,
    /// As the kubelet counts.
    pub working_set: Bytes,
    /// Kernel memory and its parts; none where the recording does not tell.
    pub kernel: Option<KernelBands>,
}

/// Memory over all lives of the main container.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    /// The charged peak.
    pub peak: Bytes,
    /// The tick at which it was read.
    pub peak_at: Moment,
    /// The greatest RSS.
    pub rss_peak: Bytes,
    /// The unreclaimable peak, upper bound.
    pub unreclaimable_peak: Bytes,
    /// The unreclaimable peak, lower bound.
    pub unreclaimable_peak_low: Bytes,
    /// What the limit leaves above the unreclaimable peak, in percent of the limit.
    pub headroom_percent: Option<f64>,
    /// OOM kills.
    pub oom_kills: u64,
    /// Who told of them.
    pub oom_evidence: BTreeSet<Evidence>,
    /// Charges that met the limit; none where not known.
    pub limit_hits: Option<u64>,
    /// What it was made of at the unreclaimable peak.
    pub composition: Option<Composition>,
}

/// Which step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepName {
    /// The scenario's name.
    pub scenario: String,
    /// The step's name.
    pub step: String,
}

impl StepName {
    /// The name of a step of the plan.
    #[must_use]
    pub fn of(step: &StepOutline) -> Self {
        Self { scenario: step.scenario.clone(), step: step.step.clone() }
    }

    /// Whether it is the name of this step.
    #[must_use]
    pub fn is_of(&self, step: &StepOutline) -> bool {
        self.scenario == step.scenario && self.step == step.step
    }
}

impl std::fmt::Display for StepName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.scenario, self.step)
    }
}

/// The sampler's account, over the main lives (or the trials, where there is no main life).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplerAccount {
    /// Time between two ticks, in nanoseconds.
    pub tick_ns: u64,
    /// Ticks read.
    pub ticks: u64,
    /// Ticks that fell due and were not read.
    pub missed_ticks: u64,
    /// How late ticks were read, in microseconds: median and 99th percentile of the worst life.
    pub lateness_us: Option<(f64, f64)>,
    /// The scheduling class that the thread was given.
    pub scheduling: Option<SchedulingClass>,
    /// How peaks are known.
    pub method: Option<PeakMethod>,
    /// CPU time per wall time, in percent of one CPU.
    pub cpu_percent: Option<f64>,
}

/// The load generator's account.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GeneratorAccount {
    /// CPU time per wall time, in percent of one CPU.
    pub cpu_percent: Option<f64>,
    /// The harness's own greatest resident set.
    pub rss_peak: Bytes,
    /// Whether the generator, not the target, set the pace.
    pub saturated: bool,
    /// How requests reached the target.
    pub path: GeneratorPath,
}

/// An answer of the checklist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It was done.
    Yes,
    /// It was not done.
    No,
    /// It can't be told.
    Unknown,
}

impl Answer {
    /// The name that `run.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// A question that a soak test has to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckItem {
    /// The question.
    pub question: &'static str,
    /// The answer.
    pub answer: Answer,
    /// What it rests on.
    pub evidence: String,
}
