//! Growth: leak, or warm-up that settles, or memory that is kept and used again.
//!
//! What is judged is the floor: the least unreclaimable memory (lower bound) between one burst and
//! the next, or in equal parts of steady traffic. A burst's own memory is not in it, nor is page
//! cache.

pub(super) mod class;
mod cycles;
pub(super) mod trend;

use std::collections::BTreeMap;
use std::time::Duration;

use class::{Floors, Judged};
use cycles::{Cycles, Resource};

use crate::clock::Moment;
use crate::event::{FlowWindow, LifeId, SamplingStart, Vitals};
use crate::judge::{Placed, Places, float};
use crate::plan::{Outline, PhaseOutline};
use crate::units::{Bytes, Limit};

/// What counts as no growth of memory, beside the kernel's slack, as a share of the floor.
const SHARE_OF_FLOOR: f64 = 0.001;
/// So many descriptors, threads or sockets more are no growth.
const FEW: f64 = 2.0;
/// The share of their floor that is none.
const SHARE_OF_COUNT: f64 = 0.02;
/// So many bytes printed or written are nothing.
const LITTLE_WRITTEN: f64 = 4096.0;
const SECONDS_A_HOUR: f64 = 3600.0;

/// What kind of growth it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrowthClass {
    /// None.
    Flat,
    /// It rose, and came to an end or is slowing down.
    Settles,
    /// It rose with a burst or a new highest concurrency, and is used again since.
    Retained,
    /// It rises as a line, to the end.
    Leak,
    /// It can't be told yet.
    Unclear,
}

impl GrowthClass {
    /// The name that `run.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Settles => "settles",
            Self::Retained => "retained",
            Self::Leak => "leak",
            Self::Unclear => "unclear",
        }
    }
}

/// What growth goes along with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// Requests: without them it stands still.
    Traffic,
    /// Time, with or without requests.
    Time,
}

impl Driver {
    /// The name that `run.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Traffic => "traffic",
            Self::Time => "time",
        }
    }
}

/// How memory grew in the phase that tells most.
#[derive(Debug, Clone, PartialEq)]
pub struct Growth {
    /// What kind of growth it is.
    pub class: GrowthClass,
    /// The phase.
    pub phase: String,
    /// The floors that were compared.
    pub cycles: usize,
    /// Whether a cycle is one burst, or an equal part of the phase.
    pub by_bursts: bool,
    /// From one floor to the next.
    pub cycle: Duration,
    /// The first floor (before the first burst, where there are bursts).
    pub first: Bytes,
    /// The last floor.
    pub last: Bytes,
    /// All of them, by when they were (counted from the run's start).
    pub floors: Vec<(Duration, Bytes)>,
    /// From the first to the last, in bytes; below zero where memory fell.
    pub rise: f64,
    /// The slope of the floors (Theil–Sen), in bytes per hour; none of fewer than three floors.
    pub bytes_per_hour: Option<f64>,
    /// Sen's interval of 95 % for it.
    pub ci95: Option<(f64, f64)>,
    /// The p-value that there is no trend (Mann–Kendall, corrected by Hamed and Rao).
    pub p: Option<f64>,
    /// The slope of the floors on the requests that ended, in bytes per request.
    pub bytes_per_request: Option<f64>,
    /// Sen's interval of 95 % for it.
    pub bytes_per_request_ci95: Option<(f64, f64)>,
    /// What the growth goes along with; none where the traffic was too even to tell.
    pub driver: Option<Driver>,
    /// Of a leak: from the run's end until the peaks reach the limit, in hours, earliest and latest.
    pub hours_to_limit: Option<(f64, f64)>,
    /// Where it is unclear: so many more cycles would tell.
    pub more_cycles: Option<usize>,
    /// Descriptors, threads and sockets, as far as they were counted.
    pub resources: Vec<ResourceGrowth>,
    /// Bytes printed and bytes written to block devices, summed up since the first cycle, as far as
    /// they were counted: a line here is steady writing, and no fault by itself.
    pub written: Vec<ResourceGrowth>,
    /// Bytes printed an hour.
    pub log_bytes_per_hour: Option<f64>,
    /// Bytes written to block devices an hour.
    pub disk_bytes_per_hour: Option<f64>,
}

