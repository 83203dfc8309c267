//! The part of `run.json` about what more load did.

use schemars::JsonSchema;
use serde::Serialize;

use super::json::{number, places};
use crate::analysis::{
    Concurrency, Dependence, Divergence, FailurePattern, LoadLevel, Overload, Refusal, Saturation,
};

/// What more load did; see [`Concurrency`].
#[derive(Serialize, JsonSchema)]
pub(super) struct ConcurrencyRow<'a> {
    /// The phase; null where several were compared.
    phase: Option<&'a str>,
    /// The phases that were compared.
    phases: &'a [String],
    /// What load is counted in: `users`, `rate` (requests due a second), `in_flight`.
    axis: &'static str,
    /// The least load.
    from: f64,
    /// The most load.
    to: f64,
    /// Why nothing is told: `little_range`, `too_short`.
    refused: Option<&'static str>,
    /// How unreclaimable memory depends on the load, in bytes.
    memory: Option<DependenceRow>,
    /// What share of the rise was given back when the load came down again.
    memory_given_back: Option<f64>,
    /// Whether memory leaks anyway, so that its rise need not be the doing of the load.
    memory_leaks_anyway: bool,
    /// The load at which memory that is linear fills the limit, at the earliest and at the latest.
    limit_full_at: Option<[f64; 2]>,
    /// How the number of threads depends on the load.
    threads: Option<DependenceRow>,
    /// How the number of descriptors depends on the load.
    open_files: Option<DependenceRow>,
    /// How the number of sockets depends on the load.
    sockets: Option<DependenceRow>,
    /// How latency depends on the load.
    latency: Option<LatencyRow>,
    /// How throughput depends on the load.
    throughput: Option<ThroughputRow>,
    /// What bounds throughput.
    bound: BoundRow<'a>,
    /// `slows`, `sheds`, `both`, `fails`; null where there never was too much.
    overload: Option<&'static str>,
    /// What was measured at each level of load, the least first.
    levels: Vec<LevelRow>,
}

#[derive(Serialize, JsonSchema)]
struct DependenceRow {
    /// `flat`, `settles`, `linear` or `unclear`.
    class: &'static str,
    /// At the least load.
    first: f64,
    /// At the most load.
    last: f64,
    /// More for each unit of load.
    per_unit: Option<f64>,
    /// Its interval of 95 %.
    ci95: Option<[f64; 2]>,
    /// Levels of load that it rests on.
    levels: usize,
}

#[derive(Serialize, JsonSchema)]
struct LatencyRow {
    /// The median under the lower third of the load.
    low_p50_ms: f64,
    /// The 99th percentile under the lower third of the load.
    low_p99_ms: f64,
    /// The median under the upper third of the load.
    high_p50_ms: f64,
    /// The 99th percentile under the upper third of the load.
    high_p99_ms: f64,
    /// How many times the median rose.
    p50_factor: f64,
    /// How many times the 99th percentile rose.
    p99_factor: f64,
    /// Whether the 99th percentile rose and the median did not.
    diverges: bool,
}

#[derive(Serialize, JsonSchema)]
struct ThroughputRow {
    /// The highest, in successful requests a second.
    highest: f64,
    /// The load at which it was.
    highest_at: f64,
    /// The load from which on it hardly rises.
    saturates_at: Option<f64>,
    /// The load from which on it falls.
    collapses_at: Option<f64>,
    /// At the most load.
    at_end: f64,
}

#[derive(Serialize, JsonSchema)]
struct BoundRow<'a> {
    /// `nothing`, `cpu`, `io`, `pool`, `memory`, `unclear`.
    by: &'static str,
    /// What that rests on, in words.
    evidence: &'a [String],
}

#[derive(Serialize, JsonSchema)]
struct LevelRow {
    /// The load.
    load: f64,
    /// The most requests in flight in a window, at the median.
    in_flight: Option<f64>,
    /// The most unreclaimable memory in a window, lower bound, at the median.
    memory_bytes: Option<f64>,
    /// The most unreclaimable memory, upper bound.
    memory_peak_bytes: Option<f64>,
    /// Threads, at the median.
    threads: Option<f64>,
    /// Open descriptors, at the median.
    open_files: Option<f64>,
    /// Open sockets, at the median.
    sockets: Option<f64>,
    /// Requests that succeeded, a second.
    throughput: Option<f64>,
    /// Requests that ended.
    requests: u64,
    /// Of these, the failed ones.
    failed: u64,
    /// The median of latency.
    p50_ms: Option<f64>,
    /// The 99th percentile of latency.
    p99_ms: Option<f64>,
    /// CPU time per wall time, in cores.
    cpu_cores: Option<f64>,
    /// The share of CPU periods that were throttled, in percent.
    throttled_percent: Option<f64>,
    /// The share of time in which some task waited for a CPU, in percent.
    cpu_wait_percent: Option<f64>,
    /// The same for memory, in percent.
    memory_wait_percent: Option<f64>,
    /// The same for I/O, in percent.
    io_wait_percent: Option<f64>,
}

