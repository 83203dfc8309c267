//! The directory of one run.

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use crate::event::temporary_prefix;

const RECORDING: &str = "recording.db";

/// The directory of one run: its recording, the target's output, and the reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDirectory(PathBuf);

impl RunDirectory {
    /// Makes the directory, parents too.
    ///
    /// # Errors
    /// When it can't be made or written to, or already holds a recording.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let refused = |source| Error::Create { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(refused)?;
        let directory = Self(path.to_owned());
        if directory.recording().exists() {
            return Err(Error::Exists { path: path.to_owned() });
        }
        // Tried now, rather than after a long run.
        tempfile::tempfile_in(path).map_err(refused)?;
        Ok(directory)
    }

    /// An existing run's directory.
    ///
    /// # Errors
    /// When it holds no recording.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let directory = Self(path.to_owned());
        if directory.recording().exists() {
            Ok(directory)
        } else {
            Err(Error::Missing { path: path.to_owned() })
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file of a run that is not whole yet, and gets its name when it is.
    pub(super) fn temporary(&self, run_id: &str, name: &str) -> PathBuf {
        self.0.join(format!("{}{name}", temporary_prefix(run_id)))
    }

    /// The recording's file.
    #[must_use]
    pub fn recording(&self) -> PathBuf {
        self.0.join(RECORDING)
    }
}
