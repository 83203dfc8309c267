//! The texts in which clues are looked for: a service's own source, and not too much of it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Endings of files that may hold routes and ports.
const ENDINGS: [&str; 11] = ["rs", "go", "py", "js", "mjs", "ts", "rb", "java", "kt", "php", "ex"];
/// Directories that are not the service itself.
const ASIDE: [&str; 7] =
    ["target", "node_modules", "tests", "benches", "examples", "vendor", "test"];
/// How many files are read, and how much of each: what serves is rarely at the end of a large one.
const FILES_MAX: usize = 400;
const FILE_BYTES_MAX: u64 = 256 * 1024;
const DEPTH_MAX: usize = 12;

/// A source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceText {
    /// Its path, from where was looked.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// The source files below `directory`, `first` before all others, the rest by name.
pub(super) fn read(directory: &Path, first: Option<&Path>) -> Vec<SourceText> {
    let files = ignore::WalkBuilder::new(directory)
        .max_depth(Some(DEPTH_MAX))
        .sort_by_file_name(std::ffi::OsStr::cmp)
        .filter_entry(|entry| {
            let is_aside = ASIDE.iter().any(|aside| entry.file_name() == *aside);
            entry.depth() == 0 || !is_aside || !entry.path().is_dir()
        })
        .build()
        .flatten()
        .map(ignore::DirEntry::into_path)
        .filter(|path| path.is_file() && has_ending(path))
        .take(FILES_MAX);
    let mut paths: Vec<PathBuf> = files.collect();
    if let Some(first) = first {
        paths.retain(|path| path != first);
        paths.insert(0, first.to_owned());
    }
    paths.iter().filter_map(|path| read_one(directory, path)).collect()
}

fn has_ending(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ENDINGS.contains(&ending))
}

/// A file that can't be read gives no clue.
fn read_one(directory: &Path, path: &Path) -> Option<SourceText> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let name = path.strip_prefix(directory).unwrap_or(path).to_string_lossy().into_owned();
    Some(SourceText { name, text: String::from_utf8_lossy(&bytes).into_owned() })
}
