//! One run: the only place that starts its threads and tasks, and the one loop that takes in what
//! they send.
//!
//! Producers (sampler, vitals, load, the runtime's watchers) send [`Event`]s into one bounded
//! channel. While the session waits for anything at all, it pumps that channel: each event updates
//! what has been [`Seen`], goes to the observer (a progress line, a live view) and into the
//! recording. Nothing is computed from events here but what the run itself must react to: kills,
//! ends, broken rules with `abort`.
//!
//! Whatever happens, a life that was opened is closed again: its container and cgroups are gone
//! when [`Session::close`] returns.

mod actions;
mod breakdown;
mod error;
mod gaps;
mod life;
mod load_run;
mod own;
mod phases;
mod prints;
#[cfg(test)]
pub(crate) mod scripted;
mod seen;
mod stop;
mod survey;
mod watch;
mod way;

use std::sync::Arc;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::clock::Clock;
use crate::event::{Event, Finish, TrialsDone, What};
use crate::judge::FlightRecorder;
use crate::plan::Plan;
use crate::record::Recorder;
use crate::runtime::{Built, Runtime};

use actions::Acting;
pub use breakdown::{Breakdown, BreakdownHandle, Breakdowns};

pub use error::Error;
pub use life::{Life, Opened};
pub use load_run::LoadRun;
pub use seen::Seen;
pub use stop::{StopHandle, StopSignal};
pub use survey::{Survey, survey};
pub use watch::{Watch, WatchParts};
pub use way::{Way, find_way};

/// Is shown each event as it is recorded.
pub type Observer = Box<dyn FnMut(&Event) + Send>;

/// What a session works with.
pub struct Parts {
    /// What is to be done.
    pub plan: Arc<Plan>,
    /// Where the target runs.
    pub runtime: Arc<Runtime>,
    /// Who samples memory and sends traffic.
    pub way: Way,
    /// The target, built.
    pub built: Built,
    /// The run's clock.
    pub clock: Clock,
    /// Takes the events.
    pub recorder: Recorder,
    /// Asks the run to stop early.
    pub stop: StopSignal,
    /// Tells of threads that broke down.
    pub breakdowns: Breakdowns,
    /// Is shown each event.
    pub observer: Observer,
}

/// A run in progress.
pub struct Session {
    plan: Arc<Plan>,
    runtime: Arc<Runtime>,
    way: Way,
    built: Built,
    clock: Clock,
    own: own::OwnUse,
    recorder: Recorder,
    stop: StopSignal,
    breakdowns: Breakdowns,
    observer: Observer,
    sender: Sender<Event>,
    receiver: Receiver<Event>,
    seen: Seen,
    acting: Acting,
    flight: FlightRecorder,
    gaps: gaps::Gaps,
    /// What of an event is recorded; kept for its room.
    to_record: Vec<Event>,
    prints: prints::Prints,
    next_life: u32,
    /// Lives of the main container so far.
    main_lives: u32,
}

/// How waiting for something ended.
#[derive(Debug)]
pub enum Waited<T> {
    /// What was waited for came.
    Done(T),
    /// The run was asked to stop.
    Stopped,
    /// What was watched for happened first.
    Seen,
}

