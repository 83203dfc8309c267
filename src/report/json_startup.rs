//! The part of `run.json` about startup trials.

use schemars::JsonSchema;
use serde::Serialize;

use super::json::{number, places, size};
use crate::analysis::{Spread, Startup, Trial};
use crate::event::TrialsEnd;
use crate::units::Bytes;

/// Startup over its trials; see [`Startup`].
#[derive(Serialize, JsonSchema)]
pub(super) struct StartupRow {
    /// The trials, in order.
    trials: Vec<TrialRow>,
    /// How many there were to be at most.
    planned_trials: Option<u32>,
    /// Why there were no more: `complete`, `steady`, `killed`, `failed`, `interrupted`.
    stopped: Option<&'static str>,
    /// The highest charged peak of the trials.
    peak_bytes: Option<u64>,
    /// The highest settled level of the trials.
    settled_bytes: Option<u64>,
    /// The highest unreclaimable peak, upper bound.
    unreclaimable_peak_bytes: Option<u64>,
    /// The unreclaimable peak over the settled level.
    ratio: Option<f64>,
    /// The time to ready over the trials, in milliseconds.
    ready_ms: Option<SpreadRow>,
    /// What the trials had, from the least to the most.
    spread: Spreads,
    /// The unreclaimable peak in percent of the limit.
    limit_percent: Option<f64>,
    /// The unreclaimable peak over that of the run's phases.
    over_run_ratio: Option<f64>,
    /// The unreclaimable peak of the run's phases.
    run_peak_bytes: Option<u64>,
    /// Whether the first trial found less of its files in page cache than later ones.
    first_trial_cold: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
#[expect(clippy::struct_field_names, reason = "as the same values are named elsewhere")]
struct Spreads {
    /// Charged peaks.
    peak_bytes: Option<SpreadRow>,
    /// Unreclaimable peaks, upper bound.
    unreclaimable_peak_bytes: Option<SpreadRow>,
    /// Settled levels.
    settled_bytes: Option<SpreadRow>,
}

#[derive(Serialize, JsonSchema)]
struct SpreadRow {
    /// The least.
    min: f64,
    /// The median.
    median: f64,
    /// The most.
    max: f64,
    /// Trials that it is of.
    trials: usize,
}

#[derive(Serialize, JsonSchema)]
struct TrialRow {
    /// From the program (else the container) started to ready.
    ready_ms: Option<f64>,
    /// The charged peak from exec until settled.
    peak_bytes: Option<u64>,
    /// The highest resident set.
    rss_peak_bytes: Option<u64>,
    /// The unreclaimable peak, upper bound.
    unreclaimable_peak_bytes: Option<u64>,
    /// Unreclaimable memory (lower bound) at the end of the time to settle.
    settled_bytes: Option<u64>,
    /// The charged peak before exec, which is the container runtime's own.
    before_exec_bytes: Option<u64>,
    /// Whether it was OOM-killed.
    killed: bool,
    /// Its number; a trial that was repeated without a limit has the same one.
    trial: u32,
    /// Its memory limit; null is none.
    limit_bytes: Option<u64>,
    /// Page faults until ready that waited for a device.
    major_faults: Option<u64>,
    /// Page cache charged to it when it was ready.
    cache_bytes: Option<u64>,
}

pub(super) fn startup(row: &Startup) -> StartupRow {
    let spread = &row.spread;
    StartupRow {
        trials: row.trials.iter().map(trial).collect(),
        planned_trials: row.planned,
        stopped: row.end.map(TrialsEnd::name),
        peak_bytes: row.peak.map(Bytes::get),
        settled_bytes: row.settled.map(Bytes::get),
        unreclaimable_peak_bytes: row.unreclaimable_peak.map(Bytes::get),
        ratio: row.ratio.and_then(places),
        ready_ms: spread.ready_ms.map(spread_row),
        spread: Spreads {
            peak_bytes: spread.peak.map(spread_row),
            unreclaimable_peak_bytes: spread.unreclaimable_peak.map(spread_row),
            settled_bytes: spread.settled.map(spread_row),
        },
        limit_percent: row.limit_percent.and_then(places),
        over_run_ratio: row.over_run().and_then(places),
        run_peak_bytes: row.run_peak.map(Bytes::get),
        first_trial_cold: row.first_was_cold,
    }
}

fn spread_row(row: Spread) -> SpreadRow {
    let (min, median, max) = (number(row.min), number(row.median), number(row.max));
    SpreadRow { min, median, max, trials: row.count }
}

fn trial(row: &Trial) -> TrialRow {
    TrialRow {
        ready_ms: row.ready_ms.and_then(places),
        peak_bytes: row.peak.map(Bytes::get),
        rss_peak_bytes: row.rss_peak.map(Bytes::get),
        unreclaimable_peak_bytes: row.unreclaimable_peak.map(Bytes::get),
        settled_bytes: row.settled.map(Bytes::get),
        before_exec_bytes: row.before_exec.map(Bytes::get),
        killed: row.killed,
        trial: row.number,
        limit_bytes: size(row.limit),
        major_faults: row.major_faults,
        cache_bytes: row.cache.map(Bytes::get),
    }
}
