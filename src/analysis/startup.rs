//! Startup trials: what each needed, how much alike they are, and when there are enough of them.

mod alike;
mod findings;

use std::collections::BTreeMap;
use std::time::Duration;

pub use findings::{Spread, Startup, StartupSpread, Trial};

use crate::clock::Moment;
use crate::event::{Event, LifeId, LifeRole, LifeStart, TrialsDone, Vitals, What};
use crate::judge::{Placed, Places};
use crate::units::{Bytes, Limit, Percent};

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
    slack: Bytes,
    done: Option<TrialsDone>,
}

#[derive(Debug)]
struct Row {
    trial: Trial,
    began: Moment,
    seen_exec: bool,
    ready: Option<Moment>,
}

impl Trials {
    /// Takes in an event, windows of memory apart, which are to be placed first.
    pub(super) fn feed(&mut self, event: &Event) {
        let at = event.at;
        match &event.what {
            What::Life(start) => self.begin(at, start),
            What::Sampling(start) => self.sampling(start.life, start.charge_slack),
            What::Started { life } => self.started(*life, at),
            What::Exec { life, before_exec } => self.exec(*life, at, *before_exec),
            What::Ready { life } => self.ready(*life, at),
            What::OomKill(kill) if kill.count != Some(0) => self.killed(kill.life),
            What::Vitals(vitals) => {
                if let Some(life) = vitals.life {
                    self.vitals(life, at, vitals);
                }
            }
            What::TrialsDone(done) => self.done = Some(*done),
            _ => {}
        }
    }

    fn begin(&mut self, at: Moment, start: &LifeStart) {
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
            peak_at: None,
            settled: None,
            before_exec: None,
            killed: false,
            major_faults: None,
            cache: None,
        };
        let row = Row { trial, began: at, seen_exec: false, ready: None };
        self.rows.insert(start.life, row);
    }

    fn started(&mut self, life: LifeId, at: Moment) {
        if let Some(row) = self.rows.get_mut(&life)
            && !row.seen_exec
        {
            row.began = at;
        }
    }

    fn exec(&mut self, life: LifeId, at: Moment, before_exec: Bytes) {
        if let Some(row) = self.rows.get_mut(&life) {
            row.trial.before_exec = Some(before_exec);
            row.seen_exec = true;
            row.began = at;
        }
    }

    fn ready(&mut self, life: LifeId, at: Moment) {
        if let Some(row) = self.rows.get_mut(&life) {
            row.trial.ready_ms = Some(at.since(row.began).as_secs_f64() * 1e3);
            row.ready = Some(at);
        }
    }

    /// Takes in a slow reading: the first after ready tells the page cache's state.
    fn vitals(&mut self, life: LifeId, at: Moment, now: &Vitals) {
        let Some(row) = self.rows.get_mut(&life) else { return };
        let Some(ready) = row.ready.filter(|ready| at >= *ready) else { return };
        row.ready = None;
        if at.since(ready) <= AT_READY {
            row.trial.major_faults = now.major_faults;
            row.trial.cache = now.cache;
        }
    }

    fn killed(&mut self, life: LifeId) {
        if let Some(row) = self.rows.get_mut(&life) {
            row.trial.killed = true;
        }
    }

    /// A window after exec and until settled.
    pub(super) fn memory(&mut self, placed: &Placed<'_>) {
        let window = placed.window;
        let Some(Row { trial, .. }) = self.rows.get_mut(&window.life) else {
            return;
        };
        let most = |slot: &mut Option<Bytes>, value: Bytes| {
            *slot = Some(slot.map_or(value, |before| before.max(value)));
        };
        most(&mut trial.peak, window.peak);
        most(&mut trial.rss_peak, window.rss.max);
        if trial.unreclaimable_peak.is_none_or(|peak| peak < window.unreclaimable_high.max) {
            trial.peak_at = Some(placed.at);
        }
        most(&mut trial.unreclaimable_peak, window.unreclaimable_high.max);
        trial.settled = Some(window.unreclaimable_low.last);
        trial.killed |= window.oom_kills.is_some_and(|kills| kills > 0);
    }

    fn sampling(&mut self, life: LifeId, charge_slack: Bytes) {
        if self.rows.contains_key(&life) {
            self.slack = self.slack.max(charge_slack);
        }
    }

    /// Whether the trials so far are so much alike that no more are needed.
    fn enough(&self) -> bool {
        let mut trials: Vec<&Trial> = self.rows.values().map(|row| &row.trial).collect();
        trials.sort_by_key(|trial| trial.number);
        let limited = |trial: &&&Trial| !trial.unlimited && !trial.killed;
        let limited: Vec<&Trial> = trials.iter().filter(limited).copied().collect();
        alike::enough(&limited, self.slack, first_was_cold(&limited) == Some(true))
    }

    /// What the trials came to, under the run's limit and beside the highest unreclaimable peak of
    /// its phases; none where there was no trial.
    pub(super) fn finish(self, limit: Limit, run_peak: Option<Bytes>) -> Option<Startup> {
        let done = self.done;
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
        if trials.is_empty() {
            return None;
        }
        let limited = || trials.iter().filter(|trial| !trial.unlimited);
        let peak = limited().filter_map(|trial| trial.peak).max();
        let settled = limited().filter_map(|trial| trial.settled).max();
        let first_was_cold = first_was_cold(&limited().collect::<Vec<_>>());
        let whole = whole(&trials);
        let unreclaimable_peak = whole.iter().filter_map(|trial| trial.unreclaimable_peak).max();
        let of_limit = |peak: Bytes| Percent::of(peak.as_f64(), limit.bytes()?.as_f64());
        Some(Startup {
            planned: done.map(|done| done.planned),
            end: done.map(|done| done.end),
            peak,
            settled,
            unreclaimable_peak,
            ratio: ratio(&whole),
            spread: spread(&whole),
            limit_percent: unreclaimable_peak.and_then(of_limit).map(Percent::get),
            run_peak,
            first_was_cold,
            trials,
        })
    }
}

