//! What is compared, and from which difference on it matters.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::document::{Phase, RunDocument, Times};
use super::float;
use super::statistics::median_of;

/// The kernel charges memory in stocks of 64 pages a CPU: charged levels may be so much too high.
const CHARGE_SLACK_A_CPU: f64 = 252.0 * 1024.0;
/// Of fewer requests there is no p95, and no p99, to speak of.
const LEAST_FOR_P95: u64 = 40;
const LEAST_FOR_P99: u64 = 200;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// The unreclaimable peak, upper bound.
    Unreclaimable,
    /// The charged peak.
    Peak,
    /// The greatest RSS.
    Rss,
    /// The unreclaimable peak of a startup trial.
    StartupUnreclaimable,
    /// The charged peak of a startup trial.
    StartupPeak,
    /// What a startup trial settled at.
    StartupSettled,
    /// From the program's first sight to ready.
    Ready,
    /// Memory that a request in flight takes.
    Cost,
    /// Growth by time.
    Growth,
    /// Growth by request.
    GrowthPerRequest,
    /// Latency, median.
    LatencyP50,
    /// Latency, 95th percentile.
    LatencyP95,
    /// Latency, 99th percentile.
    LatencyP99,
    /// The share of requests that failed.
    Failed,
    /// Requests per second.
    Throughput,
    /// CPU time per wall time.
    Cpu,
}

/// What a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Bytes per hour.
    BytesPerHour,
    /// Milliseconds.
    Milliseconds,
    /// Percent of requests.
    Percent,
    /// Requests per second.
    PerSecond,
    /// Cores.
    Cores,
}

/// What is known of a metric beforehand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    /// A change counts where it is larger than this share of the base, in percent; of `failed`,
    /// where it is larger than this many points.
    pub(super) share: f64,
    /// … and larger than this, in the metric's unit.
    pub(super) least: f64,
    /// Where no spread is known (too few runs), it has to be larger than this share, in percent.
    pub(super) alone: f64,
    /// What the measurement itself is off by, as a share of the value, in percent.
    pub(super) noise: f64,
}

impl MetricKind {
    /// All of them, the weightiest first.
    pub const ALL: [Self; 16] = [
        Self::Unreclaimable,
        Self::Peak,
        Self::Rss,
        Self::StartupUnreclaimable,
        Self::StartupPeak,
        Self::StartupSettled,
        Self::Ready,
        Self::Cost,
        Self::Growth,
        Self::GrowthPerRequest,
        Self::LatencyP50,
        Self::LatencyP95,
        Self::LatencyP99,
        Self::Failed,
        Self::Throughput,
        Self::Cpu,
    ];

    pub(super) const fn spec(self) -> Spec {
        let (name, unit, share, least, alone, noise) = match self {
            Self::Unreclaimable => ("unreclaimable", Unit::Bytes, 5.0, 0.0, 25.0, 0.5),
            Self::Peak => ("peak", Unit::Bytes, 5.0, 0.0, 25.0, 0.5),
            Self::Rss => ("rss", Unit::Bytes, 5.0, 0.0, 25.0, 0.5),
            Self::StartupUnreclaimable => {
                ("startup_unreclaimable", Unit::Bytes, 5.0, 0.0, 25.0, 0.5)
            }
            Self::StartupPeak => ("startup_peak", Unit::Bytes, 5.0, 0.0, 25.0, 0.5),
            Self::StartupSettled => ("startup_settled", Unit::Bytes, 5.0, 0.0, 25.0, 0.5),
            Self::Ready => ("ready", Unit::Milliseconds, 10.0, 20.0, 50.0, 2.0),
            Self::Cost => ("cost", Unit::Bytes, 15.0, 4096.0, 50.0, 5.0),
            Self::Growth => ("growth", Unit::BytesPerHour, 25.0, 1_048_576.0, 50.0, 0.0),
            Self::GrowthPerRequest => ("growth_per_request", Unit::Bytes, 25.0, 16.0, 50.0, 0.0),
            Self::LatencyP50 => ("latency_p50", Unit::Milliseconds, 10.0, 1.0, 100.0, 1.0),
            Self::LatencyP95 => ("latency_p95", Unit::Milliseconds, 15.0, 1.0, 200.0, 1.0),
            Self::LatencyP99 => ("latency_p99", Unit::Milliseconds, 20.0, 2.0, 300.0, 1.0),
            Self::Failed => ("failed", Unit::Percent, 0.5, 0.0, 5.0, 0.0),
            Self::Throughput => ("throughput", Unit::PerSecond, 5.0, 0.0, 25.0, 0.5),
            Self::Cpu => ("cpu", Unit::Cores, 10.0, 0.05, 50.0, 1.0),
        };
        Spec { name, unit, share, least, alone, noise }
    }

