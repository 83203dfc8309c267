//! One pass over the events.

use std::collections::{BTreeMap, BTreeSet};

use super::actions::Acting;
use super::columns::{LatencyCounts, TimelineBuilder};
use super::concurrency::{Loading, Surroundings};
use super::costs::Costing;
use super::growth::Growing;
use super::lives::Lives;
use super::model::{Composition, Findings, GeneratorAccount, Memory, SamplerAccount};
use super::phases::Phases;
use super::recovery::Recovering;
use super::sizing::Levels;
use super::spikes::{Mark, Spikes};
use super::startup::Trials;
use super::vitals::Whole;
use super::{checklist, float, sizing, verdict};
use crate::clock::{Anchor, Moment};
use crate::event::{
    Event, Evidence, Finish, GeneratorReport, HarnessReport, LifeId, LifeRole, OomKill,
    ProgramFacts, RunFacts, SamplerReport, SamplingStart, Vitals, What,
};
use crate::judge::{Placed, Places, Thresholds};
use crate::plan::{Budget, Outline, Rule, WATCH_PHASE};
use crate::units::{Bytes, Percent};

/// Notes that are kept.
const MOST_NOTES: usize = Budget::NOTES;

/// Takes in events and makes the findings of them.
#[derive(Debug)]
pub(super) struct Collector {
    outline: Outline,
    places: Places,
    thresholds: Thresholds,
    trials: Trials,
    phases: Phases,
    spikes: Spikes,
    growing: Growing,
    costing: Costing,
    loading: Loading,
    recovering: Recovering,
    levels: Levels,
    timeline: TimelineBuilder,
    lives: Lives,
    memory: Option<Memory>,
    kills: Kills,
    limit_hits: BTreeMap<LifeId, u64>,
    /// The last reading of each life: counters move within one life only.
    vitals: BTreeMap<LifeId, (Moment, Vitals)>,
    whole: Whole,
    program: Option<ProgramFacts>,
    samplers: BTreeMap<LifeId, Sampler>,
    generator: Option<GeneratorReport>,
    harness: Option<HarnessReport>,
    notes: Vec<String>,
    acting: Acting,
    finish: Option<Finish>,
    end: Moment,
    /// The life that began last.
    last_life: Option<LifeRole>,
    lost: Vec<(Moment, Option<Moment>)>,
}

/// OOM kills by life: sources that tell of one kill are counted once.
#[derive(Debug, Default)]
pub(super) struct Kills {
    pub(super) rows: BTreeMap<LifeId, LifeKills>,
}

#[derive(Debug)]
pub(super) struct LifeKills {
    pub(super) role: LifeRole,
    pub(super) count: u64,
    pub(super) first: Moment,
    pub(super) evidence: BTreeSet<Evidence>,
}

#[derive(Debug, Default)]
struct Sampler {
    start: Option<SamplingStart>,
    report: Option<SamplerReport>,
    /// By the windows, where no report came.
    ticks: u64,
    missed: u64,
}

impl Kills {
    /// Takes in that a life has had so many kills; true where that is more than was known.
    fn add(&mut self, kill: &OomKill, role: LifeRole, at: Moment) -> bool {
        let count = kill.count.unwrap_or(1);
        if count == 0 {
            return false;
        }
        let row = self.rows.entry(kill.life).or_insert_with(|| LifeKills {
            role,
            count: 0,
            first: at,
            evidence: BTreeSet::new(),
        });
        let more = count > row.count;
        row.first = row.first.min(at);
        row.count = row.count.max(count);
        row.evidence.insert(kill.evidence);
        more
    }

    /// The kills of the main lives.
    pub(super) fn main(&self) -> impl Iterator<Item = &LifeKills> {
        self.rows.values().filter(|row| row.role == LifeRole::Main)
    }
}

