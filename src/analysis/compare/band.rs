//! A metric in a baseline: its reference, and how much runs differ among themselves.

use serde::{Deserialize, Serialize};

use super::float;
use super::metrics::{MetricId, MetricKind, Sample};
use super::statistics::{mean, median_of, squares, student_95, student_above};
use super::table::{floor_of, needs_intervals};
use super::{Basis, Interval, Row, Settings, limit_of};

/// The reference is the median of the first runs until there are so many; then it stays.
const REFERENCE_RUNS: usize = 5;
/// So many values are kept of a reference that was made of more at once.
const MOST_VALUES: usize = 20;
/// Noise is remembered over so many degrees of freedom: what is older fades.
const MOST_DEGREES: f64 = 30.0;

/// A metric's reference and its noise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Band {
    pub(super) kind: MetricKind,
    /// The reference: the median of `values`.
    pub(super) median: f64,
    /// The standard deviation of runs among themselves; none where that is not known yet.
    pub(super) spread: Option<f64>,
    /// The degrees of freedom that the spread rests on.
    pub(super) degrees: f64,
    /// What the reference is the median of.
    pub(super) values: Vec<f64>,
    /// The last update's median: single runs show their noise by how they differ from the one before.
    last: f64,
    /// When the reference came to be, RFC 3339.
    pub(super) since: String,
    /// How often it was moved since it was first made.
    moved: u32,
}

/// New runs against a band.
pub(super) struct Against {
    /// The change, and the interval of 95 %.
    change: f64,
    interval: Option<Interval>,
    /// How probable so high and so low a value is by chance, without regard to other metrics.
    pub(super) higher: f64,
    pub(super) lower: f64,
    new: f64,
    count: usize,
    level: f64,
    apart: [bool; 2],
}

impl Band {
    /// The band of runs' samples; none where they have no value.
    pub(super) fn of(kind: MetricKind, samples: &[&Sample], at: &str) -> Option<Self> {
        let mut values = values(samples);
        let median = median_of(&values)?;
        let mut band = Self {
            kind,
            median,
            spread: None,
            degrees: 0.0,
            values: Vec::new(),
            last: median,
            since: at.to_owned(),
            moved: 0,
        };
        band.learn(samples, false);
        values.truncate(MOST_VALUES);
        band.values = values.into_iter().map(places).collect();
        band.median = places(median);
        Some(band)
    }

    /// Takes in how new runs differ among themselves; a single one by how it differs from the last
    /// update.
    fn learn(&mut self, samples: &[&Sample], follows: bool) {
        let values = values(samples);
        let logs: Vec<f64> = values.iter().map(|value| self.scale(*value)).collect();
        let (mut square, mut degrees) = (squares(&logs), float(values.len()) - 1.0);
        if values.len() == 1 && follows {
            let step = logs[0] - self.scale(self.last);
            (square, degrees) = (step * step / 2.0, 1.0);
        } else if values.len() == 1 && self.kind.is_of_trials() && samples[0].values.len() > 1 {
            let trials: Vec<f64> =
                samples[0].values.iter().map(|value| self.scale(*value)).collect();
            (square, degrees) = (squares(&trials), float(trials.len()) - 1.0);
        }
        if degrees < 1.0 {
            return;
        }
        let old = self.relative_spread().map_or(0.0, |spread| spread * spread * self.degrees);
        let all = self.degrees + degrees;
        let spread = ((old + square) / all).sqrt();
        self.degrees = all.min(MOST_DEGREES);
        self.spread = Some(places(if self.by_logarithm() { spread * self.median } else { spread }));
    }

    /// Takes new runs in. Where they are another level, beyond chance and beyond the metric's share,
    /// the reference moves to them; else it stays where it is, or ten updates that are each a bit
    /// worse would pass unseen. Only noise is learned, and the first few runs make the reference.
    pub(super) fn update(&mut self, samples: &[&Sample], at: &str, moves: bool) {
        let values = values(samples);
        let Some(median) = median_of(&values) else { return };
        self.learn(samples, !moves);
        if moves {
            self.median = places(median);
            self.values = values.iter().take(MOST_VALUES).copied().map(places).collect();
            at.clone_into(&mut self.since);
            self.moved += 1;
        } else if self.values.len() < REFERENCE_RUNS {
            self.values.extend(values.iter().take(MOST_VALUES).copied().map(places));
            self.median = places(median_of(&self.values).unwrap_or(self.median));
        }
        self.last = places(median);
    }

