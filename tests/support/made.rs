//! Recordings of made-up runs of any length, written by the recorder itself: for tests and
//! benchmarks of what is made of a recording.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use highwater::clock::{Clock, Moment};
use highwater::event::{
    Band, Counts, ErrorKind, Event, Exit, Finish, FlowWindow, GeneratorPath, GeneratorReport,
    Histogram, HostFacts, LifeId, LifeRole, LifeStart, MemoryWindow, PeakMethod, PrintedLine,
    PrintedNear, ProcessRss, ReleaseBuild, RunFacts, SamplerReport, SamplingStart, SchedulingClass,
    Spike, SpikeBatch, StepFlow, Tick, TickBlock, TrafficWindow, Vitals, What,
};
use highwater::plan::{Budget, LimitsOutline, Outline, PhaseOutline, StepOutline, Words};
use highwater::record::{Header, Recorder, RunDirectory};
use highwater::units::{Bytes, Limit};

const LIFE: LifeId = LifeId(0);
const TICK_NS: u64 = 1_000_000;
const WINDOW_TICKS: u64 = 100;
const WINDOW_NS: u64 = TICK_NS * WINDOW_TICKS;
const WINDOWS_A_SECOND: u64 = 10;
const IDLE_MIB: u64 = 60;

/// A run to be made up.
#[derive(Debug, Clone)]
pub(crate) struct MadeRun {
    pub(crate) seconds: u64,
    pub(crate) spikes: u64,
    /// Requests a second of each of three steps; none: no traffic at all.
    pub(crate) rate: Option<u64>,
    /// What everything that has a name is called, beside its number.
    pub(crate) name: String,
}

impl MadeRun {
    /// Records the run into a new directory at `path`.
    pub(crate) fn record(&self, path: &Path) {
        let run = RunDirectory::create(path).expect("a directory for the run");
        let budget = Budget { commit_every: Duration::from_secs(60), ..Budget::default() };
        let header = Header {
            anchor: Clock::start().anchor(),
            outline: self.outline(),
            facts: self.facts(),
        };
        let recorder = Recorder::create(&run, &header, &budget).expect("a recording begins");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("event loop");
        let mut say = |event: Event| {
            runtime.block_on(recorder.record(event)).expect("the recording takes it");
        };
        Maker { run: self, say: &mut say, random: 7, answered: 0 }.all();
        recorder.finish().expect("the recording ends");
    }

    fn named(&self, what: &str) -> String {
        format!("{what} {}", self.name)
    }

    fn outline(&self) -> Outline {
        let memory = Limit::Bytes(Bytes::from_mib(256));
        let step = |number: u64| StepOutline {
            scenario: self.named("shop"),
            step: self.named(&format!("GET /{number}")),
            method: "GET".to_owned(),
            tags: BTreeMap::from([(self.named("kind"), self.named("tag"))]),
            body_max: Bytes::ZERO,
            body_wanted: None,
        };
        Outline {
            name: self.named("made"),
            limits: LimitsOutline { memory, cpus: Some(1.0), pids: None },
            tick_ns: TICK_NS,
            window_ns: WINDOW_NS,
            settle_ns: 0,
            phases: vec![PhaseOutline {
                name: self.named("soak"),
                length_ns: self.seconds * 1_000_000_000,
                steady: Some(true),
                ..PhaseOutline::default()
            }],
            steps: (0..self.rate.map_or(0, |_| 3)).map(step).collect(),
            thresholds: vec![("memory".to_owned(), vec!["max<80%".to_owned()])],
            words: Words::default(),
        }
    }

    fn facts(&self) -> RunFacts {
        RunFacts {
            run_id: "made".to_owned(),
            highwater: env!("CARGO_PKG_VERSION").to_owned(),
            runtime: "docker".to_owned(),
            image: Some(self.named("image")),
            release: ReleaseBuild::Yes,
            release_evidence: self.named("it says so"),
            cgroup: "v2".to_owned(),
            host: HostFacts { kernel: self.named("6.18"), cpus: 2, ..HostFacts::default() },
            via: "direct".to_owned(),
        }
    }
}

