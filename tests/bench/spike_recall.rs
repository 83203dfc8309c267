//! Which share of short spikes is found, by our pipeline and by plainer ways of looking, in one run
//! on one target.
//!
//! `spike_recall [SPIKES] [SEED] [ARRIVALS PER SECOND]`, or `spike_recall again` to tell once more of
//! the last run. The `spiky` service in a Docker container
//! with a memory limit makes spikes at random: 512 KiB plus the kernel's charge slack and up to
//! 32 MiB high, as many in each octave, held for 0 µs to 5 ms, at least 3 ms apart, so that two
//! whole ticks lie between any two. Meanwhile it serves HTTP: a GET and a POST of 2 KiB an arrival.
//! The run is the program's own (`campaign::run`: container, sampler, load engine, recording);
//! what it found is read from the recording. At the same time three others look at the same
//! container: `docker stats` (the engine's stream), and the level read at 100 Hz and at 1 kHz, on
//! absolute time and `SCHED_FIFO`, as our sampler.
//!
//! Ours finds a spike where the judge reports one for it. The others are given more: a spike counts
//! where any reading made while it was up shows half of its height.
//!
//! Goals: all spikes found; each height (pages and page tables) right within 1 % or the kernel's
//! slack; each time within one tick of the time at full height, where a tick that was read late
//! stands for all the time since the one before.

mod common;

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bollard::query_parameters::{ListContainersOptionsBuilder, StatsOptionsBuilder};
use common::report::{Report, raw_file};
use common::statistics::quantile;
use common::truth::{Shown, Truth, matched, shown};
use common::{clean, container, fixtures, float, monotonic_ns, number_argument};
use futures_util::StreamExt;
use highwater::campaign::{self, Job};
use highwater::clock::{Anchor, Clock};
use highwater::event::{SamplerReport, SamplingStart, Spike, Tick, What};
use highwater::plan::Plan;
use highwater::record::{LastWords, Recording, RunDirectory};
use highwater::runtime::{Runtime, Via};
use highwater::scenario::Overrides;
use highwater::session::{Breakdowns, StopHandle, StopSignal, Way};
use highwater::{analysis, cgroup};
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

const TICK_NS: u64 = 1_000_000;
const LEAST_KIB: u64 = 512;
const SLACK_KIB_A_CPU: u64 = 252;
const MOST_KIB: u64 = 32 * 1024;
const MAIN_LOG: &str = "target-main.log";
const OTHERS: &str = "others.json";
/// So many ticks without a new page, and the judge takes a level for one that holds still.
const STILL_TICKS: u64 = 20;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    if std::env::args().nth(1).is_some_and(|word| word == "again") {
        return tell_of(&kept(), Report::new("spike_recall"));
    }
    let (spikes, seed, rate) =
        (number_argument(0, 10_000), number_argument(1, 1), number_argument(2, 500));
    let fixtures = fixtures();
    let (runtime, run_id) = container::docker().await;
    let setup = Setup { fixtures, run_id, spikes, seed, rate };
    clean::run_in(runtime.clone(), Box::pin(bench(runtime, setup))).await;
}

struct Setup {
    fixtures: PathBuf,
    run_id: String,
    spikes: u64,
    seed: u64,
    rate: u64,
}

/// What is asked of each spike.
type Goal<'a> = (&'a str, &'a dyn Fn(&Row) -> bool);

/// One reading of the level: `CLOCK_MONOTONIC` since the run's start, and bytes.
type Level = (u64, u64);

/// Readings of those who look at the container beside us.
#[derive(Serialize, Deserialize)]
struct Others {
    docker_stats: Vec<Level>,
    hundred_hertz: Vec<Level>,
    kilohertz: Vec<Level>,
}

/// The last run's directory, kept until the next one.
fn kept() -> PathBuf {
    raw_file("spike_recall")
}

