//! The table of two sides.

use std::collections::BTreeSet;

use super::metrics::{MetricId, Sample, Samples};
use super::statistics::{Column, labellings, median_of, permute, shift};
use super::{
    ALPHA, Basis, MOST_METRICS, MetricKind, Outcome, Row, Settings, Significant, limit_of, outcome,
};

/// With so many ways to label runs, one in twenty can be told from chance.
const LEAST_LABELLINGS: usize = 20;
/// Trials of one run share its circumstances: times to ready have to differ by so much, in percent.
const TRIALS_READY: f64 = 25.0;

pub(super) struct Table {
    pub(super) rows: Vec<Row>,
    pub(super) only_base: Vec<MetricId>,
    pub(super) only_new: Vec<MetricId>,
    pub(super) notes: Vec<String>,
}

/// A metric's samples on both sides.
struct Entry<'a> {
    id: &'a MetricId,
    base: Vec<Option<&'a Sample>>,
    new: Vec<Option<&'a Sample>>,
}

impl<'a> Entry<'a> {
    fn side(&self, side: usize) -> &[Option<&'a Sample>] {
        if side == 0 { &self.base } else { &self.new }
    }
}

pub(super) fn compare(sides: &[Vec<Samples>; 2], cpus: u32, settings: &Settings) -> Table {
    let ids = |side: &Vec<Samples>| -> BTreeSet<MetricId> {
        side.iter().flat_map(|samples| samples.keys().cloned()).collect()
    };
    let [in_base, in_new] = [ids(&sides[0]), ids(&sides[1])];
    let mut both: Vec<&MetricId> = in_base.intersection(&in_new).collect();
    let mut notes = Vec::new();
    if both.len() > MOST_METRICS {
        let more = both.len() - MOST_METRICS;
        notes.push(format!("{more} metrics were left out: {MOST_METRICS} are compared at most"));
        both.truncate(MOST_METRICS);
    }
    let entries: Vec<Entry<'_>> = both
        .into_iter()
        .map(|id| {
            let of = |side: &'_ usize| sides[*side].iter().map(|run| run.get(id)).collect();
            Entry { id, base: of(&0), new: of(&1) }
        })
        .collect();
    let runs = [sides[0].len(), sides[1].len()];
    let rows = if labellings(runs[0], runs[0] + runs[1]) >= LEAST_LABELLINGS {
        by_runs(&entries, cpus, settings)
    } else {
        notes.push(few(runs));
        by_little(&entries, cpus, settings)
    };
    Table {
        rows,
        only_base: in_base.difference(&in_new).cloned().collect(),
        only_new: in_new.difference(&in_base).cloned().collect(),
        notes,
    }
}

fn few(runs: [usize; 2]) -> String {
    let [base, new] = runs;
    format!(
        "{base} and {new} runs: how much runs differ among themselves is not known, so that only \
         large changes are told; three a side and more tell smaller ones"
    )
}

