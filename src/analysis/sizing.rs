//! Sizing: a first estimate of the limit that a service needs, and what a search has proved.
//!
//! The estimate of a single run is a guess, and is called one: the greatest unreclaimable memory
//! that was seen (upper bound, startup and every burst), plus a margin for what other runs may
//! differ by. Where the run can't tell, because the target was killed, leaks or was cut off, there
//! is no estimate, and the reason is told.

mod run;

use std::collections::BTreeMap;
use std::time::Duration;

pub use run::{SizeEnding, SizePhase, SizeRun};

use super::Trial;
use super::growth::GrowthClass;
use super::model::Findings;
use crate::clock::Moment;
use crate::event::{Finish, Histogram, LifeRole, PeakMethod};
use crate::judge::{Placed, Places};
use crate::plan::{Outline, WATCH_PHASE};
use crate::units::{Bytes, Limit};

/// The margin of an estimate at least, in percent.
const MARGIN: f64 = 10.0;
/// The same where no burst was seen.
const MARGIN_CALM: f64 = 15.0;
/// The same where peaks between two readings are missed.
const MARGIN_BLIND: f64 = 30.0;
/// The margin at most.
const MARGIN_MOST: f64 = 30.0;
/// Of the levels of a run's windows, a request covers so many, in percent.
const REQUEST_PERCENTILE: f64 = 95.0;

/// What limit a service needs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sizing {
    /// The limit; none where it can't be told.
    pub recommended: Option<Bytes>,
    /// What a scheduler should set aside (a Kubernetes request): the level below which memory
    /// stays nearly all the time.
    pub request: Option<Bytes>,
    /// Whether runs under the recommended limit have survived; without them it is a guess.
    pub verified: bool,
    /// How the recommendation came about, or why there is none.
    pub reason: String,
    /// What it is above the memory that was needed, or above the least limit that survived, in
    /// percent.
    pub margin_percent: Option<f64>,
    /// By how much the highest burst was above the median of its phase, in percent; none where
    /// bursts don't decide what is needed.
    pub spread_percent: Option<f64>,
    /// The phases that it rests on.
    pub phases: Vec<String>,
    /// What it covers, and what not, in words.
    pub covered: Vec<String>,
    /// What it does not cover.
    pub not_covered: Vec<String>,
    /// What a search found; none for a single run.
    pub search: Option<SizeSearch>,
}

/// What a search for a limit found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SizeSearch {
    /// What was tried, a row for each limit, the highest first.
    pub trials: Vec<SizeTrial>,
    /// The least limit all of whose runs survived, with none that failed above it.
    pub least: Option<Bytes>,
    /// The cliff: the highest limit at which a run was OOM-killed.
    pub cliff: Option<Bytes>,
    /// The knee: the highest limit at which a run survived, but worse than with room.
    pub knee: Option<Bytes>,
    /// Whether the search came to its own end.
    pub finished: bool,
}

/// The runs under one limit.
#[derive(Debug, Clone, PartialEq)]
pub struct SizeTrial {
    /// The limit.
    pub limit: Limit,
    /// How many runs there were.
    pub runs: u32,
    /// How many of them survived.
    pub survived: u32,
    /// How many were OOM-killed.
    pub killed: u32,
    /// How many were not killed, but worse than with room.
    pub thrashed: u32,
    /// Why the first one that did not survive did not.
    pub reason: Option<String>,
    /// The greatest unreclaimable memory in a run, upper bound.
    pub peak: Option<Bytes>,
    /// The highest p99 of a phase's latency, in milliseconds.
    pub p99_ms: Option<f64>,
    /// The greatest share of a phase in which some task waited for memory, in percent.
    pub psi_percent: Option<f64>,
    /// The most page faults that waited for a device in a run's phases.
    pub major_faults: Option<u64>,
    /// The greatest use of CPU in a phase, in cores.
    pub cpu_cores: Option<f64>,
    /// The least throughput of the phases of a run, in requests per second.
    pub rate: Option<f64>,
    /// The runs' directories, within that of the search.
    pub directories: Vec<String>,
}

/// Collects the levels of the main lives while windows come in.
#[derive(Debug, Default)]
pub(super) struct Levels {
    /// Unreclaimable memory (upper bound) at the ends of windows, in KiB.
    at_ends: Histogram,
    /// The greatest of each burst's cycle by phase, in KiB.
    peaks: BTreeMap<u16, Histogram>,
    /// The cycle under way: its phase, its number, its greatest so far.
    cycle: Option<(u16, u64, Bytes)>,
}