async fn bench(runtime: Arc<Runtime>, setup: Setup) {
    let report = Report::new("spike_recall");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let out = kept();
    let _ = std::fs::remove_dir_all(&out);
    let plan = plan(&setup, dir.path());
    let directory = RunDirectory::create(&out).expect("a directory for the run");
    let built = runtime.build(&plan.target, &out, &|_| {}).await.expect("an image is made");
    let (handle, stop) = StopSignal::new();
    let clock = Clock::start();
    let job = Job {
        plan: Arc::new(plan),
        runtime,
        way: Way::Here(Via::Direct),
        notes: Vec::new(),
        built,
        run_id: setup.run_id.clone(),
        directory,
        clock: clock.clone(),
        stop,
        observer: Box::new(|_| {}),
        startup_only: false,
        last_words: LastWords::default(),
        breakdowns: Breakdowns::new().1,
    };
    let looking = tokio::spawn(look(setup.run_id.clone(), clock.anchor(), out.clone(), handle));
    campaign::run(job).await.expect("the run works");
    let others = looking.await.expect("looking does not panic");
    let text = serde_json::to_string(&others).expect("plain numbers");
    std::fs::write(out.join(OTHERS), text).expect("raw results can be written");
    tell_of(&out, report);
}

/// Compares what a run's directory holds.
fn tell_of(out: &Path, mut report: Report) {
    let directory = RunDirectory::open(out).expect("a run was kept");
    let others = std::fs::read(out.join(OTHERS)).expect("the others' readings were kept");
    let others: Others = serde_json::from_slice(&others).expect("the others' readings");
    let seen = Seen::read(&directory);
    let truth = log_of(out, seen.anchor.monotonic_ns);
    let rows = rows(&seen, &truth);
    tell(&mut report, &seen, &rows, &others);
    report.finish(&details(&seen, &rows, &others));
}

fn plan(setup: &Setup, dir: &Path) -> Plan {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let slack_kib = SLACK_KIB_A_CPU * cpus;
    let (least, nearly) = ((LEAST_KIB + slack_kib).to_string(), slack_kib.to_string());
    let (most, count, seed) =
        (MOST_KIB.to_string(), setup.spikes.to_string(), setup.seed.to_string());
    let args = [
        ["spiky", "--random", "--log-sizes", "--after-ms=1500"].as_slice(),
        &["--size-kib", &least, "--size-kib-max", &most, "--hold-us=0", "--hold-us-max=5000"],
        &["--nearly-kib", &nearly, "--every-ms=12", "--gap-us-min=3000"],
        &["--count", &count, "--jitter-seed", &seed],
    ]
    .concat();
    let text = format!(
        "name = \"spike-recall\"\n[target]\nbin = {:?}\nport = 8080\nargs = {args:?}\n\
         limits = {{ memory = \"128MiB\" }}\nready = {{ http = \"/health\" }}\n\
         [startup]\ntrials = 0\n\
         [[scenario]]\nname = \"small\"\n[[scenario.step]]\nget = \"/\"\n\
         [[scenario.step]]\npost = \"/\"\nbody = {{ size = \"2KiB\" }}\n\
         [[phase]]\nname = \"load\"\nrate = {}\nfor = \"2h\"\n",
        setup.fixtures.to_string_lossy(),
        setup.rate
    );
    let file = dir.join("highwater.toml");
    std::fs::write(&file, text).expect("a scenario can be written");
    let mut plan = Plan::load(&file, &Overrides::default())
        .unwrap_or_else(|faults| panic!("{}", faults.render(false)));
    // To hold what was found against.
    plan.keep_raw = true;
    plan.budget.target_output = highwater::units::Bytes::from_mib(256);
    plan
}

fn log_of(out: &Path, origin: u64) -> Vec<Truth> {
    let log = std::fs::read_to_string(out.join(MAIN_LOG)).expect("the service's log");
    let lines: Vec<Value> =
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Truth::of_log(&lines, origin)
}

