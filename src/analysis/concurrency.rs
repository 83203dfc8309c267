//! What more load does to the target: its memory, threads and descriptors, how far throughput
//! follows, what binds it then, and how requests fail.
//!
//! A phase whose load climbs is cut into levels of load, and each measure is judged over them. A
//! single climb can't tell load from time: what it shows is "as the load rose". Phases of different
//! steady load are compared in the same way. Where the load hardly changes, nothing is told.

mod binding;
mod dependence;
mod failing;
mod findings;
mod knee;
mod levels;
mod rows;

use std::collections::BTreeMap;

pub use failing::{FailureKind, FailurePattern};
pub use findings::{
    Binding, Bound, Concurrency, Dependence, DependenceClass, Divergence, LoadAxis, LoadLevel,
    Overload, Refusal, Saturation,
};

use binding::Host;
use failing::Climb;
use levels::Curve;
use rows::{Rows, Span};

use super::columns::LatencyCounts;
use super::model::{GeneratorAccount, Phase};
use super::{Growth, GrowthClass};
use crate::clock::Moment;
use crate::event::{
    FlowWindow, LifeId, RunFacts, SamplingStart, TrafficWindow, UserWindow, Vitals,
};
use crate::judge::{Placed, Places};
use crate::plan::{Outline, PaceOutline, PhaseOutline};
use crate::units::{Bytes, Limit};

/// Below this share of what it is, a difference of memory is none, beside the kernel's slack.
const SHARE_OF_MEMORY: f64 = 0.005;
/// So many threads, descriptors or sockets more are no rise, nor is this share of them.
const FEW: f64 = 2.0;
const SHARE_OF_COUNT: f64 = 0.02;
/// The most load is at least so many times the least, and so much more.
const RANGE: f64 = 2.0;
const RANGE_MORE: f64 = 4.0;
/// Fewer levels than this tell nothing.
const LEAST_LEVELS: usize = 5;
/// So many requests make a 99th percentile.
const LEAST_REQUESTS: u64 = 50;
/// So many phases of different load can be compared.
const LEAST_PHASES: usize = 3;
/// From this share of answers on, requests are turned away.
const SHEDS: f64 = 0.05;

/// Collects what is needed while events come in.
#[derive(Debug, Default)]
pub(super) struct Loading {
    phases: BTreeMap<u16, Rows>,
    slack: BTreeMap<LifeId, Bytes>,
}

/// What is known beside the events.
pub(super) struct Surroundings<'a> {
    pub(super) outline: &'a Outline,
    pub(super) facts: &'a RunFacts,
    pub(super) generator: Option<GeneratorAccount>,
    pub(super) growth: Option<&'a Growth>,
}

impl Loading {
    pub(super) fn sampling(&mut self, start: &SamplingStart) {
        self.slack.insert(start.life, start.charge_slack);
    }

    /// Takes in a window of a main life.
    pub(super) fn memory(&mut self, placed: &Placed<'_>) {
        if let Some(phase) = placed.phase {
            self.of(phase).memory(placed.at, placed.window);
        }
    }

    pub(super) fn flow(&mut self, at: Moment, window: &FlowWindow, places: &Places) {
        if let Some(phase) = places.phase_at(window.start) {
            self.of(phase).flow(at, window);
        }
    }

    pub(super) fn users(&mut self, at: Moment, window: &UserWindow) {
        self.of(window.phase).users(at, window);
    }

    pub(super) fn traffic(&mut self, at: Moment, window: &TrafficWindow, latency: LatencyCounts) {
        self.of(window.phase).traffic(at, window, latency);
    }

    pub(super) fn vitals(
        &mut self,
        before: &(Moment, Vitals),
        at: Moment,
        now: &Vitals,
        places: &Places,
    ) {
        if let Some(phase) = places.phase_between(before.0, at) {
            self.of(phase).vitals(before, at, now);
        }
    }

    fn of(&mut self, phase: u16) -> &mut Rows {
        self.phases.entry(phase).or_default()
    }

    /// Judges each phase whose load climbs, and the phases of steady load together. Tells each
    /// phase's failures; `phases` are the run's, by their index in the plan.
    pub(super) fn finish(
        &self,
        phases: &mut [(u16, &mut Phase)],
        around: &Surroundings<'_>,
    ) -> Vec<Concurrency> {
        let mut found = Vec::new();
        for (index, phase) in phases.iter_mut() {
            let Some(rows) = self.phases.get(index) else { continue };
            let Some(planned) = around.outline.phases.get(usize::from(*index)) else { continue };
            let within = Span { from: phase.start.as_secs_f64(), to: phase.end.as_secs_f64() };
            let axis = axis(planned, rows);
            let curve = Curve::of(rows, axis);
            let climbs = !planned.bursts && planned.steady != Some(true) && phase.traffic.is_some();
            let told = climbs
                .then(|| self.climb(rows, &curve, axis, within, around))
                .flatten()
                // Recorded traffic and old recordings don't tell that there is to be a climb.
                .filter(|told| planned.steady.is_some() || told.refused.is_none());
            let climb = told.as_ref().filter(|told| told.refused.is_none()).map(|told| Climb {
                axis,
                levels: &told.levels,
                throughput: told.throughput,
            });
            phase.failing = failing::patterns(rows, climb.as_ref(), |span| curve.over(span));
            if let Some(told) = told {
                found.push(Concurrency { phases: vec![phase.name.clone()], ..told });
            }
        }
        found.extend(self.across(phases, around));
        found
    }