    /// The name that `--share`, the baseline and the reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.spec().name
    }

    /// What a value counts.
    #[must_use]
    pub const fn unit(self) -> Unit {
        self.spec().unit
    }

    /// The change that counts, in percent of the base (of `failed`: in points), unless told else.
    #[must_use]
    pub const fn default_share(self) -> f64 {
        self.spec().share
    }

    /// Whether a higher value is the worse one.
    #[must_use]
    pub const fn more_is_worse(self) -> bool {
        !matches!(self, Self::Throughput)
    }

    /// Whether shares are points of the value itself, and not of the base.
    pub(super) const fn in_points(self) -> bool {
        matches!(self, Self::Failed)
    }

    /// Times are compared by their logarithms: what disturbs them multiplies.
    pub(super) const fn by_logarithm(self) -> bool {
        matches!(self, Self::Ready | Self::LatencyP50 | Self::LatencyP95 | Self::LatencyP99)
    }

    /// Whether the kernel's charge slack is in the value.
    const fn is_charged(self) -> bool {
        matches!(
            self,
            Self::Unreclaimable
                | Self::Peak
                | Self::StartupUnreclaimable
                | Self::StartupPeak
                | Self::StartupSettled
        )
    }

    /// Whether it comes from startup trials, of which a run has several.
    pub(super) const fn is_of_trials(self) -> bool {
        matches!(
            self,
            Self::StartupUnreclaimable | Self::StartupPeak | Self::StartupSettled | Self::Ready
        )
    }

    /// The least difference that counts, in the metric's unit: below, the measurement alone may be
    /// the reason.
    pub(super) fn least(self, cpus: u32) -> f64 {
        let slack = CHARGE_SLACK_A_CPU * f64::from(cpus.max(1));
        self.spec().least.max(if self.is_charged() { slack } else { 0.0 })
    }

    /// What the measurement itself is off by at `value` (a standard deviation), in the metric's
    /// unit.
    pub(super) fn noise(self, value: f64, cpus: u32) -> f64 {
        // A slack of anything up to its bound deviates by its twelfth part, rooted.
        let slack = CHARGE_SLACK_A_CPU * f64::from(cpus.max(1)) / 12.0_f64.sqrt();
        let slack = if self.is_charged() { slack } else { 0.0 };
        let least = self.spec().least / 10.0;
        slack.max(least).max(self.spec().noise / 100.0 * value.abs())
    }
}

/// One thing that is compared: a kind, and where it was measured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricId {
    /// What is measured.
    pub kind: MetricKind,
    /// In which phase; none for the whole run.
    pub phase: Option<String>,
    /// By which scenario and step; none for all.
    pub step: Option<(String, String)>,
}

impl MetricId {
    const fn whole(kind: MetricKind) -> Self {
        Self { kind, phase: None, step: None }
    }
}

impl fmt::Display for MetricId {
    /// As in threshold rules: `latency_p99{phase:burst,scenario:orders,step:POST /orders}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.phase.iter().map(|phase| format!("phase:{phase}"));
        let step = self
            .step
            .iter()
            .flat_map(|(scenario, step)| [format!("scenario:{scenario}"), format!("step:{step}")]);
        let tags: Vec<String> = phase.chain(step).collect();
        f.write_str(self.kind.name())?;
        if tags.is_empty() { Ok(()) } else { write!(f, "{{{}}}", tags.join(",")) }
    }
}

