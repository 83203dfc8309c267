//! What is known of a run beside its events: where it ran, and what was run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::life::LifeId;

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
    /// How memory was sampled and the network reached: `direct`, `helper`, `read-only` or
    /// `docker-stats`. Empty in recordings of before this was told.
    #[serde(default)]
    pub via: String,
}

/// How names of files begin that a run makes beside its reports, and that go when these are whole.
#[must_use]
pub fn temporary_prefix(run_id: &str) -> String {
    format!(".highwater-{run_id}-")
}

/// Whether a release build was run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct HostFacts {
    /// The kernel's release.
    pub kernel: String,
    /// CPUs that are online.
    pub cpus: u32,
    /// Docker's cgroup driver.
    pub cgroup_driver: Option<String>,
    /// The mode of transparent huge pages: `always`, `madvise` or `never`
    /// (`/sys/kernel/mm/transparent_hugepage/enabled`).
    pub thp: Option<String>,
    /// The container engine's version.
    pub docker: Option<String>,
    /// How hard the kernel tries for a huge page at a fault (`transparent_hugepage/defrag`).
    #[serde(default)]
    pub thp_defrag: Option<String>,
    /// Memory of the machine, in bytes (`MemTotal` of `/proc/meminfo`).
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Swap of the machine, in bytes (`SwapTotal` of `/proc/meminfo`); 0 where it has none.
    #[serde(default)]
    pub swap_bytes: Option<u64>,
    /// How cgroups are mounted: `v1`, `v2`, or `hybrid` where both are and v1 counts memory.
    #[serde(default)]
    pub cgroup: Option<String>,
    /// Whether Highwater itself ran in a container.
    #[serde(default)]
    pub in_container: Option<bool>,
}

/// What a target's largest process turned out to be, once it was ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramFacts {
    /// The life that was looked at.
    pub life: LifeId,
    /// Who hands out its memory: `glibc`, `musl`, `jemalloc`, `mimalloc`, `tcmalloc`, `go`, `jvm`,
    /// `node`, `python`, or `unknown`.
    pub allocator: String,
    /// How that was recognised.
    pub evidence: String,
}

/// What the harness's own process has used in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HarnessReport {
    /// CPU time of all its threads since the run began, in nanoseconds.
    pub cpu_ns: u64,
    /// Wall time over which that was used, in nanoseconds.
    pub wall_ns: u64,
    /// Its resident set now, in bytes.
    pub rss: u64,
    /// Its greatest resident set so far, in bytes.
    pub rss_peak: u64,
}
