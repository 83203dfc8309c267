//! Two sides of runs, or runs against a baseline: what is worse, what is better, what can't be told.
//!
//! # Method
//!
//! A change is a regression only where it is *significant* and *larger than a stated share* of the
//! base (for each metric its own, [`MetricKind::default_share`]; and never less than what the
//! measurement itself may be off by, such as the kernel's charge slack of 252 KiB a CPU). What is
//! neither, and not surely within that share, is `unclear`; that is no alarm.
//!
//! - **Three runs a side and more** (as soon as there are 20 ways to label the runs): a permutation
//!   test over the whole table at once, exact up to 5,000 labellings, else 5,000 drawn from a fixed
//!   seed. The statistic of a metric is the difference of means over its standard error, enlarged
//!   by what the measurement is off by; each is compared with the greatest of *all* metrics under
//!   every labelling (maxT of Westfall and Young). So of runs that do not differ at most one
//!   comparison in twenty gives an alarm, however many metrics it has. Change and interval are
//!   those of Hodges–Lehmann and Moses, which take no distribution for granted; an interval says
//!   the confidence that it has (three a side allow for 90 %). Bootstrap intervals were left aside:
//!   they are too narrow for the handful of runs that a side has.
//! - **Startup** has several trials a run: with fewer runs a side, trials take the place of runs, in
//!   a table of their own. They share a run's circumstances, so that times to ready then have to
//!   differ by a quarter.
//! - **One or two runs a side**: how much runs differ among themselves is not known. A change
//!   counts only where all values of one side are above all of the other, and by more than a
//!   stated floor (a quarter for memory); growth and costs come with intervals of their
//!   own, which must be apart. All else is unclear.
//! - **A baseline** ([`Baseline`]) knows a metric's noise: Student's t of the new runs against its
//!   fixed reference, Holm's adjustment over the table. Times are compared by their logarithms.
//! - **Kills and leaks** are facts: an OOM kill where there was none is a regression, and so is
//!   growth that became a leak in most runs.
//!
//! Only runs made alike are compared ([`Difference`]): other limits, other traffic and other hosts
//! are refused unless asked for. Everything here is pure, and the same input gives the same answer.

mod band;
mod baseline;
mod conditions;
mod document;
mod facts;
mod metrics;
mod show;
mod statistics;
mod table;

use std::collections::BTreeSet;

pub use baseline::{Baseline, BaselineError};
use conditions::Conditions;
pub use conditions::{Difference, Weight};
pub use document::{DocumentError, RunDocument};
pub use facts::Fact;
use metrics::Samples;
pub use metrics::{MetricId, MetricKind, ShareError, Shares, Unit};
pub use show::{reason, show};
pub use statistics::Interval;

use super::model::Verdict;

/// In one comparison of twenty, chance may give an alarm.
const ALPHA: f64 = 0.05;
/// More metrics than this are left out, and told.
const MOST_METRICS: usize = 2000;

/// A run that is compared, and what it is called.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its directory or file.
    pub name: String,
    /// What its `run.json` says.
    pub document: RunDocument,
}

/// What the caller asks for.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// From which change on a metric matters.
    pub shares: Shares,
    /// Whether to compare what was not made alike, or did not come to its end.
    pub anyway: bool,
}

/// What became of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is worse, surely and by more than its share.
    Regression,
    /// It is better, surely and by more than its share.
    Improvement,
    /// It can't be told.
    Unclear,
    /// Any change is surely within its share.
    Same,
}

impl Outcome {
    /// The name that documents use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Regression => "regression",
            Self::Improvement => "improvement",
            Self::Unclear => "unclear",
            Self::Same => "same",
        }
    }
}

/// What an outcome rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// A permutation of the runs.
    Runs,
    /// A permutation of the startup trials.
    Trials,
    /// The baseline's noise.
    Band,
    /// Intervals that the runs themselves give.
    Intervals,
    /// A stated floor: no noise is known.
    Floor,
}

impl Basis {
    /// The name that documents use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Trials => "trials",
            Self::Band => "band",
            Self::Intervals => "intervals",
            Self::Floor => "floor",
        }
    }
}

