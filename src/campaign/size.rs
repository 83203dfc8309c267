//! The search for the smallest limit that survives: which runs are made, what is kept of them, and
//! what they come to.
//!
//! Each run is a whole one (fresh containers, a startup trial, the phases that say `size`) in a
//! directory of its own below that of the search. What the search goes by is kept in
//! `size.jsonl`, a line for each run, so that an interrupted search goes on where it stopped. The
//! search itself is [`search`], which knows nothing of runs.
//!
//! Rules that are a share of the limit would fail near the edge by their making: runs are not held
//! to them, and the recommendation leaves the room that they ask for.

mod conclusion;
mod error;
pub mod search;
mod state;

use std::path::Path;

use search::{Fate, Scope, Step, Tried};

pub use conclusion::{Stopped, findings};
pub use error::Error;
pub use state::{Header, checksum};

use crate::analysis::{SizeEnding, SizeRun};
use crate::plan::{Bound, Metric, OnOom, Operator, Plan};
use crate::units::Limit;

/// A search under way, or one that was read back.
#[derive(Debug)]
pub struct Search {
    header: Header,
    runs: Vec<SizeRun>,
    state: state::State,
}

impl Search {
    /// Whether a directory holds a search.
    #[must_use]
    pub fn is_in(directory: &Path) -> bool {
        state::is_in(directory)
    }

    /// Begins a search in a directory, or goes on with the one that is there.
    ///
    /// # Errors
    /// When the directory can't be used, or holds the search of another scenario.
    pub fn begin(directory: &Path, header: Header) -> Result<Self, Error> {
        if Self::is_in(directory) {
            return Self::open(directory)?.go_on(directory, header);
        }
        let state = state::State::create(directory, &header)?;
        Ok(Self { header, runs: Vec::new(), state })
    }

    /// Goes on, perhaps further than it was to go before.
    fn go_on(mut self, directory: &Path, header: Header) -> Result<Self, Error> {
        if !self.header.is_of_same(&header) {
            return Err(Error::Another { path: directory.to_owned() });
        }
        if self.header.scope != header.scope {
            self.state.go_further(&header)?;
            self.header = header;
        }
        Ok(self)
    }

    /// Reads a search back.
    ///
    /// # Errors
    /// When there is none, or it can't be read.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let (state, header, runs) = state::State::open(directory)?;
        Ok(Self { header, runs, state })
    }

    /// Keeps a run.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn add(&mut self, run: SizeRun) -> Result<(), Error> {
        self.state.append(&run)?;
        self.runs.push(run);
        Ok(())
    }

    /// What the search is about.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The runs that were made.
    #[must_use]
    pub fn runs(&self) -> &[SizeRun] {
        &self.runs
    }

    /// Whether there would be more to do, had it more runs.
    fn is_out_of_runs(&self) -> bool {
        let scope = Scope { runs: u32::MAX, ..self.header.scope };
        self.next() == Step::End && self.step(&scope) != Step::End
    }

    /// What comes next.
    #[must_use]
    pub fn next(&self) -> Step {
        self.step(&self.header.scope)
    }

    fn step(&self, scope: &Scope) -> Step {
        let roomy = self.runs.iter().find(|run| !run.is_dead());
        if roomy.is_some_and(|run| run.leaks) || self.hopeless().is_some() {
            return Step::End;
        }
        search::next(scope, &self.tried())
    }

    /// Rules that were broken in every run that was not killed, whatever its limit.
    fn always_broken(&self) -> Vec<&str> {
        let mut alive = self.runs.iter().filter(|run| !run.is_dead());
        let Some(first) = alive.next() else { return Vec::new() };
        let rest: Vec<&SizeRun> = alive.collect();
        let each = first.broken.iter().filter(|rule| rest.iter().all(|r| r.broken.contains(rule)));
        each.map(String::as_str).collect()
    }

    /// Why no limit can help: the target ended without having been killed, in each run.
    #[must_use]
    pub fn hopeless(&self) -> Option<&str> {
        const ENOUGH: usize = 2;
        let ended = |run: &&SizeRun| matches!(run.ending, SizeEnding::Ended(_));
        let all = self.runs.iter().take_while(ended).count();
        match self.runs.first().map(|run| &run.ending) {
            Some(SizeEnding::Ended(text)) if all >= ENOUGH.min(self.runs.len()) => {
                Some(text.as_str())
            }
            _ => None,
        }
    }

    fn tried(&self) -> Vec<Tried> {
        tried(&self.runs)
    }

    /// The directory (within the search's) of the run that says most: under the recommended limit,
    /// or else the last that survived, or the last.
    #[must_use]
    pub fn telling_run(&self) -> Option<&str> {
        let tried = self.tried();
        let recommended = search::conclude(&self.header.scope, &tried).recommended;
        let rows = || self.runs.iter().zip(&tried).rev();
        let proof = rows().find(|(run, _)| recommended.map(Limit::Bytes) == Some(run.limit));
        let survived = || rows().find(|(_, row)| row.fate == Fate::Survived);
        let proof = proof.filter(|_| recommended.is_some());
        let found = proof.or_else(survived).or_else(|| rows().next());
        found.map(|(run, _)| run.directory.as_str())
    }
}

