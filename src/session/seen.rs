//! What a run has seen so far, as far as it must react to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Moment;
use crate::event::{Event, Exit, LifeId, What};
use crate::judge::AbortWatch;

/// What a run has seen so far, as far as it must react to it.
#[derive(Debug)]
pub struct Seen {
    kills: BTreeSet<LifeId>,
    ends: BTreeMap<LifeId, (Moment, Exit)>,
    aborts: AbortWatch,
}

impl Seen {
    pub(super) const fn new(aborts: AbortWatch) -> Self {
        Self { kills: BTreeSet::new(), ends: BTreeMap::new(), aborts }
    }

    /// Takes in an event. Gives whether it is to be recorded as it is: the runtime's news of an
    /// end is kept back, for the session completes it once the lifetime peak is known.
    pub(super) fn take(&mut self, event: &Event) -> bool {
        self.aborts.take(event);
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
    pub fn broken_rule(&self) -> Option<String> {
        self.aborts.broken().map(|rule| format!("{}: {}", rule.selector, rule.text))
    }
}
