//! The files of a cgroup in all hierarchies, on descriptors that stay open.

use crate::plan::Budget;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// The longest part of a file that is read; `memory.stat` has 3 KiB, a line a device or CPU more.
const BUFFER: usize = 32 * 1024;

/// The longest list of processes that is read.
const WHOLE: u64 = Budget::PROCESS_LIST;

/// Files by name, opened at their first reading.
#[derive(Debug)]
pub(super) struct Files {
    dirs: Vec<PathBuf>,
    open: BTreeMap<&'static str, Vec<File>>,
    buffer: Vec<u8>,
}

impl Files {
    pub(super) fn new(dirs: Vec<PathBuf>) -> Self {
        Self { dirs, open: BTreeMap::new(), buffer: vec![0; BUFFER] }
    }

    /// What the first of the files of that name tells that tells anything.
    pub(super) fn find<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Option<T> {
        let dirs = &self.dirs;
        let open = || dirs.iter().filter_map(|dir| File::open(dir.join(name)).ok()).collect();
        let files = self.open.entry(name).or_insert_with(open);
        files.iter().find_map(|file| {
            let length = file.read_at(&mut self.buffer, 0).ok()?;
            parse(complete(&self.buffer[..length], BUFFER))
        })
    }

    /// The first file of that name, read anew up to a mebibyte: for a list, which is made when it
    /// is opened.
    pub(super) fn whole(&self, name: &str) -> Option<Vec<u8>> {
        let file = self.dirs.iter().find_map(|dir| File::open(dir.join(name)).ok())?;
        let mut text = Vec::new();
        file.take(WHOLE).read_to_end(&mut text).ok()?;
        let length = complete(&text, usize::try_from(WHOLE).unwrap_or(usize::MAX)).len();
        text.truncate(length);
        Some(text)
    }
}

/// What was read without a line that was cut off.
fn complete(text: &[u8], room: usize) -> &[u8] {
    if text.len() < room {
        return text;
    }
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_does_not_count() {
        assert_eq!(complete(b"a 1\nb 2\nc 12", 12), b"a 1\nb 2\n");
        assert_eq!(complete(b"a 1\nb 2", 12), b"a 1\nb 2");
        assert_eq!(complete(b"123", 3), b"");
    }

    #[test]
    fn reads_anew_through_a_held_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n");
        let mut files = Files::new(vec![PathBuf::from("/nonexistent"), dir.path().to_owned()]);
        std::fs::write(&path, "1").unwrap();
        let read = |text: &[u8]| Some(text.to_vec());
        assert_eq!(files.find("n", read), Some(b"1".to_vec()));
        std::fs::write(&path, "22").unwrap();
        assert_eq!(files.find("n", read), Some(b"22".to_vec()));
        assert_eq!(files.find("m", read), None);
    }
}
