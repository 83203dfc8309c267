//! A day of sampling in a minute: 86.4 million simulated ticks through the types that the
//! sampler's thread uses, into a recording on disk.
//!
//! `day_of_ticks [HOURS]`. Three days, each in a process of its own:
//!
//! - `quiet`: a service whose level moves by up to 64 KiB from tick to tick and by 4 MiB an hour,
//!   with 400 spikes of 1 to 64 MiB; windows, raw ticks around spikes, vitals;
//! - `traffic`: the same, with the traffic of three steps at 1000 requests/s recorded beside it;
//! - `restless`: an excursion of 1.5 MiB every 70 ms, so that all ticks are worth keeping until
//!   the budget for raw ticks is used up.
//!
//! A commit holds what half a second of a real run brings, since deflating larger batches would
//! flatter the recording (`day_of_ticks [HOURS] [EVENTS A COMMIT]` says by how much). The queues
//! are short, since a real run never fills them unless the disk stalls.
//!
//! Goals: the process's resident set is flat (the last hour's is at most 2 MiB above the second's)
//! and at most 48 MiB, the recording at most 150 MiB.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::report::Report;
use common::{clean, float, number_argument};
use highwater::analysis;
use highwater::cgroup::{LimitCounts, Parts};
use highwater::clock::{Clock, Moment};
use highwater::event::{
    Counts, Event, FlowWindow, Histogram, LifeId, LifeRole, LifeStart, PeakMethod, RunFacts,
    SamplingStart, StepFlow, Tick, TickBlock, TrafficWindow, Vitals, What,
};
use highwater::judge::FlightRecorder;
use highwater::plan::{Budget, LimitsOutline, Outline, PhaseOutline, StepOutline, Words};
use highwater::record::{Header, Recorder, Recording, RunDirectory};
use highwater::sample::WindowBuilder;
use highwater::units::{Bytes, Limit};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

const TICK_NS: u64 = 1_000_000;
const WINDOW_TICKS: u64 = 100;
const HOUR_TICKS: u64 = 3_600_000;
const SPIKES_A_DAY: u64 = 400;
const RESTLESS_TICKS: u64 = 70;
const STEPS: u16 = 3;
const LIFE: LifeId = LifeId(0);
const MIB: u64 = 1024 * 1024;

const RSS_MAX_MIB: f64 = 48.0;
const RSS_GROWTH_MAX_MIB: f64 = 2.0;
const RECORDING_MAX_MIB: f64 = 150.0;

/// What the simulated service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Day {
    Quiet,
    Traffic,
    Restless,
}

const DAYS: [(Day, &str); 3] =
    [(Day::Quiet, "quiet"), (Day::Traffic, "traffic"), (Day::Restless, "restless")];

fn main() {
    let named = std::env::args().nth(1).unwrap_or_default();
    match DAYS.iter().find(|row| row.1 == named) {
        Some((day, _)) => {
            let real = if *day == Day::Traffic { 12 } else { 6 };
            let result = simulate(*day, number_argument(1, 24), number_argument(2, real));
            print(&result);
        }
        None => clean::after(all_days),
    }
}

#[expect(clippy::print_stdout, reason = "the child's result")]
fn print(result: &Value) {
    println!("{result}");
}

fn all_days() {
    let hours = number_argument(0, 24);
    let commit = std::env::args().nth(2);
    let mut report = Report::new("day_of_ticks");
    let mut details = Vec::new();
    for (_, name) in DAYS {
        let own = std::env::current_exe().expect("a process has an executable");
        let output = Command::new(own).args([name, &hours.to_string()]).args(&commit).output();
        let output = output.expect("the simulation runs");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
            panic!("{name} failed: {}", String::from_utf8_lossy(&output.stderr))
        });
        tell(&mut report, name, &result);
        details.push(json!({ "day": name, "result": result }));
    }
    report.finish(&json!({ "hours": hours, "days": details }));
}