impl Collector {
    pub(super) fn new(outline: &Outline) -> Self {
        let rules = outline.thresholds.iter().flat_map(|(selector, rules)| {
            // The scenario was checked before it ran: what is no rule now is one of a later
            // version, and can't be judged by this one.
            rules
                .iter()
                .filter_map(|rule| Rule::parse_among(&outline.words, selector, rule, None).ok())
        });
        Self {
            outline: outline.clone(),
            places: Places::default(),
            thresholds: Thresholds::new(rules.collect(), outline),
            trials: Trials::default(),
            phases: Phases::default(),
            spikes: Spikes::default(),
            growing: Growing::default(),
            costing: Costing::default(),
            loading: Loading::default(),
            recovering: Recovering::default(),
            levels: Levels::default(),
            timeline: TimelineBuilder::new(outline.window_ns),
            lives: Lives::default(),
            memory: None,
            kills: Kills::default(),
            limit_hits: BTreeMap::new(),
            vitals: BTreeMap::new(),
            whole: Whole::default(),
            program: None,
            samplers: BTreeMap::new(),
            generator: None,
            harness: None,
            notes: Vec::new(),
            acting: Acting::default(),
            finish: None,
            end: Moment::START,
            last_life: None,
            lost: Vec::new(),
        }
    }

    pub(super) fn feed(&mut self, event: &Event) {
        let at = event.at;
        self.end = self.end.max(at);
        self.thresholds.feed(event);
        self.lives.feed(event);
        self.trials.feed(event);
        let placing = self.places.feed(event);
        for placed in placing.windows(event) {
            self.memory(&placed);
        }
        match &event.what {
            What::Life(start) => {
                self.last_life = Some(start.role);
                if start.role == LifeRole::Main {
                    self.timeline.begin(at);
                }
            }
            What::Sampling(start) => self.sampling(start),
            What::Exec { life, .. } => self.spikes.exec(*life),
            What::OomKill(kill) => self.kill(kill, at),
            What::Ticks(block) if self.is_main(block.life) => self.spikes.ticks(at, block),
            What::Spikes(batch) if self.is_main(batch.life) => self.spikes.told(batch),
            What::Printed(near) if self.is_main(near.life) => self.spikes.printed(near),
            What::Vitals(vitals) => self.vitals(at, vitals),
            What::Logged { life, bytes } if self.is_main(*life) => {
                self.whole.logged(*life, bytes.get());
            }
            What::Layer { life, bytes } if self.is_main(*life) => self.whole.layer(bytes.get()),
            // The main container's own is the last one; a trial's stands where there is none.
            What::Program(facts) => self.program = Some(facts.clone()),
            What::Flow(window) => {
                self.timeline.flow(at, window);
                self.spikes.flow(at, window);
                self.growing.flow(window, &self.places);
                self.costing.flow(at, window);
                self.loading.flow(at, window, &self.places);
                self.recovering.flow(at, window, &self.places, &self.outline);
            }
            What::Traffic(window) => {
                let latency = LatencyCounts::of(at, window);
                self.timeline.traffic(at, window, latency.clone());
                self.phases.of(window.phase).traffic(at, window);
                self.loading.traffic(at, window, latency);
                self.recovering.traffic(at, window, &self.places, &self.outline);
            }
            What::Users(window) => self.loading.users(at, window),
            What::SamplerDone(report) => {
                self.spikes.end(report.life);
                let sampler = self.samplers.entry(report.life).or_default();
                sampler.report = Some(report.clone());
            }
            What::GeneratorDone(report) => self.generator = Some(*report),
            What::Harness(report) => self.harness = Some(*report),
            What::Note { text } if self.notes.len() < MOST_NOTES => self.notes.push(text.clone()),
            What::ActionBegan(began) => self.acting.began(at, began),
            What::ActionEnded(ended) => self.acting.ended(at, ended),
            What::Finished(finish) => self.finish = Some(finish.clone()),
            What::Lost { from, until } if self.lost.len() < MOST_NOTES => {
                self.lost.push((*from, *until));
            }
            _ => {}
        }
    }

