//! What more load did, as reports show it.

/// What more load did to the target in a phase whose load climbs, or over phases of different load.
#[derive(Debug, Clone, PartialEq)]
pub struct Concurrency {
    /// The phase, or those that were compared.
    pub phases: Vec<String>,
    /// What the load is counted in.
    pub axis: LoadAxis,
    /// The least and the most of it.
    pub range: (f64, f64),
    /// Why nothing can be told; then all that follows is empty.
    pub refused: Option<Refusal>,
    /// The load in steps of equal width, from the least to the most; steps without a reading are
    /// left out.
    pub levels: Vec<LoadLevel>,
    /// Unreclaimable memory against load, in bytes.
    pub memory: Option<Dependence>,
    /// Threads against load.
    pub threads: Option<Dependence>,
    /// Open descriptors against load.
    pub open_files: Option<Dependence>,
    /// Open sockets against load.
    pub sockets: Option<Dependence>,
    /// The share of the rise of memory that was given back when the load came down again; none
    /// where it never did.
    pub given_back: Option<f64>,
    /// Whether memory leaks anyway, so that its rise need not be the load's doing.
    pub leaks_anyway: bool,
    /// Of memory that is linear: the load at which the limit is full, at the earliest and at the
    /// latest.
    pub limit_full_at: Option<(f64, f64)>,
    /// Latency under little and under much load.
    pub latency: Option<Divergence>,
    /// Where throughput stops to follow the load.
    pub throughput: Option<Saturation>,
    /// What binds it, and by what that is told.
    pub bound: Binding,
    /// What becomes of requests when there are too many; none where there never were.
    pub overload: Option<Overload>,
}

/// What load is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadAxis {
    /// Users who were there.
    Users,
    /// Requests that fell due a second.
    Rate,
    /// Requests in flight.
    InFlight,
}

impl LoadAxis {
    /// The name that `run.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Rate => "rate",
            Self::InFlight => "in_flight",
        }
    }

    /// What stands after a number of it.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Rate => "requests/s",
            Self::InFlight => "in flight",
        }
    }

    /// One of it.
    #[must_use]
    pub const fn one(self) -> &'static str {
        match self {
            Self::Users => "user",
            Self::Rate => "request/s",
            Self::InFlight => "request in flight",
        }
    }
}

/// Why nothing can be told of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It hardly changed.
    LittleRange,
    /// It was there for too short a time.
    TooShort,
}

impl Refusal {
    /// The name that `run.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LittleRange => "little_range",
            Self::TooShort => "too_short",
        }
    }

    /// Why, and what would help.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::LittleRange => "the load hardly changed: a ramp has to double it at least",
            Self::TooShort => "the ramp is too short: it takes some ten seconds to read from",
        }
    }
}

/// The target under one load. What was not measured there is none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadLevel {
    /// The load.
    pub load: f64,
    /// The most requests in flight in a window, at the median.
    pub in_flight: Option<f64>,
    /// Unreclaimable memory (lower bound), the most in a window, at the median, in bytes.
    pub memory: Option<f64>,
    /// Unreclaimable memory (upper bound), the highest, in bytes.
    pub memory_peak: Option<f64>,
    /// Threads, at the median.
    pub threads: Option<f64>,
    /// Open descriptors, at the median.
    pub open_files: Option<f64>,
    /// Open sockets, at the median.
    pub sockets: Option<f64>,
    /// Requests that succeeded, per second.
    pub throughput: Option<f64>,
    /// Requests that ended.
    pub requests: u64,
    /// The failed ones of them.
    pub failed: u64,
    /// Those that were turned away with a status of 429 or 503.
    pub turned_away: u64,
    /// The median latency, from due to the last byte, in milliseconds.
    pub p50_ms: Option<f64>,
    /// The 99th percentile.
    pub p99_ms: Option<f64>,
    /// CPU time per wall time.
    pub cpu_cores: Option<f64>,
    /// The same on the core where it ran most, from reading to reading.
    pub busiest_core: Option<f64>,
    /// Throttled time, in percent.
    pub throttled: Option<f64>,
    /// Time in which some task waited for a CPU, in percent.
    pub cpu_wait: Option<f64>,
    /// Time in which some task waited for memory, in percent.
    pub memory_wait: Option<f64>,
    /// Time in which some task waited for I/O, in percent.
    pub io_wait: Option<f64>,
    /// Page faults that waited for a device, per second.
    pub major_faults: Option<f64>,
}

