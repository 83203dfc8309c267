//! The part of `run.json` that is about the limit.

use schemars::JsonSchema;
use serde::Serialize;

use super::json::{places, size};
use crate::analysis::{SizeTrial, Sizing};
use crate::units::Bytes;

#[derive(Serialize, JsonSchema)]
pub(super) struct SizingRow<'a> {
    recommended_limit_bytes: Option<u64>,
    request_bytes: Option<u64>,
    verified: bool,
    reason: &'a str,
    margin_percent: Option<f64>,
    burst_spread_percent: Option<f64>,
    phases: &'a [String],
    /// Empty where nothing but this run was made.
    trials: Vec<SizeTrialRow<'a>>,
    /// All of a search; null for the estimate of one run.
    runs: Option<u32>,
    finished: Option<bool>,
    least_limit_bytes: Option<u64>,
    killed_limit_bytes: Option<u64>,
    thrashed_limit_bytes: Option<u64>,
    covered: &'a [String],
    not_covered: &'a [String],
}

#[derive(Serialize, JsonSchema)]
struct SizeTrialRow<'a> {
    limit_bytes: Option<u64>,
    /// Whether each run did.
    survived: bool,
    runs: u32,
    survived_runs: u32,
    killed_runs: u32,
    thrashed_runs: u32,
    reason: Option<&'a str>,
    unreclaimable_peak_bytes: Option<u64>,
    p99_ms: Option<f64>,
    psi_some_percent: Option<f64>,
    major_faults: Option<u64>,
    cpu_cores: Option<f64>,
    rate: Option<f64>,
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
