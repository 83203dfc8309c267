//! Seeing when the target's own program takes the place of the container runtime's.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Watches the first processes of a container.
///
/// Before it runs the target, a runtime works inside the container's cgroup: runc names itself
/// `runc:[2:INIT]`, crun and our own native runtime still have their own executable.
#[derive(Debug)]
pub(super) struct ExecWatch {
    procs: PathBuf,
    own_executable: Option<PathBuf>,
}

impl ExecWatch {
    /// Watches the container whose own cgroup is (or will be) `leaf`.
    pub(super) fn new(leaf: &Path) -> Self {
        let own_executable = fs::read_link("/proc/self/exe").ok();
        Self { procs: leaf.join("cgroup.procs"), own_executable }
    }

    /// Whether a process of the target's own is there.
    pub(super) fn target_runs(&self) -> bool {
        let Ok(pids) = fs::read_to_string(&self.procs) else {
            return false;
        };
        pids.lines().any(|pid| self.is_target(&Path::new("/proc").join(pid)))
    }

    fn is_target(&self, process: &Path) -> bool {
        let Ok(name) = fs::read(process.join("comm")) else {
            return false;
        };
        // A process that just ended has no executable, and without rights it isn't seen.
        let executable = fs::read_link(process.join("exe")).ok();
        let own = executable.is_some() && executable == self.own_executable;
        !own && !is_runtime(&name, executable.as_deref())
    }
}

/// Whether a process is the container runtime's own, by its name and its executable. A target may
/// call itself anything: the name alone counts only where the executable is not seen.
fn is_runtime(name: &[u8], executable: Option<&Path>) -> bool {
    let named = |start: &[u8]| name.starts_with(start);
    let Some(path) = executable else {
        return named(b"runc:[") || named(b"crun:") || name.trim_ascii_end() == b"crun";
    };
    let path = path.as_os_str().as_bytes();
    // Both runtimes run from a copy of themselves in memory: `/memfd:runc_cloned:… (deleted)`.
    let runs = |program: &[u8]| {
        let file = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        file == program || path.starts_with(&[b"/memfd:", program].concat())
    };
    // A bind mount that is gone again is shown as the root.
    runs(b"crun") || (named(b"runc:[") && (runs(b"runc") || path == b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(name: &[u8], executable: Option<&str>) -> bool {
        is_runtime(name, executable.map(Path::new))
    }

    #[test]
    fn runtimes_are_told_from_targets_that_take_their_names() {
        let init = b"runc:[2:INIT]\n";
        for path in ["/usr/sbin/runc", "/memfd:runc_cloned:/proc/self/exe (deleted)", "/"] {
            assert!(runtime(init, Some(path)), "{path}");
        }
        assert!(runtime(init, None));
        assert!(runtime(b"crun\n", Some("/usr/bin/crun")));
        assert!(runtime(b"3\n", Some("/memfd:crun_cloned:/proc/self/exe (deleted)")));
        assert!(!runtime(init, Some("/app")));
        assert!(!runtime(b"crunch-server\n", Some("/usr/bin/crunch-server")));
        assert!(!runtime(b"crunch-server\n", None));
        assert!(!runtime(b"runc-exporter\n", Some("/usr/bin/runc-exporter")));
        assert!(!runtime(b"a\xff) R 1\n2\n", Some("/app")));
        assert!(!runtime(b"\n", None));
    }
}
