//! How long after each burst everything is as it was before it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::float;
use super::growth::median;
use crate::clock::{Moment, nanos};
use crate::event::{FlowWindow, LifeId, SamplingStart, TrafficWindow};
use crate::judge::{Placed, Places};
use crate::plan::{CycleOutline, Outline};
use crate::units::Bytes;

/// Bursts of a phase that are followed; later ones are not.
const MOST_BURSTS: usize = 100_000;
/// The calm before a burst begins at this share of the period before it.
const CALM_FROM: f64 = 0.6;
/// Memory is back when no more than this share of the burst's rise is left, or the kernel's slack.
const LEFT_OF_RISE: f64 = 0.1;
/// Requests in flight are back at this multiple of the most in the calm, and one more.
const IN_FLIGHT: f64 = 1.25;
/// Latency is back at this multiple of the calm's p95, and so many milliseconds more.
const LATENCY: f64 = 1.5;
const LATENCY_MORE_MS: f64 = 5.0;

/// How a phase got over its bursts. Times are from the burst's beginning to the end of the first
/// window in which all was as in the calm before it, so they are upper bounds by one window: 100 ms
/// for memory and requests in flight, one second for latency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recovery {
    /// Bursts before which there was a calm to compare with, and after which there was time.
    pub bursts: usize,
    /// Those after which everything came back before the next one.
    pub recovered: usize,
    /// The median of their times, in milliseconds.
    pub median_ms: Option<f64>,
    /// The longest of their times, in milliseconds.
    pub worst_ms: Option<f64>,
    /// Of the floor of unreclaimable memory alone.
    pub memory: Back,
    /// Of requests in flight alone.
    pub in_flight: Back,
    /// Of latency alone.
    pub latency: Back,
}

/// How one measure came back.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Back {
    /// The longest time until it was back, in milliseconds.
    pub worst_ms: Option<f64>,
    /// After how many bursts it was not back before the next one.
    pub never: usize,
}

/// Follows the bursts of each phase while events come in.
#[derive(Debug, Default)]
pub(super) struct Recovering {
    phases: BTreeMap<u16, Train>,
    slack: Bytes,
}

/// The bursts of one phase.
#[derive(Debug)]
struct Train {
    begin: Moment,
    cycle: CycleOutline,
    life: Option<LifeId>,
    memory: Measure,
    in_flight: Measure,
    /// By step.
    latency: BTreeMap<u16, Measure>,
}

/// A reading's place: which burst it follows, and how long after its beginning it began and ended.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// None before the first burst.
    burst: Option<usize>,
    since: Duration,
    until: Duration,
}

/// One measure over all bursts.
#[derive(Debug, Default)]
struct Measure {
    burst: Option<usize>,
    /// What it is in the calm before the present burst, and in the calm since.
    before: Option<f64>,
    calm: Option<f64>,
    /// The highest since the present burst.
    peak: f64,
    /// For each burst that had a calm before it: milliseconds until it was back.
    back: BTreeMap<usize, Option<f64>>,
}

impl Recovering {
    pub(super) fn sampling(&mut self, start: &SamplingStart) {
        self.slack = self.slack.max(start.charge_slack);
    }

    pub(super) fn memory(&mut self, placed: &Placed<'_>, places: &Places, outline: &Outline) {
        let slack = self.slack.as_f64();
        let Some(train) = placed.phase.and_then(|phase| self.train(phase, places, outline)) else {
            return;
        };
        let window = placed.window;
        if train.life.replace(window.life).is_some_and(|life| life != window.life) {
            // Another life has another floor.
            train.memory.forget();
        }
        let Some(place) = train.place(window.start, placed.at) else { return };
        let (now, high) = (window.unreclaimable_low.last, window.unreclaimable_low.max);
        train.memory.feed(
            place,
            train.cycle,
            now.as_f64(),
            high.as_f64(),
            f64::min,
            |base, peak| base + slack.max(LEFT_OF_RISE * (peak - base)),
        );
    }

    pub(super) fn flow(
        &mut self,
        at: Moment,
        window: &FlowWindow,
        places: &Places,
        outline: &Outline,
    ) {
        let phase = places.phase_at(window.start);
        let Some(train) = phase.and_then(|phase| self.train(phase, places, outline)) else {
            return;
        };
        let Some(place) = train.place(window.start, at) else { return };
        let most: u64 = window.steps.iter().map(|row| u64::from(row.in_flight_max)).sum();
        let most = float(most);
        let back = |base: f64, _| base * IN_FLIGHT + 1.0;
        train.in_flight.feed(place, train.cycle, most, most, f64::max, back);
    }

    pub(super) fn traffic(
        &mut self,
        at: Moment,
        window: &TrafficWindow,
        places: &Places,
        outline: &Outline,
    ) {
        let Some(train) = self.train(window.phase, places, outline) else { return };
        let Some(place) = train.place(window.start, at) else { return };
        let Some(p95) = window.latency_us.percentile(95.0) else { return };
        let ms = float(p95) / 1e3;
        let back = |base: f64, _| base * LATENCY + LATENCY_MORE_MS;
        let cycle = train.cycle;
        train.latency.entry(window.step).or_default().feed(place, cycle, ms, ms, f64::max, back);
    }