    fn slack(&self, rows: &Rows) -> f64 {
        let slack = rows.life.and_then(|life| self.slack.get(&life));
        slack.copied().unwrap_or_default().as_f64()
    }

    fn climb(
        &self,
        rows: &Rows,
        curve: &Curve,
        axis: LoadAxis,
        within: Span,
        around: &Surroundings<'_>,
    ) -> Option<Concurrency> {
        let span = curve.climb()?;
        let span = Span { from: span.from.max(within.from), to: span.to.min(within.to) };
        let range = curve.range(span)?;
        let enough = range.1 >= RANGE * range.0 && range.1 - range.0 >= RANGE_MORE;
        if !enough {
            return Some(Concurrency::refused(axis, range, Refusal::LittleRange));
        }
        let levels = levels::levels(rows, curve, span);
        if levels.len() < LEAST_LEVELS {
            return Some(Concurrency::refused(axis, range, Refusal::TooShort));
        }
        let latency = divergence(levels::thirds(rows, curve, span));
        let mut told = told(axis, range, levels, latency, self.slack(rows), around);
        told.given_back = given_back(rows, span, &told);
        Some(told)
    }

    /// Phases of steady load, compared with one another.
    fn across(
        &self,
        phases: &[(u16, &mut Phase)],
        around: &Surroundings<'_>,
    ) -> Option<Concurrency> {
        let steady = phases.iter().filter_map(|(index, phase)| {
            let planned = around.outline.phases.get(usize::from(*index))?;
            let rows = self.phases.get(index)?;
            let calm = planned.steady == Some(true) && !planned.bursts && phase.traffic.is_some();
            calm.then_some((phase, planned, rows))
        });
        let steady: Vec<_> = steady.collect();
        let pace = steady.first()?.1.pace;
        let life = steady.first()?.2.life;
        let mut rows: Vec<(String, LoadLevel)> = steady
            .iter()
            .filter(|row| row.1.pace == pace && row.2.life == life)
            .filter_map(|(phase, planned, rows)| {
                let axis = axis(planned, rows);
                let curve = Curve::of(rows, axis);
                let (start, end) = (phase.start.as_secs_f64(), phase.end.as_secs_f64());
                // What comes at first is still of the phase before.
                let within = Span { from: start + (end - start) / 4.0, to: end };
                Some((phase.name.clone(), levels::single(rows, &curve, within)?))
            })
            .collect();
        rows.sort_by(|a, b| a.1.load.total_cmp(&b.1.load));
        rows.dedup_by(|later, before| later.1.load < 1.1 * before.1.load + 0.5);
        let (low, high) = (rows.first()?.1.load, rows.last()?.1.load);
        if rows.len() < LEAST_PHASES || high < RANGE * low || high - low < RANGE_MORE {
            return None;
        }
        let (names, levels): (Vec<String>, Vec<LoadLevel>) = rows.into_iter().unzip();
        let ends = levels.first().zip(levels.last());
        let latency = ends.and_then(|(low, high)| {
            let of = |row: &LoadLevel| {
                (row.requests >= LEAST_REQUESTS).then_some(row.p50_ms.zip(row.p99_ms)).flatten()
            };
            Some(Divergence { low_ms: of(low)?, high_ms: of(high)? })
        });
        let axis = axis(steady.first()?.1, steady.first()?.2);
        let slack = self.slack(steady.first()?.2);
        let told = told(axis, (low, high), levels, latency, slack, around);
        Some(Concurrency { phases: names, ..told })
    }
}

/// What the load of a phase is counted in.
fn axis(planned: &PhaseOutline, rows: &Rows) -> LoadAxis {
    match planned.pace {
        Some(PaceOutline::Users) if rows.users.rows().next().is_some() => LoadAxis::Users,
        Some(PaceOutline::Rate) => LoadAxis::Rate,
        _ => LoadAxis::InFlight,
    }
}

fn divergence([low, high]: [LatencyCounts; 2]) -> Option<Divergence> {
    let of = |counts: &LatencyCounts| {
        let enough = counts.count() >= LEAST_REQUESTS;
        enough.then(|| (counts.percentile_ms(0.5), counts.percentile_ms(0.99)))
    };
    Some(Divergence { low_ms: of(&low)?, high_ms: of(&high)? })
}

