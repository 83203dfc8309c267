//! The rows of `run.json` that have no file of their own.

use schemars::JsonSchema;
use serde::Serialize;

use super::json_concurrency::FailingRow;
use super::json_growth::RecoveryRow;
use super::json_spikes::{ChangeRow, ConfirmedRow, LogLineRow, SuspectRow};
use super::json_target::VitalRow;
use super::json_traffic::{LatenessRow, TrafficRow};
use crate::event::{Evidence, GeneratorPath, ReleaseBuild, SchedulingClass};

#[derive(Serialize, JsonSchema)]
pub(super) struct ReasonRow<'a> {
    /// Which kind of reason: see docs/verdict.md.
    pub(super) id: &'static str,
    #[schemars(extend("enum" = ["fail", "warn", "info"]))]
    /// How much it weighs.
    pub(super) level: &'static str,
    /// What is the matter, in words.
    pub(super) text: &'a str,
    /// When, in milliseconds since the run started.
    pub(super) at_ms: Option<f64>,
    /// What to do about it.
    pub(super) next: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct TargetRow<'a> {
    /// Where it ran: `docker`, `native`, or `none`.
    pub(super) runtime: &'a str,
    /// The image, where it was one.
    pub(super) image: Option<&'a str>,
    /// The memory limit; null is none.
    pub(super) limit_bytes: Option<u64>,
    /// The version of cgroups that counted its memory: `v1`, `v2`, or `unknown`.
    pub(super) cgroup: &'a str,
    /// Whether it is a release build.
    pub(super) release_build: ReleaseBuild,
    /// Who hands out its memory: `glibc`, `musl`, `jemalloc`, `mimalloc`, `tcmalloc`, `go`, `jvm`,
    /// `node`, `python`, or `unknown`.
    pub(super) allocator: Option<&'a str>,
    /// How the allocator was recognised.
    pub(super) allocator_evidence: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct PhaseRow<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// When it began.
    pub(super) start_ms: f64,
    /// When it ended.
    pub(super) end_ms: f64,
    /// Memory in it.
    pub(super) memory: Option<PhaseMemoryRow>,
    /// What else was measured of the target in it.
    pub(super) target: Option<VitalRow<'a>>,
    /// Traffic that fell due in it.
    pub(super) traffic: Option<TrafficRow<'a>>,
    /// The longest; what it is made of follows.
    pub(super) recovery_ms: Option<f64>,
    /// How it got over its bursts.
    pub(super) recovery: Option<RecoveryRow>,
    /// In which ways requests failed.
    pub(super) failure_patterns: Vec<FailingRow<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[expect(clippy::struct_field_names, reason = "the names are a contract")]
