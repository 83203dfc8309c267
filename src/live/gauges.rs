//! How a run stands, as metrics: what a scraper sees while it goes on.

use std::collections::BTreeMap;

use crate::clock::Anchor;
use crate::event::{
    Counts, Event, LifeId, LifeRole, LifeStart, MemoryWindow, Vitals, WatchStart, What,
};
use crate::metrics::{Family, Unit};
use crate::plan::Outline;
use crate::units::{Bytes, Limit};

/// Lives that are shown at once: a watch of many containers must not grow without a bound.
const LIVES_MAX: usize = 256;

/// Takes in a run's events, and tells how it stands.
#[derive(Debug)]
pub struct Gauges {
    outline: Outline,
    lives: BTreeMap<LifeId, Life>,
    watched: BTreeMap<LifeId, WatchStart>,
    phase: Option<u16>,
    traffic: Option<(Counts, u32)>,
    spikes: u64,
    kills: u64,
    is_over: bool,
}

/// How a life stands.
#[derive(Debug)]
struct Life {
    target: String,
    limit: Limit,
    peak: Bytes,
    unreclaimable_peak: Bytes,
    memory: Option<MemoryWindow>,
    vitals: Option<Box<Vitals>>,
    /// As far as the most knowing of the sources that tell of kills knows.
    kills: u64,
}

impl Gauges {
    /// Of a run with this outline that has not begun.
    #[must_use]
    pub const fn new(outline: Outline) -> Self {
        Self {
            outline,
            lives: BTreeMap::new(),
            watched: BTreeMap::new(),
            phase: None,
            traffic: None,
            spikes: 0,
            kills: 0,
            is_over: false,
        }
    }

    /// Takes in an event.
    pub fn take(&mut self, event: &Event) {
        match &event.what {
            What::Watched(start) => {
                self.watched.insert(start.life, start.clone());
            }
            What::Life(start) => self.begin(start),
            What::Ended { life, .. } if self.watched.remove(life).is_some() => {
                self.lives.remove(life);
            }
            What::Memory(window) => {
                if let Some(life) = self.lives.get_mut(&window.life) {
                    life.peak = life.peak.max(window.peak);
                    let high = window.unreclaimable_high.max;
                    life.unreclaimable_peak = life.unreclaimable_peak.max(high);
                    life.memory = Some(*window);
                }
            }
            What::Vitals(vitals) => {
                if let Some(life) = vitals.life.and_then(|life| self.lives.get_mut(&life)) {
                    life.vitals = Some(vitals.clone());
                }
            }
            What::OomKill(kill) => {
                if let Some(life) = self.lives.get_mut(&kill.life) {
                    let known = kill.count.unwrap_or(1).max(life.kills);
                    self.kills += known - life.kills;
                    life.kills = known;
                }
            }
            What::Spikes(batch) => self.spikes += batch.found.len() as u64 + batch.beyond,
            What::PhaseBegin { phase } => self.phase = Some(*phase),
            What::PhaseEnd { .. } => self.phase = None,
            What::Flow(flow) => {
                let (counts, in_flight) = self.traffic.get_or_insert_default();
                counts.add(&flow.counts);
                *in_flight = flow.steps.iter().map(|step| step.in_flight_end).sum();
            }
            What::Finished(_) => self.is_over = true,
            _ => {}
        }
    }

    fn begin(&mut self, start: &LifeStart) {
        let watched = self.watched.get(&start.life);
        if watched.is_none() {
            // Of a run's own containers only the present one is shown.
            self.lives.clear();
        }
        if self.lives.len() >= LIVES_MAX {
            return;
        }
        let target = watched.map_or_else(
            || match start.role {
                LifeRole::Trial { number } | LifeRole::Unlimited { number } => {
                    format!("trial {number}")
                }
                LifeRole::Main => "main".to_owned(),
            },
            |start| start.name.clone(),
        );
        let life = Life {
            target,
            limit: start.limit,
            peak: Bytes::ZERO,
            unreclaimable_peak: Bytes::ZERO,
            memory: None,
            vitals: None,
            kills: 0,
        };
        self.lives.insert(start.life, life);
    }