impl Levels {
    /// Takes in a window of a main life.
    pub(super) fn memory(&mut self, placed: &Placed<'_>, places: &Places, outline: &Outline) {
        let Some(phase) = placed.phase.filter(|_| placed.role == LifeRole::Main) else { return };
        let window = placed.window;
        self.at_ends.record(window.unreclaimable_high.last.get() / 1024);
        let Some(cycle) = cycle_of(phase, window.peak_at, places, outline) else { return };
        let peak = window.unreclaimable_high.max;
        match &mut self.cycle {
            Some((of, number, most)) if (*of, *number) == (phase, cycle) => *most = peak.max(*most),
            other => {
                if let Some(before) = other.replace((phase, cycle, peak)) {
                    self.ended(before);
                }
            }
        }
    }

    fn ended(&mut self, (phase, _, peak): (u16, u64, Bytes)) {
        self.peaks.entry(phase).or_default().record(peak.get() / 1024);
    }

    /// How many bursts the phase with the highest one had, how high that was, and by how much it was
    /// above their median, in percent.
    fn spread(&mut self) -> Option<(u64, Bytes, f64)> {
        if let Some(last) = self.cycle.take() {
            self.ended(last);
        }
        let peaks = self.peaks.values().max_by_key(|peaks| peaks.max())?;
        let (median, highest) = (peaks.percentile(50.0)?, peaks.max()?);
        let above = super::float(highest) - super::float(median);
        let above = 100.0 * above / super::float(median).max(1.0);
        Some((peaks.count(), Bytes::from_kib(highest), above))
    }
}

/// Which burst of its phase a moment belongs to, from 0; none before the first.
fn cycle_of(phase: u16, at: Moment, places: &Places, outline: &Outline) -> Option<u64> {
    let cycle = outline.phases.get(usize::from(phase))?.cycle?;
    let start = places.phases().iter().find(|row| row.0 == phase)?.1;
    let first = start + Duration::from_nanos(cycle.first_ns);
    let since = u64::try_from(at.since(first).as_nanos()).unwrap_or(u64::MAX);
    (at >= first).then(|| since / cycle.every_ns.max(1))
}

/// The estimate of one run; none where it ran no phase of its own.
pub(super) fn estimate(
    findings: &Findings,
    outline: &Outline,
    mut levels: Levels,
    finish: Option<&Finish>,
) -> Option<Sizing> {
    let memory = findings.memory.as_ref()?;
    let is_watch = |row: &crate::plan::PhaseOutline| row.name == WATCH_PHASE;
    if outline.phases.is_empty() || outline.phases.iter().any(is_watch) {
        return None;
    }
    let phases: Vec<String> = findings.phases.iter().map(|phase| phase.name.clone()).collect();
    let none = |reason: &str| {
        let (reason, phases) = (reason.to_owned(), phases.clone());
        Some(Sizing { reason, phases, ..Sizing::default() })
    };
    let startup = || findings.startup.iter().flat_map(|startup| &startup.trials);
    if memory.oom_kills > 0 || startup().any(|trial| trial.killed) {
        return none(
            "it was OOM-killed, so what it would have needed is not known: `highwater size` finds \
             a limit that survives",
        );
    }
    if finish != Some(&Finish::Completed) {
        return none("the run did not come to its end, so what it needs is not known");
    }
    let growth = findings.growth.as_ref().map(|growth| growth.class);
    if growth == Some(GrowthClass::Leak) {
        return none("memory leaks: no limit is large enough");
    }
    let (needed, place) = needed(findings)?;
    let (margin, why, spread_percent) = margin(findings, needed, &mut levels);
    let recommended = rounded(needed.as_f64() * (1.0 + margin / 100.0));
    let request = levels.at_ends.percentile(REQUEST_PERCENTILE).map(Bytes::from_kib);
    let request = request.map(|level| rounded(level.as_f64()).min(recommended));
    let reason = format!(
        "a guess: {needed} unreclaimable at most, {place}, and {margin:.0} % on top because {why}"
    );
    Some(Sizing {
        recommended: Some(recommended),
        request,
        verified: false,
        reason,
        margin_percent: Some(margin),
        spread_percent,
        covered: vec![format!("one run of {}", phases.join(", "))],
        not_covered: not_covered(growth),
        phases,
        search: None,
    })
}

