//! Runs of the engine, and what came out of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use highwater::clock::Clock;
use highwater::event::{
    Counts, ErrorKind, FlowWindow, GeneratorPath, GeneratorReport, Histogram, IterationWindow,
    StatusWindow, UserWindow, What,
};
use highwater::load::{Endpoint, Engine, Job};
use highwater::plan::{PhasePlan, TrafficPlan};

/// Everything that came out of one run of the engine.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) total: Counts,
    pub(crate) phases: BTreeMap<u16, Counts>,
    pub(crate) steps: BTreeMap<u16, Counts>,
    pub(crate) status: BTreeMap<u16, u64>,
    pub(crate) errors: BTreeMap<ErrorKind, u64>,
    pub(crate) latency_us: Histogram,
    pub(crate) duration_us: Histogram,
    pub(crate) lateness_us: Histogram,
    pub(crate) waiting_us: Histogram,
    pub(crate) receiving_us: Histogram,
    pub(crate) by_status: Vec<StatusWindow>,
    pub(crate) iterations: Vec<IterationWindow>,
    pub(crate) users: Vec<UserWindow>,
    pub(crate) flows: Vec<FlowWindow>,
    pub(crate) report: GeneratorReport,
}

impl Outcome {
    pub(crate) fn errors(&self) -> Vec<(ErrorKind, u64)> {
        self.errors.iter().map(|(kind, count)| (*kind, *count)).collect()
    }

    /// What holds of every finished run.
    pub(crate) fn check(&self) {
        assert_eq!(self.total.due, self.total.ended + self.total.unsent, "{self:?}");
        assert!(self.total.sent + self.total.unsent <= self.total.due);
        assert_eq!(self.total.failed, self.errors.values().sum::<u64>());
        let mut flow = Counts::default();
        for window in &self.flows {
            flow.add(&window.counts);
        }
        let plain =
            |counts: &Counts| (counts.due, counts.sent, counts.ended, counts.failed, counts.unsent);
        assert_eq!(plain(&flow), plain(&self.total));
        assert_eq!(flow.bytes_sent, self.total.bytes_sent);
        let ends = self.flows.last().map(|window| window.steps.clone()).unwrap_or_default();
        assert!(ends.iter().all(|step| step.in_flight_end == 0), "{ends:?}");
    }
}

pub(crate) async fn run(traffic: TrafficPlan, phases: Vec<PhasePlan>, to: SocketAddr) -> Outcome {
    run_with(traffic, phases, to, 2, |_| {}).await
}

pub(crate) async fn run_with(
    traffic: TrafficPlan,
    phases: Vec<PhasePlan>,
    to: SocketAddr,
    workers: usize,
    at_start: impl FnOnce(&Clock),
) -> Outcome {
    run_within(traffic, phases, to, workers, None, at_start).await
}

pub(crate) async fn run_within(
    traffic: TrafficPlan,
    phases: Vec<PhasePlan>,
    to: SocketAddr,
    workers: usize,
    netns: Option<OwnedFd>,
    at_start: impl FnOnce(&Clock),
) -> Outcome {
    let clock = Clock::start();
    let drain = traffic.drain;
    let job = Job {
        traffic: Arc::new(traffic),
        phases: phases.into(),
        window: Duration::from_millis(100),
    };
    let endpoint = Endpoint {
        address: to,
        host: "target.test".to_owned(),
        netns,
        path: GeneratorPath::Native,
    };
    let (events, mut received) = tokio::sync::mpsc::channel(8);
    let engine = Engine::start(&job, endpoint, clock.clone(), workers, events).unwrap();
    at_start(&clock);
    let finishing = tokio::spawn(async move {
        let mut at = clock.now() + Duration::from_millis(5);
        for (index, phase) in (0_u16..).zip(job.phases.iter()) {
            engine.begin_phase(index, at);
            let over = tokio::time::sleep(at.since(clock.now()) + phase.length);
            tokio::select! {
                () = over => at = at + phase.length,
                () = engine.phase_spent(index) => at = clock.now(),
            }
            engine.end_phase(index, at);
        }
        engine.finish(drain).await.unwrap()
    });
    let mut events = Vec::new();
    while let Some(event) = received.recv().await {
        events.push(event.what);
    }
    let report = finishing.await.unwrap();
    let outcome = sum_up(events, report);
    outcome.check();
    outcome
}

pub(crate) fn sum_up(events: Vec<What>, report: GeneratorReport) -> Outcome {
    let mut outcome = Outcome {
        total: Counts::default(),
        phases: BTreeMap::new(),
        steps: BTreeMap::new(),
        status: BTreeMap::new(),
        errors: BTreeMap::new(),
        latency_us: Histogram::new(),
        duration_us: Histogram::new(),
        lateness_us: Histogram::new(),
        waiting_us: Histogram::new(),
        receiving_us: Histogram::new(),
        by_status: Vec::new(),
        iterations: Vec::new(),
        users: Vec::new(),
        flows: Vec::new(),
        report,
    };
    assert!(matches!(events.last(), Some(What::GeneratorDone(last)) if *last == report));
    for event in events {
        match event {
            What::Traffic(window) => {
                outcome.total.add(&window.counts);
                outcome.phases.entry(window.phase).or_default().add(&window.counts);
                outcome.steps.entry(window.step).or_default().add(&window.counts);
                for (status, count) in window.status {
                    *outcome.status.entry(status).or_default() += count;
                }
                for (kind, count) in window.errors {
                    *outcome.errors.entry(kind).or_default() += count;
                }
                outcome.latency_us.add(&window.latency_us);
                outcome.duration_us.add(&window.duration_us);
                outcome.lateness_us.add(&window.lateness_us);
                outcome.waiting_us.add(&window.waiting_us);
                outcome.receiving_us.add(&window.receiving_us);
                outcome.by_status.extend(window.by_status);
            }
            What::Iterations(window) => outcome.iterations.push(window),
            What::Users(window) => outcome.users.push(window),
            What::Flow(window) => outcome.flows.push(window),
            _ => {}
        }
    }
    outcome
}
