//! The parts of `run.json` about growth, and about recovery from bursts.

use schemars::JsonSchema;
use serde::Serialize;

use crate::analysis::{Back, Driver, Growth, Recovery, ResourceGrowth};

/// How memory grew; see [`Growth`].
#[derive(Serialize, JsonSchema)]
pub(super) struct GrowthRow<'a> {
    /// `flat`, `settles`, `retained`, `leak` or `unclear`.
    class: &'static str,
    /// The slope of the floors, in bytes an hour.
    bytes_per_hour: Option<f64>,
    /// Its interval of 95 %.
    ci95: Option<[f64; 2]>,
    /// The slope of the floors on requests, in bytes a request.
    bytes_per_request: Option<f64>,
    /// The earliest; the whole interval follows.
    hours_to_limit: Option<f64>,
    /// From the end of the run until the limit is full, earliest and latest, in hours.
    hours_to_limit_ci95: Option<[f64; 2]>,
    /// The interval of 95 % of bytes a request.
    bytes_per_request_ci95: Option<[f64; 2]>,
    /// The phase.
    phase: &'a str,
    /// Floors that were compared.
    cycles: usize,
    /// From one floor to the next.
    cycle_ms: f64,
    /// Whether a cycle is a burst, or else an equal part of the phase.
    by_bursts: bool,
    /// The first floor, before the first burst where there are bursts.
    floor_first_bytes: u64,
    /// The last floor.
    floor_last_bytes: u64,
    /// From the first to the last; below zero where memory fell.
    rise_bytes: f64,
    /// The p-value that there is no trend (Mann-Kendall, corrected by Hamed and Rao).
    p_value: Option<f64>,
    /// What it goes along with: `traffic` or `time`; null where that can not be told.
    driven_by: Option<&'static str>,
    /// Where it is unclear: so many more cycles would tell.
    more_cycles: Option<usize>,
    /// The same for threads, descriptors and sockets.
    resources: Vec<ResourceRow>,
    /// Bytes printed and written, summed up: a line is steady writing.
    written: Vec<ResourceRow>,
    /// Bytes printed an hour.
    log_bytes_per_hour: Option<f64>,
    /// Bytes written to block devices an hour.
    disk_bytes_per_hour: Option<f64>,
}

#[derive(Serialize, JsonSchema)]
struct ResourceRow {
    /// Of what: `open_files`, `threads`, `sockets`, `log_bytes`, `disk_bytes`.
    name: &'static str,
    /// `flat`, `settles`, `retained`, `leak` or `unclear`.
    class: &'static str,
    /// The first floor.
    first: f64,
    /// The last floor.
    last: f64,
    /// The slope, per hour.
    per_hour: Option<f64>,
    /// The slope, per request.
    per_request: Option<f64>,
    /// What it goes along with: `traffic` or `time`.
    driven_by: Option<&'static str>,
}

/// How a phase got over its bursts; see [`Recovery`].
#[derive(Serialize, JsonSchema)]
pub(super) struct RecoveryRow {
    /// Bursts that were looked at.
    bursts: usize,
    /// Bursts after which all was back before the next one.
    recovered: usize,
    /// Bursts after which something was not back before the next one.
    never: usize,
    /// The median of the time to recover.
    median_ms: Option<f64>,
    /// The longest time to recover.
    worst_ms: Option<f64>,
    /// Memory.
    memory: BackRow,
    /// Requests in flight.
    in_flight: BackRow,
    /// Latency.
    latency: BackRow,
}

#[derive(Serialize, JsonSchema)]
struct BackRow {
    /// The longest time until it was back.
    worst_ms: Option<f64>,
    /// Bursts after which it was not back before the next one.
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