/// A metric on both sides. Values are in its unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What it is.
    pub id: MetricId,
    /// The base's median, or the baseline's reference.
    pub base: f64,
    /// How many values that is of.
    pub base_count: usize,
    /// The new side's median.
    pub new: f64,
    /// How many values that is of.
    pub new_count: usize,
    /// From the base to the new side.
    pub change: f64,
    /// The interval for the change; none where values are too few for one.
    pub interval: Option<Interval>,
    /// A change counts from here on.
    pub limit: f64,
    /// How probable so large a change for the worse would be by chance, anywhere in the table; none
    /// where no noise is known.
    pub p_worse: Option<f64>,
    /// The same for the better.
    pub p_better: Option<f64>,
    /// What the outcome rests on.
    pub basis: Basis,
    /// What became of it.
    pub outcome: Outcome,
    /// Since when the baseline has its reference, RFC 3339; none without a baseline.
    pub since: Option<String>,
}

impl Row {
    /// The change in percent of the base; none where the base is nothing, or may be below it.
    #[must_use]
    pub fn percent(&self) -> Option<f64> {
        let percent = 100.0 * self.change / self.base;
        (self.base > 0.0 && percent.abs() < 10_000.0).then_some(percent)
    }
}

/// One side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The scenario's name.
    pub name: String,
    /// What was compared: directories and files; empty for a baseline.
    pub runs: Vec<String>,
    /// How many runs it is of.
    pub count: usize,
}

/// What comparing came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What is compared with.
    pub base: Side,
    /// What is judged.
    pub new: Side,
    /// The metrics that both sides have, the weightiest first.
    pub rows: Vec<Row>,
    /// What is no figure: kills and leaks.
    pub facts: Vec<Fact>,
    /// What only one side has.
    pub only_base: Vec<MetricId>,
    /// What only the new side has.
    pub only_new: Vec<MetricId>,
    /// In what runs and sides were not made alike.
    pub differences: Vec<Difference>,
    /// What the reader should know.
    pub notes: Vec<String>,
    /// Whether a run is among them whose measurement can't be trusted, and that was not allowed.
    pub is_untrusted: bool,
    /// Whether this only informs: the baseline was made on another kind of host.
    pub informs: bool,
    /// Since when the baseline has its references, RFC 3339; none without one.
    pub since: Option<String>,
}

impl Comparison {
    /// What it comes to: fail, untrusted or pass. Fails by a kill before it is untrusted.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let worse = |fact: &&Fact| fact.outcome == Outcome::Regression;
        let killed = self.facts.iter().filter(worse).any(|fact| fact.id == "oom_kill");
        let failed = killed
            || !self.informs && self.facts.iter().any(|fact| worse(&fact))
            || !self.informs && self.regressions().next().is_some();
        match (killed, self.is_untrusted, failed) {
            (true, ..) => Verdict::Fail,
            (_, true, _) => Verdict::Untrusted,
            (_, _, true) => Verdict::Fail,
            _ => Verdict::Pass,
        }
    }

    /// The metrics that became worse.
    pub fn regressions(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.outcome == Outcome::Regression)
    }

    /// How many metrics had this outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.rows.iter().filter(|row| row.outcome == outcome).count()
    }
}

/// Why runs are not compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A side has no run.
    #[error("failed to compare: the {side} side has no run")]
    NoRuns {
        /// Which.
        side: &'static str,
    },
    /// They were not made alike.
    #[error("failed to compare: the runs were not made alike\n  {}", texts.join("\n  "))]
    Unlike {
        /// In what they differ.
        texts: Vec<String>,
    },
    /// Some did not come to their end.
    #[error("failed to compare: {}", texts.join("; "))]
    Broken {
        /// Which.
        texts: Vec<String>,
    },
    /// They have nothing in common.
    #[error("failed to compare: the sides have no metric in common")]
    NothingInCommon,
}

impl Refusal {
    /// The way out.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::NoRuns { .. } => "name at least one run directory for it",
            Self::Unlike { .. } => {
                "run both sides with the same scenario and limit on the same kind of host, or \
                 compare them `--anyway`"
            }
            Self::Broken { .. } => {
                "leave these runs out, or compare what there is of them `--anyway`"
            }
            Self::NothingInCommon => "compare runs of one scenario",
        }
    }
}

