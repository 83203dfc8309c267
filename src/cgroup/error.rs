//! What can go wrong with control groups.

use std::path::PathBuf;

/// What can go wrong with control groups.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No hierarchy accounts for memory.
    #[error("no mounted cgroup hierarchy accounts for memory")]
    NoMemory,
    /// A file of the kernel's can't be read.
    #[error("failed to read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A group can't be made.
    #[error("failed to make the cgroup `{path}`")]
    Make {
        /// Its directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A limit can't be set.
    #[error("failed to limit the cgroup `{group}`")]
    Limit {
        /// Its name.
        group: String,
        /// Why.
        #[source]
        source: cgroups_rs::fs::error::Error,
    },
    /// A group can't be removed.
    #[error("failed to remove the cgroup `{path}`")]
    Remove {
        /// Its directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
