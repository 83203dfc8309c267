//! What runs already: found by the name that a user gives, and followed until it ends.
//!
//! Nothing here starts, stops or changes a target. A container's cgroup is never guessed from its
//! id: the engine tells its first process, `/proc/PID/cgroup` tells that one's cgroup, and
//! `/proc/self/mountinfo` where it is seen.

mod error;
mod follow;
mod names;
mod process;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc::{Receiver, channel};

pub use error::AttachError;
pub use follow::Following;

use names::{is_container_name, near, up_to_id, why_refused};
use process::{others_in, start_time};

use super::docker::{Container, Engine};
use super::{Error, host};
use crate::cgroup::{Bounds, Hierarchies, LimitCounts, LimitReader, Place, Version, bounds};
use crate::clock::Clock;
use crate::event::{HostFacts, LifeId, WatchKind};
use crate::plan::Budget;
use crate::units::Limit;

/// Containers that may wait for being looked at after their start.
const STARTS: usize = Budget::TARGET_NEWS;

/// What a user wants to watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Containers, processes and cgroups by name.
    pub names: Vec<String>,
    /// All running containers.
    pub all: bool,
    /// Running containers with all these labels, `key` or `key=value`.
    pub labels: Vec<String>,
}

impl Wanted {
    /// Whether containers are looked for by what they have, so that others may come later.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.all || !self.labels.is_empty()
    }
}

/// Something that runs, and where its memory is read.
#[derive(Debug, Clone)]
pub struct Attached {
    /// Its name for people.
    pub name: String,
    /// What it was named by.
    pub kind: WatchKind,
    /// The container's id.
    pub id: Option<String>,
    /// Its image, or the executable of its process.
    pub program: Option<String>,
    /// Its cgroup in the hierarchy that accounts for memory.
    pub group: String,
    /// The same as directories.
    pub place: Place,
    /// The directories of its cgroup in all hierarchies, that with its memory first.
    pub dirs: Vec<PathBuf>,
    /// Its limit, and the peak before it was watched.
    pub bounds: Bounds,
    /// What the limit did before it was watched.
    pub counts: LimitCounts,
    /// What the reader of the report should know.
    pub notes: Vec<String>,
    identity: Identity,
    inode: u64,
}

/// What its end is told from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    /// With what the engine said of kills when it was attached.
    Container {
        oom_killed: bool,
    },
    /// A process id and its start time.
    Pid {
        pid: i32,
        started: u64,
    },
    Cgroup,
}

/// What there is of a target that has ended.
#[derive(Debug)]
pub enum Again {
    /// It runs again, in a new cgroup.
    Runs(Box<Attached>),
    /// It is about to be started again.
    Soon,
    /// It does not run.
    Over,
}

/// Finds what runs already.
#[derive(Debug)]
pub struct Attacher {
    hierarchies: Hierarchies,
    engine: Result<Engine, Error>,
}

impl Attacher {
    /// Looks where cgroups are, and for an engine; without one, processes and cgroups can still be
    /// watched.
    ///
    /// # Errors
    /// When no cgroup hierarchy accounts for memory.
    pub async fn connect() -> Result<Self, AttachError> {
        let hierarchies = Hierarchies::discover().map_err(Error::from)?;
        Ok(Self { hierarchies, engine: Engine::connect().await })
    }

