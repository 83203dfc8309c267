//! The scenario: what a user writes, checked as a whole.
//!
//! A file is parsed into a tree whose every key and value knows its place, `extends` and
//! `--set` are applied to that tree, and then it is read table by table into plain types. Reading
//! goes on after a fault, so all faults come in one go, each with its place and the way out. Only
//! checked types leave this module; nothing is built or started by it.

mod action;
mod check;
mod fault;
mod flow;
mod header;
mod load;
mod pace;
mod pattern;
mod quick;
mod reader;
mod replay;
mod schema;
mod templating;
mod tree;
mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use action::{Action, Deed};
pub use fault::{Fault, Faults, Sources};
pub use flow::{
    Body, Capture, Check, Constants, Extract, Feed, FeedOrder, Flow, Part, PartContent, Reply,
    Shape, ShapeKind, Step, Test, Transfer, Wanted, is_template,
};
pub use header::unsendable;
pub use load::{Overrides, load, parse};
pub use pace::{Arrivals, Iterations, Think};
pub use pattern::Pattern;
pub use quick::{QuickSource, QuickTarget};
pub use replay::{Replay, Replayed};
pub use schema::schema;
pub use templating::templating;
pub use tree::Place;
pub use words::{CustomKind, CustomMetric, Gives, MetricName, Words};

use crate::units::{Bytes, Rate};

/// A scenario in which everything was checked that can be checked without starting anything.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What is started.
    pub target: Target,
    /// Time between two ticks.
    pub tick: Duration,
    /// Length of a window.
    pub window: Duration,
    /// Startup trials, at most.
    pub trials: u32,
    /// Whether fewer will do where they come out alike.
    pub fewer_trials: bool,
    /// How long a ready target is watched in a trial.
    pub settle: Duration,
    /// Traffic, apart from phases.
    pub traffic: Traffic,
    /// What users do.
    pub scenarios: Vec<Flow>,
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// What is done at set times, beside the traffic.
    pub actions: Vec<Action>,
    /// Whether an OOM-killed target is started again.
    pub restarts: bool,
    /// What templates are given of the harness's surroundings.
    pub constants: Constants,
    /// Threshold rules as written.
    pub thresholds: Vec<Threshold>,
    /// Words of its own that rules may use.
    pub words: Words,
    /// What is worth knowing of it without being a fault.
    pub notes: Vec<String>,
    /// The texts that places refer to.
    pub sources: Sources,
}

/// What is started.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// Where the program comes from.
    pub source: Source,
    /// The port that it listens on.
    pub port: u16,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment: name, value, whether the value is secret.
    pub env: Vec<(String, String, bool)>,
    /// Files of this host at places of its own.
    pub files: BTreeMap<PathBuf, PathBuf>,
    /// Directories kept in memory.
    pub tmpfs: Vec<PathBuf>,
    /// The user that it runs as.
    pub user: Option<String>,
    /// Further lines of its hosts file.
    pub extra_hosts: Vec<String>,
    /// When it is ready, and how long that may take.
    pub ready: Ready,
    /// How long it may take to become ready.
    pub ready_within: Duration,
    /// Memory limit; none: no limit.
    pub memory: Option<Bytes>,
    /// CPU limit in cores.
    pub cpus: Option<f64>,
    /// Limit on processes and threads.
    pub pids: Option<u32>,
    /// The limits as Kubernetes would set them.
    pub kubernetes: Option<Kubernetes>,
    /// The signal that asks it to stop.
    pub stop_signal: String,
    /// How long it has then.
    pub stop_within: Duration,
}

/// What Kubernetes does beyond a memory limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kubernetes {
    /// The memory that the container requests; none: as much as its limit.
    pub request: Option<Bytes>,
    /// Whether the kubelet's `MemoryQoS` is on, which throttles before the limit.
    pub memory_qos: bool,
}

/// Where the program comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A cargo package.
    Cargo(Cargo),
    /// A binary, on a base image or none.
    Binary(PathBuf, Option<String>),
    /// An image.
    Image(String),
    /// A Dockerfile.
    Dockerfile(PathBuf),
}

impl Default for Source {
    fn default() -> Self {
        Self::Image(String::new())
    }
}

