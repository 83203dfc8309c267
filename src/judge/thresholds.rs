//! Measuring what threshold rules ask for.

mod check;
mod levels;

use std::collections::BTreeMap;
use std::time::Duration;

use check::Check;
use levels::{main_level, movement, stretch, vital_level};

use super::float;
use super::gauge::Stretch;
use super::places::{Placed, Places};
use crate::clock::Moment;
use crate::event::{Band, Event, LifeId, LifeRole, UserWindow, Vitals, What};
use crate::plan::{Aggregate, Bound, Metric, MetricKind, Outline, Rule, StepOutline, Tag, Window};
use crate::units::Limit;

/// How often rules about traffic are looked at for an abort, as k6 does.
const ABORTS_EVERY: Duration = Duration::from_secs(2);
/// How late the traffic of a moment may be told.
const TRAFFIC_LATE: Duration = Duration::from_secs(2);

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
    /// Over which time; then the value is the worst of all stretches.
    pub window: Option<Window>,
    /// When it was broken for good; none where it is not, or where only the end tells.
    pub broken_at: Option<Moment>,
}

/// Measures rules as events come in.
#[derive(Debug)]
pub struct Thresholds {
    places: Places,
    checks: Vec<Check>,
    phases: Vec<String>,
    steps: Vec<StepOutline>,
    lives: BTreeMap<LifeId, LifeCounts>,
    /// The most users at once so far.
    users_max: u32,
    now: Moment,
    /// When rules about traffic were looked at for an abort.
    looked: Moment,
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

impl Thresholds {
    /// Measures these rules for a run as outlined.
    #[must_use]
    pub fn new(rules: Vec<Rule>, outline: &Outline) -> Self {
        let checks = rules.into_iter().map(|rule| {
            let bound = bound(&rule, outline.limits.memory);
            Check::new(rule, bound)
        });
        Self {
            places: Places::default(),
            checks: checks.collect(),
            phases: outline.phases.iter().map(|row| row.name.clone()).collect(),
            steps: outline.steps.clone(),
            lives: BTreeMap::new(),
            users_max: 0,
            now: Moment::START,
            looked: Moment::START,
        }
    }

    /// Takes in an event.
    pub fn feed(&mut self, event: &Event) {
        self.now = self.now.max(event.at);
        let placing = self.places.feed(event);
        for placed in placing.windows(event) {
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
            What::Traffic(window) => {
                self.traffic(window.phase, window.step, |check| check.traffic(window, event.at));
            }
            What::Iterations(window) => {
                self.traffic(window.phase, window.step, |check| check.iterations(window, event.at));
            }
            What::Users(window) => self.users(window, event.at),
            _ => {}
        }
        self.advance(self.now.before(TRAFFIC_LATE));
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
        for placed in self.places.finish().waited() {
            self.memory(&placed);
        }
        self.advance(self.now);
        self.checks.iter_mut().for_each(Check::close);
    }

    /// What the rules came to so far, in their order.
    #[must_use]
    pub fn measured(&self) -> Vec<Measured> {
        let measured = self.checks.iter().map(|check| self.measure(check));
        measured.collect()
    }

    /// The first rule with `abort` that is broken for good, or broken now where it is about many
    /// values; not before its delay is over. Rules about traffic are looked at every 2 s only.
    #[must_use]
    pub fn broken(&mut self) -> Option<&Rule> {
        let traffic_too = self.now.since(self.looked) >= ABORTS_EVERY;
        if traffic_too {
            self.looked = self.now;
        }
        let first = self.places.phases().first().map(|row| row.1);
        let is_due = |delay: Duration| {
            delay.is_zero() || first.is_some_and(|first| self.now.since(first) >= delay)
        };
        let mut broken = self.checks.iter().filter(|check| {
            check.rule.abort.is_some_and(is_due)
                && (traffic_too || check.rule.metric.kind().is_level())
                && check.may_abort()
                && self.measure(check).pass == Some(false)
        });
        broken.next().map(|check| &check.rule)
    }

    fn measure(&self, check: &Check) -> Measured {
        let rule = &check.rule;
        let value = self.value(check).filter(|value| value.is_finite());
        let pass = value.zip(check.bound).map(|(value, bound)| rule.operator.holds(value, bound));
        Measured {
            metric: rule.selector.clone(),
            rule: rule.text.clone(),
            value,
            pass,
            kind: rule.metric.kind(),
            aggregate: rule.aggregate,
            window: rule.window,
            broken_at: check.broken_at().filter(|_| pass == Some(false)),
        }
    }

    fn value(&self, check: &Check) -> Option<f64> {
        let rule = &check.rule;
        if matches!(rule.aggregate, Aggregate::OomKills | Aggregate::LimitHits) {
            let main = |life: &LifeId| self.places.role(*life) == Some(LifeRole::Main);
            self.lives.keys().find(|life| main(life))?;
        }
        check.value(self.seconds(&rule.tags))
    }