/// The trials that show what a startup needs: those under the limit that were not killed, or else the
/// repetitions without one.
fn whole(trials: &[Trial]) -> Vec<&Trial> {
    let of = |unlimited| {
        let rows = trials.iter().filter(move |row| row.unlimited == unlimited && !row.killed);
        rows.collect::<Vec<_>>()
    };
    let limited = of(false);
    if limited.is_empty() { of(true) } else { limited }
}

fn ratio(trials: &[&Trial]) -> Option<f64> {
    let ratio = |row: &&Trial| {
        let (peak, settled) = (row.unreclaimable_peak?.as_f64(), row.settled?.as_f64());
        (settled > 0.0).then(|| peak / settled)
    };
    Spread::of(trials.iter().filter_map(ratio)).map(|spread| spread.median)
}

fn spread(trials: &[&Trial]) -> StartupSpread {
    let bytes = |of: fn(&Trial) -> Option<Bytes>| {
        Spread::of(trials.iter().filter_map(|row| Some(of(row)?.as_f64())))
    };
    StartupSpread {
        ready_ms: Spread::of(trials.iter().filter_map(|row| row.ready_ms)),
        peak: bytes(|row| row.peak),
        unreclaimable_peak: bytes(|row| row.unreclaimable_peak),
        settled: bytes(|row| row.settled),
    }
}

/// Looks at trials while they run, to tell when there are enough of them.
#[derive(Debug, Default)]
pub struct StartupWatch {
    places: Places,
    trials: Trials,
}

impl StartupWatch {
    /// Takes in an event.
    pub fn feed(&mut self, event: &Event) {
        for placed in self.places.feed(event).windows(event) {
            self.trials.memory(&placed);
        }
        self.trials.feed(event);
    }

    /// Whether the trials so far came out so much alike that more would tell nothing new: at least
    /// two, their unreclaimable peaks within 2 % and their times to ready within a quarter.
    #[must_use]
    pub fn enough(&self) -> bool {
        self.trials.enough()
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
        trials.finish(Limit::Unlimited, None).unwrap().first_was_cold
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

    #[test]
    fn why_there_are_no_more_trials_is_kept() {
        let mut trials = Trials::default();
        let start = LifeStart {
            life: LifeId(1),
            role: LifeRole::Trial { number: 1 },
            limit: Limit::Unlimited,
        };
        let done = TrialsDone { planned: 5, end: crate::event::TrialsEnd::Steady };
        for what in [What::Life(start), What::TrialsDone(done)] {
            trials.feed(&Event { at: Moment::START, what });
        }
        let startup = trials.finish(Limit::Unlimited, None).unwrap();
        assert_eq!((startup.planned, startup.end), (Some(5), Some(done.end)));
        assert_eq!((startup.ratio, startup.limit_percent, startup.over_run()), (None, None, None));
        assert_eq!(startup.spread, StartupSpread::default());
        assert_eq!(Trials::default().finish(Limit::Unlimited, None), None);
    }
}
