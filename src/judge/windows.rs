//! Rules over a stretch of time: the worst of all stretches of one length, and how long a level
//! stayed beyond its bound. Time is cut into a few buckets a stretch, so memory does not grow.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::float;
use super::gauge::{Line, Stretch};
use crate::clock::{Moment, nanos};
use crate::event::Histogram;
use crate::plan::{Aggregate, Operator};

/// The most buckets in a stretch.
const BUCKETS_MAX: u64 = 30;
/// A level that was not told for longer than this begins anew.
const GAP_MAX: Duration = Duration::from_secs(2);

/// What one rule asks of a stretch of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) aggregate: Aggregate,
    pub(super) operator: Operator,
    /// In the metric's own unit; none where it is a share of a limit that there is not.
    pub(super) bound: Option<f64>,
    /// The unit in which values are counted for percentiles.
    pub(super) scale: f64,
}

impl Question {
    /// Whether of two values this one is nearer to breaking the rule, or breaks it more.
    fn is_worse(&self, value: f64, than: f64) -> bool {
        let far = |value: f64| (value - self.bound.unwrap_or(0.0)).abs();
        match self.operator {
            Operator::Less | Operator::AtMost => value > than,
            Operator::More | Operator::AtLeast => value < than,
            Operator::Equal => far(value) > far(than),
            Operator::Differs => far(value) < far(than),
        }
    }

    fn breaks(&self, value: f64) -> bool {
        self.bound.is_some_and(|bound| !self.operator.holds(value, bound))
    }

    const fn wants_percentile(&self) -> bool {
        matches!(self.aggregate, Aggregate::Percentile(_) | Aggregate::Med)
    }
}

/// What was seen in a bucket of time, or in several.
#[derive(Debug, Default)]
pub(super) struct Sum {
    min: Option<f64>,
    max: Option<f64>,
    /// Levels weighted with seconds, and the seconds; times and their number; hits and how many
    /// they were of; or a count, twice.
    total: f64,
    weight: f64,
    line: Line,
    /// Values in the question's unit, and how often, where a percentile is asked for.
    values: Vec<(u64, u64)>,
}

impl Sum {
    /// Hits of so many.
    pub(super) fn share(hits: u64, of: u64) -> Self {
        Self { total: float(hits), weight: float(of), ..Self::default() }
    }

    /// Times in microseconds, in milliseconds.
    pub(super) fn times(histogram: &Histogram, question: &Question) -> Self {
        let ms = |us: Option<u64>| us.map(|us| float(us) / 1e3);
        let values =
            if question.wants_percentile() { histogram.counts().collect() } else { Vec::new() };
        let weight = float(histogram.count());
        Self {
            min: ms(histogram.min()),
            max: ms(histogram.max()),
            total: histogram.mean().map_or(0.0, |us| us / 1e3 * weight),
            weight,
            values,
            ..Self::default()
        }
    }

    fn level(stretch: &Stretch, question: &Question) -> Self {
        let weight = stretch.weight();
        let mut line = Line::default();
        line.add(stretch.end.as_secs_f64() / 3600.0, stretch.min);
        let values = question.wants_percentile().then(|| (coarse(stretch.max / question.scale), 1));
        Self {
            min: Some(stretch.min),
            max: Some(stretch.max),
            total: weight * stretch.last,
            weight,
            line,
            values: values.into_iter().collect(),
        }
    }

    fn add(&mut self, other: &Self) {
        let both = |mine: Option<f64>, theirs: Option<f64>, pick: fn(f64, f64) -> f64| {
            mine.zip(theirs).map(|(a, b)| pick(a, b)).or(mine).or(theirs)
        };
        self.min = both(self.min, other.min, f64::min);
        self.max = both(self.max, other.max, f64::max);
        self.total += other.total;
        self.weight += other.weight;
        self.line.merge(&other.line);
    }
}

/// A value to 3 significant digits, as histograms keep it: the greatest that counts as the same.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float-to-int cast saturates, and levels are not negative"
)]
const fn coarse(value: f64) -> u64 {
    let value = value as u64;
    let bits = u64::BITS - value.leading_zeros();
    value | ((1 << bits.saturating_sub(11)) - 1)
}

