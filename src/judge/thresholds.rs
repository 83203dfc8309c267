//! Measuring what threshold rules ask for.

use std::collections::BTreeMap;

use super::float;
use super::gauge::{Gauge, Stretch, speed};
use super::places::{Placed, Places};
use crate::clock::Moment;
use crate::event::{
    Band, Counts, Event, Histogram, LifeId, LifeRole, MemoryWindow, TrafficWindow, Vitals, What,
};
use crate::plan::{Aggregate, Bound, Metric, MetricKind, Operator, Outline, Rule, Tag};
use crate::units::Limit;

/// Statistics of fewer values than this never abort a run.
const LEAST_FOR_ABORT: u64 = 20;

/// What a rule came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The selector as written.
    pub metric: String,
    /// The condition as written.
    pub rule: String,
    /// What is compared, in the metric's own unit; none where nothing was measured.
    pub value: Option<f64>,
    /// Whether the value holds; none where nothing was measured.
    pub pass: Option<bool>,
    /// The kind of the metric, for printing.
    pub kind: MetricKind,
    /// How the value came about, for printing.
    pub aggregate: Aggregate,
}

/// Measures rules as events come in.
#[derive(Debug)]
pub struct Thresholds {
    places: Places,
    checks: Vec<Check>,
    phases: Vec<String>,
    steps: Vec<(String, String)>,
    limit: Limit,
    lives: BTreeMap<LifeId, LifeCounts>,
    now: Moment,
}

/// Counters of one life, of which only the movement counts.
#[derive(Debug, Default)]
struct LifeCounts {
    began: Moment,
    exec: bool,
    kills: u64,
    limit_hits: u64,
    vitals: Option<(Moment, Vitals)>,
}

#[derive(Debug)]
struct Check {
    rule: Rule,
    gauge: Gauge,
    trend: Histogram,
    counts: Counts,
    events: u64,
}

impl Thresholds {
    /// Measures these rules for a run as outlined.
    #[must_use]
    pub fn new(rules: Vec<Rule>, outline: &Outline) -> Self {
        let steps = outline.steps.iter();
        Self {
            places: Places::default(),
            checks: rules.into_iter().map(Check::new).collect(),
            phases: outline.phases.iter().map(|row| row.name.clone()).collect(),
            steps: steps.map(|row| (row.scenario.clone(), row.step.clone())).collect(),
            limit: outline.limits.memory,
            lives: BTreeMap::new(),
            now: Moment::START,
        }
    }

    /// Takes in an event.
    pub fn feed(&mut self, event: &Event) {
        self.now = self.now.max(event.at);
        let placed = self.places.feed(event);
        for placed in placed {
            self.memory(&placed);
        }
        match &event.what {
            What::Life(start) => self.lives.entry(start.life).or_default().began = event.at,
            What::Started { life } => self.began(*life, event.at, false),
            What::Exec { life, .. } => self.began(*life, event.at, true),
            What::Ready { life } => self.ready(*life, event.at),
            What::OomKill(kill) => self.kills(kill.life, kill.count.unwrap_or(1), event.at),
            What::Vitals(vitals) => self.vitals(vitals, event.at),
            What::Logged { life, bytes } => self.logged(*life, bytes.get(), event.at),
            What::Traffic(window) => self.traffic(window),
            _ => {}
        }
    }

    /// A life counts from its program's first sight, or else from its start.
    fn began(&mut self, life: LifeId, at: Moment, exec: bool) {
        let counts = self.lives.entry(life).or_default();
        if exec || !counts.exec {
            counts.began = at;
        }
        counts.exec |= exec;
    }

    /// Takes in that no further event comes.
    pub fn finish(&mut self) {
        for placed in self.places.finish() {
            self.memory(&placed);
        }
    }

    /// What the rules came to so far, in their order.
    #[must_use]
    pub fn measured(&self) -> Vec<Measured> {
        let measured = self.checks.iter().map(|check| self.measure(check));
        measured.collect()
    }

    /// The first rule with `abort` that is broken for good, or broken now where it is about many
    /// values.
    #[must_use]
    pub fn broken(&self) -> Option<&Rule> {
        let aborting = self.checks.iter().filter(|check| check.rule.abort);
        let mut broken =
            aborting.filter(|check| check.may_abort() && self.measure(check).pass == Some(false));
        broken.next().map(|check| &check.rule)
    }

    fn measure(&self, check: &Check) -> Measured {
        let rule = &check.rule;
        let value = self.value(check).filter(|value| value.is_finite());
        let bound = match rule.bound {
            Bound::Value(bound) | Bound::PerHour(bound) => Some(bound),
            Bound::PercentOfLimit(percent) => {
                let limit = self.limit.bytes();
                limit.map(|limit| limit.as_f64() * percent / 100.0)
            }
        };
        let pass = value.zip(bound).map(|(value, bound)| rule.operator.holds(value, bound));
        Measured {
            metric: rule.selector.clone(),
            rule: rule.text.clone(),
            value,
            pass,
            kind: rule.metric.kind(),
            aggregate: rule.aggregate,
        }
    }

