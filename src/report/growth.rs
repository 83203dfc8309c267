//! Growth and recovery in words, for the terminal and for Markdown.

use std::fmt::Write;

use super::text;
use crate::analysis::{Growth, GrowthClass, Recovery, ResourceGrowth};
use crate::units::Bytes;

/// Below so many hours they are told in minutes.
const HOURS_FROM: f64 = 2.0;

/// What kind of growth there was, and on what that rests.
pub(super) fn words(growth: &Growth) -> String {
    let mut words = format!("{} in {}: ", growth.class.name(), growth.phase);
    let (rise, over) = (signed(growth.rise), growth.over());
    // Writing to a string never fails.
    let _ = match growth.class {
        GrowthClass::Flat => write!(words, "the floor moved by {rise} over {over}"),
        GrowthClass::Settles => {
            write!(words, "the floor moved by {rise} over {over}, in the end hardly any more")
        }
        GrowthClass::Retained => {
            write!(words, "the floor moved by {rise} over {over}, and what stayed is used again")
        }
        GrowthClass::Leak => write!(words, "{}", leak(growth)),
        GrowthClass::Unclear => {
            let more = growth
                .more_cycles
                .map_or_else(String::new, |more| format!("; {more} more would tell"));
            write!(words, "the floor moved by {rise} over {over}{more}")
        }
    };
    for row in growth.resources.iter().filter(|row| row.class == GrowthClass::Leak) {
        let _ = write!(words, "; {}", resource(row));
    }
    words
}

/// How a phase got over its bursts.
pub(super) fn recovery(row: &Recovery) -> String {
    let mut words = format!("back after {} of {} bursts", row.recovered, row.bursts);
    // Writing to a string never fails.
    if let (Some(median), Some(worst)) = (row.median_ms, row.worst_ms) {
        let (median, worst) = (text::millis(median), text::millis(worst));
        let _ = write!(words, ", in {median} at the median, {worst} at worst");
    }
    for (what, back) in
        [("memory", row.memory), ("requests in flight", row.in_flight), ("latency", row.latency)]
    {
        if back.never > 0 {
            let _ = write!(words, "; {what} not after {}", back.never);
        }
    }
    words
}

/// A line's slope and where it leads.
pub(super) fn leak(growth: &Growth) -> String {
    let mut words = format!("the floor rose by {} over {}", signed(growth.rise), growth.over());
    if let (Some(rate), Some((low, high))) = (growth.bytes_per_hour, growth.ci95) {
        let (rate, low, high) = (signed(rate), signed(low), signed(high));
        let _ = write!(words, ", {rate}/h ({low} to {high})");
    }
    if let Some(bytes) = growth.bytes_per_request.filter(|bytes| *bytes > 0.0) {
        let _ = write!(words, ", {} a request", plain(bytes));
    }
    if let Some((earliest, latest)) = growth.hours_to_limit {
        let _ = write!(words, "; at the limit in {}", span(earliest, latest));
    }
    words
}

fn resource(row: &ResourceGrowth) -> String {
    let name = row.name.replace('_', " ");
    format!("{name} rose from {:.0} to {:.0} without end", row.first, row.last)
}

fn span(earliest: f64, latest: f64) -> String {
    if latest < HOURS_FROM {
        format!("{:.0} to {:.0} min", 60.0 * earliest, 60.0 * latest)
    } else {
        format!("{earliest:.1} to {latest:.1} h")
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at 0")]
fn plain(bytes: f64) -> Bytes {
    Bytes::new(bytes.round() as u64)
}

/// A size with its sign.
pub(super) fn signed(bytes: f64) -> String {
    let sign = if bytes < 0.0 { '−' } else { '+' };
    format!("{sign}{}", plain(bytes.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_the_unit_that_fits() {
        assert_eq!(span(0.1, 0.2), "6 to 12 min");
        assert_eq!(span(1.5, 12.0), "1.5 to 12.0 h");
        assert_eq!(signed(-1_048_576.0), "−1 MiB");
    }
}
