//! Spikes, and what went on around each.

mod model;
mod readings;
mod suspects;
mod usual;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub use model::{Change, Confirmed, SpikeFinding, Suspect, WasIt};
use readings::Readings;
use suspects::Around;
use usual::{Levels, Usual};

use super::clips::{Clip, Clips};
use super::costs::Estimate;
use crate::clock::Moment;
use crate::event::{
    FlowWindow, LifeId, PrintedLine, PrintedNear, SamplingStart, Spike, SpikeBatch, TickBlock,
    Vitals,
};
use crate::judge::{Places, SpikeDetector};
use crate::plan::Outline;

/// The spikes that are kept, the largest.
const KEPT: usize = 200;
/// Windows of flow that are remembered until the spikes in them are known.
const FLOW_WINDOWS: usize = 256;
/// Spikes that wait for the flow around them; beyond it the oldest goes without.
const WAITING: usize = 10_000;
/// A spike waits so long for what is read after it.
const AFTER: Duration = Duration::from_millis(1500);
/// Spikes whose times are remembered, to tell windows without any.
const TIMES: usize = 1024;
/// Events so near to a spike are told.
const NEAR: Duration = Duration::from_secs(1);

/// Collects the main lives' spikes while events come in.
#[derive(Debug, Default)]
pub(super) struct Spikes {
    watched: BTreeMap<LifeId, Watched>,
    found: Vec<Spike>,
    waiting: VecDeque<(LifeId, Spike)>,
    flow: VecDeque<(Moment, FlowWindow)>,
    /// When the last spikes began and ended.
    times: VecDeque<(Moment, Moment)>,
    usual: Usual,
    readings: Readings,
    /// What was printed around spikes, by the life and the moment of the peak.
    printed: BTreeMap<(LifeId, Moment), Vec<PrintedLine>>,
    kept: Vec<Kept>,
    total: u64,
    any_ticks: bool,
    clips: Clips,
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
    /// What each step did, and the most requests that were sent in a window.
    flow: Option<(Vec<Around>, u64)>,
    change: Option<Change>,
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
        self.clips.exec(life);
        self.sampling(&start);
    }

    pub(super) fn ticks(&mut self, at: Moment, block: &TickBlock) {
        let Some(watched) = self.watched.get_mut(&block.life) else {
            return;
        };
        self.any_ticks = true;
        self.clips.ticks(at, block);
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
        if let Some(watched) = self.watched.get_mut(&life) {
            watched.detector.finish(&mut self.found);
            self.take_found(life);
            self.watched.remove(&life);
        }
    }

    pub(super) fn flow(&mut self, at: Moment, window: &FlowWindow) {
        let gone = if self.flow.len() == FLOW_WINDOWS { self.forget_first() } else { None };
        // The room of a window that went serves the next one.
        let mut steps = gone.map(|window| window.steps).unwrap_or_default();
        steps.clone_from(&window.steps);
        self.flow.push_back((at, FlowWindow { steps, ..*window }));
        while self.waiting.front().is_some_and(|row| row.1.at + AFTER < at) {
            self.settle_one();
        }
    }

    /// A reading of a main life.
    pub(super) fn vitals(&mut self, at: Moment, vitals: &Vitals) {
        self.readings.add(at, vitals);
    }

    /// What was printed around a spike that was told.
    pub(super) fn printed(&mut self, near: &PrintedNear) {
        self.printed.insert((near.life, near.spike), near.lines.clone());
    }

    /// The oldest window goes; without a spike, it tells what is usual.
    fn forget_first(&mut self) -> Option<FlowWindow> {
        let (end, window) = self.flow.pop_front()?;
        // Later windows don't begin earlier.
        while self.times.front().is_some_and(|(_, until)| *until < window.start) {
            self.times.pop_front();
        }
        let spiky = |(begin, until): &(Moment, Moment)| *begin <= end && *until >= window.start;
        if !self.times.iter().any(spiky) {
            self.usual.add(&window);
        }
        Some(window)
    }

    pub(super) fn finish(
        mut self,
        places: &Places,
        outline: &Outline,
        costs: &BTreeMap<u16, Estimate>,
        marks: &[Mark],
    ) -> (Vec<SpikeFinding>, Option<u64>, Vec<Clip>) {
        let lives: Vec<LifeId> = self.watched.keys().copied().collect();
        for life in lives {
            self.end(life);
        }
        while !self.waiting.is_empty() {
            self.settle_one();
        }
        while !self.flow.is_empty() {
            self.forget_first();
        }
        self.usual.close();
        let (usual, printed) = (&self.usual, &self.printed);
        let of = |kept: &Kept| SpikeFinding {
            near: near(&kept.spike, marks),
            lines: printed.get(&(kept.life, kept.spike.at)).cloned().unwrap_or_default(),
            ..finding(kept, places, outline, usual, costs)
        };
        let rows = self.kept.iter().map(of).collect();
        (rows, self.any_ticks.then_some(self.total), self.clips.finish())
    }

    fn take_found(&mut self, life: LifeId) {
        self.total += self.found.len() as u64;
        let tick_ns = self.watched.get(&life).map_or(1, |watched| watched.start.tick_ns);
        for spike in self.found.drain(..) {
            self.clips.spike(life, &spike, tick_ns);
            if self.times.len() == TIMES {
                self.times.pop_front();
            }
            self.times.push_back((spike.begin, spike.end));
            self.waiting.push_back((life, spike));
        }
        let known = self.flow.back().map(|row| row.0);
        while self.waiting.len() > WAITING
            || self
                .waiting
                .front()
                .is_some_and(|row| known.is_some_and(|known| row.1.at + AFTER < known))
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
        let change = self.readings.around(life, spike.begin, spike.at);
        self.kept.insert(place, Kept { life, spike, flow, change });
        self.kept.truncate(KEPT);
    }

    /// The greatest levels, by step, of the windows between the rise and the peak.
    fn flow_around(&self, spike: &Spike) -> Option<(Vec<Around>, u64)> {
        let mut steps: BTreeMap<u16, Levels> = BTreeMap::new();
        let mut load = None;
        let around = self
            .flow
            .iter()
            .filter(|(end, window)| window.start <= spike.at && *end >= spike.begin);
        for (_, window) in around {
            load = load.max(Some(usual::load(window)));
            for row in &window.steps {
                let levels = steps.entry(row.step).or_default();
                *levels = levels.with(Levels::of(row), f64::max);
            }
        }
        let rows = steps.into_iter().map(|(step, levels)| Around { step, levels });
        load.map(|load| (rows.collect(), load))
    }
}