/// What one run has of a metric.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sample {
    /// The values: one, or one of each startup trial.
    pub(super) values: Vec<f64>,
    /// The interval of 95 % that the run itself gives for its value.
    pub(super) interval: Option<[f64; 2]>,
}

impl Sample {
    /// The run's value.
    pub(super) fn value(&self) -> Option<f64> {
        median_of(&self.values)
    }
}

/// Everything that a run has to be compared.
pub(super) type Samples = BTreeMap<MetricId, Sample>;

/// What is compared of a run. A phase that was cut short is left out.
pub(super) fn samples(run: &RunDocument) -> Samples {
    let mut found = Samples::new();
    let mut take = |id: MetricId, value: Option<f64>| {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            found.entry(id).or_default().values.push(value);
        }
    };
    if let Some(memory) = &run.memory {
        take(MetricId::whole(MetricKind::Unreclaimable), Some(memory.unreclaimable));
        take(MetricId::whole(MetricKind::Peak), Some(memory.peak));
        take(MetricId::whole(MetricKind::Rss), Some(memory.rss));
    }
    let several = run.trials().count() > 1;
    for trial in run.trials() {
        // What a cold page cache costs is the host's, not the target's.
        let warm = !(several && run.is_cold(trial));
        let mut take = |kind, value| take(MetricId::whole(kind), value);
        take(MetricKind::StartupUnreclaimable, trial.unreclaimable_peak_bytes);
        take(MetricKind::StartupSettled, trial.settled_bytes);
        take(MetricKind::StartupPeak, trial.peak_bytes.filter(|_| warm));
        take(MetricKind::Ready, trial.ready_ms.filter(|_| warm));
    }
    let whole = run.phases.len() - usize::from(run.is_cut() && !run.phases.is_empty());
    for phase in &run.phases[..whole] {
        of_phase(phase, &mut take);
    }
    with_intervals(run, &mut found);
    found
}

fn of_phase(phase: &Phase, take: &mut impl FnMut(MetricId, Option<f64>)) {
    let id = |kind, step: Option<(String, String)>| MetricId {
        kind,
        phase: Some(phase.name.clone()),
        step,
    };
    if let Some(memory) = &phase.memory {
        take(id(MetricKind::Unreclaimable, None), Some(memory.unreclaimable));
        take(id(MetricKind::Peak, None), Some(memory.peak));
        take(id(MetricKind::Rss, None), Some(memory.rss));
    }
    take(id(MetricKind::Cpu, None), phase.target.as_ref().and_then(|target| target.cpu_cores));
    let Some(traffic) = &phase.traffic else { return };
    if traffic.requests > 0 {
        let failed = 100.0 * float_of(traffic.failed) / float_of(traffic.requests);
        take(id(MetricKind::Failed, None), Some(failed));
        take(id(MetricKind::Throughput, None), traffic.rate);
    }
    let mut times = |step: Option<(String, String)>, requests, times: Option<Times>| {
        let Some(times) = times else { return };
        take(id(MetricKind::LatencyP50, step.clone()), Some(times.p50));
        let p95 = Some(times.p95).filter(|_| requests >= LEAST_FOR_P95);
        take(id(MetricKind::LatencyP95, step.clone()), p95);
        let p99 = Some(times.p99).filter(|_| requests >= LEAST_FOR_P99);
        take(id(MetricKind::LatencyP99, step), p99);
    };
    times(None, traffic.requests, traffic.latency_ms);
    // Of a single step, the phase tells the same.
    for step in traffic.steps.iter().filter(|_| traffic.steps.len() > 1) {
        let name = (step.scenario.clone(), step.name.clone());
        times(Some(name), step.requests, step.latency_ms);
    }
}

fn with_intervals(run: &RunDocument, found: &mut Samples) {
    let mut take = |id, value: Option<f64>, interval| {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            found.insert(id, Sample { values: vec![value], interval });
        }
    };
    if let Some(growth) = &run.growth {
        take(MetricId::whole(MetricKind::Growth), growth.bytes_per_hour, growth.ci95);
        let (value, interval) = (growth.bytes_per_request, growth.bytes_per_request_ci95);
        take(MetricId::whole(MetricKind::GrowthPerRequest), value, interval);
    }
    for cost in run.costs.iter().flatten() {
        let step = Some((cost.scenario.clone(), cost.step.clone()));
        let id = MetricId { kind: MetricKind::Cost, phase: None, step };
        take(id, cost.bytes_per_in_flight, cost.ci95);
    }
}