    fn is_main(&self, life: LifeId) -> bool {
        self.places.role(life) == Some(LifeRole::Main)
    }

    fn vitals(&mut self, at: Moment, now: &Vitals) {
        let Some(life) = now.life else { return };
        if !self.is_main(life) {
            return;
        }
        let before = self.vitals.insert(life, (at, now.clone()));
        self.phases.vitals(&self.places, before.as_ref(), at, now);
        self.whole.vitals(life, at, now);
        self.growing.vitals(at, now, &self.places);
        self.spikes.vitals(at, now);
        if let Some(before) = before {
            self.timeline.vitals(&before, at, now);
            self.loading.vitals(&before, at, now, &self.places);
        }
    }

    fn sampling(&mut self, start: &SamplingStart) {
        self.samplers.entry(start.life).or_default().start = Some(*start);
        self.spikes.sampling(start);
        self.growing.sampling(start);
        self.loading.sampling(start);
        self.recovering.sampling(start);
    }

    fn kill(&mut self, kill: &OomKill, at: Moment) {
        let Some(role) = self.places.role(kill.life) else {
            return;
        };
        if self.kills.add(kill, role, at) && role == LifeRole::Main {
            self.timeline.kill(at);
        }
    }

    fn memory(&mut self, placed: &Placed<'_>) {
        let (at, window) = (placed.at, placed.window);
        let sampler = self.samplers.entry(window.life).or_default();
        sampler.ticks += u64::from(window.ticks);
        sampler.missed += u64::from(window.missed);
        if let Some(count) = window.oom_kills.filter(|count| *count > 0) {
            let (life, evidence) = (window.life, Evidence::Events);
            let count = Some(count);
            let kill = OomKill { life, evidence, count };
            self.kill(&kill, at);
        }
        if placed.role != LifeRole::Main {
            self.trials.memory(placed);
            return;
        }
        self.lives.memory(window);
        if let Some(hits) = window.limit_hits {
            let most = self.limit_hits.entry(window.life).or_default();
            *most = (*most).max(hits);
        }
        self.timeline.memory(at, window);
        self.growing.memory(placed, &self.places, &self.outline);
        self.costing.memory(placed);
        self.loading.memory(placed);
        self.recovering.memory(placed, &self.places, &self.outline);
        self.levels.memory(placed, &self.places, &self.outline);
        if let Some(phase) = placed.phase {
            self.phases.of(phase).memory(window);
        }
        let memory = self.memory.get_or_insert_with(|| Memory {
            peak: Bytes::ZERO,
            peak_at: at,
            rss_peak: Bytes::ZERO,
            unreclaimable_peak: Bytes::ZERO,
            unreclaimable_peak_low: Bytes::ZERO,
            headroom_percent: None,
            oom_kills: 0,
            oom_evidence: BTreeSet::new(),
            limit_hits: None,
            composition: None,
        });
        if window.peak > memory.peak {
            (memory.peak, memory.peak_at) = (window.peak, window.peak_at);
        }
        memory.rss_peak = memory.rss_peak.max(window.rss.max);
        if window.unreclaimable_high.max > memory.unreclaimable_peak {
            memory.unreclaimable_peak = window.unreclaimable_high.max;
            memory.composition = Some(Composition {
                at,
                anon: window.rss.max,
                shmem: window.shmem.max,
                cache: window.cache.max,
                working_set: window.working_set.max,
                kernel: window.kernel,
            });
        }
        memory.unreclaimable_peak_low =
            memory.unreclaimable_peak_low.max(window.unreclaimable_low.max);
    }

