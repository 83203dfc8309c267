//! From a checked scenario to a plan.

use std::path::Path;
use std::time::Duration;

use super::actions;
use super::steps::step_plan;
use super::{
    Budget, Burst, BurstForm, CargoBuild, CycleOutline, EnvVar, KubernetesPlan, LimitsOutline,
    LoadModel, LoadPlan, Metric, OnOom, OpenLoad, Outline, PaceOutline, PhaseOutline, PhasePlan,
    Plan, RateStage, ReadyCheck, ReadyPlan, Rule, Samples, SamplingPlan, ScenarioChoice,
    ScenarioPlan, StartupPlan, StepOutline, StepPlan, StopPlan, Tag, TargetLimits, TargetPlan,
    TargetSource, TrafficPlan, UserStage,
};
use crate::scenario::{self, Fault, Faults, Overrides, RuleCheck, RuleFacts, Scenario, Words};
use crate::units::Limit;

impl Plan {
    /// Reads, checks and compiles a scenario file.
    ///
    /// # Errors
    /// All its faults, with their places.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, Faults> {
        Self::compile(&scenario::load(path, overrides, &Grammar)?)
    }

    /// Checks and compiles a scenario's text as if it stood in the file `path`.
    ///
    /// # Errors
    /// All its faults, with their places.
    pub fn parse(path: &Path, text: &str, overrides: &Overrides) -> Result<Self, Faults> {
        Self::compile(&scenario::parse(path, text, overrides, &Grammar)?)
    }

    /// Compiles a scenario.
    ///
    /// # Errors
    /// Faults that only show now: threshold rules that can't be understood.
    pub fn compile(scenario: &Scenario) -> Result<Self, Faults> {
        let rules = rules(scenario)?;
        let mut next_step = 0;
        let scenarios =
            scenario.scenarios.iter().map(|flow| flow_plan(flow, &mut next_step)).collect();
        let mut phases: Vec<PhasePlan> = scenario.phases.iter().map(phase).collect();
        let missed = actions::spread(&scenario.actions, &mut phases);
        Ok(Self {
            name: scenario.name.clone(),
            target: target(&scenario.target),
            sampling: SamplingPlan { tick: scenario.tick, window: scenario.window },
            startup: StartupPlan {
                trials: scenario.trials,
                stop_early: scenario.fewer_trials,
                settle: scenario.settle,
            },
            traffic: TrafficPlan {
                seed: scenario.traffic.seed,
                timeout: scenario.traffic.timeout,
                drain: scenario.traffic.drain,
                max_in_flight: scenario.traffic.max_in_flight,
                scenarios,
                constants: scenario.constants.clone(),
                samples: Samples::default(),
            },
            phases,
            rules,
            words: scenario.words.clone(),
            on_oom: if scenario.restarts { OnOom::Restart } else { OnOom::Stop },
            keep_raw: false,
            budget: Budget::default(),
            notes: scenario.notes.iter().cloned().chain(missed).collect(),
        })
    }

    /// The part of the plan that a recording keeps.
    #[must_use]
    pub fn outline(&self) -> Outline {
        let limits = &self.target.limits;
        Outline {
            name: self.name.clone(),
            limits: LimitsOutline { memory: limits.memory, cpus: limits.cpus, pids: limits.pids },
            tick_ns: nanos(self.sampling.tick),
            window_ns: nanos(self.sampling.window),
            settle_ns: nanos(self.startup.settle),
            phases: self.phases.iter().map(phase_outline).collect(),
            steps: self.traffic.scenarios.iter().flat_map(step_outlines).collect(),
            thresholds: self
                .rules
                .iter()
                .map(|rule| (rule.selector.clone(), vec![rule.text.clone()]))
                .collect(),
            words: self.words.clone(),
        }
    }
}

fn rules(scenario: &Scenario) -> Result<Vec<Rule>, Faults> {
    let chosen: Vec<&str> = scenario.phases.iter().map(|phase| phase.name.as_str()).collect();
    let (mut rules, mut faults) = (Vec::new(), Vec::new());
    for threshold in &scenario.thresholds {
        let (selector, rule) = (&threshold.selector, &threshold.rule);
        match Rule::parse_among(&scenario.words, selector, rule, threshold.abort) {
            Ok(rule) => {
                // A phase that was not chosen is not judged.
                let phase = rule.tags.get(&Tag::Phase);
                if phase.is_none_or(|phase| chosen.contains(&phase.as_str())) {
                    rules.push(rule);
                }
            }
            Err(error) => faults.push(Fault::at(&threshold.place, error.message, error.help)),
        }
    }
    if faults.is_empty() { Ok(rules) } else { Err(Faults::new(scenario.sources.clone(), faults)) }
}