/// By permutation of the runs, each with its value.
fn by_runs(entries: &[Entry<'_>], cpus: u32, settings: &Settings) -> Vec<Row> {
    let value = |sample: Option<&Sample>| sample.and_then(Sample::value);
    let values: Vec<[Vec<Option<f64>>; 2]> = entries
        .iter()
        .map(|entry| {
            [&entry.base, &entry.new].map(|side| side.iter().copied().map(value).collect())
        })
        .collect();
    let entries: Vec<&Entry<'_>> = entries.iter().collect();
    tested(&entries, &values, Basis::Runs, cpus, settings)
}

/// With too few runs: startup by its trials where they suffice, all else by floors.
fn by_little(entries: &[Entry<'_>], cpus: u32, settings: &Settings) -> Vec<Row> {
    let (mut of_trials, mut others) = (Vec::new(), Vec::new());
    for (at, entry) in entries.iter().enumerate() {
        let counts = [&entry.base, &entry.new].map(|side| all(side).len());
        let enough = labellings(counts[0], counts[0] + counts[1]) >= LEAST_LABELLINGS;
        let place =
            if entry.id.kind.is_of_trials() && enough { &mut of_trials } else { &mut others };
        place.push((at, entry));
    }
    let mut rows: Vec<(usize, Row)> = others
        .iter()
        .filter_map(|(at, entry)| Some((*at, floored(entry, cpus, settings)?)))
        .collect();
    let (places, members): (Vec<usize>, Vec<&Entry<'_>>) = of_trials.into_iter().unzip();
    let values = by_trial(&members);
    rows.extend(places.into_iter().zip(tested(&members, &values, Basis::Trials, cpus, settings)));
    rows.sort_by_key(|(at, _)| *at);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The values of metrics trial by trial; none for a trial that a metric leaves out, which is a run's
/// first one, from a cold page cache.
fn by_trial(entries: &[&Entry<'_>]) -> Vec<[Vec<Option<f64>>; 2]> {
    let values = |sample: Option<&Sample>| sample.map_or(0, |sample| sample.values.len());
    let trials = |side: usize, run: usize| {
        entries.iter().map(|entry| values(entry.side(side)[run])).max().unwrap_or(0)
    };
    let side = |entry: &Entry<'_>, side: usize| {
        let of_run = |(run, sample): (usize, Option<&Sample>)| {
            let missing = trials(side, run) - values(sample);
            let present = sample.map_or(&[][..], |sample| &sample.values).iter().copied().map(Some);
            std::iter::repeat_n(None, missing).chain(present).collect::<Vec<_>>()
        };
        entry.side(side).iter().copied().enumerate().flat_map(of_run).collect()
    };
    entries.iter().map(|entry| [side(entry, 0), side(entry, 1)]).collect()
}

/// All values of a side, trials one by one.
fn all(side: &[Option<&Sample>]) -> Vec<f64> {
    side.iter().flatten().flat_map(|sample| sample.values.iter().copied()).collect()
}

/// Rows by one permutation test over all of them.
fn tested(
    entries: &[&Entry<'_>],
    values: &[[Vec<Option<f64>>; 2]],
    basis: Basis,
    cpus: u32,
    settings: &Settings,
) -> Vec<Row> {
    let Some(counts) = values.first().map(|sides| [sides[0].len(), sides[1].len()]) else {
        return Vec::new();
    };
    let columns: Vec<Column> = entries
        .iter()
        .zip(values)
        .map(|(entry, sides)| column(entry.id.kind, sides, cpus))
        .collect();
    let tested = permute(&columns, counts[0], counts[0] + counts[1]);
    let row = |(at, entry): (usize, &&Entry<'_>)| {
        let p = [tested.higher[at], tested.lower[at]];
        let [base, new] = [0, 1]
            .map(|side: usize| values[at][side].iter().copied().flatten().collect::<Vec<f64>>());
        by_test(entry, &base, &new, p, basis, cpus, settings)
    };
    entries.iter().enumerate().filter_map(row).collect()
}

fn column(kind: MetricKind, sides: &[Vec<Option<f64>>; 2], cpus: u32) -> Column {
    let values = || sides.iter().flatten();
    let present: Vec<f64> = values().copied().flatten().collect();
    let level = median_of(&present).unwrap_or(0.0);
    let noise = kind.noise(level, cpus);
    let by_logarithm = kind.by_logarithm() && present.iter().all(|value| *value > 0.0);
    if by_logarithm {
        let values = values().map(|value| value.map(f64::ln)).collect();
        return Column { values, floor: (noise / level).min(1.0) };
    }
    Column { values: values().copied().collect(), floor: noise }
}

fn by_test(
    entry: &Entry<'_>,
    base: &[f64],
    new: &[f64],
    [higher, lower]: [f64; 2],
    basis: Basis,
    cpus: u32,
    settings: &Settings,
) -> Option<Row> {
    let kind = entry.id.kind;
    let shift = shift(base, new)?;
    let level = median_of(base)?;
    let mut limit = limit_of(entry.id, level, cpus, settings);
    if basis == Basis::Trials && kind == MetricKind::Ready {
        limit = limit.max(TRIALS_READY / 100.0 * level);
    }
    let (worse, better) = if kind.more_is_worse() { (higher, lower) } else { (lower, higher) };
    let significant = Significant { worse: worse <= ALPHA, better: better <= ALPHA };
    Some(Row {
        id: entry.id.clone(),
        base: level,
        base_count: base.len(),
        new: median_of(new)?,
        new_count: new.len(),
        change: shift.middle,
        interval: shift.interval,
        limit,
        p_worse: Some(worse),
        p_better: Some(better),
        basis,
        outcome: outcome(kind, shift.middle, shift.interval, limit, significant),
        since: None,
    })
}

/// A row of too few values: what they are apart has to pass a stated floor.
fn floored(entry: &Entry<'_>, cpus: u32, settings: &Settings) -> Option<Row> {
    let kind = entry.id.kind;
    let (base, new) = (all(&entry.base), all(&entry.new));
    let (level, reached) = (median_of(&base)?, median_of(&new)?);
    let limit = limit_of(entry.id, level, cpus, settings);
    let mut floor = limit.max(floor_of(kind, level));
    let intervals = [&entry.base, &entry.new].map(|side| bounds(side));
    let mut basis = Basis::Floor;
    let (above, below) = match intervals {
        [Some(base), Some(new)] => {
            basis = Basis::Intervals;
            if kind != MetricKind::Cost {
                floor = limit;
            }
            (new.0 > base.1, new.1 < base.0)
        }
        // Without their intervals they are no more than guesses.
        _ if needs_intervals(kind) => (false, false),
        _ => {
            let [base, new] = [range(&base), range(&new)];
            (new.0 > base.1, new.1 < base.0)
        }
    };
    let change = shift(&base, &new)?.middle;
    let enough = change.abs() > floor;
    let (worse, better) = if kind.more_is_worse() { (above, below) } else { (below, above) };
    let significant = Significant { worse: enough && worse, better: enough && better };
    let found = outcome(kind, change, None, limit, significant);
    Some(Row {
        id: entry.id.clone(),
        base: level,
        base_count: base.len(),
        new: reached,
        new_count: new.len(),
        change,
        interval: None,
        limit: if found == Outcome::Unclear { floor } else { limit },
        p_worse: None,
        p_better: None,
        basis,
        outcome: found,
        since: None,
    })
}

/// What a change has to pass where no noise is known.
pub(super) fn floor_of(kind: MetricKind, level: f64) -> f64 {
    let alone = kind.spec().alone;
    if kind.in_points() { alone } else { alone / 100.0 * level.abs() }
}

/// Whether a run's value means little without the interval that it comes with.
pub(super) const fn needs_intervals(kind: MetricKind) -> bool {
    matches!(kind, MetricKind::Cost | MetricKind::Growth | MetricKind::GrowthPerRequest)
}

/// From the lowest to the highest end of the runs' own intervals; none where one has none.
fn bounds(side: &[Option<&Sample>]) -> Option<(f64, f64)> {
    let intervals: Option<Vec<[f64; 2]>> =
        side.iter().flatten().map(|sample| sample.interval).collect();
    let intervals = intervals.filter(|intervals| !intervals.is_empty())?;
    let low = intervals.iter().map(|interval| interval[0]).fold(f64::INFINITY, f64::min);
    let high = intervals.iter().map(|interval| interval[1]).fold(f64::NEG_INFINITY, f64::max);
    Some((low, high))
}

fn range(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    (low, values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}
