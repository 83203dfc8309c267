//! The parts of `run.json` about where spikes come from.

use schemars::JsonSchema;
use serde::Serialize;

use super::json::{number, places};
use crate::analysis::{Change, Confirmed, Suspect};
use crate::event::PrintedLine;
use crate::units::Bytes;

/// A step that was in flight at a spike; see [`Suspect`].
#[derive(Serialize, JsonSchema)]
pub(super) struct SuspectRow<'a> {
    /// The scenario.
    scenario: &'a str,
    /// The step.
    step: &'a str,
    /// Its share of what was in flight, of one.
    share: f64,
    /// How many times as much of it there was as in windows of equal load without a spike.
    lift: Option<f64>,
    /// The most of it in flight at once.
    in_flight: u64,
    /// How many were sent in its busiest window.
    starts: u64,
    /// Bytes of their bodies.
    body_bytes_sent: u64,
    /// Bytes of its answers that ended in a window.
    bytes_received: u64,
    /// What its excess over the usual explains of the rise, where its cost is known.
    explains_bytes: Option<u64>,
}

/// What changed around a spike; see [`Change`].
#[derive(Serialize, JsonSchema)]
pub(super) struct ChangeRow {
    /// The time between the two readings.
    over_ms: f64,
    /// Threads more, or less.
    threads: i64,
    /// Descriptors more, or less.
    open_files: Option<i64>,
    /// Bytes printed.
    log_bytes: Option<u64>,
}

/// A line that the target printed; see [`PrintedLine`].
#[derive(Serialize, JsonSchema)]
pub(super) struct LogLineRow<'a> {
    /// When it came in, a moment after it was printed.
    at_ms: f64,
    /// Its text: secrets masked, control characters left out, cut after 512 bytes.
    text: &'a str,
}

pub(super) fn log_line(row: &PrintedLine) -> LogLineRow<'_> {
    LogLineRow { at_ms: number(row.at.as_millis_f64()), text: &row.text }
}

/// What replaying the suspect showed; see [`Confirmed`].
#[derive(Serialize, JsonSchema)]
pub(super) struct ConfirmedRow<'a> {
    /// Whether it was it: `yes`, `no` or `unclear`.
    was_it: &'static str,
    /// How much memory rose when it was replayed alone.
    rise_bytes: Option<u64>,
    /// That over the spike, of one.
    share: Option<f64>,
    /// How many of it were in flight at once.
    in_flight: Option<u64>,
    /// How many were sent at once.
    wanted: u64,
    /// Why nothing can be said.
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
