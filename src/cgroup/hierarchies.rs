//! Where cgroup hierarchies are mounted, and which of them accounts for memory.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, Version};

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mount {
    /// Where its root is seen.
    point: PathBuf,
    /// The group that is seen there: `/`, unless only a part of the hierarchy is mounted.
    root: String,
    /// v1 controllers; empty for the unified hierarchy.
    controllers: Vec<String>,
    unified: bool,
}

/// The cgroup hierarchies of this host.
///
/// On a hybrid host both versions are mounted: memory belongs to v1 where a v1 hierarchy has the
/// controller, whatever the unified one looks like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchies {
    mounts: Vec<Mount>,
    memory: usize,
    version: Version,
}

impl Hierarchies {
    /// Finds the hierarchies of this host.
    ///
    /// # Errors
    /// When none accounts for memory.
    pub fn discover() -> Result<Self, Error> {
        let path = Path::new("/proc/self/mountinfo");
        let text = fs::read_to_string(path)
            .map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::from_mountinfo(&text, |point| {
            fs::read_to_string(point.join("cgroup.controllers")).unwrap_or_default()
        })
    }

    /// The hierarchies that a `/proc/PID/mountinfo` tells of. `unified_controllers` gives the text
    /// of `cgroup.controllers` in the unified hierarchy's root.
    ///
    /// # Errors
    /// When none accounts for memory.
    pub fn from_mountinfo(
        text: &str,
        unified_controllers: impl Fn(&Path) -> String,
    ) -> Result<Self, Error> {
        let mounts: Vec<Mount> = text.lines().filter_map(parse_mount).collect();
        let v1 = mounts.iter().position(|mount| mount.controllers.iter().any(|c| c == "memory"));
        let v2 = || {
            mounts.iter().position(|mount| {
                let controllers = || unified_controllers(&mount.point);
                mount.unified && controllers().split_whitespace().any(|c| c == "memory")
            })
        };
        let (memory, version) = match v1 {
            Some(index) => (index, Version::V1),
            None => (v2().ok_or(Error::NoMemory)?, Version::V2),
        };
        Ok(Self { mounts, memory, version })
    }

    /// Which version accounts for memory.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// How hierarchies are mounted: `v1`, `v2`, or `hybrid` where the unified one stands beside
    /// those of v1, one of which accounts for memory.
    #[must_use]
    pub fn layout(&self) -> &'static str {
        match self.version {
            Version::V2 => "v2",
            Version::V1 if self.mounts.iter().any(|mount| mount.unified) => "hybrid",
            Version::V1 => "v1",
        }
    }

    /// The directories of a group in the hierarchies that limit nothing and only count: I/O on v1,
    /// pressure in the unified one of a hybrid host.
    #[must_use]
    pub fn counting_dirs(&self, group: &str) -> Vec<PathBuf> {
        let counts = |mount: &&Mount| {
            mount.unified || mount.controllers.iter().any(|controller| controller == "blkio")
        };
        let mounts = self.mounts.iter().filter(|_| self.version == Version::V1).filter(counts);
        mounts.map(|mount| join(&mount.point, group)).collect()
    }

    /// The directory of a group (`/a/b`) in the hierarchy that accounts for memory.
    #[must_use]
    pub fn memory_dir(&self, group: &str) -> PathBuf {
        join(&self.mounts[self.memory].point, group)
    }

    /// The directories that a group has or could have, one a hierarchy.
    #[must_use]
    pub fn all_dirs(&self, group: &str) -> Vec<PathBuf> {
        self.mounts.iter().map(|mount| join(&mount.point, group)).collect()
    }

    /// The directory of a group in the hierarchy that has a controller.
    #[must_use]
    pub fn dir_with(&self, controller: &str, group: &str) -> Option<PathBuf> {
        let v1 = self.mounts.iter().find(|mount| mount.controllers.iter().any(|c| c == controller));
        let unified = || self.mounts.iter().find(|mount| mount.unified);
        let mount = match self.version {
            Version::V1 => v1,
            Version::V2 => v1.or_else(unified),
        };
        mount.map(|mount| join(&mount.point, group))
    }

    /// The group that a process is in, as the hierarchy that accounts for memory has it; none
    /// once the process is gone.
    #[must_use]
    pub fn group_of(&self, pid: i32) -> Option<String> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        group_in(&text, self.version)
    }

    /// Where the hierarchy that accounts for memory is mounted.
    #[must_use]
    pub fn memory_root(&self) -> &Path {
        &self.mounts[self.memory].point
    }

    /// A group as it is below the mounts, for one that `/proc/PID/cgroup` tells of: less the part
    /// above what is mounted here. None where it lies outside.
    #[must_use]
    pub fn below_mount(&self, group: &str) -> Option<String> {
        let root = self.mounts[self.memory].root.trim_end_matches('/');
        let rest = group.strip_prefix(root)?;
        let inside = rest.is_empty() || rest.starts_with('/');
        (inside && !rest.split('/').any(|part| part == "..")).then(|| match rest {
            "" => "/".to_owned(),
            rest => rest.to_owned(),
        })
    }

    /// The group that a directory is, where it lies in the hierarchy that accounts for memory.
    #[must_use]
    pub fn group_at(&self, dir: &Path) -> Option<String> {
        let below = dir.strip_prefix(self.memory_root()).ok()?;
        Some(format!("/{}", below.to_str()?.trim_matches('/')))
    }

    /// The same group in the hierarchy that accounts for memory, for a directory in another one.
    #[must_use]
    pub fn elsewhere(&self, dir: &Path) -> Option<PathBuf> {
        let mount = self.mounts.iter().find(|mount| dir.starts_with(&mount.point))?;
        Some(self.memory_root().join(dir.strip_prefix(&mount.point).ok()?))
    }
}

