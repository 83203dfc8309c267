//! The parts of `run.json` about growth, and about recovery from bursts.

use schemars::JsonSchema;
use serde::Serialize;

use crate::analysis::{Back, Driver, Growth, Recovery, ResourceGrowth};

/// How memory grew; see [`Growth`].
#[derive(Serialize, JsonSchema)]
pub(super) struct GrowthRow<'a> {
    class: &'static str,
    bytes_per_hour: Option<f64>,
    ci95: Option<[f64; 2]>,
    bytes_per_request: Option<f64>,
    /// The earliest; the whole interval follows.
    hours_to_limit: Option<f64>,
    hours_to_limit_ci95: Option<[f64; 2]>,
    bytes_per_request_ci95: Option<[f64; 2]>,
    phase: &'a str,
    cycles: usize,
    cycle_ms: f64,
    by_bursts: bool,
    floor_first_bytes: u64,
    floor_last_bytes: u64,
    rise_bytes: f64,
    p_value: Option<f64>,
    driven_by: Option<&'static str>,
    more_cycles: Option<usize>,
    resources: Vec<ResourceRow>,
    /// Bytes printed and written, summed up: a line is steady writing.
    written: Vec<ResourceRow>,
    log_bytes_per_hour: Option<f64>,
    disk_bytes_per_hour: Option<f64>,
}

#[derive(Serialize, JsonSchema)]
struct ResourceRow {
    name: &'static str,
    class: &'static str,
    first: f64,
    last: f64,
    per_hour: Option<f64>,
    per_request: Option<f64>,
    driven_by: Option<&'static str>,
}

/// How a phase got over its bursts; see [`Recovery`].
#[derive(Serialize, JsonSchema)]
pub(super) struct RecoveryRow {
    bursts: usize,
    recovered: usize,
    /// Bursts after which something was not back before the next one.
    never: usize,
    median_ms: Option<f64>,
    worst_ms: Option<f64>,
    memory: BackRow,
    in_flight: BackRow,
    latency: BackRow,
}

#[derive(Serialize, JsonSchema)]
struct BackRow {
    worst_ms: Option<f64>,
    never: usize,
}

pub(super) fn recovery(row: &Recovery) -> RecoveryRow {
    let back = |row: &Back| BackRow { worst_ms: row.worst_ms, never: row.never };
    RecoveryRow {
        bursts: row.bursts,
        recovered: row.recovered,
        never: row.bursts - row.recovered,
        median_ms: row.median_ms,
        worst_ms: row.worst_ms,
        memory: back(&row.memory),
        in_flight: back(&row.in_flight),
        latency: back(&row.latency),
    }
}

pub(super) fn growth(row: &Growth) -> GrowthRow<'_> {
    let pair = |(low, high)| [low, high];
    GrowthRow {
        class: row.class.name(),
        bytes_per_hour: row.bytes_per_hour,
        ci95: row.ci95.map(pair),
        bytes_per_request: row.bytes_per_request,
        hours_to_limit: row.hours_to_limit.map(|hours| hours.0),
        hours_to_limit_ci95: row.hours_to_limit.map(pair),
        bytes_per_request_ci95: row.bytes_per_request_ci95.map(pair),
        phase: &row.phase,
        cycles: row.cycles,
        cycle_ms: 1e3 * row.cycle.as_secs_f64(),
        by_bursts: row.by_bursts,
        floor_first_bytes: row.first.get(),
        floor_last_bytes: row.last.get(),
        rise_bytes: row.rise,
        p_value: row.p,
        driven_by: row.driver.map(Driver::name),
        more_cycles: row.more_cycles,
        resources: row.resources.iter().map(resource).collect(),
        written: row.written.iter().map(resource).collect(),
        log_bytes_per_hour: row.log_bytes_per_hour,
        disk_bytes_per_hour: row.disk_bytes_per_hour,
    }
}

fn resource(row: &ResourceGrowth) -> ResourceRow {
    ResourceRow {
        name: row.name,
        class: row.class.name(),
        first: row.first,
        last: row.last,
        per_hour: row.per_hour,
        per_request: row.per_request,
        driven_by: row.driver.map(Driver::name),
    }
}
