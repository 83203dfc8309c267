//! What one rule has come to.

use std::time::Duration;

use crate::clock::Moment;
use crate::event::{Answers, Histogram, IterationWindow, Status, TrafficWindow};
use crate::judge::float;
use crate::judge::gauge::{Gauge, Stretch};
use crate::judge::windows::{Held, Question, Sliding, Sum};
use crate::plan::{Aggregate, CustomKind, Metric, MetricKind, Operator, Rule, Tag, Window};

/// Statistics of fewer values than this never abort a run.
const LEAST_FOR_ABORT: u64 = 20;
/// How often levels of memory are told.
const LEVEL_PACE: Duration = Duration::from_millis(100);
/// How often traffic is told.
const TRAFFIC_PACE: Duration = Duration::from_secs(1);

/// One rule, and what was measured for it.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) rule: Rule,
    /// In the metric's own unit; none where it is a share of a limit that there is not.
    pub(super) bound: Option<f64>,
    gauge: Gauge,
    trend: Histogram,
    /// Hits of a share, or a count; and of how many.
    hits: u64,
    of: u64,
    /// OOM kills or limit hits.
    events: u64,
    window: Option<Windowed>,
    broken_at: Option<Moment>,
}

#[derive(Debug)]
enum Windowed {
    Over(Sliding),
    For(Held),
}

/// Requests or runs of a window, as one metric sees them.
struct Part<'a> {
    times: Option<&'a Histogram>,
    hits: u64,
    of: u64,
}

impl<'a> Part<'a> {
    const fn times(times: &'a Histogram) -> Self {
        Self { times: Some(times), hits: 0, of: 0 }
    }

    const fn share(hits: u64, of: u64) -> Self {
        Self { times: None, hits, of }
    }

    const fn count(count: u64) -> Self {
        Self::share(count, count)
    }
}

impl Check {
    pub(super) fn new(rule: Rule, bound: Option<f64>) -> Self {
        let kind = rule.metric.kind();
        let scale = match kind {
            MetricKind::Size => 1024.0,
            // Times are counted in microseconds.
            MetricKind::Time | MetricKind::Trend => 1e-3,
            _ => 0.01,
        };
        let aggregate = match (kind, rule.aggregate) {
            // The mean of hits and misses.
            (MetricKind::Share, _) => Aggregate::Avg,
            (_, aggregate) => aggregate,
        };
        let question = Question { aggregate, operator: rule.operator, bound, scale };
        let pace = if kind.is_level() { LEVEL_PACE } else { TRAFFIC_PACE };
        let window = rule.window.map(|window| match window {
            Window::Over(length) => Windowed::Over(Sliding::new(question, length, pace)),
            Window::For(length) => Windowed::For(Held::new(question, length, pace)),
        });
        Self {
            gauge: Gauge::new(rule.aggregate, scale),
            rule,
            bound,
            trend: Histogram::new(),
            hits: 0,
            of: 0,
            events: 0,
            window,
            broken_at: None,
        }
    }

    /// Takes in a level.
    pub(super) fn level(&mut self, stretch: &Stretch) {
        match &mut self.window {
            Some(Windowed::Over(sliding)) => sliding.level(stretch),
            Some(Windowed::For(held)) => held.level(stretch),
            None => {}
        }
        self.gauge.add(stretch);
        self.look(stretch.end);
    }

    /// Takes in kills or limit hits.
    pub(super) fn events(&mut self, more: u64, at: Moment) {
        self.events += more;
        self.look(at);
    }

    /// Takes in requests of a step.
    pub(super) fn traffic(&mut self, window: &TrafficWindow, at: Moment) {
        let counts = &window.counts;
        let part = match self.rule.metric {
            Metric::Checks => {
                let (passed, failed) = (counts.checks_passed, counts.checks_failed);
                Part::share(passed, passed + failed)
            }
            Metric::DataSent => Part::count(counts.bytes_sent),
            Metric::DataReceived => Part::count(counts.bytes_received),
            Metric::Custom(id, kind) => {
                let Some(sums) = window.metrics.get(&id) else { return };
                match kind {
                    CustomKind::Rate => Part::share(sums.hits, sums.of),
                    CustomKind::Counter => Part::count(sums.hits),
                }
            }
            _ => return self.answers(window, at),
        };
        self.part(&part, window.start, at);
    }

