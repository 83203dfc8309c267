//! Plans of traffic, in short.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater::plan::{
    Arrivals, Body, Burst, BurstForm, Constants, Iterations, LoadModel, LoadPlan, OpenLoad,
    PhasePlan, RateStage, Reply, Samples, ScenarioChoice, ScenarioPlan, StepPlan, Think,
    TrafficPlan, Transfer, UserStage,
};
use highwater::units::Rate;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const HALF: Duration = Duration::from_millis(500);

pub(crate) fn step(id: u16, path: &str) -> StepPlan {
    StepPlan {
        id,
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
    }
}

pub(crate) fn post(body: Body) -> StepPlan {
    StepPlan { method: "POST".to_owned(), body, ..step(0, "/") }
}

pub(crate) fn scenario(steps: Vec<StepPlan>) -> ScenarioPlan {
    ScenarioPlan { name: "test".to_owned(), weight: 1, steps, ..ScenarioPlan::default() }
}

pub(crate) fn traffic(steps: Vec<StepPlan>) -> TrafficPlan {
    TrafficPlan {
        seed: 1,
        timeout: Duration::from_secs(5),
        drain: Duration::from_millis(300),
        max_in_flight: 1000,
        scenarios: vec![scenario(steps)],
        constants: Constants::default(),
        samples: Samples::None,
    }
}

pub(crate) fn open(per_second: f64, bursts: Vec<Burst>, length: Duration) -> LoadModel {
    let rate = Rate::per_second(per_second).unwrap();
    LoadModel::Open(OpenLoad {
        stages: vec![RateStage { from: rate, to: rate, length }],
        arrivals: Arrivals::Even,
        bursts,
    })
}

pub(crate) fn users(count: u32, length: Duration, iterations: Option<u64>) -> LoadModel {
    LoadModel::Closed {
        stages: vec![UserStage { from: count, to: count, length }],
        iterations: iterations.map(Iterations::Shared),
    }
}

/// `size` arrivals at once, in the middle of the phase.
pub(crate) fn burst(size: u64, length: Duration) -> LoadModel {
    let burst = Burst { every: length, form: BurstForm::Size(size), jitter: 0.0, begins: 0.5 };
    open(0.0, vec![burst], length)
}

pub(crate) fn phase(model: LoadModel, length: Duration) -> PhasePlan {
    PhasePlan {
        name: "test".to_owned(),
        length,
        loads: vec![LoadPlan { scenario: ScenarioChoice::Mix, model, start_after: Duration::ZERO }],
        tags: vec![],
        size: false,
        stop_early: false,
        actions: Vec::new(),
    }
}
