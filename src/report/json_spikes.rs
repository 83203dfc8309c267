//! The parts of `run.json` about where spikes come from.

use schemars::JsonSchema;
use serde::Serialize;

use super::json::{number, places};
use crate::analysis::{Change, Confirmed, Suspect};
use crate::units::Bytes;

/// A step that was in flight at a spike; see [`Suspect`].
#[derive(Serialize, JsonSchema)]
pub(super) struct SuspectRow<'a> {
    scenario: &'a str,
    step: &'a str,
    share: f64,
    lift: Option<f64>,
    in_flight: u64,
    starts: u64,
    body_bytes_sent: u64,
    bytes_received: u64,
    explains_bytes: Option<u64>,
}

/// What changed around a spike; see [`Change`].
#[derive(Serialize, JsonSchema)]
pub(super) struct ChangeRow {
    over_ms: f64,
    threads: i64,
    open_files: Option<i64>,
    log_bytes: Option<u64>,
}

/// What replaying the suspect showed; see [`Confirmed`].
#[derive(Serialize, JsonSchema)]
pub(super) struct ConfirmedRow<'a> {
    was_it: &'static str,
    rise_bytes: Option<u64>,
    share: Option<f64>,
    in_flight: Option<u64>,
    wanted: u64,
    why: Option<&'a str>,
}

pub(super) fn suspect(row: &Suspect) -> SuspectRow<'_> {
    SuspectRow {
        scenario: &row.scenario,
        step: &row.step,
        share: number(row.share),
        lift: row.lift.and_then(places),
        in_flight: row.in_flight,
        starts: row.starts,
        body_bytes_sent: row.body_bytes_sent.get(),
        bytes_received: row.bytes_received.get(),
        explains_bytes: row.explains.map(Bytes::get),
    }
}

pub(super) fn change(row: Change) -> ChangeRow {
    ChangeRow {
        over_ms: number(row.over.as_secs_f64() * 1e3),
        threads: row.threads,
        open_files: row.open_files,
        log_bytes: row.log_bytes,
    }
}

pub(super) fn confirmed(row: &Confirmed) -> ConfirmedRow<'_> {
    ConfirmedRow {
        was_it: row.was_it.name(),
        rise_bytes: row.rise.map(Bytes::get),
        share: row.share.and_then(places),
        in_flight: row.in_flight,
        wanted: row.wanted,
        why: row.why.as_deref(),
    }
}
