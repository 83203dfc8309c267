//! Where the target runs: a Docker container, or a process in a cgroup of our own.
//!
//! One run has one [`Runtime`]. It builds the target once, then for each life *prepares* the place
//! (cgroups known before anything starts), *starts* the target in it, tells of its end and of OOM
//! kills as events, stops it, and removes everything. Whatever a run made carries its id, so that
//! [`Runtime::clean_up`] removes it on every way out, and `highwater clean` after a crash.
//!
//! Who samples and who sends traffic is no concern of this module: it hands out the cgroup, the
//! address and the network namespace.

mod attach;
mod build;
mod docker;
mod elf;
mod error;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod hand;
mod host;
mod image;
mod leftovers;
mod mask;
mod native;
mod oom_notice;
mod output;
mod ready;
#[cfg(test)]
pub(crate) mod scripted;
mod spawn;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::watch;

use crate::cgroup::{Hierarchies, Nest, Place};
use crate::clock::{Clock, Moment};
use crate::event::{Event, Exit, GeneratorPath, HostFacts, LifeId, ReleaseBuild};
use crate::plan::{Budget, ReadyCheck, ReadyPlan, TargetPlan};
use crate::units::{Bytes, Human, Limit};

pub use attach::{Again, AttachError, Attached, Attacher, Following, Wanted};
pub use build::Say;
pub use docker::{ImageFacts, Pipe, Stats, image_facts};
pub use error::{Error, ErrorKind, explain};
pub use hand::Hand;
pub use host::{bare_host_facts, boot_id};
pub use leftovers::{Leftover, Leftovers, Scratch, goes_on, leftovers, remove_leftovers};
pub use ready::{ReadyProbe, await_ready};

/// Where the user wants the target to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Docker where its socket answers, else a cgroup of our own.
    Auto,
    /// A Docker container.
    Docker,
    /// A cgroup of our own.
    Native,
}

/// How a container's memory is sampled and its network reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// From here: root on the engine's own host.
    Direct,
    /// From a helper container of ours.
    Helper,
    /// By reading its cgroup, which can't be changed; requests go through a published port.
    ReadOnly,
    /// By the engine's own stats, a reading a second; requests go through a published port.
    DockerStats,
}

impl Via {
    /// The name that recordings and reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Helper => "helper",
            Self::ReadOnly => "read-only",
            Self::DockerStats => "docker-stats",
        }
    }
}

/// What a readiness check made elsewhere will find: the moment at which the target proved ready,
/// or what the last try found.
pub type Proof = BoxFuture<'static, Result<Moment, String>>;

/// Where the target runs.
#[derive(Debug)]
pub struct Runtime {
    kind: Kind,
    notes: Vec<String>,
    run_id: String,
    budget: Budget,
    /// The host of the containers, where a helper told of it.
    host: Option<HostFacts>,
}

#[derive(Debug)]
enum Kind {
    Docker(Box<docker::Docker>),
    Native(native::Native),
    #[cfg(test)]
    Scripted(scripted::Scripted),
}

/// A target that was built and can be started again and again.
#[derive(Debug, Clone)]
pub struct Built {
    label: String,
    release: ReleaseBuild,
    evidence: String,
    program: Program,
    output_dir: PathBuf,
}

#[derive(Debug, Clone)]
enum Program {
    Image(String),
    Binary(PathBuf),
}

impl Built {
    /// The image's or binary's name.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether it is a release build.
    #[must_use]
    pub const fn release(&self) -> ReleaseBuild {
        self.release
    }

    /// How that was recognised.
    #[must_use]
    pub fn release_evidence(&self) -> &str {
        &self.evidence
    }
}

/// A life that is to come.
#[derive(Debug)]
pub struct NewLife<'a> {
    /// Its identity.
    pub life: LifeId,
    /// Its name in files and containers.
    pub name: &'a str,
    /// Its memory limit.
    pub limit: Limit,
    /// Cgroups made for it elsewhere; without them it gets some of its own where that can be.
    pub nest: Option<Nest>,
}

/// A life whose place is known and which has not started.
#[derive(Debug)]
pub struct Prepared {
    /// Where its container will live.
    pub place: Place,
    life: LifeId,
    output: output::Output,
    clock: Clock,
    inner: PreparedKind,
}

#[derive(Debug)]
enum PreparedKind {
    Docker(docker::Created),
    Native(native::Ready),
    #[cfg(test)]
    Scripted(scripted::Ready),
}

