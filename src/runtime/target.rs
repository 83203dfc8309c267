//! A target that was started, and what it prints.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;

use super::output::Output;
#[cfg(test)]
use super::scripted;
use super::{docker, native};
use crate::clock::Moment;
use crate::event::{Event, Exit, GeneratorPath, LifeId, PrintedLine};

/// A target that was started.
#[derive(Debug)]
pub struct Target {
    pub(super) life: LifeId,
    pub(super) address: SocketAddr,
    pub(super) pid: Option<i32>,
    pub(super) netns: Option<OwnedFd>,
    pub(super) path: GeneratorPath,
    /// Whether it ended before its network could be entered.
    pub(super) lost: bool,
    pub(super) cgroup_dirs: Vec<PathBuf>,
    pub(super) events: Option<Receiver<Event>>,
    pub(super) ended: watch::Receiver<Option<Exit>>,
    pub(super) output: Output,
    pub(super) inner: TargetKind,
}

#[derive(Debug)]
pub(super) enum TargetKind {
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

    /// What it prints, as long as it runs and afterwards.
    #[must_use]
    pub fn printout(&self) -> Printout {
        Printout(self.output.clone())
    }

    /// What the runtime tells of it, once: its start, kills, its end.
    pub const fn take_events(&mut self) -> Option<Receiver<Event>> {
        self.events.take()
    }
}

/// What a target prints.
#[derive(Debug, Clone)]
pub struct Printout(Output);

impl Printout {
    /// All bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    /// A few of the last lines, those that ended nearest to a moment, in their order. Secrets are
    /// masked; what would control a terminal is left out.
    #[must_use]
    pub fn lines_near(&self, at: Moment, within: Duration) -> Vec<PrintedLine> {
        self.0.lines_near(at, within)
    }
}