fn tried(runs: &[SizeRun]) -> Vec<Tried> {
    let rows = runs.iter().zip(fates(runs));
    rows.map(|(run, (fate, _))| Tried {
        limit: run.limit,
        fate,
        need: run.need,
        spread: run.spread_percent.unwrap_or(0.0) / 100.0,
    })
    .collect()
}

/// Reads a search's text and goes on with it, for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(text: &str) {
    if let Ok((header, runs)) = state::read(text) {
        let tried = tried(&runs);
        let _ = (search::next(&header.scope, &tried), search::conclude(&header.scope, &tried));
    }
}

/// How each run went, and why those that did not survive did not. The measure is the run with the
/// most room.
fn fates(runs: &[SizeRun]) -> Vec<(Fate, Option<String>)> {
    let rank = |run: &&SizeRun| run.limit.bytes().map_or(u64::MAX, crate::units::Bytes::get);
    let alive = runs.iter().filter(|run| !run.is_dead());
    let room = alive.max_by_key(rank);
    let fate = |run: &SizeRun| match &run.ending {
        SizeEnding::Killed(text) | SizeEnding::Ended(text) => (Fate::Killed, Some(text.clone())),
        _ => match room.filter(|room| room.limit != run.limit).and_then(|r| run.worse_than(r)) {
            Some(text) => (Fate::Thrashed, Some(text)),
            None => (Fate::Survived, None),
        },
    };
    runs.iter().map(fate).collect()
}

/// The plan of each run of a search: its phases are those that say `size`, and rules that are a
/// share of the limit are left out. Gives these, too.
///
/// # Errors
/// When no phase is left.
pub fn plan_of_runs(mut plan: Plan) -> Result<(Plan, Vec<String>), Error> {
    let all = plan.phases.len();
    plan.phases.retain(|phase| phase.size);
    if plan.phases.is_empty() {
        return Err(Error::NoPhase { phases: all });
    }
    plan.startup.trials = plan.startup.trials.min(1);
    plan.on_oom = OnOom::Stop;
    let shares = plan.rules.iter().filter(|rule| rule.needs_limit());
    let shares = shares.map(|rule| format!("{} {}", rule.selector, rule.text)).collect();
    plan.rules.retain(|rule| !rule.needs_limit());
    Ok((plan, shares))
}

/// How many times what was held the limit has to be for the rules that are a share of it.
#[must_use]
pub fn room_of(plan: &Plan) -> f64 {
    let rooms = plan.rules.iter().filter_map(|rule| {
        let upper = matches!(rule.operator, Operator::Less | Operator::AtMost);
        match rule.bound {
            Bound::PercentOfLimit(percent)
                if upper
                    && percent > 0.0
                    && matches!(rule.metric, Metric::Memory | Metric::Startup) =>
            {
                // A hair more, for what is less than the bound is not equal to it.
                Some(100.5 / percent)
            }
            _ => None,
        }
    });
    rooms.fold(1.0, f64::max)
}

/// The limit of a run, put into its plan.
#[must_use]
pub fn under(plan: &Plan, limit: Limit) -> Plan {
    let mut plan = plan.clone();
    plan.target.limits.memory = limit;
    plan
}

/// The scope of a search, where nothing else is said.
#[must_use]
pub fn scope(plan: &Plan, least: crate::units::Bytes, most: crate::units::Bytes) -> Scope {
    let start = match plan.target.limits.memory {
        Limit::Bytes(limit) => Limit::Bytes(limit.clamp(least, most)),
        Limit::Unlimited => Limit::Unlimited,
    };
    Scope { start, least, most, runs: MOST_RUNS, proofs: PROOFS, room: room_of(plan) }
}

/// Runs that a search takes at most.
pub const MOST_RUNS: u32 = 12;
/// Runs under the recommended limit.
pub const PROOFS: u32 = 3;