/// A target that was started.
#[derive(Debug)]
pub struct Target {
    life: LifeId,
    address: SocketAddr,
    pid: Option<i32>,
    netns: Option<OwnedFd>,
    path: GeneratorPath,
    /// Whether it ended before its network could be entered.
    lost: bool,
    cgroup_dirs: Vec<PathBuf>,
    events: Option<Receiver<Event>>,
    ended: watch::Receiver<Option<Exit>>,
    output: output::Output,
    inner: TargetKind,
}

#[derive(Debug)]
enum TargetKind {
    Docker(docker::Running),
    Native(native::Running),
    #[cfg(test)]
    Scripted(scripted::Running),
}

impl Target {
    /// Which life it is.
    #[must_use]
    pub const fn life(&self) -> LifeId {
        self.life
    }

    /// Where it is reached: inside its network namespace, or from here.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its first process, as its host numbers it; none where it is gone already.
    #[must_use]
    pub const fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// Its network namespace, where we may enter it.
    #[must_use]
    pub fn netns(&self) -> Option<OwnedFd> {
        self.netns.as_ref().and_then(|fd| fd.try_clone().ok())
    }

    /// Whether it ended before its network could be entered: what is sent to its address would go
    /// to somebody else.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        self.lost
    }

    /// Why it ended, where it did not end by itself but by the hand of others.
    #[must_use]
    pub fn blame(&self) -> Option<String> {
        match &self.inner {
            TargetKind::Docker(running) => running.blame(),
            TargetKind::Native(_) => None,
            #[cfg(test)]
            TargetKind::Scripted(_) => None,
        }
    }

    /// How requests reach it.
    #[must_use]
    pub const fn path(&self) -> GeneratorPath {
        self.path
    }

    /// The directories of its own cgroup, one a hierarchy.
    #[must_use]
    pub fn cgroup_dirs(&self) -> Vec<PathBuf> {
        self.cgroup_dirs.clone()
    }

    /// Counts the bytes that it prints, as long as it runs.
    #[must_use]
    pub fn log_bytes(&self) -> Arc<AtomicU64> {
        self.output.count()
    }

    /// What the runtime tells of it, once: its start, kills, its end.
    pub const fn take_events(&mut self) -> Option<Receiver<Event>> {
        self.events.take()
    }
}

impl Runtime {
    /// Finds a runtime of the wanted kind. Before a Docker target is prepared, one of the
    /// `reach_…` must say how its cgroup and network are got at; until then only the engine's own
    /// stats are.
    ///
    /// # Errors
    /// When there is none: no engine answers, or cgroups can't be made.
    pub async fn connect(choice: Choice, run_id: &str, budget: &Budget) -> Result<Self, Error> {
        let mut notes = Vec::new();
        let kind = match choice {
            Choice::Docker => Kind::Docker(Box::new(docker::Docker::connect(run_id).await?)),
            Choice::Native => Kind::Native(native::Native::new(run_id, &mut notes)?),
            Choice::Auto => match docker::Docker::connect(run_id).await {
                Ok(docker) => Kind::Docker(Box::new(docker)),
                Err(no_docker) => {
                    let native = native::Native::new(run_id, &mut notes);
                    notes.push("no Docker engine answers: a cgroup of our own is used".to_owned());
                    Kind::Native(native.map_err(|_| no_docker)?)
                }
            },
        };
        let run_id = run_id.to_owned();
        Ok(Self { kind, notes, run_id, budget: *budget, host: None })
    }

