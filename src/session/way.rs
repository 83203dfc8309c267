//! Who samples memory and sends traffic: this process, a helper container, or nobody but the
//! engine itself. What is done is the same; only the hands differ.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Sender;

use super::Error;
use crate::cgroup::{Extras, Nest};
use crate::clock::{Clock, Moment};
use crate::event::{Event, LifeId};
use crate::helper::{Clocks, Helper, LoadOrder, ReadyOrder};
use crate::load::{self, Endpoint, Engine};
use crate::plan::{Plan, ReadyCheck, ReadyPlan};
use crate::runtime::{self, Proof, Runtime, Stats, Target, Via};
use crate::sample::{Sampler, SamplerJob, VitalsJob, VitalsSampler};

/// Who samples memory and sends traffic.
#[derive(Debug, Clone)]
pub enum Way {
    /// This process.
    Here(Via),
    /// A helper container.
    Helper(Arc<Helper>),
    /// Whoever a test has instead.
    #[cfg(test)]
    Scripted(Arc<dyn super::scripted::Hands>),
}

/// Finds the best way to a runtime's targets, or takes the wanted one. Gives also what the reader
/// of the report should know of it.
///
/// # Errors
/// When the wanted one can't be had.
pub async fn find_way(
    runtime: &mut Runtime,
    wanted: Option<Via>,
    run_id: &str,
) -> Result<(Way, Vec<String>), Error> {
    match wanted.unwrap_or_else(|| runtime.best_via()) {
        Via::Direct if runtime.best_via() == Via::Direct => {
            runtime.reach_directly()?;
            Ok((Way::Here(Via::Direct), Vec::new()))
        }
        Via::Direct => Err(runtime::Error::NotInReach.into()),
        Via::Helper => match by_helper(runtime, run_id).await {
            Ok(found) => Ok(found),
            Err(error) if wanted.is_some() => Err(error),
            Err(error) => {
                let lost = format!("no helper container: {}", runtime::explain(&error));
                let (way, mut notes) = without_helper(runtime, runtime.via_without_helper())?;
                notes.insert(0, lost);
                Ok((way, notes))
            }
        },
        poorer => without_helper(runtime, poorer),
    }
}

async fn by_helper(runtime: &mut Runtime, run_id: &str) -> Result<(Way, Vec<String>), Error> {
    let pipe = runtime.start_helper().await?;
    let helper = Helper::greet(pipe.output, pipe.input).await?;
    let facts = helper.facts().clone();
    let hierarchies = facts.hierarchies.ok_or(runtime::Error::NoMemoryThere)?;
    if runtime.takes_parents() {
        helper.open_run(run_id).await?;
    }
    runtime.reach_by_helper(hierarchies, facts.host);
    let mut notes = vec![
        "memory is sampled and traffic sent by a helper container of Highwater's own".to_owned(),
    ];
    if let Clocks::Estimated { error, .. } = helper.clocks() {
        notes.push(format!(
            "the helper runs under another kernel: its clock is matched to ours within ± {} µs",
            error.as_micros()
        ));
    }
    Ok((Way::Helper(Arc::new(helper)), notes))
}

fn without_helper(runtime: &mut Runtime, via: Via) -> Result<(Way, Vec<String>), Error> {
    let published = "requests go through a published port and Docker's proxy".to_owned();
    let notes = if via == Via::ReadOnly {
        runtime.reach_to_read()?;
        let text = "peaks can't be reset from here: spikes between two ticks are missed where they \
                    set no record";
        vec![text.to_owned(), published]
    } else {
        runtime.reach_by_stats();
        let text = "memory comes from Docker's stats, one reading a second: THIS SEES NO SPIKES, \
                    and a pass says little";
        vec![text.to_owned(), published]
    };
    Ok((Way::Here(via), notes))
}

impl Way {
    /// How memory is sampled and the network reached.
    #[must_use]
    pub const fn via(&self) -> Via {
        match self {
            Self::Here(via) => *via,
            Self::Helper(_) => Via::Helper,
            #[cfg(test)]
            Self::Scripted(_) => Via::Direct,
        }
    }

    /// Waits until who samples and sends is gone without being asked to.
    pub(super) async fn gone(&self) -> Error {
        match self {
            Self::Here(_) => std::future::pending().await,
            Self::Helper(helper) => helper.gone().await.into(),
            #[cfg(test)]
            Self::Scripted(_) => std::future::pending().await,
        }
    }

    /// Cgroups for a life, where this way makes them apart from the runtime.
    pub(super) async fn nest(&self, runtime: &Runtime, name: &str) -> Result<Option<Nest>, Error> {
        match self {
            Self::Helper(helper) if runtime.takes_parents() => Ok(Some(helper.nest(name).await?)),
            _ => Ok(None),
        }
    }

