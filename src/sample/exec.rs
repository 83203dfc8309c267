//! Seeing when the target's own program takes the place of the container runtime's.

use std::fs;
use std::path::PathBuf;

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
    pub(super) fn new(leaf: &std::path::Path) -> Self {
        let own_executable = fs::read_link("/proc/self/exe").ok();
        Self { procs: leaf.join("cgroup.procs"), own_executable }
    }

    /// Whether a process of the target's own is there.
    pub(super) fn target_runs(&self) -> bool {
        let Ok(pids) = fs::read_to_string(&self.procs) else {
            return false;
        };
        pids.lines().any(|pid| self.is_target(pid))
    }

    fn is_target(&self, pid: &str) -> bool {
        let Ok(name) = fs::read_to_string(format!("/proc/{pid}/comm")) else {
            return false;
        };
        if name.starts_with("runc:") || name.starts_with("crun") {
            return false;
        }
        // A process that just ended has no executable: not the runtime, so the target's.
        let executable = fs::read_link(format!("/proc/{pid}/exe")).ok();
        let is_runtime = executable.as_ref().is_some_and(|path| {
            Some(path) == self.own_executable.as_ref()
                || path.file_name().is_some_and(|name| name == "crun" || name == "runc")
        });
        !is_runtime
    }
}
