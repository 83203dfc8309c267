//! The directory of one run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::Error;
use crate::event::temporary_prefix;

const RECORDING: &str = "recording.db";

/// The directory of one run: its recording, the target's output, and the reports.
#[derive(Debug, Clone)]
pub struct RunDirectory {
    path: PathBuf,
    /// The lock of the run that writes into it, which goes with its process; none of a reader.
    claim: Option<Arc<Flock<fs::File>>>,
}

impl RunDirectory {
    /// Makes the directory, parents too.
    ///
    /// # Errors
    /// When it can't be made or written to, another run writes into it, or it already holds a
    /// recording.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let refused = |source| Error::Create { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(refused)?;
        let mut directory = Self { path: path.to_owned(), claim: None };
        let empty = |directory: &Self| {
            let exists = directory.recording().exists();
            if exists { Err(Error::Exists { path: path.to_owned() }) } else { Ok(()) }
        };
        empty(&directory)?;
        directory.claim = claim(path)?;
        // Who held it until now may have left a recording.
        empty(&directory)?;
        // Tried now, rather than after a long run.
        tempfile::tempfile_in(path).map_err(refused)?;
        Ok(directory)
    }

    /// An existing run's directory.
    ///
    /// # Errors
    /// When it holds no recording.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let directory = Self { path: path.to_owned(), claim: None };
        if directory.recording().exists() {
            Ok(directory)
        } else {
            Err(Error::Missing { path: path.to_owned() })
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file of a run that is not whole yet, and gets its name when it is.
    pub(super) fn temporary(&self, run_id: &str, name: &str) -> PathBuf {
        self.path.join(format!("{}{name}", temporary_prefix(run_id)))
    }

    /// The recording's file.
    #[must_use]
    pub fn recording(&self) -> PathBuf {
        self.path.join(RECORDING)
    }
}

/// Locks a directory for the run that writes into it; none where its file system knows no locks.
fn claim(path: &Path) -> Result<Option<Arc<Flock<fs::File>>>, Error> {
    let refused = |source| Error::Create { path: path.to_owned(), source };
    let opened = fs::File::open(path).map_err(refused)?;
    match Flock::lock(opened, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(Arc::new(lock))),
        Err((_, Errno::EWOULDBLOCK)) => Err(Error::InUse { path: path.to_owned() }),
        Err(_) => Ok(None),
    }
}