    fn value(&self, check: &Check) -> Option<f64> {
        let rule = &check.rule;
        if matches!(rule.aggregate, Aggregate::OomKills | Aggregate::LimitHits) {
            let main = |life: &LifeId| self.places.role(*life) == Some(LifeRole::Main);
            return self.lives.keys().any(main).then(|| float(check.events));
        }
        match rule.metric.kind() {
            MetricKind::Trend => check.trend_value(),
            MetricKind::Share => (check.counts.ended > 0)
                .then(|| float(check.counts.failed) / float(check.counts.ended)),
            MetricKind::Counter => {
                let seconds = self.seconds(&rule.tags)?;
                let sum = float(match rule.metric {
                    Metric::DataSent => check.counts.bytes_sent,
                    Metric::DataReceived => check.counts.bytes_received,
                    _ => check.counts.ended,
                });
                match rule.aggregate {
                    Aggregate::Rate => (seconds > 0.0).then(|| sum / seconds),
                    _ => Some(sum),
                }
            }
            MetricKind::Size | MetricKind::Level | MetricKind::Time => {
                check.gauge.value(rule.aggregate)
            }
        }
    }

    /// How long the phases of a selector have lasted; none where none has begun.
    fn seconds(&self, tags: &BTreeMap<Tag, String>) -> Option<f64> {
        let rows = self.places.phases().iter();
        let mut mine = rows.filter(|row| self.phase_matches(tags, Some(row.0))).peekable();
        mine.peek()?;
        let lasted = mine.map(|row| row.2.unwrap_or(self.now).since(row.1).as_secs_f64());
        Some(lasted.sum())
    }

    fn phase_matches(&self, tags: &BTreeMap<Tag, String>, phase: Option<u16>) -> bool {
        tags.get(&Tag::Phase).is_none_or(|wanted| {
            phase.and_then(|phase| self.phases.get(usize::from(phase))) == Some(wanted)
        })
    }

    /// Gives a stretch to every rule about one of these metrics. What is not of a step has no
    /// step's tags.
    fn gauge(&mut self, phase: Option<u16>, of: impl Fn(Metric) -> Option<Stretch>) {
        let mut checks = std::mem::take(&mut self.checks);
        for check in &mut checks {
            let tags = &check.rule.tags;
            let by_step = tags.contains_key(&Tag::Scenario) || tags.contains_key(&Tag::Step);
            if !by_step
                && self.phase_matches(tags, phase)
                && let Some(stretch) = of(check.rule.metric)
            {
                check.gauge.add(&stretch);
            }
        }
        self.checks = checks;
    }

    fn memory(&mut self, placed: &Placed) {
        let (window, at) = (placed.window, placed.at);
        match placed.role {
            LifeRole::Main => {
                self.gauge(placed.phase, |metric| main_level(metric, &window, at));
                if let Some(kills) = window.oom_kills {
                    self.kills(window.life, kills, at);
                }
                let hits = window.limit_hits.unwrap_or(0);
                let counts = self.lives.entry(window.life).or_default();
                let more = hits.saturating_sub(counts.limit_hits);
                counts.limit_hits = counts.limit_hits.max(hits);
                self.count(Aggregate::LimitHits, more, placed.phase);
            }
            LifeRole::Trial { .. } => {
                self.gauge(None, |metric| match metric {
                    Metric::Startup => Some(stretch(&window, at, window.unreclaimable_high)),
                    Metric::StartupCharged => Some(stretch(&window, at, Band::of(window.peak))),
                    _ => None,
                });
            }
            LifeRole::Unlimited { .. } => {}
        }
    }

    fn kills(&mut self, life: LifeId, kills: u64, at: Moment) {
        if self.places.role(life) != Some(LifeRole::Main) {
            return;
        }
        let phase = self.places.phase_at(at);
        let counts = self.lives.entry(life).or_default();
        let more = kills.saturating_sub(counts.kills);
        counts.kills = counts.kills.max(kills);
        self.count(Aggregate::OomKills, more, phase);
    }

    fn count(&mut self, aggregate: Aggregate, more: u64, phase: Option<u16>) {
        let mut checks = std::mem::take(&mut self.checks);
        for check in &mut checks {
            if check.rule.aggregate == aggregate && self.phase_matches(&check.rule.tags, phase) {
                check.events += more;
            }
        }
        self.checks = checks;
    }

    fn ready(&mut self, life: LifeId, at: Moment) {
        if !matches!(self.places.role(life), Some(LifeRole::Trial { .. })) {
            return;
        }
        let began = self.lives.get(&life).map_or(Moment::START, |row| row.began);
        let ms = at.since(began).as_secs_f64() * 1e3;
        self.gauge(None, |metric| (metric == Metric::Ready).then(|| Stretch::point(at, ms)));
    }

