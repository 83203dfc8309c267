//! What happened in each phase.

use std::collections::BTreeMap;

use super::float;
use super::model::{
    CustomTraffic, Phase, PhaseMemory, ScenarioTraffic, Sizes, StepTraffic, Traffic,
};
use super::reach::Reach;
use super::timed::{Answered, Timed, times};
use super::vitals::VitalSums;
use crate::clock::Moment;
use crate::event::{Counts, ErrorKind, Histogram, MemoryWindow, MetricSums, TrafficWindow, Vitals};
use crate::judge::Places;
use crate::plan::{CustomKind, Outline};
use crate::units::Bytes;

/// Sums of one phase.
#[derive(Debug, Default)]
pub(super) struct PhaseSums {
    memory: Option<PhaseMemory>,
    vitals: VitalSums,
    counts: Counts,
    lateness: Histogram,
    status: BTreeMap<u16, u64>,
    errors: BTreeMap<ErrorKind, u64>,
    metrics: BTreeMap<u16, MetricSums>,
    reach: Reach,
    steps: BTreeMap<u16, StepSums>,
}

#[derive(Debug, Default)]
struct StepSums {
    counts: Counts,
    /// Requests of windows in which all were answered alike, which says it all.
    alike: Answered,
    /// Those of the other windows: all, and by how they were answered.
    mixed: Timed,
    told_apart: Answered,
    request_bytes: Histogram,
    response_bytes: Histogram,
}

impl StepSums {
    fn take(&mut self, window: &TrafficWindow) {
        let all = window.all();
        if all.status.is_some() {
            self.alike.take(window);
        } else {
            self.mixed.take(&all);
            self.told_apart.take(window);
        }
    }

    /// All requests, and by how they were answered.
    fn whole(&self) -> (Timed, Answered) {
        let (mut all, mut answered) = (self.mixed.clone(), Answered::default());
        for timed in self.alike.sums() {
            all.add(timed);
        }
        answered.add(&self.alike);
        answered.add(&self.told_apart);
        (all, answered)
    }
}

impl PhaseSums {
    pub(super) fn memory(&mut self, window: &MemoryWindow) {
        let sums = self.memory.get_or_insert(PhaseMemory {
            peak: window.peak,
            rss_peak: window.rss.max,
            unreclaimable_peak: window.unreclaimable_high.max,
            unreclaimable_peak_low: window.unreclaimable_low.max,
            start: window.unreclaimable_high.min,
            end: window.unreclaimable_high.last,
        });
        sums.peak = sums.peak.max(window.peak);
        sums.rss_peak = sums.rss_peak.max(window.rss.max);
        sums.unreclaimable_peak = sums.unreclaimable_peak.max(window.unreclaimable_high.max);
        sums.unreclaimable_peak_low = sums.unreclaimable_peak_low.max(window.unreclaimable_low.max);
        sums.end = window.unreclaimable_high.last;
    }

    pub(super) fn traffic(&mut self, at: Moment, window: &TrafficWindow) {
        self.counts.add(&window.counts);
        self.lateness.add(&window.lateness_us);
        self.reach.take(at, window);
        for (status, count) in &window.status {
            *self.status.entry(*status).or_default() += count;
        }
        for (kind, count) in &window.errors {
            *self.errors.entry(*kind).or_default() += count;
        }
        for (metric, sums) in &window.metrics {
            self.metrics.entry(*metric).or_default().add(*sums);
        }
        let step = self.steps.entry(window.step).or_default();
        step.counts.add(&window.counts);
        step.request_bytes.add(&window.request_bytes);
        step.response_bytes.add(&window.response_bytes);
        step.take(window);
    }

    fn finish(self, name: String, start: Moment, end: Moment, outline: &Outline) -> Phase {
        let target = self.vitals.finish();
        Phase {
            name,
            start,
            end,
            memory: self.memory,
            target,
            traffic: self.traffic_sums(start, end, outline),
            recovery: None,
            failing: Vec::new(),
        }
    }