    fn answers(&mut self, window: &TrafficWindow, at: Moment) {
        let status = self.rule.tags.get(&Tag::Status).and_then(|status| status.parse().ok());
        let status = status.map(|code| if code == 0 { Status::None } else { Status::Code(code) });
        let expected = self.rule.tags.get(&Tag::ExpectedResponse).map(|value| value == "true");
        let apart = status.is_some() || expected.is_some();
        let rows = if apart { window.answers() } else { vec![window.all()] };
        let wanted = |row: &&Answers<'_>| {
            status.is_none_or(|status| row.status == Some(status))
                && expected.is_none_or(|expected| row.expected == Some(expected))
        };
        for row in rows.iter().filter(wanted) {
            let part = match self.rule.metric {
                Metric::HttpReqs => Part::count(row.count),
                Metric::HttpReqFailed => Part::share(row.failed, row.count),
                Metric::HttpReqDuration => Part::times(row.duration_us),
                Metric::HttpReqWaiting => Part::times(row.waiting_us),
                Metric::HttpReqReceiving => Part::times(row.receiving_us),
                Metric::HttpReqLatency => Part::times(row.latency_us),
                _ => return,
            };
            self.part(&part, window.start, at);
        }
    }

    /// Takes in runs of a scenario.
    pub(super) fn iterations(&mut self, window: &IterationWindow, at: Moment) {
        let part = match self.rule.metric {
            Metric::Iterations => Part::count(window.ended),
            Metric::IterationDuration => Part::times(&window.duration_us),
            Metric::DroppedIterations => Part::count(window.dropped),
            _ => return,
        };
        self.part(&part, window.start, at);
    }

    fn part(&mut self, part: &Part<'_>, start: Moment, at: Moment) {
        if let Some(Windowed::Over(sliding)) = &mut self.window {
            sliding.begin(start);
            sliding.advance(start + at.since(start) / 2);
            sliding.add(part.times.map_or_else(
                || Sum::share(part.hits, part.of),
                |times| Sum::times(times, sliding.question()),
            ));
        } else if let Some(times) = part.times {
            self.trend.add(times);
        }
        self.of += part.times.map_or(part.of, Histogram::count);
        self.hits += part.hits;
        self.look(at);
    }

    /// Tells that all traffic from one moment up to another has been told.
    pub(super) fn advance(&mut self, from: Moment, to: Moment) {
        if let Some(Windowed::Over(sliding)) = &mut self.window {
            sliding.begin(from);
            sliding.advance(to);
        }
    }

    /// Tells that nothing more comes.
    pub(super) fn close(&mut self) {
        if let Some(Windowed::Over(sliding)) = &mut self.window {
            sliding.close();
        }
    }

    /// Whether it is about traffic over stretches of time.
    pub(super) fn slides_over_traffic(&self) -> bool {
        matches!(self.window, Some(Windowed::Over(_))) && !self.rule.metric.kind().is_level()
    }

    /// The value so far, in the metric's own unit. `seconds` is how long traffic has lasted; none
    /// where there was none yet.
    pub(super) fn value(&self, seconds: Option<f64>) -> Option<f64> {
        match &self.window {
            Some(Windowed::Over(sliding)) => return sliding.worst(),
            Some(Windowed::For(held)) => return held.worst(),
            None => {}
        }
        let rule = &self.rule;
        if matches!(rule.aggregate, Aggregate::OomKills | Aggregate::LimitHits) {
            return Some(float(self.events));
        }
        match rule.metric.kind() {
            MetricKind::Trend => self.trend_value(),
            MetricKind::Share => (self.of > 0).then(|| float(self.hits) / float(self.of)),
            MetricKind::Counter => {
                let (sum, seconds) = (float(self.hits), seconds?);
                match rule.aggregate {
                    Aggregate::Rate => (seconds > 0.0).then(|| sum / seconds),
                    _ => Some(sum),
                }
            }
            MetricKind::Size | MetricKind::Level | MetricKind::Time => {
                self.gauge.value(rule.aggregate)
            }
        }
    }

    /// A time in milliseconds, or how many there were.
    fn trend_value(&self) -> Option<f64> {
        let ms = |us: Option<u64>| us.map(|us| float(us) / 1e3);
        match self.rule.aggregate {
            Aggregate::Count => Some(float(self.trend.count())),
            Aggregate::Max => ms(self.trend.max()),
            Aggregate::Min => ms(self.trend.min()),
            Aggregate::Avg => self.trend.mean().map(|us| us / 1e3),
            Aggregate::Med => ms(self.trend.percentile(50.0)),
            Aggregate::Percentile(percent) => ms(self.trend.percentile(percent)),
            _ => None,
        }
    }

    /// When the rule was broken for good, where that is known.
    pub(super) fn broken_at(&self) -> Option<Moment> {
        match &self.window {
            Some(Windowed::Over(sliding)) => sliding.broken_at(),
            Some(Windowed::For(held)) => held.broken_at(),
            None => self.broken_at,
        }
    }

    /// Notes when the value first broke the rule, if it can't become good again.
    fn look(&mut self, at: Moment) {
        if self.broken_at.is_some() || self.window.is_some() || !self.is_final() {
            return;
        }
        let broken = self
            .value(Some(0.0))
            .zip(self.bound)
            .is_some_and(|(value, bound)| !self.rule.operator.holds(value, bound));
        self.broken_at = broken.then_some(at);
    }

    /// Whether a value that breaks the rule can't become good again.
    const fn is_final(&self) -> bool {
        let upper = matches!(self.rule.operator, Operator::Less | Operator::AtMost);
        match self.rule.aggregate {
            Aggregate::Max | Aggregate::Count => upper,
            Aggregate::Min => matches!(self.rule.operator, Operator::More | Operator::AtLeast),
            Aggregate::OomKills | Aggregate::LimitHits => upper || self.events > 0,
            _ => false,
        }
    }

    /// Whether what is broken now may end a run: it can't become good again, or it is about many
    /// values.
    pub(super) fn may_abort(&self) -> bool {
        let many = self.gauge.count() + self.of >= LEAST_FOR_ABORT;
        match (self.rule.aggregate, &self.window) {
            (Aggregate::Slope, None) => self.gauge.count() >= 100 * LEAST_FOR_ABORT,
            (Aggregate::Max | Aggregate::Min | Aggregate::Count, Some(Windowed::Over(_)))
            | (_, Some(Windowed::For(_))) => true,
            (Aggregate::Max | Aggregate::Min | Aggregate::Count, None)
            | (Aggregate::OomKills | Aggregate::LimitHits, _) => self.is_final(),
            _ => many,
        }
    }
}
