//! What will happen in a run, as compiled types: target, phases, steps, arrival schedules,
//! threshold rules, budgets.
//!
//! A [`Plan`] is made from a checked scenario and holds no reference to it. Everything that
//! depends on chance is fixed by the plan's seed. The [`Outline`] is the part of it that a
//! recording keeps, so that an old run can be analysed again without its scenario.

mod actions;
mod arrivals;
mod budget;
mod compile;
mod load_run;
mod outline;
mod rules;
mod steps;
mod target;
mod traffic;
mod watch;

pub use arrivals::{Schedule, UserCurve};
pub use budget::Budget;
pub use load_run::{LOAD_PHASE, LoadRunPlan};
pub use outline::{CycleOutline, LimitsOutline, Outline, PaceOutline, PhaseOutline, StepOutline};
pub use rules::{Aggregate, Bound, Metric, MetricKind, Operator, Rule, RuleError, Tag, Window};
pub use target::{
    CargoBuild, EnvVar, KUBELET_PERIOD_US, KubernetesPlan, OnOom, ReadyCheck, ReadyPlan,
    SamplingPlan, StartupPlan, StopPlan, TargetLimits, TargetPlan, TargetSource,
};
pub use traffic::{
    ActionPlan, Body, Burst, BurstForm, LoadModel, LoadPlan, OpenLoad, PhasePlan, Piece, RateStage,
    Samples, ScenarioChoice, ScenarioPlan, SizePoints, StepPlan, TrafficPlan, UserStage,
};
pub use watch::{WATCH_PHASE, WatchPlan};

/// What the plan takes from the scenario as it is.
pub use crate::scenario::{
    Arrivals, Capture, Check, Constants, CustomKind, CustomMetric, Deed, Extract, Feed, FeedOrder,
    Gives, Iterations, MetricName, Replay, Replayed, Reply, Shape, ShapeKind, Test, Think,
    Transfer, Wanted, Words, is_template, templating,
};

/// Everything that one run will do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The scenario's name; also the start of the run directory's name.
    pub name: String,
    /// What is started, and how.
    pub target: TargetPlan,
    /// How memory is sampled.
    pub sampling: SamplingPlan,
    /// Startup trials.
    pub startup: StartupPlan,
    /// What the traffic is made of.
    pub traffic: TrafficPlan,
    /// The phases, in order.
    pub phases: Vec<PhasePlan>,
    /// Threshold rules.
    pub rules: Vec<Rule>,
    /// Words of the scenario's own that rules may use.
    pub words: Words,
    /// What to do after an OOM kill.
    pub on_oom: OnOom,
    /// Whether every raw tick is recorded, not only those of startup and around spikes.
    pub keep_raw: bool,
    /// Bounds on what the harness itself uses.
    pub budget: Budget,
    /// What the reader of the report should know of the scenario.
    pub notes: Vec<String>,
}
