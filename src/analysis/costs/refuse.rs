//! When a cost can't be told, why, and what would help.

use super::blocks::Sums;
use super::fit::Fit;
use super::{Estimate, StepCost};
use crate::analysis::model::StepName;
use crate::units::Bytes;

/// Steps whose variance is inflated so much go together, unless the interval is narrow all the same.
pub(super) const TOGETHER: f64 = 10.0;
/// And those are never told apart.
pub(super) const ALWAYS_TOGETHER: f64 = 1000.0;
/// An interval that reaches further than this share of the value to either side says too little.
pub(super) const WIDE: f64 = 0.5;
/// But a step that could take no more than this share of the memory in flight is as good as known.
pub(super) const SMALL: f64 = 0.05;
/// As many equally busy stretches have to speak for a step.
const LEAST_STRETCHES: f64 = 3.0;

/// Why nothing at all can be said where the means are missing.
pub(super) const fn no_means() -> &'static str {
    "the recording holds no means of memory and traffic for the same time"
}

/// Why a run was too short.
pub(super) fn too_short(sums: &Sums) -> String {
    let windows = sums.rows;
    format!("{windows} windows with traffic are too few: make the phases longer")
}

/// A step's cost, or why it can't be told.
pub(super) fn judge(
    fit: &Fit,
    index: usize,
    sums: &Sums,
    names: &dyn Fn(usize) -> Option<StepName>,
) -> Result<Estimate, String> {
    let scenario = names(index).map_or_else(String::new, |name| name.scenario);
    let Some(step) = fit.steps.get(index).copied().flatten() else {
        return Err(format!("its number in flight never changed: let `{scenario}` come in bursts"));
    };
    let estimate = step.estimate;
    if step.stretches < LEAST_STRETCHES {
        return Err(format!(
            "it was in flight too seldom: let `{scenario}` come more often, or for longer"
        ));
    }
    let wide = (estimate.high - estimate.low) / 2.0 > WIDE * estimate.value;
    let together = step.inflation > ALWAYS_TOGETHER || (step.inflation > TOGETHER && wide);
    if together {
        let partner = step.partner.and_then(names);
        let other = partner.map_or_else(|| "others".to_owned(), |name| format!("`{name}`"));
        return Err(format!(
            "it was in flight at the same times as {other}: add a phase with only `{scenario}`, \
             or let them burst at different times"
        ));
    }
    if wide && !is_small(fit, index, sums) {
        return Err(format!(
            "memory moved too little with it to tell ({} to {} each): let `{scenario}` come in \
             bursts, or in larger ones",
            size(estimate.low),
            size(estimate.high)
        ));
    }
    Ok(estimate)
}

/// Whether even by the upper end of its interval a step takes a small share of the memory.
fn is_small(fit: &Fit, index: usize, sums: &Sums) -> bool {
    let all: f64 = fit.means.iter().zip(&sums.in_flight).map(|(cost, sum)| cost * sum).sum();
    let most = fit.steps[index].map_or(0.0, |step| step.estimate.high) * sums.in_flight[index];
    most <= SMALL * all
}

/// The reason for all, where no step's cost can be told.
pub(super) fn all(steps: &[StepCost], beyond: bool) -> Option<String> {
    let first = steps.first();
    if let Some(first) = first
        && steps.iter().all(|step| step.in_flight.is_none())
    {
        let why = first.why.as_deref().unwrap_or_default();
        return Some(format!("{}: {why}", first.name));
    }
    beyond.then(|| "there are more steps than can be told apart; some are left out".to_owned())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at 0")]
pub(super) const fn size(bytes: f64) -> Bytes {
    Bytes::new(bytes as u64)
}