    pub(super) fn finish(mut self, facts: &RunFacts, anchor: Anchor) -> Findings {
        self.thresholds.finish();
        let (place, stopped_at) = self.place_at_end();
        for placed in self.places.finish().waited() {
            self.memory(&placed);
        }
        let memory = self.memory.take().map(|memory| self.whole(memory));
        let kills_of = |life| self.kills.rows.get(&life).map_or(0, |row| row.count);
        let lives = std::mem::take(&mut self.lives).finish(kills_of);
        let spans = self.places.phases();
        let mut phases = self.phases.finish(spans, self.end, &self.outline);
        for (phase, span) in phases.iter_mut().zip(spans) {
            phase.recovery = self.recovering.finish(span.0);
        }
        let limit = self.outline.limits.memory;
        let growth = self.growing.finish(&self.outline, limit);
        let generator = self.generator.map(generator_account);
        let around =
            Surroundings { outline: &self.outline, facts, generator, growth: growth.as_ref() };
        let mut placed: Vec<_> = spans.iter().map(|span| span.0).zip(&mut phases).collect();
        let concurrency = self.loading.finish(&mut placed, &around);
        let peaks = phases.iter().filter_map(|phase| phase.memory.as_ref());
        let run_peak = peaks.map(|memory| memory.unreclaimable_peak).max();
        let costs = self.costing.finish(&self.outline, limit, growth.as_ref());
        let by_step = costs.as_ref().map(|costs| costs.by_step(&self.outline)).unwrap_or_default();
        let phase_at = |at| phase_at(&self.places, &self.outline, at);
        let actions = std::mem::take(&mut self.acting).finish(&phase_at);
        let mut marks = marks(&self.places, &lives, &self.kills, &self.outline);
        marks.extend(actions.rows.iter().map(|row| Mark { at: row.at, what: row.words() }));
        let (spikes, spikes_total, clips) =
            self.spikes.finish(&self.places, &self.outline, &by_step, &marks);
        let mut findings = Findings {
            name: self.outline.name.clone(),
            anchor,
            facts: facts.clone(),
            program: self.program,
            limit: self.outline.limits.memory,
            verdict: super::Verdict::Pass,
            exit_code: 0,
            reasons: Vec::new(),
            startup: self.trials.finish(self.outline.limits.memory, run_peak),
            phases,
            memory,
            lives,
            processes: self.whole.processes(),
            written: self.whole.written(),
            spikes,
            spikes_total,
            growth,
            costs,
            concurrency,
            sizing: None,
            sampler: sampler_account(&self.samplers, &self.places),
            generator,
            harness: self.harness,
            thresholds: self.thresholds.measured(),
            checklist: Vec::new(),
            notes: self.notes,
            actions,
            timeline: self.timeline.finish(clips),
            watched: Vec::new(),
        };
        let finish = self.finish.as_ref();
        findings.sizing = sizing::estimate(&findings, &self.outline, self.levels, finish);
        findings.checklist = checklist::answers(&findings, &self.outline);
        let stop = verdict::Stop { finish, at: stopped_at, place, lost: &self.lost };
        verdict::judge(&mut findings, &self.kills, &stop, &self.outline, &phase_at);
        findings
    }

    /// What was going on when the run ended, and when that was. A run that could still say why it
    /// ended cleared everything away first: what counts is the phase that it ended in.
    fn place_at_end(&self) -> (String, Moment) {
        let at = match (&self.finish, self.places.phases().last()) {
            (Some(_), Some((_, _, Some(ended)))) => *ended,
            _ => self.end,
        };
        let place = match self.last_life {
            None => "before anything was started".to_owned(),
            Some(LifeRole::Trial { number } | LifeRole::Unlimited { number }) => {
                format!("in startup trial {number}")
            }
            Some(LifeRole::Main) => match phase_at(&self.places, &self.outline, at) {
                None if self.places.phases().is_empty() => "before the first phase".to_owned(),
                None => "after the last phase".to_owned(),
                Some(phase) if phase == WATCH_PHASE => "while it was watched".to_owned(),
                Some(phase) => format!("in phase {phase}"),
            },
        };
        (place, at)
    }

