//! What a run has seen so far, as far as it must react to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Moment;
use crate::event::{Event, Exit, LifeId, What};
use crate::judge::Thresholds;
use crate::plan::{Plan, Rule};

/// What a run has seen so far, as far as it must react to it.
#[derive(Debug)]
pub struct Seen {
    kills: BTreeSet<LifeId>,
    ends: BTreeMap<LifeId, (Moment, Exit)>,
    /// The rules with `abort`; none where the plan has no such rule.
    aborts: Option<Thresholds>,
    /// All rules, and those about failures that stopping early goes by; none where no phase may be
    /// the last.
    quality: Option<Thresholds>,
    broken: Option<String>,
}

/// The rules that decide whether the run goes on after a phase that says `stop-early`.
fn quality_rules(plan: &Plan) -> Vec<Rule> {
    let early = plan.phases.iter().filter(|phase| phase.stop_early);
    let few_fail = early.filter_map(|phase| {
        let selector = format!("http_req_failed{{phase:{}}}", phase.name);
        Rule::parse(&selector, "rate<=0.01", None).ok()
    });
    let mut rules: Vec<Rule> = few_fail.collect();
    if !rules.is_empty() {
        rules.extend(plan.rules.iter().cloned());
    }
    rules
}

impl Seen {
    /// Nothing yet.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let rules: Vec<_> =
            plan.rules.iter().filter(|rule| rule.abort.is_some()).cloned().collect();
        let aborts = (!rules.is_empty()).then(|| Thresholds::new(rules, &plan.outline()));
        let quality = quality_rules(plan);
        let quality = (!quality.is_empty()).then(|| Thresholds::new(quality, &plan.outline()));
        Self { kills: BTreeSet::new(), ends: BTreeMap::new(), aborts, quality, broken: None }
    }

    /// Takes in an event. Gives whether it is to be recorded as it is: the runtime's news of an
    /// end is kept back, for the session completes it once the lifetime peak is known.
    pub(super) fn take(&mut self, event: &Event) -> bool {
        self.judge(event);
        if let Some(quality) = &mut self.quality {
            quality.feed(event);
        }
        match &event.what {
            What::OomKill(kill) => {
                self.kills.insert(kill.life);
            }
            What::Ended { life, exit, .. } if !self.ends.contains_key(life) => {
                self.ends.insert(*life, (event.at, *exit));
                return false;
            }
            _ => {}
        }
        true
    }

    fn judge(&mut self, event: &Event) {
        let Some(aborts) = &mut self.aborts else { return };
        aborts.feed(event);
        // Once a window is enough: percentiles take time.
        if self.broken.is_none() && matches!(event.what, What::Memory(_)) {
            let text = |rule: &Rule| format!("{}: {}", rule.selector, rule.text);
            self.broken = aborts.broken().map(text);
        }
    }

    /// Whether a process of this life was OOM-killed.
    #[must_use]
    pub fn is_killed(&self, life: LifeId) -> bool {
        self.kills.contains(&life)
    }

    /// When and how this life ended, once it has.
    #[must_use]
    pub fn end_of(&self, life: LifeId) -> Option<(Moment, Exit)> {
        self.ends.get(&life).copied()
    }

    /// What speaks against going on: the first rule that is broken, of whatever phase.
    #[must_use]
    pub fn bad_quality(&self) -> Option<String> {
        let measured = self.quality.as_ref()?.measured();
        let broken = measured.into_iter().find(|row| row.pass == Some(false))?;
        Some(format!("{}: {}", broken.metric, broken.rule))
    }

    /// The first rule with `abort` that is broken.
    #[must_use]
    pub fn broken_rule(&self) -> Option<&str> {
        self.broken.as_deref()
    }
}
