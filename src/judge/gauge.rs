//! Values over time, summed up as they come.

use crate::clock::{Moment, nanos};
use crate::event::Histogram;
use crate::plan::Aggregate;

/// A level over time: extremes, mean by time, percentiles, growth.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    count: u64,
    min: f64,
    max: f64,
    last: f64,
    /// Values weighted with seconds, and the seconds.
    sum: f64,
    weight: f64,
    /// Kept only where a percentile is asked for; values divided by the scale.
    histogram: Option<Histogram>,
    scale: f64,
    line: Line,
}

/// The extent of a level between two moments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) start: Moment,
    pub(super) end: Moment,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) last: f64,
}

impl Stretch {
    /// One value, at one moment.
    pub(super) const fn point(at: Moment, value: f64) -> Self {
        Self { start: at, end: at, min: value, max: value, last: value }
    }

    /// How much it counts in a mean: its seconds; 1 for a moment.
    pub(super) fn weight(&self) -> f64 {
        let seconds = self.end.since(self.start).as_secs_f64();
        if seconds > 0.0 { seconds } else { 1.0 }
    }
}

impl Gauge {
    /// A gauge for one aggregation; percentiles are kept to 0.1 % and one `scale`.
    pub(super) fn new(aggregate: Aggregate, scale: f64) -> Self {
        let percentiles = matches!(aggregate, Aggregate::Percentile(_) | Aggregate::Med);
        Self { histogram: percentiles.then(Histogram::new), scale, ..Self::default() }
    }

    pub(super) fn add(&mut self, stretch: &Stretch) {
        let first = self.count == 0;
        self.count += 1;
        self.min = if first { stretch.min } else { self.min.min(stretch.min) };
        self.max = if first { stretch.max } else { self.max.max(stretch.max) };
        self.last = stretch.last;
        let weight = stretch.weight();
        self.sum += weight * stretch.last;
        self.weight += weight;
        if let Some(histogram) = &mut self.histogram {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a float-to-int cast saturates, and levels are not negative"
            )]
            histogram.record((stretch.max / self.scale) as u64);
        }
        self.line.add(stretch.end.as_secs_f64() / 3600.0, stretch.min);
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// The aggregate so far; none without values.
    pub(super) fn value(&self, aggregate: Aggregate) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        match aggregate {
            Aggregate::Max => Some(self.max),
            Aggregate::Min => Some(self.min),
            Aggregate::Last => Some(self.last),
            Aggregate::Avg => Some(self.sum / self.weight),
            Aggregate::Med => self.percentile(50.0),
            Aggregate::Percentile(percent) => self.percentile(percent),
            Aggregate::Slope => self.line.slope(),
            Aggregate::Count | Aggregate::Rate | Aggregate::OomKills | Aggregate::LimitHits => None,
        }
    }

    fn percentile(&self, percent: f64) -> Option<f64> {
        let value = self.histogram.as_ref()?.percentile(percent)?;
        Some((super::float(value) * self.scale).min(self.max))
    }
}

/// A least-squares line, by Welford's sums.
#[derive(Debug, Default)]
pub(super) struct Line {
    count: f64,
    mean_x: f64,
    mean_y: f64,
    xx: f64,
    xy: f64,
}

/// A line through fewer points says nothing.
const LEAST_POINTS: f64 = 10.0;

impl Line {
    pub(super) fn add(&mut self, x: f64, y: f64) {
        self.count += 1.0;
        let dx = x - self.mean_x;
        self.mean_x += dx / self.count;
        self.mean_y += (y - self.mean_y) / self.count;
        self.xx += dx * (x - self.mean_x);
        self.xy += dx * (y - self.mean_y);
    }

    /// Takes in another's points.
    pub(super) fn merge(&mut self, other: &Self) {
        let count = self.count + other.count;
        if other.count <= 0.0 {
            return;
        }
        let (dx, dy) = (other.mean_x - self.mean_x, other.mean_y - self.mean_y);
        let share = other.count / count;
        self.xx += other.xx + dx * dx * self.count * share;
        self.xy += other.xy + dx * dy * self.count * share;
        self.mean_x += dx * share;
        self.mean_y += dy * share;
        self.count = count;
    }

    /// The growth of y with x; none through too few points.
    pub(super) fn slope(&self) -> Option<f64> {
        let enough = self.count >= LEAST_POINTS && self.xx > 0.0;
        enough.then(|| self.xy / self.xx)
    }
}

/// How fast a counter moves between two readings, in its unit a second; none where it fell or no
/// time passed.
pub(super) fn speed(before: (Moment, u64), now: (Moment, u64)) -> Option<f64> {
    let seconds = now.0.since(before.0).as_secs_f64();
    let moved = now.1.checked_sub(before.1)?;
    (nanos(now.0.since(before.0)) > 0).then(|| super::float(moved) / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope_by_the_hour() {
        let mut gauge = Gauge::new(Aggregate::Slope, 1.0);
        for n in 0..100_u32 {
            let at = Moment::from_millis(u64::from(n) * 36_000);
            gauge.add(&Stretch::point(at, 5.0 + f64::from(n)));
        }
        let slope = gauge.value(Aggregate::Slope).unwrap();
        assert!((slope - 100.0).abs() < 1e-6, "{slope}");
    }

    #[test]
    fn two_lines_make_one() {
        let mut lines = [Line::default(), Line::default(), Line::default()];
        for n in 0..40_u32 {
            let (x, y) = (f64::from(n), f64::from(n * n % 17));
            lines[0].add(x, y);
            lines[if n < 25 { 1 } else { 2 }].add(x, y);
        }
        let [all, mut first, second] = lines;
        first.merge(&second);
        assert!((all.slope().unwrap() - first.slope().unwrap()).abs() < 1e-9);
    }

    #[test]
    fn too_few_points_have_no_slope() {
        let mut gauge = Gauge::new(Aggregate::Slope, 1.0);
        gauge.add(&Stretch::point(Moment::START, 1.0));
        assert_eq!(gauge.value(Aggregate::Slope), None);
    }

    #[test]
    fn percentiles_and_means() {
        let mut gauge = Gauge::new(Aggregate::Percentile(95.0), 1.0);
        for n in 1..=100_u32 {
            gauge.add(&Stretch::point(Moment::START, f64::from(n)));
        }
        assert_eq!(gauge.value(Aggregate::Percentile(95.0)), Some(95.0));
        assert_eq!(gauge.value(Aggregate::Avg), Some(50.5));
        assert_eq!(gauge.value(Aggregate::Last), Some(100.0));
    }
}
