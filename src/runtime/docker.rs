//! The target as a Docker container.

mod body;
mod container;
mod engine;
mod facts;
mod hand;
mod helper;
mod images;
mod stats;
mod watch;
mod watcher;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use bollard::models::ContainerInspectResponse;
use tokio::sync::mpsc::Sender;

pub(super) use container::{Created, Running};
pub(super) use engine::Engine;
pub use facts::{ImageFacts, image_facts};
pub(super) use hand::Hand;
pub use helper::Pipe;
pub use stats::Stats;
pub(super) use watch::{News, Seen as Container};

use super::mask::Mask;
use super::{Built, Error, Program, Say, build, check_release, explain, host, image, leftovers};
use crate::cgroup::{self, Hierarchies, Tree};
use crate::clock::Clock;
use crate::event::{Event, LifeId, ReleaseBuild};
use crate::plan::{TargetPlan, TargetSource};

/// The label that everything of ours carries, with the run's id as its value.
pub(super) const LABEL: &str = "highwater.run";

/// The label that says which process made it.
pub(super) const OWNER: &str = "highwater.owner";

/// The labels of everything of a run.
fn labels_of(run_id: &str) -> HashMap<String, String> {
    let owner = leftovers::Owner::this().to_string();
    HashMap::from([(LABEL.to_owned(), run_id.to_owned()), (OWNER.to_owned(), owner)])
}

/// Containers of one run.
#[derive(Debug)]
pub(super) struct Docker {
    engine: Engine,
    run_id: String,
    note: leftovers::Note,
    reach: Reach,
}

/// What of the containers we can get at, and how.
#[derive(Debug)]
enum Reach {
    /// Their cgroups and networks, from here.
    Direct {
        hierarchies: Hierarchies,
        /// Cgroups of our own around the containers, where the engine's cgroup driver allows.
        tree: Option<Tree>,
    },
    /// Their cgroups and networks, from a helper container.
    Helper { hierarchies: Hierarchies },
    /// Their cgroups, which we may read and not change.
    ReadOnly { hierarchies: Hierarchies },
    /// Only what the engine tells.
    Engine,
}

impl Docker {
    pub(super) async fn connect(run_id: &str) -> Result<Self, Error> {
        let engine = Engine::connect().await?;
        let note = leftovers::Note::write(run_id)?;
        Ok(Self { engine, run_id: run_id.to_owned(), note, reach: Reach::Engine })
    }

    pub(super) const fn note(&self) -> &leftovers::Note {
        &self.note
    }

    /// Whether containers' cgroups and networks are ours to handle without a helper.
    pub(super) fn is_in_reach(&self) -> bool {
        nix::unistd::geteuid().is_root() && self.engine.is_local() && host::sees_the_host()
    }

    /// Whether containers' cgroups can at least be read from here.
    pub(super) fn is_readable(&self) -> bool {
        self.engine.is_local() && Hierarchies::discover().is_ok()
    }

    /// Handles cgroups and networks from here.
    pub(super) fn reach_directly(&mut self, notes: &mut Vec<String>) -> Result<(), Error> {
        let hierarchies = Hierarchies::discover().map_err(Error::NoCgroups)?;
        let tree = match self.takes_parents().then(|| Tree::create(&hierarchies, &self.run_id)) {
            Some(Ok(tree)) => Some(tree),
            Some(Err(error)) => {
                notes.push(without_groups(&explain(&error)));
                None
            }
            None => {
                notes.push(self.without_parents());
                None
            }
        };
        self.reach = Reach::Direct { hierarchies, tree };
        Ok(())
    }

    /// Leaves cgroups and networks to a helper, whose host has these hierarchies.
    pub(super) fn reach_by_helper(&mut self, hierarchies: Hierarchies, notes: &mut Vec<String>) {
        if !self.takes_parents() {
            notes.push(self.without_parents());
        }
        self.reach = Reach::Helper { hierarchies };
    }

    /// Only reads cgroups.
    pub(super) fn reach_to_read(&mut self, notes: &mut Vec<String>) -> Result<(), Error> {
        let hierarchies = Hierarchies::discover().map_err(Error::NoCgroups)?;
        notes.push(self.without_parents());
        self.reach = Reach::ReadOnly { hierarchies };
        Ok(())
    }

    /// Only asks the engine.
    pub(super) fn reach_by_stats(&mut self) {
        self.reach = Reach::Engine;
    }

    /// Whether cgroups and networks are handled from here.
    pub(super) const fn is_direct(&self) -> bool {
        matches!(self.reach, Reach::Direct { .. })
    }

    pub(super) fn follow_stats(
        &self,
        id: &str,
        life: LifeId,
        clock: &Clock,
        events: Sender<Event>,
    ) -> Stats {
        Stats::follow(&self.engine, id, life, clock.clone(), events)
    }

