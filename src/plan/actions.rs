//! Actions, put into the phases in which they are due.

use std::time::Duration;

use super::{ActionPlan, Deed, LoadModel, LoadPlan, PhasePlan, ScenarioChoice};
use crate::scenario::Action;

/// Gives each phase its actions, and a load for each that is a request. Gives what the reader
/// should know of those that no phase has.
pub(super) fn spread(actions: &[Action], phases: &mut [PhasePlan]) -> Vec<String> {
    actions.iter().filter_map(|action| place(action, phases)).collect()
}

fn place(action: &Action, phases: &mut [PhasePlan]) -> Option<String> {
    let mut begins = Duration::ZERO;
    let mut any = false;
    for phase in phases {
        let first = match &action.phase {
            Some(name) => (*name == phase.name).then_some(action.when),
            None => first_from(begins, action),
        };
        begins += phase.length;
        let Some(first) = first.filter(|first| *first < phase.length) else { continue };
        any = true;
        give(phase, ActionPlan { first, every: action.every, deed: action.deed.clone() });
    }
    (!any).then(|| {
        let text = describe(&action.deed);
        format!(
            "{text} is not done: the phases that run are over by then, or its phase is left out"
        )
    })
}

/// When an action is first due, from a moment of the run on; none where it comes only before.
fn first_from(begins: Duration, action: &Action) -> Option<Duration> {
    if let Some(later) = action.when.checked_sub(begins) {
        return Some(later);
    }
    let every = action.every?.as_nanos();
    let gone = begins.saturating_sub(action.when).as_nanos();
    let left = (every - gone % every) % every;
    Some(Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX)))
}

fn give(phase: &mut PhasePlan, action: ActionPlan) {
    if let Deed::Request { flow, .. } = &action.deed {
        phase.loads.push(LoadPlan {
            scenario: ScenarioChoice::One(*flow),
            model: LoadModel::Timed { first: action.first, every: action.every },
            start_after: Duration::ZERO,
        });
    }
    phase.actions.push(action);
}

/// An action in words: `exec /bin/sh -c …`, `signal SIGHUP`, `POST /admin/run-batch`.
pub(super) fn describe(deed: &Deed) -> String {
    match deed {
        Deed::Exec(words) => format!("exec {}", words.join(" ")),
        Deed::Signal(name) => format!("signal {name}"),
        Deed::Request { label, .. } => label.clone(),
    }
}

impl ActionPlan {
    /// When it is done, from the phase's start.
    pub fn times(&self) -> impl Iterator<Item = Duration> + use<> {
        let every = self.every;
        std::iter::successors(Some(self.first), move |at| every.map(|every| *at + every))
    }

    /// In words: `exec /bin/sh -c …`, `signal SIGHUP`, `POST /admin/run-batch`.
    #[must_use]
    pub fn describe(&self) -> String {
        describe(&self.deed)
    }
}

#[cfg(test)]
#[path = "actions_tests.rs"]
mod tests;