/// A cargo package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cargo {
    /// Its directory.
    pub directory: PathBuf,
    /// The package's name.
    pub package: Option<String>,
    /// The binary's name.
    pub bin: Option<String>,
    /// Features.
    pub features: Vec<String>,
    /// The profile.
    pub profile: Option<String>,
    /// The target triple.
    pub target: Option<String>,
    /// A base image.
    pub base: Option<String>,
}

/// How readiness is told.
#[derive(Debug, Clone, Default)]
pub enum Ready {
    /// A GET of this path answers with this status.
    Http(String, u16),
    /// The port accepts.
    #[default]
    Tcp,
    /// A line of output matches.
    Log(regex::Regex),
}

/// Traffic, apart from phases.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// How long a request may take.
    pub timeout: Duration,
    /// How long the last requests are waited for.
    pub drain: Duration,
    /// Fixes everything that depends on chance.
    pub seed: u64,
    /// The most requests in flight.
    pub max_in_flight: usize,
}

/// A phase.
#[derive(Debug, Clone)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// How long it lasts.
    pub length: Duration,
    /// Tags.
    pub tags: Vec<String>,
    /// Whether a size search replays it; none: where it has bursts.
    pub size: Option<bool>,
    /// Whether the run is over after it where it went badly.
    pub stop_early: bool,
    /// The loads that run in it.
    pub loads: Vec<Load>,
}

/// A load in a phase.
#[derive(Debug, Clone)]
pub struct Load {
    /// Which scenario, by its index; none: the weighted mix.
    pub flow: Option<usize>,
    /// When it starts, from the phase's start.
    pub start_after: Duration,
    /// How it is paced.
    pub pace: Pace,
}

/// How a load is paced.
#[derive(Debug, Clone)]
pub enum Pace {
    /// Arrivals fixed in advance.
    Open {
        /// From, to, how long.
        stages: Vec<(Rate, Rate, Duration)>,
        /// How arrivals are spaced.
        arrivals: Arrivals,
        /// Bursts on top.
        bursts: Vec<Burst>,
    },
    /// Recorded requests at recorded times.
    Replay(Replay),
    /// Users who wait for answers.
    Closed {
        /// From, to, how long.
        stages: Vec<(u32, u32, Duration)>,
        /// Scenario runs after which the load is done.
        iterations: Option<Iterations>,
    },
}

/// Bursts that come again and again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// The period.
    pub every: Duration,
    /// How many at once, or a rate and for how long.
    pub form: BurstForm,
    /// Share of the period by which a burst may come early or late.
    pub jitter: f64,
    /// At which share of its period a burst begins.
    pub begins: f64,
}

/// What a burst is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BurstForm {
    /// So many at once.
    Size(u64),
    /// A raised rate for a while.
    Rate(Rate, Duration),
}

/// What a threshold rule speaks of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleFacts {
    /// Whether it only has a meaning under a memory limit.
    pub needs_limit: bool,
    /// The phase that it is about.
    pub phase: Option<String>,
    /// The scenario that it is about.
    pub scenario: Option<String>,
    /// The steps that it is about.
    pub steps: Vec<String>,
    /// Tags of the scenario's own, with their values.
    pub tags: Vec<(String, String)>,
}

/// What rules mean is for the plan to say, and all faults are to come in one go: so who knows is
/// handed in.
pub trait RuleCheck {
    /// Understands a rule, given the scenario's own words, its selector and its condition.
    ///
    /// # Errors
    /// What is wrong, and the way out.
    fn facts(
        &self,
        words: &Words,
        selector: &str,
        rule: &str,
    ) -> Result<RuleFacts, (String, String)>;

    /// Whether every scenario has a metric of this name.
    fn is_metric(&self, name: &str) -> bool;

    /// Whether requests carry a tag of this name anyway.
    fn is_tag(&self, name: &str) -> bool;
}

/// A threshold rule as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    /// `memory{phase:soak}`
    pub selector: String,
    /// `max<80%`
    pub rule: String,
    /// Whether a broken rule ends the run: how long after the first phase began at the earliest.
    pub abort: Option<Duration>,
    /// Where it is written.
    pub place: Place,
}
