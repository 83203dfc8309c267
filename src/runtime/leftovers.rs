//! What killed runs left behind, and how it is told from what live runs use.
//!
//! Each run writes a line about itself, its process and that process's start time, into a file
//! named by the run's id. A run is live while that very process is.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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

/// What is said of cgroups that are left.
const GROUPS: &str = "cgroups";

/// Where runs of root, and of all others, note themselves.
const REGISTRIES: [&str; 2] = ["/run/highwater", "/tmp/highwater"];

fn registry() -> &'static Path {
    Path::new(REGISTRIES[usize::from(!nix::unistd::geteuid().is_root())])
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
    make_shared(dir).and_then(|()| fs::write(&path, line)).map_err(|source| Error::File {
        action: "write",
        path,
        source,
    })
}

/// Makes a directory in which every user may note runs, and nobody remove others' notes.
fn make_shared(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o1777))
}

/// Whether the process that owns a run lives.
fn is_live(run_id: &str) -> bool {
    let mut notes = REGISTRIES.iter().map(|dir| Path::new(dir).join(run_id));
    let Some(text) = notes.find_map(|path| fs::read_to_string(path).ok()) else {
        return false;
    };
    let mut fields = text.split_whitespace();
    let pid = fields.next().and_then(|pid| pid.parse().ok());
    let started: Option<u64> = fields.next().and_then(|time| time.parse().ok());
    pid.is_some_and(|pid| start_time(pid).is_some_and(|time| Some(time) == started))
}

/// Removes a run's cgroups and its line in the registry.
pub(super) async fn forget(hierarchies: Option<&Hierarchies>, run_id: &str) -> Result<(), Error> {
    let removed = match hierarchies.cloned() {
        Some(hierarchies) => {
            let id = run_id.to_owned();
            tokio::task::spawn_blocking(move || cgroup::remove_run(&hierarchies, &id))
                .await
                .expect("removing groups does not panic")
        }
        None => Ok(()),
    };
    for dir in REGISTRIES {
        let _ = fs::remove_file(Path::new(dir).join(run_id));
    }
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
    // Without an engine there are no containers to look for.
    let engine = docker::Engine::connect().await.ok();
    let containers: BTreeSet<String> = match &engine {
        Some(engine) => engine.runs().await?,
        None => BTreeSet::new(),
    };
    let noted: BTreeSet<String> = fs::read_dir(registry())
        .map(|entries| entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect())
        .unwrap_or_default();
    let runs: BTreeSet<&String> = groups.iter().chain(&containers).chain(&noted).collect();
    let mut dead = Vec::new();
    for run_id in runs.into_iter().filter(|run_id| !is_live(run_id)) {
        let has_helper = match &engine {
            Some(engine) => engine.has_helper(run_id).await,
            None => false,
        };
        // A helper ends with its run: this one goes on elsewhere.
        if !has_helper {
            dead.push(run_id);
        }
    }
    Ok(dead
        .into_iter()
        .map(|run_id| {
            let mut what = Vec::new();
            for (found, name) in [(&containers, "containers or images"), (&groups, GROUPS)] {
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
    let hierarchies = Hierarchies::discover().ok();
    let is_root = nix::unistd::geteuid().is_root();
    for leftover in found {
        if let Some(engine) = &engine {
            if !is_root && leftover.what.contains(&GROUPS) {
                engine.remove_groups_by_helper(&leftover.run_id).await?;
            }
            engine.remove_all_of(&leftover.run_id).await?;
        }
        forget(hierarchies.as_ref().filter(|_| is_root), &leftover.run_id).await?;
    }
    Ok(())
}