/// A way in which requests of a phase failed; see [`FailurePattern`].
#[derive(Serialize, JsonSchema)]
pub(super) struct FailingRow<'a> {
    /// Which way: `rate_limited`, `unavailable_burst`, `errors_grow`, `before_saturation`.
    kind: &'static str,
    /// What happened, in words.
    text: &'a str,
    /// Since when.
    at_ms: Option<f64>,
    /// From which load on.
    from_load: Option<f64>,
}

pub(super) fn concurrency(row: &Concurrency) -> ConcurrencyRow<'_> {
    let pair = |(low, high)| [number(low), number(high)];
    ConcurrencyRow {
        phase: match row.phases.as_slice() {
            [only] => Some(only),
            _ => None,
        },
        phases: &row.phases,
        axis: row.axis.name(),
        from: number(row.range.0),
        to: number(row.range.1),
        refused: row.refused.map(Refusal::name),
        memory: row.memory.map(dependence),
        memory_given_back: row.given_back.and_then(places),
        memory_leaks_anyway: row.leaks_anyway,
        limit_full_at: row.limit_full_at.map(pair),
        threads: row.threads.map(dependence),
        open_files: row.open_files.map(dependence),
        sockets: row.sockets.map(dependence),
        latency: row.latency.as_ref().map(latency),
        throughput: row.throughput.as_ref().map(throughput),
        bound: BoundRow { by: row.bound.by.name(), evidence: &row.bound.evidence },
        overload: row.overload.map(Overload::name),
        levels: row.levels.iter().map(level).collect(),
    }
}

fn dependence(row: Dependence) -> DependenceRow {
    DependenceRow {
        class: row.class.name(),
        first: number(row.first),
        last: number(row.last),
        per_unit: row.per_unit.and_then(places),
        ci95: row.ci95.map(|(low, high)| [number(low), number(high)]),
        levels: row.levels,
    }
}

fn latency(row: &Divergence) -> LatencyRow {
    LatencyRow {
        low_p50_ms: number(row.low_ms.0),
        low_p99_ms: number(row.low_ms.1),
        high_p50_ms: number(row.high_ms.0),
        high_p99_ms: number(row.high_ms.1),
        p50_factor: number(row.p50_factor()),
        p99_factor: number(row.p99_factor()),
        diverges: row.is_apart(),
    }
}

fn throughput(row: &Saturation) -> ThroughputRow {
    ThroughputRow {
        highest: number(row.highest),
        highest_at: number(row.highest_at),
        saturates_at: row.from.and_then(places),
        collapses_at: row.collapses_from.and_then(places),
        at_end: number(row.at_end),
    }
}

fn level(row: &LoadLevel) -> LevelRow {
    LevelRow {
        load: number(row.load),
        in_flight: row.in_flight.and_then(places),
        memory_bytes: row.memory.and_then(places),
        memory_peak_bytes: row.memory_peak.and_then(places),
        threads: row.threads.and_then(places),
        open_files: row.open_files.and_then(places),
        sockets: row.sockets.and_then(places),
        throughput: row.throughput.and_then(places),
        requests: row.requests,
        failed: row.failed,
        p50_ms: row.p50_ms.and_then(places),
        p99_ms: row.p99_ms.and_then(places),
        cpu_cores: row.cpu_cores.and_then(places),
        throttled_percent: row.throttled.and_then(places),
        cpu_wait_percent: row.cpu_wait.and_then(places),
        memory_wait_percent: row.memory_wait.and_then(places),
        io_wait_percent: row.io_wait.and_then(places),
    }
}

pub(super) fn failing(row: &FailurePattern) -> FailingRow<'_> {
    FailingRow {
        kind: row.kind.name(),
        text: &row.text,
        at_ms: row.at.map(super::json::ms),
        from_load: row.from_load.and_then(places),
    }
}