    /// Makes settings in a cgroup that is there, or appears soon.
    pub(super) async fn impose(&self, extras: Extras, dir: PathBuf) -> Result<(), String> {
        match self {
            Self::Here(_) => tokio::task::spawn_blocking(move || extras.impose_when_there(&dir))
                .await
                .expect("imposing limits does not panic")
                .map_err(|error| error.to_string()),
            Self::Helper(helper) => {
                helper.impose(extras, dir).await.map_err(|error| runtime::explain(&error))
            }
            #[cfg(test)]
            Self::Scripted(_) => Ok(()),
        }
    }

    /// The check of readiness, where it is made elsewhere.
    pub(super) fn proof(&self, target: &Target, ready: &ReadyPlan) -> Option<Proof> {
        #[cfg(test)]
        if let Self::Scripted(hands) = self {
            return Some(hands.proof(target.life()));
        }
        let Self::Helper(helper) = self else { return None };
        let get = match &ready.check {
            ReadyCheck::Http { path, status } => Some((path.clone(), *status)),
            ReadyCheck::Tcp => None,
            // Its output comes to us.
            ReadyCheck::Log { .. } => return None,
        };
        let (pid, address, within) = (target.pid()?, target.address(), ready.within);
        let (helper, order) = (Arc::clone(helper), ReadyOrder { pid, address, get, within });
        Some(Box::pin(async move {
            let found = helper.await_ready(order).await;
            found.unwrap_or_else(|error| Err(runtime::explain(&error)))
        }))
    }
}

/// Memory that is being sampled.
#[derive(Debug)]
pub(super) enum Sampling {
    Here(Sampler),
    There(Arc<Helper>, LifeId),
    Engine(Stats),
    #[cfg(test)]
    Scripted(super::scripted::Sampling),
}

impl Sampling {
    /// Begins before the container starts; none where only the engine can tell, once it has.
    pub(super) async fn begin(
        way: &Way,
        job: SamplerJob,
        clock: &Clock,
        events: &Sender<Event>,
    ) -> Result<Option<Self>, Error> {
        match way {
            Way::Here(Via::DockerStats) => Ok(None),
            Way::Here(_) => {
                Ok(Some(Self::Here(Sampler::start(job, clock.clone(), events.clone())?)))
            }
            Way::Helper(helper) => {
                let life = job.life;
                helper.sample(job).await?;
                Ok(Some(Self::There(Arc::clone(helper), life)))
            }
            #[cfg(test)]
            Way::Scripted(hands) => {
                Ok(Some(Self::Scripted(hands.sample(job, clock.clone(), events.clone()))))
            }
        }
    }

    pub(super) async fn stop(self) -> Result<(), Error> {
        match self {
            // It sends its last events while it is waited for.
            Self::Here(sampler) => Ok(tokio::task::spawn_blocking(move || sampler.stop())
                .await
                .expect("stopping a sampler does not panic")?),
            Self::There(helper, life) => Ok(helper.stop_sampling(life).await?),
            Self::Engine(stats) => {
                stats.stop().await;
                Ok(())
            }
            #[cfg(test)]
            Self::Scripted(sampling) => {
                sampling.stop().await;
                Ok(())
            }
        }
    }
}

/// Of what vitals are measured.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) life: LifeId,
    /// A process of it.
    pub(super) pid: Option<i32>,
    /// Its cgroup's directories, one a hierarchy, where they are seen from here.
    pub(super) dirs: Vec<PathBuf>,
}

impl Measured {
    pub(super) fn of(target: &Target) -> Self {
        Self { life: target.life(), pid: target.pid(), dirs: target.cgroup_dirs() }
    }
}

/// Vitals that are being measured.
#[derive(Debug)]
pub(super) enum Measuring {
    Here(VitalsSampler),
    There(Arc<Helper>, LifeId),
}

impl Measuring {
    /// Begins, where it can: a run goes on without.
    pub(super) async fn begin(
        way: &Way,
        measured: Measured,
        clock: &Clock,
        events: &Sender<Event>,
    ) -> Option<Self> {
        let Measured { life, pid, dirs } = measured;
        match way {
            Way::Here(Via::DockerStats) => None,
            Way::Here(_) => {
                let job = VitalsJob { life, dirs };
                VitalsSampler::start(job, clock.clone(), events.clone()).ok().map(Self::Here)
            }
            Way::Helper(helper) => {
                helper.measure(life, pid, dirs).await.ok()?;
                Some(Self::There(Arc::clone(helper), life))
            }
            #[cfg(test)]
            Way::Scripted(_) => None,
        }
    }

