//! Startup trials.

use std::collections::BTreeMap;
use std::time::Duration;

use super::model::{Startup, Trial};
use crate::clock::Moment;
use crate::event::{LifeId, LifeRole, LifeStart, Vitals};
use crate::judge::Placed;
use crate::units::Bytes;

/// A reading so long after ready still counts as one at ready.
const AT_READY: Duration = Duration::from_millis(500);

/// By so much page cache a first trial differs from the later ones, at least.
const COLD: Bytes = Bytes::from_mib(1);

/// By so many faults that waited for a device it differs, at least.
const COLD_FAULTS: u64 = 16;

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
    ready: Option<Moment>,
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
            major_faults: None,
            cache: None,
        };
        let row = Row { trial, began: at, seen_exec: false, ready: None };
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
            row.ready = Some(at);
        }
    }

    /// Takes in a slow reading: the first after ready tells the page cache's state.
    pub(super) fn vitals(&mut self, life: LifeId, at: Moment, now: &Vitals) {
        let Some(row) = self.rows.get_mut(&life) else { return };
        let Some(ready) = row.ready.filter(|ready| at >= *ready) else { return };
        row.ready = None;
        if at.since(ready) <= AT_READY {
            row.trial.major_faults = now.major_faults;
            row.trial.cache = now.cache;
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
        let first_was_cold = first_was_cold(&limited().collect::<Vec<_>>());
        (!trials.is_empty()).then_some(Startup { trials, peak, settled, first_was_cold })
    }
}

/// Whether the first trial had to fetch what the later ones found in page cache: it waited for the
/// device more often, or was charged with more of the cache as its first toucher.
fn first_was_cold(trials: &[&Trial]) -> Option<bool> {
    let (first, later) = trials.split_first()?;
    let most = |of: fn(&Trial) -> Option<u64>| later.iter().filter_map(|trial| of(trial)).max();
    let beyond = |of: fn(&Trial) -> Option<u64>, least: u64| {
        let (first, later) = (of(first)?, most(of)?);
        Some(first >= later.saturating_mul(2) && first - later >= least)
    };
    let faults = beyond(|trial| trial.major_faults, COLD_FAULTS);
    let cache = beyond(|trial| trial.cache.map(Bytes::get), COLD.get());
    match (faults, cache) {
        (None, None) => None,
        (faults, cache) => Some(faults == Some(true) || cache == Some(true)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Limit;

    fn cold(rows: &[(Option<u64>, Option<u64>)]) -> Option<bool> {
        let mut trials = Trials::default();
        for ((major_faults, mib), number) in rows.iter().zip(1..) {
            let life = LifeId(number);
            let role = LifeRole::Trial { number };
            let at = Moment::from_millis;
            trials.begin(at(0), &LifeStart { life, role, limit: Limit::Unlimited });
            let cache = mib.map(Bytes::from_mib);
            let vitals = Vitals { major_faults: *major_faults, cache, ..Vitals::default() };
            let early = Vitals { major_faults: Some(1 << 20), ..Vitals::default() };
            trials.vitals(life, at(1), &early);
            trials.ready(life, at(2));
            trials.vitals(life, at(3), &vitals);
            trials.vitals(life, at(4), &early);
        }
        trials.finish().unwrap().first_was_cold
    }

    #[test]
    fn a_cold_page_cache_is_told_from_a_warm_one() {
        assert_eq!(
            cold(&[(Some(90), Some(6)), (Some(2), Some(0)), (Some(0), Some(0))]),
            Some(true)
        );
        assert_eq!(cold(&[(Some(2), Some(6)), (Some(2), Some(0))]), Some(true));
        assert_eq!(cold(&[(Some(3), Some(1)), (Some(2), Some(1))]), Some(false));
        assert_eq!(cold(&[(Some(90), None), (Some(80), None)]), Some(false));
        assert_eq!(cold(&[(Some(90), Some(6))]), None, "there is nothing to compare with");
        assert_eq!(cold(&[(None, None), (None, None)]), None);
    }
}