/// Something that happened at a moment, in words that go on with how far from it.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) at: Moment,
    pub(super) what: String,
}

/// What happened near a spike, in words.
fn near(spike: &Spike, marks: &[Mark]) -> Vec<String> {
    let told = |mark: &Mark| {
        let (before, after) = (spike.at.since(mark.at), mark.at.since(spike.at));
        let off = before.max(after);
        let side = if after.is_zero() { "before" } else { "after" };
        (off <= NEAR).then(|| format!("{} {} ms {side}", mark.what, off.as_millis()))
    };
    marks.iter().filter_map(told).collect()
}

fn finding(
    kept: &Kept,
    places: &Places,
    outline: &Outline,
    usual: &Usual,
    costs: &BTreeMap<u16, Estimate>,
) -> SpikeFinding {
    let spike = &kept.spike;
    let (rows, load) = kept.flow.as_ref().map_or((&[][..], 0), |flow| (&flow.0[..], flow.1));
    let suspects = suspects::suspects(rows, (spike.rise, load), usual, costs, outline);
    let phase = places.phase_at(spike.at);
    let phase = phase.and_then(|phase| outline.phases.get(usize::from(phase)));
    SpikeFinding {
        at: spike.at,
        phase: phase.map(|phase| phase.name.clone()),
        rise: spike.rise,
        peak: spike.peak,
        length: spike.end.since(spike.begin),
        in_flight: kept.flow.is_some().then(|| suspects.iter().map(|row| row.in_flight).sum()),
        suspects,
        change: kept.change,
        near: Vec::new(),
        lines: Vec::new(),
        confirmed: None,
    }
}
