//! The part of `run.json` that is about the limit.

use schemars::JsonSchema;
use serde::Serialize;

use super::json::{places, size};
use crate::analysis::{SizeTrial, Sizing};
use crate::units::Bytes;

#[derive(Serialize, JsonSchema)]
pub(super) struct SizingRow<'a> {
    /// The limit; null where it can not be told.
    recommended_limit_bytes: Option<u64>,
    /// What a scheduler should set aside (a Kubernetes request).
    request_bytes: Option<u64>,
    /// Whether runs under the recommended limit have survived; without them it is a guess.
    verified: bool,
    /// How it came about, or why there is none.
    reason: &'a str,
    /// What it is above the memory that was needed, or above the least limit that survived, in
    /// percent.
    margin_percent: Option<f64>,
    /// By how much the highest burst was above the median one, in percent.
    burst_spread_percent: Option<f64>,
    /// The phases that it rests on.
    phases: &'a [String],
    /// Empty where nothing but this run was made.
    trials: Vec<SizeTrialRow<'a>>,
    /// All of a search; null for the estimate of one run.
    runs: Option<u32>,
    /// Of a search: whether it came to its own end.
    finished: Option<bool>,
    /// Of a search: the least limit all of whose runs survived.
    least_limit_bytes: Option<u64>,
    /// Of a search: the highest limit at which a run was killed.
    killed_limit_bytes: Option<u64>,
    /// Of a search: the highest limit at which a run survived, but worse than with room.
    thrashed_limit_bytes: Option<u64>,
    /// What it covers, in words.
    covered: &'a [String],
    /// What it does not cover, in words.
    not_covered: &'a [String],
}

#[derive(Serialize, JsonSchema)]
struct SizeTrialRow<'a> {
    /// The limit; null is none.
    limit_bytes: Option<u64>,
    /// Whether each run did.
    survived: bool,
    /// How many runs there were under it.
    runs: u32,
    /// How many survived.
    survived_runs: u32,
    /// How many were OOM-killed.
    killed_runs: u32,
    /// How many survived, but worse than with room.
    thrashed_runs: u32,
    /// Why the first one that did not survive did not.
    reason: Option<&'a str>,
    /// The most unreclaimable memory in a run, upper bound.
    unreclaimable_peak_bytes: Option<u64>,
    /// The highest 99th percentile of a phase's latency.
    p99_ms: Option<f64>,
    /// The greatest share of a phase in which some task waited for memory, in percent.
    psi_some_percent: Option<f64>,
    /// The most page faults that waited for a device in a run's phases.
    major_faults: Option<u64>,
    /// The greatest use of CPU in a phase, in cores.
    cpu_cores: Option<f64>,
    /// The least throughput of a phase, in requests a second.
    rate: Option<f64>,
    /// The directories of the runs, within that of the search.
    directories: &'a [String],
}

pub(super) fn sizing(row: &Sizing) -> SizingRow<'_> {
    let search = row.search.as_ref();
    let of = |bytes: Option<Bytes>| bytes.map(Bytes::get);
    SizingRow {
        recommended_limit_bytes: of(row.recommended),
        request_bytes: of(row.request),
        verified: row.verified,
        reason: &row.reason,
        margin_percent: row.margin_percent.and_then(places),
        burst_spread_percent: row.spread_percent.and_then(places),
        phases: &row.phases,
        trials: search.iter().flat_map(|search| &search.trials).map(trial).collect(),
        runs: search.map(|search| search.trials.iter().map(|row| row.runs).sum()),
        finished: search.map(|search| search.finished),
        least_limit_bytes: search.and_then(|search| of(search.least)),
        killed_limit_bytes: search.and_then(|search| of(search.cliff)),
        thrashed_limit_bytes: search.and_then(|search| of(search.knee)),
        covered: &row.covered,
        not_covered: &row.not_covered,
    }
}

fn trial(row: &SizeTrial) -> SizeTrialRow<'_> {
    SizeTrialRow {
        limit_bytes: size(row.limit),
        survived: row.survived == row.runs,
        runs: row.runs,
        survived_runs: row.survived,
        killed_runs: row.killed,
        thrashed_runs: row.thrashed,
        reason: row.reason.as_deref(),
        unreclaimable_peak_bytes: row.peak.map(Bytes::get),
        p99_ms: row.p99_ms.and_then(places),
        psi_some_percent: row.psi_percent.and_then(places),
        major_faults: row.major_faults,
        cpu_cores: row.cpu_cores.and_then(places),
        rate: row.rate.and_then(places),
        directories: &row.directories,
    }
}
