//! How a run stands, as a screen shows it: pure, and bounded however long the run is.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::history::History;
use super::lines;
use super::text::clean;
use crate::clock::Moment;
use crate::event::{
    ActionEnded, Event, FlowWindow, Histogram, LifeId, LifeRole, MemoryWindow, Spike,
    TrafficWindow, Vitals, WatchStart, What,
};
use crate::plan::{Budget, Outline};
use crate::units::{Bytes, Human, Limit};

/// Lines of the log that are kept.
const LOG_MAX: usize = Budget::SCREEN_LOG;
/// Windows over which rates are taken, so that they can be read: a second, at the usual length.
const RATE_WINDOWS: usize = 10;
/// Windows of traffic whose rates are drawn.
const RATES_MAX: usize = 120;
/// Watched targets that are told apart.
const WATCHED_MAX: usize = Budget::SCREEN_TARGETS;

/// What a line of the log is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What goes as planned.
    Step,
    /// Something to know.
    Note,
    /// A short rise of memory.
    Spike,
    /// A kill, or an end that nobody asked for.
    Bad,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// When; none before the run begins.
    pub(super) at: Option<Moment>,
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// The phase that runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct PhaseNow {
    pub(super) index: usize,
    pub(super) begins: Moment,
    /// When it is to end; none where something else than time ends it.
    pub(super) ends: Option<Moment>,
}

/// A life that is only watched.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    pub(super) name: String,
    kind: &'static str,
    peak_before: Option<Bytes>,
    pub(super) limit: Limit,
    pub(super) usage: Bytes,
    pub(super) peak: Bytes,
    pub(super) kills: u64,
}

/// Spikes that are told in one line.
#[derive(Debug, Clone, Copy)]
struct Spikes {
    count: u64,
    first: Moment,
    largest: Spike,
}

/// What is shown.
pub(super) struct State {
    pub(super) outline: Outline,
    /// The time of the last event.
    pub(super) now: Moment,
    /// What is being done, where no phase runs.
    pub(super) stage: String,
    /// What the present life is for.
    doing: String,
    pub(super) limit: Limit,
    pub(super) memory: Option<MemoryWindow>,
    pub(super) peak: Option<(Bytes, Moment)>,
    pub(super) unreclaimable_peak: Bytes,
    pub(super) history: History,
    pub(super) phase: Option<PhaseNow>,
    pub(super) latency_us: Histogram,
    pub(super) requests: u64,
    pub(super) failed: u64,
    flows: VecDeque<(Moment, FlowWindow)>,
    pub(super) rates: VecDeque<u64>,
    vitals: Option<(Moment, Vitals)>,
    pub(super) cpu_cores: Option<f64>,
    pub(super) pressure: Option<f64>,
    pub(super) kills: u64,
    pub(super) restarts: u64,
    main_lives: u32,
    started: Moment,
    spikes: Option<Spikes>,
    pub(super) log: VecDeque<Entry>,
    pub(super) watched: BTreeMap<LifeId, Watched>,
    /// Whether the run was asked to stop.
    pub(super) stopping: bool,
    pub(super) finished: bool,
    /// Where the live page is.
    pub(super) page: Option<String>,
    /// Whether only the recent past is drawn.
    pub(super) recent: bool,
}

impl State {
    pub(super) fn new(outline: Outline) -> Self {
        Self {
            limit: outline.limits.memory,
            outline,
            now: Moment::START,
            stage: "preparing".to_owned(),
            doing: String::new(),
            memory: None,
            peak: None,
            unreclaimable_peak: Bytes::ZERO,
            history: History::new(),
            phase: None,
            latency_us: Histogram::new(),
            requests: 0,
            failed: 0,
            flows: VecDeque::new(),
            rates: VecDeque::new(),
            vitals: None,
            cpu_cores: None,
            pressure: None,
            kills: 0,
            restarts: 0,
            main_lives: 0,
            started: Moment::START,
            spikes: None,
            log: VecDeque::new(),
            watched: BTreeMap::new(),
            stopping: false,
            finished: false,
            page: None,
            recent: false,
        }
    }

