//! Groups of our own: one tree a run, nested groups a life, gone at the end.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cgroups_rs::fs::cgroup_builder::CgroupBuilder;
use cgroups_rs::fs::hierarchies;
use serde::{Deserialize, Serialize};

use super::{Error, Hierarchies, Place, Version};
use crate::units::{Bytes, Limit};

/// The start of the name of every group that we make.
pub const PREFIX: &str = "highwater-";

/// How often removing a group is tried: a dead process leaves it a little later than it ends.
const REMOVE_TRIES: u32 = 200;
const REMOVE_PAUSE: Duration = Duration::from_millis(10);

/// The groups of one run: `/highwater-<run id>`.
#[derive(Debug, Clone)]
pub struct Tree {
    hierarchies: Hierarchies,
    group: String,
}

/// The nested groups of one life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nest {
    /// The life's outermost group: `/highwater-<run id>/<life>`.
    pub outer: String,
    /// Its innermost, below which the container's own is made.
    pub inner: String,
    lifetime: PathBuf,
    resets: Vec<PathBuf>,
}

/// The limits of a group.
#[derive(Debug, Clone, Copy)]
pub struct GroupLimits {
    /// Memory, without swap.
    pub memory: Limit,
    /// CPU time per wall time, in cores.
    pub cpus: Option<f64>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

impl Tree {
    /// Makes a run's group.
    ///
    /// # Errors
    /// When we may not make groups here.
    pub fn create(hierarchies: &Hierarchies, run_id: &str) -> Result<Self, Error> {
        let tree = Self { hierarchies: hierarchies.clone(), group: format!("/{PREFIX}{run_id}") };
        tree.make(&tree.group)?;
        Ok(tree)
    }

    /// The hierarchies that it is in.
    #[must_use]
    pub const fn hierarchies(&self) -> &Hierarchies {
        &self.hierarchies
    }

    /// Makes the nested groups of one life: an outer one that is never reset, and inside it the two
    /// that are, each with a mark of its own.
    ///
    /// # Errors
    /// When they can't be made.
    pub fn nest(&self, life: &str) -> Result<Nest, Error> {
        let outer = format!("{}/{life}", self.group);
        let groups = ["a", "a/b"].map(|name| format!("{outer}/{name}"));
        for group in std::iter::once(&outer).chain(&groups) {
            self.make(group)?;
        }
        let dir = |group: &String| self.hierarchies.memory_dir(group);
        let (lifetime, resets) = (dir(&outer), groups.iter().map(dir).collect());
        let inner = groups.last().cloned().unwrap_or_else(|| outer.clone());
        Ok(Nest { outer, inner, lifetime, resets })
    }

    /// Makes one group in the hierarchy that accounts for memory.
    fn make(&self, group: &str) -> Result<(), Error> {
        let path = self.hierarchies.memory_dir(group);
        fs::create_dir_all(&path).map_err(|source| Error::Make { path: path.clone(), source })?;
        match self.hierarchies.version() {
            // Since 5.11 always so; before, charges of children must be asked to count here too.
            Version::V1 => drop(fs::write(path.join("memory.use_hierarchy"), "1")),
            Version::V2 => {
                for controller in ["+memory", "+cpu", "+pids", "+io"] {
                    let _ = fs::write(path.join("cgroup.subtree_control"), controller);
                }
            }
        }
        Ok(())
    }

    /// Makes a limited group for a process of ours below a nest's innermost. Gives its name.
    ///
    /// # Errors
    /// When it can't be made or limited.
    pub fn limited_leaf(&self, nest: &Nest, limits: &GroupLimits) -> Result<String, Error> {
        let group = format!("{}/app", nest.inner);
        let refused = |source| Error::Limit { group: group.clone(), source };
        let controllers = ["memory", "cpu", "cpuacct", "pids"];
        let v2 = self.hierarchies.version() == Version::V2;
        let wanted = controllers.iter().filter(|name| !v2 || **name != "cpuacct");
        let mut builder = CgroupBuilder::new(group.trim_start_matches('/'))
            .set_specified_controllers(wanted.map(|name| (*name).to_owned()).collect());
        if let Limit::Bytes(bytes) = limits.memory {
            builder = builder.memory().memory_hard_limit(signed(bytes)).done();
        }
        if let Some(cpus) = limits.cpus {
            let period = 100_000_u32;
            #[expect(clippy::cast_possible_truncation, reason = "a scenario's cpus are below 10^6")]
            let quota = (cpus * f64::from(period)).round() as i64;
            builder = builder.cpu().period(u64::from(period)).quota(quota).done();
        }
        if let Some(pids) = limits.pids {
            let most = cgroups_rs::fs::MaxValue::Value(i64::from(pids));
            builder = builder.pid().maximum_number_of_processes(most).done();
        }
        let made = builder.build(hierarchies::auto()).map_err(refused)?;
        drop(made);
        if let Limit::Bytes(bytes) = limits.memory {
            self.forbid_swap(&group, bytes);
        }
        for dir in self.hierarchies.counting_dirs(&group) {
            // Without it some vitals are not known, no more.
            let _ = fs::create_dir_all(dir);
        }
        Ok(group)
    }

