//! Ways to open a recording for reading, from the usual one to those for read-only media and for
//! what was cut off.
//!
//! While a run writes, its last seconds are in a log beside the recording (`-wal`), which is read
//! through an index that must be there or be made. Where neither can be had (a read-only disk with
//! the remains of a killed run, a full one), the recording is read from a copy in a place for
//! temporary files, log and all: to read it alone, as if nothing else were there, would silently
//! leave these seconds out.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::Error;

/// Where a copy may go, beside the usual place for temporary files.
const MEMORY: &str = "/dev/shm";

/// The log that a recording has while it is written.
pub(super) fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Opens a recording for reading, at one moment's state.
///
/// # Errors
/// When no way leads to it.
pub(super) fn open(path: &Path) -> Result<Connection, Error> {
    let refused = |source| Error::Store { action: "open", path: path.to_owned(), source };
    let foreign = || Error::Foreign { path: path.to_owned() };
    match in_place(path, false) {
        Ok(connection) => return Ok(connection),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => return Err(foreign()),
            // Shorter than it says of itself: what is there may still be read.
            Some(ErrorCode::DatabaseCorrupt) => {
                return in_place(path, true)
                    .or_else(|_| from_copy(path, true))
                    .map_err(|_| foreign());
            }
            _ => {}
        },
    }
    let has_log = fs::metadata(log_of(path)).is_ok_and(|log| log.len() > 0);
    let opened = if has_log { from_copy(path, false) } else { alone(path) };
    opened.map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => foreign(),
        _ => refused(error),
    })
}

/// Opens it where it is, while it may be written.
fn in_place(path: &Path, cut_short: bool) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    settle(&connection, cut_short)?;
    Ok(connection)
}

/// Opens one that is complete without a log, and which nobody writes.
fn alone(path: &Path) -> rusqlite::Result<Connection> {
    use std::fmt::Write as _;
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            other => drop(write!(uri, "%{other:02X}")),
        }
    }
    uri += "?immutable=1";
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags)?;
    settle(&connection, false)?;
    Ok(connection)
}

/// Opens a copy of it and its log, which goes as soon as it is open.
fn from_copy(path: &Path, cut_short: bool) -> rusqlite::Result<Connection> {
    let places = [std::env::temp_dir(), MEMORY.into()];
    let mut last = rusqlite::Error::InvalidPath(path.to_owned());
    for place in places {
        let Ok(copy) = tempfile::Builder::new().prefix("highwater-read-").tempdir_in(place) else {
            continue;
        };
        let to = copy.path().join("recording.db");
        let copied = fs::copy(path, &to).and_then(|_| match fs::copy(log_of(path), log_of(&to)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        });
        if copied.is_err() {
            continue;
        }
        match in_place(&to, cut_short) {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// One moment's state for all that is read, from a file that somebody may have tampered with.
fn settle(connection: &Connection, cut_short: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    if cut_short {
        // Lets pages be missing at the end; nothing is written.
        connection.pragma_update(None, "writable_schema", true)?;
    }
    connection.execute_batch("BEGIN")?;
    // The first read is what takes the moment, and finds out what can't be read.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}
