//! Replaying a suspect alone: the plan of a run that sends so many of one scenario at once, to a
//! fresh container under the same limits.

use std::time::Duration;

use crate::plan::{
    Burst, BurstForm, LoadModel, LoadPlan, OpenLoad, PhasePlan, Plan, RateStage, ScenarioChoice,
};
use crate::scenario::Arrivals;
use crate::units::Rate;

/// Between bursts; the first comes after half of it, so that there is a calm level before.
const EVERY: Duration = Duration::from_secs(2);
/// So many bursts are sent.
const BURSTS: u32 = 3;

/// The plan that sends `count` of a scenario at once, a few times, and nothing else; none where the
/// plan has no such scenario.
#[must_use]
pub fn alone(plan: &Plan, scenario: &str, count: u64) -> Option<Plan> {
    let index = plan.traffic.scenarios.iter().position(|each| each.name == scenario)?;
    let length = EVERY * BURSTS;
    let quiet = RateStage { from: Rate::ZERO, to: Rate::ZERO, length };
    let burst =
        Burst { every: EVERY, form: BurstForm::Size(count.max(1)), jitter: 0.0, begins: 0.5 };
    let load = LoadPlan {
        scenario: ScenarioChoice::One(index),
        model: LoadModel::Open(OpenLoad {
            stages: vec![quiet],
            arrivals: Arrivals::Even,
            bursts: vec![burst],
        }),
        start_after: Duration::ZERO,
    };
    let phase = PhasePlan {
        name: "confirm".to_owned(),
        length,
        loads: vec![load],
        tags: Vec::new(),
        size: false,
        stop_early: false,
        actions: Vec::new(),
    };
    let mut alone = plan.clone();
    alone.startup.trials = 0;
    alone.phases = vec![phase];
    alone.rules = Vec::new();
    alone.notes = Vec::new();
    Some(alone)
}
