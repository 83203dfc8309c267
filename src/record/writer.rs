//! Writing: a thread of its own, so that the disk never delays the run.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, params};
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TryRecvError};

use super::store::{self, Batch};
use super::{Error, Header, RunDirectory};
use crate::event::{Event, RequestBlock, What};
use crate::plan::Budget;
use crate::units::Bytes;

/// Batches are committed often, so that little is lost, and small ones deflate badly: so often, or
/// after so many events, those since the last time are packed into one.
const PACK_EVERY: Duration = Duration::from_secs(60);
const PACK_EVENTS: u32 = 2048;

/// How often the writer looks for events while there are none.
const IDLE: Duration = Duration::from_millis(20);

/// Takes events and commits them, batch by batch.
#[derive(Debug)]
pub struct Recorder {
    events: Sender<Event>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Recorder {
    /// Begins a recording in a run's directory.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn create(
        directory: &RunDirectory,
        header: &Header,
        budget: &Budget,
    ) -> Result<Self, Error> {
        let path = directory.recording();
        let connection = begin(&path, header)?;
        let (events, queue) = channel(budget.event_queue);
        let Budget { commit_every, commit_events, .. } = *budget;
        let writer = Writer {
            connection,
            path,
            commit_every,
            commit_events,
            unpacked: Batch::default(),
            first_unpacked: None,
            packed: Instant::now(),
            requests_left: budget.requests,
        };
        let thread = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || writer.run(queue))
            .map_err(|_| Error::Writer)?;
        Ok(Self { events, thread })
    }

    /// Takes one event; waits while too many are under way.
    ///
    /// # Errors
    /// When writing has failed; [`Self::finish`] tells why.
    pub async fn record(&self, event: Event) -> Result<(), Error> {
        self.events.send(event).await.map_err(|_| Error::Writer)
    }

    /// Commits what is left and closes the recording.
    ///
    /// # Errors
    /// When anything could not be written.
    pub fn finish(self) -> Result<(), Error> {
        drop(self.events);
        self.thread.join().map_err(|_| Error::Writer)?
    }
}

fn begin(path: &Path, header: &Header) -> Result<Connection, Error> {
    let refused = |source| Error::Store { action: "create", path: path.to_owned(), source };
    let connection = Connection::open(path).map_err(refused)?;
    store::create(&connection).map_err(refused)?;
    let text = serde_json::to_string(header).expect("a header has a JSON form");
    connection
        .execute("INSERT INTO meta (key, value) VALUES ('header', ?1)", [text])
        .map_err(refused)?;
    Ok(connection)
}

struct Writer {
    connection: Connection,
    path: PathBuf,
    commit_every: Duration,
    commit_events: u32,
    /// The events of the batches that are not packed yet, and the first of these.
    unpacked: Batch,
    first_unpacked: Option<i64>,
    packed: Instant,
    /// How much more of requests one by one may be recorded.
    requests_left: Bytes,
}

impl Writer {
    fn run(mut self, mut queue: Receiver<Event>) -> Result<(), Error> {
        let mut batch = Batch::default();
        let mut committed = Instant::now();
        loop {
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
        self.commit(&mut batch)?;
        self.pack()?;
        // Out of WAL mode the recording is one file, which opens on read-only media too.
        match self.connection.pragma_update(None, "journal_mode", "DELETE") {
            // Somebody reads it just now: it is as complete with its log beside it.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
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
        batch.push(&event);
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
        let Some(first) = batch.first else { return Ok(()) };
        self.connection
            .prepare_cached(
                "INSERT INTO batch (first_ns, last_ns, events, body) VALUES (?1, ?2, ?3, ?4)",
            )
            .and_then(|mut insert| {
                insert.execute(params![
                    first.as_nanos().cast_signed(),
                    batch.last.as_nanos().cast_signed(),
                    batch.events,
                    batch.body(store::QUICK)
                ])
            })
            .map_err(|source| self.refused(source))?;
        self.first_unpacked.get_or_insert(self.connection.last_insert_rowid());
        self.unpacked.append(batch);
        if self.unpacked.events >= PACK_EVENTS || self.packed.elapsed() >= PACK_EVERY {
            self.pack()?;
        }
        Ok(())
    }

    /// Puts one large batch in the place of the small ones since the last time, in one step.
    fn pack(&mut self) -> Result<(), Error> {
        let batch = std::mem::take(&mut self.unpacked);
        self.packed = Instant::now();
        let Some(seq) = self.first_unpacked.take() else { return Ok(()) };
        let last_ns = batch.last.as_nanos().cast_signed();
        let packed = self.connection.unchecked_transaction().and_then(|transaction| {
            transaction.execute(
                "UPDATE batch SET last_ns = ?2, events = ?3, body = ?4 WHERE seq = ?1",
                params![seq, last_ns, batch.events, batch.body(store::SMALL)],
            )?;
            transaction.execute("DELETE FROM batch WHERE seq > ?1", [seq])?;
            transaction.commit()
        });
        packed.map_err(|source| self.refused(source))
    }

    fn refused(&self, source: rusqlite::Error) -> Error {
        Error::Store { action: "write", path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Recording, fixtures};
    use super::*;
    use crate::clock::Moment;
    use crate::event::What;

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
        let events: Vec<Event> = done.events().map(Result::unwrap).collect();
        assert_eq!(events, (0..=3000).map(event).collect::<Vec<_>>());
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "one file, without WAL: {left:?}");
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
        let kept: Vec<What> = recording.events().map(|event| event.unwrap().what).collect();
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
    fn other_files_are_told_from_recordings() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(RunDirectory::open(dir.path()), Err(Error::Missing { .. })));
        std::fs::write(dir.path().join("recording.db"), "no database at all, but some text")
            .unwrap();
        let directory = RunDirectory::open(dir.path()).unwrap();
        assert!(matches!(Recording::open(&directory), Err(Error::Foreign { .. })));
        std::fs::remove_file(directory.recording()).unwrap();
        drop(Connection::open(directory.recording()).unwrap());
        std::fs::write(directory.recording(), "").unwrap();
        assert!(matches!(Recording::open(&directory), Err(Error::Foreign { .. })));
    }
}