    /// Takes in an event.
    pub(super) fn take(&mut self, event: &Event) {
        let at = event.at;
        self.now = self.now.max(at);
        if self.take_watched(event) {
            return;
        }
        match &event.what {
            What::Life(life) => self.take_life(life.role, life.limit, at),
            What::Exec { .. } => self.started = at,
            What::Ready { .. } => {
                let ready = format!("ready in {}", Human(at.since(self.started)));
                self.stage = format!("{}, {ready}", self.doing);
                self.push(Some(at), Kind::Step, &ready);
            }
            What::Ended { exit, .. } => {
                let kind = if exit.asked { Kind::Step } else { Kind::Bad };
                let peak = self.peak.map_or(Bytes::ZERO, |(peak, _)| peak);
                self.push(Some(at), kind, lines::end_line(*exit, peak).trim());
            }
            What::OomKill(kill) => {
                // Several sources tell of one kill.
                let count = kill.count.unwrap_or(1);
                if count > self.kills {
                    self.kills = count;
                    self.history.kill();
                    self.push(Some(at), Kind::Bad, "OOM kill");
                }
            }
            What::PhaseBegin { phase } => self.begin_phase(usize::from(*phase), at),
            What::PhaseEnd { .. } => {
                self.phase = None;
                "waiting for the last answers".clone_into(&mut self.stage);
            }
            What::Memory(window) => self.take_memory(window),
            What::Flow(flow) => self.take_flow(at, flow),
            What::Traffic(window) => self.take_traffic(window),
            What::Vitals(vitals) => self.take_vitals(at, vitals),
            What::Spikes(batch) => {
                for spike in &batch.found {
                    self.take_spike(spike);
                }
            }
            What::ActionBegan(began) => self.push(Some(at), Kind::Note, &began.text),
            What::ActionEnded(ActionEnded { failed: Some(why), .. }) => {
                self.push(Some(at), Kind::Note, &format!("failed: {why}"));
            }
            What::Note { text } => self.push(Some(at), Kind::Note, text),
            What::Finished(_) => self.finished = true,
            _ => {}
        }
    }

    fn take_life(&mut self, role: LifeRole, limit: Limit, at: Moment) {
        self.limit = limit;
        self.started = at;
        self.vitals = None;
        let again = role == LifeRole::Main && self.main_lives > 0;
        if role == LifeRole::Main {
            self.main_lives += 1;
        }
        if again {
            self.restarts += 1;
            // Counts are each life's own.
            self.kills = 0;
            self.push(Some(at), Kind::Bad, "started again");
            return;
        }
        (self.peak, self.memory, self.unreclaimable_peak) = (None, None, Bytes::ZERO);
        (self.history, self.kills) = (History::new(), 0);
        let line = lines::start_line(role, limit);
        line.split(',').next().unwrap_or_default().clone_into(&mut self.doing);
        self.stage.clone_from(&self.doing);
        self.push(Some(at), Kind::Step, &line);
    }

    fn take_memory(&mut self, window: &MemoryWindow) {
        if self.peak.is_none_or(|(peak, _)| window.peak > peak) {
            self.peak = Some((window.peak, window.peak_at));
        }
        self.unreclaimable_peak = self.unreclaimable_peak.max(window.unreclaimable_high.max);
        self.history.add(window);
        self.memory = Some(*window);
    }

    fn take_flow(&mut self, at: Moment, flow: &FlowWindow) {
        if self.flows.len() == RATE_WINDOWS {
            self.flows.pop_front();
        }
        self.flows.push_back((at, flow.clone()));
        if self.rates.len() == RATES_MAX {
            self.rates.pop_front();
        }
        self.rates.push_back(flow.counts.ended);
    }

    fn take_traffic(&mut self, window: &TrafficWindow) {
        // Late answers of the phase before are told in the report.
        if self.phase.is_none_or(|phase| phase.index == usize::from(window.phase)) {
            self.latency_us.add(&window.latency_us);
            self.requests += window.counts.ended;
            self.failed += window.counts.failed;
        }
    }

    fn take_vitals(&mut self, at: Moment, vitals: &Vitals) {
        if let Some((before, old)) = self.vitals.as_ref().filter(|(_, old)| old.life == vitals.life)
        {
            let seconds = at.since(*before).as_secs_f64();
            let per_second = |old: Option<u64>, new: Option<u64>, unit: f64| {
                let moved = crate::judge::float(new?.saturating_sub(old?));
                (seconds > 0.0).then(|| moved / unit / seconds)
            };
            self.cpu_cores = per_second(old.cpu_ns, vitals.cpu_ns, 1e9);
            self.pressure = per_second(old.psi_some_us, vitals.psi_some_us, 1e6);
        }
        self.vitals = Some((at, vitals.clone()));
    }

    /// Threads, and open files where they are known.
    pub(super) fn counts(&self) -> Option<(u32, Option<u32>)> {
        self.vitals.as_ref().map(|(_, vitals)| (vitals.threads, vitals.open_files))
    }

    /// Answers a second of late, and what is in flight; none without traffic.
    pub(super) fn rate(&self) -> Option<(f64, u32)> {
        let ((_, first), (end, last)) = (self.flows.front()?, self.flows.back()?);
        let ended: u64 = self.flows.iter().map(|(_, flow)| flow.counts.ended).sum();
        let seconds = end.since(first.start).as_secs_f64().max(1e-3);
        let in_flight = last.steps.iter().map(|step| step.in_flight_end).sum();
        Some((crate::judge::float(ended) / seconds, in_flight))
    }