pub(super) struct PhaseMemoryRow {
    /// The charged peak, page cache included.
    pub(super) peak_bytes: u64,
    /// The highest resident set.
    pub(super) rss_peak_bytes: u64,
    /// The most that could not have been given back, upper bound.
    pub(super) unreclaimable_peak_bytes: u64,
    /// The same, lower bound.
    pub(super) unreclaimable_peak_low_bytes: u64,
    /// Charged when it began.
    pub(super) start_bytes: u64,
    /// Charged when it ended.
    pub(super) end_bytes: u64,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct MemoryRow {
    /// The charged peak, page cache included.
    pub(super) peak_bytes: u64,
    /// The highest resident set.
    pub(super) rss_peak_bytes: u64,
    /// The most that could not have been given back, upper bound: risk is judged by this.
    pub(super) unreclaimable_peak_bytes: u64,
    /// The same, lower bound.
    pub(super) unreclaimable_peak_low_bytes: u64,
    /// The memory limit; null is none.
    pub(super) limit_bytes: Option<u64>,
    /// What of the limit was free at the unreclaimable peak, in percent.
    pub(super) headroom_percent: Option<f64>,
    /// Processes that the kernel killed for want of memory.
    pub(super) oom_kills: u64,
    /// How often a charge met the limit.
    pub(super) limit_hits: Option<u64>,
    /// Who told of the kills.
    pub(super) oom_evidence: Vec<Evidence>,
    /// What memory was made of at its unreclaimable peak.
    pub(super) at_unreclaimable_peak: Option<CompositionRow>,
}

/// What memory was made of; parts that the kernel does not tell apart are null.
#[derive(Serialize, JsonSchema)]
pub(super) struct CompositionRow {
    /// When that was read.
    pub(super) at_ms: f64,
    /// Anonymous memory.
    pub(super) anon_bytes: u64,
    /// Shared memory, tmpfs included.
    pub(super) shmem_bytes: u64,
    /// All kernel memory.
    pub(super) kernel_bytes: Option<u64>,
    /// Kernel objects.
    pub(super) slab_bytes: Option<u64>,
    /// Of these, what can be given back.
    pub(super) slab_reclaimable_bytes: Option<u64>,
    /// Socket buffers.
    pub(super) sock_bytes: Option<u64>,
    /// Page tables.
    pub(super) page_tables_bytes: Option<u64>,
    /// Page cache.
    pub(super) page_cache_bytes: u64,
    /// Charged without inactive page cache, as the kubelet counts.
    pub(super) working_set_bytes: u64,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct SpikeRow<'a> {
    /// When it was at its highest.
    pub(super) at_ms: f64,
    /// The phase that it was in.
    pub(super) phase: Option<&'a str>,
    /// How much it rose above what was before.
    pub(super) rise_bytes: u64,
    /// How high it came.
    pub(super) peak_bytes: u64,
    /// How long it lasted.
    pub(super) length_ms: f64,
    /// Requests in flight then.
    pub(super) in_flight: Option<u64>,
    /// Steps that may have caused it, the likeliest first.
    pub(super) suspects: Vec<SuspectRow<'a>>,
    /// What else changed around it.
    pub(super) change: Option<ChangeRow>,
    /// What happened close to it, in words.
    pub(super) near: &'a [String],
    /// The lines that the target printed nearest to its begin, within a second, at most five.
    pub(super) log_lines: Vec<LogLineRow<'a>>,
    /// What replaying the first suspect alone showed.
    pub(super) confirmed: Option<ConfirmedRow<'a>>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct LifeRow {
    /// When it was started.
    pub(super) start_ms: f64,
    /// How long it took to become ready.
    pub(super) ready_ms: Option<f64>,
    /// When it ended.
    pub(super) end_ms: Option<f64>,
    /// The exit code of its first process.
    pub(super) exit_code: Option<i64>,
    /// Its charged peak.
    pub(super) peak_bytes: u64,
    /// Its unreclaimable peak, upper bound.
    pub(super) unreclaimable_peak_bytes: u64,
    /// OOM kills in it.
    pub(super) oom_kills: u64,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct SamplerRow<'a> {
    /// The time between two readings, in microseconds.
    pub(super) tick_us: f64,
    /// Readings.
    pub(super) ticks: u64,
    /// Readings that were due and not made.
    pub(super) missed_ticks: u64,
    /// How late readings were, in microseconds.
    pub(super) lateness_us: Option<LatenessRow>,
    /// How the sampler's thread was scheduled.
    pub(super) scheduling: Option<SchedulingClass>,
    /// How peaks are known: `v2-reset`, `v1-reset`, `lifetime`, `sampled`, `docker-stats`.
    pub(super) peak_method: Option<&'static str>,
    /// The way that was taken: `direct`, `helper`, `read-only`, `docker-stats`, `native`.
    pub(super) via: Option<&'a str>,
    /// The sampler's CPU time, in percent of one core.
    pub(super) cpu_percent: Option<f64>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct GeneratorRow {
    /// The generator's CPU time, in percent of what it may use.
    pub(super) cpu_percent: Option<f64>,
    /// Its highest resident set.
    pub(super) rss_peak_bytes: u64,
    /// Whether it, and not the target, set the pace.
    pub(super) saturated: bool,
    /// The way that requests took.
    pub(super) path: GeneratorPath,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ThresholdRow<'a> {
    /// The metric, with its tags.
    pub(super) metric: &'a str,
    /// The rule.
    pub(super) rule: &'a str,
    /// What was measured, in the metric's own unit: bytes, milliseconds, a share of one, or a plain
    /// number.
    pub(super) value: Option<f64>,
    /// Whether it held; null where nothing was measured.
    pub(super) pass: Option<bool>,
    /// When it was first broken.
    pub(super) at_ms: Option<f64>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct CheckRow<'a> {
    /// What is asked.
    pub(super) question: &'static str,
    #[schemars(extend("enum" = ["yes", "no", "unknown"]))]
    /// `yes`, `no` or `unknown`.
    pub(super) answer: &'static str,
    /// What the answer rests on.
    pub(super) evidence: &'a str,
}
