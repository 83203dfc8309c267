//! The way in: events go to a thread that writes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::mpsc::{Sender, channel};

use super::writer::{self, Writer};
use super::{Error, Header, RunDirectory};
use crate::event::{Event, Finish};
use crate::plan::Budget;

/// Takes events and commits them, batch by batch.
///
/// Dropped unfinished, as where its run is ended at once or breaks down, it still commits what it
/// has taken, with the last words as the end.
#[derive(Debug)]
pub struct Recorder {
    events: Option<Sender<Event>>,
    thread: Mutex<Option<JoinHandle<Result<(), Error>>>>,
    trouble: Trouble,
    told: AtomicBool,
    last_words: LastWords,
    path: PathBuf,
}

/// What keeps the writer from going on for long: told once.
pub(super) type Trouble = Arc<OnceLock<Error>>;

/// How a run ends that can't say so itself any more; the last one said counts. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct LastWords(Arc<Mutex<Option<Finish>>>);

impl LastWords {
    /// Says how the run ends.
    pub fn say(&self, finish: Finish) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(finish);
    }

    pub(super) fn take(&self) -> Option<Finish> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
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
        Self::begin(directory, header, budget, LastWords::default())
    }

    /// Begins a recording that ends with last words where nobody ends it otherwise.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn begin(
        directory: &RunDirectory,
        header: &Header,
        budget: &Budget,
        last_words: LastWords,
    ) -> Result<Self, Error> {
        let (events, queue) = channel(budget.event_queue);
        let trouble = Trouble::default();
        let writer =
            Writer::begin(directory, header, budget, last_words.clone(), Arc::clone(&trouble))?;
        let thread = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || writer.run(queue))
            .map_err(|_| Error::Writer)?;
        let path = directory.recording();
        let (events, thread) = (Some(events), Mutex::new(Some(thread)));
        Ok(Self { events, thread, trouble, told: AtomicBool::new(false), last_words, path })
    }

    /// What its last words will be.
    #[must_use]
    pub fn last_words(&self) -> LastWords {
        self.last_words.clone()
    }

    /// Takes one event; waits while too many are under way.
    ///
    /// # Errors
    /// When writing has failed, or will soon: then once, and what comes to end the run is still
    /// taken.
    pub async fn record(&self, event: Event) -> Result<(), Error> {
        let Some(events) = &self.events else { return Err(Error::Writer) };
        if events.send(event).await.is_err() {
            return self.join();
        }
        match self.trouble.get() {
            Some(trouble) if !self.told.swap(true, Ordering::Relaxed) => Err(trouble.again()),
            _ => Ok(()),
        }
    }

    /// Commits what is left and closes the recording.
    ///
    /// # Errors
    /// When anything could not be written.
    pub fn finish(mut self) -> Result<(), Error> {
        self.events = None;
        self.join()
    }

    /// Waits for the thread, which has ended or is about to; the first who asks is told why.
    fn join(&self) -> Result<(), Error> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.ok_or(Error::Writer)?.join().unwrap_or_else(|_| {
            if let Some(finish) = self.last_words.take() {
                // It can't say itself any more how the run ended.
                let _ = writer::append_end(&self.path, finish);
            }
            Err(Error::Writer)
        })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.events = None;
        // Whoever drops it has something worse to tell.
        let _ = self.join();
    }
}