    fn traffic_sums(self, start: Moment, end: Moment, outline: &Outline) -> Option<Traffic> {
        let steps = outline.steps.as_slice();
        if self.steps.is_empty() {
            return None;
        }
        let seconds = end.since(start).as_secs_f64();
        let us = |percent| self.lateness.percentile(percent).map(float);
        let (mut all, mut answers) = (Timed::default(), Answered::default());
        let mut scenarios = Vec::<(&str, Timed)>::new();
        let timed: Vec<(Timed, Answered)> = self.steps.values().map(StepSums::whole).collect();
        for (index, (of_step, answered)) in self.steps.keys().zip(&timed) {
            all.add(of_step);
            answers.add(answered);
            let named = steps.get(usize::from(*index)).map_or("", |row| &row.scenario);
            match scenarios.iter_mut().find(|row| row.0 == named) {
                Some((_, timed)) => timed.add(of_step),
                None => scenarios.push((named, of_step.clone())),
            }
        }
        let steps = self.steps.iter().zip(&timed).map(|((index, sums), (timed, answered))| {
            let named = steps.get(usize::from(*index));
            StepTraffic {
                scenario: named.map_or_else(String::new, |row| row.scenario.clone()),
                step: named.map_or_else(|| format!("step {index}"), |row| row.step.clone()),
                requests: sums.counts.ended,
                failed: sums.counts.failed,
                unsent: sums.counts.unsent,
                bytes_sent: sums.counts.bytes_sent,
                bytes_received: sums.counts.bytes_received,
                latency: times(&timed.latency),
                duration: times(&timed.duration),
                waiting: times(&timed.waiting),
                request_body: sizes(&sums.request_bytes),
                response_body: sizes(&sums.response_bytes),
                tags: named.map(|row| row.tags.clone()).unwrap_or_default(),
                wanted_body: named.and_then(|row| {
                    let (p50, p99) = row.body_wanted?;
                    Some(Sizes { p50, p99, max: row.body_max })
                }),
                answers: answered.finish(),
            }
        });
        Some(Traffic {
            requests: self.counts.ended,
            failed: self.counts.failed,
            unsent: self.counts.unsent,
            late: self.lateness.count_above(Traffic::LATE_US),
            rate: (seconds > 0.0).then(|| float(self.counts.ended) / seconds),
            bytes_sent: self.counts.bytes_sent,
            bytes_received: self.counts.bytes_received,
            latency: times(&all.latency),
            duration: times(&all.duration),
            waiting: times(&all.waiting),
            send_lateness_us: us(50.0).zip(us(99.0)),
            answers: answers.finish(),
            scenarios: scenarios
                .into_iter()
                .map(|(name, timed)| ScenarioTraffic {
                    scenario: name.to_owned(),
                    timed: timed.finish(),
                })
                .collect(),
            steps: steps.collect(),
            metrics: self.metrics.iter().filter_map(|row| custom(outline, row, seconds)).collect(),
            status: self.status,
            errors: self.errors,
            unreachable_since: self.reach.lost_since(start, end),
        })
    }
}

/// All phases.
#[derive(Debug, Default)]
pub(super) struct Phases {
    sums: BTreeMap<u16, PhaseSums>,
}

impl Phases {
    pub(super) fn of(&mut self, phase: u16) -> &mut PhaseSums {
        self.sums.entry(phase).or_default()
    }

    /// Takes in a reading of the main container, and the one before of the same life.
    pub(super) fn vitals(
        &mut self,
        places: &Places,
        before: Option<&(Moment, Vitals)>,
        at: Moment,
        now: &Vitals,
    ) {
        let between = before.and_then(|row| places.phase_between(row.0, at));
        if let Some(phase) = places.phase_at(at).or(between) {
            self.of(phase).vitals.levels(now);
        }
        if let (Some(before), Some(phase)) = (before, between) {
            self.of(phase).vitals.movement(before, at, now);
        }
    }

    /// The phases that began, in order; one that did not end ends with the run.
    pub(super) fn finish(
        mut self,
        spans: &[(u16, Moment, Option<Moment>)],
        end: Moment,
        outline: &Outline,
    ) -> Vec<Phase> {
        let rows = spans.iter().map(|(index, start, ended)| {
            let sums = self.sums.remove(index).unwrap_or_default();
            let named = outline.phases.get(usize::from(*index));
            let name = named.map_or_else(|| format!("phase {index}"), |row| row.name.clone());
            sums.finish(name, *start, ended.unwrap_or(end), outline)
        });
        rows.collect()
    }
}

/// What came of a metric of the scenario's own.
fn custom(
    outline: &Outline,
    (id, sums): (&u16, &MetricSums),
    seconds: f64,
) -> Option<CustomTraffic> {
    let metric = outline.words.metrics.get(usize::from(*id))?;
    let rate = match metric.kind {
        CustomKind::Rate => (sums.of > 0).then(|| float(sums.hits) / float(sums.of)),
        CustomKind::Counter => (seconds > 0.0).then(|| float(sums.hits) / seconds),
    };
    let (name, kind) = (metric.name.clone(), metric.kind);
    Some(CustomTraffic { name, kind, count: sums.hits, answers: sums.of, rate })
}

fn sizes(histogram: &Histogram) -> Option<Sizes> {
    Some(Sizes {
        p50: Bytes::new(histogram.percentile(50.0)?),
        p99: Bytes::new(histogram.percentile(99.0)?),
        max: Bytes::new(histogram.max()?),
    })
}
