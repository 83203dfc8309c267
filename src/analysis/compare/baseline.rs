//! The baseline: a small file, kept with the source, that runs are held against.
//!
//! # Why a fixed reference
//!
//! Compared with the run before, a service may grow by 2 % a change and never fail. So the baseline
//! keeps for each metric a *fixed reference*, and a change counts as soon as the sum of all changes
//! since then is beyond chance and beyond the metric's share. A CUSUM would tell a small drift a
//! few runs earlier, but needs every run in order and a state that each one writes back, which
//! parallel branches do not have; its alarm also names no number that a reader could check.
//!
//! [`Baseline::update`] therefore does not move a reference by less than its share: from such runs
//! it only learns how much runs differ. A change beyond the share fails until somebody accepts it
//! by an update, which moves the reference, says so, and shows in the file's history.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::band::{Against, Band};
use super::conditions::Conditions;
use super::facts::{Seen, killed, kills, leaking, leaks};
use super::metrics::{MetricId, Sample};
use super::statistics::holm;
use super::{
    Comparison, Difference, Outcome, Refusal, Run, Settings, Side, Weight, merged, samples_of,
    show, side, told_runs,
};

const KIND: &str = "highwater-baseline";
const SCHEMA: u32 = 1;

/// References with their noise, and the conditions that they were made under.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    schema: u32,
    kind: String,
    name: String,
    /// When its last runs started, RFC 3339.
    updated_at: String,
    /// How many runs it has seen.
    runs: usize,
    /// Those of them that were OOM-killed.
    killed: usize,
    /// Those of them whose growth was clear, and those whose growth was a leak.
    clear: usize,
    leaking: usize,
    conditions: Conditions,
    metrics: BTreeMap<String, Band>,
}

/// Why a text is no baseline.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// It is something else, or damaged.
    #[error("failed to read it as a baseline")]
    Foreign(#[source] serde_json::Error),
    /// It is what a run was found to be.
    #[error("it is a run.json and no baseline: `--update-baseline` makes one of runs")]
    Run,
    /// A later version wrote it.
    #[error("it is of schema {schema}, which a later version of Highwater wrote")]
    Later {
        /// Its schema.
        schema: u32,
    },
    /// It has another kind or schema.
    #[error(
        "failed to read it: it is a `{kind}` of schema {schema}, and not a `{KIND}` of schema {SCHEMA}"
    )]
    Other {
        /// What it says it is.
        kind: String,
        /// Its schema.
        schema: u32,
    },
}

/// What an update did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Updated {
    /// What the reader should know: references that moved, in sentences.
    pub notes: Vec<String>,
}

impl Baseline {
    /// Reads a baseline.
    ///
    /// # Errors
    /// When it is none, or of another schema.
    pub fn read(text: &str) -> Result<Self, BaselineError> {
        #[derive(Deserialize)]
        struct Head {
            schema: u32,
            #[serde(default)]
            kind: String,
            verdict: Option<serde::de::IgnoredAny>,
        }
        let head: Head = serde_json::from_str(text).map_err(BaselineError::Foreign)?;
        let Head { schema, kind, verdict } = head;
        if verdict.is_some() {
            return Err(BaselineError::Run);
        }
        if kind == KIND && schema > SCHEMA {
            return Err(BaselineError::Later { schema });
        }
        if schema != SCHEMA || kind != KIND {
            return Err(BaselineError::Other { kind, schema });
        }
        serde_json::from_str(text).map_err(BaselineError::Foreign)
    }