    /// Which cgroup version accounts for memory.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.hierarchies.version()
    }

    /// What is known of this host.
    #[must_use]
    pub fn host_facts(&self) -> HostFacts {
        let mut facts = host::bare_host_facts();
        if let Ok(engine) = &self.engine {
            facts.docker = engine.version();
            facts.cgroup_driver = engine.cgroup_driver();
        }
        facts
    }

    /// Finds everything that is wanted, each cgroup once.
    ///
    /// # Errors
    /// When something is not there, does not run, or can't be read.
    pub async fn find(&self, wanted: &Wanted) -> Result<Vec<Attached>, AttachError> {
        let mut found = Vec::new();
        for name in &wanted.names {
            found.push(self.named(name).await?);
        }
        if wanted.is_open() {
            found.extend(self.matching(wanted).await?);
        }
        let mut seen = HashSet::new();
        found.retain(|row| seen.insert(row.place.leaf.clone()));
        Ok(found)
    }

    async fn matching(&self, wanted: &Wanted) -> Result<Vec<Attached>, AttachError> {
        let engine = match &self.engine {
            Ok(engine) => engine,
            // The reason is worth telling whole, and an error can't be copied: ask again.
            Err(_) => &Engine::connect().await?,
        };
        let labels: &[String] = if wanted.all { &[] } else { &wanted.labels };
        let mut found = Vec::new();
        for (id, _) in engine.running(labels).await? {
            match self.container(engine, &id).await {
                Ok(Some(attached)) => found.push(attached),
                // It ended meanwhile.
                Ok(None) | Err(AttachError::NotRunning { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if found.is_empty() && wanted.names.is_empty() {
            let running = engine.running(&[]).await?.len();
            let wanted = match wanted.labels.as_slice() {
                _ if wanted.all => "been started by anyone but Highwater".to_owned(),
                [one] => format!("the label `{one}`"),
                many => format!("all the labels {}", many.join(", ")),
            };
            return Err(AttachError::NoMatch { wanted, running });
        }
        Ok(found)
    }

    /// Finds one thing by its name.
    async fn named(&self, what: &str) -> Result<Attached, AttachError> {
        if let Some(name) = what.strip_prefix("container:") {
            return match self.container_named(name).await? {
                Ok(found) => Ok(found),
                Err(tried) => Err(self.no_such(name, vec![tried]).await),
            };
        }
        if let Some(path) = what.strip_prefix("cgroup:") {
            return self.cgroup(path);
        }
        let forced = what.strip_prefix("pid:");
        let number = forced.unwrap_or(what).parse::<i32>().ok().filter(|pid| *pid > 0);
        let mut tried = Vec::new();
        if let Some(pid) = number {
            if let Some(found) = self.process(pid)? {
                if forced.is_none() && self.is_exactly_a_container(what).await {
                    return Err(AttachError::Ambiguous { what: what.to_owned() });
                }
                return Ok(found);
            }
            tried.push(format!("no process has the id {pid}"));
        }
        if forced.is_some() {
            return Err(AttachError::NoSuch { what: what.to_owned(), tried, near: Vec::new() });
        }
        if what.contains('/') {
            return self.cgroup(what);
        }
        match self.container_named(what).await? {
            Ok(found) => return Ok(found),
            Err(reason) => tried.push(reason),
        }
        if number.is_none() {
            let dir = self.hierarchies.memory_dir(what);
            if dir.is_dir() && !what.is_empty() && what != "." && what != ".." {
                return self.cgroup(what);
            }
            tried.push(format!("no cgroup `{}`", dir.display()));
        }
        Err(self.no_such(what, tried).await)
    }

    async fn is_exactly_a_container(&self, name: &str) -> bool {
        let Ok(engine) = &self.engine else { return false };
        if !is_container_name(name) {
            return false;
        }
        let found = engine.look_for(name).await.ok().flatten();
        found.is_some_and(|found| found.name == name)
    }

    /// A container by name or id; else why there is none.
    async fn container_named(&self, name: &str) -> Result<Result<Attached, String>, AttachError> {
        match &self.engine {
            Err(error) => Ok(Err(error.to_string())),
            // Anything else would be another question to the engine.
            Ok(_) if !is_container_name(name) => {
                Ok(Err("that is no name of a container".to_owned()))
            }
            Ok(engine) => {
                let found = match self.container(engine, name).await {
                    Err(AttachError::Runtime(error)) => {
                        return Err(why_refused(engine, name, error).await);
                    }
                    found => found?,
                };
                Ok(found.ok_or_else(|| "no container has that name or id".to_owned()))
            }
        }
    }

    async fn container(
        &self,
        engine: &Engine,
        name: &str,
    ) -> Result<Option<Attached>, AttachError> {
        let Some(seen) = engine.look_for(name).await? else {
            return Ok(None);
        };
        let Some(pid) = seen.pid else {
            return Err(AttachError::NotRunning { name: seen.name, state: seen.state });
        };
        self.attach_container(engine, seen, pid).map(Some)
    }

    fn attach_container(
        &self,
        engine: &Engine,
        seen: Container,
        pid: i32,
    ) -> Result<Attached, AttachError> {
        let group = self.hierarchies.group_of(pid).filter(|_| engine.is_local());
        let Some(group) = group else {
            let address = std::env::var("DOCKER_HOST").unwrap_or_default();
            if engine.is_local() {
                // Its process went between two questions.
                return Err(AttachError::NotRunning { name: seen.name, state: "gone".to_owned() });
            }
            return Err(AttachError::Remote { name: seen.name, address });
        };
        // A container may have cgroups of its own inside: its own is the one with its id.
        let group = up_to_id(&group, &seen.id);
        let identity = Identity::Container { oom_killed: seen.oom_killed };
        let mut attached = self.attach(&seen.name, WatchKind::Container, group, identity)?;
        (attached.id, attached.program) = (Some(seen.id), seen.image);
        Ok(attached)
    }

    /// A process by its id; none where there is no such process.
    fn process(&self, pid: i32) -> Result<Option<Attached>, AttachError> {
        let Some(started) = start_time(pid) else { return Ok(None) };
        let Some(group) = self.hierarchies.group_of(pid) else { return Ok(None) };
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).ok();
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let name = format!("{}-{pid}", name.trim());
        let identity = Identity::Pid { pid, started };
        let mut attached = self.attach(&name, WatchKind::Pid, &group, identity)?;
        attached.program = program.map(|path| path.display().to_string());
        let others = others_in(&attached.place.leaf, pid);
        if let Some(others) = others {
            attached.notes.push(format!(
                "process {pid} shares its cgroup `{}` with {others}: memory is that of all of them",
                attached.group
            ));
        }
        Ok(Some(attached))
    }

    /// A cgroup by its directory, or by its place in the hierarchy that accounts for memory.
    fn cgroup(&self, what: &str) -> Result<Attached, AttachError> {
        let path = Path::new(what);
        let root = self.hierarchies.memory_root();
        let below_root = path.components().all(|part| {
            matches!(part, std::path::Component::Normal(_) | std::path::Component::RootDir)
        });
        let dir = match self.hierarchies.elsewhere(path) {
            _ if path.starts_with(root) => path.to_owned(),
            Some(instead) => return Err(AttachError::NoMemory { path: path.into(), instead }),
            None => self.hierarchies.memory_dir(what),
        };
        let dir = if below_root { dir.canonicalize().unwrap_or(dir) } else { path.to_owned() };
        if !dir.is_dir() {
            let tried = vec![format!("no directory `{}`", dir.display())];
            return Err(AttachError::NoSuch { what: what.to_owned(), tried, near: Vec::new() });
        }
        let Some(group) = self.hierarchies.group_at(&dir) else {
            let instead = root.to_owned();
            return Err(AttachError::NoMemory { path: dir, instead });
        };
        let name = group.trim_matches('/').to_owned();
        self.attach_dir(&name, WatchKind::Cgroup, &group, Identity::Cgroup)
    }

    /// A cgroup as `/proc/PID/cgroup` names it.
    fn attach(
        &self,
        name: &str,
        kind: WatchKind,
        group: &str,
        identity: Identity,
    ) -> Result<Attached, AttachError> {
        let below = self.hierarchies.below_mount(group);
        let Some(below) = below.filter(|below| self.hierarchies.memory_dir(below).is_dir()) else {
            let (what, group) = (name.to_owned(), group.to_owned());
            return Err(AttachError::Outside { what, group });
        };
        self.attach_dir(name, kind, &below, identity)
    }

    fn attach_dir(
        &self,
        name: &str,
        kind: WatchKind,
        group: &str,
        identity: Identity,
    ) -> Result<Attached, AttachError> {
        if group == "/" {
            let what = if name.is_empty() { "/" } else { name }.to_owned();
            return Err(AttachError::RootCgroup { what });
        }
        let version = self.hierarchies.version();
        let leaf = self.hierarchies.memory_dir(group);
        let unreadable = |file: &str| {
            let path = leaf.join(file);
            |source| AttachError::Unreadable { path, source }
        };
        let inode = inode_of(&leaf).ok_or_else(|| std::io::ErrorKind::NotFound.into());
        let inode = inode.map_err(unreadable(""))?;
        let level = match version {
            Version::V1 => "memory.usage_in_bytes",
            Version::V2 => "memory.current",
        };
        std::fs::read(leaf.join(level)).map_err(unreadable(level))?;
        let counts = LimitReader::open(version, &leaf).and_then(|reader| reader.read());
        let bounds = bounds(version, self.hierarchies.memory_root(), &leaf);
        let mut notes = Vec::new();
        if let Some(whose) = &bounds.inherited_from {
            let whose = self.hierarchies.group_at(whose).unwrap_or_default();
            notes.push(format!(
                "the limit of {} that binds {name} is set on the cgroup `{whose}` around it: what \
                 else runs there counts against it too",
                bounds.limit
            ));
        }
        let inside = children_of(&leaf);
        if version == Version::V1 && inside > 0 {
            notes.push(format!(
                "{name} has {inside} cgroups inside: on cgroup v1 their OOM kills and limit hits \
                 count in each of them alone. To see them, watch each"
            ));
        }
        let mut dirs = vec![leaf.clone()];
        dirs.extend(self.hierarchies.all_dirs(group).into_iter().filter(|dir| *dir != leaf));
        Ok(Attached {
            name: name.to_owned(),
            kind,
            id: None,
            program: None,
            group: group.to_owned(),
            place: Place { version, lifetime: None, resets: Vec::new(), leaf },
            dirs,
            bounds,
            counts: counts.unwrap_or_default(),
            notes,
            identity,
            inode,
        })
    }

    async fn no_such(&self, what: &str, tried: Vec<String>) -> AttachError {
        let running = match &self.engine {
            Ok(engine) => engine.running(&[]).await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let names = running.into_iter().map(|(_, name)| name).collect();
        AttachError::NoSuch { what: what.to_owned(), tried, near: near(what, names) }
    }

    /// What has become of a target that has ended.
    pub async fn again(&self, ended: &Attached) -> Again {
        let attached = match (ended.identity, &ended.id, &self.engine) {
            (Identity::Container { .. }, Some(id), Ok(engine)) => {
                let Ok(Some(seen)) = engine.look_for(id).await else { return Again::Over };
                let Some(pid) = seen.pid else {
                    return if seen.restarting { Again::Soon } else { Again::Over };
                };
                self.attach_container(engine, seen, pid).ok()
            }
            (Identity::Container { .. }, ..) => None,
            (Identity::Pid { pid, started }, ..) => {
                let same = start_time(pid) == Some(started);
                self.process(pid).ok().flatten().filter(|_| same)
            }
            (Identity::Cgroup, ..) => {
                self.attach_dir(&ended.name, WatchKind::Cgroup, &ended.group, Identity::Cgroup).ok()
            }
        };
        match attached {
            Some(attached) if attached.inode != ended.inode => Again::Runs(Box::new(attached)),
            _ => Again::Over,
        }
    }

    /// The limit that binds a target now; none where its cgroup is gone.
    #[must_use]
    pub fn limit_of(&self, attached: &Attached) -> Option<Limit> {
        let leaf = &attached.place.leaf;
        let there = inode_of(leaf) == Some(attached.inode);
        let root = self.hierarchies.memory_root();
        there.then(|| bounds(self.hierarchies.version(), root, leaf).limit)
    }

    /// A container that has just started; none where it is gone already.
    pub async fn started(&self, id: &str) -> Option<Attached> {
        let engine = self.engine.as_ref().ok()?;
        self.container(engine, id).await.ok().flatten()
    }

    /// The ids of containers that start from now on and are wanted too; none where only names were
    /// given.
    #[must_use]
    pub fn starts(&self, wanted: &Wanted) -> Option<Receiver<String>> {
        let engine = self.engine.as_ref().ok().filter(|_| wanted.is_open())?;
        let labels: &[String] = if wanted.all { &[] } else { &wanted.labels };
        let stream = engine.starts(labels);
        let (sender, receiver) = channel(STARTS);
        tokio::spawn(follow::forward(stream, sender));
        Some(receiver)
    }

    /// Follows a target: its OOM kills and its end.
    #[must_use]
    pub fn follow(&self, attached: &Attached, life: LifeId, clock: &Clock) -> Following {
        Following::start(attached, self.engine.as_ref().ok(), life, clock)
    }
}

/// How many cgroups are right inside one.
fn children_of(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).count()
}

/// The inode of a directory, which tells a cgroup from a later one of the same name.
fn inode_of(dir: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(dir).ok().map(|data| data.ino())
}
