//! The target as a Docker container.

mod container;
mod engine;
mod images;

use std::os::fd::OwnedFd;
use std::path::Path;

use bollard::models::ContainerInspectResponse;

pub(super) use container::{Created, Running};
pub(super) use engine::Engine;

use super::{Built, Error, Program, Say, build, check_release, image, leftovers};
use crate::cgroup::{Hierarchies, Tree};
use crate::event::ReleaseBuild;
use crate::plan::{TargetPlan, TargetSource};

/// The label that everything of ours carries, with the run's id as its value.
pub(super) const LABEL: &str = "highwater.run";

/// Containers of one run.
#[derive(Debug)]
pub(super) struct Docker {
    engine: Engine,
    run_id: String,
    hierarchies: Hierarchies,
    /// Cgroups of our own around the containers, where the engine and our rights allow.
    tree: Option<Tree>,
    /// Whether we may enter the containers' network namespaces.
    enters_network: bool,
}

impl Docker {
    pub(super) async fn connect(run_id: &str, notes: &mut Vec<String>) -> Result<Self, Error> {
        let engine = Engine::connect().await?;
        let hierarchies = Hierarchies::discover().map_err(Error::NoCgroups)?;
        leftovers::register(run_id)?;
        let is_root = nix::unistd::geteuid().is_root();
        let driver = engine.cgroup_driver();
        let own_parents = is_root && engine.is_local() && driver.as_deref() == Some("cgroupfs");
        let tree = if own_parents { Tree::create(&hierarchies, run_id).ok() } else { None };
        if tree.is_none() {
            notes.push(format!(
                "no cgroups of our own around the containers (cgroup driver {}): sampling starts \
                 when the container's own appears",
                driver.as_deref().unwrap_or("unknown")
            ));
        }
        let enters_network = is_root && engine.is_local();
        if !enters_network {
            notes.push("requests go through a published port and Docker's proxy".to_owned());
        }
        let run_id = run_id.to_owned();
        Ok(Self { engine, run_id, hierarchies, tree, enters_network })
    }

    pub(super) const fn hierarchies(&self) -> &Hierarchies {
        &self.hierarchies
    }

    pub(super) fn version(&self) -> Option<String> {
        self.engine.version()
    }

    pub(super) fn cgroup_driver(&self) -> Option<String> {
        self.engine.cgroup_driver()
    }

    pub(super) async fn remove_all_of(&self, run_id: &str) -> Result<(), Error> {
        self.engine.remove_all_of(run_id).await
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