/// What rules speak of, for the scenario's own check.
struct Grammar;

impl RuleCheck for Grammar {
    fn facts(
        &self,
        words: &Words,
        selector: &str,
        rule: &str,
    ) -> Result<RuleFacts, (String, String)> {
        let rule = Rule::parse_among(words, selector, rule, None);
        let rule = rule.map_err(|error| (error.message, error.help))?;
        let named = |tag: &Tag| rule.tags.get(tag).cloned();
        Ok(RuleFacts {
            needs_limit: rule.needs_limit(),
            phase: named(&Tag::Phase),
            scenario: named(&Tag::Scenario),
            steps: [Tag::Step, Tag::Name].iter().filter_map(named).collect(),
            tags: rule.own_tags.into_iter().collect(),
        })
    }

    fn is_metric(&self, name: &str) -> bool {
        Metric::is_known(name)
    }

    fn is_tag(&self, name: &str) -> bool {
        Tag::is_known(name)
    }
}

fn target(target: &scenario::Target) -> TargetPlan {
    TargetPlan {
        source: source(&target.source),
        port: target.port,
        args: target.args.clone(),
        env: target
            .env
            .iter()
            .map(|(name, value, secret)| EnvVar {
                name: name.clone(),
                value: value.clone(),
                secret: *secret,
            })
            .collect(),
        files: target.files.clone(),
        tmpfs: target.tmpfs.clone(),
        user: target.user.clone(),
        extra_hosts: target.extra_hosts.clone(),
        ready: ReadyPlan {
            check: match &target.ready {
                scenario::Ready::Http(path, status) => {
                    ReadyCheck::Http { path: path.clone(), status: *status }
                }
                scenario::Ready::Tcp => ReadyCheck::Tcp,
                scenario::Ready::Log(pattern) => ReadyCheck::Log { pattern: pattern.clone() },
            },
            within: target.ready_within,
        },
        limits: TargetLimits {
            memory: target.memory.map_or(Limit::Unlimited, Limit::Bytes),
            cpus: target.cpus,
            pids: target.pids,
            kubernetes: target.kubernetes.map(|kubernetes| KubernetesPlan {
                request: kubernetes.request,
                memory_qos: kubernetes.memory_qos,
            }),
        },
        stop: StopPlan { signal: target.stop_signal.clone(), within: target.stop_within },
        allow_debug: false,
    }
}

fn source(source: &scenario::Source) -> TargetSource {
    match source {
        scenario::Source::Cargo(cargo) => TargetSource::Cargo(CargoBuild {
            directory: cargo.directory.clone(),
            package: cargo.package.clone(),
            bin: cargo.bin.clone(),
            features: cargo.features.clone(),
            profile: cargo.profile.clone(),
            target: cargo.target.clone(),
            base: cargo.base.clone(),
        }),
        scenario::Source::Binary(path, base) => {
            TargetSource::Binary { path: path.clone(), base: base.clone() }
        }
        scenario::Source::Image(name) => TargetSource::Image { name: name.clone() },
        scenario::Source::Dockerfile(path) => TargetSource::Dockerfile { path: path.clone() },
    }
}

fn flow_plan(flow: &scenario::Flow, next_step: &mut u16) -> ScenarioPlan {
    let mut plans = |steps: &[scenario::Step]| -> Vec<StepPlan> {
        let plans = steps.iter().map(|step| {
            let id = *next_step;
            *next_step = next_step.saturating_add(1);
            step_plan(step, id)
        });
        plans.collect()
    };
    // Evaluated in the order of `ScenarioPlan::all_steps`.
    ScenarioPlan {
        name: flow.name.clone(),
        weight: flow.weight,
        setup: plans(&flow.setup),
        on_start: plans(&flow.on_start),
        steps: plans(&flow.steps),
        on_stop: plans(&flow.on_stop),
        feed: flow.feed.clone(),
    }
}

fn phase(phase: &scenario::Phase) -> PhasePlan {
    let loads: Vec<LoadPlan> = phase
        .loads
        .iter()
        .map(|load| LoadPlan {
            scenario: load.flow.map_or(ScenarioChoice::Mix, ScenarioChoice::One),
            model: model(&load.pace),
            start_after: load.start_after,
        })
        .collect();
    let bursts = loads.iter().any(has_bursts);
    PhasePlan {
        name: phase.name.clone(),
        length: phase.length,
        loads,
        tags: phase.tags.clone(),
        size: phase.size.unwrap_or(bursts),
        stop_early: phase.stop_early,
        actions: Vec::new(),
    }
}