impl Growth {
    /// Over what it was judged, in words.
    #[must_use]
    pub fn over(&self) -> String {
        let cycle = self.cycle.as_secs_f64();
        match (self.by_bursts, self.cycles) {
            (true, 1) => "1 burst".to_owned(),
            (true, count) => format!("{count} bursts"),
            (false, count) => format!("{count} parts of {cycle:.1} s"),
        }
    }
}

/// How the number of something grew in the same phase.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResourceGrowth {
    /// Of what: `open_files`, `threads`, `sockets`; `log_bytes`, `disk_bytes`.
    pub name: &'static str,
    /// What kind of growth it is.
    pub class: GrowthClass,
    /// The first floor.
    pub first: f64,
    /// The last floor.
    pub last: f64,
    /// The slope of the floors, per hour.
    pub per_hour: Option<f64>,
    /// The slope on requests that ended.
    pub per_request: Option<f64>,
    /// Of a line: what it goes along with; none where the traffic was too even to tell.
    pub driver: Option<Driver>,
}

/// Collects floors while events come in.
#[derive(Debug, Default)]
pub(super) struct Growing {
    phases: BTreeMap<u16, PhaseCycles>,
    slack: BTreeMap<LifeId, Bytes>,
}

/// One phase of one life.
#[derive(Debug)]
struct PhaseCycles {
    life: LifeId,
    cycles: Cycles,
    by_bursts: bool,
}

impl Growing {
    pub(super) fn sampling(&mut self, start: &SamplingStart) {
        self.slack.insert(start.life, start.charge_slack);
    }

    /// Takes in a window of a main life.
    pub(super) fn memory(&mut self, placed: &Placed<'_>, places: &Places, outline: &Outline) {
        let Some(index) = placed.phase else { return };
        let Some(phase) = outline.phases.get(usize::from(index)) else { return };
        let Some(row) = places.phases().iter().find(|row| row.0 == index) else { return };
        if phase.steady == Some(false) || placed.window.start < row.1 {
            return;
        }
        let life = placed.window.life;
        let known = self.phases.entry(index).or_insert_with(|| begin(life, row.1, phase));
        if known.life != life {
            // Only the last life can still grow.
            *known = begin(life, row.1, phase);
        }
        known.cycles.memory(placed.window);
    }

    pub(super) fn flow(&mut self, window: &FlowWindow, places: &Places) {
        let phase = places.phase_at(window.start);
        if let Some(known) = phase.and_then(|phase| self.phases.get_mut(&phase)) {
            let in_flight = window.steps.iter().map(|row| u64::from(row.in_flight_max)).sum();
            known.cycles.flow(window.start, window.counts.ended, in_flight);
        }
    }

    pub(super) fn vitals(&mut self, at: Moment, now: &Vitals, places: &Places) {
        let phase = places.phase_at(at);
        if let Some(known) = phase.and_then(|phase| self.phases.get_mut(&phase))
            && Some(known.life) == now.life
        {
            known.cycles.vitals(at, now);
        }
    }

    /// Judges the phase that tells most: with traffic before one without, then the longest.
    pub(super) fn finish(self, outline: &Outline, limit: Limit) -> Option<Growth> {
        let slack = |life| self.slack.get(&life).copied().unwrap_or_default();
        let best = self.phases.iter().max_by_key(|(_, row)| {
            (row.cycles.requests() > 0, row.cycles.length(), row.cycles.begun())
        })?;
        let name = &outline.phases.get(usize::from(*best.0))?.name;
        best.1.judge(name, slack(best.1.life), limit)
    }
}

fn begin(life: LifeId, start: Moment, phase: &PhaseOutline) -> PhaseCycles {
    let cycles = match phase.cycle.filter(|cycle| cycle.every_ns > 0) {
        Some(cycle) => {
            Cycles::of_bursts(start, Duration::from_nanos(cycle.first_ns), cycle.every_ns)
        }
        None => Cycles::of_parts(start),
    };
    PhaseCycles { life, cycles, by_bursts: phase.cycle.is_some() }
}

