//! What sampling takes from the target's throughput.
//!
//! `target_throughput [ROUNDS] [PHASE_MS]`. The `steady` service in a Docker container under full
//! load: our load engine with one worker a core, 32 connections in a closed loop, in the
//! container's network namespace. In each round five phases, in turns that change their order:
//! without a sampler, with ours (1 kHz, and the vitals), with the bare loop in C that makes the
//! same reads, which tells what any reader at this pace takes, and with the same loop without its
//! reads, which tells what waking up that often takes by itself, and with ours at 100 Hz. One container and one engine for all
//! rounds; twice: with a target that may use all cores, so that it and the load keep every core
//! busy and whatever is used for sampling is missing elsewhere, and with one that is limited to one
//! CPU of them.
//!
//! Goal: with the sampler at least 99 % of the throughput without it, by the lower end of the 95 %
//! interval of the rounds' geometric mean ratio.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::report::Report;
use common::statistics::{bootstrap, mean_ratio, median, quantile};
use common::{Ending, bare_loop, clean, container, fixtures, float, number_argument};
use highwater::cgroup::Place;
use highwater::clock::Clock;
use highwater::event::{Event, LifeId, What};
use highwater::load::{Endpoint, Engine, Job};
use highwater::plan::{
    Body, Constants, LoadModel, LoadPlan, PhasePlan, Reply, Samples, SamplingPlan, ScenarioChoice,
    ScenarioPlan, StepPlan, TargetPlan, Think, TrafficPlan, Transfer, UserStage,
};
use highwater::runtime::{NewLife, Runtime, Target};
use highwater::sample::{Sampler, SamplerJob, VitalsJob, VitalsSampler};
use highwater::units::{Bytes, Limit};
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender};

const GOAL: f64 = 0.99;
const CONNECTIONS: u32 = 32;
const LIFE: LifeId = LifeId(0);
const MEMORY: Limit = Limit::Bytes(Bytes::from_mib(128));
/// Between two phases, so that none begins with the other's requests.
const PAUSE: Duration = Duration::from_millis(100);

/// Who reads the target's memory in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Nobody,
    Sampler,
    Bare,
    Wake,
    /// Our sampler with ticks of 10 ms.
    Rarely,
}

const READERS: [Reader; 5] =
    [Reader::Nobody, Reader::Sampler, Reader::Bare, Reader::Wake, Reader::Rarely];

/// Rounds are phases 1 to 5, 6 to 10 …; who comes first changes from one to the next.
const fn reader_of(phase: usize) -> Option<(usize, Reader)> {
    let Some(index) = phase.checked_sub(1) else {
        return None;
    };
    let (round, turn) = (index / READERS.len(), index % READERS.len());
    let turn = if round % 2 == 0 { turn } else { READERS.len() - 1 - turn };
    Some((round, READERS[(round + turn) % READERS.len()]))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() {
    let (rounds, length_ms) = (number_argument(0, 100), number_argument(1, 400));
    let fixtures = fixtures();
    let (runtime, _) = container::docker().await;
    let bench = bench(runtime.clone(), fixtures, rounds, Duration::from_millis(length_ms));
    clean::run_in(runtime, bench).await;
}

async fn bench(runtime: Arc<Runtime>, fixtures: PathBuf, rounds: u64, length: Duration) {
    let mut report = Report::new("target_throughput");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let bare = bare_loop(dir.path());
    let phases = usize::try_from(READERS.len() as u64 * rounds + 1).expect("few rounds");
    let mut details = Vec::new();
    for (number, (name, cpus)) in (0_u32..).zip([("all cores", None), ("one CPU", Some(1.0))]) {
        let mut plan = container::target(&fixtures, MEMORY, &["steady"]);
        plan.limits.cpus = cpus;
        let work = Work { runtime: &runtime, plan, dir: dir.path(), bare: &bare, number };
        let counted = work.run(phases, length).await;
        details.push(tell(&mut report, name, &counted, length));
    }
    let length_ms = length.as_millis();
    report.finish(&json!({ "rounds": rounds, "phase_ms": length_ms, "targets": details }));
}

/// One container and all that is done to it.
struct Work<'a> {
    runtime: &'a Runtime,
    plan: TargetPlan,
    dir: &'a Path,
    bare: &'a Path,
    number: u32,
}

/// What a turn of a reader needs.
struct Turn<'a> {
    place: Place,
    dirs: Vec<PathBuf>,
    clock: Clock,
    events: Sender<Event>,
    bare: &'a Path,
}

