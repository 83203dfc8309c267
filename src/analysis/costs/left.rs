//! What requests leave behind: how the floor rises with the requests that ended.

use super::Estimate;
use super::blocks::Sums;
use super::fit::Fit;
use crate::analysis::growth::{Driver, Growth, GrowthClass};

/// Bytes left behind by one request of each step; none where nothing stays, or it can't be told.
///
/// Only a leak is looked into, for what a cache keeps until it is full has no price a request.
pub(super) fn left(
    sums: &Sums,
    fit: Option<&Fit>,
    growth: Option<&Growth>,
) -> Vec<Option<Estimate>> {
    let nothing = vec![None; sums.steps.len()];
    let (Some(_), Some(growth)) = (fit, growth) else { return nothing };
    if growth.class != GrowthClass::Leak || growth.driver == Some(Driver::Time) {
        return nothing;
    }
    // One step alone: the growth says it already.
    if sums.steps.len() == 1 {
        let value = growth.bytes_per_request.zip(growth.bytes_per_request_ci95);
        return vec![value.map(|(value, (low, high))| Estimate {
            value: value.max(0.0),
            low: low.max(0.0),
            high: high.max(0.0),
        })];
    }
    nothing
}