    /// `docker` or `native`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.kind {
            Kind::Docker(_) => "docker",
            Kind::Native(_) => "native",
            #[cfg(test)]
            Kind::Scripted(_) => "native",
        }
    }

    /// Which way was taken where there was a choice, in sentences.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    /// Notes that the run keeps its files in a directory: those that are not whole yet when it is
    /// killed are found there.
    ///
    /// # Errors
    /// When that can't be noted.
    pub fn reports_in(&self, dir: &Path) -> Result<(), Error> {
        match &self.kind {
            Kind::Docker(docker) => docker.note().reports_in(dir),
            Kind::Native(native) => native.note().reports_in(dir),
            #[cfg(test)]
            Kind::Scripted(_) => Ok(()),
        }
    }

    /// What is known of this host.
    #[must_use]
    pub fn host_facts(&self) -> HostFacts {
        let mut facts = self.host.clone().unwrap_or_else(bare_host_facts);
        if let Kind::Docker(docker) = &self.kind {
            facts.docker = docker.version();
            facts.cgroup_driver = docker.cgroup_driver();
        }
        facts
    }

    /// Which cgroup version accounts for memory: `v1`, `v2`, or `unknown` where it can't be seen.
    #[must_use]
    pub fn cgroup_version(&self) -> &'static str {
        match self.hierarchies().map(Hierarchies::version) {
            Some(crate::cgroup::Version::V1) => "v1",
            Some(crate::cgroup::Version::V2) => "v2",
            None => "unknown",
        }
    }

    const fn hierarchies(&self) -> Option<&Hierarchies> {
        match &self.kind {
            Kind::Docker(docker) => docker.hierarchies(),
            Kind::Native(native) => Some(native.hierarchies()),
            #[cfg(test)]
            Kind::Scripted(_) => None,
        }
    }

    /// Where cgroups of ours may be that are ours to remove.
    const fn own_hierarchies(&self) -> Option<&Hierarchies> {
        match &self.kind {
            Kind::Docker(docker) if docker.is_direct() => docker.hierarchies(),
            Kind::Docker(_) => None,
            Kind::Native(native) => Some(native.hierarchies()),
            #[cfg(test)]
            Kind::Scripted(_) => None,
        }
    }

    /// The best way to its targets' memory and network that can be had without trying a helper.
    #[must_use]
    pub fn best_via(&self) -> Via {
        match &self.kind {
            Kind::Docker(docker) if docker.is_in_reach() => Via::Direct,
            Kind::Docker(_) => Via::Helper,
            Kind::Native(_) => Via::Direct,
            #[cfg(test)]
            Kind::Scripted(_) => Via::Direct,
        }
    }

    /// What is left where a helper can't be had.
    #[must_use]
    pub fn via_without_helper(&self) -> Via {
        match &self.kind {
            Kind::Docker(docker) if docker.is_readable() => Via::ReadOnly,
            Kind::Docker(_) => Via::DockerStats,
            Kind::Native(_) => Via::Direct,
            #[cfg(test)]
            Kind::Scripted(_) => Via::Direct,
        }
    }

    /// Starts a helper container and gives the talk with it.
    ///
    /// # Errors
    /// When there is no Docker, or it refuses.
    pub async fn start_helper(&self) -> Result<Pipe, Error> {
        match &self.kind {
            Kind::Docker(docker) => docker.start_helper().await,
            Kind::Native(_) => Err(Error::NeedsDocker { what: "a helper container" }),
            #[cfg(test)]
            Kind::Scripted(_) => Err(Error::NeedsDocker { what: "a helper container" }),
        }
    }

    /// Whether containers can be started below cgroups of ours.
    #[must_use]
    pub fn takes_parents(&self) -> bool {
        matches!(&self.kind, Kind::Docker(docker) if docker.takes_parents())
    }

    /// Handles cgroups and networks from here.
    ///
    /// # Errors
    /// When there are no cgroups to be seen.
    pub fn reach_directly(&mut self) -> Result<(), Error> {
        match &mut self.kind {
            Kind::Docker(docker) => docker.reach_directly(&mut self.notes),
            Kind::Native(_) => Ok(()),
            #[cfg(test)]
            Kind::Scripted(_) => Ok(()),
        }
    }

    /// Leaves cgroups and networks to a helper, whose host is this and has these cgroups.
    pub fn reach_by_helper(&mut self, hierarchies: Hierarchies, host: HostFacts) {
        self.host = Some(host);
        if let Kind::Docker(docker) = &mut self.kind {
            docker.reach_by_helper(hierarchies, &mut self.notes);
        }
    }

    /// Only reads cgroups from here.
    ///
    /// # Errors
    /// When there are none.
    pub fn reach_to_read(&mut self) -> Result<(), Error> {
        match &mut self.kind {
            Kind::Docker(docker) => docker.reach_to_read(&mut self.notes),
            Kind::Native(_) => Ok(()),
            #[cfg(test)]
            Kind::Scripted(_) => Ok(()),
        }
    }

    /// Only asks the engine.
    pub fn reach_by_stats(&mut self) {
        if let Kind::Docker(docker) = &mut self.kind {
            docker.reach_by_stats();
        }
    }

    /// Follows the engine's own stats of a target.
    #[must_use]
    pub fn follow_stats(
        &self,
        target: &Target,
        clock: &Clock,
        events: Sender<Event>,
    ) -> Option<Stats> {
        match (&self.kind, &target.inner) {
            (Kind::Docker(docker), TargetKind::Docker(running)) => {
                Some(docker.follow_stats(running.id(), target.life, clock, events))
            }
            _ => None,
        }
    }

    /// Builds the target, and refuses a debug build that was not asked for.
    ///
    /// # Errors
    /// When it can't be built, is a debug build, or this runtime can't run it.
    pub async fn build(
        &self,
        target: &TargetPlan,
        output_dir: &Path,
        say: Say<'_>,
    ) -> Result<Built, Error> {
        let built = match &self.kind {
            Kind::Docker(docker) => docker.build(target, output_dir, say).await?,
            Kind::Native(native) => native.build(target, output_dir, say).await?,
            #[cfg(test)]
            Kind::Scripted(_) => Built::scripted(output_dir),
        };
        Ok(built)
    }

    /// Makes the place for one life.
    ///
    /// # Errors
    /// When the container or its cgroups can't be made.
    pub async fn prepare(
        &self,
        built: &Built,
        target: &TargetPlan,
        new: NewLife<'_>,
        clock: &Clock,
    ) -> Result<Prepared, Error> {
        let NewLife { life, name, limit, nest } = new;
        let pattern = match &target.ready.check {
            ReadyCheck::Log { pattern } => Some(pattern.clone()),
            ReadyCheck::Http { .. } | ReadyCheck::Tcp => None,
        };
        let log = built.output_dir.join(format!("target-{name}.log"));
        let mask = mask::Mask::of(&target.env);
        let output = output::Output::create(&log, &self.budget, pattern, mask, clock)?;
        let (place, inner) = match &self.kind {
            Kind::Docker(docker) => {
                let (place, created) = docker.create(built, target, name, limit, nest).await?;
                (place, PreparedKind::Docker(created))
            }
            Kind::Native(native) => {
                let (place, ready) = native.prepare(built, target, name, limit)?;
                (place, PreparedKind::Native(ready))
            }
            #[cfg(test)]
            Kind::Scripted(scripted) => {
                (Place::unknown(), PreparedKind::Scripted(scripted.prepare(life)))
            }
        };
        Ok(Prepared { place, life, output, clock: clock.clone(), inner })
    }

    /// Removes what was prepared and shall not start.
    ///
    /// # Errors
    /// When something stays.
    pub async fn discard(&self, prepared: Prepared) -> Result<(), Error> {
        match (&self.kind, prepared.inner) {
            (Kind::Docker(docker), PreparedKind::Docker(created)) => {
                docker.remove(created).await.map(drop)
            }
            (Kind::Native(native), PreparedKind::Native(ready)) => {
                native.discard(&ready).await.map(drop)
            }
            #[cfg(test)]
            (Kind::Scripted(_), PreparedKind::Scripted(_)) => Ok(()),
            _ => unreachable!("what one runtime prepared is not given to another"),
        }
    }

    /// Starts what was prepared.
    ///
    /// # Errors
    /// When it can't be started; nothing of it is left then.
    pub async fn start(&self, prepared: Prepared) -> Result<Target, Error> {
        let Prepared { place, life, output, clock, inner } = prepared;
        let watched = Watched { life, place, output, clock };
        match (&self.kind, inner) {
            (Kind::Docker(docker), PreparedKind::Docker(created)) => {
                docker.start(created, watched).await
            }
            (Kind::Native(native), PreparedKind::Native(ready)) => {
                native.start(ready, watched).await
            }
            #[cfg(test)]
            (Kind::Scripted(_), PreparedKind::Scripted(ready)) => ready.start(watched).await,
            _ => unreachable!("what one runtime prepared is not given to another"),
        }
    }

    /// Waits until the target is ready, by `proof` where the check is made elsewhere. Gives the
    /// moment at which it proved so.
    ///
    /// # Errors
    /// When it ends before, or is not ready in time.
    pub async fn wait_ready(
        &self,
        target: &Target,
        plan: &ReadyPlan,
        clock: &Clock,
        proof: Option<Proof>,
    ) -> Result<Moment, Error> {
        let mut proving = match proof {
            Some(proof) => Proving::Elsewhere(proof),
            None if target.lost && !matches!(plan.check, ReadyCheck::Log { .. }) => Proving::Never,
            None => Proving::Here(ready::Probing::start(ready::Probe {
                check: plan.check.clone(),
                address: target.address,
                netns: target.netns(),
                proxied: target.path == GeneratorPath::Published,
                output: Some(target.output.clone()),
                clock: clock.clone(),
            })?),
        };
        let mut ended = target.ended.clone();
        let has_ended = async {
            match ended.wait_for(Option::is_some).await {
                Ok(exit) => *exit,
                Err(_) => None,
            }
        };
        let within = plan.within + proving.grace();
        let not_ready = |check: String| Error::NotReady {
            within: Human(plan.within).to_string(),
            check,
            log: target.output.quote(),
        };
        let waited = tokio::select! {
            found = proving.ready() => Some(found),
            exit = has_ended => {
                if let Some(text) = target.blame() {
                    return Err(Error::Taken { text });
                }
                let code = exit.and_then(|exit| exit.code);
                let code = code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
                return Err(Error::EndedEarly { code, log: target.output.quote() });
            }
            () = tokio::time::sleep(within) => None,
        };
        waited.unwrap_or_else(|| Err(proving.last_try())).map_err(not_ready)
    }

    /// Asks the target to stop, as its plan says, and then ends it. Does nothing where it has
    /// ended.
    ///
    /// # Errors
    /// When it can't be reached.
    pub async fn stop(&self, target: &mut Target) -> Result<(), Error> {
        if target.ended.borrow().is_some() {
            return Ok(());
        }
        match (&self.kind, &mut target.inner) {
            (Kind::Docker(docker), TargetKind::Docker(running)) => docker.stop(running).await,
            (Kind::Native(_), TargetKind::Native(running)) => {
                running.stop(&mut target.ended).await;
                Ok(())
            }
            #[cfg(test)]
            (Kind::Scripted(_), TargetKind::Scripted(running)) => {
                running.stop(&mut target.ended).await;
                Ok(())
            }
            _ => unreachable!("a target is stopped by the runtime that started it"),
        }
    }

    /// Reaches a target, whose plan this is, from beside, as long as it runs.
    #[must_use]
    pub fn hand(&self, target: &Target, plan: &TargetPlan) -> Hand {
        let kind = match (&self.kind, &target.inner) {
            (Kind::Docker(docker), TargetKind::Docker(running)) => {
                hand::HandKind::Docker(docker.hand(running.id(), mask::Mask::of(&plan.env)))
            }
            (Kind::Native(_), TargetKind::Native(running)) => {
                hand::HandKind::Native(running.hand(target.netns()))
            }
            #[cfg(test)]
            (Kind::Scripted(_), TargetKind::Scripted(_)) => hand::HandKind::Scripted,
            _ => unreachable!("a target is reached by the runtime that started it"),
        };
        Hand(kind)
    }

    /// Removes the target and its cgroups. Gives the charged peak of its whole life, where an
    /// outer cgroup of ours kept it.
    ///
    /// # Errors
    /// When something stays.
    pub async fn remove(&self, target: Target) -> Result<Option<Bytes>, Error> {
        let Target { inner, output, .. } = target;
        let peak = match (&self.kind, inner) {
            (Kind::Docker(docker), TargetKind::Docker(running)) => {
                docker.remove(running.into_created()).await
            }
            (Kind::Native(native), TargetKind::Native(running)) => native.remove(running).await,
            #[cfg(test)]
            (Kind::Scripted(_), TargetKind::Scripted(running)) => Ok(running.remove()),
            _ => unreachable!("a target is removed by the runtime that started it"),
        }?;
        output.finish()?;
        Ok(peak)
    }

    /// Removes everything that carries this run's id.
    ///
    /// # Errors
    /// When something stays.
    pub async fn clean_up(&self) -> Result<(), Error> {
        let found = match &self.kind {
            Kind::Docker(docker) => docker.clean_up().await,
            Kind::Native(_) => Ok(()),
            #[cfg(test)]
            Kind::Scripted(_) => Ok(()),
        };
        let removed = leftovers::forget(self.own_hierarchies(), &self.run_id).await;
        found.and(removed)
    }
}

