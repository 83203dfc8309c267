//! Reading a recording back, whole or while it is written.

use std::collections::VecDeque;
use std::path::PathBuf;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::unpack::Unpacking;
use super::{Error, Header, RunDirectory, store};
use crate::event::Event;

/// A recording that is read.
#[derive(Debug)]
pub struct Recording {
    connection: Connection,
    path: PathBuf,
    header: Header,
}

impl Recording {
    /// Opens the recording of a run's directory.
    ///
    /// # Errors
    /// When it can't be read, or is no recording of a format that we know.
    pub fn open(directory: &RunDirectory) -> Result<Self, Error> {
        let path = directory.recording();
        let refused = |source| Error::Store { action: "open", path: path.clone(), source };
        let connection = Connection::open_with_flags(
            &path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(refused)?;
        // One moment's state for all that is read: small batches may be packed meanwhile.
        connection.execute_batch("BEGIN").map_err(refused)?;
        store::check(&connection, &path)?;
        let text: String = connection
            .query_row("SELECT value FROM meta WHERE key = 'header'", [], |row| row.get(0))
            .map_err(refused)?;
        let header = serde_json::from_str(&text).map_err(|error| Error::Damaged {
            path: path.clone(),
            text: format!("header: {error}"),
        })?;
        Ok(Self { connection, path, header })
    }

    /// What the recording says of its run.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// All events in order, read batch by batch.
    #[must_use]
    pub fn events(&self) -> Events<'_> {
        let unpacking = Unpacking::start();
        Events { recording: self, after: 0, unpacking, ready: VecDeque::new(), over: false }
    }
}

/// The events of a recording; ends after the first that can't be read.
#[derive(Debug)]
pub struct Events<'a> {
    recording: &'a Recording,
    after: i64,
    unpacking: Unpacking,
    ready: VecDeque<Event>,
    over: bool,
}

impl Events<'_> {
    /// The next batch, as it is stored.
    fn read(&self) -> Result<Option<(i64, Vec<u8>)>, Error> {
        self.recording
            .connection
            .prepare_cached("SELECT seq, body FROM batch WHERE seq > ?1 ORDER BY seq LIMIT 1")
            .and_then(|mut select| {
                select.query_row([self.after], |row| Ok((row.get(0)?, row.get(1)?))).optional()
            })
            .map_err(|source| Error::Store {
                action: "read",
                path: self.recording.path.clone(),
                source,
            })
    }

    /// Makes the next batch ready; false where there is none.
    fn fetch(&mut self) -> Result<bool, Error> {
        let mut unread = None;
        while self.unpacking.has_room() {
            match self.read() {
                Ok(Some((seq, body))) => {
                    self.after = seq;
                    self.unpacking.put(seq, body);
                }
                Ok(None) => break,
                Err(error) => {
                    unread = Some(error);
                    break;
                }
            }
        }
        // What was read before the fault still counts.
        let Some((seq, events)) = self.unpacking.take() else {
            return unread.map_or(Ok(false), Err);
        };
        let events = events.map_err(|text| Error::Damaged {
            path: self.recording.path.clone(),
            text: format!("batch {seq}: {text}"),
        })?;
        self.ready.extend(events);
        Ok(true)
    }
}

impl Iterator for Events<'_> {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.over {
                return None;
            }
            match self.fetch() {
                Ok(true) => {}
                Ok(false) => self.over = true,
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
        }
    }
}
