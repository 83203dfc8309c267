//! How a target's cgroup and network are got at.

use tokio::sync::mpsc::Sender;

use super::target::{Target, TargetKind};
use super::{Error, Kind, Runtime, Stats};
use crate::cgroup::Hierarchies;
use crate::clock::Clock;
use crate::event::{Event, HostFacts};

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

impl Runtime {
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
}
