//! The part of `run.json` that is about the target beside its memory.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::json::{ms, number, places};
use crate::analysis::{ProcessPeak, Vital, Written};
use crate::event::IoSource;
use crate::units::Bytes;

#[derive(Serialize, JsonSchema)]
pub(super) struct VitalRow<'a> {
    /// CPU time per wall time, in cores.
    cpu_cores: Option<f64>,
    /// The share of CPU periods that were throttled, in percent.
    throttled_percent: Option<f64>,
    /// The most threads.
    threads_max: u32,
    /// The most open descriptors.
    open_files_max: Option<u32>,
    /// How long some task waited for memory.
    psi_some_ms: Option<f64>,
    /// How long all tasks waited for memory.
    psi_full_ms: Option<f64>,
    /// How long some task waited for a CPU.
    cpu_psi_ms: Option<f64>,
    /// How long some task waited for I/O.
    io_psi_ms: Option<f64>,
    /// CPU time in user space, in cores.
    cpu_user_cores: Option<f64>,
    /// CPU time in the kernel, in cores.
    cpu_system_cores: Option<f64>,
    /// CPU time on each core, in cores.
    cpu_per_core: Option<Vec<f64>>,
    /// CPU periods that were throttled.
    throttled_periods: Option<u64>,
    /// The most processes.
    processes_max: u32,
    /// The most sockets in each state.
    sockets_max: Option<&'a BTreeMap<String, u32>>,
    /// Bytes read from block devices.
    read_bytes: Option<u64>,
    /// Bytes written to block devices.
    written_bytes: Option<u64>,
    /// Who counted the two.
    io_source: Option<IoSource>,
    /// Reads of block devices.
    read_operations: Option<u64>,
    /// Writes to block devices.
    write_operations: Option<u64>,
    /// Bytes printed.
    log_bytes: Option<u64>,
    /// Page faults.
    page_faults: Option<u64>,
    /// Page faults that waited for a device.
    major_faults: Option<u64>,
    /// Pages that were read again after they had been given back.
    refaults: Option<u64>,
    /// How often `memory.high` was passed.
    high_events: Option<u64>,
    /// How often the limit was met.
    max_events: Option<u64>,
    /// The most swap.
    swap_peak_bytes: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ProcessRow<'a> {
    /// Its number on the host.
    pid: i32,
    /// Its name.
    name: &'a str,
    /// The life that it belonged to.
    life: u32,
    /// Its highest resident set.
    rss_peak_bytes: u64,
    /// When that was seen.
    at_ms: f64,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct WrittenRow {
    /// Bytes printed.
    log_bytes: Option<u64>,
    /// How much the container's writable layer grew.
    layer_bytes: Option<u64>,
    /// Bytes written to block devices.
    disk_bytes: Option<u64>,
    /// Who counted those.
    disk_source: Option<IoSource>,
}

pub(super) fn vital(row: &Vital) -> VitalRow<'_> {
    let cores = |cores: &Vec<f64>| cores.iter().map(|share| number(*share)).collect();
    VitalRow {
        cpu_cores: row.cpu_cores.and_then(places),
        throttled_percent: row.throttled_percent.and_then(places),
        threads_max: row.threads_max,
        open_files_max: row.open_files_max,
        psi_some_ms: row.psi_some_ms.and_then(places),
        psi_full_ms: row.psi_full_ms.and_then(places),
        cpu_psi_ms: row.cpu_psi_ms.and_then(places),
        io_psi_ms: row.io_psi_ms.and_then(places),
        cpu_user_cores: row.cpu_user_cores.and_then(places),
        cpu_system_cores: row.cpu_system_cores.and_then(places),
        cpu_per_core: row.cpu_per_core.as_ref().map(cores),
        throttled_periods: row.throttled_periods,
        processes_max: row.processes_max,
        sockets_max: row.sockets_max.as_ref(),
        read_bytes: row.read_bytes,
        written_bytes: row.written_bytes,
        io_source: row.io_source,
        read_operations: row.reads,
        write_operations: row.writes,
        log_bytes: row.log_bytes,
        page_faults: row.page_faults,
        major_faults: row.major_faults,
        refaults: row.refaults,
        high_events: row.high_events,
        max_events: row.max_events,
        swap_peak_bytes: row.swap_peak.map(Bytes::get),
    }
}

pub(super) fn process(row: &ProcessPeak) -> ProcessRow<'_> {
    ProcessRow {
        pid: row.pid,
        name: &row.name,
        life: row.life,
        rss_peak_bytes: row.rss_peak.get(),
        at_ms: ms(row.at),
    }
}

pub(super) const fn written(row: Written) -> WrittenRow {
    let Written { log_bytes, layer_bytes, disk_bytes, disk_source } = row;
    WrittenRow { log_bytes, layer_bytes, disk_bytes, disk_source }
}