/// Compares two sides.
///
/// # Errors
/// When they should not be compared.
pub fn compare(base: &[Run], new: &[Run], settings: &Settings) -> Result<Comparison, Refusal> {
    let first = base.first().ok_or(Refusal::NoRuns { side: "base" })?;
    let last = new.first().ok_or(Refusal::NoRuns { side: "new" })?;
    let all = || base.iter().chain(new);
    let mut notes = told_runs(all(), settings)?;
    let reference = Conditions::of(&first.document);
    let mut differences = BTreeSet::new();
    for run in all().skip(1) {
        let other = Conditions::of(&run.document);
        differences.extend(reference.differences(&first.name, &other, &run.name));
    }
    let differences: Vec<Difference> = merged(differences);
    let unlike = |difference: &&Difference| difference.weight != Weight::Note;
    let texts: Vec<_> =
        differences.iter().filter(unlike).map(|difference| difference.text.clone()).collect();
    if !texts.is_empty() && !settings.anyway {
        return Err(Refusal::Unlike { texts });
    }
    let cpus = all().map(|run| run.document.host.cpus).max().unwrap_or(1);
    let sides = [base, new].map(samples_of);
    let table = table::compare(&sides, cpus, settings);
    if table.rows.is_empty() {
        return Err(Refusal::NothingInCommon);
    }
    notes.extend(table.notes);
    Ok(Comparison {
        base: side(&first.document.name, base),
        new: side(&last.document.name, new),
        rows: table.rows,
        facts: facts::compare(base, new),
        only_base: table.only_base,
        only_new: table.only_new,
        differences,
        notes,
        is_untrusted: !settings.anyway && all().any(|run| run.document.is_untrusted()),
        informs: false,
        since: None,
    })
}

/// Differences of several runs from one, each told once.
fn merged(differences: BTreeSet<Difference>) -> Vec<Difference> {
    const MOST: usize = 12;
    let mut differences: Vec<Difference> = differences.into_iter().collect();
    let more = differences.len().saturating_sub(MOST);
    if more > 0 {
        differences.truncate(MOST);
        let text = format!("and {more} more differences");
        differences.push(Difference { weight: Weight::Note, text });
    }
    differences
}

fn side(name: &str, runs: &[Run]) -> Side {
    Side {
        name: name.to_owned(),
        runs: runs.iter().map(|run| run.name.clone()).collect(),
        count: runs.len(),
    }
}

fn samples_of(runs: &[Run]) -> Vec<Samples> {
    runs.iter().map(|run| metrics::samples(&run.document)).collect()
}

/// What is to be known of runs that did not go well; refuses those that did not come to their end.
fn told_runs<'a>(
    runs: impl Iterator<Item = &'a Run>,
    settings: &Settings,
) -> Result<Vec<String>, Refusal> {
    let mut notes = Vec::new();
    let mut broken = Vec::new();
    for Run { name, document } in runs {
        if document.is_broken() {
            let how = if document.verdict == "interrupted" {
                "was interrupted"
            } else {
                "could not be done"
            };
            broken.push(format!("{name} {how}"));
        } else if document.is_killed() {
            notes.push(format!("{name}: OOM-killed; its figures end there"));
        } else if document.is_untrusted() {
            notes.push(format!("{name}: its measurement can't be trusted"));
        }
    }
    if !broken.is_empty() && !settings.anyway {
        return Err(Refusal::Broken { texts: broken });
    }
    notes.extend(broken);
    Ok(notes)
}

/// What became of a metric, by its change and by what is significant.
fn outcome(
    kind: MetricKind,
    change: f64,
    interval: Option<Interval>,
    limit: f64,
    significant: Significant,
) -> Outcome {
    let worse = if kind.more_is_worse() { change } else { -change };
    if significant.worse && worse > limit {
        Outcome::Regression
    } else if significant.better && worse < -limit {
        Outcome::Improvement
    } else if interval.is_some_and(|row| -limit <= row.low && row.high <= limit) {
        Outcome::Same
    } else {
        Outcome::Unclear
    }
}

/// In which direction a change is more than chance.
#[derive(Debug, Clone, Copy, Default)]
struct Significant {
    worse: bool,
    better: bool,
}

/// From which change on a metric of this level matters.
fn limit_of(id: &MetricId, base: f64, cpus: u32, settings: &Settings) -> f64 {
    let share = settings.shares.of(id);
    if id.kind.in_points() {
        return share;
    }
    (share / 100.0 * base.abs()).max(id.kind.least(cpus))
}

/// A count as a float.
fn float(count: usize) -> f64 {
    super::float(count as u64)
}

#[cfg(test)]
mod tests;
