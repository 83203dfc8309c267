//! What the load engine will do alone: one phase of one request.

use std::time::Duration;

use super::{
    Budget, LimitsOutline, Outline, PhaseOutline, PhasePlan, Rule, StepOutline, TrafficPlan, Words,
};
use crate::units::Limit;

/// The name of such a run's only phase.
pub const LOAD_PHASE: &str = "load";

/// What the load engine will do alone, against something that it neither starts nor samples.
#[derive(Debug, Clone)]
pub struct LoadRunPlan {
    /// The run's name; also the start of the run directory's name.
    pub name: String,
    /// One scenario of one step.
    pub traffic: TrafficPlan,
    /// The phase.
    pub phase: PhasePlan,
    /// Threshold rules.
    pub rules: Vec<Rule>,
    /// Length of a window of the timeline.
    pub window: Duration,
    /// Bounds on what the harness itself uses.
    pub budget: Budget,
}

impl LoadRunPlan {
    /// The part of the plan that a recording keeps.
    #[must_use]
    pub fn outline(&self) -> Outline {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let steps = self.traffic.scenarios.iter().flat_map(|scenario| {
            scenario.all_steps().map(|step| StepOutline {
                scenario: scenario.name.clone(),
                step: step.label.clone(),
                method: step.method.clone(),
                tags: step.tags.clone(),
                body_max: step.body.max(),
                body_wanted: step.body.size_at(0.5).zip(step.body.size_at(0.99)),
            })
        });
        Outline {
            name: self.name.clone(),
            limits: LimitsOutline { memory: Limit::Unlimited, cpus: None, pids: None },
            tick_ns: 0,
            window_ns: nanos(self.window),
            settle_ns: 0,
            phases: vec![PhaseOutline {
                name: self.phase.name.clone(),
                length_ns: if self.phase.is_counted() { 0 } else { nanos(self.phase.length) },
                ..PhaseOutline::default()
            }],
            steps: steps.collect(),
            thresholds: self
                .rules
                .iter()
                .map(|rule| (rule.selector.clone(), vec![rule.text.clone()]))
                .collect(),
            words: Words::default(),
        }
    }
}