struct Maker<'a> {
    run: &'a MadeRun,
    say: &'a mut dyn FnMut(Event),
    random: u64,
    answered: u64,
}

impl Maker<'_> {
    fn say(&mut self, at: Moment, what: What) {
        (self.say)(Event { at, what });
    }

    /// A number below `below` (xorshift: any spread will do).
    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below.max(1)
    }

    fn all(mut self) {
        let limit = Limit::Bytes(Bytes::from_mib(256));
        let start = LifeStart { life: LIFE, role: LifeRole::Main, limit };
        self.say(Moment::START, What::Life(start));
        let sampling = SamplingStart {
            life: LIFE,
            method: PeakMethod::V2Reset,
            tick_ns: TICK_NS,
            charge_slack: Bytes::from_kib(504),
            unreclaimable_is_range: false,
            spikes_told: true,
        };
        self.say(Moment::START, What::Sampling(sampling));
        self.say(Moment::START, What::Exec { life: LIFE, before_exec: Bytes::from_mib(4) });
        self.say(Moment::START, What::Ready { life: LIFE });
        self.say(Moment::START, What::Note { text: self.run.named("note") });
        self.say(Moment::START, What::PhaseBegin { phase: 0 });
        let windows = self.run.seconds * WINDOWS_A_SECOND;
        let apart = windows / (self.run.spikes + 1);
        for n in 0..windows {
            let spike = (apart > 2 && n % apart == apart - 1 && n / apart < self.run.spikes)
                .then(|| 2 + self.draw(120));
            self.window(n, spike);
            self.flow(n);
            if n % WINDOWS_A_SECOND == WINDOWS_A_SECOND - 1 {
                self.second(n / WINDOWS_A_SECOND + 1);
            }
        }
        self.end(Moment::from_nanos(windows * WINDOW_NS));
    }

    fn end(&mut self, at: Moment) {
        self.say(at, What::PhaseEnd { phase: 0 });
        self.say(at, What::Drained);
        let exit = Exit { code: Some(143), asked: true };
        self.say(at, What::Ended { life: LIFE, exit, lifetime_peak: None });
        self.say(
            at,
            What::SamplerDone(SamplerReport {
                life: LIFE,
                ticks: self.run.seconds * 1000,
                missed_ticks: 0,
                lateness_us_p50: 41.0,
                lateness_us_p99: 120.0,
                scheduling: SchedulingClass::Fifo,
                cpu_ns: 30_000_000,
                wall_ns: 1_000_000_000,
            }),
        );
        if self.run.rate.is_some() {
            self.say(
                at,
                What::GeneratorDone(GeneratorReport {
                    cpu_ns: 300_000_000,
                    wall_ns: 1_000_000_000,
                    workers: 2,
                    rss_peak: 30 << 20,
                    saturated: false,
                    path: GeneratorPath::Netns,
                }),
            );
        }
        self.say(at, What::Finished(Finish::Completed));
    }

    fn window(&mut self, n: u64, spike: Option<u64>) {
        let start = Moment::from_nanos(n * WINDOW_NS);
        let at = Moment::from_nanos((n + 1) * WINDOW_NS);
        let hour = n / (WINDOWS_A_SECOND * 3600);
        let low = Bytes::from_mib(IDLE_MIB + hour % 3) + Bytes::from_kib(4 * self.draw(200));
        let high = low + Bytes::from_kib(4 * self.draw(100));
        let top = high + spike.map_or(Bytes::ZERO, Bytes::from_mib);
        let peak_at = Moment::from_nanos(n * WINDOW_NS + WINDOW_NS / 2);
        if spike.is_some() {
            let tick = |n: u64| {
                let at = start + Duration::from_nanos((n + 1) * TICK_NS);
                let up = (48..52).contains(&n);
                let usage = if up { top - Bytes::from_kib(256) } else { low };
                Tick { at, usage, peak: if n == 49 { top } else { usage } }
            };
            let ticks: Vec<Tick> = (0..WINDOW_TICKS).map(tick).collect();
            self.say(at, What::Ticks(TickBlock::pack(LIFE, &ticks)));
            let rise = top - low;
            let around = Duration::from_millis(3);
            let (begin, end) = (peak_at.before(around), peak_at + around);
            let spike = Spike { at: peak_at, peak: top, rise, begin, end };
            let batch = SpikeBatch { life: LIFE, found: vec![spike], beyond: 0 };
            self.say(at, What::Spikes(batch));
            let lines = vec![PrintedLine { at: begin, text: self.run.named("printed") }];
            self.say(at, What::Printed(PrintedNear { life: LIFE, spike: peak_at, lines }));
        }
        let band = |min: Bytes, max: Bytes| Band { min, max, last: min };
        let cache = Bytes::from_mib(8);
        self.say(
            at,
            What::Memory(MemoryWindow {
                life: LIFE,
                start,
                ticks: 100,
                missed: 0,
                usage: band(low, top - Bytes::from_kib(if spike.is_some() { 256 } else { 0 })),
                peak: top,
                peak_at,
                rss: band(low - cache, high - cache),
                cache: Band::of(cache),
                shmem: Band::default(),
                working_set: band(low, high),
                unreclaimable_low: band(low - cache, high - cache),
                unreclaimable_high: band(low - cache, top - cache),
                limit_hits: Some(0),
                oom_kills: None,
                kernel: None,
                held_mean: Some(low - cache),
            }),
        );
    }

    fn flow(&mut self, n: u64) {
        let Some(rate) = self.run.rate else { return };
        let step = |step| {
            let sent = u32::try_from(rate / 10).expect("few").max(1);
            StepFlow {
                step,
                sent,
                ended: sent,
                in_flight_max: 3,
                in_flight_end: 1,
                in_flight_us: Some(u64::from(sent) * 600),
                body_bytes_sent: 0,
                bytes_received: u64::from(sent) * 900,
            }
        };
        let sent = 3 * (rate / 10).max(1);
        let counts = Counts { due: sent, sent, ended: sent, ..Counts::default() };
        let start = Moment::from_nanos(n * WINDOW_NS);
        let at = Moment::from_nanos((n + 1) * WINDOW_NS);
        let steps = (0..3).map(step).collect();
        self.say(at, What::Flow(FlowWindow { start, counts, steps }));
    }

    fn second(&mut self, second: u64) {
        let at = Moment::from_millis(second * 1000);
        let row = |name: String| ProcessRss { pid: 41, name, rss: Bytes::from_mib(50) };
        self.say(
            at,
            What::Vitals(Box::new(Vitals {
                life: Some(LIFE),
                cpu_ns: Some(second * 300_000_000),
                throttled_ns: Some(0),
                processes: 1,
                threads: 6,
                open_files: Some(40),
                psi_some_us: Some(second * 20),
                cpu_psi_us: Some(second * 2000),
                io_psi_us: Some(second * 10),
                largest: vec![row(self.run.named("process"))],
                ..Vitals::default()
            })),
        );
        let Some(rate) = self.run.rate else { return };
        for step in 0..3 {
            self.traffic(at, step, rate);
        }
    }

    fn traffic(&mut self, at: Moment, step: u16, rate: u64) {
        let [mut latency_us, mut lateness_us, mut receiving_us] =
            [(); 3].map(|()| Histogram::new());
        for _ in 0..rate {
            // A tail, as of real answers.
            let tail = 1 << self.draw(7);
            latency_us.record(300 + self.draw(300) * tail);
            lateness_us.record(5 + self.draw(80));
            receiving_us.record(0);
        }
        self.answered += rate;
        let failed = u64::from(step == 0 && self.answered % 1000 < rate);
        self.say(
            at,
            What::Traffic(Box::new(TrafficWindow {
                start: at.before(Duration::from_secs(1)),
                phase: 0,
                step,
                counts: Counts {
                    due: rate,
                    sent: rate,
                    ended: rate,
                    failed,
                    bytes_sent: rate * 250,
                    bytes_received: rate * 900,
                    ..Counts::default()
                },
                status: BTreeMap::from([(200, rate - failed), (503, failed)]),
                errors: BTreeMap::from([(ErrorKind::Status, failed)]),
                duration_us: latency_us.clone(),
                waiting_us: latency_us.clone(),
                latency_us,
                lateness_us,
                receiving_us,
                ..TrafficWindow::default()
            })),
        );
    }
}