/// Requests by phase, and the sampler's CPU by its turns, in percent of a core.
struct Counted {
    ended: Vec<u64>,
    failed: u64,
    sampler_cpu: Vec<f64>,
}

impl Work<'_> {
    async fn run(&self, phases: usize, length: Duration) -> Counted {
        let (runtime, plan, clock) = (self.runtime, &self.plan, Clock::start());
        let name = format!("throughput-{}", self.number);
        let new = NewLife { life: LIFE, name: &name, limit: MEMORY, nest: None };
        let built = runtime.build(plan, self.dir, &|_| {}).await.expect("an image is made");
        let prepared = runtime.prepare(&built, plan, new, &clock).await;
        let prepared = prepared.expect("a container is made");
        let place = prepared.place.clone();
        let mut target = runtime.start(prepared).await.expect("the container starts");
        runtime.wait_ready(&target, &plan.ready, &clock, None).await.expect("the service is ready");
        let (events, seen) = tokio::sync::mpsc::channel(4096);
        let counting = tokio::spawn(count(seen, phases));
        let engine = start_engine(&target, &clock, phases, length, events.clone());
        let (dirs, bare) = (target.cgroup_dirs(), self.bare);
        let turn = Turn { place, dirs, clock, events, bare };
        drive(&engine, &turn, phases, length).await;
        drop(turn);
        engine.finish(Duration::from_secs(5)).await.expect("the engine finishes");
        runtime.stop(&mut target).await.expect("the service stops");
        runtime.remove(target).await.expect("the container goes");
        counting.await.expect("counting does not panic")
    }
}

async fn count(mut seen: Receiver<Event>, phases: usize) -> Counted {
    let mut counted = Counted { ended: vec![0; phases], failed: 0, sampler_cpu: Vec::new() };
    while let Some(event) = seen.recv().await {
        match event.what {
            What::Traffic(window) => {
                counted.ended[usize::from(window.phase)] += window.counts.ended;
                counted.failed += window.counts.failed;
            }
            What::SamplerDone(report) => {
                let percent = 100.0 * float(report.cpu_ns) / float(report.wall_ns);
                counted.sampler_cpu.push(percent);
            }
            _ => {}
        }
    }
    counted
}

fn tell(report: &mut Report, name: &str, counted: &Counted, length: Duration) -> Value {
    assert_eq!(counted.failed, 0, "no request fails");
    let rates = |wanted: Reader| -> Vec<f64> {
        let mut rows: Vec<(usize, f64)> = (1..counted.ended.len())
            .filter_map(|phase| Some((phase, reader_of(phase)?)))
            .filter(|(_, (_, reader))| *reader == wanted)
            .map(|(phase, (round, _))| (round, float(counted.ended[phase]) / length.as_secs_f64()))
            .collect();
        rows.sort_by_key(|row| row.0);
        rows.into_iter().map(|row| row.1).collect()
    };
    let (nobody, ours) = (rates(Reader::Nobody), rates(Reader::Sampler));
    let (bare, wake, rarely) = (rates(Reader::Bare), rates(Reader::Wake), rates(Reader::Rarely));
    let all = [
        ("no sampler", &nobody),
        ("our sampler", &ours),
        ("C loop", &bare),
        ("waking alone", &wake),
        ("ours at 100 Hz", &rarely),
    ];
    for (who, rates) in &all {
        report.say(
            format!("{name}, {who}"),
            format!(
                "{:.0} requests/s ({:.0} to {:.0})",
                median(rates),
                quantile(rates, 0.0),
                quantile(rates, 1.0)
            ),
        );
    }
    let cpu = median(&counted.sampler_cpu);
    report.say(format!("{name}, our sampler's CPU"), format!("{cpu:.2} % of a core"));
    let ratios = |rates: &[f64]| -> Vec<f64> {
        rates.iter().zip(&nobody).map(|(rate, nobody)| rate / nobody).collect()
    };
    let with_ours = ratios(&ours);
    let text = |ratios: &[f64]| {
        let (low, high) = bootstrap(ratios);
        let (mean, median) = (mean_ratio(ratios), median(ratios));
        format!("{mean:.4} (95 % interval {low:.4} to {high:.4}), median {median:.4}")
    };
    report.goal(
        format!("{name}, ours / no sampler"),
        text(&with_ours),
        format!("≥ {GOAL} at the interval's lower end"),
        bootstrap(&with_ours).0 >= GOAL,
    );
    for (who, rates) in &all[2..] {
        report.say(format!("{name}, {who} / no sampler"), text(&ratios(rates)));
    }
    json!({
        "target": name, "nobody": nobody, "ours": ours, "bare": bare, "wake": wake, "rarely": rarely,
        "sampler_cpu_percent": counted.sampler_cpu,
    })
}