    /// The file's text: keys in a fixed order, a line each.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .expect("plain structs with text keys always serialise");
        text.push('\n');
        text
    }

    /// A baseline of these runs.
    ///
    /// # Errors
    /// When there is none, or they should not be taken: not made alike, not come to their end, or
    /// failed or untrusted ones, unless the settings allow for them.
    pub fn of(runs: &[Run], settings: &Settings) -> Result<Self, Refusal> {
        let first = runs.first().ok_or(Refusal::NoRuns { side: "new" })?;
        acceptable(runs, settings)?;
        let at = started(runs);
        let mut metrics = BTreeMap::new();
        for (id, samples) in by_metric(&samples_of(runs)) {
            let band = Band::of(id.kind, &samples, &at);
            metrics.extend(band.map(|band| (id.to_string(), band)));
        }
        let leaks = leaking(runs);
        Ok(Self {
            schema: SCHEMA,
            kind: KIND.to_owned(),
            name: first.document.name.clone(),
            updated_at: at,
            runs: runs.len(),
            killed: killed(runs).hits,
            clear: leaks.of,
            leaking: leaks.hits,
            conditions: Conditions::of(&first.document),
            metrics,
        })
    }

    /// Takes new runs in: noise is learned, and references move where runs are on another level. Of
    /// runs made under other conditions it is begun anew.
    ///
    /// # Errors
    /// As for [`Baseline::of`].
    pub fn update(&mut self, runs: &[Run], settings: &Settings) -> Result<Updated, Refusal> {
        let fresh = Self::of(runs, settings)?;
        let differences = self.differences(runs);
        if differences.iter().any(|row| row.weight != Weight::Note) {
            let texts: Vec<&str> = differences.iter().map(|row| row.text.as_str()).collect();
            let note = format!("begun anew: {}", texts.join("; "));
            *self = fresh;
            return Ok(Updated { notes: vec![note] });
        }
        let comparison = self.compare(runs, settings)?;
        let mut notes = Vec::new();
        let samples = samples_of(runs);
        let samples = by_metric(&samples);
        let found: BTreeMap<String, &Vec<&Sample>> =
            samples.iter().map(|(id, samples)| (id.to_string(), samples)).collect();
        for row in &comparison.rows {
            let key = row.id.to_string();
            let moves = matches!(row.outcome, Outcome::Regression | Outcome::Improvement);
            if let (Some(band), Some(samples)) = (self.metrics.get_mut(&key), found.get(&key)) {
                band.update(samples, &fresh.updated_at, moves);
            }
            if moves {
                let unit = row.id.kind.unit();
                let (old, new) = (show(unit, row.base), show(unit, row.new));
                notes.push(format!("{key} moved from {old} to {new}, {}", row.change_words()));
            }
        }
        for (key, band) in fresh.metrics {
            self.metrics.entry(key).or_insert(band);
        }
        self.runs += fresh.runs;
        self.killed += fresh.killed;
        self.clear += fresh.clear;
        self.leaking += fresh.leaking;
        self.updated_at = fresh.updated_at;
        self.conditions = fresh.conditions;
        Ok(Updated { notes })
    }

    /// Holds runs against it. Of one made on another kind of host it only informs.
    ///
    /// # Errors
    /// When the runs should not be compared with it.
    pub fn compare(&self, new: &[Run], settings: &Settings) -> Result<Comparison, Refusal> {
        let first = new.first().ok_or(Refusal::NoRuns { side: "new" })?;
        let mut notes = told_runs(new.iter(), settings)?;
        let differences = self.differences(new);
        let of = |weight| differences.iter().filter(move |row| row.weight == weight);
        let texts: Vec<String> = of(Weight::Other).map(|row| row.text.clone()).collect();
        if !texts.is_empty() && !settings.anyway {
            return Err(Refusal::Unlike { texts });
        }
        let informs = of(Weight::Host).next().is_some();
        if informs {
            notes.push(
                "the baseline was made on another kind of host: nothing of it is a failure here"
                    .to_owned(),
            );
        }
        let (rows, only_new) = self.rows(new, settings);
        if rows.is_empty() {
            return Err(Refusal::NothingInCommon);
        }
        let base = Seen { hits: self.killed, of: self.runs };
        let base_leaks = Seen { hits: self.leaking, of: self.clear };
        let facts = [kills(base, killed(new)), leaks(base_leaks, leaking(new))];
        Ok(Comparison {
            base: Side { name: self.name.clone(), runs: Vec::new(), count: self.runs },
            new: side(&first.document.name, new),
            rows,
            facts: facts.into_iter().flatten().collect(),
            only_base: Vec::new(),
            only_new,
            differences,
            notes,
            is_untrusted: !settings.anyway && new.iter().any(|run| run.document.is_untrusted()),
            informs,
            since: self.metrics.values().map(|band| band.since.clone()).min(),
        })
    }

    fn rows(&self, new: &[Run], settings: &Settings) -> (Vec<super::Row>, Vec<MetricId>) {
        let cpus = new.iter().map(|run| run.document.host.cpus).max().unwrap_or(1);
        let cpus = cpus.max(self.conditions.cpus);
        let samples = samples_of(new);
        let mut only_new = Vec::new();
        let mut known: Vec<(MetricId, &Band, Against)> = Vec::new();
        for (id, samples) in by_metric(&samples) {
            match self.metrics.get(&id.to_string()) {
                Some(band) => {
                    known.extend(band.against(&samples, cpus).map(|against| (id, band, against)));
                }
                None => only_new.push(id),
            }
        }
        let p =
            |of: fn(&Against) -> f64| holm(&known.iter().map(|row| of(&row.2)).collect::<Vec<_>>());
        let (higher, lower) = (p(|row| row.higher), p(|row| row.lower));
        let rows = known.into_iter().enumerate().map(|(at, (id, band, against))| {
            band.row(id, &against, [higher[at], lower[at]], cpus, settings)
        });
        (rows.collect(), only_new)
    }

    fn differences(&self, runs: &[Run]) -> Vec<Difference> {
        let of = |run: &Run| {
            self.conditions.differences("the baseline", &Conditions::of(&run.document), &run.name)
        };
        merged(runs.iter().flat_map(of).collect())
    }
}

/// The runs' samples by metric.
fn by_metric(runs: &[super::Samples]) -> BTreeMap<MetricId, Vec<&Sample>> {
    let mut found: BTreeMap<MetricId, Vec<&Sample>> = BTreeMap::new();
    for (id, sample) in runs.iter().flatten() {
        found.entry(id.clone()).or_default().push(sample);
    }
    found
}

/// When the last of the runs started.
fn started(runs: &[Run]) -> String {
    runs.iter().map(|run| run.document.started_at.clone()).max().unwrap_or_default()
}

/// Refuses runs that no reference should be made of.
fn acceptable(runs: &[Run], settings: &Settings) -> Result<(), Refusal> {
    if settings.anyway {
        return Ok(());
    }
    let bad = |run: &&Run| !run.document.is_sound();
    let texts: Vec<String> = runs
        .iter()
        .filter(bad)
        .map(|run| format!("{} ended as `{}`", run.name, run.document.verdict))
        .collect();
    if !texts.is_empty() {
        return Err(Refusal::Broken { texts });
    }
    let first = Conditions::of(&runs[0].document);
    let unlike = |run: &Run| {
        let other = Conditions::of(&run.document);
        first.differences(&runs[0].name, &other, &run.name)
    };
    let differences = merged(runs.iter().skip(1).flat_map(unlike).collect());
    let texts: Vec<String> = differences
        .into_iter()
        .filter(|row| row.weight != Weight::Note)
        .map(|row| row.text)
        .collect();
    if texts.is_empty() { Ok(()) } else { Err(Refusal::Unlike { texts }) }
}
