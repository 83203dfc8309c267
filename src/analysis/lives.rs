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
            What::Memory(window) => self.memory(window),
            _ => {}
        }
    }

    fn memory(&mut self, window: &MemoryWindow) {
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
