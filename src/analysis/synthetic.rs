//! A made-up run of known answer, for the tests of the analysis and of reports.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Findings, analyse};
use crate::clock::{Anchor, Moment};
use crate::event::{
    Band, Counts, ErrorKind, Event, Evidence, Exit, Finish, FlowWindow, GeneratorPath,
    GeneratorReport, Histogram, HostFacts, LifeId, LifeRole, LifeStart, MemoryWindow, OomKill,
    PeakMethod, ProcessRss, ReleaseBuild, RunFacts, SamplerReport, SamplingStart, SchedulingClass,
    Sockets, StepFlow, TaskIo, Tick, TickBlock, TrafficWindow, Vitals, What,
};
use crate::plan::{LimitsOutline, Outline, PhaseOutline, StepOutline, Words};
use crate::units::{Bytes, Limit};

/// What may differ between made-up runs.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) name: String,
    pub(crate) trials: u32,
    pub(crate) phases: Vec<(&'static str, u64, bool)>,
    pub(crate) limit: Limit,
    /// Where in the last phase the target is killed, as a share of it.
    pub(crate) kill: Option<f64>,
    pub(crate) thresholds: Vec<(&'static str, &'static str)>,
    pub(crate) finish: Option<Finish>,
    pub(crate) method: PeakMethod,
    pub(crate) missed: u64,
    pub(crate) saturated: bool,
    pub(crate) cache: u64,
    /// Unreclaimable memory of the idle target, in MiB.
    pub(crate) base: u64,
    pub(crate) step: &'static str,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            name: "shop-api".to_owned(),
            trials: 3,
            phases: vec![("ramp", 30, false), ("burst", 90, true), ("cool", 30, false)],
            limit: Limit::Bytes(Bytes::from_mib(256)),
            kill: None,
            thresholds: Vec::new(),
            finish: Some(Finish::Completed),
            method: PeakMethod::V2Reset,
            missed: 3,
            saturated: false,
            cache: 12,
            base: 60,
            step: "POST /orders",
        }
    }
}

impl Script {
    pub(crate) fn outline(&self) -> Outline {
        let phase = |(name, seconds, bursts): &(&str, u64, bool)| PhaseOutline {
            name: (*name).to_owned(),
            length_ns: seconds * 1_000_000_000,
            bursts: *bursts,
            ..PhaseOutline::default()
        };
        let step = |scenario: &str, step: &str, kib| StepOutline {
            scenario: scenario.to_owned(),
            step: step.to_owned(),
            tags: BTreeMap::new(),
            method: step.split(' ').next().unwrap_or_default().to_owned(),
            body_max: Bytes::from_kib(kib),
            body_wanted: None,
        };
        let rule = |(selector, rule): &(&str, &str)| {
            let (selector, rule) = ((*selector).to_owned(), (*rule).to_owned());
            (selector, vec![rule])
        };
        Outline {
            name: self.name.clone(),
            limits: LimitsOutline { memory: self.limit, cpus: Some(1.0), pids: None },
            tick_ns: 1_000_000,
            window_ns: 100_000_000,
            settle_ns: 2_000_000_000,
            phases: self.phases.iter().map(phase).collect(),
            steps: vec![step("orders", self.step, 200), step("orders", "GET /orders/{{id}}", 0)],
            thresholds: self.thresholds.iter().map(rule).collect(),
            words: Words::default(),
        }
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        let mut run = Run::new(self.clone());
        for number in 1..=self.trials {
            run.trial(number);
        }
        run.main();
        run.events
    }

    pub(crate) fn findings(&self) -> Findings {
        analyse(&self.outline(), &facts(), ANCHOR, self.events())
    }
}

/// 2026-11-23 01:00:00 UTC.
pub(crate) const ANCHOR: Anchor = Anchor { monotonic_ns: 5, unix_ns: 1_795_395_600_000_000_000 };

pub(crate) fn facts() -> RunFacts {
    RunFacts {
        run_id: "r1".to_owned(),
        highwater: "0.1.0".to_owned(),
        runtime: "docker".to_owned(),
        image: Some("shop-api:1.4".to_owned()),
        release: ReleaseBuild::Yes,
        release_evidence: "cargo built it with profile release".to_owned(),
        cgroup: "v2".to_owned(),
        via: "direct".to_owned(),
        host: HostFacts {
            kernel: "6.18.0".to_owned(),
            cpus: 2,
            cgroup_driver: Some("systemd".to_owned()),
            thp: Some("madvise".to_owned()),
            ..HostFacts::default()
        },
    }
}

struct Run {
    script: Script,
    rng: ChaCha8Rng,
    events: Vec<Event>,
    now: Moment,
    life: u32,
    seconds: u64,
    requests: u64,
}

const TICK: Duration = Duration::from_millis(1);
const WINDOW: u64 = 100;