fn tell(report: &mut Report, name: &str, result: &Value) {
    let number = |key: &str| result[key].as_f64().unwrap_or(f64::NAN);
    let hourly: Vec<f64> = result["rss_mib_by_hour"]
        .as_array()
        .map(|rows| rows.iter().filter_map(Value::as_f64).collect())
        .unwrap_or_default();
    let settled = hourly.get(1).or(hourly.first()).copied().unwrap_or(f64::NAN);
    let growth = hourly.last().copied().unwrap_or(f64::NAN) - settled;
    report.say(
        format!("{name}: simulated"),
        format!("{:.1} M ticks in {:.0} s", number("ticks") / 1e6, number("seconds")),
    );
    let highest = number("rss_highest_mib");
    report.goal(
        format!("{name}: resident set, highest"),
        format!("{highest:.1} MiB"),
        format!("≤ {RSS_MAX_MIB} MiB"),
        highest <= RSS_MAX_MIB,
    );
    report.goal(
        format!("{name}: resident set, second to last hour"),
        format!("{growth:+.1} MiB"),
        format!("≤ +{RSS_GROWTH_MAX_MIB} MiB"),
        growth <= RSS_GROWTH_MAX_MIB,
    );
    let recording = number("recording_mib");
    report.goal(
        format!("{name}: recording"),
        format!("{recording:.1} MiB, raw ticks {:.1} MiB packed", number("raw_ticks_mib")),
        format!("≤ {RECORDING_MAX_MIB} MiB"),
        recording <= RECORDING_MAX_MIB,
    );
    report.say(
        format!("{name}: analysed"),
        format!(
            "in {:.1} s, {:.1} MiB resident; {} spikes found, {} made",
            number("analysis_seconds"),
            number("rss_after_analysis_mib"),
            result["spikes_found"],
            result["spikes_true"],
        ),
    );
}

/// A number of `/proc/self/status`, in MiB.
fn status_mib(key: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with(key)).expect("Linux has the line");
    let kib = line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    float(kib.expect("a number")) / 1024.0
}

fn simulate(day: Day, hours: u64, commit: u64) -> Value {
    let began = Instant::now();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let run = RunDirectory::create(dir.path()).expect("a directory for the run");
    let budget = Budget {
        commit_every: Duration::from_secs(3600),
        commit_events: u32::try_from(commit).expect("few events"),
        event_queue: 64,
        ..Budget::default()
    };
    let anchor = Clock::start().anchor();
    let header = Header { anchor, outline: outline(hours), facts: RunFacts::default() };
    let recorder = Recorder::create(&run, &header, &budget).expect("a recording begins");
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Event>(budget.event_queue);
    // The session's part: from the producers' channel into the recording's.
    let session = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("event loop");
        let mut flight = FlightRecorder::new(false, budget.raw_ticks);
        let (mut worth_it, mut raw_ticks) = (Vec::new(), 0);
        runtime.block_on(async {
            while let Some(event) = receiver.recv().await {
                flight.take(event, &mut worth_it);
                for event in worth_it.drain(..) {
                    if let What::Ticks(block) = &event.what {
                        raw_ticks += block.packed_len() as u64;
                    }
                    recorder.record(event).await.expect("the recording takes it");
                }
            }
        });
        recorder.finish().expect("the recording ends");
        raw_ticks
    });
    let mut service = Simulated::new(day, hours, sender);
    let mut hourly = Vec::new();
    service.begin();
    for _ in 0..hours {
        service.hour();
        hourly.push(status_mib("VmRSS"));
    }
    let (ticks, spikes_true) = service.end();
    let raw_ticks = session.join().expect("the session's part does not panic");
    let rss_highest = status_mib("VmHWM");
    let seconds = began.elapsed().as_secs_f64();
    let (found, analysis_seconds) = analyse(&run);
    json!({
        "ticks": ticks,
        "seconds": seconds,
        "rss_mib_by_hour": hourly,
        "rss_highest_mib": rss_highest,
        "recording_mib": file_mib(&run.recording()),
        "raw_ticks_mib": float(raw_ticks) / float(MIB),
        "spikes_true": spikes_true,
        "spikes_found": found,
        "analysis_seconds": analysis_seconds,
        "rss_after_analysis_mib": status_mib("VmHWM"),
    })
}

fn file_mib(path: &Path) -> f64 {
    float(fs::metadata(path).expect("the recording is there").len()) / float(MIB)
}

fn outline(hours: u64) -> Outline {
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

fn analyse(run: &RunDirectory) -> (Option<u64>, f64) {
    let began = Instant::now();
    let recording = Recording::open(run).expect("the recording opens");
    let header = recording.header();
    let events = recording.events().map(|event| event.expect("the recording reads back"));
    let findings = analysis::analyse(&header.outline, &header.facts, header.anchor, events);
    (findings.spikes_total, began.elapsed().as_secs_f64())
}

/// A service and its sampler.
struct Simulated {
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
    fn new(day: Day, hours: u64, events: tokio::sync::mpsc::Sender<Event>) -> Self {
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

    fn begin(&self) {
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

    fn hour(&mut self) {
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
    fn end(self) -> (u64, u64) {
        (self.tick, self.spikes_true)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below a second")]
fn tail_us(share: f64) -> u64 {
    (120.0 / (1.001 - share).powf(0.6)) as u64
}
