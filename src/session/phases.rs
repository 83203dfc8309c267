//! The main run: one container, all phases. With `on-oom = "restart"` an OOM-killed one is followed
//! by another, and the traffic goes on.

use std::time::Duration;

use super::way::Driving;
use super::{Error, Life, Opened, Session, Waited};
use crate::clock::Moment;
use crate::event::{Event, Finish, LifeRole, What};
use crate::plan::OnOom;
use crate::runtime;

/// Between the engine's start and the first arrival, so that its threads are there in time.
const HEAD_START: Duration = Duration::from_millis(20);

/// New lives in a row that are killed before they are ready, after which no more are tried.
const HOPELESS: u32 = 5;

/// Pause before another life is tried after one that was killed before it was ready.
const BACK_OFF: Duration = Duration::from_secs(1);

/// Why the phases ended before their time.
enum Early {
    Killed,
    Ended,
    Stopped,
    Failed(String),
    Aborted(String),
    /// The target ended by the hand of others.
    Taken(String),
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
        let mut life = Some(life);
        let early = Box::pin(self.drive(&mut life)).await;
        // The container goes whether driving it worked or not.
        let closed = match life {
            Some(life) => self.close(life).await,
            None => Ok(()),
        };
        let early = early?;
        closed?;
        Ok(match early {
            None => Finish::Completed,
            Some(Early::Killed) => Finish::OomKilled,
            Some(Early::Ended) => Finish::TargetEnded,
            Some(Early::Stopped) => Finish::Interrupted,
            Some(Early::Failed(text)) => Finish::TargetFailed { text },
            Some(Early::Aborted(rule)) => Finish::Aborted { rule },
            Some(Early::Taken(text)) => Finish::Failed { text },
        })
    }

    /// Sends the traffic of all phases. `life` is the one that runs, while one does.
    async fn drive(&mut self, life: &mut Option<Life>) -> Result<Option<Early>, Error> {
        let plan = self.plan.clone();
        let Some(first) = life.as_ref() else { return Ok(Some(Early::Ended)) };
        if first.target.is_lost() {
            return self.why_ended(first).await.map(Some);
        }
        let (way, clock, events) = (self.way.clone(), self.clock.clone(), self.sender.clone());
        let driving = Driving::begin(&way, &plan, &first.target, &clock, &events);
        let driving = match self.during(driving).await? {
            Ok(driving) => driving,
            Err(error) => return error.of_target().map(|text| Some(Early::Failed(text))),
        };
        self.acting.reach(Some(self.runtime.hand(&first.target, &plan.target)));
        let mut begins = self.clock.now() + HEAD_START;
        let (mut early, mut failed) = (None, None);
        for (index, phase) in (0_u16..).zip(&plan.phases) {
            self.during(driving.begin_phase(index, begins)).await??;
            self.take(Event { at: begins, what: What::PhaseBegin { phase: index } }).await?;
            let planned = begins + phase.length;
            let actions = self.acting.begin(phase, begins);
            match self.survive_phase(life, &driving, index, planned).await {
                Ok(reason) => early = reason,
                Err(error) => failed = Some(error),
            }
            drop(actions);
            // However late this is noticed: nothing fell due after its time, and a phase that was
            // over before it began took none.
            let ends = self.clock.now().clamp(begins, planned);
            let ended = self.end_phase(&driving, index, ends).await;
            // The first failure is what is told: others follow from it.
            failed = failed.or(ended.err());
            if early.is_none() && phase.stop_early {
                early = self.seen.bad_quality().map(Early::Aborted);
            }
            if early.is_some() || failed.is_some() {
                break;
            }
            begins = ends;
        }
        // What was counted is told, whatever went wrong.
        let drain =
            if early.is_none() && failed.is_none() { plan.traffic.drain } else { Duration::ZERO };
        let finished = self.finish_traffic(driving, drain).await;
        failed.or(finished.err()).map_or(Ok(early), Err)
    }

    async fn end_phase(
        &mut self,
        driving: &Driving,
        index: u16,
        ends: Moment,
    ) -> Result<(), Error> {
        let told = self.during(driving.end_phase(index, ends)).await?;
        self.take(Event { at: ends, what: What::PhaseEnd { phase: index } }).await?;
        told
    }

    async fn finish_traffic(&mut self, driving: Driving, drain: Duration) -> Result<(), Error> {
        let finished = self.during(driving.finish(drain)).await?;
        self.record_now(What::Drained).await?;
        self.let_the_window_end().await?;
        finished
    }

    /// Waits for the end of a phase, through as many lives as that takes where the plan wants it.
    async fn survive_phase(
        &mut self,
        life: &mut Option<Life>,
        driving: &Driving,
        index: u16,
        ends: Moment,
    ) -> Result<Option<Early>, Error> {
        loop {
            let Some(present) = life.as_ref() else { return Ok(Some(Early::Ended)) };
            let early = self.wait_for_phase(present, driving, index, ends).await?;
            if !matches!(early, Some(Early::Killed)) || self.plan.on_oom == OnOom::Stop {
                return Ok(early);
            }
            if let Some(early) = self.revive(life, driving).await? {
                return Ok(Some(early));
            }
        }
    }

    /// Puts another life in the place of one that was killed, and sends the traffic there.
    async fn revive(
        &mut self,
        life: &mut Option<Life>,
        driving: &Driving,
    ) -> Result<Option<Early>, Error> {
        let plan = self.plan.clone();
        for attempt in 0..HOPELESS {
            self.acting.reach(None);
            if let Some(killed) = life.take() {
                self.close(killed).await?;
            }
            let pause = if attempt == 0 { Duration::ZERO } else { BACK_OFF };
            if let Waited::Stopped = self.until(tokio::time::sleep(pause), |_| false).await? {
                return Ok(Some(Early::Stopped));
            }
            match self.open(LifeRole::Main, plan.target.limits.memory).await? {
                Opened::Ready(next) => {
                    let redirect = driving.redirect(&next.target, plan.target.port);
                    self.during(redirect).await??;
                    self.acting.reach(Some(self.runtime.hand(&next.target, &plan.target)));
                    *life = Some(next);
                    return Ok(None);
                }
                Opened::Killed(next) => *life = Some(next),
                Opened::Failed(next, error) => {
                    self.close(next).await?;
                    return Ok(Some(Early::Failed(runtime::explain(&error))));
                }
                Opened::Stopped(next) => {
                    self.close(next).await?;
                    return Ok(Some(Early::Stopped));
                }
            }
        }
        Ok(Some(Early::Killed))
    }

    /// Waits for the end of a phase: its time, or its last iteration.
    async fn wait_for_phase(
        &mut self,
        life: &Life,
        driving: &Driving,
        index: u16,
        ends: Moment,
    ) -> Result<Option<Early>, Error> {
        let id = life.id;
        let counted = self.plan.phases[usize::from(index)].is_counted();
        let time = tokio::time::sleep(ends.since(self.clock.now()));
        let wait = async {
            tokio::select! {
                () = time => {}
                () = driving.phase_spent(index), if counted => {}
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
                self.why_ended(life).await.map(Some)
            }
        }
    }

    /// Why a life ended that was not asked to.
    async fn why_ended(&mut self, life: &Life) -> Result<Early, Error> {
        self.aftermath(life.id).await?;
        if self.seen.is_killed(life.id) {
            return Ok(Early::Killed);
        }
        Ok(life.target.blame().map_or(Early::Ended, Early::Taken))
    }
}