fn join(point: &Path, group: &str) -> PathBuf {
    point.join(group.trim_start_matches('/'))
}

/// A line of mountinfo: `36 35 98:0 /root /point rw,noatime shared:1 - type source options`.
/// See `proc_pid_mountinfo(5)`.
fn parse_mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut places = before.split(' ').skip(3).map(unescape);
    let (root, point) = (places.next()?, places.next()?);
    let mut fields = after.split(' ');
    let unified = match fields.next()? {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    let options = fields.nth(1).unwrap_or_default();
    let controllers = if unified {
        Vec::new()
    } else {
        options.split(',').filter(|name| !matches!(*name, "rw" | "ro")).map(str::to_owned).collect()
    };
    Some(Mount { point: PathBuf::from(point), root, controllers, unified })
}

/// Spaces and such stand as octal escapes in mountinfo.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

/// The group in a `/proc/PID/cgroup`: the line of the `memory` controller on v1, `0::` on v2.
fn group_in(text: &str, version: Version) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
        let ours = match version {
            Version::V1 => controllers.split(',').any(|name| name == "memory"),
            Version::V2 => id == "0" && controllers.is_empty(),
        };
        ours.then(|| group.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
        30 24 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n\
        31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n\
        33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        34 30 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n";

    #[test]
    fn on_a_hybrid_host_memory_is_v1() {
        let found = Hierarchies::from_mountinfo(HYBRID, |_| "cpu io".to_owned()).unwrap();
        assert_eq!(found.version(), Version::V1);
        assert_eq!(found.memory_dir("/a/b"), Path::new("/sys/fs/cgroup/memory/a/b"));
        assert_eq!(
            found.dir_with("cpuacct", "/x").unwrap(),
            Path::new("/sys/fs/cgroup/cpu,cpuacct/x")
        );
        assert_eq!(found.all_dirs("/x").len(), 3);
        assert_eq!(found.layout(), "hybrid");
        assert_eq!(found.counting_dirs("/x"), [Path::new("/sys/fs/cgroup/unified/x")]);
    }

    #[test]
    fn on_a_unified_host_memory_is_v2_where_its_controllers_say_so() {
        let text = "25 20 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let found = Hierarchies::from_mountinfo(text, |_| "cpuset cpu memory pids".to_owned());
        assert_eq!(found.unwrap().version(), Version::V2);
        let without = Hierarchies::from_mountinfo(text, |_| "cpuset cpu".to_owned());
        assert!(matches!(without, Err(Error::NoMemory)));
    }

    #[test]
    fn finds_a_group_where_only_a_part_is_mounted() {
        let text = "36 30 0:29 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let found = Hierarchies::from_mountinfo(text, |_| String::new()).unwrap();
        assert_eq!(found.below_mount("/docker/abc/x").as_deref(), Some("/x"));
        assert_eq!(found.below_mount("/docker/abc").as_deref(), Some("/"));
        assert_eq!(found.below_mount("/docker/abcdef"), None);
        let whole = Hierarchies::from_mountinfo(HYBRID, |_| String::new()).unwrap();
        assert_eq!(whole.below_mount("/a/b").as_deref(), Some("/a/b"));
        assert_eq!(whole.below_mount("/../b"), None, "outside of our namespace");
        let dir = Path::new("/sys/fs/cgroup/memory/a/b");
        assert_eq!(whole.group_at(dir).as_deref(), Some("/a/b"));
        let other = Path::new("/sys/fs/cgroup/cpu,cpuacct/a/b");
        assert_eq!(whole.group_at(other), None);
        assert_eq!(whole.elsewhere(other).as_deref(), Some(dir));
    }

    #[test]
    fn finds_the_group_of_a_process() {
        let text = "12:cpu,cpuacct:/x\n5:memory:/docker/abc\n0::/system.slice/docker.service\n";
        assert_eq!(group_in(text, Version::V1).unwrap(), "/docker/abc");
        assert_eq!(group_in(text, Version::V2).unwrap(), "/system.slice/docker.service");
        assert_eq!(group_in("", Version::V1), None);
    }
}
