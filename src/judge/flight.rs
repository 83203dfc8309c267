//! The flight recorder: finds spikes while a run goes on, and decides which raw ticks are worth
//! keeping.
//!
//! The sampler sends every tick, packed window by window. Kept are those of startup, and those
//! around spikes: the window before (the level it rose from), all while memory is up, and the window
//! after (the level it fell to). Spikes themselves are recorded as they end, whether their ticks are
//! kept or not, so a report knows each of them however small the room for raw ticks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::SpikeDetector;
use crate::event::{Event, LifeId, LifeRole, Spike, SpikeBatch, TickBlock, What};
use crate::plan::Budget;
use crate::units::Bytes;

/// Spikes that are told one by one; of later ones only those that are among the largest.
const TOLD: u64 = Budget::SPIKES_TOLD;

/// How many count as the largest: as many as a report shows.
const LARGEST: usize = 200;

/// Decides what of the sampler's blocks is recorded.
#[derive(Debug)]
pub struct FlightRecorder {
    keep_all: bool,
    budget: u64,
    lives: BTreeMap<LifeId, Watched>,
    /// Lives that ran before they were watched, until they begin here.
    found_running: BTreeSet<LifeId>,
    told: u64,
    largest: BinaryHeap<Reverse<Bytes>>,
    left_out: bool,
}

#[derive(Debug)]
struct Watched {
    detector: SpikeDetector,
    tick_ns: u64,
    charge_slack: Bytes,
    /// Whether every tick is kept for the time being.
    starting: bool,
    /// Whether it stays so.
    trial: bool,
    /// The window before, where it was not kept.
    before: Option<Event>,
    post_roll: bool,
    found: Vec<Spike>,
}

impl FlightRecorder {
    /// A recorder that keeps all ticks, or those worth keeping up to about `budget` packed bytes.
    #[must_use]
    pub fn new(keep_all: bool, budget: Bytes) -> Self {
        Self {
            keep_all,
            budget: budget.get(),
            lives: BTreeMap::new(),
            found_running: BTreeSet::new(),
            told: 0,
            largest: BinaryHeap::new(),
            left_out: false,
        }
    }

    /// Takes in an event; puts what is to be recorded of it into `out`, in order.
    pub fn take(&mut self, event: Event, out: &mut Vec<Event>) {
        let at = event.at;
        match event.what {
            What::Life(ref start) => {
                // Without a sampler's word on its tick, the usual one is taken.
                let mut watched = Watched::new(1_000_000, Bytes::ZERO);
                watched.trial = start.role != LifeRole::Main;
                // What was found running has no startup.
                watched.starting = !self.found_running.remove(&start.life);
                self.lives.insert(start.life, watched);
                out.push(event);
            }
            What::Watched(ref start) => {
                self.found_running.insert(start.life);
                out.push(event);
            }
            What::Sampling(mut start) => {
                let mut watched = Watched::new(start.tick_ns, start.charge_slack);
                if let Some(known) = self.lives.get(&start.life) {
                    (watched.trial, watched.starting) = (known.trial, known.starting);
                }
                self.lives.insert(start.life, watched);
                start.spikes_told = true;
                out.push(Event { at, what: What::Sampling(start) });
            }
            What::Exec { life, .. } => {
                if let Some(watched) = self.lives.get_mut(&life) {
                    watched.restart();
                }
                out.push(event);
            }
            What::Ready { life } => {
                if let Some(watched) = self.lives.get_mut(&life) {
                    watched.starting = watched.trial;
                }
                out.push(event);
            }
            What::Ticks(block) => self.block(Event { at, what: What::Ticks(block) }, out),
            What::SamplerDone(report) => {
                self.end(report.life, at, out);
                out.push(Event { at, what: What::SamplerDone(report) });
            }
            _ => out.push(event),
        }
    }

    fn block(&mut self, event: Event, out: &mut Vec<Event>) {
        let What::Ticks(block) = &event.what else { return };
        let (at, life) = (event.at, block.life);
        let Some(watched) = self.lives.get_mut(&life) else {
            out.push(event);
            return;
        };
        // A block comes from our own sampler: one that can't be read holds no ticks.
        for tick in block.unpack().unwrap_or_default() {
            watched.detector.tick(&tick, &mut watched.found);
        }
        let exciting = !watched.found.is_empty() || watched.detector.is_up();
        let keep = self.keep_all || watched.starting || exciting || watched.post_roll;
        watched.post_roll = exciting;
        let pre_roll = watched.before.take().filter(|_| exciting);
        let found = std::mem::take(&mut watched.found);
        if keep {
            for event in pre_roll.into_iter().chain([event]) {
                self.keep(event, out);
            }
        } else {
            watched.before = Some(event);
        }
        self.tell(life, &found, at, out);
    }

    /// Records a block where there is room.
    fn keep(&mut self, event: Event, out: &mut Vec<Event>) {
        let What::Ticks(block) = &event.what else { return };
        let cost = TickBlock::packed_len(block) as u64;
        if self.keep_all || cost <= self.budget {
            self.budget = self.budget.saturating_sub(cost);
            out.push(event);
            return;
        }
        // What does not fit now shall not let a smaller one in later: the record ends here.
        self.budget = 0;
        if !std::mem::replace(&mut self.left_out, true) {
            let text = format!(
                "raw ticks around spikes are kept up to {:.0} s only, where their room was used up \
                 (`--raw` keeps all); windows and spikes go on",
                event.at.as_secs_f64()
            );
            out.push(Event { at: event.at, what: What::Note { text } });
        }
    }

    /// The sampler of a life is done.
    fn end(&mut self, life: LifeId, at: crate::clock::Moment, out: &mut Vec<Event>) {
        if let Some(mut watched) = self.lives.remove(&life) {
            watched.detector.finish(&mut watched.found);
            self.tell(life, &watched.found, at, out);
        }
    }

    fn tell(
        &mut self,
        life: LifeId,
        found: &[Spike],
        at: crate::clock::Moment,
        out: &mut Vec<Event>,
    ) {
        if found.is_empty() {
            return;
        }
        let mut batch = SpikeBatch { life, found: Vec::new(), beyond: 0 };
        for spike in found {
            if self.is_worth_telling(spike.rise) {
                batch.found.push(*spike);
            } else {
                batch.beyond += 1;
            }
        }
        out.push(Event { at, what: What::Spikes(batch) });
    }

    fn is_worth_telling(&mut self, rise: Bytes) -> bool {
        let least = self.largest.peek().map_or(Bytes::ZERO, |least| least.0);
        let is_large = self.largest.len() < LARGEST || rise > least;
        if is_large {
            self.largest.push(Reverse(rise));
            if self.largest.len() > LARGEST {
                self.largest.pop();
            }
        }
        self.told += 1;
        is_large || self.told <= TOLD
    }
}

impl Watched {
    fn new(tick_ns: u64, charge_slack: Bytes) -> Self {
        Self {
            detector: SpikeDetector::new(tick_ns, charge_slack),
            tick_ns,
            charge_slack,
            starting: true,
            trial: false,
            before: None,
            post_roll: false,
            found: Vec::new(),
        }
    }

    /// The target's own program begins: what rises before it is the container runtime's.
    fn restart(&mut self) {
        self.detector = SpikeDetector::new(self.tick_ns, self.charge_slack);
    }
}

#[cfg(test)]
#[path = "flight_tests.rs"]
mod tests;
