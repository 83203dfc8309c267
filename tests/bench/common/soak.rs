//! Days of sampling in no time: what a service's memory does tick by tick, through the types that the
//! sampler's thread uses, and its traffic second by second.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use highwater::cgroup::{LimitCounts, Parts};
use highwater::clock::Moment;
use highwater::event::{
    Counts, Event, FlowWindow, Histogram, LifeId, LifeRole, LifeStart, PeakMethod, SamplingStart,
    StepFlow, Tick, TickBlock, TrafficWindow, Vitals, What,
};
use highwater::plan::{LimitsOutline, Outline, PhaseOutline, StepOutline, Words};
use highwater::sample::WindowBuilder;
use highwater::units::{Bytes, Limit};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const TICK_NS: u64 = 1_000_000;
const WINDOW_TICKS: u64 = 100;
const HOUR_TICKS: u64 = 3_600_000;
const SPIKES_A_DAY: u64 = 400;
const RESTLESS_TICKS: u64 = 70;
const STEPS: u16 = 3;
const LIFE: LifeId = LifeId(0);
pub(crate) const MIB: u64 = 1024 * 1024;

/// What the simulated service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Day {
    Quiet,
    Traffic,
    Restless,
}

/// What is planned: one long phase.
pub(crate) fn outline(hours: u64) -> Outline {
    let limits = LimitsOutline { memory: Limit::Unlimited, cpus: None, pids: None };
    let step = |number: u16| StepOutline {
        scenario: "shop".to_owned(),
        step: format!("GET /{number}"),
        tags: BTreeMap::new(),
        method: "GET".to_owned(),
        body_max: Bytes::ZERO,
        body_wanted: None,
    };
    Outline {
        name: "day".to_owned(),
        limits,
        tick_ns: TICK_NS,
        window_ns: WINDOW_TICKS * TICK_NS,
        settle_ns: 0,
        phases: vec![PhaseOutline {
            name: "soak".to_owned(),
            length_ns: hours * HOUR_TICKS * TICK_NS,
            ..PhaseOutline::default()
        }],
        steps: (0..STEPS).map(step).collect(),
        thresholds: Vec::new(),
        words: Words::default(),
    }
}

/// A service and its sampler.
pub(crate) struct Simulated {
    day: Day,
    random: ChaCha8Rng,
    events: tokio::sync::mpsc::Sender<Event>,
    window: WindowBuilder,
    ticks: Vec<Tick>,
    /// Spikes to come, the next one last: first tick, length in ticks (0: within one), bytes.
    spikes: Vec<(u64, u64, u64)>,
    tick: u64,
    noise: i64,
    parts_usage: u64,
    spikes_true: u64,
}