/// Looks at the run's container in other ways until it has made all its spikes, then ends the run.
async fn look(run_id: String, anchor: Anchor, out: PathBuf, handle: StopHandle) -> Others {
    let docker = bollard::Docker::connect_with_defaults().expect("a Docker engine");
    let docker = docker.negotiate_version().await.expect("a Docker engine answers");
    let (id, level) = container_of(&docker, &run_id).await;
    let over = Arc::new(AtomicBool::new(false));
    let plain = |every_us| {
        let (level, over) = (level.clone(), over.clone());
        std::thread::spawn(move || read_level(&level, anchor, every_us, &over))
    };
    let (hundred_hertz, kilohertz) = (plain(10_000), plain(1_000));
    let options = StatsOptionsBuilder::new().stream(true).build();
    let mut stream = docker.stats(&id, Some(options));
    let mut docker_stats = Vec::new();
    let log = out.join(MAIN_LOG);
    let mut every = tokio::time::interval(Duration::from_millis(500));
    while !is_done(&log) {
        tokio::select! {
            reading = stream.next() => match reading {
                Some(Ok(reading)) => docker_stats.extend(docker_reading(&reading, anchor)),
                _ => break,
            },
            _ = every.tick() => {}
        }
    }
    over.store(true, Ordering::Release);
    handle.stop();
    let join = |thread: JoinHandle<Vec<Level>>| thread.join().expect("reading does not panic");
    Others { docker_stats, hundred_hertz: join(hundred_hertz), kilohertz: join(kilohertz) }
}

