//! Which kind of growth a series of floors shows.

use super::GrowthClass;
use super::trend::{Trend, float, median, trend};

/// Fewer floors than this can't show a line.
const LEAST_FLOORS: usize = 8;
/// Fewer than this show nothing.
const LEAST_FLAT: usize = 5;
/// Parts into which a series is cut to see whether all of it rises.
const PARTS: usize = 8;
/// A part rises where it does so by this share of what a line would.
const RISES: f64 = 0.2;
/// So many of the steps from part to part have to rise in a line.
const RISERS: usize = 6;
/// In a line the late half rises by this share of the early half at least.
const STILL_RISES: f64 = 0.6;
/// Up to this share of it the rise is slowing down clearly.
const SLOWS_DOWN: f64 = 0.4;
/// Where the late half holds no more than this share of the rise, it has come to its end.
const OVER: f64 = 0.12;
/// A trend is no chance below this p-value.
const CHANCE: f64 = 0.05;
/// This share of a rise that came with new records of concurrency is the records' doing.
const BY_RECORDS: f64 = 0.8;
/// A flat service may waver by this share of its floor.
const WAVERS: f64 = 0.05;

/// The floors of a phase, one a cycle, in order.
#[derive(Debug, Clone, Default)]
pub(in crate::analysis) struct Floors {
    /// When each was, in seconds from the phase's start.
    pub(in crate::analysis) times: Vec<f64>,
    /// The floors, in bytes or counts.
    pub(in crate::analysis) values: Vec<f64>,
    /// The most requests in flight in each one's cycle; empty where not known.
    pub(in crate::analysis) in_flight: Vec<f64>,
    /// The floor before the first burst.
    pub(in crate::analysis) before: Option<f64>,
    /// What is no growth: the kernel's slack, and a share of the floor.
    pub(in crate::analysis) slack: f64,
}

/// What a series shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::analysis) struct Judged {
    pub(in crate::analysis) class: GrowthClass,
    /// The slope over the whole series, per second.
    pub(in crate::analysis) trend: Option<Trend>,
    /// From the first floor (the one before the first burst) to the last.
    pub(in crate::analysis) rise: f64,
    /// How many more cycles would tell.
    pub(in crate::analysis) more: Option<usize>,
}

/// Judges a series.
pub(in crate::analysis) fn judge(floors: &Floors) -> Judged {
    let values = &floors.values;
    let n = values.len();
    let trend = trend(&floors.times, values);
    let first = floors.before.or(values.first().copied()).unwrap_or(0.0);
    let rise = values.last().map_or(0.0, |last| last - first);
    let told = |class, more| Judged { class, trend, rise, more };
    if n < LEAST_FLOORS {
        let spread = values.iter().copied().fold(f64::MIN, f64::max)
            - values.iter().copied().fold(f64::MAX, f64::min);
        return if n >= LEAST_FLAT && spread <= 2.0 * floors.slack {
            told(floors.flat_or_retained(), None)
        } else {
            told(GrowthClass::Unclear, Some(LEAST_FLOORS - n))
        };
    }
    let class = long_enough(floors, trend);
    told(class, (class == GrowthClass::Unclear).then_some(n))
}

fn long_enough(floors: &Floors, trend: Option<Trend>) -> GrowthClass {
    let shape = Shape::of(floors);
    let least = 2.0 * floors.slack;
    let Some(trend) = trend else { return GrowthClass::Unclear };
    if shape.rise.abs() <= least {
        return floors.flat_or_retained();
    }
    if shape.rise < 0.0 {
        return GrowthClass::Settles;
    }
    let by_records = floors.by_records(shape.rise);
    let goes_on = || trend.low > 0.0 && floors.is_line_after_a_warm_up();
    if !by_records && (shape.is_line(&trend) || goes_on()) {
        return GrowthClass::Leak;
    }
    if shape.late_rise <= (OVER * shape.rise).max(floors.slack) {
        let at_once = floors.in_steps() && floors.before.is_some();
        return if at_once || by_records { GrowthClass::Retained } else { GrowthClass::Settles };
    }
    if by_records {
        return GrowthClass::Retained;
    }
    if shape.early > 0.0 && shape.late < SLOWS_DOWN * shape.early {
        return GrowthClass::Settles;
    }
    let (length, floor) = (floors.length(), median(&floors.values).unwrap_or(0.0));
    if trend.low <= 0.0 && trend.high * length <= (WAVERS * floor).max(least) {
        return floors.flat_or_retained();
    }
    GrowthClass::Unclear
}