impl Simulated {
    pub(crate) fn new(day: Day, hours: u64, events: tokio::sync::mpsc::Sender<Event>) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let count = SPIKES_A_DAY * hours / 24;
        let apart = hours * HOUR_TICKS / count.max(1);
        let mut spikes: Vec<(u64, u64, u64)> = (0..count)
            .map(|n| {
                let at = n * apart + random.random_range(apart / 4..apart / 2);
                (at, random.random_range(0..50), MIB << random.random_range(0..7))
            })
            .collect();
        spikes.reverse();
        let restless = if day == Day::Restless { hours * HOUR_TICKS / RESTLESS_TICKS } else { 0 };
        Self {
            day,
            random,
            events,
            window: WindowBuilder::new(LIFE, Moment::START),
            ticks: Vec::new(),
            spikes_true: spikes.len() as u64 + restless,
            spikes,
            tick: 0,
            noise: 0,
            parts_usage: 0,
        }
    }

    fn send(&self, at: Moment, what: What) {
        self.events.blocking_send(Event { at, what }).expect("the session listens");
    }

    pub(crate) fn begin(&self) {
        let start = LifeStart { life: LIFE, role: LifeRole::Main, limit: Limit::Unlimited };
        self.send(Moment::START, What::Life(start));
        let start = SamplingStart {
            life: LIFE,
            method: PeakMethod::V1Reset,
            tick_ns: TICK_NS,
            charge_slack: Bytes::from_kib(504),
            unreclaimable_is_range: true,
            spikes_told: false,
        };
        self.send(Moment::START, What::Sampling(start));
        self.send(Moment::START, What::Exec { life: LIFE, before_exec: Bytes::ZERO });
        self.send(Moment::START, What::Ready { life: LIFE });
        self.send(Moment::START, What::PhaseBegin { phase: 0 });
    }

    pub(crate) fn hour(&mut self) {
        for _ in 0..HOUR_TICKS {
            self.one_tick();
        }
    }

    /// What the sampler's thread does at a tick, but for the reading.
    fn one_tick(&mut self) {
        let bits = self.random.next_u64();
        let late_ns = 30_000 + (bits & 0xffff);
        let at = Moment::from_nanos(self.tick * TICK_NS + late_ns);
        let (usage, peak) = self.levels(bits >> 16);
        let tick = Tick { at, usage: Bytes::new(usage), peak: Bytes::new(peak) };
        self.window.tick(&tick, 0);
        self.ticks.push(tick);
        let moved = self.parts_usage.abs_diff(usage) >= MIB || peak >= self.parts_usage + MIB;
        if moved || self.tick.is_multiple_of(10) {
            let parts = Parts {
                anon: Bytes::new(usage - usage / 8),
                cache: Bytes::new(usage / 16),
                inactive_file: Bytes::new(usage / 32),
                kernel_high: Bytes::new(usage / 16),
                ..Parts::default()
            };
            self.window.parts(parts, tick.usage);
            self.parts_usage = usage;
        }
        if self.tick.is_multiple_of(4) {
            self.window.limits(LimitCounts::default());
        }
        self.tick += 1;
        if self.tick.is_multiple_of(WINDOW_TICKS) {
            self.end_window(at);
        }
    }

    /// The level and the peak of a tick. Half of the ticks move the level by pages that the kernel
    /// charges in batches of up to 64.
    fn levels(&mut self, bits: u64) -> (u64, u64) {
        if bits & 1 == 1 {
            let pages = i64::try_from((bits >> 1) & 0x7f).expect("seven bits") - 64;
            self.noise = (self.noise * 7 / 8 + pages * 1024).clamp(-192 * 1024, 192 * 1024);
        }
        let hour = self.tick / HOUR_TICKS;
        let drift = (self.tick % HOUR_TICKS) * 4 * MIB / HOUR_TICKS;
        let drift = if hour.is_multiple_of(2) { drift } else { 4 * MIB - drift };
        let base = (60 * MIB + drift).saturating_add_signed(self.noise);
        let ahead = if bits & 0xf00 == 0 { 64 * 1024 } else { 0 };
        let restless = if self.day == Day::Restless && self.tick % RESTLESS_TICKS < 2 {
            MIB + MIB / 2
        } else {
            0
        };
        let (mut usage, mut peak) = (base + restless, base + restless + ahead);
        if let Some((first, length, bytes)) = self.spikes.last().copied()
            && self.tick >= first
        {
            peak = peak.max(base + bytes);
            if self.tick < first + length {
                usage = usage.max(base + bytes);
            } else {
                self.spikes.pop();
            }
        }
        (usage, peak)
    }

    fn end_window(&mut self, at: Moment) {
        if let Some(window) = self.window.close(at) {
            self.send(at, What::Memory(window));
        }
        let block = TickBlock::pack(LIFE, &self.ticks);
        self.ticks.clear();
        self.send(at, What::Ticks(block));
        if self.day == Day::Traffic {
            self.flow(at);
        }
        if self.tick.is_multiple_of(1000) {
            self.second(at);
        }
    }

    fn counts(&mut self) -> Counts {
        let due = self.random.random_range(90..110);
        let bytes = due * 250;
        Counts {
            due,
            sent: due,
            ended: due,
            failed: 0,
            bytes_sent: bytes,
            bytes_received: bytes,
            ..Counts::default()
        }
    }

    fn flow(&mut self, at: Moment) {
        let counts = self.counts();
        let mut step = |step| {
            let sent = self.random.random_range(25..40);
            let most = self.random.random_range(1..6);
            StepFlow {
                step,
                sent,
                ended: sent,
                in_flight_max: most,
                in_flight_end: most / 2,
                // As of requests that take 1 to 3 ms.
                in_flight_us: Some(u64::from(sent) * self.random.random_range(1000..3000)),
                body_bytes_sent: u64::from(sent) * 100,
                bytes_received: u64::from(sent) * 250,
            }
        };
        let steps = (0..STEPS).map(&mut step).collect();
        let start = at.before(Duration::from_millis(100));
        self.send(at, What::Flow(FlowWindow { start, counts, steps }));
    }

    fn second(&mut self, at: Moment) {
        let seconds = self.tick / 1000;
        let vitals = Vitals {
            life: Some(LIFE),
            cpu_ns: Some(seconds * 400_000_000 + self.random.random_range(0..50_000_000)),
            throttled_ns: Some(0),
            processes: 1,
            threads: 6,
            open_files: Some(40 + self.random.random_range(0..5)),
            psi_some_us: Some(seconds * 3),
            ..Vitals::default()
        };
        self.send(at, What::Vitals(Box::new(vitals)));
        if self.day != Day::Traffic {
            return;
        }
        for step in 0..STEPS {
            let mut counts = self.counts();
            counts.due *= 3;
            let [mut latency_us, mut duration_us, mut lateness_us, mut receiving_us] =
                [(); 4].map(|()| Histogram::new());
            for _ in 0..counts.ended {
                // A long tail, as of real answers.
                let power: f64 = self.random.random_range(0.0..1.0);
                let us = tail_us(power);
                latency_us.record(us + 60);
                duration_us.record(us);
                lateness_us.record(self.random.random_range(5..90));
                // Small answers come in one read.
                receiving_us.record(0);
            }
            let window = TrafficWindow {
                start: at.before(Duration::from_secs(1)),
                phase: 0,
                step,
                status: [(200, counts.ended)].into(),
                errors: BTreeMap::new(),
                counts,
                latency_us,
                duration_us: duration_us.clone(),
                lateness_us,
                // Of small answers, nearly all of the time is waiting.
                waiting_us: duration_us,
                receiving_us,
                by_status: Vec::new(),
                ..TrafficWindow::default()
            };
            self.send(at, What::Traffic(Box::new(window)));
        }
    }

    /// Ends the day: ticks, spikes.
    pub(crate) fn end(self) -> (u64, u64) {
        (self.tick, self.spikes_true)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below a second")]
fn tail_us(share: f64) -> u64 {
    (120.0 / (1.001 - share).powf(0.6)) as u64
}

/// A number of `/proc/self/status`, in MiB.
pub(crate) fn status_mib(key: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with(key)).expect("Linux has the line");
    let kib = line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    crate::float(kib.expect("a number")) / 1024.0
}

/// The size of a file, in MiB.
pub(crate) fn file_mib(path: &Path) -> f64 {
    crate::float(fs::metadata(path).expect("the recording is there").len()) / crate::float(MIB)
}
