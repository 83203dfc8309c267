//! The findings: one plain model that every report renders.

use std::collections::{BTreeMap, BTreeSet};

use super::columns::Timeline;
use crate::clock::{Anchor, Moment};
use crate::event::{ErrorKind, Evidence, GeneratorPath, PeakMethod, RunFacts, SchedulingClass};
use crate::judge::Measured;
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
    /// The target's memory limit.
    pub limit: Limit,
    /// What it all comes to.
    pub verdict: Verdict,
    /// The exit code that goes with it.
    pub exit_code: u8,
    /// Why, the weightiest first.
    pub reasons: Vec<Reason>,
    /// Startup, apart from everything else.
    pub startup: Option<Startup>,
    /// The phases that began, in order.
    pub phases: Vec<Phase>,
    /// Memory over the main container's lives.
    pub memory: Option<Memory>,
    /// The largest spikes, by rise, the largest first.
    pub spikes: Vec<SpikeFinding>,
    /// All spikes; none where no raw ticks could show any.
    pub spikes_total: Option<u64>,
    /// The sampler's account.
    pub sampler: Option<SamplerAccount>,
    /// The load generator's account.
    pub generator: Option<GeneratorAccount>,
    /// What the threshold rules came to.
    pub thresholds: Vec<Measured>,
    /// The questions that a soak test has to answer.
    pub checklist: Vec<CheckItem>,
    /// What the producers wanted the reader to know.
    pub notes: Vec<String>,
    /// What pictures are drawn from.
    pub timeline: Timeline,
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
}

/// Startup over its trials.
#[derive(Debug, Clone, PartialEq)]
pub struct Startup {
    /// The trials, in order; a repetition without a limit follows the killed one.
    pub trials: Vec<Trial>,
    /// The highest charged peak of the trials under the limit.
    pub peak: Option<Bytes>,
    /// The highest settled level of the trials under the limit.
    pub settled: Option<Bytes>,
}

/// One startup in a fresh container.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Which trial, from 1.
    pub number: u32,
    /// Whether it is the repetition without a limit of a killed one.
    pub unlimited: bool,
    /// Its limit.
    pub limit: Limit,
    /// From the program's first sight (else the container's start) to ready, in milliseconds.
    pub ready_ms: Option<f64>,
    /// The charged peak after exec until settled.
    pub peak: Option<Bytes>,
    /// The greatest RSS.
    pub rss_peak: Option<Bytes>,
    /// The unreclaimable peak, upper bound.
    pub unreclaimable_peak: Option<Bytes>,
    /// Unreclaimable memory (lower bound) at the end of the time to settle.
    pub settled: Option<Bytes>,
    /// The charged peak before exec: the container runtime's own.
    pub before_exec: Option<Bytes>,
    /// Whether the kernel OOM-killed it.
    pub killed: bool,
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

/// Slow measures of the target in a phase.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Vital {
    /// CPU time per wall time.
    pub cpu_cores: Option<f64>,
    /// Throttled time per wall time, in percent.
    pub throttled_percent: Option<f64>,
    /// The most threads.
    pub threads_max: u32,
    /// The most open descriptors.
    pub open_files_max: Option<u32>,
    /// Time in which some task waited for memory, in milliseconds.
    pub psi_some_ms: Option<f64>,
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
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    /// Requests that ended, well or badly.
    pub requests: u64,
    /// The failed ones of them.
    pub failed: u64,
    /// Requests that fell due and were never sent.
    pub unsent: u64,
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
    /// From due to sent, in microseconds: median and 99th percentile.
    pub send_lateness_us: Option<(f64, f64)>,
    /// Answers by status.
    pub status: BTreeMap<u16, u64>,
    /// Failures by kind.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// The same by step.
    pub steps: Vec<StepTraffic>,
}

/// Traffic of one step in a phase.
#[derive(Debug, Clone, PartialEq)]
pub struct StepTraffic {
    /// The scenario's name.
    pub scenario: String,
    /// The step's name.
    pub step: String,
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
}

/// A spike, and what was going on.
#[derive(Debug, Clone, PartialEq)]
pub struct SpikeFinding {
    /// The tick at which its peak was read.
    pub at: Moment,
    /// The phase's name, where it was in one.
    pub phase: Option<String>,
    /// Its height above the level before.
    pub rise: Bytes,
    /// The charged peak.
    pub peak: Bytes,
    /// From the last tick before the rise to the first that had fallen back.
    pub length: std::time::Duration,
    /// Requests in flight around it, an upper bound; none where the flow isn't known.
    pub in_flight: Option<u64>,
    /// The steps in flight, the largest share first.
    pub suspects: Vec<Suspect>,
}

/// A step that was in flight at a spike.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspect {
    /// The scenario's name.
    pub scenario: String,
    /// The step's name.
    pub step: String,
    /// Its share of what was in flight, 0 to 1.
    pub share: f64,
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
