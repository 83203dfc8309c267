//! Unpacks stored batches on a thread of its own while others are read and analysed.
//!
//! Inflating and decoding takes as long as all the analysis does. Batches come out in the order in
//! which they went in; few are under way at once, so a day's recording takes no more memory than a
//! minute's.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::store::{Decoder, Stored};
use crate::clock::Moment;
use crate::event::Event;
use crate::plan::Budget;

/// Batches under way at once.
const AHEAD: usize = Budget::BATCHES_AHEAD;

type Decoded = Result<Vec<Event>, String>;

/// A batch that was unpacked, or why it could not be.
pub(super) struct Unpacked {
    pub(super) first: Moment,
    pub(super) last: Moment,
    pub(super) events: Decoded,
}

struct Job {
    body: Vec<u8>,
    done: SyncSender<Decoded>,
    /// A batch that was read, to be given back to the allocator where it came from.
    spent: Option<Arc<Vec<Event>>>,
}

struct Waiting {
    first: Moment,
    last: Moment,
    events: Receiver<Decoded>,
}

/// Batches on their way.
pub(super) struct Unpacking {
    /// None where no thread could be started: then batches are unpacked as they are taken.
    jobs: Option<SyncSender<Job>>,
    waiting: VecDeque<Waiting>,
    decoder: Decoder,
    spent: Option<Arc<Vec<Event>>>,
}

impl std::fmt::Debug for Unpacking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacking").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Unpacking {
    pub(super) fn start(format: u32) -> Self {
        let (jobs, queue) = sync_channel::<Job>(AHEAD);
        let thread = std::thread::Builder::new().name("unpack".to_owned()).spawn(move || {
            let mut decoder = Decoder::new(format);
            for job in queue {
                drop(job.spent);
                // Nobody waits for it any more where reading has ended early.
                let _ = job.done.send(decoder.decode(&job.body));
            }
        });
        Self {
            jobs: thread.is_ok().then_some(jobs),
            waiting: VecDeque::with_capacity(AHEAD),
            decoder: Decoder::new(format),
            spent: None,
        }
    }

    /// Takes back a batch that was read.
    pub(super) fn give_back(&mut self, batch: Arc<Vec<Event>>) {
        self.spent = Some(batch);
    }

    /// Whether another batch may be put in.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < AHEAD
    }

    pub(super) fn put(&mut self, batch: Stored) {
        let (done, events) = sync_channel(1);
        self.waiting.push_back(Waiting { first: batch.first, last: batch.last, events });
        if batch.sound == Some(false) {
            // The channel holds one, so this does not wait.
            let _ = done.send(Err("its checksum is wrong".to_owned()));
            return;
        }
        let job = Job { body: batch.body, done, spent: self.spent.take() };
        let refused = match &self.jobs {
            Some(jobs) => jobs.send(job).err().map(|unsent| unsent.0),
            None => Some(job),
        };
        if let Some(job) = refused {
            let _ = job.done.send(self.decoder.decode(&job.body));
        }
    }

    /// The oldest batch, once it is unpacked; none where none is under way.
    pub(super) fn take(&mut self) -> Option<Unpacked> {
        let Waiting { first, last, events } = self.waiting.pop_front()?;
        let lost = || Err("its unpacking was cut short".to_owned());
        Some(Unpacked { first, last, events: events.recv().unwrap_or_else(|_| lost()) })
    }
}
