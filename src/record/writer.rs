//! Writing: a thread of its own, so that the disk never delays the run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, params};
use tokio::sync::mpsc::{Receiver, error::TryRecvError};

use super::checkpoint::Checkpoints;
use super::packing::Packing;
use super::recorder::{LastWords, Trouble};
use super::reserve::Reserve;
use super::store::{self, Batch};
use super::{Error, Header, RunDirectory};
use crate::clock::Moment;
use crate::event::{Event, Finish, RequestBlock, What};
use crate::plan::Budget;
use crate::units::Bytes;

/// Batches are committed often, so that little is lost, and small ones deflate badly: so often, or
/// after so many events, those since the last time are packed into one.
const PACK_EVERY: Duration = Duration::from_secs(60);
const PACK_EVENTS: u32 = Budget::PACKED_EVENTS;

/// How often the writer looks for events while there are none.
const IDLE: Duration = Duration::from_millis(20);

pub(super) struct Writer {
    connection: Connection,
    path: PathBuf,
    commit_every: Duration,
    commit_events: u32,
    /// The events of the batches that are not packed yet, and the first of these.
    packing: Packing,
    first_unpacked: Option<i64>,
    packed: Instant,
    /// How much more of requests one by one may be recorded.
    requests_left: Bytes,
    checkpoints: Option<Checkpoints>,
    reserve: Reserve,
    trouble: Trouble,
    last_words: LastWords,
    finished: bool,
}

impl Writer {
    /// Makes the recording: it is there as a whole, or not at all.
    pub(super) fn begin(
        directory: &RunDirectory,
        header: &Header,
        budget: &Budget,
        last_words: LastWords,
        trouble: Trouble,
    ) -> Result<Self, Error> {
        let path = directory.recording();
        let reserve = Reserve::hold(directory.path());
        let made = directory.temporary(&header.facts.run_id, "recording.db");
        let connection =
            make(&made, &path, header).inspect_err(|_| drop(fs::remove_file(&made)))?;
        Ok(Self {
            connection,
            commit_every: budget.commit_every,
            commit_events: budget.commit_events,
            packing: Packing::default(),
            first_unpacked: None,
            packed: Instant::now(),
            requests_left: budget.requests,
            checkpoints: Checkpoints::begin(&path),
            path,
            reserve,
            trouble,
            last_words,
            finished: false,
        })
    }

    pub(super) fn run(mut self, mut queue: Receiver<Event>) -> Result<(), Error> {
        let mut batch = Batch::default();
        let mut committed = Instant::now();
        loop {
            crate::tripwire::pass("recorder");
            match queue.try_recv() {
                Ok(event) => self.push(&mut batch, event),
                Err(TryRecvError::Empty) => std::thread::sleep(IDLE),
                Err(TryRecvError::Disconnected) => break,
            }
            if batch.events >= self.commit_events || committed.elapsed() >= self.commit_every {
                self.commit(&mut batch)?;
                committed = Instant::now();
            }
        }
        if !self.finished
            && let Some(finish) = self.last_words.take()
        {
            let at = batch.last.max(self.packing.last());
            self.push(&mut batch, Event { at, what: What::Finished(finish) });
        }
        self.commit(&mut batch)?;
        self.pack();
        self.close()
    }

    /// Out of WAL mode the recording is one file, which opens on read-only media too. Where that
    /// can't be had, it is as complete with its log beside it.
    fn close(mut self) -> Result<(), Error> {
        if let Some(checkpoints) = self.checkpoints.take() {
            checkpoints.end();
        }
        match self.connection.pragma_update(None, "journal_mode", "DELETE") {
            // Somebody reads it just now.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
            Err(_) if self.trouble.get().is_some() => Ok(()),
            done => done.map_err(|source| self.refused(source)),
        }
    }

    /// Takes an event; requests one by one only as far as there is room for them.
    fn push(&mut self, batch: &mut Batch, event: Event) {
        let event = match event {
            Event { at, what: What::Requests(block) } => match self.requests(block) {
                Some(what) => Event { at, what },
                None => return,
            },
            other => other,
        };
        self.finished |= matches!(event.what, What::Finished(_));
        self.packing.take(&event, batch.push(&event));
    }

    /// What is recorded of requests: the first ones beyond the bound are told of, and no more.
    fn requests(&mut self, block: RequestBlock) -> Option<What> {
        if self.requests_left == Bytes::ZERO {
            return None;
        }
        let size = Bytes::new(block.packed_len() as u64);
        if size < self.requests_left {
            self.requests_left = Bytes::new(self.requests_left.get() - size.get());
            return Some(What::Requests(block));
        }
        self.requests_left = Bytes::ZERO;
        let text = "the recording has no room for more requests one by one: `--samples` with fewer \
                    a second would reach further";
        Some(What::Note { text: text.to_owned() })
    }