fn float_of(count: u64) -> f64 {
    float(usize::try_from(count).unwrap_or(usize::MAX))
}

/// From which change on a metric matters, where it is not the default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shares {
    /// In percent, for all metrics but `failed`.
    all: Option<f64>,
    /// In percent, by name, family or whole id; the last that fits counts.
    of: Vec<(String, f64)>,
}

/// Why a share can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// It is no share.
    #[error("`{text}` is not a share: write a percentage such as 5%, or METRIC=5%")]
    NotAShare {
        /// What was written.
        text: String,
    },
    /// No metric has this name.
    #[error("there is no metric `{name}`: there are {}", all_names())]
    NoMetric {
        /// What was written.
        name: String,
    },
}

fn all_names() -> String {
    MetricKind::ALL.map(MetricKind::name).join(", ")
}

impl Shares {
    /// Takes `5%`, `latency_p99=30%`, `latency=20%` (all metrics that begin so) or
    /// `peak{phase:burst}=3%`.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn take(&mut self, text: &str) -> Result<(), ShareError> {
        let (name, share) =
            text.rsplit_once('=').map_or((None, text), |(name, share)| (Some(name.trim()), share));
        let number = share.trim().strip_suffix('%').unwrap_or(share).trim();
        let percent = number.parse::<f64>().ok().filter(|share| (0.0..=10_000.0).contains(share));
        let percent = percent.ok_or_else(|| ShareError::NotAShare { text: text.to_owned() })?;
        let Some(name) = name else {
            self.all = Some(percent);
            return Ok(());
        };
        let head = name.split('{').next().unwrap_or_default();
        if !MetricKind::ALL.iter().any(|kind| is_of(kind.name(), head)) {
            return Err(ShareError::NoMetric { name: name.to_owned() });
        }
        self.of.push((name.to_owned(), percent));
        Ok(())
    }

    /// The share for a metric, in percent.
    pub(super) fn of(&self, id: &MetricId) -> f64 {
        let full = id.to_string();
        let own = |(name, _): &&(String, f64)| *name == full || is_of(id.kind.name(), name);
        let named = self.of.iter().rev().find(own).map(|(_, share)| *share);
        let all = self.all.filter(|_| !id.kind.in_points());
        named.or(all).unwrap_or_else(|| id.kind.default_share())
    }
}

/// Whether a metric's name is this one, or begins with this word.
fn is_of(name: &str, word: &str) -> bool {
    name.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_for_all_for_a_family_or_for_one() {
        let mut shares = Shares::default();
        for text in ["3%", "latency=30%", "peak{phase:burst}=1 %", "failed=2"] {
            shares.take(text).unwrap();
        }
        let whole = MetricId::whole;
        let burst = MetricId { phase: Some("burst".to_owned()), ..whole(MetricKind::Peak) };
        assert!((shares.of(&whole(MetricKind::Rss)) - 3.0).abs() < 1e-9);
        assert!((shares.of(&whole(MetricKind::LatencyP99)) - 30.0).abs() < 1e-9);
        assert!((shares.of(&whole(MetricKind::Peak)) - 3.0).abs() < 1e-9);
        assert!((shares.of(&burst) - 1.0).abs() < 1e-9);
        assert!((shares.of(&whole(MetricKind::Failed)) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn wrong_shares_are_refused() {
        let mut shares = Shares::default();
        for text in ["", "x", "-1%", "nan", "peak=", "peak=a%", "1e9%"] {
            assert!(matches!(shares.take(text), Err(ShareError::NotAShare { .. })), "{text}");
        }
        for text in ["peek=3%", "=3%", "lat=3%"] {
            assert!(matches!(shares.take(text), Err(ShareError::NoMetric { .. })), "{text}");
        }
    }
}