/// The worst of all stretches of one length.
#[derive(Debug)]
pub(super) struct Sliding {
    question: Question,
    bucket: Duration,
    buckets: usize,
    /// Whole buckets, as many as make a stretch, and the one that has begun.
    whole: VecDeque<Sum>,
    open: Sum,
    /// When the open one began.
    begins: Option<Moment>,
    /// How far time was told.
    until: Moment,
    /// The values of all buckets.
    values: BTreeMap<u64, u64>,
    worst: Option<f64>,
    broken_at: Option<Moment>,
}

impl Sliding {
    /// Stretches of this length; `pace` is how often something is told.
    pub(super) fn new(question: Question, length: Duration, pace: Duration) -> Self {
        let buckets = (nanos(length) / nanos(pace).max(1)).clamp(1, BUCKETS_MAX);
        Self {
            question,
            bucket: Duration::from_nanos(nanos(length) / buckets),
            buckets: usize::try_from(buckets).expect("a few"),
            whole: VecDeque::new(),
            open: Sum::default(),
            begins: None,
            until: Moment::START,
            values: BTreeMap::new(),
            worst: None,
            broken_at: None,
        }
    }

    pub(super) const fn question(&self) -> &Question {
        &self.question
    }

    /// The worst value so far; none before a whole stretch.
    pub(super) const fn worst(&self) -> Option<f64> {
        self.worst
    }

    /// The end of the first stretch that broke the rule.
    pub(super) const fn broken_at(&self) -> Option<Moment> {
        self.broken_at
    }

    /// Takes in a level.
    pub(super) fn level(&mut self, stretch: &Stretch) {
        if self.begins.is_some() && stretch.start > self.until + GAP_MAX {
            self.close();
            (self.whole, self.open) = (VecDeque::new(), Sum::default());
            (self.begins, self.values) = (None, BTreeMap::new());
        }
        self.begin(stretch.start);
        self.advance(stretch.start + stretch.end.since(stretch.start) / 2);
        self.add(Sum::level(stretch, &self.question));
        self.advance(stretch.end);
    }

    /// Time begins, unless it has begun before.
    pub(super) fn begin(&mut self, at: Moment) {
        if self.begins.is_none() {
            (self.begins, self.until) = (Some(at), at);
        }
    }

    /// Takes in what was seen about now.
    pub(super) fn add(&mut self, sum: Sum) {
        for (value, count) in &sum.values {
            *self.values.entry(*value).or_default() += count;
        }
        self.open.add(&sum);
        self.open.values.extend(sum.values);
    }

    /// Tells that all up to a moment has been told.
    pub(super) fn advance(&mut self, to: Moment) {
        let Some(mut begins) = self.begins else { return };
        self.until = self.until.max(to);
        while begins + self.bucket <= to {
            begins = begins + self.bucket;
            let whole = std::mem::take(&mut self.open);
            self.whole.push_back(whole);
            if self.whole.len() > self.buckets {
                self.forget_first();
            }
            if self.whole.len() == self.buckets {
                self.judge(begins, self.whole_length());
            }
        }
        self.begins = Some(begins);
    }

    /// Judges the last stretch too, of which a part is in the open bucket.
    pub(super) fn close(&mut self) {
        let Some(begins) = self.begins else { return };
        let counts = self.question.aggregate == Aggregate::Count;
        let upper = matches!(self.question.operator, Operator::Less | Operator::AtMost);
        // Too few in too short a time says nothing.
        let says = self.open.weight > 0.0 && (!counts || upper);
        if !says || self.whole.len() < self.buckets {
            return;
        }
        let open = std::mem::take(&mut self.open);
        let part = self.until.since(begins);
        if part.is_zero() {
            // Told late: it belongs to the time before.
            self.whole.back_mut().expect("there is one at least").add(&open);
            self.judge(begins, self.whole_length());
        } else {
            self.forget_first();
            let length = self.whole_length() + part;
            self.whole.push_back(open);
            self.judge(self.until, length);
        }
        self.begins = None;
    }

    /// How long all whole buckets lasted.
    fn whole_length(&self) -> Duration {
        self.bucket * u32::try_from(self.whole.len()).expect("a few")
    }

