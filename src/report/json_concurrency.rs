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
    phases: &'a [String],
    /// What load is counted in: `users`, `rate` (requests due a second), `in_flight`.
    axis: &'static str,
    from: f64,
    to: f64,
    /// Why nothing is told: `little_range`, `too_short`.
    refused: Option<&'static str>,
    memory: Option<DependenceRow>,
    memory_given_back: Option<f64>,
    memory_leaks_anyway: bool,
    /// The load at which memory that is linear fills the limit, at the earliest and at the latest.
    limit_full_at: Option<[f64; 2]>,
    threads: Option<DependenceRow>,
    open_files: Option<DependenceRow>,
    sockets: Option<DependenceRow>,
    latency: Option<LatencyRow>,
    throughput: Option<ThroughputRow>,
    bound: BoundRow<'a>,
    /// `slows`, `sheds`, `both`, `fails`; null where there never was too much.
    overload: Option<&'static str>,
    levels: Vec<LevelRow>,
}

#[derive(Serialize, JsonSchema)]
struct DependenceRow {
    class: &'static str,
    first: f64,
    last: f64,
    per_unit: Option<f64>,
    ci95: Option<[f64; 2]>,
    levels: usize,
}

#[derive(Serialize, JsonSchema)]
struct LatencyRow {
    low_p50_ms: f64,
    low_p99_ms: f64,
    high_p50_ms: f64,
    high_p99_ms: f64,
    p50_factor: f64,
    p99_factor: f64,
    /// Whether the 99th percentile rose and the median did not.
    diverges: bool,
}

#[derive(Serialize, JsonSchema)]
struct ThroughputRow {
    highest: f64,
    highest_at: f64,
    saturates_at: Option<f64>,
    collapses_at: Option<f64>,
    at_end: f64,
}

#[derive(Serialize, JsonSchema)]
struct BoundRow<'a> {
    /// `nothing`, `cpu`, `io`, `pool`, `memory`, `unclear`.
    by: &'static str,
    evidence: &'a [String],
}

#[derive(Serialize, JsonSchema)]
struct LevelRow {
    load: f64,
    in_flight: Option<f64>,
    memory_bytes: Option<f64>,
    memory_peak_bytes: Option<f64>,
    threads: Option<f64>,
    open_files: Option<f64>,
    sockets: Option<f64>,
    throughput: Option<f64>,
    requests: u64,
    failed: u64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    cpu_cores: Option<f64>,
    throttled_percent: Option<f64>,
    cpu_wait_percent: Option<f64>,
    memory_wait_percent: Option<f64>,
    io_wait_percent: Option<f64>,
}

/// A way in which requests of a phase failed; see [`FailurePattern`].
#[derive(Serialize, JsonSchema)]
pub(super) struct FailingRow<'a> {
    kind: &'static str,
    text: &'a str,
    at_ms: Option<f64>,
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