/// Who checks readiness.
enum Proving {
    Here(ready::Probing),
    Elsewhere(Proof),
    /// Nobody: there is no network to look into.
    Never,
}

impl Proving {
    async fn ready(&mut self) -> Result<Moment, String> {
        match self {
            Self::Here(probing) => Ok(probing.ready().await),
            Self::Elsewhere(proof) => proof.await,
            Self::Never => std::future::pending().await,
        }
    }

    fn last_try(&self) -> String {
        match self {
            Self::Here(probing) => probing.last_try(),
            Self::Elsewhere(_) => "its helper container did not answer".to_owned(),
            Self::Never => "its network was gone before it could be entered".to_owned(),
        }
    }

    /// Time for an answer from elsewhere to arrive.
    const fn grace(&self) -> Duration {
        match self {
            Self::Here(_) | Self::Never => Duration::ZERO,
            Self::Elsewhere(_) => Duration::from_secs(2),
        }
    }
}

/// What is watched of a target that starts.
#[derive(Debug)]
struct Watched {
    life: LifeId,
    place: Place,
    output: output::Output,
    clock: Clock,
}

/// Refuses a debug build that was not asked for.
fn check_release(target: &TargetPlan, program: &build::Program) -> Result<(), Error> {
    if program.release == ReleaseBuild::No && !target.allow_debug {
        return Err(Error::DebugBuild { evidence: program.evidence.clone() });
    }
    Ok(())
}