impl Run {
    fn new(script: Script) -> Self {
        Self {
            script,
            rng: ChaCha8Rng::seed_from_u64(7),
            events: Vec::new(),
            now: Moment::START,
            life: 0,
            requests: 0,
            seconds: 0,
        }
    }

    fn say(&mut self, what: What) {
        self.events.push(Event { at: self.now, what });
    }

    fn begin(&mut self, role: LifeRole) -> LifeId {
        let life = LifeId(self.life);
        self.life += 1;
        let limit = self.script.limit;
        self.say(What::Life(LifeStart { life, role, limit }));
        let method = self.script.method;
        self.say(What::Sampling(SamplingStart {
            life,
            method,
            tick_ns: 1_000_000,
            charge_slack: Bytes::from_kib(504),
            spikes_told: false,
            unreclaimable_is_range: false,
        }));
        self.window(life, 4, 4, 4, false);
        let before_exec = Bytes::from_mib(4);
        self.say(What::Exec { life, before_exec });
        self.say(What::Started { life });
        for n in 0..6_u64 {
            let level = self.script.base * (n + 1) / 6;
            self.window(life, level, level, level + 18 * u64::from(n == 4), false);
        }
        self.say(What::Ready { life });
        for _ in 0..20 {
            let base = self.script.base;
            self.window(life, base, base, base, false);
        }
        self.say(What::Settled { life });
        life
    }

    fn trial(&mut self, number: u32) {
        let life = self.begin(LifeRole::Trial { number });
        self.end(life, true);
    }

    fn end(&mut self, life: LifeId, asked: bool) {
        let exit = Exit { code: Some(if asked { 143 } else { 137 }), asked };
        let lifetime_peak = None;
        self.say(What::Ended { life, exit, lifetime_peak });
        self.say(What::SamplerDone(SamplerReport {
            life,
            ticks: 1000,
            missed_ticks: self.script.missed,
            lateness_us_p50: 41.0,
            lateness_us_p99: 120.5,
            scheduling: SchedulingClass::Fifo,
            cpu_ns: 50_000_000,
            wall_ns: 1_000_000_000,
        }));
    }

    /// A window of 100 ms, levels in MiB.
    fn window(&mut self, life: LifeId, low: u64, high: u64, peak: u64, spike: bool) {
        let start = self.now;
        self.now = start + Duration::from_millis(WINDOW);
        let cache = self.script.cache;
        let wobble = Bytes::from_kib(self.rng.random_range(0..900));
        let level = |mib: u64| Bytes::from_mib(mib) + wobble;
        let band = |mib: u64| Band {
            min: level(mib),
            max: level(mib) + Bytes::from_kib(300),
            last: level(mib),
        };
        let spike_peak = Bytes::from_mib(peak + cache) + wobble;
        let middle = start + Duration::from_millis(WINDOW / 2);
        if spike {
            let usage = level(low + cache);
            let tick = |n: u64| {
                let at = start + TICK * u32::try_from(n + 1).unwrap();
                let peak = if n == 49 { spike_peak } else { usage };
                Tick { at, usage, peak }
            };
            let ticks: Vec<Tick> = (0..WINDOW).map(tick).collect();
            self.say(What::Ticks(TickBlock::pack(life, &ticks)));
        }
        let high_band = Band { max: Bytes::from_mib(high.max(peak)) + wobble, ..band(low) };
        self.say(What::Memory(MemoryWindow {
            life,
            start,
            ticks: 100,
            missed: 0,
            usage: band(low + cache),
            peak: spike_peak.max(band(low + cache).max),
            peak_at: middle,
            rss: band(low * 9 / 10),
            cache: Band::of(Bytes::from_mib(cache)),
            shmem: Band::default(),
            working_set: band(low),
            unreclaimable_low: band(low),
            unreclaimable_high: high_band,
            limit_hits: Some(0),
            kernel: None,
            held_mean: None,
            oom_kills: None,
        }));
    }

