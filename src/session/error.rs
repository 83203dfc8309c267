//! Why a run can't go on.

use crate::{load, record, runtime, sample};

/// Why a run can't go on, apart from what the target does.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container runtime failed.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// Memory can't be sampled.
    #[error(transparent)]
    Sample(#[from] sample::Error),
    /// Traffic can't be sent.
    #[error(transparent)]
    Load(#[from] load::Error),
    /// The recording can't be written.
    #[error(transparent)]
    Record(#[from] record::Error),
}

impl Error {
    /// The way out, where there is one to name.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Runtime(error) => error.help(),
            Self::Record(error) => error.help(),
            Self::Sample(_) | Self::Load(_) => None,
        }
    }
}