fn model(pace: &scenario::Pace) -> LoadModel {
    match pace {
        scenario::Pace::Open { stages, arrivals, bursts } => LoadModel::Open(OpenLoad {
            stages: stages
                .iter()
                .map(|&(from, to, length)| RateStage { from, to, length })
                .collect(),
            arrivals: *arrivals,
            bursts: bursts
                .iter()
                .map(|burst| Burst {
                    every: burst.every,
                    form: match burst.form {
                        scenario::BurstForm::Size(size) => BurstForm::Size(size),
                        scenario::BurstForm::Rate(rate, width) => BurstForm::Rate { rate, width },
                    },
                    jitter: burst.jitter,
                    begins: burst.begins,
                })
                .collect(),
        }),
        scenario::Pace::Replay(replay) => LoadModel::Replay(replay.clone()),
        scenario::Pace::Closed { stages, iterations } => LoadModel::Closed {
            stages: stages
                .iter()
                .map(|&(from, to, length)| UserStage { from, to, length })
                .collect(),
            iterations: *iterations,
        },
    }
}

fn has_bursts(load: &LoadPlan) -> bool {
    matches!(&load.model, LoadModel::Open(open) if !open.bursts.is_empty())
}

fn phase_outline(phase: &PhasePlan) -> PhaseOutline {
    PhaseOutline {
        name: phase.name.clone(),
        length_ns: nanos(phase.length),
        bursts: phase.traffic().any(has_bursts),
        cycle: phase.traffic().filter_map(cycle).max_by_key(|cycle| cycle.every_ns),
        steady: phase
            .traffic()
            .map(|load| is_steady(load, phase.length))
            .collect::<Option<Vec<_>>>()
            .map(|loads| loads.into_iter().all(|steady| steady)),
        size: phase.size,
        pace: pace(&phase.traffic().collect::<Vec<_>>()),
    }
}

/// What all loads are counted in; none where they differ, or there are none.
fn pace(loads: &[&LoadPlan]) -> Option<PaceOutline> {
    let of = |load: &LoadPlan| match &load.model {
        LoadModel::Open(_) => Some(PaceOutline::Rate),
        LoadModel::Closed { .. } => Some(PaceOutline::Users),
        LoadModel::Replay(_) | LoadModel::Timed { .. } => None,
    };
    let first = loads.first().copied().and_then(of);
    first.filter(|_| loads.iter().all(|load| of(load) == first))
}

/// The bursts of a load with the longest period.
fn cycle(load: &LoadPlan) -> Option<CycleOutline> {
    let LoadModel::Open(open) = &load.model else { return None };
    let burst = open.bursts.iter().max_by_key(|burst| burst.every)?;
    let width = match burst.form {
        BurstForm::Size(_) => Duration::ZERO,
        BurstForm::Rate { width, .. } => width,
    };
    Some(CycleOutline {
        first_ns: nanos(load.start_after + burst.every.mul_f64(burst.begins)),
        every_ns: nanos(burst.every),
        width_ns: nanos(width),
    })
}

/// Whether a load, bursts aside, stays as it is over a phase of this length; none where it is
/// recorded traffic.
fn is_steady(load: &LoadPlan, phase: Duration) -> Option<bool> {
    let (steady, length) = match &load.model {
        LoadModel::Open(open) => {
            let first = open.stages.first().map(|stage| stage.from);
            let same = |stage: &RateStage| Some(stage.from) == first && Some(stage.to) == first;
            (open.stages.iter().all(same), open.stages.iter().map(|stage| stage.length).sum())
        }
        LoadModel::Closed { stages, iterations } => {
            let first = stages.first().map(|stage| stage.from);
            let same = |stage: &UserStage| Some(stage.from) == first && Some(stage.to) == first;
            let length: Duration = stages.iter().map(|stage| stage.length).sum();
            (iterations.is_none() && stages.iter().all(same), length)
        }
        LoadModel::Replay(_) | LoadModel::Timed { .. } => return None,
    };
    Some(steady && load.start_after.is_zero() && length >= phase)
}

fn step_outlines(flow: &ScenarioPlan) -> impl Iterator<Item = StepOutline> + '_ {
    flow.all_steps().map(|step| StepOutline {
        scenario: flow.name.clone(),
        step: step.label.clone(),
        method: step.method.clone(),
        tags: step.tags.clone(),
        body_max: step.body.max(),
        body_wanted: step.body.size_at(0.5).zip(step.body.size_at(0.99)),
    })
}

/// A duration in nanoseconds; 584 years at most.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