    fn main(&mut self) {
        let life = self.begin(LifeRole::Main);
        let phases = self.script.phases.clone();
        let last = phases.len().saturating_sub(1);
        for (index, (_, seconds, bursts)) in phases.iter().enumerate() {
            let phase = u16::try_from(index).unwrap();
            self.say(What::PhaseBegin { phase });
            let kill = self.script.kill.filter(|_| index == last);
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss
            )]
            let kill_at = kill.map(|share| (*seconds as f64 * 10.0 * share) as u64);
            for n in 0..seconds * 10 {
                self.traffic_window(life, phase, n, *bursts);
                if n % 10 == 9 {
                    self.vitals(life);
                }
                if kill_at == Some(n) {
                    self.kill(life);
                    return;
                }
            }
            self.say(What::PhaseEnd { phase });
        }
        self.say(What::Drained);
        self.end(life, true);
        self.done();
    }

    fn kill(&mut self, life: LifeId) {
        let evidence = [(Evidence::Events, Some(1)), (Evidence::Docker, None)];
        for (evidence, count) in evidence {
            self.say(What::OomKill(OomKill { life, evidence, count }));
        }
        self.end(life, false);
        self.done();
    }

    fn done(&mut self) {
        self.say(What::GeneratorDone(GeneratorReport {
            cpu_ns: 300_000_000,
            wall_ns: 1_000_000_000,
            workers: 2,
            rss_peak: 30 << 20,
            saturated: self.script.saturated,
            path: GeneratorPath::Netns,
        }));
        if let Some(finish) = self.script.finish.clone() {
            self.say(What::Finished(finish));
        }
    }

    fn traffic_window(&mut self, life: LifeId, phase: u16, n: u64, bursts: bool) {
        let start = self.now;
        // A burst every ten seconds, half a period in, that lasts half a second.
        let burst = bursts && (50..55).contains(&(n % 100));
        let first = bursts && n % 100 == 50;
        let base = self.script.base;
        // The first bursts leave something that the later ones use again.
        let retained = if bursts { (n / 100).min(2) * 3 } else { 0 };
        let low = base + retained + if burst { 25 } else { 2 };
        let peak = if first { low + self.rng.random_range(40..110) } else { low };
        let room = self.script.limit.bytes().map_or(4096, |limit| limit.get() >> 20);
        let peak = peak.min(room.saturating_sub(1 + self.script.cache));
        self.window(life, low, low, peak.max(low), first || (bursts && n % 100 == 49));
        let sent = if burst { 100 } else { self.rng.random_range(4..7) };
        let in_flight = if burst { 180 } else { 2 };
        self.flow(start, sent, in_flight);
        self.traffic(start, phase, sent, burst);
        self.requests += sent;
    }

    fn flow(&mut self, start: Moment, sent: u64, in_flight: u32) {
        let step = |step: u16, most: u32| StepFlow {
            step,
            sent: 1,
            ended: 1,
            in_flight_max: most,
            in_flight_end: most / 2,
            in_flight_us: None,
            body_bytes_sent: 0,
            bytes_received: 0,
        };
        let counts = Counts { due: sent, sent, ended: sent, ..Counts::default() };
        let steps = vec![step(0, in_flight * 3 / 4), step(1, in_flight / 4)];
        self.say(What::Flow(FlowWindow { start, counts, steps }));
    }

    fn traffic(&mut self, start: Moment, phase: u16, sent: u64, burst: bool) {
        let mut times = Histogram::new();
        for _ in 0..sent {
            let us = self.rng.random_range(800..4000) * if burst { 60 } else { 1 };
            times.record(us);
        }
        let mut lateness = Histogram::new();
        lateness.record(80);
        let failed = u64::from(burst);
        self.say(What::Traffic(Box::new(TrafficWindow {
            start,
            phase,
            step: 0,
            counts: Counts {
                due: sent,
                sent,
                ended: sent,
                failed,
                unsent: 0,
                bytes_sent: sent * 200_000,
                bytes_received: sent * 300,
                ..Counts::default()
            },
            status: BTreeMap::from([(201, sent - failed), (503, failed)]),
            errors: BTreeMap::from([(ErrorKind::Status, failed)]),
            latency_us: times.clone(),
            duration_us: times,
            lateness_us: lateness,
            ..TrafficWindow::default()
        })));
    }

    fn vitals(&mut self, life: LifeId) {
        self.seconds += 1;
        let n = self.seconds;
        let total = |each: u64| Some(n * each);
        let row = |pid, name: &str, mib| ProcessRss {
            pid,
            name: name.to_owned(),
            rss: Bytes::from_mib(mib),
        };
        let tcp = BTreeMap::from([("established".to_owned(), 12), ("listen".to_owned(), 1)]);
        self.say(What::Vitals(Box::new(Vitals {
            life: Some(life),
            cpu_ns: Some(self.now.as_nanos() / 2),
            throttled_ns: Some(0),
            processes: 2,
            threads: 9,
            open_files: Some(40),
            psi_some_us: Some(n * n * 90),
            psi_full_us: Some(n * n * 30),
            cpu_psi_us: total(25_000),
            io_psi_us: total(1500),
            cpu_user_ns: Some(self.now.as_nanos() / 4),
            cpu_system_ns: Some(self.now.as_nanos() / 4),
            throttled_periods: Some(0),
            task_io: Some(TaskIo { read_bytes: 4096, written_bytes: n << 20 }),
            page_faults: total(300),
            major_faults: Some(2),
            max_events: Some(0),
            swap: Some(Bytes::ZERO),
            sockets: Some(Sockets { tcp, udp: Some(1), unix: Some(0) }),
            largest: vec![row(4100, "shop-api", 90), row(4101, "worker", 12)],
            log_bytes: total(2000),
            ..Vitals::default()
        })));
    }
}
