//! Startup trials.

use std::collections::BTreeMap;

use super::model::{Startup, Trial};
use crate::clock::Moment;
use crate::event::{LifeId, LifeRole, LifeStart};
use crate::judge::Placed;
use crate::units::Bytes;

/// Collects startup trials while events come in.
#[derive(Debug, Default)]
pub(super) struct Trials {
    rows: BTreeMap<LifeId, Row>,
}

#[derive(Debug)]
struct Row {
    trial: Trial,
    began: Moment,
    seen_exec: bool,
}

impl Trials {
    pub(super) fn begin(&mut self, at: Moment, start: &LifeStart) {
        let (number, unlimited) = match start.role {
            LifeRole::Trial { number } => (number, false),
            LifeRole::Unlimited { number } => (number, true),
            LifeRole::Main => return,
        };
        let trial = Trial {
            number,
            unlimited,
            limit: start.limit,
            ready_ms: None,
            peak: None,
            rss_peak: None,
            unreclaimable_peak: None,
            settled: None,
            before_exec: None,
            killed: false,
        };
        let row = Row { trial, began: at, seen_exec: false };
        self.rows.insert(start.life, row);
    }

    pub(super) fn started(&mut self, life: LifeId, at: Moment) {
        if let Some(row) = self.rows.get_mut(&life)
            && !row.seen_exec
        {
            row.began = at;
        }
    }

    pub(super) fn exec(&mut self, life: LifeId, at: Moment, before_exec: Bytes) {
        if let Some(row) = self.rows.get_mut(&life) {
            row.trial.before_exec = Some(before_exec);
            row.seen_exec = true;
            row.began = at;
        }
    }

    pub(super) fn ready(&mut self, life: LifeId, at: Moment) {
        if let Some(row) = self.rows.get_mut(&life) {
            row.trial.ready_ms = Some(at.since(row.began).as_secs_f64() * 1e3);
        }
    }

    pub(super) fn killed(&mut self, life: LifeId) {
        if let Some(row) = self.rows.get_mut(&life) {
            row.trial.killed = true;
        }
    }

    /// A window after exec and until settled.
    pub(super) fn memory(&mut self, placed: &Placed) {
        let window = &placed.window;
        let Some(Row { trial, .. }) = self.rows.get_mut(&window.life) else {
            return;
        };
        let most = |slot: &mut Option<Bytes>, value: Bytes| {
            *slot = Some(slot.map_or(value, |before| before.max(value)));
        };
        most(&mut trial.peak, window.peak);
        most(&mut trial.rss_peak, window.rss.max);
        most(&mut trial.unreclaimable_peak, window.unreclaimable_high.max);
        trial.settled = Some(window.unreclaimable_low.last);
        trial.killed |= window.oom_kills.is_some_and(|kills| kills > 0);
    }

    pub(super) fn finish(self) -> Option<Startup> {
        let mut trials: Vec<Trial> = self
            .rows
            .into_values()
            .map(|row| {
                let mut trial = row.trial;
                // A level that was never reached in peace is none.
                trial.settled = trial.settled.filter(|_| trial.ready_ms.is_some() && !trial.killed);
                trial
            })
            .collect();
        trials.sort_by_key(|trial| (trial.number, trial.unlimited));
        let limited = || trials.iter().filter(|trial| !trial.unlimited);
        let peak = limited().filter_map(|trial| trial.peak).max();
        let settled = limited().filter_map(|trial| trial.settled).max();
        (!trials.is_empty()).then_some(Startup { trials, peak, settled })
    }
}
