//! What more load makes of the verdict.

use super::Case;
use crate::analysis::model::{Findings, Level};
use crate::analysis::{Concurrency, DependenceClass, FailureKind};
use crate::units::Bytes;

/// Memory that grows with the load is a warning where the limit is full below so many times the most
/// load that was tried.
const NEAR: f64 = 1.5;
/// It is a note below so many times of it.
const IN_SIGHT: f64 = 3.0;
/// Memory went with the load, and not with time, where this share of the rise was given back.
const GIVEN_BACK: f64 = 0.5;

impl Case {
    pub(super) fn concurrency(&mut self, findings: &Findings) {
        for row in &findings.concurrency {
            self.grows_with_load(row, findings);
        }
        for phase in &findings.phases {
            let grows = phase.failing.iter().find(|row| row.kind == FailureKind::ErrorsGrow);
            if let Some(grows) = grows {
                let text = format!("{} in {}", grows.text, phase.name);
                self.say("errors_grow", Level::Warn, text, Some(phase.start));
            }
        }
    }

    fn grows_with_load(&mut self, row: &Concurrency, findings: &Findings) {
        let linear = row.memory.filter(|memory| memory.class == DependenceClass::Linear);
        let (Some(memory), Some((earliest, latest))) = (linear, row.limit_full_at) else { return };
        let (Some(slope), most) = (memory.per_unit, row.range.1) else { return };
        if earliest > IN_SIGHT * most {
            return;
        }
        // A climb takes time, and a cache fills with time too: only what was given back when the load
        // came down, or phases of different load, make it certain.
        let certain =
            row.phases.len() > 1 || row.given_back.is_some_and(|share| share >= GIVEN_BACK);
        let level = if certain && latest < NEAR * most { Level::Warn } else { Level::Info };
        let (unit, one, limit) = (row.axis.unit(), row.axis.one(), findings.limit);
        let phases = row.phases.join(", ");
        let unsure = if certain { "" } else { ", if it is the load's doing and not time's" };
        let text = format!(
            "memory grows with the load without end in {phases}: {} a {one}; {limit} is full at \
             {earliest:.0} to {latest:.0} {unit} (tried: {most:.0}){unsure}",
            whole(slope)
        );
        let first = findings.phases.iter().find(|phase| row.phases.contains(&phase.name));
        self.say("grows_with_load", level, text, first.map(|phase| phase.start));
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at 0")]
fn whole(bytes: f64) -> Bytes {
    Bytes::new(bytes.round() as u64)
}
