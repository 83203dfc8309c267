//! What can go wrong with a run directory.

use std::path::PathBuf;

use crate::clock::Moment;

/// From when until when, for people.
fn span(from: Moment, until: Option<Moment>) -> String {
    let from = from.as_secs_f64();
    match until {
        Some(until) => format!("from {from:.1} s to {:.1} s", until.as_secs_f64()),
        None => format!("after {from:.1} s"),
    }
}

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
    /// Another run writes into the directory.
    #[error("another run writes into `{path}`")]
    InUse {
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
    /// No room is left on the disk.
    #[error("no room is left for the recording `{path}`")]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// What the recording is about can't be understood, and so nothing in it.
    #[error("the recording `{path}` is damaged: {text}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which part, and why.
        text: String,
    },
    /// Some events can't be read; those after them can, where there are any.
    #[error("the recording `{path}` is damaged: what happened {} can't be read ({text})", span(*.from, *.until))]
    Lost {
        /// The file.
        path: PathBuf,
        /// From when on, at the latest, it is lost.
        from: Moment,
        /// Until when; to its end where nothing readable follows.
        until: Option<Moment>,
        /// Why.
        text: String,
    },
    /// The thread that writes can't be made, or is gone.
    #[error("the recording's writer stopped working")]
    Writer,
}

impl Error {
    /// A refusal as what it is: only a full disk is one for want of room.
    pub(super) fn or_store(self) -> Self {
        match self {
            Self::NoRoom { path, source }
                if source.sqlite_error_code() != Some(rusqlite::ErrorCode::DiskFull) =>
            {
                Self::Store { action: "write", path, source }
            }
            other => other,
        }
    }

    /// The same trouble once more, for somebody else to tell.
    pub(super) fn again(&self) -> Self {
        let copy = |source: &rusqlite::Error| match source {
            rusqlite::Error::SqliteFailure(code, text) => {
                rusqlite::Error::SqliteFailure(*code, text.clone())
            }
            other => rusqlite::Error::ToSqlConversionFailure(other.to_string().into()),
        };
        match self {
            Self::NoRoom { path, source } => {
                Self::NoRoom { path: path.clone(), source: copy(source) }
            }
            Self::Store { action, path, source } => {
                Self::Store { action, path: path.clone(), source: copy(source) }
            }
            _ => Self::Writer,
        }
    }

    /// The way out, where there is one to name.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Create { .. } => Some("choose a writable place with `--out DIR`".to_owned()),
            Self::Exists { .. } => {
                Some("choose another place with `--out DIR`, or remove the old run".to_owned())
            }
            Self::InUse { .. } => {
                Some("choose another place with `--out DIR`, or wait for its end".to_owned())
            }
            Self::Missing { .. } => Some(
                "give the directory of a run, such as `reports/demo-20260101-120000`".to_owned(),
            ),
            Self::TooNew { .. } => Some("read it with the version that wrote it".to_owned()),
            Self::Store { .. } => Some("is the disk full, or the directory read-only?".to_owned()),
            Self::NoRoom { .. } => Some(
                "free some space; what was recorded is kept, and `highwater report` renders it"
                    .to_owned(),
            ),
            Self::Damaged { .. } => Some(
                "without that part nothing else in it means anything; the target's own output is \
                 in the target-*.log files beside it"
                    .to_owned(),
            ),
            Self::Foreign { .. } => Some(
                "if it was one, its first page is damaged, and nothing can be saved".to_owned(),
            ),
            Self::Lost { .. } | Self::Writer => None,
        }
    }
}
