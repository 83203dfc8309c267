//! Room on the disk that is held back: given free once the disk is full, it lets a run record how
//! it ended, and its reports be written.

use std::fs::File;
use std::path::Path;

use nix::fcntl::{FallocateFlags, fallocate};

use crate::units::Bytes;

/// What is tried to be held back, the most first.
const SIZES: [Bytes; 3] = [Bytes::from_mib(8), Bytes::from_mib(2), Bytes::from_kib(512)];

/// Room held back by a file without a name: it is free again as soon as this process has ended.
#[derive(Debug)]
pub(super) struct Reserve(Option<File>);

impl Reserve {
    /// Holds back what can be had in a directory; nothing where its file system can't do that.
    pub(super) fn hold(directory: &Path) -> Self {
        let Ok(file) = tempfile::tempfile_in(directory) else { return Self(None) };
        let held = SIZES.iter().any(|size| {
            let length = i64::try_from(size.get()).unwrap_or(i64::MAX);
            fallocate(&file, FallocateFlags::empty(), 0, length).is_ok()
        });
        Self(held.then_some(file))
    }

    /// Gives it free; false where nothing was held any more.
    pub(super) fn release(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_takes_room_without_a_name_and_is_given_free_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::hold(dir.path());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let held = reserve
            .0
            .as_ref()
            .map(|file| std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap()) * 512);
        assert!(held.is_none_or(|held| held >= SIZES[0].get()), "{held:?}");
        assert_eq!(reserve.release(), held.is_some());
        assert!(!reserve.release());
    }
}
