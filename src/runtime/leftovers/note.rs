//! The notes that runs keep of themselves: who they are, and what they have where no label tells.
//!
//! A note is a file named by the run's id, locked for as long as the run's process lives: the lock
//! goes with the process, however that ends. It appears under its name only when it is locked.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::fcntl::{Flock, FlockArg};

use super::super::Error;
use super::owner::{Fate, Owner};

/// Where runs of root, and of all others, note themselves.
const REGISTRIES: [&str; 2] = ["/run/highwater", "/tmp/highwater"];

/// Begins a line about a directory of a run's own, which goes with it.
const SCRATCH: &str = "scratch ";
/// Begins a line about a directory that stays, in which the run has files that don't.
const REPORTS: &str = "reports ";

/// Whether a text is the id of a run: what looks otherwise is not ours.
pub(in super::super) fn is_run_id(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The note of this process's run.
#[derive(Debug)]
pub(in super::super) struct Note {
    run_id: String,
    file: Mutex<Flock<File>>,
}

/// A directory of a run's own, removed when it is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// The note that tells of it, where nothing else keeps that.
    note: Option<Note>,
}

impl Note {
    /// Notes that this process has a run.
    pub(in super::super) fn write(run_id: &str) -> Result<Self, Error> {
        let dir = Path::new(REGISTRIES[usize::from(!nix::unistd::geteuid().is_root())]);
        let file = locked_note(dir, run_id).map_err(|source| Error::File {
            action: "write",
            path: dir.join(run_id),
            source,
        })?;
        Ok(Self { run_id: run_id.to_owned(), file: Mutex::new(file) })
    }

    /// Notes a directory in which the run puts files, some of which are not whole for a while.
    pub(in super::super) fn reports_in(&self, dir: &Path) -> Result<(), Error> {
        let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        self.add(REPORTS, &dir)
    }

    /// Makes a directory of the run's own, noted before it is there.
    pub(in super::super) fn scratch(&self, name: &str) -> Result<Scratch, Error> {
        let path = std::env::temp_dir().join(format!("highwater-{}-{name}", self.run_id));
        self.add(SCRATCH, &path)?;
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|source| Error::File { action: "make", path: path.clone(), source })?;
        Ok(Scratch { path, note: None })
    }

    fn add(&self, kind: &str, path: &Path) -> Result<(), Error> {
        // A name with a line's end in it could say anything.
        let Some(text) = path.to_str().filter(|text| !text.contains('\n')) else { return Ok(()) };
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let line = format!("{kind}{text}\n");
        file.write_all(line.as_bytes()).map_err(|source| Error::File {
            action: "note",
            path: path.to_owned(),
            source,
        })
    }
}

impl Scratch {
    /// A directory that belongs to no run of a target.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn alone(run_id: &str, name: &str) -> Result<Self, Error> {
        let note = Note::write(run_id)?;
        let mut scratch = note.scratch(name)?;
        scratch.note = Some(note);
        Ok(scratch)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is found by `highwater clean`, as long as the note is there.
        if fs::remove_dir_all(&self.path).is_ok()
            && let Some(note) = &self.note
        {
            forget(&note.run_id);
        }
    }
}

/// Puts a note that is locked already into its place.
fn locked_note(dir: &Path, run_id: &str) -> io::Result<Flock<File>> {
    make_shared(dir)?;
    let unready = dir.join(format!(".{run_id}"));
    let file = OpenOptions::new().write(true).create_new(true).open(&unready)?;
    let mut file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, error)| io::Error::from(error))?;
    file.write_all(format!("{}\n", Owner::this()).as_bytes())?;
    fs::rename(&unready, dir.join(run_id))?;
    Ok(file)
}

/// Makes a directory in which every user may note runs, and nobody remove others' notes.
fn make_shared(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o1777))
}

/// A note that was found.
#[derive(Debug)]
pub(super) struct Found {
    path: PathBuf,
    text: String,
    locked: bool,
}

impl Found {
    /// The note of a run, wherever it is; none where there is none to be seen.
    pub(super) fn of(run_id: &str) -> Option<Self> {
        let mut paths = REGISTRIES.iter().map(|dir| Path::new(dir).join(run_id));
        paths.find_map(|path| {
            let file = File::open(&path).ok()?;
            let text = io::read_to_string(&file).ok()?;
            let locked = Flock::lock(file, FlockArg::LockSharedNonblock).is_err();
            Some(Self { path, text, locked })
        })
    }

    /// Whether its run goes on: by its lock, or by its process where an earlier version wrote it.
    pub(super) fn fate(&self) -> Fate {
        if self.locked {
            return Fate::Live;
        }
        let owner = self.text.lines().next().unwrap_or_default();
        let is_old = owner.split_whitespace().count() == 2;
        match owner.parse::<Owner>() {
            Ok(owner) if is_old => owner.fate(),
            _ => Fate::Dead,
        }
    }

    /// Whether it tells of anything that is still there.
    pub(super) fn has_files(&self, run_id: &str) -> bool {
        self.scratch(run_id).next().is_some() || self.unfinished(run_id).next().is_some()
    }

