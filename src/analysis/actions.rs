//! What was done at set times, beside the traffic.

use std::time::Duration;

use crate::clock::Moment;
use crate::event::{ActionBegan, ActionEnded, ActionKind};

/// Actions that are told one by one.
const MOST: usize = 1000;

/// What was done at set times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actions {
    /// The first 1000, in order.
    pub rows: Vec<ActionFinding>,
    /// All of them.
    pub total: u64,
    /// Those that failed.
    pub failed: u64,
}

/// Something that was done at a set time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionFinding {
    /// When it began.
    pub at: Moment,
    /// The phase in which it began.
    pub phase: Option<String>,
    /// What kind of thing it is.
    pub kind: ActionKind,
    /// What was done, in words.
    pub text: String,
    /// How long it took; none for a request, of which the traffic tells, and where its phase was
    /// over before.
    pub took: Option<Duration>,
    /// Why it failed, where it did.
    pub failed: Option<String>,
}

impl ActionFinding {
    /// What happened, in words.
    #[must_use]
    pub fn words(&self) -> String {
        match self.kind {
            ActionKind::Exec | ActionKind::Signal => format!("`{}` was done", self.text),
            ActionKind::Request => format!("`{}` was sent", self.text),
        }
    }
}

/// Collects them while events come in.
#[derive(Debug, Default)]
pub(super) struct Acting {
    /// Each with its number.
    rows: Vec<(u32, ActionFinding)>,
    total: u64,
    failed: u64,
}

impl Acting {
    pub(super) fn began(&mut self, at: Moment, began: &ActionBegan) {
        self.total += 1;
        if self.rows.len() < MOST {
            let (kind, text) = (began.kind, began.text.clone());
            let row = ActionFinding { at, phase: None, kind, text, took: None, failed: None };
            self.rows.push((began.number, row));
        }
    }

    pub(super) fn ended(&mut self, at: Moment, ended: &ActionEnded) {
        self.failed += u64::from(ended.failed.is_some());
        let Some((_, row)) = self.rows.iter_mut().rev().find(|row| row.0 == ended.number) else {
            return;
        };
        row.failed.clone_from(&ended.failed);
        row.took = (row.kind != ActionKind::Request).then(|| at.since(row.at));
    }

    pub(super) fn finish(self, phase_at: &dyn Fn(Moment) -> Option<String>) -> Actions {
        let placed = |(_, row): (u32, ActionFinding)| {
            let phase = phase_at(row.at);
            ActionFinding { phase, ..row }
        };
        let mut rows: Vec<_> = self.rows.into_iter().map(placed).collect();
        rows.sort_by_key(|row| row.at);
        Actions { rows, total: self.total, failed: self.failed }
    }
}
