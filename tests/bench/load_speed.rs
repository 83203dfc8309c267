//! How fast and how punctual the load engine is.
//!
//! `load_speed closed ADDRESS PATH CONNECTIONS SECONDS` or `load_speed open ADDRESS PATH RATE
//! SECONDS`, on one worker; pin it and the server to different cores with taskset. Compare with
//! `wrk -t1 -c CONNECTIONS`. Traffic goes to 127.0.0.1 only.

#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::net::SocketAddr;
use std::time::Duration;

use highwater::clock::Clock;
use highwater::event::{Counts, GeneratorPath, Histogram, What};
use highwater::load::{Endpoint, Engine, Job};
use highwater::plan::{
    Arrivals, Body, Constants, LoadModel, LoadPlan, OpenLoad, PhasePlan, RateStage, Reply,
    ScenarioChoice, ScenarioPlan, StepPlan, Think, TrafficPlan, Transfer, UserStage,
};
use highwater::units::Rate;

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
    };
    let load = LoadPlan { scenario: ScenarioChoice::Mix, model, start_after: Duration::ZERO };
    let phase = PhasePlan {
        name: "bench".to_owned(),
        length,
        loads: vec![load],
        tags: vec![],
        size: false,
        stop_early: false,
    };
    Job { traffic: traffic.into(), phases: vec![phase].into(), window: Duration::from_millis(100) }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, mode, address, path, amount, seconds] = args.as_slice() else {
        panic!("usage: load_speed closed|open ADDRESS PATH CONNECTIONS|RATE SECONDS");
    };
    let address: SocketAddr = address.parse().expect("an address");
    assert!(address.ip().is_loopback(), "traffic goes to 127.0.0.1 only");
    let length = Duration::from_secs(seconds.parse().expect("whole seconds"));
    let model = if mode == "open" {
        let rate: Rate = amount.parse().expect("a rate");
        LoadModel::Open(OpenLoad {
            stages: vec![RateStage { from: rate, to: rate, length }],
            arrivals: Arrivals::Even,
            bursts: vec![],
        })
    } else {
        let users = amount.parse().expect("a number of connections");
        LoadModel::Closed {
            stages: vec![UserStage { from: users, to: users, length }],
            iterations: None,
        }
    };
    let clock = Clock::start();
    let (events, mut seen) = tokio::sync::mpsc::channel(1024);
    let endpoint =
        Endpoint { address, host: address.to_string(), netns: None, path: GeneratorPath::Native };
    let job = job(model, path, length);
    let engine = Engine::start(&job, endpoint, clock.clone(), 1, events).expect("starts");
    let start = clock.now() + Duration::from_millis(5);
    engine.begin_phase(0, start);
    let finishing = tokio::spawn(async move {
        tokio::time::sleep(length + Duration::from_millis(5)).await;
        engine.end_phase(0, start + length);
        engine.finish(Duration::from_secs(5)).await.expect("finishes")
    });
    let mut counts = Counts::default();
    let (mut latency, mut duration, mut late) =
        (Histogram::new(), Histogram::new(), Histogram::new());
    while let Some(event) = seen.recv().await {
        if let What::Traffic(window) = event.what {
            counts.add(&window.counts);
            latency.add(&window.latency_us);
            duration.add(&window.duration_us);
            late.add(&window.lateness_us);
        }
    }
    let report = finishing.await.expect("finishes");
    let rate = counts.ended / length.as_secs().max(1);
    println!("{counts:?}\n{rate} requests/s; {report:?}");
    for (name, of) in [("latency", latency), ("duration", duration), ("lateness", late)] {
        let percentiles = [50.0, 99.0, 99.9].map(|percent| of.percentile(percent));
        println!("{name} µs p50, p99, p99.9: {percentiles:?}, max {:?}", of.max());
    }
}
