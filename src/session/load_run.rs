//! The load engine alone: traffic to something that is neither started nor sampled.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::own::OwnUse;
use super::{Breakdowns, Error, Observer, StopSignal};
use crate::clock::Clock;
use crate::event::{Event, Finish, GeneratorPath, What};
use crate::load::{Endpoint, Engine, Job};
use crate::plan::LoadRunPlan;
use crate::record::Recorder;

/// Threads need this long to begin together.
const HEAD_START: Duration = Duration::from_millis(5);

/// What such a run works with.
pub struct LoadRun {
    /// What is to be done.
    pub plan: LoadRunPlan,
    /// Where to.
    pub address: SocketAddr,
    /// What the `host` header says.
    pub host: String,
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

impl LoadRun {
    /// Sends the traffic until it is over or the run is asked to stop.
    ///
    /// # Errors
    /// When the engine can't work or the recording can't be written.
    pub async fn run(mut self) -> Result<Finish, Error> {
        let done = Box::pin(self.run_to_end()).await;
        super::conclude(self.recorder, done).await
    }

    async fn run_to_end(&mut self) -> Result<Finish, Error> {
        let own = OwnUse::begin(&self.clock);
        let (sender, mut events) = channel(self.plan.budget.event_queue);
        let start = self.starter(sender);
        let started = tokio::task::spawn_blocking(start).await;
        let engine = started.expect("starting does not panic")?;
        let begins = self.clock.now() + HEAD_START;
        self.take(Event { at: begins, what: What::PhaseBegin { phase: 0 } }).await?;
        engine.begin_phase(0, begins);
        let planned = begins + self.plan.phase.length;
        let time = tokio::time::sleep(planned.since(self.clock.now()));
        let counted = self.plan.phase.is_counted();
        let spent = async {
            tokio::select! {
                () = time => {}
                () = engine.phase_spent(0), if counted => {}
            }
        };
        let mut stop = self.stop.clone();
        let finish = tokio::select! {
            () = stop.asked() => Finish::Interrupted,
            result = self.pump(&mut events, spent) => result.map(|()| Finish::Completed)?,
        };
        let ends = planned.min(self.clock.now());
        engine.end_phase(0, ends);
        self.take(Event { at: ends, what: What::PhaseEnd { phase: 0 } }).await?;
        let drain = match finish {
            Finish::Completed => self.plan.traffic.drain,
            _ => Duration::ZERO,
        };
        let mut hurry = self.stop.clone();
        let finishing = engine.finish_or_hurry(drain, async move { hurry.asked().await });
        let mut finishing = std::pin::pin!(finishing);
        let finished = loop {
            tokio::select! {
                done = &mut finishing => break done,
                Some(event) = events.recv() => self.take(event).await?,
            }
        };
        finished?;
        // What the engine sent last.
        while let Some(event) = events.recv().await {
            self.take(event).await?;
        }
        let finish = if self.stop.is_asked() { Finish::Interrupted } else { finish };
        self.note(What::Drained).await?;
        self.take(own.event(&self.clock)).await?;
        self.note(What::Finished(finish.clone())).await?;
        Ok(finish)
    }

    fn starter(
        &self,
        events: Sender<Event>,
    ) -> impl FnOnce() -> Result<Engine, crate::load::Error> + use<> {
        let job = Job {
            traffic: self.plan.traffic.clone().into(),
            phases: vec![self.plan.phase.clone()].into(),
            window: self.plan.window,
        };
        let endpoint = Endpoint {
            address: self.address,
            host: self.host.clone(),
            netns: None,
            path: GeneratorPath::Native,
        };
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let clock = self.clock.clone();
        move || Engine::start(&job, endpoint, clock, workers, events)
    }

    /// Takes in events until something has happened.
    async fn pump(
        &mut self,
        events: &mut Receiver<Event>,
        until: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let mut until = std::pin::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => return Ok(()),
                broken = self.breakdowns.next() => {
                    if broken.is_fatal() {
                        return Err(broken.into());
                    }
                }
                Some(event) = events.recv() => self.take(event).await?,
            }
        }
    }

    async fn note(&mut self, what: What) -> Result<(), Error> {
        let at = self.clock.now();
        self.take(Event { at, what }).await
    }

    async fn take(&mut self, event: Event) -> Result<(), Error> {
        (self.observer)(&event);
        Ok(self.recorder.record(event).await?)
    }
}