    fn commit(&mut self, batch: &mut Batch) -> Result<(), Error> {
        if batch.first.is_none() {
            return Ok(());
        }
        let body = batch.body(store::QUICK);
        if let Err(error) = insert(&self.connection, batch, &body) {
            let error = Error::NoRoom { path: self.path.clone(), source: error }.or_store();
            if !self.reserve.release() {
                return Err(error);
            }
            // What was held back is for this, and for what ends the run.
            let _ = self.trouble.set(error);
            insert(&self.connection, batch, &body).map_err(|source| self.refused(source))?;
        }
        self.first_unpacked.get_or_insert(self.connection.last_insert_rowid());
        batch.clear();
        if self.packing.len() >= PACK_EVENTS || self.packed.elapsed() >= PACK_EVERY {
            self.pack();
        }
        Ok(())
    }

    /// Puts one large batch in the place of the small ones since the last time, in one step. Where
    /// that can't be done, as on a disk that is full, they stay as they are.
    fn pack(&mut self) {
        let batch = self.packing.finish();
        self.packed = Instant::now();
        let Some(seq) = self.first_unpacked.take() else { return };
        let Some(first) = batch.first else { return };
        let body = batch.body(store::SMALL);
        let (first_ns, last_ns) = (in_ns(first), in_ns(batch.last));
        let checksum = store::checksum(first_ns, last_ns, i64::from(batch.events), &body);
        let _ = self.connection.unchecked_transaction().and_then(|transaction| {
            transaction.execute(
                "UPDATE batch SET first_ns = ?2, last_ns = ?3, events = ?4, checksum = ?5, \
                 body = ?6 WHERE seq = ?1",
                params![seq, first_ns, last_ns, batch.events, checksum, body],
            )?;
            transaction.execute("DELETE FROM batch WHERE seq > ?1", [seq])?;
            transaction.commit()
        });
    }

    fn refused(&self, source: rusqlite::Error) -> Error {
        Error::Store { action: "write", path: self.path.clone(), source }
    }
}

/// Ends a recording whose writer broke down.
pub(super) fn append_end(path: &Path, finish: Finish) -> Result<(), rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let last: Option<i64> =
        connection.query_row("SELECT max(last_ns) FROM batch", [], |row| row.get(0))?;
    let at = Moment::from_nanos(last.unwrap_or_default().cast_unsigned());
    let mut batch = Batch::default();
    batch.push(&Event { at, what: What::Finished(finish) });
    insert(&connection, &batch, &batch.body(store::SMALL))?;
    connection.pragma_update(None, "journal_mode", "DELETE")
}

/// Puts a batch at the end of a recording.
fn insert(connection: &Connection, batch: &Batch, body: &[u8]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO batch (first_ns, last_ns, events, checksum, body) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let (first_ns, last_ns) = (in_ns(batch.first.unwrap_or_default()), in_ns(batch.last));
    let checksum = store::checksum(first_ns, last_ns, i64::from(batch.events), body);
    insert.execute(params![first_ns, last_ns, batch.events, checksum, body]).map(drop)
}

fn in_ns(at: Moment) -> i64 {
    at.as_nanos().cast_signed()
}

