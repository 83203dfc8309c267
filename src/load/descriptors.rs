//! File descriptors: each connection takes one, and this process may have only so many.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::load::Error;
use crate::plan::{LoadModel, PhasePlan, UserCurve};

/// Descriptors of a worker: its event loop's own three and one to spare, besides a timer for each
/// load.
const OF_WORKER: u64 = 4;
/// Descriptors that may be opened meanwhile for other things, such as the recording's journal.
const ASIDE: u64 = 16;

/// Raises this process's soft limit of open files to the hard one, and sees whether that is enough
/// for the users of these phases, each with a connection of their own, and for `workers` threads.
///
/// How many connections an open load needs depends on the answers: those beyond the limit are
/// counted as [`crate::event::ErrorKind::Descriptors`].
///
/// # Errors
/// When there are more users than descriptors for them.
pub fn allow_connections(phases: &[PhasePlan], workers: usize) -> Result<(), Error> {
    suffice(raised_limit(), open_now(), phases, workers)
}

fn suffice(limit: u64, open: u64, phases: &[PhasePlan], workers: usize) -> Result<(), Error> {
    let loads = phases.iter().map(|phase| phase.loads.len() as u64).max().unwrap_or(0);
    let itself = open + workers as u64 * (OF_WORKER + loads) + ASIDE;
    let connections = most_users(phases);
    let needed = itself + connections;
    if needed > limit {
        return Err(Error::Descriptors { connections, needed, limit });
    }
    Ok(())
}

/// The limit of open files, as high as it may be set.
fn raised_limit() -> u64 {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < hard => {
            // Where it is refused, the soft limit stands.
            let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
            if raised.is_ok() { hard } else { soft }
        }
        Ok((soft, _)) => soft,
        // A limit that can't be read is met when it is.
        Err(_) => u64::MAX,
    }
}

/// How many descriptors this process has open.
fn open_now() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

/// The most users that closed loads have at once in any of the phases, at most: their greatest
/// numbers may lie at different times.
fn most_users(phases: &[PhasePlan]) -> u64 {
    let of_load = |model: &LoadModel| match model {
        LoadModel::Closed { stages, .. } => u64::from(UserCurve::new(stages).max()),
        LoadModel::Open(_) | LoadModel::Replay(_) | LoadModel::Timed { .. } => 0,
    };
    let of_phase = |phase: &PhasePlan| phase.loads.iter().map(|load| of_load(&load.model)).sum();
    phases.iter().map(of_phase).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::{LoadPlan, ScenarioChoice, UserStage};

    fn phase(users: &[u32]) -> PhasePlan {
        let length = Duration::from_secs(1);
        let load = |users: &u32| LoadPlan {
            scenario: ScenarioChoice::Mix,
            model: LoadModel::Closed {
                stages: vec![UserStage { from: 0, to: *users, length }],
                iterations: None,
            },
            start_after: Duration::ZERO,
        };
        PhasePlan {
            name: "test".to_owned(),
            length,
            loads: users.iter().map(load).collect(),
            tags: Vec::new(),
            size: false,
            stop_early: false,
            actions: Vec::new(),
        }
    }

    #[test]
    fn users_of_one_phase_add_up_and_phases_follow_each_other() {
        assert_eq!(most_users(&[phase(&[10, 20]), phase(&[25])]), 30);
        assert_eq!(most_users(&[]), 0);
    }

    #[test]
    fn more_users_than_descriptors_are_told() {
        let phases = [phase(&[100])];
        // 10 that are open, 2 workers with 5 each, and 16 aside.
        assert!(suffice(136, 10, &phases, 2).is_ok());
        let error = suffice(135, 10, &phases, 2).unwrap_err();
        assert!(error.to_string().contains("136") && error.to_string().contains("135"), "{error}");
        assert!(error.help().unwrap().contains("ulimit -n 136"), "{:?}", error.help());
    }
}
