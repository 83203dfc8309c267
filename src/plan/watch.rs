//! What a watch will do: no phases of traffic, one stretch of time in which memory is sampled.

use std::time::Duration;

use super::{Budget, LimitsOutline, Outline, PhaseOutline, Rule, SamplingPlan, Words};
use crate::units::Limit;

/// The name of a watch's only phase.
pub const WATCH_PHASE: &str = "watch";

/// What a watch will do.
#[derive(Debug, Clone)]
pub struct WatchPlan {
    /// The watch's name; also the start of the run directory's name.
    pub name: String,
    /// The memory limit of the target, where there is only one target.
    pub limit: Limit,
    /// How memory is sampled.
    pub sampling: SamplingPlan,
    /// How long it lasts; none: until the targets end, or somebody stops it.
    pub length: Option<Duration>,
    /// Threshold rules, which each target is held to.
    pub rules: Vec<Rule>,
    /// Whether every raw tick is kept, not only those around excursions.
    pub keep_all_ticks: bool,
    /// Whether peaks may be reset where others who read the same cgroup notice it.
    pub reset_shared_peaks: bool,
    /// Bounds on what the harness itself uses.
    pub budget: Budget,
}

impl WatchPlan {
    /// The part of the plan that a recording keeps. A watch without an end has a phase of length 0.
    #[must_use]
    pub fn outline(&self) -> Outline {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Outline {
            name: self.name.clone(),
            limits: LimitsOutline { memory: self.limit, cpus: None, pids: None },
            tick_ns: nanos(self.sampling.tick),
            window_ns: nanos(self.sampling.window),
            settle_ns: 0,
            phases: vec![PhaseOutline {
                name: WATCH_PHASE.to_owned(),
                length_ns: self.length.map_or(0, nanos),
                // Nobody knows the load, so a leak could not be told from a rush.
                steady: Some(false),
                ..PhaseOutline::default()
            }],
            steps: Vec::new(),
            thresholds: self
                .rules
                .iter()
                .map(|rule| (rule.selector.clone(), vec![rule.text.clone()]))
                .collect(),
            words: Words::default(),
        }
    }
}
