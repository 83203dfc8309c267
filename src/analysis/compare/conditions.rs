//! Under which conditions a run was made: only what was made alike can be compared.

use serde::{Deserialize, Serialize};

use super::document::RunDocument;
use super::float;

/// Lengths of a phase may differ by this share.
const SAME_LENGTH: f64 = 0.1;
/// A step's share of the requests may differ by so many percent of them.
const SAME_MIX: f64 = 10.0;
/// Sizes of bodies may differ by this share.
const SAME_BODIES: f64 = 0.25;
/// Counts of requests within this share are the same.
const SAME_COUNT: f64 = 0.01;

/// What a run's figures depend on, beside the target itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Conditions {
    pub(super) name: String,
    pub(super) highwater: String,
    pub(super) runtime: String,
    pub(super) cgroup: String,
    pub(super) kernel: String,
    pub(super) cpus: u32,
    pub(super) memory_bytes: Option<u64>,
    pub(super) thp: Option<String>,
    pub(super) limit_bytes: Option<u64>,
    pub(super) release_build: String,
    pub(super) peak_method: Option<String>,
    pub(super) tick_us: Option<f64>,
    pub(super) path: Option<String>,
    pub(super) phases: Vec<PhaseShape>,
    /// Whether the run ended early: then the phases are those before its end.
    #[serde(skip)]
    cut: bool,
}

/// What was done in a phase.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct PhaseShape {
    pub(super) name: String,
    pub(super) length_ms: f64,
    /// Requests that were due.
    pub(super) requests: u64,
    pub(super) steps: Vec<StepShape>,
}

/// What was sent by a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct StepShape {
    pub(super) scenario: String,
    pub(super) step: String,
    /// Its share of the phase's requests.
    pub(super) percent: f64,
    pub(super) body_p50_bytes: Option<u64>,
}

/// How much a difference of conditions weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Other things would be compared: another limit, other traffic, another way of measuring.
    Other,
    /// Another kind of host: figures of the same target may differ.
    Host,
    /// Worth knowing.
    Note,
}

/// A difference of conditions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// How much it weighs.
    pub weight: Weight,
    /// What differs, and how.
    pub text: String,
}

impl Conditions {
    /// Those of a run.
    pub(super) fn of(run: &RunDocument) -> Self {
        let (target, host) = (&run.target, &run.host);
        let whole = run.phases.len() - usize::from(run.is_cut() && !run.phases.is_empty());
        let phases = run.phases[..whole].iter().map(|phase| {
            let traffic = phase.traffic.as_ref();
            let steps = traffic.map_or(&[][..], |traffic| &traffic.steps);
            let due = |requests: u64, unsent: u64| requests + unsent;
            let all = steps.iter().map(|step| due(step.requests, step.unsent)).sum::<u64>();
            PhaseShape {
                name: phase.name.clone(),
                length_ms: (phase.end_ms - phase.start_ms).round(),
                requests: traffic.map_or(0, |traffic| due(traffic.requests, traffic.unsent)),
                steps: steps
                    .iter()
                    .map(|step| StepShape {
                        scenario: step.scenario.clone(),
                        step: step.name.clone(),
                        percent: percent(due(step.requests, step.unsent), all),
                        body_p50_bytes: step.request_body_bytes.map(|sizes| sizes.p50),
                    })
                    .collect(),
            }
        });
        Self {
            name: run.name.clone(),
            highwater: run.highwater.clone(),
            runtime: target.runtime.clone(),
            cgroup: target.cgroup.clone(),
            kernel: host.kernel.clone(),
            cpus: host.cpus,
            memory_bytes: host.memory_bytes,
            thp: host.thp.clone(),
            limit_bytes: target.limit_bytes,
            release_build: target.release_build.clone(),
            peak_method: run.sampler.as_ref().and_then(|sampler| sampler.peak_method.clone()),
            tick_us: run.sampler.as_ref().map(|sampler| sampler.tick_us),
            path: run.generator.as_ref().and_then(|generator| generator.path.clone()),
            phases: phases.collect(),
            cut: run.is_cut(),
        }
    }

