//! What can go wrong with a run directory.

use std::path::PathBuf;

/// What can go wrong with a run directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory can't be made.
    #[error("failed to make the run directory `{path}`")]
    Create {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The directory already holds a recording.
    #[error("`{path}` already holds a recording")]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// There is no recording.
    #[error("there is no recording in `{path}`")]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// The file is no recording of ours.
    #[error("`{path}` is not a Highwater recording")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The recording was written by a later version.
    #[error("`{path}` has format {found}, and this version reads formats up to {known}")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The last known format.
        known: u32,
    },
    /// The database refused.
    #[error("failed to {action} the recording `{path}`")]
    Store {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A stored part can't be understood.
    #[error("a damaged part in the recording `{path}`: {text}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which part, and why.
        text: String,
    },
    /// The thread that writes can't be made, or is gone.
    #[error("the recording's writer stopped working")]
    Writer,
}

impl Error {
    /// The way out, where there is one to name.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Create { .. } => Some("choose a writable place with `--out DIR`".to_owned()),
            Self::Exists { .. } => {
                Some("choose another place with `--out DIR`, or remove the old run".to_owned())
            }
            Self::Missing { .. } => Some(
                "give the directory of a run, such as `reports/demo-20260101-120000`".to_owned(),
            ),
            Self::TooNew { .. } => Some("read it with the version that wrote it".to_owned()),
            Self::Store { .. } => Some("is the disk full, or the directory read-only?".to_owned()),
            Self::Foreign { .. } | Self::Damaged { .. } | Self::Writer => None,
        }
    }
}
