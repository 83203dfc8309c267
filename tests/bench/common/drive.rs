//! The load engine in this process: one worker, one step, one phase.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use highwater::clock::Clock;
use highwater::event::{Counts, ErrorKind, GeneratorPath, GeneratorReport, Histogram, What};
use highwater::load::{Endpoint, Engine, Job};
use highwater::plan::{
    Arrivals, Body, Constants, LoadModel, LoadPlan, OpenLoad, PhasePlan, RateStage, Reply, Samples,
    ScenarioChoice, ScenarioPlan, Schedule, StepPlan, Think, TrafficPlan, Transfer, UserStage,
};
use highwater::units::Rate;
use serde_json::{Value, json};

/// What chance is fixed by.
const SEED: u64 = 1;
/// From giving the order to the phase's start.
const AHEAD: Duration = Duration::from_millis(5);

/// What one run of the engine came to.
#[derive(Debug)]
pub(crate) struct Driven {
    pub(crate) length: Duration,
    /// The phase's start by `CLOCK_MONOTONIC`, in nanoseconds.
    pub(crate) start_ns: u64,
    pub(crate) counts: Counts,
    pub(crate) errors: BTreeMap<ErrorKind, u64>,
    /// In microseconds, as all three.
    pub(crate) latency: Histogram,
    pub(crate) duration: Histogram,
    pub(crate) lateness: Histogram,
    pub(crate) report: GeneratorReport,
}

impl Driven {
    /// Requests that ended, a second.
    pub(crate) fn rate(&self) -> f64 {
        super::float(self.counts.ended) / self.length.as_secs_f64()
    }

    /// All of it that is to be kept.
    pub(crate) fn json(&self) -> Value {
        let of = |times: &Histogram| {
            let at = |percent| times.percentile(percent);
            json!({"p50": at(50.0), "p99": at(99.0), "p99_9": at(99.9), "max": times.max()})
        };
        json!({
            "requests_per_second": self.rate(),
            "counts": self.counts,
            "errors": self.errors,
            "latency_us": of(&self.latency),
            "duration_us": of(&self.duration),
            "lateness_us": of(&self.lateness),
            "cpu_ns": self.report.cpu_ns,
            "wall_ns": self.report.wall_ns,
            "saturated": self.report.saturated,
        })
    }
}

/// An open load at one rate.
pub(crate) fn open(per_second: f64, arrivals: Arrivals, length: Duration) -> OpenLoad {
    let rate = Rate::per_second(per_second).expect("a rate above nothing");
    OpenLoad { stages: vec![RateStage { from: rate, to: rate, length }], arrivals, bursts: vec![] }
}

/// So many users, each on a connection of its own.
pub(crate) fn closed(users: u32, length: Duration) -> LoadModel {
    LoadModel::Closed {
        stages: vec![UserStage { from: users, to: users, length }],
        iterations: None,
    }
}

/// When the engine's requests of an open load fall due, from the phase's start on. Its seed is
/// made as `load::draw` makes that of a phase's first load; whether it still is, shows in the
/// number of arrivals.
pub(crate) fn due_times(open: &OpenLoad, length: Duration) -> Schedule {
    let mixed = |state: u64| {
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let next = |state: u64| mixed(state.wrapping_add(0x9e37_79b9_7f4a_7c15));
    // Twice for phase 0 and load 0, which add nothing, and once for the number itself.
    Schedule::new(open, length, next(next(next(SEED))))
}

/// Drives `GET path` for `length` and waits for all answers. Traffic goes to 127.0.0.1 only.
pub(crate) fn drive(address: SocketAddr, path: &str, model: LoadModel, length: Duration) -> Driven {
    assert!(address.ip().is_loopback(), "traffic goes to 127.0.0.1 only");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let job = job(model, path, length);
    tokio.expect("an event loop can be had").block_on(driven(address, job, length))
}

async fn driven(address: SocketAddr, job: Job, length: Duration) -> Driven {
    let clock = Clock::start();
    let (events, mut seen) = tokio::sync::mpsc::channel(1024);
    let endpoint =
        Endpoint { address, host: address.to_string(), netns: None, path: GeneratorPath::Native };
    let engine = Engine::start(&job, endpoint, clock.clone(), 1, events).expect("starts");
    let start = clock.now() + AHEAD;
    engine.begin_phase(0, start);
    let finishing = tokio::spawn(async move {
        tokio::time::sleep(length + AHEAD).await;
        engine.end_phase(0, start + length);
        engine.finish(Duration::from_secs(10)).await.expect("finishes")
    });
    let mut counts = Counts::default();
    let mut errors = BTreeMap::new();
    let (mut latency, mut duration, mut lateness) =
        (Histogram::new(), Histogram::new(), Histogram::new());
    while let Some(event) = seen.recv().await {
        if let What::Traffic(window) = event.what {
            counts.add(&window.counts);
            for (kind, count) in window.errors {
                *errors.entry(kind).or_default() += count;
            }
            latency.add(&window.latency_us);
            duration.add(&window.duration_us);
            lateness.add(&window.lateness_us);
        }
    }
    let report = finishing.await.expect("finishes");
    let start_ns = clock.anchor().monotonic_ns + start.as_nanos();
    Driven { length, start_ns, counts, errors, latency, duration, lateness, report }
}

fn job(model: LoadModel, path: &str, length: Duration) -> Job {
    let step = StepPlan {
        id: 0,
        label: format!("GET {path}"),
        method: "GET".to_owned(),
        path: path.to_owned(),
        headers: vec![],
        body: Body::Empty,
        expect_status: vec![],
        reply: Reply::default(),
        transfer: Transfer::default(),
        think: Think::default(),
        tags: BTreeMap::default(),
    };
    let traffic = TrafficPlan {
        seed: SEED,
        timeout: Duration::from_secs(10),
        drain: Duration::from_secs(10),
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
    let load = LoadPlan { scenario: ScenarioChoice::Mix, model, start_after: Duration::ZERO };
    let phase = PhasePlan {
        name: "bench".to_owned(),
        length,
        loads: vec![load],
        tags: vec![],
        size: false,
        stop_early: false,
        actions: Vec::new(),
    };
    Job { traffic: traffic.into(), phases: vec![phase].into(), window: Duration::from_millis(100) }
}