/// How a series rises from eighth to eighth.
struct Shape {
    /// From the first eighth to the last.
    rise: f64,
    /// What of it the late half holds.
    late_rise: f64,
    /// Rises a cycle of the early and of the late half.
    early: f64,
    late: f64,
    /// Rises a cycle from each eighth to the next.
    steps: [f64; PARTS - 1],
    /// What counts as rising, a cycle.
    enough: f64,
}

impl Shape {
    fn of(floors: &Floors) -> Self {
        let parts = parts(&floors.values);
        // Parts differ by a cycle in length: rises are compared a cycle.
        let begins = |part: usize| float(part * floors.values.len() / PARTS);
        let rate = |from: usize, to: usize| (parts[to] - parts[from]) / (begins(to) - begins(from));
        Self {
            rise: parts[PARTS - 1] - parts[0],
            late_rise: parts[PARTS - 1] - parts[4],
            early: rate(0, 3),
            late: rate(4, PARTS - 1),
            steps: std::array::from_fn(|step| rate(step, step + 1)),
            enough: RISES * rate(0, PARTS - 1),
        }
    }

    /// Whether all of it rises, by no chance, and as much in the late half as in the early one.
    fn is_line(&self, trend: &Trend) -> bool {
        let risers = self.steps.iter().filter(|step| **step > self.enough).count();
        trend.low > 0.0
            && (trend.p < CHANCE || risers == self.steps.len())
            && risers >= RISERS
            && self.steps[PARTS - 2] > self.enough
            && self.late >= STILL_RISES * self.early
    }
}

/// The least of each eighth.
fn parts(values: &[f64]) -> [f64; PARTS] {
    std::array::from_fn(|part| {
        let (from, to) = (part * values.len() / PARTS, (part + 1) * values.len() / PARTS);
        values[from..to].iter().copied().fold(f64::MAX, f64::min)
    })
}

impl Floors {
    fn length(&self) -> f64 {
        self.times.last().zip(self.times.first()).map_or(0.0, |(last, first)| last - first)
    }

    /// Whether it is a line once the first quarter is left out: connections and buffers of the first
    /// bursts may hide that it goes on.
    fn is_line_after_a_warm_up(&self) -> bool {
        let from = self.values.len() / 4;
        let later = Self {
            times: self.times[from..].to_vec(),
            values: self.values[from..].to_vec(),
            in_flight: Vec::new(),
            before: None,
            slack: self.slack,
        };
        let shape = Shape::of(&later);
        later.values.len() >= LEAST_FLOORS
            && shape.rise > 2.0 * self.slack
            // A quarter less is more easily a line by chance.
            && shape.steps.iter().all(|step| *step > shape.enough)
            && trend(&later.times, &later.values).is_some_and(|trend| shape.is_line(&trend))
    }

    /// Flat, but for what the first burst may have left.
    fn flat_or_retained(&self) -> GrowthClass {
        let first = self.values.first().copied().unwrap_or(0.0);
        match self.before {
            Some(before) if first - before > 2.0 * self.slack => GrowthClass::Retained,
            _ => GrowthClass::Flat,
        }
    }

    /// The steps from floor to floor.
    fn rises(&self) -> impl Iterator<Item = f64> + '_ {
        self.values.windows(2).map(|pair| pair[1] - pair[0])
    }

    /// Whether few cycles hold nearly all of the rise.
    fn in_steps(&self) -> bool {
        let mut rises: Vec<f64> = self.rises().filter(|rise| *rise > 0.0).collect();
        rises.sort_by(|a, b| b.total_cmp(a));
        let sum: f64 = rises.iter().sum();
        let few = self.values.len() / 4;
        rises.iter().take(few.max(1)).sum::<f64>() >= BY_RECORDS * sum
    }

    /// Whether the rise came when as many requests as never before were in flight at once, and hardly
    /// in the other cycles: buffers that are kept for the highest concurrency.
    fn by_records(&self, rise: f64) -> bool {
        if self.in_flight.len() != self.values.len() || self.in_flight.iter().all(|n| *n <= 0.0) {
            return false;
        }
        let enough = RISES * rise / float(self.values.len());
        let (mut most, mut others, mut by_records, mut all) = (0.0_f64, 0, 0.0, 0.0);
        for (index, step) in (1..).zip(self.rises()) {
            // A floor shows what its own cycle and the one before left behind.
            let record = self.in_flight[index].max(self.in_flight[index - 1]) >= most;
            most = most.max(self.in_flight[index - 1]);
            others += usize::from(!record);
            if step > enough {
                all += step;
                by_records += if record { step } else { 0.0 };
            }
        }
        all > 0.0 && by_records >= BY_RECORDS * all && 3 * others >= self.values.len()
    }
}

#[cfg(test)]
#[path = "class_tests.rs"]
mod tests;
