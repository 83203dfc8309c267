//! What can go wrong when reports are written.

use std::io;
use std::path::PathBuf;

/// Why a report was not written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the report `{path}`")]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}