    fn vitals(&mut self, vitals: &Vitals, at: Moment) {
        let Some(life) = vitals.life else { return };
        if self.places.role(life) != Some(LifeRole::Main) {
            return;
        }
        let counts = self.lives.entry(life).or_default();
        let before = counts.vitals.replace((at, vitals.clone()));
        let between = before.as_ref().and_then(|row| self.places.phase_between(row.0, at));
        self.gauge(between, |metric| movement(metric, before.as_ref(), vitals, at));
        let phase = self.places.phase_at(at).or(between);
        let start = before.as_ref().map_or(at, |row| row.0);
        self.gauge(phase, |metric| {
            Some(Stretch { start, ..Stretch::point(at, vital_level(metric, vitals)?) })
        });
    }

    /// The whole of what a life printed, which is a last value of what was counted on the way.
    fn logged(&mut self, life: LifeId, bytes: u64, at: Moment) {
        if self.places.role(life) == Some(LifeRole::Main) {
            let phase = self.places.phase_at(at);
            let end = Stretch::point(at, float(bytes));
            self.gauge(phase, |metric| (metric == Metric::LogBytes).then_some(end));
        }
    }

    fn traffic(&mut self, window: &TrafficWindow) {
        let step = self.steps.get(usize::from(window.step)).cloned();
        let (scenario, step) = step.unzip();
        let mut checks = std::mem::take(&mut self.checks);
        for check in &mut checks {
            let tags = &check.rule.tags;
            let has = |tag, value: &Option<String>| {
                tags.get(&tag).is_none_or(|wanted| Some(wanted) == value.as_ref())
            };
            if has(Tag::Scenario, &scenario)
                && has(Tag::Step, &step)
                && self.phase_matches(tags, Some(window.phase))
            {
                check.traffic(window);
            }
        }
        self.checks = checks;
    }
}

impl Check {
    fn new(rule: Rule) -> Self {
        let scale = match rule.metric.kind() {
            MetricKind::Size => 1024.0,
            MetricKind::Time => 1e-3,
            _ => 0.01,
        };
        Self {
            gauge: Gauge::new(rule.aggregate, scale),
            rule,
            trend: Histogram::new(),
            counts: Counts::default(),
            events: 0,
        }
    }

    fn traffic(&mut self, window: &TrafficWindow) {
        match self.rule.metric {
            Metric::HttpReqDuration => self.trend.add(&window.duration_us),
            Metric::HttpReqLatency => self.trend.add(&window.latency_us),
            _ => self.counts.add(&window.counts),
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

    /// Whether what is broken now may end a run: it can't become good again, or it is about many
    /// values.
    fn may_abort(&self) -> bool {
        let upper = matches!(self.rule.operator, Operator::Less | Operator::AtMost);
        match self.rule.aggregate {
            Aggregate::Max | Aggregate::Count => upper,
            Aggregate::Min => !upper,
            Aggregate::OomKills | Aggregate::LimitHits => upper || self.events > 0,
            Aggregate::Slope => self.gauge.count() >= 100 * LEAST_FOR_ABORT,
            _ => {
                let many = self.gauge.count() + self.trend.count() + self.counts.ended;
                many >= LEAST_FOR_ABORT
            }
        }
    }
}

fn stretch(window: &MemoryWindow, end: Moment, band: Band) -> Stretch {
    Stretch {
        start: window.start,
        end,
        min: band.min.as_f64(),
        max: band.max.as_f64(),
        last: band.last.as_f64(),
    }
}

fn main_level(metric: Metric, window: &MemoryWindow, at: Moment) -> Option<Stretch> {
    let band = match metric {
        Metric::Memory => window.unreclaimable_high,
        Metric::MemoryUsage => window.usage,
        Metric::MemoryRss => window.rss,
        Metric::MemoryWorkingSet => window.working_set,
        Metric::MemoryChargedPeak => Band::of(window.peak),
        _ => return None,
    };
    Some(stretch(window, at, band))
}

/// How fast a counter moved since the reading before, of the same life.
fn movement(
    metric: Metric,
    before: Option<&(Moment, Vitals)>,
    now: &Vitals,
    at: Moment,
) -> Option<Stretch> {
    let (then, before) = before?;
    let speed_of =
        |counter: fn(&Vitals) -> Option<u64>| speed((*then, counter(before)?), (at, counter(now)?));
    let value = match metric {
        Metric::Cpu => speed_of(|row| row.cpu_ns)? / 1e9,
        Metric::Throttled => speed_of(|row| row.throttled_ns)? / 1e9 * 100.0,
        Metric::PsiMemory => float(now.psi_some_us?.checked_sub(before.psi_some_us?)?) / 1e3,
        _ => return None,
    };
    Some(Stretch { start: *then, ..Stretch::point(at, value) })
}

/// A level at a reading; of what was written, all since the life began.
fn vital_level(metric: Metric, now: &Vitals) -> Option<f64> {
    Some(match metric {
        Metric::Threads => f64::from(now.threads),
        Metric::OpenFiles => f64::from(now.open_files?),
        Metric::DiskWritten => float(now.disk()?.1.written_bytes),
        Metric::LogBytes => float(now.log_bytes?),
        _ => return None,
    })
}

#[cfg(test)]
#[path = "thresholds_tests.rs"]
pub(super) mod tests;
