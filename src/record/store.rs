//! The database's layout, and the form of events in it.

use std::io::{Read, Write};
use std::path::Path;

use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params};

use super::windows::{self, Windows};
use super::{Error, FORMAT, Header};
use crate::clock::Moment;
use crate::event::Event;
use crate::event::varint::{read_varint, write_varint};
use crate::plan::Budget;

/// Marks the file as ours: `HWTR`.
const APPLICATION_ID: u32 = 0x4857_5452;

/// The first format in which parts carry a checksum.
const WITH_CHECKSUMS: u32 = 2;
/// The first format in which packed windows stand before a batch's other events.
const WITH_WINDOWS: u32 = 3;

/// The most that one batch may hold once inflated; a damaged one must not fill the memory.
const BATCH_MAX: u64 = Budget::BATCH;

/// For batches that are soon packed into larger ones.
pub(super) const QUICK: Compression = Compression::new(4);
/// For those that stay.
pub(super) const SMALL: Compression = Compression::new(7);

/// Makes the tables of a new recording, with all that it says beside its events.
pub(super) fn create(connection: &Connection, header: &Header) -> rusqlite::Result<()> {
    // Nobody knows the file yet: where making it is cut off, it is made anew.
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", FORMAT)?;
    connection.execute_batch(
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
         CREATE TABLE batch (
             seq INTEGER PRIMARY KEY,
             first_ns INTEGER NOT NULL,
             last_ns INTEGER NOT NULL,
             events INTEGER NOT NULL,
             checksum INTEGER NOT NULL,
             body BLOB NOT NULL
         );",
    )?;
    let text = serde_json::to_string(header).expect("a header has a JSON form");
    let checksum = crc(&[text.as_bytes()]).to_string();
    let mut insert = connection.prepare("INSERT INTO meta (key, value) VALUES (?1, ?2)")?;
    insert.execute(params!["header", text])?;
    insert.execute(params!["header-checksum", checksum])?;
    Ok(())
}

/// How a recording is written: readers don't wait for the writer, and a commit is one append that
/// needs no flushing to survive the death of this process.
pub(super) fn begin_writing(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // Moving what was appended into its place waits for the disk: somebody else does it.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    open_log(connection)
}

/// Opens the log now: later there may be no descriptor left for it.
pub(super) fn open_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("SELECT count(*) FROM meta", [], |_| Ok(()))
}

/// Checks that a database is a recording of a format that we read. Gives its format.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<u32, Error> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let foreign = |_| Error::Foreign { path: path.to_owned() };
    if number("application_id").map_err(foreign)? != APPLICATION_ID {
        return Err(Error::Foreign { path: path.to_owned() });
    }
    let found = number("user_version").map_err(foreign)?;
    if found > FORMAT {
        return Err(Error::TooNew { path: path.to_owned(), found, known: FORMAT });
    }
    Ok(found)
}

/// What a recording says beside its events.
pub(super) fn header(connection: &Connection, format: u32) -> Result<Header, String> {
    let value = |key: &str| {
        let select = "SELECT value FROM meta WHERE key = ?1";
        connection.query_row(select, [key], |row| row.get::<_, String>(0))
    };
    let text = value("header").map_err(|error| error.to_string())?;
    if format >= WITH_CHECKSUMS {
        let told = value("header-checksum").map_err(|error| error.to_string())?;
        if told != crc(&[text.as_bytes()]).to_string() {
            return Err("its checksum is wrong".to_owned());
        }
    }
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// A batch as it is stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) seq: i64,
    pub(super) first: Moment,
    pub(super) last: Moment,
    pub(super) body: Vec<u8>,
    /// Whether its checksum is right; none where there is none.
    pub(super) sound: Option<bool>,
}

impl Stored {
    /// What selects one, after a `seq`.
    pub(super) const fn select(format: u32) -> &'static str {
        if format >= WITH_CHECKSUMS {
            "SELECT seq, first_ns, last_ns, events, body, checksum FROM batch WHERE seq > ?1 \
             ORDER BY seq LIMIT 1"
        } else {
            "SELECT seq, first_ns, last_ns, events, body, NULL FROM batch WHERE seq > ?1 \
             ORDER BY seq LIMIT 1"
        }
    }

    /// A row of it, whatever has become of its values.
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let number = |index| -> rusqlite::Result<i64> {
            match row.get(index)? {
                Value::Integer(number) => Ok(number),
                _ => Ok(0),
            }
        };
        let body = match row.get::<_, Value>(4)? {
            Value::Blob(body) => body,
            _ => Vec::new(),
        };
        let (first, last, events) = (number(1)?, number(2)?, number(3)?);
        let told = match row.get::<_, Value>(5)? {
            Value::Null => None,
            Value::Integer(told) => Some(told),
            _ => Some(-1),
        };
        Ok(Self {
            seq: row.get(0)?,
            first: Moment::from_nanos(first.cast_unsigned()),
            last: Moment::from_nanos(last.cast_unsigned()),
            sound: told.map(|told| told == checksum(first, last, events, &body)),
            body,
        })
    }
}

/// Tells whether a batch is as it was written.
pub(super) fn checksum(first_ns: i64, last_ns: i64, events: i64, body: &[u8]) -> i64 {
    let numbers = [first_ns, last_ns, events].map(i64::to_be_bytes).concat();
    i64::from(crc(&[&numbers, body]))
}