    /// The main lives' memory with what is known only at the end.
    fn whole(&self, mut memory: Memory) -> Memory {
        memory.headroom_percent = self.outline.limits.memory.bytes().and_then(|limit| {
            let free = limit.as_f64() - memory.unreclaimable_peak.as_f64();
            Percent::of(free.max(0.0), limit.as_f64()).map(Percent::get)
        });
        memory.oom_kills = self.kills.main().map(|row| row.count).sum();
        memory.oom_evidence =
            self.kills.main().flat_map(|row| row.evidence.iter().copied()).collect();
        memory.limit_hits = (!self.limit_hits.is_empty()).then(|| self.limit_hits.values().sum());
        memory
    }
}

/// The name of the phase in which a moment lies.
fn phase_at(places: &Places, outline: &Outline, at: Moment) -> Option<String> {
    let phase = outline.phases.get(usize::from(places.phase_at(at)?))?;
    Some(phase.name.clone())
}

/// What may have to do with a spike: edges of phases, lives, kills.
fn marks(
    places: &Places,
    lives: &[super::LifeFinding],
    kills: &Kills,
    outline: &Outline,
) -> Vec<Mark> {
    let name = |index: u16| {
        let phase = outline.phases.get(usize::from(index));
        phase.map_or_else(String::new, |phase| format!("phase `{}`", phase.name))
    };
    let mark = |at: Moment, what: String| Mark { at, what };
    let mut marks = Vec::new();
    for (index, begin, end) in places.phases() {
        marks.push(mark(*begin, format!("{} began", name(*index))));
        marks.extend(end.map(|end| mark(end, format!("{} ended", name(*index)))));
    }
    for (number, life) in (1..).zip(lives) {
        marks.extend(life.ready.map(|at| mark(at, format!("life {number} was ready"))));
    }
    marks.extend(kills.main().map(|kill| mark(kill.first, "an OOM kill came".to_owned())));
    marks
}

fn sampler_account(
    samplers: &BTreeMap<LifeId, Sampler>,
    places: &Places,
) -> Option<SamplerAccount> {
    let main = |life: &LifeId| places.role(*life) == Some(LifeRole::Main);
    let any_main = samplers.keys().any(main);
    let chosen: Vec<&Sampler> =
        samplers.iter().filter(|(life, _)| !any_main || main(life)).map(|row| row.1).collect();
    let start = chosen.iter().find_map(|row| row.start)?;
    let reports = || chosen.iter().filter_map(|row| row.report.as_ref());
    let (cpu, wall): (Vec<u64>, Vec<u64>) = reports().map(|row| (row.cpu_ns, row.wall_ns)).unzip();
    let (cpu, wall): (u64, u64) = (cpu.iter().sum(), wall.iter().sum());
    let worst = |of: fn(&SamplerReport) -> f64| reports().map(of).max_by(f64::total_cmp);
    let ticks = |row: &&Sampler| row.report.as_ref().map_or(row.ticks, |report| report.ticks);
    let missed = |row: &&Sampler| {
        let report = row.report.as_ref();
        report.map_or(row.missed, |report| report.missed_ticks)
    };
    Some(SamplerAccount {
        tick_ns: start.tick_ns,
        ticks: chosen.iter().map(ticks).sum(),
        missed_ticks: chosen.iter().map(missed).sum(),
        lateness_us: worst(|row| row.lateness_us_p50).zip(worst(|row| row.lateness_us_p99)),
        scheduling: reports().map(|row| row.scheduling).next(),
        method: Some(start.method),
        cpu_percent: Percent::of(float(cpu), float(wall)).map(Percent::get),
    })
}

fn generator_account(report: GeneratorReport) -> GeneratorAccount {
    GeneratorAccount {
        cpu_percent: Percent::of(float(report.cpu_ns), float(report.wall_ns)).map(Percent::get),
        rss_peak: Bytes::new(report.rss_peak),
        saturated: report.saturated,
        path: report.path,
    }
}
