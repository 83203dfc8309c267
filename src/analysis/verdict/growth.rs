//! What growth makes of the verdict.

use std::fmt::Write;

use super::Case;
use crate::analysis::model::{Findings, Level};
use crate::analysis::{Growth, GrowthClass};
use crate::units::Bytes;

impl Case {
    pub(super) fn growth(&mut self, findings: &Findings) {
        let Some(growth) = &findings.growth else { return };
        // What a killed target would have grown to says nothing more.
        let phase = findings.phases.iter().find(|phase| phase.name == growth.phase);
        let at = phase.map(|phase| phase.start);
        if growth.class == GrowthClass::Leak {
            self.say("leak", Level::Fail, leak(growth, findings), at);
        }
        for row in growth.resources.iter().filter(|row| row.class == GrowthClass::Leak) {
            let name = row.name.replace('_', " ");
            let rate = row.per_hour.map_or_else(String::new, |rate| format!(", {rate:.0} an hour"));
            let text = format!(
                "{name} rise without end in {}: from {:.0} to {:.0} over {}{rate}",
                growth.phase,
                row.first,
                row.last,
                growth.over()
            );
            self.say("leak_of_resources", Level::Warn, text, at);
        }
    }
}

fn leak(growth: &Growth, findings: &Findings) -> String {
    let size = |bytes: f64| Bytes::new(whole(bytes));
    let mut text = format!(
        "memory leaks in {}: what stays rose by {} over {}",
        growth.phase,
        size(growth.rise),
        growth.over()
    );
    if let (Some(rate), Some((low, high))) = (growth.bytes_per_hour, growth.ci95) {
        // Writing to a string never fails.
        let _ = write!(text, ", {}/h ({} to {})", size(rate), size(low), size(high));
    }
    if let Some((earliest, latest)) = growth.hours_to_limit {
        let limit = findings.limit;
        let _ = write!(text, "; at this rate {limit} is full in {earliest:.1} to {latest:.1} h");
    }
    text
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at 0")]
fn whole(bytes: f64) -> u64 {
    bytes.round() as u64
}