    /// Spikes in a row share one line: the largest of them, and how many there were.
    fn take_spike(&mut self, spike: &Spike) {
        let follows = self.log.back().is_some_and(|entry| entry.kind == Kind::Spike);
        let spikes = match self.spikes.filter(|_| follows) {
            Some(mut spikes) => {
                spikes.count += 1;
                if spike.rise > spikes.largest.rise {
                    spikes.largest = *spike;
                }
                self.log.pop_back();
                spikes
            }
            None => Spikes { count: 1, first: spike.at, largest: *spike },
        };
        self.spikes = Some(spikes);
        let Spike { rise, peak, .. } = spikes.largest;
        let text = match spikes.count {
            1 => format!("spike of {rise} to {peak}"),
            count => format!("{count} spikes, the largest of {rise} to {peak}"),
        };
        self.push(Some(spikes.first), Kind::Spike, &text);
    }

    fn begin_phase(&mut self, index: usize, at: Moment) {
        let Some(phase) = self.outline.phases.get(index) else { return };
        let length = Duration::from_nanos(phase.length_ns);
        let ends = (!length.is_zero()).then(|| at + length);
        let line = format!("phase {}", phase.name);
        self.phase = Some(PhaseNow { index, begins: at, ends });
        self.latency_us.clear();
        (self.requests, self.failed) = (0, 0);
        if self.watched.is_empty() {
            self.push(Some(at), Kind::Step, &line);
        }
    }

    /// The planned time of the phases after the one that runs; none where one of them is not ended
    /// by time.
    pub(super) fn left_after(&self) -> Option<Duration> {
        let next = self.phase.map_or(0, |phase| phase.index + 1);
        let rest = self.outline.phases.get(next..).unwrap_or_default();
        let lengths = rest.iter().map(|phase| phase.length_ns);
        lengths
            .map(|ns| (ns > 0).then(|| Duration::from_nanos(ns)))
            .try_fold(Duration::ZERO, |sum, length| Some(sum + length?))
    }

    /// Takes in an event of a life that is only watched; false where it is of another kind.
    fn take_watched(&mut self, event: &Event) -> bool {
        if let What::Watched(start) = &event.what {
            self.watch(start);
            return true;
        }
        let Some(id) = event.what.life() else { return false };
        let alone = self.watched.len() == 1;
        let Some(row) = self.watched.get_mut(&id) else { return false };
        let at = Some(event.at);
        match &event.what {
            What::Life(life) => {
                row.limit = life.limit;
                let before = row.peak_before;
                let before =
                    before.map_or_else(String::new, |peak| format!(", peak so far {peak}"));
                let line = format!("watching {} {}, {}{before}", row.kind, row.name, life.limit);
                self.limit = life.limit;
                self.push(at, Kind::Step, &line);
            }
            What::OomKill(kill) if kill.count.unwrap_or(1) > row.kills => {
                row.kills = kill.count.unwrap_or(1);
                let line = format!("OOM kill in {}", row.name);
                self.history.kill();
                self.push(at, Kind::Bad, &line);
            }
            What::Ended { exit, .. } => {
                let code = exit.code;
                let code = code.map_or_else(String::new, |code| format!(" with exit code {code}"));
                let line = format!("{} ended{code}, charged peak {}", row.name, row.peak);
                self.watched.remove(&id);
                self.push(at, Kind::Step, &line);
            }
            What::Memory(window) => {
                row.usage = window.usage.last;
                row.peak = row.peak.max(window.peak);
                if alone {
                    self.take_memory(window);
                }
            }
            What::Vitals(vitals) if alone => self.take_vitals(event.at, vitals),
            What::Spikes(batch) if alone => {
                batch.found.iter().for_each(|spike| self.take_spike(spike));
            }
            _ => {}
        }
        true
    }

    fn watch(&mut self, start: &WatchStart) {
        if self.watched.len() == WATCHED_MAX {
            return;
        }
        "watching".clone_into(&mut self.stage);
        let row = Watched {
            name: clean(&start.name),
            kind: start.kind.name(),
            peak_before: start.peak_before,
            limit: Limit::Unlimited,
            usage: Bytes::ZERO,
            peak: Bytes::ZERO,
            kills: 0,
        };
        self.watched.insert(start.life, row);
    }

    /// Puts a line into the log.
    pub(super) fn push(&mut self, at: Option<Moment>, kind: Kind, text: &str) {
        if self.log.len() == LOG_MAX {
            self.log.pop_front();
        }
        self.log.push_back(Entry { at, kind, text: clean(text) });
    }
}
