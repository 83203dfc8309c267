//! Control groups: where they are mounted, which version counts memory, making and removing them,
//! and parsers of their files.
//!
//! Both versions are behind one set of types. Reading is thin and parsing pure; the root of the
//! tree is a parameter, so tests use a directory of files.

mod bounds;
mod error;
mod extras;
mod hierarchies;
mod memory;
pub mod parse;
mod tree;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use bounds::{Bounds, bounds};
pub use error::Error;
pub use extras::Extras;
pub use hierarchies::Hierarchies;
pub use memory::{
    KernelSplit, LimitCounts, LimitReader, Parts, PartsReader, PeakSource, Reading, TickReader,
    is_gone,
};
pub use tree::{
    GroupLimits, Nest, PREFIX, Tree, kill_all, remove_run, run_is_used, runs_with_groups, thaw,
};

/// Which hierarchy accounts for memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// The `memory` hierarchy of cgroup v1.
    V1,
    /// The unified hierarchy.
    V2,
}

/// The nested cgroups in which one container lives, as directories of the hierarchy that accounts
/// for memory. Known before the container starts.
///
/// From the outside in: `lifetime` is never reset, so that it keeps the peak of the whole life
/// after the container's death; the directories of `resets` may be reset at every tick; `leaf` is
/// the container's own, which appears at its start and goes at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Which hierarchy accounts for memory.
    pub version: Version,
    /// The outer cgroup, where we could make one.
    pub lifetime: Option<PathBuf>,
    /// Nested cgroups of our own between the outer one and the container's, outermost first;
    /// empty where we could make none.
    pub resets: Vec<PathBuf>,
    /// The container's own cgroup; it need not exist yet.
    pub leaf: PathBuf,
}

impl Place {
    /// Somewhere that can't be seen from here.
    #[must_use]
    pub fn unknown() -> Self {
        let leaf = PathBuf::new();
        Self { version: Version::V2, lifetime: None, resets: Vec::new(), leaf }
    }
}
