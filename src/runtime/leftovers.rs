//! What killed runs left behind, and how it is told from what live runs use.
//!
//! All that a run makes carries its id: containers, images and cgroups by name and label, files by
//! name; and it keeps a [`note`] of itself. A run is live while that note is locked by its process.
//! Where the note can't be seen, as of a run in a container or on another machine, the owner that
//! is labelled on its containers and images tells; where that can't be looked up either, the run
//! may be live, and nothing is touched unless it is asked for by its id.

mod note;
mod owner;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Error, docker};
use crate::cgroup::{self, Hierarchies};

pub use note::Scratch;
pub(super) use note::{Note, forget as forget_note, is_run_id};
pub(super) use owner::{Fate, Owner};

/// A run of which something is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    run_id: String,
    what: Vec<&'static str>,
}

impl Leftover {
    /// The run's id.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.run_id
    }
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {}: {}", self.run_id, self.what.join(", "))
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Of runs that are no more.
    pub dead: Vec<Leftover>,
    /// Of runs of which it can't be told from here whether they go on.
    pub unknown: Vec<Leftover>,
    /// The ids of runs that go on.
    pub live: BTreeSet<String>,
}

/// Whether a run goes on, as far as can be told from here.
#[must_use]
pub fn goes_on(run_id: &str) -> bool {
    let note = is_run_id(run_id).then(|| note::Found::of(run_id)).flatten();
    note.is_some_and(|note| note.fate() == Fate::Live)
}

/// What is said of cgroups that are left.
const GROUPS: &str = "cgroups";

/// Removes a run's cgroups.
pub(super) async fn remove_groups(hierarchies: &Hierarchies, run_id: &str) -> Result<(), Error> {
    let (hierarchies, id) = (hierarchies.clone(), run_id.to_owned());
    let removed = tokio::task::spawn_blocking(move || cgroup::remove_run(&hierarchies, &id)).await;
    Ok(removed.expect("removing groups does not panic")?)
}

/// Removes a run's cgroups and its note.
pub(super) async fn forget(hierarchies: Option<&Hierarchies>, run_id: &str) -> Result<(), Error> {
    if let Some(hierarchies) = hierarchies {
        // Where something stays, the note is what makes it be found.
        remove_groups(hierarchies, run_id).await?;
    }
    note::forget(run_id);
    Ok(())
}

/// Finds what runs have left, those that go on too.
///
/// # Errors
/// When Docker answers and can't be asked.
pub async fn leftovers() -> Result<Leftovers, Error> {
    let hierarchies = Hierarchies::discover().ok();
    let groups = hierarchies.as_ref().map(cgroup::runs_with_groups).unwrap_or_default();
    let groups: BTreeSet<String> = groups.into_iter().filter(|id| is_run_id(id)).collect();
    // Without an engine there are no containers to look for.
    let engine = docker::Engine::connect().await.ok();
    let containers = match &engine {
        Some(engine) => engine.runs().await?,
        None => BTreeMap::new(),
    };
    let noted = note::noted();
    let runs: BTreeSet<&String> = groups.iter().chain(containers.keys()).chain(&noted).collect();
    let mut found = Leftovers::default();
    for run_id in runs {
        let note = note::Found::of(run_id);
        let fate = match &note {
            Some(note) => note.fate(),
            None => {
                fate_without_note(run_id, &containers, engine.as_ref(), hierarchies.as_ref()).await
            }
        };
        let files = note.is_some_and(|note| note.has_files(run_id));
        let kinds = [
            (containers.contains_key(run_id), "containers or images"),
            (groups.contains(run_id), GROUPS),
            (files, "files"),
        ];
        let mut what: Vec<_> =
            kinds.into_iter().filter_map(|(is_there, kind)| is_there.then_some(kind)).collect();
        if what.is_empty() {
            what.push("a note of it");
        }
        let leftover = Leftover { run_id: run_id.clone(), what };
        match fate {
            Fate::Dead => found.dead.push(leftover),
            Fate::Unknown => found.unknown.push(leftover),
            Fate::Live => drop(found.live.insert(run_id.clone())),
        }
    }
    Ok(found)
}

/// What became of a run whose note can't be seen.
async fn fate_without_note(
    run_id: &str,
    containers: &BTreeMap<String, Option<Owner>>,
    engine: Option<&docker::Engine>,
    hierarchies: Option<&Hierarchies>,
) -> Fate {
    // A helper ends with its run: one at work means that it goes on elsewhere.
    if let Some(engine) = engine
        && engine.has_helper(run_id).await
    {
        return Fate::Live;
    }
    match containers.get(run_id) {
        Some(Some(owner)) => owner.fate(),
        Some(None) => Fate::Unknown,
        // Cgroups alone: what runs in them may be somebody's.
        None => {
            let used = hierarchies.is_some_and(|all| cgroup::run_is_used(all, run_id));
            if used { Fate::Unknown } else { Fate::Dead }
        }
    }
}

/// Removes what was found.
///
/// # Errors
/// When something stays.
pub async fn remove_leftovers(found: &[Leftover]) -> Result<(), Error> {
    let engine = docker::Engine::connect().await.ok();
    let hierarchies = Hierarchies::discover().ok();
    let is_root = nix::unistd::geteuid().is_root();
    for leftover in found {
        let run_id = &leftover.run_id;
        if let Some(engine) = &engine {
            engine.remove_all_of(run_id).await?;
            if !is_root && leftover.what.contains(&GROUPS) {
                engine.remove_groups_by_helper(run_id).await?;
                engine.remove_all_of(run_id).await?;
            }
        }
        if let Some(note) = note::Found::of(run_id) {
            note.remove_files(run_id)?;
        }
        forget(hierarchies.as_ref().filter(|_| is_root), run_id).await?;
    }
    Ok(())
}