    /// How it stands. What is not known yet is left out.
    #[must_use]
    pub fn families(&self, anchor: Anchor) -> Vec<Family> {
        #[expect(clippy::cast_precision_loss, reason = "to a microsecond for centuries")]
        let started = anchor.unix_ns as f64 / 1e9;
        let phase = self.phase.and_then(|phase| self.outline.phases.get(usize::from(phase)));
        let mut phases = Family::gauge("phase.active", Unit::Count, "The phase that goes on.");
        if let Some(phase) = phase {
            phases = phases.labelled(vec![("phase", phase.name.clone())], Some(1_u64));
        }
        let mut all = vec![
            Family::gauge("run.start.time", Unit::Seconds, "When the run started, since 1970.")
                .value(Some(started)),
            Family::gauge("run.active", Unit::Count, "Whether the run goes on.")
                .value(Some(!self.is_over)),
            phases,
        ];
        all.extend(self.memory());
        all.extend(self.traffic());
        for family in &mut all {
            for point in &mut family.points {
                point.labels.insert(0, ("name", self.outline.name.clone()));
            }
        }
        all
    }

    /// One metric over all lives.
    fn by_life<V: Into<crate::metrics::Value>>(
        &self,
        family: Family,
        of: impl Fn(&Life) -> Option<V>,
    ) -> Family {
        self.lives.values().fold(family, |family, life| {
            family.labelled(vec![("target", life.target.clone())], of(life))
        })
    }

    fn memory(&self) -> Vec<Family> {
        let bytes = |name, help| Family::gauge(name, Unit::Bytes, help);
        let level = |name, help, of: fn(&MemoryWindow) -> Bytes| {
            self.by_life(bytes(name, help), |life| life.memory.as_ref().map(|row| of(row).get()))
        };
        let count = |name, help| Family::gauge(name, Unit::Count, help);
        vec![
            level("memory.usage", "Charged memory, page cache included.", |row| row.usage.last),
            level("memory.rss", "The resident set.", |row| row.rss.last),
            level("memory.working_set", "Memory as the kubelet counts it.", |row| {
                row.working_set.last
            }),
            level(
                "memory.unreclaimable",
                "What the kernel could not give back, upper bound.",
                |row| row.unreclaimable_high.last,
            ),
            self.by_life(bytes("memory.peak", "The charged peak so far."), |life| {
                life.memory.map(|_| life.peak.get())
            }),
            self.by_life(
                bytes("memory.unreclaimable.peak", "The unreclaimable peak so far, upper bound."),
                |life| life.memory.map(|_| life.unreclaimable_peak.get()),
            ),
            self.by_life(bytes("memory.limit", "The memory limit."), |life| {
                life.limit.bytes().map(Bytes::get)
            }),
            self.by_life(count("threads", "Threads."), |life| {
                life.vitals.as_ref().map(|row| row.threads)
            }),
            self.by_life(count("open_files", "Open descriptors."), |life| {
                life.vitals.as_ref().and_then(|row| row.open_files)
            }),
            Family::counter("memory.oom_kills", Unit::Count, "OOM kills so far.")
                .value(Some(self.kills)),
            Family::counter("memory.spikes", Unit::Count, "Spikes so far.")
                .value(Some(self.spikes)),
        ]
    }

