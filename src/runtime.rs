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
mod reach;
mod ready;
mod recent;
#[cfg(test)]
pub(crate) mod scripted;
mod spawn;
mod target;
mod waiting;

use std::path::{Path, PathBuf};

use crate::cgroup::{Hierarchies, Nest, Place};
use crate::clock::Clock;
use crate::event::{HostFacts, LifeId, ReleaseBuild};
use crate::plan::{Budget, ReadyCheck, TargetPlan};
use crate::units::{Bytes, Limit};

pub use attach::{Again, AttachError, Attached, Attacher, Following, Wanted};
pub use build::Say;
pub use docker::{ImageFacts, Pipe, Stats, image_facts};
pub use error::{Error, ErrorKind, explain};
pub use hand::Hand;
pub use host::{bare_host_facts, boot_id};
pub use leftovers::{Leftover, Leftovers, Scratch, goes_on, leftovers, remove_leftovers};
pub use reach::Via;
pub use ready::{ReadyProbe, await_ready};
pub use target::{Printout, Target};
pub use waiting::Proof;

use target::TargetKind;

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