    /// Swap is off: v1 counts memory and swap together, v2 swap alone. Without swap accounting the
    /// files are not there, and nothing is to be forbidden.
    fn forbid_swap(&self, group: &str, memory: Bytes) {
        let dir = self.hierarchies.memory_dir(group);
        let _ = match self.hierarchies.version() {
            Version::V1 => {
                fs::write(dir.join("memory.memsw.limit_in_bytes"), memory.get().to_string())
            }
            Version::V2 => fs::write(dir.join("memory.swap.max"), "0"),
        };
    }

    /// The peak that a life's outer group kept.
    #[must_use]
    pub fn lifetime_peak(&self, nest: &Nest) -> Option<Bytes> {
        let file = match self.hierarchies.version() {
            Version::V1 => "memory.max_usage_in_bytes",
            Version::V2 => "memory.peak",
        };
        let text = fs::read_to_string(nest.lifetime.join(file)).ok()?;
        text.trim().parse().ok().map(Bytes::new)
    }

    /// Removes the groups of a life in every hierarchy; what still runs in them is killed.
    ///
    /// # Errors
    /// When one of them stays.
    pub fn remove_life(&self, nest: &Nest) -> Result<(), Error> {
        self.remove_group(&nest.outer)
    }

    /// Removes everything of the run.
    ///
    /// # Errors
    /// When a group stays.
    pub fn remove(&self) -> Result<(), Error> {
        self.remove_group(&self.group)
    }

    fn remove_group(&self, group: &str) -> Result<(), Error> {
        let dirs = self.hierarchies.all_dirs(group);
        thaw(&dirs);
        dirs.iter().try_for_each(|dir| remove_dir(dir))
    }
}

impl Nest {
    /// Where a container lives whose own group is a directory below the innermost.
    #[must_use]
    pub fn place(&self, hierarchies: &Hierarchies, leaf: &str) -> Place {
        Place {
            version: hierarchies.version(),
            lifetime: Some(self.lifetime.clone()),
            resets: self.resets.clone(),
            leaf: hierarchies.memory_dir(&format!("{}/{leaf}", self.inner)),
        }
    }
}

fn signed(bytes: Bytes) -> i64 {
    i64::try_from(bytes.get()).unwrap_or(i64::MAX)
}

/// The ids of runs that have groups here.
#[must_use]
pub fn runs_with_groups(hierarchies: &Hierarchies) -> Vec<String> {
    let mut runs: Vec<String> = hierarchies
        .all_dirs("/")
        .iter()
        .filter_map(|root| fs::read_dir(root).ok())
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix(PREFIX).map(str::to_owned))
        .collect();
    runs.sort();
    runs.dedup();
    runs
}

/// Whether anything runs in the groups of a run, by its id.
#[must_use]
pub fn run_is_used(hierarchies: &Hierarchies, run_id: &str) -> bool {
    let dirs = hierarchies.all_dirs(&format!("/{PREFIX}{run_id}"));
    dirs.iter().flat_map(|dir| groups_below(dir)).any(|group| {
        fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|text| !text.trim().is_empty())
    })
}

/// Removes all groups of a run, by its id.
///
/// # Errors
/// When a group stays.
pub fn remove_run(hierarchies: &Hierarchies, run_id: &str) -> Result<(), Error> {
    Tree { hierarchies: hierarchies.clone(), group: format!("/{PREFIX}{run_id}") }.remove()
}

/// Sends SIGKILL to every process in a group and the groups below it.
pub fn kill_all(dir: &Path) {
    if fs::write(dir.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    for group in groups_below(dir) {
        let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 1) {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// Lets the processes of a group and of the groups below it run again, where somebody froze them:
/// `dirs` are its directories, one a hierarchy. On v1 a frozen process does not even die.
pub fn thaw(dirs: &[PathBuf]) {
    for group in dirs.iter().flat_map(|dir| groups_below(dir)) {
        // Only one of the files is there, if any.
        for (file, word) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
            let file = fs::OpenOptions::new().write(true).open(group.join(file));
            let _ = file.and_then(|mut file| file.write_all(word.as_bytes()));
        }
    }
}

/// A group's directory and all below it, innermost first.
fn groups_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Ok(entries) = fs::read_dir(dir) {
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir())) {
            found.extend(groups_below(&entry.path()));
        }
    }
    found.push(dir.to_owned());
    found
}

fn remove_dir(dir: &Path) -> Result<(), Error> {
    if !dir.exists() {
        return Ok(());
    }
    let mut last = None;
    for attempt in 0..REMOVE_TRIES {
        if attempt > 0 {
            std::thread::sleep(REMOVE_PAUSE);
        }
        kill_all(dir);
        let removed = groups_below(dir).iter().try_for_each(|group| match fs::remove_dir(group) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        });
        match removed {
            Ok(()) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    let source = last.unwrap_or_else(|| io::Error::other("it stays"));
    Err(Error::Remove { path: dir.to_owned(), source })
}