    /// In what `other` (named `there`) differs from these (named `here`).
    pub(super) fn differences(&self, here: &str, other: &Self, there: &str) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut tell = |weight, what: &str, ours: String, theirs: String| {
            if ours != theirs {
                let text = format!("{what}: {ours} in {here}, {theirs} in {there}");
                found.push(Difference { weight, text });
            }
        };
        let size = |bytes: Option<u64>| {
            bytes.map_or("none".to_owned(), |bytes| crate::units::Bytes::new(bytes).to_string())
        };
        let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "none".to_owned());
        let plain = String::clone;
        tell(Weight::Other, "memory limit", size(self.limit_bytes), size(other.limit_bytes));
        tell(
            Weight::Other,
            "release build",
            plain(&self.release_build),
            plain(&other.release_build),
        );
        tell(Weight::Host, "runtime", plain(&self.runtime), plain(&other.runtime));
        tell(Weight::Host, "cgroup", plain(&self.cgroup), plain(&other.cgroup));
        tell(Weight::Host, "CPUs", self.cpus.to_string(), other.cpus.to_string());
        tell(Weight::Host, "peaks by", word(&self.peak_method), word(&other.peak_method));
        if self.path.is_some() && other.path.is_some() {
            tell(Weight::Host, "requests go by", word(&self.path), word(&other.path));
        }
        tell(Weight::Note, "name", plain(&self.name), plain(&other.name));
        tell(Weight::Note, "kernel", plain(&self.kernel), plain(&other.kernel));
        tell(Weight::Note, "huge pages", word(&self.thp), word(&other.thp));
        tell(Weight::Note, "version of Highwater", plain(&self.highwater), plain(&other.highwater));
        let tick = |tick: Option<f64>| tick.map_or("none".to_owned(), |us| format!("{us} µs"));
        tell(Weight::Note, "tick", tick(self.tick_us), tick(other.tick_us));
        let memory = |bytes: Option<u64>| size(bytes.map(|bytes| bytes >> 28 << 28));
        tell(
            Weight::Note,
            "memory of the host",
            memory(self.memory_bytes),
            memory(other.memory_bytes),
        );
        self.traffic_differences(here, other, there, &mut found);
        found
    }

    fn traffic_differences(
        &self,
        here: &str,
        other: &Self,
        there: &str,
        found: &mut Vec<Difference>,
    ) {
        let names = |of: &Self, most: usize| {
            let names: Vec<&str> = of.phases.iter().map(|phase| phase.name.as_str()).collect();
            names[..names.len().min(most)].join(", ")
        };
        let shorter = self.phases.len().min(other.phases.len());
        // A run that ended early has done fewer of them.
        let most = if self.cut || other.cut { shorter } else { usize::MAX };
        let (ours, theirs) = (names(self, most), names(other, most));
        if ours != theirs {
            let or_none = |names: String| if names.is_empty() { "none".to_owned() } else { names };
            let (ours, theirs) = (or_none(ours), or_none(theirs));
            let text = format!("phases: {ours} in {here}, {theirs} in {there}");
            found.push(Difference { weight: Weight::Other, text });
            return;
        }
        for (ours, theirs) in self.phases.iter().zip(&other.phases) {
            found.extend(ours.differences(here, theirs, there));
        }
    }
}

impl PhaseShape {
    fn differences(&self, here: &str, other: &Self, there: &str) -> Vec<Difference> {
        let mut found = Vec::new();
        let name = &self.name;
        let mut tell = |weight, text: String| found.push(Difference { weight, text });
        let counts = (float_of(self.requests), float_of(other.requests));
        let same_count = counts.0 > 0.0 && !far(counts.0, counts.1, SAME_COUNT, 0.0);
        if !same_count && far(self.length_ms, other.length_ms, SAME_LENGTH, 1000.0) {
            let (ours, theirs) = (self.length_ms / 1e3, other.length_ms / 1e3);
            let text =
                format!("phase {name} lasted {ours:.1} s in {here}, {theirs:.1} s in {there}");
            tell(Weight::Other, text);
        } else if far(counts.0, counts.1, SAME_LENGTH, 10.0) {
            let (ours, theirs) = (self.requests, other.requests);
            let text = format!("requests due in {name}: {ours} in {here}, {theirs} in {there}");
            tell(Weight::Note, text);
        }
        for step in &self.steps {
            let (scenario, named) = (&step.scenario, &step.step);
            let twin = other.steps.iter().find(|other| other.is(step));
            let theirs = twin.map_or(0.0, |twin| twin.percent);
            let (share, words) = (step.percent, format!("{named} of {scenario} in {name}"));
            if twin.is_none() && share > 1.0 || (share - theirs).abs() > SAME_MIX {
                let text = format!(
                    "{words}: {share:.0} % of requests in {here}, {theirs:.0} % in {there}"
                );
                tell(Weight::Other, text);
            }
            let bodies = (step.body_p50_bytes, twin.and_then(|twin| twin.body_p50_bytes));
            if let (Some(ours), Some(theirs)) = bodies
                && far(float_of(ours), float_of(theirs), SAME_BODIES, 1024.0)
            {
                let [ours, theirs] = [ours, theirs].map(crate::units::Bytes::new);
                let text = format!("bodies of {words}: {ours} in {here}, {theirs} in {there}");
                tell(Weight::Other, text);
            }
        }
        for step in &other.steps {
            if step.percent > 1.0 && !self.steps.iter().any(|ours| ours.is(step)) {
                let text = format!("{} of {} in {name}: only in {there}", step.step, step.scenario);
                tell(Weight::Other, text);
            }
        }
        found
    }
}

impl StepShape {
    fn is(&self, other: &Self) -> bool {
        self.scenario == other.scenario && self.step == other.step
    }
}

/// Whether two values differ by more than a share of the larger, and by more than `least`.
fn far(one: f64, other: f64, share: f64, least: f64) -> bool {
    (one - other).abs() > (share * one.max(other)).max(least)
}

fn percent(part: u64, whole: u64) -> f64 {
    let percent = 100.0 * float_of(part) / float_of(whole.max(1));
    (10.0 * percent).round() / 10.0
}

fn float_of(count: u64) -> f64 {
    float(usize::try_from(count).unwrap_or(usize::MAX))
}
