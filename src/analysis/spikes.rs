//! Spikes, and what was in flight at each.

use std::collections::{BTreeMap, VecDeque};

use super::float;
use super::model::{SpikeFinding, Suspect};
use crate::clock::Moment;
use crate::event::{FlowWindow, LifeId, SamplingStart, Spike, SpikeBatch, TickBlock};
use crate::judge::{Places, SpikeDetector};
use crate::plan::Outline;

/// The spikes that are kept, the largest.
const KEPT: usize = 200;
/// Windows of flow that are remembered until the spikes in them are known.
const FLOW_WINDOWS: usize = 128;
/// Spikes that wait for the flow around them; beyond it the oldest goes without.
const WAITING: usize = 10_000;

/// Collects the main lives' spikes while events come in.
#[derive(Debug, Default)]
pub(super) struct Spikes {
    watched: BTreeMap<LifeId, Watched>,
    found: Vec<Spike>,
    waiting: VecDeque<(LifeId, Spike)>,
    flow: VecDeque<(Moment, FlowWindow)>,
    kept: Vec<Kept>,
    total: u64,
    any_ticks: bool,
}

#[derive(Debug)]
struct Watched {
    start: SamplingStart,
    detector: SpikeDetector,
    found: u64,
}

#[derive(Debug)]
struct Kept {
    life: LifeId,
    spike: Spike,
    /// Requests in flight by step.
    flow: Option<Vec<(u16, u64)>>,
}

impl Spikes {
    pub(super) fn sampling(&mut self, start: &SamplingStart) {
        let watched = Watched {
            start: *start,
            detector: SpikeDetector::new(start.tick_ns, start.charge_slack),
            found: 0,
        };
        self.watched.insert(start.life, watched);
    }

    /// The target's own program begins: what was found before is the container runtime's.
    pub(super) fn exec(&mut self, life: LifeId) {
        let Some(start) = self.watched.get(&life).map(|watched| watched.start) else {
            return;
        };
        self.total -= self.watched.remove(&life).map_or(0, |watched| watched.found);
        self.waiting.retain(|row| row.0 != life);
        self.kept.retain(|kept| kept.life != life);
        self.sampling(&start);
    }

    pub(super) fn ticks(&mut self, block: &TickBlock) {
        let Some(watched) = self.watched.get_mut(&block.life) else {
            return;
        };
        self.any_ticks = true;
        if watched.start.spikes_told {
            return;
        }
        // A damaged block shows no spikes; windows still hold every peak.
        for tick in block.unpack().unwrap_or_default() {
            watched.detector.tick(&tick, &mut self.found);
        }
        watched.found += self.found.len() as u64;
        self.take_found(block.life);
    }

    /// Spikes that were found while the run went on.
    pub(super) fn told(&mut self, batch: &SpikeBatch) {
        let Some(watched) = self.watched.get_mut(&batch.life) else {
            return;
        };
        watched.found += batch.found.len() as u64 + batch.beyond;
        self.total += batch.beyond;
        self.found.extend_from_slice(&batch.found);
        self.take_found(batch.life);
    }

    /// The sampler of a life is done.
    pub(super) fn end(&mut self, life: LifeId) {
        if let Some(mut watched) = self.watched.remove(&life) {
            watched.detector.finish(&mut self.found);
            self.take_found(life);
        }
    }

    pub(super) fn flow(&mut self, at: Moment, window: &FlowWindow) {
        if self.flow.len() == FLOW_WINDOWS {
            self.flow.pop_front();
        }
        self.flow.push_back((at, window.clone()));
        while self.waiting.front().is_some_and(|row| row.1.at < at) {
            self.settle_one();
        }
    }

    pub(super) fn finish(
        mut self,
        places: &Places,
        outline: &Outline,
    ) -> (Vec<SpikeFinding>, Option<u64>) {
        let lives: Vec<LifeId> = self.watched.keys().copied().collect();
        for life in lives {
            self.end(life);
        }
        while !self.waiting.is_empty() {
            self.settle_one();
        }
        let kept = self.kept.iter();
        let rows = kept.map(|kept| finding(kept, places, outline)).collect();
        (rows, self.any_ticks.then_some(self.total))
    }

    fn take_found(&mut self, life: LifeId) {
        self.total += self.found.len() as u64;
        let found = self.found.drain(..).map(|spike| (life, spike));
        self.waiting.extend(found);
        let known = self.flow.back().map(|row| row.0);
        while self.waiting.len() > WAITING
            || self.waiting.front().is_some_and(|row| known.is_some_and(|known| row.1.at < known))
        {
            self.settle_one();
        }
    }

    /// The oldest waiting spike gets the flow around it and takes its place among the largest.
    fn settle_one(&mut self) {
        let Some((life, spike)) = self.waiting.pop_front() else {
            return;
        };
        let place = self.kept.partition_point(|kept| kept.spike.rise >= spike.rise);
        if place >= KEPT {
            return;
        }
        let flow = self.flow_around(&spike);
        self.kept.insert(place, Kept { life, spike, flow });
        self.kept.truncate(KEPT);
    }

    /// The most in flight, by step, in the windows between the rise and the peak.
    fn flow_around(&self, spike: &Spike) -> Option<Vec<(u16, u64)>> {
        let mut most: BTreeMap<u16, u64> = BTreeMap::new();
        let mut seen = false;
        let around = self
            .flow
            .iter()
            .filter(|(end, window)| window.start <= spike.at && *end >= spike.begin);
        for (_, window) in around {
            seen = true;
            for row in &window.steps {
                let most = most.entry(row.step).or_default();
                *most = (*most).max(u64::from(row.in_flight_max));
            }
        }
        seen.then(|| most.into_iter().collect())
    }
}

fn finding(kept: &Kept, places: &Places, outline: &Outline) -> SpikeFinding {
    let spike = &kept.spike;
    let rows = kept.flow.as_deref();
    let in_flight: Option<u64> = rows.map(|rows| rows.iter().map(|row| row.1).sum());
    let total = float(in_flight.unwrap_or(0));
    let mut suspects: Vec<Suspect> = rows
        .unwrap_or_default()
        .iter()
        .filter(|row| row.1 > 0)
        .filter_map(|(step, count)| {
            let step = outline.steps.get(usize::from(*step))?;
            Some(Suspect {
                scenario: step.scenario.clone(),
                step: step.step.clone(),
                share: float(*count) / total,
            })
        })
        .collect();
    suspects.sort_by(|a, b| b.share.total_cmp(&a.share));
    let phase = places.phase_at(spike.at);
    let phase = phase.and_then(|phase| outline.phases.get(usize::from(phase)));
    SpikeFinding {
        at: spike.at,
        phase: phase.map(|phase| phase.name.clone()),
        rise: spike.rise,
        peak: spike.peak,
        length: spike.end.since(spike.begin),
        in_flight,
        suspects,
    }
}