/// How something depends on load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dependence {
    /// How.
    pub class: DependenceClass,
    /// Under the least load.
    pub first: f64,
    /// Under the most.
    pub last: f64,
    /// The slope (Theil–Sen), per unit of load.
    pub per_unit: Option<f64>,
    /// Sen's interval of 95 % for it, widened for autocorrelation.
    pub ci95: Option<(f64, f64)>,
    /// The levels that were compared.
    pub levels: usize,
}

/// How something depends on load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DependenceClass {
    /// Not at all.
    Flat,
    /// It rises, and less and less.
    Settles,
    /// It rises as a line, as far as the load went.
    Linear,
    /// It can't be told.
    Unclear,
}

impl DependenceClass {
    /// The name that `run.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Settles => "settles",
            Self::Linear => "linear",
            Self::Unclear => "unclear",
        }
    }
}

/// Latency under the lower third of the load and under the upper third, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Divergence {
    /// Median and 99th percentile under little load.
    pub low_ms: (f64, f64),
    /// The same under much load.
    pub high_ms: (f64, f64),
}

impl Divergence {
    /// A p99 that rises by so much has come apart from a p50 that stays.
    const APART: f64 = 3.0;
    /// A p50 that rises by no more than this stays.
    const STAYS: f64 = 1.5;
    /// A median that doubles is slower.
    const SLOWER: f64 = 2.0;
    /// Differences below this, in milliseconds, are none.
    const NOTICED_MS: f64 = 2.0;

    /// By what the median is longer under much load.
    #[must_use]
    pub fn p50_factor(&self) -> f64 {
        self.high_ms.0 / self.low_ms.0.max(1e-3)
    }

    /// By what the 99th percentile is longer under much load.
    #[must_use]
    pub fn p99_factor(&self) -> f64 {
        self.high_ms.1 / self.low_ms.1.max(1e-3)
    }

    /// Whether the 99th percentile rose and the median did not.
    #[must_use]
    pub fn is_apart(&self) -> bool {
        let rises = self.high_ms.1 - self.low_ms.1 > Self::NOTICED_MS;
        rises && self.p99_factor() >= Self::APART && self.p50_factor() <= Self::STAYS
    }

    /// Whether answers take clearly longer under much load.
    #[must_use]
    pub fn is_slower(&self) -> bool {
        let (p50, p99) = (self.high_ms.0 - self.low_ms.0, self.high_ms.1 - self.low_ms.1);
        (p50 > Self::NOTICED_MS && self.p50_factor() >= Self::SLOWER)
            || (p99 > Self::NOTICED_MS && self.p99_factor() >= Self::APART)
    }
}

/// How throughput followed the load. Throughput counts requests that succeeded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Saturation {
    /// The highest throughput, in requests per second, its neighbours considered.
    pub highest: f64,
    /// The load at which it was.
    pub highest_at: f64,
    /// The load from which on more load brought no more; none where it followed to the end.
    pub from: Option<f64>,
    /// The load from which on it fell far below its highest; none where it did not.
    pub collapses_from: Option<f64>,
    /// Throughput under the most load.
    pub at_end: f64,
}

/// What keeps throughput from rising, or answers from coming as fast as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Nothing did, as far as the load went.
    Nothing,
    /// CPU time.
    Cpu,
    /// Reading and writing.
    Io,
    /// A number of workers, connections or locks.
    Pool,
    /// Memory: reclaim, or page faults.
    Memory,
    /// It can't be told.
    Unclear,
}

impl Bound {
    /// The name that `run.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Cpu => "cpu",
            Self::Io => "io",
            Self::Pool => "pool",
            Self::Memory => "memory",
            Self::Unclear => "unclear",
        }
    }
}

/// What binds, and by what that is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// What binds.
    pub by: Bound,
    /// In numbers.
    pub evidence: Vec<String>,
}

/// What becomes of requests when there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overload {
    /// They are answered, later and later.
    Slows,
    /// They are turned away with 429 or 503.
    Sheds,
    /// Some are turned away, and the others answered later.
    Both,
    /// They fail in other ways.
    Fails,
}

impl Overload {
    /// The name that `run.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slows => "slows",
            Self::Sheds => "sheds",
            Self::Both => "both",
            Self::Fails => "fails",
        }
    }
}
