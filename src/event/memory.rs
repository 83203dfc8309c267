//! What the sampler saw: windows of memory, and its account of itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_tuple::Serialize_tuple;

use super::life::LifeId;
use crate::clock::Moment;
use crate::units::Bytes;

/// Least, greatest and last value of a level in a window.
///
/// Written as three numbers in a row: names would take three times the room. Both ways read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize_tuple, Deserialize)]
pub struct Band {
    /// The least value read.
    pub min: Bytes,
    /// The greatest value read.
    pub max: Bytes,
    /// The last value read.
    pub last: Bytes,
}

impl Band {
    /// The band of a single reading.
    #[must_use]
    pub const fn of(value: Bytes) -> Self {
        Self { min: value, max: value, last: value }
    }

    /// Takes in one more reading.
    pub fn add(&mut self, value: Bytes) {
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.last = value;
    }

    /// Takes in a later band.
    pub fn merge(&mut self, later: &Self) {
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.last = later.last;
    }
}

/// How the charged peak is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeakMethod {
    /// v2, Linux ≥ 6.12: `memory.peak` reset on our own descriptors each tick. Interval-exact.
    V2Reset,
    /// v1: `memory.max_usage_in_bytes` reset each tick. Interval-exact.
    V1Reset,
    /// The kernel keeps a peak that can't be reset: record-breaking peaks are exact, others are
    /// sampled.
    Lifetime,
    /// Only readings at ticks; a spike between two is not seen.
    Sampled,
    /// Docker's stats, about one reading a second.
    DockerStats,
}

impl PeakMethod {
    /// The name that `run.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V2Reset => "v2-reset",
            Self::V1Reset => "v1-reset",
            Self::Lifetime => "lifetime",
            Self::Sampled => "sampled",
            Self::DockerStats => "docker-stats",
        }
    }

    /// Whether no peak between two ticks can be missed.
    #[must_use]
    pub const fn is_interval_exact(self) -> bool {
        matches!(self, Self::V2Reset | Self::V1Reset)
    }
}

/// The scheduling class that the sampler's thread was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchedulingClass {
    /// `SCHED_FIFO`: runs before every normal thread.
    Fifo,
    /// A negative nice value.
    Nice,
    /// Like everybody else.
    Normal,
}

/// The sampler begins on a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplingStart {
    /// The life that is sampled.
    pub life: LifeId,
    /// How peaks are known.
    pub method: PeakMethod,
    /// Time between two ticks, in nanoseconds.
    pub tick_ns: u64,
    /// By how much a peak may be over-reported for pages that the kernel charges to CPUs ahead of
    /// use (63 pages a CPU).
    pub charge_slack: Bytes,
    /// Whether levels come from cgroup v1, where kernel memory can't be told apart and
    /// `unreclaimable` is a range.
    pub unreclaimable_is_range: bool,
    /// Whether the recording tells of this life's spikes; without it, they are to be found in the
    /// ticks that were kept.
    #[serde(default)]
    pub spikes_told: bool,
}

/// Memory in one window, of one life.
///
/// `unreclaimable` is what the kernel cannot drop without swap. It is known between bounds:
/// `unreclaimable_low` at least, `unreclaimable_high` at most. Both count what was read at ticks;
/// the high one also takes as unreclaimable what a charged peak between two readings rises above
/// the level at both.
///
/// Written as a row without names, as there are hundreds of thousands of them; both ways read. New
/// fields come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_tuple, Deserialize)]
pub struct MemoryWindow {
    /// The life that was sampled.
    pub life: LifeId,
    /// When the window began; it ends at the event's time.
    pub start: Moment,
    /// Ticks read.
    pub ticks: u32,
    /// Ticks that fell due and were not read.
    pub missed: u32,
    /// Charged memory at ticks.
    pub usage: Band,
    /// The highest charged peak of any tick's interval.
    pub peak: Bytes,
    /// The tick at which that peak was read: it happened between the tick before and this one.
    pub peak_at: Moment,
    /// `anon` in `memory.stat`; v1 `total_rss`.
    pub rss: Band,
    /// Page cache that can be dropped: file pages without tmpfs.
    pub cache: Band,
    /// tmpfs and shared memory.
    pub shmem: Band,
    /// usage − inactive file pages, as the kubelet counts.
    pub working_set: Band,
    /// Unreclaimable memory, lower bound.
    pub unreclaimable_low: Band,
    /// Unreclaimable memory, upper bound.
    pub unreclaimable_high: Band,
    /// Times that a charge met the limit, in this life so far; none where not known.
    pub limit_hits: Option<u64>,
    /// OOM kills counted in this life so far; none where not known.
    pub oom_kills: Option<u64>,
    /// Kernel memory and what is known of its parts; none in recordings of before it was told.
    #[serde(default)]
    pub kernel: Option<KernelBands>,
    /// The mean over ticks of charged memory less what could be dropped when the parts were last
    /// read; none in recordings of before it was told.
    #[serde(default)]
    pub held_mean: Option<Bytes>,
}

/// Kernel memory that is charged to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelBands {
    /// All of it: v2 `kernel` and `sock`, v1 `memory.kmem.usage_in_bytes`.
    pub total: Band,
    /// Its parts, which v1 does not tell apart.
    pub parts: Option<KernelParts>,
}

/// Parts of kernel memory, by `memory.stat` of v2; none where a kernel does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelParts {
    /// `slab_unreclaimable`.
    pub slab: Option<Band>,
    /// `slab_reclaimable`, which the kernel can drop.
    pub slab_reclaimable: Band,
    /// Socket buffers: `sock`.
    pub sock: Option<Band>,
    /// `pagetables`.
    pub page_tables: Option<Band>,
}

impl KernelBands {
    /// Takes in later ones.
    pub fn merge(&mut self, later: &Self) {
        self.total.merge(&later.total);
        if let (Some(parts), Some(later)) = (&mut self.parts, &later.parts) {
            parts.slab_reclaimable.merge(&later.slab_reclaimable);
            for (band, later) in [
                (&mut parts.slab, &later.slab),
                (&mut parts.sock, &later.sock),
                (&mut parts.page_tables, &later.page_tables),
            ] {
                if let (Some(band), Some(later)) = (band, later) {
                    band.merge(later);
                }
            }
        }
    }
}

/// The sampler's account of itself, for one life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SamplerReport {
    /// The life that was sampled.
    pub life: LifeId,
    /// Ticks read.
    pub ticks: u64,
    /// Ticks that fell due and were not read.
    pub missed_ticks: u64,
    /// How late ticks were read, in microseconds: median.
    pub lateness_us_p50: f64,
    /// How late ticks were read, in microseconds: 99th percentile.
    pub lateness_us_p99: f64,
    /// The scheduling class that the thread was given.
    pub scheduling: SchedulingClass,
    /// CPU time of the sampler's thread, in nanoseconds.
    pub cpu_ns: u64,
    /// Wall time over which that was used, in nanoseconds.
    pub wall_ns: u64,
}