    fn train(&mut self, phase: u16, places: &Places, outline: &Outline) -> Option<&mut Train> {
        let cycle = outline.phases.get(usize::from(phase))?.cycle.filter(|row| row.every_ns > 0)?;
        let begin = places.phases().iter().find(|row| row.0 == phase)?.1;
        Some(self.phases.entry(phase).or_insert_with(|| Train {
            begin,
            cycle,
            life: None,
            memory: Measure::default(),
            in_flight: Measure::default(),
            latency: BTreeMap::new(),
        }))
    }

    /// What a phase's bursts came to; none where no burst could be followed to its end.
    pub(super) fn finish(&self, phase: u16) -> Option<Recovery> {
        self.phases.get(&phase)?.finish()
    }
}

impl Train {
    /// Where a window lies; none where it began before the phase, or beyond the bursts that are
    /// followed.
    fn place(&self, start: Moment, end: Moment) -> Option<Place> {
        if start < self.begin {
            return None;
        }
        let (start, end) = (nanos(start.since(self.begin)), nanos(end.since(self.begin)));
        let length = end.saturating_sub(start);
        let Some(since_first) = start.checked_sub(self.cycle.first_ns) else {
            // Before the first burst all is calm.
            let since = Duration::from_nanos(self.cycle.every_ns);
            let over = Duration::from_nanos(end.saturating_sub(self.cycle.first_ns));
            return Some(Place { burst: None, since, until: since + over });
        };
        let burst = usize::try_from(since_first / self.cycle.every_ns).ok()?;
        let since = since_first % self.cycle.every_ns;
        (burst < MOST_BURSTS).then_some(Place {
            burst: Some(burst),
            since: Duration::from_nanos(since),
            until: Duration::from_nanos(since + length),
        })
    }

    fn finish(&self) -> Option<Recovery> {
        let latency = || self.latency.values();
        // The last burst may not have had its time.
        let measures = || [&self.memory, &self.in_flight].into_iter().chain(latency());
        let last = measures().filter_map(|row| row.burst).max()?;
        let mut whole: BTreeMap<usize, Option<f64>> = BTreeMap::new();
        for row in measures() {
            row.merge_into(&mut whole, last);
        }
        let mut slowest_latency = BTreeMap::new();
        for row in latency() {
            row.merge_into(&mut slowest_latency, last);
        }
        let of = |row: &Measure| {
            let mut back = BTreeMap::new();
            row.merge_into(&mut back, last);
            Back::of(&back)
        };
        let times: Vec<f64> = whole.values().copied().flatten().collect();
        (!whole.is_empty()).then(|| Recovery {
            bursts: whole.len(),
            recovered: times.len(),
            median_ms: median(&times),
            worst_ms: times.iter().copied().reduce(f64::max),
            memory: of(&self.memory),
            in_flight: of(&self.in_flight),
            latency: Back::of(&slowest_latency),
        })
    }
}

impl Back {
    fn of(back: &BTreeMap<usize, Option<f64>>) -> Self {
        Self {
            worst_ms: back.values().copied().flatten().reduce(f64::max),
            never: back.values().filter(|time| time.is_none()).count(),
        }
    }
}

impl Measure {
    /// What was before says nothing of what comes.
    fn forget(&mut self) {
        (self.before, self.calm) = (None, None);
    }

    /// Takes in a reading: its `value`, its `high`, and how values of the calm are
    /// folded; `bound` gives the level at which it is back, from the calm's and the peak's.
    fn feed(
        &mut self,
        place: Place,
        cycle: CycleOutline,
        value: f64,
        high: f64,
        fold: impl Fn(f64, f64) -> f64,
        bound: impl Fn(f64, f64) -> f64,
    ) {
        if place.burst != self.burst {
            self.burst = place.burst;
            self.before = self.calm.take();
            self.peak = high;
            if let (Some(burst), Some(_)) = (place.burst, self.before) {
                self.back.insert(burst, None);
            }
        }
        self.peak = self.peak.max(high);
        let every = Duration::from_nanos(cycle.every_ns);
        if place.since >= every.mul_f64(CALM_FROM) && place.until <= every {
            self.calm = Some(self.calm.map_or(value, |calm| fold(calm, value)));
        }
        // The window in which a burst begins still shows what was before it.
        let width = Duration::from_nanos(cycle.width_ns.max(1));
        if place.since >= width
            && let (Some(burst), Some(before)) = (place.burst, self.before)
            && let Some(back @ None) = self.back.get_mut(&burst)
            && value <= bound(before, self.peak)
        {
            *back = Some(place.until.as_secs_f64() * 1e3);
        }
    }

    /// The later of two measures counts; one that never came back decides. The burst after `last`
    /// is left out, and `last` itself where it is not back: it may not have had its time.
    fn merge_into(&self, whole: &mut BTreeMap<usize, Option<f64>>, last: usize) {
        for (burst, back) in &self.back {
            if *burst >= last && back.is_none() {
                continue;
            }
            whole
                .entry(*burst)
                .and_modify(|known| *known = known.zip(*back).map(|(a, b)| a.max(b)))
                .or_insert(*back);
        }
    }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