/// Makes a whole recording under another name first.
fn make(made: &Path, path: &Path, header: &Header) -> Result<Connection, Error> {
    let refused = |source| Error::Store { action: "create", path: path.to_owned(), source };
    let unmade = |source| Error::Create { path: path.to_owned(), source };
    let connection = Connection::open(made).map_err(refused)?;
    store::create(&connection, header).map_err(refused)?;
    connection.close().map_err(|(_, error)| refused(error))?;
    fs::rename(made, path).map_err(unmade)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(refused)?;
    store::begin_writing(&connection).map_err(refused)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::super::{Recorder, Recording, fixtures};
    use super::*;

    fn event(n: u64) -> Event {
        Event { at: Moment::from_millis(n), what: What::Note { text: format!("note {n}") } }
    }

    #[tokio::test]
    async fn a_recording_reads_back_while_it_is_written_and_after() {
        let dir = tempfile::tempdir().unwrap();
        let directory = RunDirectory::create(dir.path()).unwrap();
        let budget = Budget { commit_every: Duration::from_millis(10), ..Budget::default() };
        let header = fixtures::header();
        let recorder = Recorder::create(&directory, &header, &budget).unwrap();
        for n in 0..3000 {
            recorder.record(event(n)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let live = Recording::open(&directory).unwrap();
        assert_eq!(live.header(), &header);
        assert_eq!(live.events().count(), 3000);
        recorder.record(event(3000)).await.unwrap();
        // What a reader sees is one moment's state, whatever is packed meanwhile.
        assert_eq!(live.events().count(), 3000);
        drop(live);
        recorder.finish().unwrap();
        let done = Recording::open(&directory).unwrap();
        let batches: u32 = Connection::open(directory.recording())
            .unwrap()
            .query_row("SELECT count(*) FROM batch", [], |row| row.get(0))
            .unwrap();
        // Full packs, and what was left at the end.
        let full = 3001_u32.div_ceil(PACK_EVENTS);
        assert!(batches <= full, "{batches} batches, where {full} hold them all");
        let events: Vec<Event> = done.events().map(|event| event.unwrap().into_event()).collect();
        assert_eq!(events, (0..=3000).map(event).collect::<Vec<_>>());
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "one file, without WAL: {left:?}");
    }

    /// A window that waits for its next one comes after events that are later than it.
    #[tokio::test]
    async fn what_packing_puts_in_another_order_is_sound() {
        let dir = tempfile::tempdir().unwrap();
        let directory = RunDirectory::create(dir.path()).unwrap();
        let budget = Budget { commit_events: 1, ..Budget::default() };
        let recorder = Recorder::create(&directory, &fixtures::header(), &budget).unwrap();
        let full = u64::from(PACK_EVENTS);
        let window = crate::event::TrafficWindow::default();
        let traffic =
            Event { at: Moment::from_millis(full), what: What::Traffic(Box::new(window)) };
        let notes = |from: u64, to: u64| (from..to).map(event);
        let all = notes(0, full).chain([traffic.clone()]).chain(notes(full + 1, full + 10));
        for event in all.collect::<Vec<_>>() {
            recorder.record(event).await.unwrap();
        }
        recorder.finish().unwrap();
        let recording = Recording::open(&directory).unwrap();
        let kept: Vec<Event> =
            recording.events().map(|event| event.unwrap().into_event()).collect();
        assert_eq!(kept.len() as u64, full + 10);
        assert_eq!(kept.last(), Some(&traffic), "it waited for another one to the end");
        let range = "SELECT first_ns, last_ns FROM batch ORDER BY seq DESC LIMIT 1";
        let connection = Connection::open(directory.recording()).unwrap();
        let range: (i64, i64) =
            connection.query_row(range, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let ns = |ms: u64| in_ns(Moment::from_millis(ms));
        assert_eq!(range, (ns(full), ns(full + 9)), "the earliest and the latest");
    }

    #[tokio::test]
    async fn who_reads_at_the_end_does_not_keep_it_from_ending() {
        let dir = tempfile::tempdir().unwrap();
        let directory = RunDirectory::create(dir.path()).unwrap();
        let recorder =
            Recorder::create(&directory, &fixtures::header(), &Budget::default()).unwrap();
        recorder.record(event(1)).await.unwrap();
        let reader = Recording::open(&directory).unwrap();
        recorder.finish().unwrap();
        drop(reader);
        assert_eq!(Recording::open(&directory).unwrap().events().count(), 1);
    }

    #[tokio::test]
    async fn requests_one_by_one_have_a_bound_that_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let directory = RunDirectory::create(dir.path()).unwrap();
        let request = crate::event::Request {
            phase: 0,
            step: 0,
            due: None,
            sent: None,
            first_byte: None,
            ended: Moment::START,
            status: None,
            error: None,
            sent_bytes: 0,
            received_bytes: 0,
        };
        let block = RequestBlock::pack(&[request; 10], 10);
        let room = Bytes::new(2 * block.packed_len() as u64 + 1);
        let budget = Budget { requests: room, ..Budget::default() };
        let recorder = Recorder::create(&directory, &fixtures::header(), &budget).unwrap();
        for n in 0..6 {
            let what = What::Requests(block.clone());
            recorder.record(Event { at: Moment::from_millis(n), what }).await.unwrap();
        }
        recorder.finish().unwrap();
        let recording = Recording::open(&directory).unwrap();
        let kept: Vec<What> =
            recording.events().map(|event| event.unwrap().into_event().what).collect();
        assert!(matches!(&kept[..], [What::Requests(_), What::Requests(_), What::Note { .. }]));
    }

    #[tokio::test]
    async fn a_second_recording_in_one_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let directory = RunDirectory::create(dir.path()).unwrap();
        let recorder =
            Recorder::create(&directory, &fixtures::header(), &Budget::default()).unwrap();
        recorder.finish().unwrap();
        assert!(matches!(RunDirectory::create(dir.path()), Err(Error::Exists { .. })));
    }

    #[test]
    fn of_two_runs_in_one_directory_the_second_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = RunDirectory::create(dir.path()).unwrap();
        let second = RunDirectory::create(dir.path());
        assert!(matches!(second, Err(Error::InUse { .. })));
        drop(first);
        assert!(RunDirectory::create(dir.path()).is_ok(), "it is free again");
    }

    #[test]
    fn other_files_are_told_from_recordings() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(RunDirectory::open(dir.path()), Err(Error::Missing { .. })));
        fs::write(dir.path().join("recording.db"), "no database at all, but some text").unwrap();
        let directory = RunDirectory::open(dir.path()).unwrap();
        assert!(matches!(Recording::open(&directory), Err(Error::Foreign { .. })));
        fs::remove_file(directory.recording()).unwrap();
        drop(Connection::open(directory.recording()).unwrap());
        fs::write(directory.recording(), "").unwrap();
        assert!(matches!(Recording::open(&directory), Err(Error::Foreign { .. })));
    }
}
