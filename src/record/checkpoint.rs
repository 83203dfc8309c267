//! Moving what was appended to a recording's log into its place.
//!
//! That waits for the disk, for seconds where it is slow, and commits must not: a thread with a
//! connection of its own does it. It keeps the writer waiting only for a log that has grown long:
//! one that is never moved as a whole before the next commit is never begun anew, and it and its
//! index, which every process that has it open maps, would grow as long as the run.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::store;

/// How often the log is emptied.
const EVERY: Duration = Duration::from_secs(10);

/// From how many pages on the writer is kept waiting so that the log begins anew: 64 MiB of log,
/// 128 KiB of its index.
const LONG_PAGES: i64 = 16_384;

/// How long it is kept waiting for those who read the log, who may take long.
const READERS_LEAVE: Duration = Duration::from_millis(200);

/// The thread.
#[derive(Debug)]
pub(super) struct Checkpoints {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Checkpoints {
    /// Begins; none where it can't: then the log grows until the end.
    pub(super) fn begin(path: &Path) -> Option<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).ok()?;
        store::open_log(&connection).ok()?;
        connection.busy_timeout(READERS_LEAVE).ok()?;
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || work(&connection, &stopped))
            .ok()?;
        Some(Self { stop, thread })
    }

    /// Ends, and waits for what is under way.
    pub(super) fn end(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

fn work(connection: &Connection, stopped: &Receiver<()>) {
    while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        empty(connection, LONG_PAGES);
    }
}

/// Moves what the log holds. What can't be moved now, as where somebody reads or the disk is full,
/// is moved later.
fn empty(connection: &Connection, long_pages: i64) {
    let pages = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1));
    // What is left to move is what was appended meanwhile.
    if pages.is_ok_and(|pages: i64| pages > long_pages) {
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::record::fixtures;

    #[test]
    fn a_long_log_begins_anew_beside_a_writer_and_a_short_one_is_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("recording.db");
        let open = || Connection::open(&path).expect("a database opens");
        let writer = open();
        store::create(&writer, &fixtures::header()).expect("tables are made");
        store::begin_writing(&writer).expect("writing begins");
        let log = || fs::metadata(dir.path().join("recording.db-wal")).expect("a log").len();
        let insert = "INSERT INTO meta VALUES (random(), randomblob(40000))";
        for _ in 0..20 {
            writer.execute(insert, []).expect("a row is written");
        }
        let mover = open();
        let long = log();
        empty(&mover, LONG_PAGES);
        assert_eq!(log(), long, "a short log is kept");
        empty(&mover, 100);
        assert_eq!(log(), 0, "a long one is not");
        writer.execute(insert, []).expect("a row is written");
        assert!(log() < long / 10, "it begins anew");
    }
}
