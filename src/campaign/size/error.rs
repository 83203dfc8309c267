//! What can go wrong with a search.

use std::path::PathBuf;

/// What can go wrong with a search.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No phase is to be replayed.
    #[error("no phase of this scenario is replayed under other limits")]
    NoPhase {
        /// How many phases it has.
        phases: usize,
    },
    /// The directory holds the search of another scenario.
    #[error("`{path}` holds the search of another scenario, or of an earlier state of this one")]
    Another {
        /// The directory.
        path: PathBuf,
    },
    /// The state can't be read or written.
    #[error("failed to {action} `{path}`")]
    State {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The state can't be understood.
    #[error("line {line} of `{path}` is not what a search writes: {text}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        text: String,
    },
}

impl Error {
    /// The way out, where there is one to name.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NoPhase { phases: 0 } => Some("add a `[[phase]]` with a `burst`".to_owned()),
            Self::NoPhase { .. } => Some(
                "write `size = true` in the phases that the limit has to survive, or give one a \
                 `burst`"
                    .to_owned(),
            ),
            Self::Another { .. } => {
                Some("choose another place with `--out DIR`, or remove the old search".to_owned())
            }
            Self::State { .. } => Some("is the directory writable?".to_owned()),
            Self::Damaged { .. } => Some(
                "remove that line and those after it, which are run again, or choose another place \
                 with `--out DIR`"
                    .to_owned(),
            ),
        }
    }
}