impl Session {
    /// A session that has started nothing yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let (sender, receiver) = channel(parts.plan.budget.event_queue);
        let seen = Seen::new(&parts.plan);
        let acting = Acting::new(parts.clock.clone(), sender.clone());
        let flight = FlightRecorder::new(parts.plan.keep_raw, parts.plan.budget.raw_ticks);
        let gaps = gaps::Gaps::new(parts.plan.sampling.tick);
        Self {
            plan: parts.plan,
            gaps,
            runtime: parts.runtime,
            way: parts.way,
            built: parts.built,
            own: own::OwnUse::begin(&parts.clock),
            clock: parts.clock,
            recorder: parts.recorder,
            stop: parts.stop,
            breakdowns: parts.breakdowns,
            observer: parts.observer,
            sender,
            receiver,
            seen,
            acting,
            flight,
            to_record: Vec::new(),
            prints: prints::Prints::default(),
            next_life: 0,
            main_lives: 0,
        }
    }

    /// Lets a helper's events come to this session, on its clock.
    ///
    /// # Errors
    /// When the helper can't be reached.
    pub async fn join_helper(&mut self) -> Result<(), Error> {
        if let Way::Helper(helper) = self.way.clone() {
            let (clock, events) = (self.clock.clone(), self.sender.clone());
            self.during(helper.begin(&clock, events)).await??;
        }
        Ok(())
    }

    /// The plan of the run.
    #[must_use]
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan)
    }

    /// Tells the reader of the report something.
    ///
    /// # Errors
    /// When the recording can't be written.
    pub async fn note(&mut self, text: impl Into<String>) -> Result<(), Error> {
        self.record_now(What::Note { text: text.into() }).await
    }

    /// Records that no further startup trial follows.
    ///
    /// # Errors
    /// When the recording can't be written.
    pub async fn trials_done(&mut self, done: TrialsDone) -> Result<(), Error> {
        self.record_now(What::TrialsDone(done)).await
    }

    /// Records something that happens now.
    async fn record_now(&mut self, what: What) -> Result<(), Error> {
        let event = Event { at: self.clock.now(), what };
        self.take(event).await
    }

    /// Takes in one event.
    async fn take(&mut self, mut event: Event) -> Result<(), Error> {
        if let What::Vitals(vitals) = &mut event.what
            && let Some(bytes) = vitals.life.and_then(|life| self.prints.bytes(life))
        {
            // Who measures need not be who reads the output.
            vitals.log_bytes = Some(bytes);
        }
        if !self.seen.take(&event) {
            return Ok(());
        }
        crate::tripwire::pass("session");
        (self.observer)(&event);
        if let Some(text) = self.gaps.notice(&event) {
            let note = Event { at: event.at, what: What::Note { text } };
            (self.observer)(&note);
            self.recorder.record(note).await?;
        }
        let at = event.at;
        self.flight.take(event, &mut self.to_record);
        let mut recorded = Ok(());
        self.to_record.extend(self.prints.due(at));
        for event in self.to_record.drain(..) {
            if let What::Spikes(batch) = &event.what {
                // Found just now, in the ticks.
                self.prints.spikes(batch);
                (self.observer)(&event);
            }
            let taken = self.recorder.record(event).await;
            recorded = recorded.and(taken);
        }
        Ok(recorded?)
    }

    /// Waits for `work`, pumping events meanwhile. Never ends early.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Error> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                Some(event) = self.receiver.recv() => self.take(event).await?,
                done = &mut work => return Ok(done),
            }
        }
    }

    /// Waits for `work`, pumping events meanwhile, until the run is asked to stop or `watch` holds.
    /// A thread of ours that breaks down meanwhile ends the run, where that means nothing without
    /// it.
    async fn until<T>(
        &mut self,
        work: impl Future<Output = T>,
        watch: impl Fn(&Seen) -> bool,
    ) -> Result<Waited<T>, Error> {
        tokio::pin!(work);
        let (mut stop, way) = (self.stop.clone(), self.way.clone());
        loop {
            if watch(&self.seen) {
                return Ok(Waited::Seen);
            }
            tokio::select! {
                biased;
                () = stop.asked() => return Ok(Waited::Stopped),
                broken = self.breakdowns.next() => self.broke_down(broken).await?,
                gone = way.gone() => return Err(gone),
                Some(event) = self.receiver.recv() => self.take(event).await?,
                done = &mut work => return Ok(Waited::Done(done)),
            }
        }
    }

    /// Goes on without a thread that broke down, or not.
    async fn broke_down(&mut self, broken: Breakdown) -> Result<(), Error> {
        if broken.is_fatal() {
            return Err(broken.into());
        }
        self.note(broken.told()).await
    }

    /// Takes in what producers have sent so far.
    async fn pump_what_is_there(&mut self) -> Result<(), Error> {
        while let Ok(event) = self.receiver.try_recv() {
            self.take(event).await?;
        }
        Ok(())
    }

    /// Ends the recording with the reason why the run ended.
    ///
    /// # Errors
    /// When the recording can't be written.
    pub async fn finish(mut self, finish: Finish) -> Result<(), Error> {
        self.pump_what_is_there().await?;
        self.take(self.own.event(&self.clock)).await?;
        self.record_now(What::Finished(finish)).await?;
        close_recording(self.recorder).await
    }
}

/// Ends the recording of a run that came to its end, or says last why it could not go on.
async fn conclude(recorder: Recorder, done: Result<Finish, Error>) -> Result<Finish, Error> {
    match &done {
        // Dropped now, the recorder puts this at the end of what it has taken.
        Err(error) => {
            let text = crate::runtime::explain(error);
            recorder.last_words().say(Finish::Failed { text });
        }
        Ok(_) => close_recording(recorder).await?,
    }
    done
}

async fn close_recording(recorder: Recorder) -> Result<(), Error> {
    let closing = tokio::task::spawn_blocking(move || recorder.finish());
    Ok(closing.await.expect("finishing a recording does not panic")?)
}
