//! What a run has seen so far, as far as it must react to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Moment;
use crate::event::{Event, Exit, LifeId, What};
use crate::judge::Thresholds;
use crate::plan::Plan;

/// What a run has seen so far, as far as it must react to it.
#[derive(Debug)]
pub struct Seen {
    kills: BTreeSet<LifeId>,
    ends: BTreeMap<LifeId, (Moment, Exit)>,
    /// The rules with `abort`; none where the plan has no such rule.
    aborts: Option<Thresholds>,
    broken: Option<String>,
}

impl Seen {
    /// Nothing yet.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let rules: Vec<_> =
            plan.rules.iter().filter(|rule| rule.abort.is_some()).cloned().collect();
        let aborts = (!rules.is_empty()).then(|| Thresholds::new(rules, &plan.outline()));
        Self { kills: BTreeSet::new(), ends: BTreeMap::new(), aborts, broken: None }
    }

    /// Takes in an event. Gives whether it is to be recorded as it is: the runtime's news of an
    /// end is kept back, for the session completes it once the lifetime peak is known.
    pub(super) fn take(&mut self, event: &Event) -> bool {
        self.judge(event);
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
            let text = |rule: &crate::plan::Rule| format!("{}: {}", rule.selector, rule.text);
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

    /// The first rule with `abort` that is broken.
    #[must_use]
    pub fn broken_rule(&self) -> Option<&str> {
        self.broken.as_deref()
    }
}