    /// Lets time go on for rules about stretches of traffic, as far as their phases lasted.
    fn advance(&mut self, to: Moment) {
        let mut checks = std::mem::take(&mut self.checks);
        for check in checks.iter_mut().filter(|check| check.slides_over_traffic()) {
            let rows = self.places.phases().iter();
            let mine = rows.filter(|row| self.phase_matches(&check.rule.tags, Some(row.0)));
            let (mut first, mut last) = (None, None);
            for row in mine {
                first = first.or(Some(row.1));
                last = Some(row.2.unwrap_or(to).min(to));
            }
            if let Some((first, last)) = first.zip(last) {
                check.advance(first, last);
            }
        }
        self.checks = checks;
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

    /// Gives a stretch to every rule about one of these metrics.
    fn gauge(&mut self, phase: Option<u16>, of: impl Fn(Metric) -> Option<Stretch>) {
        let mut checks = std::mem::take(&mut self.checks);
        for check in &mut checks {
            if self.phase_matches(&check.rule.tags, phase)
                && let Some(stretch) = of(check.rule.metric)
            {
                check.level(&stretch);
            }
        }
        self.checks = checks;
    }

    fn memory(&mut self, placed: &Placed<'_>) {
        let (window, at) = (placed.window, placed.at);
        match placed.role {
            LifeRole::Main => {
                self.gauge(placed.phase, |metric| main_level(metric, window, at));
                if let Some(kills) = window.oom_kills {
                    self.kills(window.life, kills, at);
                }
                let hits = window.limit_hits.unwrap_or(0);
                let counts = self.lives.entry(window.life).or_default();
                let more = hits.saturating_sub(counts.limit_hits);
                counts.limit_hits = counts.limit_hits.max(hits);
                self.count(Aggregate::LimitHits, more, placed.phase, at);
            }
            LifeRole::Trial { .. } => {
                self.gauge(None, |metric| match metric {
                    Metric::Startup => Some(stretch(window, at, window.unreclaimable_high)),
                    Metric::StartupCharged => Some(stretch(window, at, Band::of(window.peak))),
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
        self.count(Aggregate::OomKills, more, phase, at);
    }

    fn count(&mut self, aggregate: Aggregate, more: u64, phase: Option<u16>, at: Moment) {
        let mut checks = std::mem::take(&mut self.checks);
        for check in &mut checks {
            if check.rule.aggregate == aggregate && self.phase_matches(&check.rule.tags, phase) {
                check.events(more, at);
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

    /// Gives every rule about traffic what is of a step in a phase.
    fn traffic(&mut self, phase: u16, step: u16, mut take: impl FnMut(&mut Check)) {
        let mut checks = std::mem::take(&mut self.checks);
        let step = self.steps.get(usize::from(step));
        for check in checks.iter_mut().filter(|check| !check.rule.metric.kind().is_level()) {
            let rule = &check.rule;
            if self.phase_matches(&rule.tags, Some(phase)) && step_matches(rule, step) {
                take(check);
            }
        }
        self.checks = checks;
    }

    fn users(&mut self, window: &UserWindow, at: Moment) {
        self.users_max = self.users_max.max(window.max);
        let most = f64::from(self.users_max);
        let present = Stretch {
            start: window.start,
            end: at,
            min: f64::from(window.min),
            max: f64::from(window.max),
            last: f64::from(window.last),
        };
        self.gauge(Some(window.phase), |metric| match metric {
            Metric::Vus => Some(present),
            Metric::VusMax => Some(Stretch { min: most, max: most, last: most, ..present }),
            _ => None,
        });
    }
}

/// The bound in the metric's own unit; none where it is a share of a limit that there is not.
fn bound(rule: &Rule, limit: Limit) -> Option<f64> {
    match rule.bound {
        Bound::Value(bound) | Bound::PerHour(bound) => Some(bound),
        Bound::PercentOfLimit(percent) => Some(limit.bytes()?.as_f64() * percent / 100.0),
    }
}

fn step_matches(rule: &Rule, step: Option<&StepOutline>) -> bool {
    let carries = |(tag, wanted)| step.is_some_and(|step| step.tags.get(tag) == Some(wanted));
    let mut tags = rule.tags.iter();
    let has = |(tag, wanted): (&Tag, &String)| match tag {
        Tag::Scenario => step.is_some_and(|step| step.scenario == *wanted),
        Tag::Step | Tag::Name => step.is_some_and(|step| step.step == *wanted),
        Tag::Method => step.is_some_and(|step| step.method.to_uppercase() == *wanted),
        Tag::Phase | Tag::Status | Tag::ExpectedResponse => true,
    };
    tags.all(has) && rule.own_tags.iter().all(carries)
}

#[cfg(test)]
#[path = "thresholds_tests.rs"]
pub(super) mod tests;
