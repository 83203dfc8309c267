//! The life of one container: opened, watched, closed.

use std::time::Duration;

use super::way::{Measured, Measuring, Sampling, Way};
use super::{Error, Session, Waited};
use crate::cgroup::{Extras, Nest, Place, Version};
use crate::event::{Event, Exit, LifeId, LifeRole, LifeStart, What};
use crate::runtime::{self, NewLife, Target};
use crate::sample::SamplerJob;
use crate::units::{Bytes, Limit};

/// After a kill or an end, the time in which other sources may still tell of an OOM kill: Docker's
/// own event comes within some 100 ms.
const AFTERMATH: Duration = Duration::from_millis(500);

/// How long the last slow measure of a container is waited for.
const LAST_MEASURE: Duration = Duration::from_millis(500);

/// A container that runs and is sampled.
#[derive(Debug)]
pub struct Life {
    /// Its identity.
    pub id: LifeId,
    pub(super) target: Target,
    sampling: Sampling,
    measuring: Option<Measuring>,
    /// Its cgroups, where a helper made them.
    nest: Option<Nest>,
}

/// What became of a container that was to start and become ready.
#[derive(Debug)]
pub enum Opened {
    /// It is ready.
    Ready(Life),
    /// It was OOM-killed before it was ready.
    Killed(Life),
    /// It did not become ready.
    Failed(Life, runtime::Error),
    /// The run was asked to stop.
    Stopped(Life),
}

/// The name of a life in files and containers; `mains` counts the main lives before it.
fn name_of(role: LifeRole, mains: u32) -> String {
    match role {
        LifeRole::Trial { number } => format!("trial-{number}"),
        LifeRole::Unlimited { number } => format!("trial-{number}-unlimited"),
        LifeRole::Main if mains == 0 => "main".to_owned(),
        LifeRole::Main => format!("main-{}", mains + 1),
    }
}

impl Session {
    /// Starts a fresh container, sampled from before its first instruction, and waits until it is
    /// ready.
    ///
    /// # Errors
    /// When the runtime or the sampler can't work. What was begun is cleaned up then.
    pub async fn open(&mut self, role: LifeRole, limit: Limit) -> Result<Opened, Error> {
        let life = Box::pin(self.start_life(role, limit)).await?;
        let runtime = self.runtime.clone();
        let (ready, clock) = (self.plan.target.ready.clone(), self.clock.clone());
        let id = life.id;
        let waited = {
            let proof = self.way.proof(&life.target, &ready);
            let ready = runtime.wait_ready(&life.target, &ready, &clock, proof);
            self.until(ready, |seen| seen.is_killed(id)).await?
        };
        match waited {
            Waited::Done(Ok(at)) => {
                self.take(Event { at, what: What::Ready { life: id } }).await?;
                if let Some(measuring) = &life.measuring {
                    self.during(measuring.ready()).await?;
                }
                Ok(Opened::Ready(life))
            }
            Waited::Done(Err(error)) => {
                self.aftermath(id).await?;
                if self.seen.is_killed(id) {
                    Ok(Opened::Killed(life))
                } else {
                    Ok(Opened::Failed(life, error))
                }
            }
            Waited::Seen => Ok(Opened::Killed(life)),
            Waited::Stopped => Ok(Opened::Stopped(life)),
        }
    }

    async fn start_life(&mut self, role: LifeRole, limit: Limit) -> Result<Life, Error> {
        let id = LifeId(self.next_life);
        self.next_life += 1;
        let runtime = self.runtime.clone();
        let name = name_of(role, self.main_lives);
        self.main_lives += u32::from(role == LifeRole::Main);
        let (built, plan) = (self.built.clone(), self.plan.clone());
        let clock = self.clock.clone();
        let way = self.way.clone();
        let nest = self.during(way.nest(&runtime, &name)).await??;
        let new = NewLife { life: id, name: &name, limit, nest: nest.clone() };
        let prepare = runtime.prepare(&built, &plan.target, new, &clock);
        let prepared = self.during(prepare).await??;
        self.record_now(What::Life(LifeStart { life: id, role, limit })).await?;
        let job = SamplerJob {
            life: id,
            place: prepared.place.clone(),
            sampling: plan.sampling,
            may_reset: true,
            limit,
        };
        let events = self.sender.clone();
        let sampling = match self.during(Sampling::begin(&way, job, &clock, &events)).await? {
            Ok(sampling) => sampling,
            Err(error) => {
                self.during(runtime.discard(prepared)).await??;
                return Err(error);
            }
        };
        self.impose_extras(&prepared.place, limit);
        let mut target = match self.during(runtime.start(prepared)).await? {
            Ok(target) => target,
            Err(error) => {
                if let Some(sampling) = sampling {
                    self.during(sampling.stop()).await??;
                }
                return Err(error.into());
            }
        };
        self.forward_events(&mut target);
        self.prints.begin(id, target.printout());
        let follow = || runtime.follow_stats(&target, &clock, events.clone()).map(Sampling::Engine);
        let sampling = sampling.or_else(follow).expect("only Docker's targets are left to stats");
        let measuring =
            self.during(Measuring::begin(&way, Measured::of(&target), &clock, &events)).await?;
        Ok(Life { id, target, sampling, measuring, nest })
    }

