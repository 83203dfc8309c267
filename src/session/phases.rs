//! The main run: one container, all phases.

use std::time::Duration;

use super::{Error, Life, Opened, Session, Waited};
use crate::clock::Moment;
use crate::event::{Event, Finish, LifeId, LifeRole, What};
use crate::load::{self, Endpoint, Engine};
use crate::plan::OnOom;
use crate::runtime;

/// Between the engine's start and the first arrival, so that its threads are there in time.
const HEAD_START: Duration = Duration::from_millis(20);

/// Why the phases ended before their time.
enum Early {
    Killed,
    Ended,
    Stopped,
    Aborted(String),
}

impl Session {
    /// Starts the main container, runs all phases in it, and clears it away.
    ///
    /// # Errors
    /// When the runtime, the sampler, the load or the recording fails.
    pub async fn run_phases(&mut self) -> Result<Finish, Error> {
        let life = match self.open(LifeRole::Main, self.plan.target.limits.memory).await? {
            Opened::Ready(life) => life,
            Opened::Killed(life) => {
                self.close(life).await?;
                return Ok(Finish::OomKilled);
            }
            Opened::Failed(life, error) => {
                self.close(life).await?;
                return Ok(Finish::TargetFailed { text: runtime::explain(&error) });
            }
            Opened::Stopped(life) => {
                self.close(life).await?;
                return Ok(Finish::Interrupted);
            }
        };
        let early = self.drive(&life).await;
        // The container goes whether driving it worked or not.
        self.close(life).await?;
        Ok(match early? {
            None => Finish::Completed,
            Some(Early::Killed) => Finish::OomKilled,
            Some(Early::Ended) => Finish::TargetEnded,
            Some(Early::Stopped) => Finish::Interrupted,
            Some(Early::Aborted(rule)) => Finish::Aborted { rule },
        })
    }

    /// Sends the traffic of all phases.
    async fn drive(&mut self, life: &Life) -> Result<Option<Early>, Error> {
        let plan = self.plan.clone();
        let engine = self.start_engine(life)?;
        let mut begins = self.clock.now() + HEAD_START;
        let mut early = None;
        for (index, phase) in (0_u16..).zip(&plan.phases) {
            engine.begin_phase(index, begins);
            self.take(Event { at: begins, what: What::PhaseBegin { phase: index } }).await?;
            let planned = begins + phase.length;
            early = self.wait_for_phase(life.id, &engine, index, planned).await?;
            // A phase that ran its whole time ends on time, however late this is noticed.
            let ends =
                if early.is_none() { planned.min(self.clock.now()) } else { self.clock.now() };
            engine.end_phase(index, ends);
            self.take(Event { at: ends, what: What::PhaseEnd { phase: index } }).await?;
            if early.is_some() {
                break;
            }
            begins = ends;
        }
        let drain = if early.is_none() { plan.traffic.drain } else { Duration::ZERO };
        self.during(engine.finish(drain)).await??;
        self.record_now(What::Drained).await?;
        self.let_the_window_end().await?;
        Ok(early)
    }

    fn start_engine(&self, life: &Life) -> Result<Engine, Error> {
        let endpoint = Endpoint {
            address: life.target.address(),
            host: format!("127.0.0.1:{}", self.plan.target.port),
            netns: life.target.netns(),
            path: life.target.path(),
        };
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let job = load::Job::of(&self.plan);
        Ok(Engine::start(&job, endpoint, self.clock.clone(), workers, self.sender.clone())?)
    }

    /// Waits for the end of a phase: its time, or its last iteration.
    async fn wait_for_phase(
        &mut self,
        id: LifeId,
        engine: &Engine,
        index: u16,
        ends: Moment,
    ) -> Result<Option<Early>, Error> {
        let counted = self.plan.phases[usize::from(index)].is_counted();
        let time = tokio::time::sleep(ends.since(self.clock.now()));
        let wait = async {
            tokio::select! {
                () = time => {}
                () = engine.phase_spent(index), if counted => {}
            }
        };
        let stop_on_kill = self.plan.on_oom == OnOom::Stop;
        let watch = move |seen: &super::Seen| {
            (stop_on_kill && seen.is_killed(id))
                || seen.end_of(id).is_some()
                || seen.broken_rule().is_some()
        };
        match self.until(wait, watch).await? {
            Waited::Done(()) => Ok(None),
            Waited::Stopped => Ok(Some(Early::Stopped)),
            Waited::Seen => {
                if let Some(rule) = self.seen.broken_rule() {
                    return Ok(Some(Early::Aborted(rule.to_owned())));
                }
                self.aftermath(id).await?;
                Ok(Some(if self.seen.is_killed(id) { Early::Killed } else { Early::Ended }))
            }
        }
    }
}