    /// Removes the files that it tells of.
    pub(super) fn remove_files(&self, run_id: &str) -> Result<(), Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::File { action: "remove", path, source }
        };
        for dir in self.scratch(run_id) {
            fs::remove_dir_all(&dir).map_err(failed(&dir))?;
        }
        for file in self.unfinished(run_id) {
            fs::remove_file(&file).map_err(failed(&file))?;
        }
        Ok(())
    }

    fn named(&self, kind: &'static str) -> impl Iterator<Item = &Path> {
        let lines = self.text.lines().skip(1);
        lines.filter_map(move |line| line.strip_prefix(kind)).map(Path::new)
    }

    /// Whether something is of whoever wrote the note, and ours to remove: a note must not make
    /// root remove what its writer could not.
    fn is_of_writer(&self, path: &Path) -> bool {
        let mine = nix::unistd::geteuid();
        let owner = |path: &Path| fs::symlink_metadata(path).map(|entry| entry.uid());
        match (owner(&self.path), owner(path)) {
            (Ok(writer), Ok(owner)) => {
                writer == owner && (mine.is_root() || mine.as_raw() == writer)
            }
            _ => false,
        }
    }

    /// Directories of the run's own that are there.
    fn scratch(&self, run_id: &str) -> impl Iterator<Item = PathBuf> {
        let prefix = format!("highwater-{run_id}-");
        self.named(SCRATCH)
            .filter(move |path| {
                let name = path.file_name().map(|name| name.to_string_lossy());
                let is_dir = fs::symlink_metadata(path).is_ok_and(|entry| entry.is_dir());
                is_dir && name.is_some_and(|name| name.starts_with(&prefix))
            })
            .filter(|path| self.is_of_writer(path))
            .map(Path::to_owned)
    }

    /// Files that were not whole yet.
    fn unfinished(&self, run_id: &str) -> impl Iterator<Item = PathBuf> {
        let prefix = crate::event::temporary_prefix(run_id);
        let entries = self.named(REPORTS).filter_map(|dir| fs::read_dir(dir).ok());
        let files = entries.flatten().flatten();
        files
            .filter(move |entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .map(|entry| entry.path())
            .filter(|path| self.is_of_writer(path))
    }
}

/// The ids of all runs whose notes are ours to remove.
pub(super) fn noted() -> BTreeSet<String> {
    let registries =
        if nix::unistd::geteuid().is_root() { &REGISTRIES[..] } else { &REGISTRIES[1..] };
    let entries = registries.iter().filter_map(|dir| fs::read_dir(dir).ok());
    let names =
        entries.flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| is_run_id(name)).collect()
}

/// Removes a run's note.
pub(in super::super) fn forget(run_id: &str) {
    for dir in REGISTRIES {
        let _ = fs::remove_file(Path::new(dir).join(run_id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    fn found(dir: &Path, run_id: &str) -> Found {
        let path = dir.join(run_id);
        let file = File::open(&path).unwrap();
        let text = io::read_to_string(&file).unwrap();
        let locked = Flock::lock(file, FlockArg::LockSharedNonblock).is_err();
        Found { path, text, locked }
    }

    #[test]
    fn ids_of_runs_look_like_no_name_of_anything_else() {
        assert!(is_run_id("00af19c3"));
        for other in ["", "00af19c", "00af19c3x", "00AF19C3", "app-name", "00af19c/"] {
            assert!(!is_run_id(other), "{other}");
        }
    }

    #[test]
    fn a_run_lives_as_long_as_its_note_is_locked() {
        let dir = tempfile::tempdir().unwrap();
        let note = locked_note(dir.path(), "00af19c3").unwrap();
        assert_eq!(found(dir.path(), "00af19c3").fate(), Fate::Live);
        drop(note);
        // This very process still lives: what counts is the lock.
        assert_eq!(found(dir.path(), "00af19c3").fate(), Fate::Dead);
        let (pid, own) = (std::process::id(), Owner::this().to_string());
        let started = own.split_whitespace().nth(1).unwrap();
        fs::write(dir.path().join("00af19c4"), format!("{pid} {started}\n")).unwrap();
        assert_eq!(found(dir.path(), "00af19c4").fate(), Fate::Live, "of a version before");
        fs::write(dir.path().join("00af19c5"), format!("{pid} 1\n")).unwrap();
        assert_eq!(found(dir.path(), "00af19c5").fate(), Fate::Dead, "a number used again");
    }

    #[test]
    fn only_what_carries_the_id_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        for name in ["highwater-00af19c3-main", "highwater-00af19c4-main", "other", "out"] {
            fs::create_dir(place(name)).unwrap();
            fs::write(place(name).join("file"), "x").unwrap();
        }
        std::os::unix::fs::symlink(place("other"), place("highwater-00af19c3-link")).unwrap();
        for name in [".highwater-00af19c3-a", ".highwater-00af19c4-b", "recording.db"] {
            fs::write(place("out").join(name), "x").unwrap();
        }
        let mut text = format!("{}\n", Owner::this());
        for name in ["highwater-00af19c3-main", "highwater-00af19c4-main", "other"] {
            let _ = writeln!(text, "{SCRATCH}{}", place(name).display());
        }
        let _ = writeln!(text, "{SCRATCH}{}", place("highwater-00af19c3-link").display());
        let _ = writeln!(text, "{REPORTS}{}\n{REPORTS}/nowhere", place("out").display());
        fs::write(place("00af19c3"), text).unwrap();
        let note = found(dir.path(), "00af19c3");
        assert!(note.has_files("00af19c3"));
        note.remove_files("00af19c3").unwrap();
        assert!(!note.has_files("00af19c3"));
        assert!(!place("highwater-00af19c3-main").exists());
        for kept in ["highwater-00af19c4-main/file", "other/file", "out/file", "out/recording.db"] {
            assert!(place(kept).exists(), "{kept}");
        }
        assert!(place("out/.highwater-00af19c4-b").exists());
        assert!(!place("out/.highwater-00af19c3-a").exists());
        assert!(place("highwater-00af19c3-link").exists(), "a link leads elsewhere");
    }
}
