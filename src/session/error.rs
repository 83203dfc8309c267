//! Why a run can't go on.

use crate::{helper, load, record, runtime, sample};

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
    /// The helper container can't do its work.
    #[error(transparent)]
    Helper(#[from] helper::Error),
    /// A thread of ours panicked.
    #[error("Highwater itself broke down (thread `{thread}`): {text}")]
    BrokeDown {
        /// The thread's name.
        thread: String,
        /// What it said, and where.
        text: String,
    },
    /// The recording can't be written.
    #[error(transparent)]
    Record(#[from] record::Error),
}

impl Error {
    /// What to say of the target where it, and not this host, is to blame; else the error again.
    pub(super) fn of_target(self) -> Result<String, Self> {
        match &self {
            Self::Load(error @ load::Error::Setup { .. }) => Ok(error.to_string()),
            // From a helper come words only.
            Self::Helper(helper::Error::Failed { text, .. }) if text.starts_with(load::SETUP) => {
                Ok(text.clone())
            }
            _ => Err(self),
        }
    }

    /// The way out, where there is one to name.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Runtime(error) => error.help(),
            Self::Record(error) => error.help(),
            Self::Load(error) => error.help(),
            Self::BrokeDown { .. } => {
                Some("this is a fault of Highwater itself: please report it".to_owned())
            }
            Self::Helper(helper::Error::Gone { .. }) => Some(
                "did Docker's engine restart, or somebody remove the container? `docker events` \
                 tells"
                    .to_owned(),
            ),
            Self::Sample(_) | Self::Helper(_) => None,
        }
    }
}