impl PhaseCycles {
    fn judge(&self, phase: &str, slack: Bytes, limit: Limit) -> Option<Growth> {
        let series = self.cycles.series()?;
        let typical = trend::median(&series.floors.values)?;
        let slack = slack.as_f64().max(SHARE_OF_FLOOR * typical);
        let floors = Floors { slack, ..series.floors };
        let judged = class::judge(&floors);
        let on_requests = trend::trend(&series.requests, &floors.values);
        let leak = judged.class == GrowthClass::Leak;
        let first = floors.before.or(floors.values.first().copied())?;
        let last = *floors.values.last()?;
        let per_hour = |rate: f64| rate * SECONDS_A_HOUR;
        let room = limit.bytes().map(|limit| limit.as_f64() - series.last_peak.max(last));
        Some(Growth {
            class: judged.class,
            phase: phase.to_owned(),
            cycles: floors.values.len(),
            by_bursts: self.by_bursts,
            cycle: series.cycle,
            first: whole(first),
            last: whole(last),
            floors: self.cycles.placed(&floors),
            rise: judged.rise,
            bytes_per_hour: judged.trend.map(|row| per_hour(row.slope)),
            ci95: judged.trend.map(|row| (per_hour(row.low), per_hour(row.high))),
            p: judged.trend.map(|row| row.p),
            bytes_per_request: on_requests.map(|row| row.slope),
            bytes_per_request_ci95: on_requests.map(|row| (row.low, row.high)),
            driver: leak.then(|| driver(&floors, &series.requests, &judged)).flatten(),
            hours_to_limit: room.filter(|_| leak).and_then(|room| hours(room, &judged)),
            more_cycles: judged.more,
            resources: series.resources.iter().map(|row| resource(row, FEW)).collect(),
            written: series.written.iter().map(|row| resource(row, LITTLE_WRITTEN)).collect(),
            log_bytes_per_hour: series.log_rate.map(per_hour),
            disk_bytes_per_hour: series.disk_rate.map(per_hour),
        })
    }
}

/// How long a line takes to fill the room that is left, at its steepest and at its least.
fn hours(room: f64, judged: &Judged) -> Option<(f64, f64)> {
    let trend = judged.trend.filter(|trend| trend.low > 0.0)?;
    let hours = |rate: f64| (room.max(0.0) / rate) / SECONDS_A_HOUR;
    Some((hours(trend.high), hours(trend.low)))
}

/// Which of the two the floors lie closer along; none where requests came as evenly as time does.
fn driver(floors: &Floors, requests: &[f64], judged: &Judged) -> Option<Driver> {
    /// One of two fits is better where its rests are so much smaller.
    const BETTER: f64 = 0.5;
    if requests.last().is_none_or(|all| *all <= 0.0) {
        return Some(Driver::Time);
    }
    let rest = |x: &[f64], slope: f64| {
        let rests: Vec<f64> = x.iter().zip(&floors.values).map(|(x, y)| y - slope * x).collect();
        let middle = trend::median(&rests)?;
        trend::median(&rests.iter().map(|rest| (rest - middle).abs()).collect::<Vec<_>>())
    };
    let by_time = rest(&floors.times, judged.trend?.slope)?;
    let by_requests = rest(requests, trend::trend(requests, &floors.values)?.slope)?;
    // Rests within the steps in which the kernel counts say nothing.
    let told = by_time.max(by_requests) > floors.slack / 4.0;
    match told {
        true if by_requests < BETTER * by_time => Some(Driver::Traffic),
        true if by_time < BETTER * by_requests => Some(Driver::Time),
        _ => None,
    }
}

fn resource(row: &Resource, few: f64) -> ResourceGrowth {
    let typical = trend::median(&row.floors.values).unwrap_or(0.0);
    let slack = few.max(SHARE_OF_COUNT * typical);
    let floors = Floors { slack, ..row.floors.clone() };
    let judged = class::judge(&floors);
    ResourceGrowth {
        name: row.name,
        class: judged.class,
        first: floors.values.first().copied().unwrap_or(0.0),
        last: floors.values.last().copied().unwrap_or(0.0),
        per_hour: judged.trend.map(|trend| trend.slope * SECONDS_A_HOUR),
        per_request: trend::trend(&row.requests, &floors.values).map(|trend| trend.slope),
        driver: (judged.class == GrowthClass::Leak)
            .then(|| driver(&floors, &row.requests, &judged))
            .flatten(),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at 0")]
fn whole(bytes: f64) -> Bytes {
    Bytes::new(bytes.round() as u64)
}

/// The middle of values; none of none.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    trend::median(values)
}

fn seconds(ns: u64) -> f64 {
    float(ns) / 1e9
}
