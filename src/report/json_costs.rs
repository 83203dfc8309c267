//! The part of `run.json` about what requests cost.

use schemars::JsonSchema;
use serde::Serialize;

use super::json::{number, places};
use crate::analysis::{Costs, Estimate, StepCost};
use crate::units::Bytes;

/// What one request of a step costs; see [`StepCost`].
#[derive(Serialize, JsonSchema)]
pub(super) struct CostRow<'a> {
    /// The scenario.
    scenario: &'a str,
    /// The step.
    step: &'a str,
    /// What one request holds while it is in flight.
    bytes_per_in_flight: Option<f64>,
    /// Its interval of 95 %.
    ci95: Option<[f64; 2]>,
    /// Why it is not known.
    why: Option<&'a str>,
    /// Windows in which the step was in flight.
    samples: u64,
    /// Its mean memory as a share of that of all steps, of one.
    share: Option<f64>,
    /// How many fit under the limit at once.
    at_once: Option<u64>,
    /// How many fit at the upper end of the interval.
    at_once_at_least: Option<u64>,
    /// What one request leaves behind for good.
    bytes_left_per_request: Option<f64>,
    /// Its interval of 95 %.
    bytes_left_ci95: Option<[f64; 2]>,
    /// Why that is not known.
    left_why: Option<&'a str>,
}

/// What all of them rest on.
#[derive(Serialize, JsonSchema)]
pub(super) struct CostsBasisRow {
    /// What is held with nothing in flight, towards the run's end.
    floor_bytes: Option<u64>,
    /// Windows of memory that could be set against traffic.
    windows: u64,
}

pub(super) fn costs(row: &Costs) -> Vec<CostRow<'_>> {
    row.steps.iter().map(cost).collect()
}

pub(super) fn basis(row: &Costs) -> CostsBasisRow {
    CostsBasisRow { floor_bytes: row.floor.map(Bytes::get), windows: row.windows }
}

fn cost(row: &StepCost) -> CostRow<'_> {
    let interval = |row: Estimate| [number(row.low), number(row.high)];
    CostRow {
        scenario: &row.name.scenario,
        step: &row.name.step,
        bytes_per_in_flight: row.in_flight.and_then(|row| places(row.value)),
        ci95: row.in_flight.map(interval),
        why: row.why.as_deref(),
        samples: row.samples,
        share: row.share.and_then(places),
        at_once: row.at_once.map(|fit| fit.likely),
        at_once_at_least: row.at_once.map(|fit| fit.at_least),
        bytes_left_per_request: row.left.and_then(|row| places(row.value)),
        bytes_left_ci95: row.left.map(interval),
        left_why: row.left_why.as_deref(),
    }
}
