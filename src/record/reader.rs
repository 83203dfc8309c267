//! Reading a recording back, whole or while it is written.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use super::store::{self, Stored};
use super::unpack::Unpacking;
use super::{Error, Header, Recorded, RunDirectory, opening};
use crate::clock::Moment;
use crate::event::Event;

/// Beyond so many batches in a row that can't be read, none is looked for any more.
const FARTHEST: i64 = 1 << 40;

/// A recording that is read.
#[derive(Debug)]
pub struct Recording {
    connection: Connection,
    path: PathBuf,
    format: u32,
    header: Header,
}

impl Recording {
    /// Opens the recording of a run's directory.
    ///
    /// # Errors
    /// When it can't be read, or is no recording of a format that we know.
    pub fn open(directory: &RunDirectory) -> Result<Self, Error> {
        let path = directory.recording();
        let connection = opening::open(&path)?;
        let format = store::check(&connection, &path)?;
        let header = store::header(&connection, format).map_err(|text| Error::Damaged {
            path: path.clone(),
            text: format!("what it is about can't be read: {text}"),
        })?;
        Ok(Self { connection, path, format, header })
    }

    /// What the recording says of its run.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The version of its format.
    #[must_use]
    pub const fn format(&self) -> u32 {
        self.format
    }

    /// All events in order, read batch by batch.
    #[must_use]
    pub fn events(&self) -> Events<'_> {
        Events {
            recording: self,
            after: 0,
            unpacking: Unpacking::start(self.format),
            batch: Arc::default(),
            place: 0,
            last: Moment::START,
            lost: None,
            unreadable: None,
            over: false,
        }
    }

    fn batch_after(&self, seq: i64) -> rusqlite::Result<Option<Stored>> {
        let mut select = self.connection.prepare_cached(Stored::select(self.format))?;
        select.query_row([seq], Stored::of).optional()
    }

    /// The first batch that can be read after one that can't; none where there is none.
    fn batch_beyond(&self, unreadable_after: i64) -> Option<Stored> {
        // Reading after `bad` fails, after `good` it works, or there is nothing left.
        let (mut bad, mut step) = (unreadable_after, 1);
        let mut good = loop {
            let from = bad + step;
            match self.batch_after(from) {
                Ok(_) => break from,
                Err(_) if step >= FARTHEST => return None,
                Err(_) => (bad, step) = (from, step * 2),
            }
        };
        while good - bad > 1 {
            let middle = bad + (good - bad) / 2;
            match self.batch_after(middle) {
                Ok(_) => good = middle,
                Err(_) => bad = middle,
            }
        }
        self.batch_after(good).ok().flatten()
    }
}

/// The events of a recording. Where some can't be read, an [`Error::Lost`] stands in their place,
/// and what comes after them follows.
#[derive(Debug)]
pub struct Events<'a> {
    recording: &'a Recording,
    after: i64,
    unpacking: Unpacking,
    /// The batch that is being read, and the place of its next event.
    batch: Arc<Vec<Event>>,
    place: usize,
    /// The moment up to which all was read.
    last: Moment,
    /// Why something is lost since then.
    lost: Option<String>,
    /// Why the database gave no batch after those that are under way.
    unreadable: Option<String>,
    over: bool,
}

impl Events<'_> {
    /// Puts batches on their way, as far as there is room.
    fn read_ahead(&mut self) {
        while self.unreadable.is_none() && self.unpacking.has_room() {
            match self.recording.batch_after(self.after) {
                Ok(Some(batch)) => {
                    self.after = batch.seq;
                    self.unpacking.put(batch);
                }
                Ok(None) => break,
                // What was read before still counts.
                Err(error) => self.unreadable = Some(error.to_string()),
            }
        }
    }

    /// Makes the next batch ready, or says that something is lost; false where there is no more.
    fn fetch(&mut self) -> Result<bool, Error> {
        loop {
            self.read_ahead();
            let Some(unpacked) = self.unpacking.take() else {
                let Some(text) = self.unreadable.take() else { break };
                self.lost.get_or_insert(text);
                match self.recording.batch_beyond(self.after) {
                    // The one before it is the last that can't be read.
                    Some(batch) => self.after = batch.seq - 1,
                    None => break,
                }
                continue;
            };
            match unpacked.events {
                Ok(events) => {
                    let spent = std::mem::replace(&mut self.batch, Arc::new(events));
                    self.unpacking.give_back(spent);
                    self.place = 0;
                    let told = self.lost.take().map(|text| self.told(Some(unpacked.first), text));
                    self.last = self.last.max(unpacked.last);
                    return told.map_or(Ok(true), Err);
                }
                Err(text) => drop(self.lost.get_or_insert(text)),
            }
        }
        self.over = true;
        self.lost.take().map_or(Ok(false), |text| Err(self.told(None, text)))
    }

    fn told(&self, until: Option<Moment>, text: String) -> Error {
        Error::Lost { path: self.recording.path.clone(), from: self.last, until, text }
    }
}

impl Iterator for Events<'_> {
    type Item = Result<Recorded, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.place < self.batch.len() {
                self.place += 1;
                return Some(Ok(Recorded::new(Arc::clone(&self.batch), self.place - 1)));
            }
            if self.over {
                return None;
            }
            match self.fetch() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
