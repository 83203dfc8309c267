//! What killed runs left behind, and how it is told from what live runs use.
//!
//! Each run writes a line about itself, its process and that process's start time, into a file
//! named by the run's id. A run is live while that very process is.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use super::{Error, docker};
use crate::cgroup::{self, Hierarchies};

/// A run that is no more, of which something is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    run_id: String,
    what: Vec<&'static str>,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {}: {}", self.run_id, self.what.join(", "))
    }
}

fn registry() -> PathBuf {
    let base = if nix::unistd::geteuid().is_root() {
        PathBuf::from("/run")
    } else {
        std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from)
    };
    base.join("highwater")
}

/// The start time of a process in clock ticks since boot, which with its id names it for good.
fn start_time(pid: i32) -> Option<u64> {
    procfs::process::Process::new(pid).ok()?.stat().ok().map(|stat| stat.starttime)
}

/// Notes that this process owns a run.
pub(super) fn register(run_id: &str) -> Result<(), Error> {
    let dir = registry();
    let path = dir.join(run_id);
    let pid = std::process::id().cast_signed();
    let line = format!("{pid} {}\n", start_time(pid).unwrap_or_default());
    fs::create_dir_all(&dir).and_then(|()| fs::write(&path, line)).map_err(|source| Error::File {
        action: "write",
        path,
        source,
    })
}

/// Whether the process that owns a run lives.
fn is_live(run_id: &str) -> bool {
    let Ok(text) = fs::read_to_string(registry().join(run_id)) else {
        return false;
    };
    let mut fields = text.split_whitespace();
    let pid = fields.next().and_then(|pid| pid.parse().ok());
    let started: Option<u64> = fields.next().and_then(|time| time.parse().ok());
    pid.is_some_and(|pid| start_time(pid).is_some_and(|time| Some(time) == started))
}

/// Removes a run's cgroups and its line in the registry.
pub(super) async fn forget(hierarchies: &Hierarchies, run_id: &str) -> Result<(), Error> {
    let (hierarchies, id) = (hierarchies.clone(), run_id.to_owned());
    let removed = tokio::task::spawn_blocking(move || cgroup::remove_run(&hierarchies, &id))
        .await
        .expect("removing groups does not panic");
    let _ = fs::remove_file(registry().join(run_id));
    Ok(removed?)
}

/// Finds what killed runs left behind.
///
/// # Errors
/// When neither cgroups nor Docker can be looked at.
pub async fn leftovers() -> Result<Vec<Leftover>, Error> {
    let groups: BTreeSet<String> = Hierarchies::discover()
        .map(|hierarchies| cgroup::runs_with_groups(&hierarchies).into_iter().collect())
        .unwrap_or_default();
    let containers: BTreeSet<String> = match docker::Engine::connect().await {
        Ok(engine) => engine.runs().await?,
        // Without an engine there are no containers to look for.
        Err(_) => BTreeSet::new(),
    };
    let noted: BTreeSet<String> = fs::read_dir(registry())
        .map(|entries| entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect())
        .unwrap_or_default();
    let runs: BTreeSet<&String> = groups.iter().chain(&containers).chain(&noted).collect();
    let dead = runs.into_iter().filter(|run_id| !is_live(run_id));
    Ok(dead
        .map(|run_id| {
            let mut what = Vec::new();
            for (found, name) in [(&containers, "containers or images"), (&groups, "cgroups")] {
                if found.contains(run_id) {
                    what.push(name);
                }
            }
            if what.is_empty() {
                what.push("a note of it");
            }
            Leftover { run_id: run_id.clone(), what }
        })
        .collect())
}

/// Removes what was found.
///
/// # Errors
/// When something stays.
pub async fn remove_leftovers(found: &[Leftover]) -> Result<(), Error> {
    let engine = docker::Engine::connect().await.ok();
    let hierarchies = Hierarchies::discover()?;
    for leftover in found {
        if let Some(engine) = &engine {
            engine.remove_all_of(&leftover.run_id).await?;
        }
        forget(&hierarchies, &leftover.run_id).await?;
    }
    Ok(())
}
