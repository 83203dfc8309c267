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
    cpu_cores: Option<f64>,
    throttled_percent: Option<f64>,
    threads_max: u32,
    open_files_max: Option<u32>,
    psi_some_ms: Option<f64>,
    psi_full_ms: Option<f64>,
    cpu_psi_ms: Option<f64>,
    io_psi_ms: Option<f64>,
    cpu_user_cores: Option<f64>,
    cpu_system_cores: Option<f64>,
    cpu_per_core: Option<Vec<f64>>,
    throttled_periods: Option<u64>,
    processes_max: u32,
    sockets_max: Option<&'a BTreeMap<String, u32>>,
    read_bytes: Option<u64>,
    written_bytes: Option<u64>,
    io_source: Option<IoSource>,
    read_operations: Option<u64>,
    write_operations: Option<u64>,
    log_bytes: Option<u64>,
    page_faults: Option<u64>,
    major_faults: Option<u64>,
    refaults: Option<u64>,
    high_events: Option<u64>,
    max_events: Option<u64>,
    swap_peak_bytes: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ProcessRow<'a> {
    pid: i32,
    name: &'a str,
    life: u32,
    rss_peak_bytes: u64,
    at_ms: f64,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct WrittenRow {
    log_bytes: Option<u64>,
    layer_bytes: Option<u64>,
    disk_bytes: Option<u64>,
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