/// What levels of load show.
fn told(
    axis: LoadAxis,
    range: (f64, f64),
    levels: Vec<LoadLevel>,
    latency: Option<Divergence>,
    slack: f64,
    around: &Surroundings<'_>,
) -> Concurrency {
    let points = |of: fn(&LoadLevel) -> Option<f64>| {
        let known = levels.iter().filter_map(|row| Some((row.load, of(row)?)));
        known.collect::<Vec<(f64, f64)>>()
    };
    let counts = |of: fn(&LoadLevel) -> Option<f64>| {
        let points = points(of);
        let most = points.iter().map(|point| point.1).fold(0.0, f64::max);
        dependence::judged(&points, FEW.max(SHARE_OF_COUNT * most))
    };
    let memory = points(|row| row.memory);
    let most = memory.iter().map(|point| point.1).fold(0.0, f64::max);
    let memory = dependence::judged(&memory, slack.max(SHARE_OF_MEMORY * most));
    let throughput = knee::saturation(&levels);
    let generator = around.generator.map(|row| (row.cpu_percent, row.saturated));
    let host = Host::new(around.outline.limits.cpus, around.facts.host.cpus, generator);
    let leaks_anyway = around.growth.is_some_and(|growth| growth.class == GrowthClass::Leak);
    let limit_full_at = memory
        .filter(|_| !leaks_anyway)
        .and_then(|row| full_at(row, around.outline.limits.memory, &levels, range.1));
    Concurrency {
        bound: binding::bound(&levels, latency.as_ref(), throughput.as_ref(), host),
        overload: overload(&levels, latency.as_ref(), throughput.as_ref()),
        threads: counts(|row| row.threads),
        open_files: counts(|row| row.open_files),
        sockets: counts(|row| row.sockets),
        phases: Vec::new(),
        axis,
        range,
        refused: None,
        memory,
        given_back: None,
        leaks_anyway,
        limit_full_at,
        latency,
        throughput,
        levels,
    }
}

/// The load at which a line fills the limit, from its peak under the most load on.
fn full_at(row: Dependence, limit: Limit, levels: &[LoadLevel], most: f64) -> Option<(f64, f64)> {
    let (low, high) = row.ci95.filter(|_| row.class == DependenceClass::Linear)?;
    let peak = levels.last()?.memory_peak?;
    let room = limit.bytes()?.as_f64() - peak.max(row.last);
    (low > 0.0).then(|| (most + room.max(0.0) / high, most + room.max(0.0) / low))
}

/// The share of the rise that was given back after the climb, where the load came down by half and
/// more.
fn given_back(rows: &Rows, climb: Span, told: &Concurrency) -> Option<f64> {
    /// Of the rows after the climb, the last ones show what is left.
    const LAST: usize = 5;
    let memory = told.memory?;
    let after = || rows.memory.rows().filter(|row| row.span.from >= climb.to);
    let flow = rows.flow.rows().filter(|row| row.span.from >= climb.to);
    let curve = Curve::of(rows, told.axis);
    let least = flow.filter_map(|row| curve.over(row.span)).fold(f64::INFINITY, f64::min);
    let rise = memory.last - memory.first;
    let count = after().count();
    if least > f64::midpoint(told.range.0, told.range.1) || rise <= 0.0 || count < LAST {
        return None;
    }
    let left = after().skip(count - LAST).map(|row| row.level).fold(f64::INFINITY, f64::min);
    Some(((memory.last - left) / rise).clamp(0.0, 1.0))
}

/// What becomes of requests under much load.
fn overload(
    levels: &[LoadLevel],
    latency: Option<&Divergence>,
    throughput: Option<&Saturation>,
) -> Option<Overload> {
    let late = &levels[levels.len() - levels.len().div_ceil(3)..];
    let sum = |of: fn(&LoadLevel) -> u64| late.iter().map(of).sum::<u64>();
    let share = |part: u64| super::float(part) / super::float(sum(|row| row.requests).max(1));
    let (turned_away, failed) = (sum(|row| row.turned_away), sum(|row| row.failed));
    let sheds = share(turned_away) >= SHEDS;
    let fails = share(failed.saturating_sub(turned_away)) >= SHEDS;
    let slows = latency.is_some_and(Divergence::is_slower);
    let saturated =
        throughput.is_some_and(|row| row.from.is_some() || row.collapses_from.is_some());
    match (sheds, slows) {
        (true, true) => Some(Overload::Both),
        (true, false) => Some(Overload::Sheds),
        (false, _) if fails => Some(Overload::Fails),
        (false, true) if saturated => Some(Overload::Slows),
        (false, _) => None,
    }
}

impl Concurrency {
    fn refused(axis: LoadAxis, range: (f64, f64), why: Refusal) -> Self {
        let bound = Binding { by: Bound::Unclear, evidence: Vec::new() };
        Self {
            phases: Vec::new(),
            axis,
            range,
            refused: Some(why),
            levels: Vec::new(),
            memory: None,
            threads: None,
            open_files: None,
            sockets: None,
            given_back: None,
            leaks_anyway: false,
            limit_full_at: None,
            latency: None,
            throughput: None,
            bound,
            overload: None,
        }
    }
}

#[cfg(test)]
#[path = "concurrency_tests.rs"]
mod tests;
