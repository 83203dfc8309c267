//! The database's layout, and the form of events in it.

use std::io::{Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use rusqlite::Connection;

use super::{Error, FORMAT};
use crate::clock::Moment;
use crate::event::Event;

/// Marks the file as ours: `HWTR`.
const APPLICATION_ID: u32 = 0x4857_5452;

/// The most that one batch may hold once inflated; a damaged one must not fill the memory.
const BATCH_MAX: u64 = 256 * 1024 * 1024;

/// For batches that are soon packed into larger ones.
pub(super) const QUICK: Compression = Compression::new(4);
/// For those that stay.
pub(super) const SMALL: Compression = Compression::new(7);

/// Makes the tables of a new recording.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    // WAL: readers don't wait for the writer, and a commit is one append.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", FORMAT)?;
    connection.execute_batch(
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
         CREATE TABLE batch (
             seq INTEGER PRIMARY KEY,
             first_ns INTEGER NOT NULL,
             last_ns INTEGER NOT NULL,
             events INTEGER NOT NULL,
             body BLOB NOT NULL
         );",
    )
}

/// Checks that a database is a recording of a format that we read.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), Error> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let foreign = |_| Error::Foreign { path: path.to_owned() };
    if number("application_id").map_err(foreign)? != APPLICATION_ID {
        return Err(Error::Foreign { path: path.to_owned() });
    }
    let found = number("user_version").map_err(foreign)?;
    if found > FORMAT {
        return Err(Error::TooNew { path: path.to_owned(), found, known: FORMAT });
    }
    Ok(())
}

/// Events on their way into the store, in their stored form but for compression: a tenth of what
/// they take otherwise, as their histograms have room for what may come.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) first: Option<Moment>,
    pub(super) last: Moment,
    pub(super) events: u32,
    plain: Vec<u8>,
}

impl Batch {
    pub(super) fn push(&mut self, event: &Event) {
        self.first.get_or_insert(event.at);
        self.last = event.at;
        self.events += 1;
        rmp_serde::encode::write_named(&mut self.plain, event)
            .expect("events have a MessagePack form");
    }

    /// Takes over another's events, which come after these.
    pub(super) fn append(&mut self, later: &mut Self) {
        self.first = self.first.or(later.first);
        self.last = later.last;
        self.events += later.events;
        self.plain.append(&mut later.plain);
        *later = Self { plain: std::mem::take(&mut later.plain), ..Self::default() };
    }

    /// The events as they are stored: a `MessagePack` array (`array 32` of its specification).
    pub(super) fn body(&self, level: Compression) -> Vec<u8> {
        let mut deflated = DeflateEncoder::new(Vec::new(), level);
        let header = self.events.to_be_bytes();
        for part in [&[0xdd], header.as_slice(), &self.plain] {
            deflated.write_all(part).expect("writing to memory never fails");
        }
        deflated.finish().expect("writing to memory never fails")
    }
}

/// Stored events as they were.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Event>, String> {
    let mut plain = Vec::new();
    DeflateDecoder::new(body)
        .take(BATCH_MAX)
        .read_to_end(&mut plain)
        .map_err(|error| error.to_string())?;
    rmp_serde::from_slice(&plain).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Finish, LifeId, Tick, TickBlock, What};
    use crate::units::Bytes;
    use proptest::prelude::*;

    fn batch_of(events: &[Event]) -> Batch {
        let mut batch = Batch::default();
        for event in events {
            batch.push(event);
        }
        batch
    }

    #[test]
    fn stored_events_read_back() {
        let tick = Tick { at: Moment::from_millis(5), usage: Bytes::new(1), peak: Bytes::new(2) };
        let events = vec![
            Event { at: Moment::from_millis(1), what: What::Ready { life: LifeId(2) } },
            Event {
                at: Moment::from_millis(5),
                what: What::Ticks(TickBlock::pack(LifeId(2), &[tick])),
            },
            Event { at: Moment::from_millis(9), what: What::Finished(Finish::Completed) },
        ];
        let mut batch = batch_of(&events);
        assert_eq!(decode(&batch.body(QUICK)).as_ref(), Ok(&events));
        let mut twice = Batch::default();
        twice.append(&mut batch);
        assert_eq!(
            (batch.events, batch.first, decode(&batch.body(QUICK))),
            (0, None, Ok(Vec::new()))
        );
        twice.append(&mut batch_of(&events));
        assert_eq!((twice.first, twice.last), (Some(events[0].at), events.last().unwrap().at));
        assert_eq!(decode(&twice.body(SMALL)), Ok([events.clone(), events].concat()));
    }

    proptest! {
        #[test]
        fn damaged_batches_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&body);
        }
    }
}