    fn forget_first(&mut self) {
        let first = self.whole.pop_front().unwrap_or_default();
        for (value, count) in first.values {
            if let Some(left) = self.values.get_mut(&value) {
                *left -= count;
                if *left == 0 {
                    self.values.remove(&value);
                }
            }
        }
    }

    fn judge(&mut self, at: Moment, length: Duration) {
        let mut all = Sum::default();
        self.whole.iter().for_each(|sum| all.add(sum));
        let Some(value) = self.value(&all, length).filter(|value| value.is_finite()) else {
            return;
        };
        if self.worst.is_none_or(|worst| self.question.is_worse(value, worst)) {
            self.worst = Some(value);
        }
        if self.broken_at.is_none() && self.question.breaks(value) {
            self.broken_at = Some(at);
        }
    }

    fn value(&self, all: &Sum, length: Duration) -> Option<f64> {
        match self.question.aggregate {
            Aggregate::Max => all.max,
            Aggregate::Min => all.min,
            Aggregate::Avg => (all.weight > 0.0).then(|| all.total / all.weight),
            Aggregate::Med => self.percentile(50.0, all.max),
            Aggregate::Percentile(percent) => self.percentile(percent, all.max),
            Aggregate::Slope => all.line.slope(),
            Aggregate::Count => Some(all.weight),
            Aggregate::Rate => Some(all.total / length.as_secs_f64()),
            Aggregate::Last | Aggregate::OomKills | Aggregate::LimitHits => None,
        }
    }

    fn percentile(&self, percent: f64, max: Option<f64>) -> Option<f64> {
        let count: u64 = self.values.values().sum();
        let wanted = (float(count) * percent / 100.0).ceil().max(1.0);
        let mut seen = 0;
        let found = self.values.iter().find(|(_, count)| {
            seen += **count;
            float(seen) >= wanted
        });
        Some((float(*found?.0) * self.question.scale).min(max?))
    }
}

/// How long a level stayed beyond its bound.
#[derive(Debug)]
pub(super) struct Held {
    question: Question,
    length: Duration,
    /// Since when the level is beyond the bound, and what it kept to in that time.
    beyond: Option<(Moment, f64)>,
    until: Moment,
    broken: Option<(Moment, f64)>,
    /// What the level kept to in each stretch.
    kept: Sliding,
}

impl Held {
    pub(super) fn new(question: Question, length: Duration, pace: Duration) -> Self {
        let upper = matches!(question.operator, Operator::Less | Operator::AtMost);
        // Over 80 % for 10 s: even the least of those 10 s is over 80 %.
        let aggregate = if upper { Aggregate::Min } else { Aggregate::Max };
        let question = Question { aggregate, ..question };
        let kept = Sliding::new(question, length, pace);
        Self { question, length, beyond: None, until: Moment::START, broken: None, kept }
    }

    /// Takes in a level.
    pub(super) fn level(&mut self, stretch: &Stretch) {
        self.kept.level(stretch);
        let lower = self.question.aggregate == Aggregate::Max;
        let kept = if lower { stretch.max } else { stretch.min };
        if stretch.start > self.until + GAP_MAX || !self.question.breaks(kept) {
            self.beyond = None;
        }
        self.until = stretch.end;
        if !self.question.breaks(kept) {
            return;
        }
        let (since, before) = self.beyond.unwrap_or((stretch.start, kept));
        let kept = if lower { before.max(kept) } else { before.min(kept) };
        self.beyond = Some((since, kept));
        if self.broken.is_none() && stretch.end.since(since) >= self.length {
            self.broken = Some((stretch.end, kept));
        }
    }

    /// The worst level that was kept to for so long; none before that time is over.
    pub(super) fn worst(&self) -> Option<f64> {
        let (broken, kept) = (self.broken.map(|row| row.1), self.kept.worst());
        match broken.zip(kept) {
            Some((broken, kept)) if self.question.is_worse(kept, broken) => Some(kept),
            _ => broken.or(kept),
        }
    }

    /// When it was beyond the bound for long enough.
    pub(super) fn broken_at(&self) -> Option<Moment> {
        self.broken.map(|row| row.0)
    }
}

#[cfg(test)]
#[path = "windows_tests.rs"]
mod tests;
