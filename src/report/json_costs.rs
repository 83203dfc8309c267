//! The part of `run.json` about what requests cost.

use schemars::JsonSchema;
use serde::Serialize;

use super::json::{number, places};
use crate::analysis::{Costs, Estimate, StepCost};
use crate::units::Bytes;

/// What one request of a step costs; see [`StepCost`].
#[derive(Serialize, JsonSchema)]
pub(super) struct CostRow<'a> {
    scenario: &'a str,
    step: &'a str,
    bytes_per_in_flight: Option<f64>,
    ci95: Option<[f64; 2]>,
    why: Option<&'a str>,
    samples: u64,
    share: Option<f64>,
    at_once: Option<u64>,
    at_once_at_least: Option<u64>,
    bytes_left_per_request: Option<f64>,
    bytes_left_ci95: Option<[f64; 2]>,
    left_why: Option<&'a str>,
}

/// What all of them rest on.
#[derive(Serialize, JsonSchema)]
pub(super) struct CostsBasisRow {
    floor_bytes: Option<u64>,
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