fn crc(parts: &[&[u8]]) -> u32 {
    let mut crc = Crc::new();
    for part in parts {
        crc.update(part);
    }
    crc.sum()
}

/// Events on their way into the store, in their stored form but for compression: a tenth of what
/// they take otherwise, as their histograms have room for what may come.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The earliest of its events; those that were joined come later than they happened.
    pub(super) first: Option<Moment>,
    /// The latest.
    pub(super) last: Moment,
    pub(super) events: u32,
    /// Those of them that are packed windows.
    windows: Windows,
    /// The others, and how many they are.
    plain: Vec<u8>,
    others: u32,
}

impl Batch {
    /// Adds an event; gives its stored form.
    pub(super) fn push(&mut self, event: &Event) -> &[u8] {
        let before = self.plain.len();
        rmp_serde::encode::write_named(&mut self.plain, event)
            .expect("events have a MessagePack form");
        self.others += 1;
        self.windows.pass();
        self.count(event.at);
        &self.plain[before..]
    }

    /// Adds an event, packed where it is a window, else in its stored form.
    pub(super) fn pack(&mut self, event: &Event, stored: &[u8]) {
        if !self.windows.take(event) {
            self.plain.extend_from_slice(stored);
            self.others += 1;
        }
        self.count(event.at);
    }

    fn count(&mut self, at: Moment) {
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = self.last.max(at);
        self.events += 1;
    }

    /// Empties it, and keeps its room.
    pub(super) fn clear(&mut self) {
        self.plain.clear();
        *self = Self { plain: std::mem::take(&mut self.plain), ..Self::default() };
    }

    /// The events as they are stored: packed windows and their length, then a `MessagePack` array
    /// (`array 32` of its specification) of the others.
    pub(super) fn body(&self, level: Compression) -> Vec<u8> {
        let mut deflated = DeflateEncoder::new(Vec::new(), level);
        let (windows, others) = (self.windows.bytes(), self.others.to_be_bytes());
        let mut length = Vec::new();
        write_varint(&mut length, windows.len() as u64);
        for part in [&length, windows, &[0xdd], others.as_slice(), &self.plain] {
            deflated.write_all(part).expect("writing to memory never fails");
        }
        deflated.finish().expect("writing to memory never fails")
    }
}

/// Makes events of stored batches again.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    format: u32,
    /// Room that is used again.
    plain: Vec<u8>,
}

impl Decoder {
    pub(super) const fn new(format: u32) -> Self {
        Self { format, plain: Vec::new() }
    }

    /// Stored events as they were.
    pub(super) fn decode(&mut self, body: &[u8]) -> Result<Vec<Event>, String> {
        self.plain.clear();
        DeflateDecoder::new(body)
            .take(BATCH_MAX)
            .read_to_end(&mut self.plain)
            .map_err(|error| error.to_string())?;
        inflated(&self.plain, self.format)
    }
}

/// The events of a batch that was inflated.
fn inflated(plain: &[u8], format: u32) -> Result<Vec<Event>, String> {
    let (packed, others) = if format >= WITH_WINDOWS {
        split(plain).ok_or("its windows are cut off")?
    } else {
        (&[][..], plain)
    };
    let others = rmp_serde::from_slice(others).map_err(|error| error.to_string())?;
    windows::unpack(packed, others).ok_or_else(|| "its windows make no sense".to_owned())
}

/// The events of a batch of the format that is written now, as it is before it is deflated: fuzzers
/// seldom get as far as this behind a deflated one.
#[cfg(feature = "fuzzing")]
pub(super) fn decode_plain(plain: &[u8]) -> Result<Vec<Event>, String> {
    inflated(plain, FORMAT)
}

/// Packed windows, and what follows them.
fn split(mut plain: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = read_varint(&mut plain)?;
    plain.split_at_checked(usize::try_from(length).ok()?)
}

/// Stored events as they were, in the format that is written now.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn decode(body: &[u8]) -> Result<Vec<Event>, String> {
    Decoder::new(FORMAT).decode(body)
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
        assert_eq!((batch.first, batch.last), (Some(events[0].at), events.last().unwrap().at));
        let stored = batch.push(&events[0]).to_vec();
        batch.pack(&events[0], &stored);
        let again = [events[0].clone(), events[0].clone()];
        assert_eq!(decode(&batch.body(SMALL)), Ok([events, again.to_vec()].concat()));
        batch.clear();
        assert_eq!(
            (batch.events, batch.first, decode(&batch.body(QUICK))),
            (0, None, Ok(Vec::new()))
        );
    }

    proptest! {
        #[test]
        fn whatever_is_stored_reads_back(
            events in prop::collection::vec(crate::event::arbitrary::event(), 0..20),
        ) {
            for level in [QUICK, SMALL] {
                let stored = batch_of(&events).body(level);
                prop_assert_eq!(decode(&stored), Ok(events.clone()));
            }
            let (mut small, mut packed) = (Batch::default(), Batch::default());
            for event in &events {
                packed.pack(event, small.push(event));
                small.clear();
            }
            prop_assert_eq!(packed.events as usize, events.len());
            prop_assert_eq!(decode(&packed.body(SMALL)), Ok(events));
        }

        #[test]
        fn damaged_batches_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&body);
        }
    }
}