/// The greatest unreclaimable memory (upper bound) of startup and phases, and where it was.
fn needed(findings: &Findings) -> Option<(Bytes, String)> {
    let startup = findings.startup.iter().flat_map(|startup| &startup.trials);
    let limited = startup.filter(|trial: &&Trial| !trial.unlimited);
    let starting = limited.filter_map(|trial| trial.unreclaimable_peak).max();
    let phases = findings
        .phases
        .iter()
        .filter_map(|phase| Some((phase.memory?.unreclaimable_peak, format!("in {}", phase.name))));
    let memory = findings.memory.as_ref().map(|memory| memory.unreclaimable_peak);
    let whole = memory.map(|peak| (peak, "outside the phases".to_owned()));
    let starting = starting.map(|peak| (peak, "while starting".to_owned()));
    // The first of equals: a phase rather than "outside the phases".
    let rows = starting.into_iter().chain(phases).chain(whole);
    rows.reduce(|best, row| if row.0 > best.0 { row } else { best })
}

/// The margin in percent, its reason, and how far the bursts that decide lie apart, in percent.
fn margin(findings: &Findings, needed: Bytes, levels: &mut Levels) -> (f64, String, Option<f64>) {
    // A histogram's bucket may end below what went into it.
    let decides = |highest: Bytes| highest.as_f64() >= 0.98 * needed.as_f64();
    let spread = levels.spread();
    let apart = spread.filter(|row| decides(row.1)).map(|row| row.2);
    let method = findings.sampler.and_then(|sampler| sampler.method);
    if matches!(method, Some(PeakMethod::Sampled | PeakMethod::DockerStats)) {
        let why = "peaks were only sampled: higher ones may have been missed";
        return (MARGIN_BLIND, why.to_owned(), apart);
    }
    match (spread, apart) {
        (None, _) => {
            let why = "no bursts were seen that could tell how far peaks differ";
            (MARGIN_CALM, why.to_owned(), None)
        }
        (Some((bursts, _, _)), Some(apart)) => {
            let why = format!(
                "the highest of {bursts} bursts is {apart:.0} % above the median, and other runs \
                 differ too"
            );
            ((2.0 * apart).clamp(MARGIN, MARGIN_MOST), why, Some(apart))
        }
        (Some(_), None) => {
            let why = "no burst comes up to it, and other runs differ a little";
            (MARGIN, why.to_owned(), None)
        }
    }
}

fn not_covered(growth: Option<GrowthClass>) -> Vec<String> {
    let mut rows = vec![
        "runs under this limit: `highwater size` makes them".to_owned(),
        "other traffic, and memory that grows over a longer time".to_owned(),
    ];
    if growth == Some(GrowthClass::Unclear) {
        rows.push("whether memory goes on growing: that was unclear".to_owned());
    }
    rows
}

/// Up to whole mebibytes.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn rounded(bytes: f64) -> Bytes {
    Bytes::from_mib((bytes.max(0.0) as u64).div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use crate::analysis::synthetic::Script;

    #[test]
    fn an_estimate_is_above_all_that_was_held_and_a_guess() {
        let findings = Script::default().findings();
        let sizing = findings.sizing.expect("a whole run tells");
        let held = findings.memory.unwrap().unreclaimable_peak;
        let limit = sizing.recommended.expect("nothing speaks against one");
        assert!(!sizing.verified);
        assert!(sizing.reason.starts_with("a guess: "), "{}", sizing.reason);
        let above = limit.as_f64() / held.as_f64();
        assert!((1.1..=1.32).contains(&above), "{above}: {}", sizing.reason);
        assert!(sizing.request.unwrap() <= limit);
        assert_eq!(sizing.phases, ["ramp", "burst", "cool"]);
    }

    #[test]
    fn a_killed_run_gives_no_number() {
        let script = Script { kill: Some(0.5), ..Script::default() };
        let sizing = script.findings().sizing.expect("it tells why");
        assert_eq!((sizing.recommended, sizing.request), (None, None));
        assert!(sizing.reason.starts_with("it was OOM-killed"), "{}", sizing.reason);
    }
}
