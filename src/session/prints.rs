//! What the target prints, and the lines of it that came around its spikes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use crate::clock::Moment;
use crate::event::{Event, LifeId, PrintedNear, Spike, SpikeBatch, What};
use crate::plan::Budget;
use crate::runtime::Printout;
use crate::units::Bytes;

/// Lines so near to a spike are told.
const NEAR: Duration = Duration::from_secs(1);
/// Spikes that wait for the lines after them. They wait a second, so more are a crowd, of which the
/// first are told.
const WAITING: usize = 64;
/// So many spikes, the largest, a report tells of.
const LARGEST: usize = 200;

/// The printouts of the lives, and the spikes that wait for their lines.
#[derive(Debug, Default)]
pub(super) struct Prints {
    outputs: BTreeMap<LifeId, Printout>,
    waiting: VecDeque<(LifeId, Spike)>,
    /// The heights of the largest spikes so far, the least first.
    largest: BinaryHeap<Reverse<Bytes>>,
    told: usize,
}

impl Prints {
    /// A life that is about to print.
    pub(super) fn begin(&mut self, life: LifeId, output: Printout) {
        self.outputs.insert(life, output);
    }

    /// What a life has printed so far, in bytes.
    pub(super) fn bytes(&self, life: LifeId) -> Option<u64> {
        self.outputs.get(&life).map(Printout::bytes)
    }

    /// Spikes that were found.
    pub(super) fn spikes(&mut self, batch: &SpikeBatch) {
        for spike in &batch.found {
            if self.waiting.len() < WAITING && self.is_large(spike.rise) {
                self.waiting.push_back((batch.life, *spike));
            }
        }
    }

    fn is_large(&mut self, rise: Bytes) -> bool {
        if self.largest.len() == LARGEST {
            if self.largest.peek().is_some_and(|least| rise <= least.0) {
                return false;
            }
            self.largest.pop();
        }
        self.largest.push(Reverse(rise));
        true
    }

    /// The lines around a spike after which enough time has gone by.
    pub(super) fn due(&mut self, now: Moment) -> Option<Event> {
        loop {
            let (_, spike) = self.waiting.front()?;
            if spike.at + NEAR > now {
                return None;
            }
            let (life, spike) = self.waiting.pop_front()?;
            if let Some(near) = self.near(life, &spike) {
                return Some(Event { at: now, what: What::Printed(near) });
            }
        }
    }

    /// A life prints nothing more: the lines around its last spikes are those that are there.
    pub(super) fn end(&mut self, life: LifeId, at: Moment) -> Vec<Event> {
        let waiting = std::mem::take(&mut self.waiting);
        let (of_it, others) = waiting.into_iter().partition::<Vec<_>, _>(|row| row.0 == life);
        self.waiting = others.into();
        let lines: Vec<PrintedNear> =
            of_it.iter().filter_map(|(life, spike)| self.near(*life, spike)).collect();
        self.outputs.remove(&life);
        lines.into_iter().map(|near| Event { at, what: What::Printed(near) }).collect()
    }

    fn near(&mut self, life: LifeId, spike: &Spike) -> Option<PrintedNear> {
        if self.told == Budget::SPIKES_WITH_LINES {
            return None;
        }
        // A cause is logged before or while memory rises.
        let lines = self.outputs.get(&life)?.lines_near(spike.begin, NEAR);
        if lines.is_empty() {
            return None;
        }
        self.told += 1;
        Some(PrintedNear { life, spike: spike.at, lines })
    }
}
