//! What is known of a run beside its events: where it ran, and what was run.

use serde::{Deserialize, Serialize};

/// Where a run took place, and what was run. Filled in before the first container starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFacts {
    /// The run's id, which labels everything that it made.
    pub run_id: String,
    /// The version of Highwater.
    pub highwater: String,
    /// The runtime: `docker` or `native`.
    pub runtime: String,
    /// The image or binary that was run.
    pub image: Option<String>,
    /// Whether it is a release build.
    pub release: ReleaseBuild,
    /// How that was recognised.
    pub release_evidence: String,
    /// Which cgroup version accounts for memory: `v1` or `v2`.
    pub cgroup: String,
    /// The machine.
    pub host: HostFacts,
}

/// Whether a release build was run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseBuild {
    /// Surely.
    Yes,
    /// Surely not.
    No,
    /// It can't be told.
    #[default]
    Unknown,
}

/// The machine that a run took place on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// The kernel's release.
    pub kernel: String,
    /// CPUs that are online.
    pub cpus: u32,
    /// Docker's cgroup driver.
    pub cgroup_driver: Option<String>,
    /// The mode of transparent huge pages: `always`, `madvise` or `never`.
    pub thp: Option<String>,
    /// The container engine's version.
    pub docker: Option<String>,
}