    /// How new runs' samples stand to the band; none where they have no value.
    pub(super) fn against(&self, samples: &[&Sample], cpus: u32) -> Option<Against> {
        let values = values(samples);
        let new = median_of(&values)?;
        let logs: Vec<f64> = values.iter().map(|value| self.scale(*value)).collect();
        let (center, reached) = (self.scale(self.median), mean(&logs)?);
        let mut against = Against {
            change: new - self.median,
            interval: None,
            higher: 1.0,
            lower: 1.0,
            new,
            count: values.len(),
            level: self.median,
            apart: self.apart(&values),
        };
        let Some(spread) = self.relative_spread() else { return Some(against) };
        let degrees = self.degrees + float(values.len()) - 1.0;
        let inside = spread * spread * self.degrees + squares(&logs);
        let noise = self.kind.noise(self.median, cpus);
        let noise = if self.by_logarithm() { noise / self.median } else { noise };
        let deviation = (inside / degrees + noise * noise).sqrt();
        let counts = 1.0 / float(values.len()) + 1.0 / float(self.values.len().max(1));
        let error = deviation * counts.sqrt();
        if error > 0.0 {
            let t = (reached - center) / error;
            against.higher = student_above(t, degrees);
            against.lower = student_above(-t, degrees);
        }
        let back = |at: f64| if self.by_logarithm() { at.exp() } else { at };
        let half = student_95(degrees) * error;
        against.change = back(reached) - back(center);
        let end = |at: f64| back(at) - back(center);
        against.interval = Some(Interval {
            low: end(reached - half),
            high: end(reached + half),
            confidence: 0.95,
        });
        Some(against)
    }

    /// Whether all new values are above, and below, all of the reference.
    fn apart(&self, values: &[f64]) -> [bool; 2] {
        let all = |test: fn(f64, f64) -> bool| {
            values.iter().all(|new| self.values.iter().all(|old| test(*new, *old)))
        };
        [all(|new, old| new > old), all(|new, old| new < old)]
    }

    /// The row of new runs, with p-values that hold for the whole table.
    pub(super) fn row(
        &self,
        id: MetricId,
        against: &Against,
        [higher, lower]: [f64; 2],
        cpus: u32,
        settings: &Settings,
    ) -> Row {
        let mut limit = limit_of(&id, against.level, cpus, settings);
        let known = self.spread.is_some();
        let significant = if known {
            [higher <= super::ALPHA, lower <= super::ALPHA]
        } else {
            let beyond = against.change.abs() > limit.max(floor_of(self.kind, against.level));
            against.apart.map(|apart| apart && beyond && !needs_intervals(self.kind))
        };
        let [above, below] = significant;
        let (worse, better) =
            if self.kind.more_is_worse() { (above, below) } else { (below, above) };
        let significant = super::Significant { worse, better };
        let outcome =
            super::outcome(self.kind, against.change, against.interval, limit, significant);
        if !known && outcome == super::Outcome::Unclear {
            limit = limit.max(floor_of(self.kind, against.level));
        }
        let (p_worse, p_better) =
            if self.kind.more_is_worse() { (higher, lower) } else { (lower, higher) };
        Row {
            id,
            base: against.level,
            base_count: self.values.len(),
            new: against.new,
            new_count: against.count,
            change: against.change,
            interval: against.interval,
            limit,
            p_worse: known.then_some(p_worse),
            p_better: known.then_some(p_better),
            basis: if known { Basis::Band } else { Basis::Floor },
            outcome,
            since: Some(self.since.clone()),
        }
    }

    fn by_logarithm(&self) -> bool {
        self.kind.by_logarithm() && self.median > 0.0
    }

    /// A value on the scale that it is compared on.
    fn scale(&self, value: f64) -> f64 {
        if self.by_logarithm() { value.max(f64::MIN_POSITIVE).ln() } else { value }
    }

    /// The spread on that scale.
    fn relative_spread(&self) -> Option<f64> {
        let spread = self.spread?;
        Some(if self.by_logarithm() { spread / self.median } else { spread })
    }
}

/// The runs' values.
fn values(samples: &[&Sample]) -> Vec<f64> {
    samples.iter().filter_map(|sample| sample.value()).collect()
}

/// Rounded to what a reader of the file cares for.
fn places(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