    /// Makes the settings that Kubernetes would, as soon as the container's cgroup is there.
    fn impose_extras(&self, place: &Place, limit: Limit) {
        let Some(kubernetes) = self.plan.target.limits.kubernetes else { return };
        if place.version == Version::V1 {
            return;
        }
        let extras = Extras { oom_group: true, high: kubernetes.high(limit) };
        let (way, leaf) = (self.way.clone(), place.leaf.clone());
        let (clock, events) = (self.clock.clone(), self.sender.clone());
        tokio::spawn(async move {
            if let Err(text) = way.impose(extras, leaf).await {
                let text =
                    format!("the container could not be limited like Kubernetes does: {text}");
                let _ = events.send(Event { at: clock.now(), what: What::Note { text } }).await;
            }
        });
    }

    /// Lets the runtime's news of a target flow into the session's channel.
    fn forward_events(&self, target: &mut Target) {
        let Some(mut events) = target.take_events() else { return };
        let sender = self.sender.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if sender.send(event).await.is_err() {
                    break;
                }
            }
        });
    }

    /// Waits a moment for late news of a life that seems to have ended.
    pub(super) async fn aftermath(&mut self, id: LifeId) -> Result<(), Error> {
        let wait = tokio::time::sleep(AFTERMATH);
        self.until(wait, |seen| seen.is_killed(id) && seen.end_of(id).is_some()).await?;
        Ok(())
    }

    /// Watches a ready container until its level counts as settled. Gives false where it ended or
    /// the run was asked to stop before.
    ///
    /// # Errors
    /// When the recording can't be written.
    pub async fn settle(&mut self, life: &Life) -> Result<bool, Error> {
        let id = life.id;
        let wait = tokio::time::sleep(self.plan.startup.settle);
        let waited =
            self.until(wait, |seen| seen.is_killed(id) || seen.end_of(id).is_some()).await?;
        match waited {
            Waited::Done(()) => {
                self.record_now(What::Settled { life: id }).await?;
                self.let_the_window_end().await?;
                Ok(true)
            }
            Waited::Seen => {
                self.aftermath(id).await?;
                Ok(false)
            }
            Waited::Stopped => Ok(false),
        }
    }

    /// Waits until the present window is over, so that what comes next does not count in it.
    pub(super) async fn let_the_window_end(&mut self) -> Result<(), Error> {
        let window = self.plan.sampling.window + 2 * self.plan.sampling.tick;
        self.during(tokio::time::sleep(window)).await
    }

    /// Ends a container and everything around it, and completes its record.
    ///
    /// # Errors
    /// When the container or its cgroups can't be removed, or the recording can't be written.
    pub async fn close(&mut self, life: Life) -> Result<(), Error> {
        let Life { id, mut target, sampling, measuring, nest } = life;
        let runtime = self.runtime.clone();
        let asked = self.seen.end_of(id).is_none();
        if let Some(measuring) = &measuring {
            // Counters go with the container: the last reading is taken while it is there.
            let measured = tokio::time::timeout(LAST_MEASURE, measuring.measure());
            let _ = self.during(measured).await?;
        }
        let printout = target.printout();
        let stopped = self.during(runtime.stop(&mut target)).await?;
        if let Some(measuring) = measuring {
            // That it broke down was told when it did: a run goes on without.
            let _ = self.during(measuring.stop()).await?;
        }
        let sampled = self.during(sampling.stop()).await?;
        for event in self.prints.end(id, self.clock.now()) {
            self.take(event).await?;
        }
        self.record_now(What::Logged { life: id, bytes: Bytes::new(printout.bytes()) }).await?;
        let wait = tokio::time::sleep(AFTERMATH);
        self.until(wait, |seen| seen.end_of(id).is_some()).await?;
        let removed = self.during(runtime.remove(target)).await?;
        let nested_peak = match (nest, self.way.clone()) {
            (Some(nest), Way::Helper(helper)) => self.during(helper.remove_nest(nest)).await??,
            _ => None,
        };
        self.pump_what_is_there().await?;
        let unknown = (self.clock.now(), Exit { code: None, asked });
        let (at, exit) = self.seen.end_of(id).unwrap_or(unknown);
        let exit = Exit { asked: exit.asked || asked, ..exit };
        let lifetime_peak = removed.as_ref().ok().copied().flatten().or(nested_peak);
        self.take(Event { at, what: What::Ended { life: id, exit, lifetime_peak } }).await?;
        sampled?;
        stopped?;
        if let Err(error) = removed {
            // What was measured is whole; clearing away is tried again at the run's end.
            let why = runtime::explain(&error);
            self.note(format!("what ran could not be cleared away at once: {why}")).await?;
        }
        Ok(())
    }

    /// Whether a process of this life was OOM-killed.
    #[must_use]
    pub fn is_killed(&self, life: LifeId) -> bool {
        self.seen.is_killed(life)
    }

    /// How this life ended, once it has.
    #[must_use]
    pub fn end_of(&self, life: LifeId) -> Option<Exit> {
        self.seen.end_of(life).map(|(_, exit)| exit)
    }
}