    fn traffic(&self) -> Vec<Family> {
        let count = |name, help, of: fn(&Counts) -> u64| {
            Family::counter(name, Unit::Count, help)
                .value(self.traffic.as_ref().map(|row| of(&row.0)))
        };
        let bytes = |name, help, of: fn(&Counts) -> u64| {
            Family::counter(name, Unit::Bytes, help)
                .value(self.traffic.as_ref().map(|row| of(&row.0)))
        };
        vec![
            count("requests", "Requests that ended.", |row| row.ended),
            count("requests.failed", "Requests that failed.", |row| row.failed),
            count("requests.unsent", "Requests that fell due and were never sent.", |row| {
                row.unsent
            }),
            bytes("sent", "Bytes written to sockets.", |row| row.bytes_sent),
            bytes("received", "Bytes read from sockets.", |row| row.bytes_received),
            Family::gauge("requests.in_flight", Unit::Count, "Requests in flight.")
                .value(self.traffic.as_ref().map(|row| row.1)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Moment};
    use crate::event::{Band, Evidence, FlowWindow, OomKill, StepFlow};
    use crate::metrics::prometheus_text;
    use crate::plan::{LimitsOutline, PhaseOutline, Words};

    fn outline() -> Outline {
        Outline {
            name: "shop".to_owned(),
            limits: LimitsOutline { memory: Limit::Unlimited, cpus: None, pids: None },
            tick_ns: 1_000_000,
            window_ns: 100_000_000,
            settle_ns: 0,
            phases: vec![PhaseOutline { name: "soak".to_owned(), ..PhaseOutline::default() }],
            steps: Vec::new(),
            thresholds: Vec::new(),
            words: Words::default(),
        }
    }

    fn window(life: LifeId, peak: u64, usage: u64) -> MemoryWindow {
        let band = Band::of(Bytes::from_mib(usage));
        MemoryWindow {
            life,
            start: Moment::START,
            ticks: 1,
            missed: 0,
            usage: band,
            peak: Bytes::from_mib(peak),
            peak_at: Moment::START,
            rss: band,
            cache: Band::default(),
            shmem: Band::default(),
            working_set: band,
            unreclaimable_low: band,
            unreclaimable_high: band,
            limit_hits: None,
            oom_kills: None,
            kernel: None,
            held_mean: None,
        }
    }

    #[test]
    fn the_present_life_is_told_and_what_only_rises_adds_up() {
        let mut gauges = Gauges::new(outline());
        let life = LifeId(1);
        let limit = Limit::Bytes(Bytes::from_mib(64));
        let step = StepFlow {
            step: 0,
            sent: 3,
            ended: 2,
            in_flight_max: 3,
            in_flight_end: 1,
            in_flight_us: None,
            body_bytes_sent: 0,
            bytes_received: 0,
        };
        let counts = Counts { ended: 2, sent: 3, bytes_sent: 10, ..Counts::default() };
        let flow = FlowWindow { start: Moment::START, counts, steps: vec![step] };
        let kill = |evidence, count| OomKill { life, evidence, count };
        for what in [
            What::Life(LifeStart { life: LifeId(0), role: LifeRole::Trial { number: 1 }, limit }),
            What::Memory(window(LifeId(0), 60, 60)),
            What::Life(LifeStart { life, role: LifeRole::Main, limit }),
            What::PhaseBegin { phase: 0 },
            What::Memory(window(life, 40, 30)),
            What::Memory(window(life, 20, 10)),
            What::Flow(flow.clone()),
            What::Flow(flow),
            What::OomKill(kill(Evidence::Events, Some(2))),
            What::OomKill(kill(Evidence::Docker, None)),
        ] {
            gauges.take(&Event { at: Moment::START, what });
        }
        let text = prometheus_text(&gauges.families(Clock::start().anchor()));
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.rsplit(' ').next()).map(str::to_owned)
        };
        let mib = |size: u64| Some((size << 20).to_string());
        assert_eq!(value("highwater_memory_peak_bytes{name=\"shop\",target=\"main\"}"), mib(40));
        assert_eq!(value("highwater_memory_usage_bytes"), mib(10));
        assert_eq!(value("highwater_memory_limit_bytes"), mib(64));
        assert_eq!(value("highwater_requests_total"), Some("4".to_owned()));
        assert_eq!(value("highwater_requests_in_flight"), Some("1".to_owned()));
        assert_eq!(value("highwater_sent_bytes_total"), Some("20".to_owned()));
        assert_eq!(value("highwater_memory_oom_kills_total"), Some("2".to_owned()));
        assert_eq!(value("highwater_phase_active{name=\"shop\",phase=\"soak\"}"), Some("1".into()));
        assert!(!text.contains("trial"), "{text}");
        assert_eq!(value("highwater_threads"), None, "not known yet");
    }
}
