//! Moving what was appended to a recording's log into its place.
//!
//! That waits for the disk, for seconds where it is slow, and commits must not: a thread with a
//! connection of its own does it. It never keeps the writer waiting.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::store;

/// How often the log is emptied.
const EVERY: Duration = Duration::from_secs(10);

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
        // What can't be moved now, as where somebody reads or the disk is full, is moved later.
        let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    }
}