    /// Tells that the target is ready: it is measured then, and its program is looked at.
    pub(super) async fn ready(&self) {
        match self {
            Self::Here(vitals) => vitals.ready(),
            // Without it the next measure is a second away.
            Self::There(helper, life) => drop(helper.measure_ready(*life).await),
        }
    }

    /// Takes a measure now.
    pub(super) async fn measure(&self) {
        match self {
            Self::Here(vitals) => drop(vitals.measure().await),
            Self::There(helper, life) => drop(helper.measure_now(*life).await),
        }
    }

    pub(super) async fn stop(self) -> Result<(), Error> {
        match self {
            Self::Here(vitals) => Ok(tokio::task::spawn_blocking(move || vitals.stop())
                .await
                .expect("stopping vitals does not panic")?),
            Self::There(helper, life) => Ok(helper.stop_measuring(life).await?),
        }
    }
}

/// Traffic that is being sent.
#[derive(Debug)]
pub(super) enum Driving {
    Here(Engine),
    There(Arc<Helper>),
    #[cfg(test)]
    Scripted(Box<dyn super::scripted::Traffic>),
}

impl Driving {
    pub(super) async fn begin(
        way: &Way,
        plan: &Plan,
        target: &Target,
        clock: &Clock,
        events: &Sender<Event>,
    ) -> Result<Self, Error> {
        let (job, host) = (load::Job::of(plan), host_of(plan.target.port));
        #[cfg(test)]
        if let Way::Scripted(hands) = way {
            return Ok(Self::Scripted(hands.drive(job, clock.clone(), events.clone())));
        }
        match (way, target.pid()) {
            (Way::Helper(helper), Some(pid)) => {
                let port = target.address().port();
                helper.load(LoadOrder { job, pid, port, host }).await?;
                Ok(Self::There(Arc::clone(helper)))
            }
            _ => {
                let workers =
                    std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
                let (endpoint, clock) = (endpoint(target, plan.target.port), clock.clone());
                let events = events.clone();
                // Setups may wait for answers.
                let started = tokio::task::spawn_blocking(move || {
                    Engine::start(&job, endpoint, clock, workers, events)
                });
                Ok(Self::Here(started.await.map_err(|_| load::Error::Panicked)??))
            }
        }
    }

    pub(super) async fn begin_phase(&self, phase: u16, at: Moment) -> Result<(), Error> {
        match self {
            Self::Here(engine) => engine.begin_phase(phase, at),
            Self::There(helper) => helper.begin_phase(phase, at).await?,
            #[cfg(test)]
            Self::Scripted(traffic) => traffic.begin_phase(phase, at),
        }
        Ok(())
    }

    pub(super) async fn end_phase(&self, phase: u16, at: Moment) -> Result<(), Error> {
        match self {
            Self::Here(engine) => engine.end_phase(phase, at),
            Self::There(helper) => helper.end_phase(phase, at).await?,
            #[cfg(test)]
            Self::Scripted(traffic) => traffic.end_phase(phase, at),
        }
        Ok(())
    }

    pub(super) async fn phase_spent(&self, phase: u16) {
        match self {
            Self::Here(engine) => engine.phase_spent(phase).await,
            Self::There(helper) => helper.phase_spent(phase).await,
            #[cfg(test)]
            Self::Scripted(_) => std::future::pending().await,
        }
    }

    /// Sends what comes from now on to another life of the target, whose port is `port`.
    pub(super) async fn redirect(&self, target: &Target, port: u16) -> Result<(), Error> {
        match (self, target.pid()) {
            // It is gone again already, which its end will tell.
            _ if target.is_lost() => {}
            (Self::Here(engine), _) => engine.set_endpoint(endpoint(target, port))?,
            (Self::There(helper), Some(pid)) => {
                helper.redirect(pid, target.address().port()).await?;
            }
            (Self::There(_), None) => {}
            #[cfg(test)]
            (Self::Scripted(traffic), _) => traffic.redirect(target.life()),
        }
        Ok(())
    }

    pub(super) async fn finish(self, drain: Duration) -> Result<(), Error> {
        match self {
            Self::Here(engine) => drop(engine.finish(drain).await?),
            Self::There(helper) => drop(helper.finish_load(drain).await?),
            #[cfg(test)]
            Self::Scripted(traffic) => traffic.finish(drain).await,
        }
        Ok(())
    }
}

fn host_of(port: u16) -> String {
    SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, port)).to_string()
}

fn endpoint(target: &Target, port: u16) -> Endpoint {
    Endpoint {
        address: target.address(),
        host: host_of(port),
        netns: target.netns(),
        path: target.path(),
    }
}
