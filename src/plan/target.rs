//! The target: what is started, under which limits, and when it counts as ready.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Limit};

/// What is started, and how.
#[derive(Debug, Clone)]
pub struct TargetPlan {
    /// Where the program comes from.
    pub source: TargetSource,
    /// The TCP port that it listens on.
    pub port: u16,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Vec<EnvVar>,
    /// Files of this host that it finds at a place of its own, read-only: host path → its path.
    pub files: BTreeMap<PathBuf, PathBuf>,
    /// Directories of its own that are kept in memory (and count as shared memory).
    pub tmpfs: Vec<PathBuf>,
    /// The user (`uid[:gid]` or a name in its image) that it runs as; none: the image's own.
    pub user: Option<String>,
    /// Further `name:address` lines of its hosts file.
    pub extra_hosts: Vec<String>,
    /// When it counts as ready.
    pub ready: ReadyPlan,
    /// Its limits.
    pub limits: TargetLimits,
    /// How it is asked to stop.
    pub stop: StopPlan,
    /// Whether a debug build is accepted.
    pub allow_debug: bool,
}

/// Where the program comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetSource {
    /// Built by cargo.
    Cargo(CargoBuild),
    /// A binary of this host.
    Binary {
        /// Where it is.
        path: PathBuf,
        /// An image to put it on; none: one made from scratch.
        base: Option<String>,
    },
    /// An image that the container runtime has.
    Image {
        /// Its name.
        name: String,
    },
    /// An image to build.
    Dockerfile {
        /// The Dockerfile; its directory is the build context.
        path: PathBuf,
    },
}

/// A program to be built by cargo.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CargoBuild {
    /// The directory of the package or workspace.
    pub directory: PathBuf,
    /// The package, where the workspace has several.
    pub package: Option<String>,
    /// The binary, where the package has several.
    pub bin: Option<String>,
    /// Features to switch on.
    pub features: Vec<String>,
    /// The profile; none: `release`.
    pub profile: Option<String>,
    /// The target triple; none: the host's.
    pub target: Option<String>,
    /// An image to put it on; none: one made from scratch.
    pub base: Option<String>,
}

/// A variable of the target's environment.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Whether the value must never be shown or kept.
    pub secret: bool,
}

impl std::fmt::Debug for EnvVar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = if self.secret { "(secret)" } else { &self.value };
        write!(f, "{}={shown}", self.name)
    }
}

/// When the target counts as ready.
#[derive(Debug, Clone)]
pub struct ReadyPlan {
    /// What is checked.
    pub check: ReadyCheck,
    /// How long it may take from the start of the container.
    pub within: Duration,
}

/// What is checked to tell readiness.
#[derive(Debug, Clone)]
pub enum ReadyCheck {
    /// A GET of this path answers with this status.
    Http {
        /// The path, with query.
        path: String,
        /// The wanted status.
        status: u16,
    },
    /// The port accepts a connection.
    Tcp,
    /// A line of the target's output matches.
    Log {
        /// The expression.
        pattern: regex::Regex,
    },
}

/// The target's limits.
#[derive(Debug, Clone, Copy)]
pub struct TargetLimits {
    /// Memory, without swap.
    pub memory: Limit,
    /// CPU time per wall time, in cores; none: no limit.
    pub cpus: Option<f64>,
    /// Processes and threads; none: no limit.
    pub pids: Option<u32>,
    /// What Kubernetes does beyond; none: limits as Docker sets them.
    pub kubernetes: Option<KubernetesPlan>,
}

/// What Kubernetes does beyond a memory limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KubernetesPlan {
    /// The memory that the container requests; none: as much as its limit.
    pub request: Option<Bytes>,
    /// Whether the kubelet's `MemoryQoS` is on.
    pub memory_qos: bool,
}

/// The period of the kubelet's CPU quotas, in microseconds.
pub const KUBELET_PERIOD_US: u32 = 100_000;

/// The least CPU quota that the kubelet sets, in microseconds (`MilliCPUToQuota` in
/// `pkg/kubelet/cm/helpers_linux.go`).
const KUBELET_LEAST_QUOTA_US: f64 = 1000.0;

/// `MemoryQoS` throttles above the request plus this share of what is between it and the limit
/// (KEP-2570, the default of `memoryThrottlingFactor`).
const THROTTLING_FACTOR: f64 = 0.9;

impl KubernetesPlan {
    /// `memory.high` under a limit, rounded down to pages as the kubelet does; none where it sets
    /// none.
    #[must_use]
    pub fn high(&self, limit: Limit) -> Option<Bytes> {
        let limit = limit.bytes().filter(|_| self.memory_qos)?;
        let request = self.request.filter(|request| *request < limit)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between two sizes"
        )]
        let above = ((limit - request).as_f64() * THROTTLING_FACTOR) as u64;
        Some(Bytes::new((request.get() + above) / 4096 * 4096))
    }

    /// The CPU quota for so many cores, in microseconds a period.
    #[must_use]
    pub fn quota_us(cpus: f64) -> i64 {
        #[expect(clippy::cast_possible_truncation, reason = "a scenario's cpus are below 10^6")]
        let quota = (cpus * f64::from(KUBELET_PERIOD_US)).max(KUBELET_LEAST_QUOTA_US) as i64;
        quota
    }

    /// The CPU weight for so many cores, on v1's scale (`MilliCPUToShares`).
    #[must_use]
    pub fn shares(cpus: f64) -> i64 {
        #[expect(clippy::cast_possible_truncation, reason = "a scenario's cpus are below 10^6")]
        let shares = (cpus * 1024.0).clamp(2.0, 262_144.0) as i64;
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_high_follows_the_kubelets_formula() {
        let plan = KubernetesPlan { request: Some(Bytes::from_mib(100)), memory_qos: true };
        // 100 MiB + 0.9 × 100 MiB.
        assert_eq!(plan.high(Limit::Bytes(Bytes::from_mib(200))), Some(Bytes::from_mib(190)));
        assert_eq!(plan.high(Limit::Unlimited), None);
        assert_eq!(plan.high(Limit::Bytes(Bytes::from_mib(100))), None);
        let off = KubernetesPlan { memory_qos: false, ..plan };
        assert_eq!(off.high(Limit::Bytes(Bytes::from_mib(200))), None);
    }

    #[test]
    fn quotas_are_the_kubelets() {
        assert_eq!(KubernetesPlan::quota_us(0.25), 25_000);
        assert_eq!(KubernetesPlan::quota_us(0.001), 1000);
        assert_eq!(KubernetesPlan::shares(0.5), 512);
    }
}

/// How the target is asked to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopPlan {
    /// The signal's name (`SIGTERM`).
    pub signal: String,
    /// How long it has before it is killed.
    pub within: Duration,
}

/// How memory is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplingPlan {
    /// Time between two ticks.
    pub tick: Duration,
    /// Length of a window.
    pub window: Duration,
}

/// Startup trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartupPlan {
    /// How many trials at most; each a fresh container.
    pub trials: u32,
    /// Whether fewer will do where they come out alike.
    pub stop_early: bool,
    /// How long a ready target is watched until its level counts as settled.
    pub settle: Duration,
}

/// What to do after an OOM kill of the main container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnOom {
    /// Stop the run and report.
    Stop,
    /// Start the target again and go on.
    Restart,
}
