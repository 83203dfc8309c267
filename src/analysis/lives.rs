//! The lives of the main container: more than one where it was killed and started again.

use std::collections::BTreeMap;

use crate::clock::Moment;
use crate::event::{Event, LifeId, LifeRole, MemoryWindow, What};
use crate::units::Bytes;

/// One life of the main container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifeFinding {
    /// When its container was about to be started.
    pub start: Moment,
    /// When it became ready.
    pub ready: Option<Moment>,
    /// When it ended.
    pub end: Option<Moment>,
    /// Its exit code, where it ended by itself or was killed.
    pub exit_code: Option<i64>,
    /// Whether it was asked to end.
    pub asked: bool,
    /// The charged peak.
    pub peak: Bytes,
    /// The unreclaimable peak, upper bound.
    pub unreclaimable_peak: Bytes,
    /// Kills for want of memory.
    pub oom_kills: u64,
}

/// Takes in events and tells lives apart.
#[derive(Debug, Default)]
pub(super) struct Lives(BTreeMap<LifeId, LifeFinding>);

impl Lives {
    pub(super) fn feed(&mut self, event: &Event) {
        match &event.what {
            What::Life(start) if start.role == LifeRole::Main => {
                let life = LifeFinding {
                    start: event.at,
                    ready: None,
                    end: None,
                    exit_code: None,
                    asked: false,
                    peak: Bytes::ZERO,
                    unreclaimable_peak: Bytes::ZERO,
                    oom_kills: 0,
                };
                self.0.insert(start.life, life);
            }
            What::Ready { life } => {
                if let Some(row) = self.0.get_mut(life) {
                    row.ready = Some(event.at);
                }
            }
            What::Ended { life, exit, .. } => {
                if let Some(row) = self.0.get_mut(life) {
                    row.end = Some(event.at);
                    row.asked = exit.asked;
                    row.exit_code = exit.code.filter(|_| !exit.asked);
                }
            }
            _ => {}
        }
    }

    /// Takes in a window in which it was the target's own program that ran.
    pub(super) fn memory(&mut self, window: &MemoryWindow) {
        if let Some(row) = self.0.get_mut(&window.life) {
            row.peak = row.peak.max(window.peak);
            row.unreclaimable_peak = row.unreclaimable_peak.max(window.unreclaimable_high.max);
        }
    }

    /// The lives in order, each with its kills.
    pub(super) fn finish(self, kills: impl Fn(LifeId) -> u64) -> Vec<LifeFinding> {
        self.0.into_iter().map(|(id, row)| LifeFinding { oom_kills: kills(id), ..row }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthetic::{ANCHOR, Script, facts};
    use crate::event::{Band, LifeStart};
    use crate::units::Limit;

    #[test]
    fn what_the_runtime_took_before_the_program_ran_is_of_no_life() {
        let life = LifeId(0);
        let (zero, limit) = (Band::default(), Limit::Unlimited);
        let window = |start: u64, mib: u64| {
            What::Memory(MemoryWindow {
                life,
                start: Moment::from_millis(start),
                ticks: 100,
                missed: 0,
                usage: zero,
                peak: Bytes::from_mib(mib),
                peak_at: Moment::from_millis(start + 50),
                rss: zero,
                cache: zero,
                shmem: zero,
                working_set: zero,
                unreclaimable_low: zero,
                unreclaimable_high: zero,
                limit_hits: None,
                oom_kills: None,
                kernel: None,
                held_mean: None,
            })
        };
        let whats = [
            What::Life(LifeStart { life, role: LifeRole::Main, limit }),
            window(0, 9),
            What::Exec { life, before_exec: Bytes::from_mib(9) },
            window(100, 2),
        ];
        let at = |ms: u64| Moment::from_millis(ms * 100);
        let events = (0..).zip(whats).map(|(n, what)| Event { at: at(n), what });
        let script = Script::default();
        let findings = crate::analysis::analyse(&script.outline(), &facts(), ANCHOR, events);
        assert_eq!(findings.lives[0].peak, Bytes::from_mib(2));
        assert_eq!(findings.memory.unwrap().peak, Bytes::from_mib(2));
    }
}