    /// Reaches into a container that runs.
    pub(super) fn hand(&self, id: &str, mask: Option<Mask>) -> Hand {
        Hand { engine: self.engine.clone(), id: id.to_owned(), mask }
    }

    /// Whether containers can be started below cgroups of ours, by the engine's cgroup driver.
    pub(super) fn takes_parents(&self) -> bool {
        self.engine.cgroup_driver().as_deref() == Some("cgroupfs")
    }

    fn without_parents(&self) -> String {
        let driver = self.engine.cgroup_driver();
        without_groups(&format!("cgroup driver {}", driver.as_deref().unwrap_or("unknown")))
    }

    pub(super) const fn hierarchies(&self) -> Option<&Hierarchies> {
        match &self.reach {
            Reach::Direct { hierarchies, .. }
            | Reach::Helper { hierarchies }
            | Reach::ReadOnly { hierarchies } => Some(hierarchies),
            Reach::Engine => None,
        }
    }

    /// Cgroups that we make ourselves.
    const fn tree(&self) -> Option<&Tree> {
        match &self.reach {
            Reach::Direct { tree, .. } => tree.as_ref(),
            _ => None,
        }
    }

    /// Whether requests are sent from inside the containers' networks, by us or by a helper.
    const fn is_inside(&self) -> bool {
        matches!(self.reach, Reach::Direct { .. } | Reach::Helper { .. })
    }

    pub(super) fn version(&self) -> Option<String> {
        self.engine.version()
    }

    pub(super) fn cgroup_driver(&self) -> Option<String> {
        self.engine.cgroup_driver()
    }

    /// Removes every container and image of the run.
    pub(super) async fn clean_up(&self) -> Result<(), Error> {
        let by_helper = matches!(self.reach, Reach::Helper { .. });
        if by_helper {
            self.engine.let_helper_end(&self.run_id).await;
        }
        self.engine.remove_all_of(&self.run_id).await?;
        if by_helper && self.has_groups() {
            // It ended before its time, and another one removes what it has left.
            self.engine.remove_groups_by_helper(&self.run_id).await?;
            self.engine.remove_all_of(&self.run_id).await?;
        }
        Ok(())
    }

    /// Whether cgroups of the run are there, as far as can be seen from here.
    fn has_groups(&self) -> bool {
        let found = Hierarchies::discover().ok().filter(|_| self.engine.is_local());
        found.is_some_and(|found| cgroup::runs_with_groups(&found).contains(&self.run_id))
    }

    /// Gets or makes the target's image.
    pub(super) async fn build(
        &self,
        target: &TargetPlan,
        output_dir: &Path,
        say: Say<'_>,
    ) -> Result<Built, Error> {
        let unknown = "an image does not tell how its program was built";
        let (program, base) = match &target.source {
            TargetSource::Image { name } => {
                self.engine.need_image(name, say).await?;
                return Ok(built(name, ReleaseBuild::Unknown, unknown, output_dir));
            }
            TargetSource::Dockerfile { path } => {
                let name = self.image_name();
                self.engine.build_dockerfile(path, &name, &self.run_id, say).await?;
                return Ok(built(&name, ReleaseBuild::Unknown, unknown, output_dir));
            }
            TargetSource::Cargo(cargo) => (build::cargo(cargo, say).await?, cargo.base.as_ref()),
            TargetSource::Binary { path, base } => (build::binary(path)?, base.as_ref()),
        };
        check_release(target, &program)?;
        let name = self.image_name();
        match base {
            None => {
                self.engine.import_binary(&program.path, &name, &self.run_id).await?;
            }
            Some(base) => {
                self.engine.need_image(base, say).await?;
                self.engine.build_on_base(&program.path, base, &name, &self.run_id, say).await?;
            }
        }
        let mut built = built(&name, program.release, &program.evidence, output_dir);
        built.label = image::entry_point(&program.path);
        Ok(built)
    }

    fn image_name(&self) -> String {
        format!("highwater-{}:target", self.run_id)
    }
}

fn without_groups(why: &str) -> String {
    format!(
        "no cgroups of our own around the containers ({why}): sampling starts when the container's \
         own appears"
    )
}

fn built(name: &str, release: ReleaseBuild, evidence: &str, output_dir: &Path) -> Built {
    Built {
        label: name.to_owned(),
        release,
        evidence: evidence.to_owned(),
        program: Program::Image(name.to_owned()),
        output_dir: output_dir.to_owned(),
    }
}

/// The id of a container's first process; none once it is gone.
fn pid_of(inspected: &ContainerInspectResponse) -> Option<i32> {
    let pid = inspected.state.as_ref()?.pid?;
    i32::try_from(pid).ok().filter(|pid| *pid > 0)
}

fn network_of(pid: i32) -> Option<OwnedFd> {
    std::fs::File::open(format!("/proc/{pid}/ns/net")).ok().map(OwnedFd::from)
}