/// Waits for the run's container; gives its id and the file of its level.
async fn container_of(docker: &bollard::Docker, run_id: &str) -> (String, PathBuf) {
    let filters =
        std::collections::HashMap::from([("label", vec![format!("highwater.run={run_id}")])]);
    loop {
        let options = ListContainersOptionsBuilder::new().filters(&filters).build();
        let running = docker.list_containers(Some(options)).await.expect("containers are listed");
        if let Some(id) = running.into_iter().find_map(|container| container.id) {
            let memory = Path::new("/sys/fs/cgroup/memory");
            let level = cgroup_of(docker, &id).await.map(|group| {
                memory.join(group.trim_start_matches('/')).join("memory.usage_in_bytes")
            });
            if let Some(level) = level.filter(|level| level.exists()) {
                return (id, level);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn cgroup_of(docker: &bollard::Docker, id: &str) -> Option<String> {
    let state = docker.inspect_container(id, None).await.ok()?.state?;
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", state.pid?)).ok()?;
    let line = groups.lines().find(|line| line.contains(":memory:"))?;
    line.splitn(3, ':').nth(2).map(str::to_owned)
}

fn docker_reading(
    reading: &bollard::models::ContainerStatsResponse,
    anchor: Anchor,
) -> Option<Level> {
    let at: jiff::Timestamp = reading.read.as_ref()?.parse().ok()?;
    let unix_ns = u64::try_from(at.as_nanosecond()).ok()?;
    let usage = reading.memory_stats.as_ref()?.usage?;
    Some((unix_ns.checked_sub(anchor.unix_ns)?, usage))
}

/// Whether the service has said that all its spikes are made.
fn is_done(log: &Path) -> bool {
    let Ok(mut file) = std::fs::File::open(log) else { return false };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut end = String::new();
    let _ = file.seek(SeekFrom::Start(length.saturating_sub(400)));
    let _ = file.read_to_string(&mut end);
    end.contains("spikes_done")
}

/// Reads a level on absolute time, before every normal thread.
fn read_level(level: &Path, anchor: Anchor, every_us: u64, over: &AtomicBool) -> Vec<Level> {
    let _ = nix::sys::prctl::set_timerslack(1);
    let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let lowest = ThreadPriorityValue::try_from(1_u8).expect("a valid priority");
    let priority = ThreadPriority::Crossplatform(lowest);
    // Where it is refused, our sampler was refused it too.
    let _ = set_thread_priority_and_policy(thread_native_id(), priority, fifo);
    let file = std::fs::File::open(level).expect("the level can be read");
    let mut levels = Vec::with_capacity(1 << 20);
    let mut due = monotonic_ns();
    let mut text = [0; 32];
    while !over.load(Ordering::Acquire) {
        let wake = Duration::from_nanos(due).into();
        let absolute = ClockNanosleepFlags::TIMER_ABSTIME;
        let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, absolute, &wake);
        let Ok(length) = file.read_at(&mut text, 0) else { break };
        let now = monotonic_ns();
        if let Some(bytes) = cgroup::parse::number(&text[..length]) {
            levels.push((now - anchor.monotonic_ns, bytes));
        }
        due += every_us * 1000;
        while due <= now {
            due += every_us * 1000;
        }
    }
    levels
}

/// What our own run found.
struct Seen {
    anchor: Anchor,
    start: SamplingStart,
    ticks: Vec<Tick>,
    spikes: Vec<Spike>,
    spikes_total: u64,
    report: SamplerReport,
    requests: u64,
}

impl Seen {
    /// Reads the recording, as `highwater report` does.
    fn read(directory: &RunDirectory) -> Self {
        let recording = Recording::open(directory).expect("the recording opens");
        let header = recording.header();
        let events: Vec<_> =
            recording.events().map(|event| event.expect("the recording reads back")).collect();
        let (mut start, mut report) = (None, None);
        let (mut ticks, mut spikes): (Vec<Tick>, Vec<Spike>) = (Vec::new(), Vec::new());
        // As the analysis does: what is found before the target's own program runs is another's.
        for event in &events {
            match &event.what {
                What::Sampling(sampling) => start = Some(*sampling),
                What::Exec { .. } => spikes.clear(),
                What::Ticks(block) => ticks.extend(block.unpack().expect("a whole block")),
                What::Spikes(batch) => spikes.extend(&batch.found),
                What::SamplerDone(done) => report = Some(done.clone()),
                _ => {}
            }
        }
        spikes.sort_by_key(|spike| spike.at);
        let findings = analysis::analyse(&header.outline, &header.facts, header.anchor, events);
        let traffic = findings.phases.iter().filter_map(|phase| phase.traffic.as_ref());
        Self {
            anchor: header.anchor,
            start: start.expect("a sampler announces itself"),
            ticks,
            spikes,
            spikes_total: findings.spikes_total.unwrap_or(0),
            report: report.expect("the sampler gives account"),
            requests: traffic.map(|traffic| traffic.requests).sum(),
        }
    }

    const fn slack(&self) -> u64 {
        self.start.charge_slack.get()
    }

    /// How much later than a tick after the one before a spike's own tick was read.
    fn late_ns(&self, spike: &Spike) -> u64 {
        let own = self.ticks.partition_point(|tick| tick.at < spike.at);
        let before = own.checked_sub(1).and_then(|before| self.ticks.get(before));
        let since = before.map_or(TICK_NS, |before| spike.at.as_nanos() - before.at.as_nanos());
        since.saturating_sub(TICK_NS)
    }
}

/// A spike that was made, and what our run found of it.
struct Row {
    truth: Truth,
    shown: Option<Shown>,
    judged: Option<Spike>,
    /// Whether two whole ticks lay before it and after it.
    apart: bool,
    /// Whether it rose in one go. On a crowded machine the service may be kept from its work in the
    /// middle of a rise, which then is two.
    whole: bool,
}

struct Rows {
    rows: Vec<Row>,
    never_made: Vec<Spike>,
}

fn rows(seen: &Seen, truth: &[Truth]) -> Rows {
    let shown = shown(&seen.ticks, truth);
    let first = truth.first().map_or(0, |spike| spike.start);
    let after_startup = |spike: &&Spike| spike.at.as_nanos() + 10 * TICK_NS >= first;
    let found: Vec<Spike> = seen.spikes.iter().filter(after_startup).copied().collect();
    let (judged, never_made) = matched(&found, truth, 2 * TICK_NS);
    let apart = |row: usize| {
        shown.get(row).is_none_or(|shown| shown.is_some_and(|shown| shown.idle_ticks >= 2))
    };
    let rows = (0..truth.len()).map(|row| Row {
        truth: truth[row],
        shown: shown[row],
        judged: judged[row],
        apart: apart(row) && apart(row + 1),
        whole: truth[row].pause < STILL_TICKS * TICK_NS,
    });
    Rows { rows: rows.collect(), never_made }
}

impl Row {
    fn is_shown(&self) -> bool {
        self.shown.is_some_and(|shown| shown.rise * 2 >= self.truth.bytes)
    }

    fn is_shown_right(&self, slack: u64) -> bool {
        self.shown.is_some_and(|shown| self.truth.is_right(shown.rise, slack))
    }

    fn is_judged_right(&self, slack: u64) -> bool {
        self.judged.is_some_and(|spike| self.truth.is_right(spike.rise.get(), slack))
    }

    /// How far the judged time lies from the time at full height.
    fn away(&self) -> Option<u64> {
        self.judged.map(|spike| self.truth.away(spike.at.as_nanos()))
    }

    fn is_timely(&self, seen: &Seen) -> bool {
        let late = self.judged.map_or(0, |spike| seen.late_ns(&spike));
        self.away().is_some_and(|away| away <= TICK_NS + late)
    }
}

fn share(count: usize, of: usize) -> String {
    format!("{count} of {of} ({:.2} %)", 100.0 * float(count as u64) / float(of.max(1) as u64))
}

fn three_points(values: &[f64], unit: &str) -> String {
    let [middle, most, all] = [0.5, 0.99, 1.0].map(|share| quantile(values, share));
    format!("{middle:.0}, {most:.0}, {all:.0} {unit}")
}

fn tell(report: &mut Report, seen: &Seen, rows: &Rows, others: &Others) {
    let all = &rows.rows;
    let count = |of: &dyn Fn(&Row) -> bool| all.iter().filter(|row| of(row)).count();
    let (first, last) =
        (all.first().map_or(0, |row| row.truth.start), all.last().map_or(0, |row| row.truth.end));
    report.say(
        "load",
        format!(
            "{} requests, {} spikes in {:.0} s",
            seen.requests,
            all.len(),
            float(last - first) / 1e9
        ),
    );
    report.say(
        "the load's own noise between spikes: p50, p99, greatest",
        three_points(&noise(&seen.ticks, all), "KiB"),
    );
    report.say(
        "our ticks",
        format!(
            "{} read, {} missed, p99 {:.0} µs late, {:.2} % of a core",
            seen.report.ticks,
            seen.report.missed_ticks,
            seen.report.lateness_us_p99,
            100.0 * float(seen.report.cpu_ns) / float(seen.report.wall_ns)
        ),
    );
    let slack = seen.slack();
    report.say(
        "spikes with two idle ticks before and after",
        share(count(&|row| row.apart), all.len()),
    );
    let fair = count(&|row| row.apart && row.whole);
    report.say("  of these, risen in one go", share(fair, all.len()));
    let goals: [Goal<'_>; 5] = [
        ("ticks' peaks: found", &Row::is_shown),
        ("ticks' peaks: height right", &|row| row.is_shown_right(slack)),
        ("judged: found", &|row| row.judged.is_some()),
        ("judged: height right", &|row| row.is_judged_right(slack)),
        ("judged: within one tick", &|row| row.is_timely(seen)),
    ];
    for (name, holds) in goals {
        let right = count(&|row| row.apart && row.whole && holds(row));
        report.goal(format!("ours, {name}"), share(right, fair), "all", right == fair);
    }
    let stepped = count(&|row| row.apart && !row.whole);
    for (name, holds) in goals {
        let right = count(&|row| row.apart && !row.whole && holds(row));
        report.say(format!("ours, risen in steps, {name}"), share(right, stepped));
    }
    report.say("ours, all, judged: found", share(count(&|row| row.judged.is_some()), all.len()));
    let fair_rows = || all.iter().filter(|row| row.apart && row.whole);
    let errors = fair_rows()
        .filter_map(|row| Some(float(row.truth.height_error(row.judged?.rise.get())) / 1024.0));
    let errors: Vec<f64> = errors.collect();
    let away: Vec<f64> = fair_rows().filter_map(|row| Some(float(row.away()?) / 1000.0)).collect();
    report.say("ours, judged: height off by p50, p99, greatest", three_points(&errors, "KiB"));
    report.say("ours, judged: time off by p50, p99, greatest", three_points(&away, "µs"));
    report.say(
        "ours, judged: never made",
        format!("{} of {} in run.json", rows.never_made.len(), seen.spikes_total),
    );
    for (name, levels) in [
        ("plain 1 kHz", &others.kilohertz),
        ("plain 100 Hz", &others.hundred_hertz),
        ("docker stats", &others.docker_stats),
    ] {
        let tops = tops(levels, all);
        let pairs = || tops.iter().zip(all);
        let half = pairs().filter(|(top, row)| top.is_some_and(|top| top * 2 >= row.truth.bytes));
        report.say(
            format!("{name}: half of the height seen"),
            format!("{}, {} readings", share(half.count(), all.len()), levels.len()),
        );
        let right =
            pairs().filter(|(top, row)| top.is_some_and(|top| row.truth.is_right(top, slack)));
        report.say(format!("{name}: height right"), share(right.count(), all.len()));
    }
}

/// The highest reading made while a spike was up, above the floor that our own ticks tell.
fn tops(levels: &[Level], rows: &[Row]) -> Vec<Option<u64>> {
    let rows = rows.iter().map(|row| {
        let first = levels.partition_point(|level| level.0 < row.truth.start);
        let last = levels.partition_point(|level| level.0 <= row.truth.end);
        let top = levels[first..last.max(first)].iter().map(|level| level.1).max();
        top.map(|top| top.saturating_sub(row.shown.map_or(0, |shown| shown.floor)))
    });
    rows.collect()
}

/// For each pause between two spikes: from the least level of its idle ticks to their highest
/// peak, in KiB.
fn noise(ticks: &[Tick], rows: &[Row]) -> Vec<f64> {
    let after = |time: u64| ticks.partition_point(|tick| tick.at.as_nanos() <= time);
    let pauses = rows.windows(2).filter_map(|pair| {
        let idle = ticks.get(after(pair[0].truth.end) + 1..after(pair[1].truth.start))?;
        let low = idle.iter().map(|tick| tick.usage).min()?;
        let high = idle.iter().map(|tick| tick.peak).max()?;
        Some(float((high - low).get()) / 1024.0)
    });
    pauses.collect()
}

/// Shares by octave of height, and the first spikes that were not found or not right.
fn details(seen: &Seen, rows: &Rows, others: &Others) -> Value {
    let all = &rows.rows;
    let plain = [&others.kilohertz, &others.hundred_hertz, &others.docker_stats]
        .map(|levels| tops(levels, all));
    let octave = |octave: u32| {
        let low = (1_u64 << octave) * 1024 * 1024;
        let of =
            |row: &Row| (low..2 * low).contains(&row.truth.bytes.clamp(1 << 20, (32 << 20) - 1));
        let of: Vec<usize> = (0..all.len()).filter(|row| of(&all[*row])).collect();
        let seen_by = |tops: &[Option<u64>]| {
            let half =
                |row: &&usize| tops[**row].is_some_and(|top| top * 2 >= all[**row].truth.bytes);
            of.iter().filter(half).count()
        };
        json!({
            "from_mib": low >> 20,
            "spikes": of.len(),
            "judged": of.iter().filter(|row| all[**row].judged.is_some()).count(),
            "plain_1khz": seen_by(&plain[0]),
            "plain_100hz": seen_by(&plain[1]),
            "docker_stats": seen_by(&plain[2]),
        })
    };
    let slack = seen.slack();
    let is_wrong = |row: &&Row| {
        !(row.is_shown_right(slack) && row.is_judged_right(slack) && row.is_timely(seen))
    };
    let describe = |row: &Row| {
        json!({
            "start_ns": row.truth.start, "nearly_ns": row.truth.nearly, "top_ns": row.truth.top,
            "fall_ns": row.truth.fall, "end_ns": row.truth.end, "pause_ns": row.truth.pause,
            "bytes": row.truth.bytes, "apart": row.apart, "whole": row.whole,
            "shown_rise": row.shown.map(|shown| shown.rise),
            "judged_rise": row.judged.map(|spike| spike.rise.get()),
            "judged_at_ns": row.judged.map(|spike| spike.at.as_nanos()),
        })
    };
    json!({
        "by_octave": (0..5).map(octave).collect::<Vec<_>>(),
        "wrong_in_one_go": all
            .iter()
            .filter(|row| row.apart && row.whole)
            .filter(is_wrong)
            .take(40)
            .map(describe)
            .collect::<Vec<_>>(),
    })
}