async fn drive(engine: &Engine, turn: &Turn<'_>, phases: usize, length: Duration) {
    for phase in 0..phases {
        // The first phase warms up and doesn't count.
        let reader = reader_of(phase).map_or(Reader::Nobody, |row| row.1);
        let bare = match reader {
            Reader::Bare => Some(start_bare(turn, "same")),
            Reader::Wake => Some(start_bare(turn, "wake")),
            Reader::Nobody | Reader::Sampler | Reader::Rarely => None,
        };
        let tick = match reader {
            Reader::Sampler => Some(Duration::from_millis(1)),
            Reader::Rarely => Some(Duration::from_millis(10)),
            Reader::Nobody | Reader::Bare | Reader::Wake => None,
        };
        let samplers = tick.map(|tick| start_samplers(turn, tick));
        tokio::time::sleep(PAUSE).await;
        let index = u16::try_from(phase).expect("few phases");
        let start = turn.clock.now() + Duration::from_millis(5);
        engine.begin_phase(index, start);
        tokio::time::sleep(length + Duration::from_millis(5)).await;
        engine.end_phase(index, start + length);
        tokio::time::sleep(PAUSE).await;
        drop(bare);
        if let Some((sampler, vitals)) = samplers {
            let stopped = tokio::task::spawn_blocking(move || {
                sampler.stop().expect("the sampler stops");
                vitals.stop().expect("the vitals stop");
            });
            stopped.await.expect("stopping does not panic");
        }
    }
}

fn start_bare(turn: &Turn<'_>, what: &str) -> Ending {
    let place = &turn.place;
    let [outer, inner] = &place.resets[..] else {
        panic!("needs cgroup v1 for memory, and groups of our own");
    };
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .arg(turn.bare)
        .args(["1000", "3600"])
        .args([outer, inner, &place.leaf])
        .arg(what)
        .stdout(Stdio::null())
        .spawn();
    Ending(child.expect("the C loop runs"))
}

fn start_samplers(turn: &Turn<'_>, tick: Duration) -> (Sampler, VitalsSampler) {
    let job = SamplerJob {
        life: LIFE,
        place: turn.place.clone(),
        sampling: SamplingPlan { tick, window: Duration::from_millis(100) },
        may_reset: true,
        limit: MEMORY,
    };
    let (clock, events) = (turn.clock.clone(), turn.events.clone());
    let sampler = Sampler::start(job, clock.clone(), events.clone()).expect("the sampler starts");
    let vitals =
        VitalsSampler::start(VitalsJob { life: LIFE, dirs: turn.dirs.clone() }, clock, events);
    (sampler, vitals.expect("the vitals start"))
}

fn start_engine(
    target: &Target,
    clock: &Clock,
    phases: usize,
    length: Duration,
    events: Sender<Event>,
) -> Engine {
    let step = StepPlan {
        id: 0,
        label: "GET /".to_owned(),
        method: "GET".to_owned(),
        path: "/".to_owned(),
        headers: vec![],
        body: Body::Empty,
        expect_status: vec![],
        reply: Reply::default(),
        transfer: Transfer::default(),
        think: Think::default(),
        tags: BTreeMap::default(),
    };
    let traffic = TrafficPlan {
        seed: 1,
        timeout: Duration::from_secs(10),
        drain: Duration::from_secs(5),
        max_in_flight: 10_000,
        scenarios: vec![ScenarioPlan {
            name: "bench".to_owned(),
            weight: 1,
            steps: vec![step],
            ..ScenarioPlan::default()
        }],
        constants: Constants::default(),
        samples: Samples::None,
    };
    let model = LoadModel::Closed {
        stages: vec![UserStage { from: CONNECTIONS, to: CONNECTIONS, length }],
        iterations: None,
    };
    let load = LoadPlan { scenario: ScenarioChoice::Mix, model, start_after: Duration::ZERO };
    let phase = |number: usize| PhasePlan {
        name: format!("phase-{number}"),
        length,
        loads: vec![load.clone()],
        tags: vec![],
        size: false,
        stop_early: false,
        actions: Vec::new(),
    };
    let job = Job {
        traffic: traffic.into(),
        phases: (0..phases).map(phase).collect(),
        window: Duration::from_millis(100),
    };
    let endpoint = Endpoint {
        address: target.address(),
        host: "127.0.0.1:8080".to_owned(),
        netns: target.netns(),
        path: target.path(),
    };
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Engine::start(&job, endpoint, clock.clone(), workers, events).expect("the engine starts")
}
