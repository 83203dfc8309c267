//! What requests cost, and what a replay showed, in the words of the summary and of Markdown.

use std::fmt::Write;

use super::text;
use crate::analysis::{Confirmed, Costs, Estimate, SpikeFinding, StepCost, WasIt};
use crate::units::Bytes;

/// One line for each step, and one on why nothing can be told.
pub(super) fn lines(costs: &Costs) -> Vec<String> {
    let mut lines: Vec<String> = costs.steps.iter().map(step).collect();
    if costs.steps.is_empty() {
        lines.extend(costs.refused.clone());
    }
    lines
}

fn step(row: &StepCost) -> String {
    let name = &row.name;
    let Some(cost) = row.in_flight else {
        let why = row.why.as_deref().unwrap_or("it was not in flight");
        return format!("{name}: can't be told: {why}");
    };
    let mut words = format!("{name}: {} each in flight", sized(&cost));
    if let Some(fit) = row.at_once {
        let (likely, least) = (fit.likely, fit.at_least);
        // Writing to a string never fails.
        let _ = write!(words, ", about {likely} at once under the limit (at least {least})");
    }
    if let Some(left) = row.left {
        let _ = write!(words, "; {} left behind by each", sized(&left));
    }
    if let Some(why) = &row.left_why {
        let _ = write!(words, "; what it leaves behind can't be told: {why}");
    }
    words
}

fn sized(row: &Estimate) -> String {
    let (value, low, high) = (bytes(row.value), bytes(row.low), bytes(row.high));
    format!("{value} ({low} to {high})")
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at 0")]
fn bytes(value: f64) -> Bytes {
    Bytes::new(value.round() as u64)
}

/// What replaying the first suspect of a spike showed; none where that was not done.
pub(super) fn confirmed(spike: &SpikeFinding) -> Option<String> {
    let (row, suspect) = (spike.confirmed.as_ref()?, spike.suspects.first()?);
    let seen = spike.rise;
    let rise = row.rise.map_or_else(|| "not known".to_owned(), |rise| format!("+{rise}"));
    let share = row.share.map_or_else(String::new, |share| {
        format!(", {} of the +{seen} seen", text::percent(100.0 * share))
    });
    let answer = match row.was_it {
        WasIt::Yes => "it was this step",
        WasIt::No => "it was not this step alone",
        WasIt::Unclear => "unclear whether it was this step",
    };
    let why = row.why.as_deref().map_or_else(String::new, |why| format!("; {why}"));
    let (count, name) = (in_flight(row), &suspect.step);
    Some(format!("Replayed alone, {count} {name} at once: {rise}{share}: {answer}{why}"))
}

fn in_flight(row: &Confirmed) -> u64 {
    row.in_flight.unwrap_or(row.wanted)
}
