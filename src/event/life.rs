//! The lives of containers: their start, their end, and kills.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Limit;

/// One container of a run, counted from 0 in the order of starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LifeId(pub u32);

/// What a container is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LifeRole {
    /// A startup trial.
    Trial {
        /// Which trial, from 1.
        number: u32,
    },
    /// A repetition, without a limit, of a trial that was killed under it.
    Unlimited {
        /// The trial that is repeated, from 1.
        number: u32,
    },
    /// The container in which all phases run.
    Main,
}

/// A container is about to be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifeStart {
    /// Its identity.
    pub life: LifeId,
    /// What it is for.
    pub role: LifeRole,
    /// Its memory limit.
    pub limit: Limit,
}

/// How a container's main process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, 128 + signal where a signal ended it; none where nobody knows.
    pub code: Option<i64>,
    /// Whether Highwater asked it to stop.
    pub asked: bool,
}

/// Where the knowledge of an OOM kill comes from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// The kill counter: v2 `memory.events`, v1 `memory.oom_control`.
    Events,
    /// Docker's `oom` event or its `State.OOMKilled`.
    Docker,
    /// The v1 notification of `memory.oom_control`.
    Eventfd,
}

/// The kernel killed a process of the container for want of memory.
///
/// Several sources may report one kill: `count` is what this source knows of, in all, in this
/// life; none where it only knows that there was at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OomKill {
    /// The life in which it happened.
    pub life: LifeId,
    /// Who says so.
    pub evidence: Evidence,
    /// Kills in this life so far, where the source counts them.
    pub count: Option<u64>,
}

/// How many startup trials were planned, and why there are no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialsDone {
    /// The most that were to be run.
    pub planned: u32,
    /// Why no further one follows.
    pub end: TrialsEnd,
}

/// Why no further startup trial follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialsEnd {
    /// All planned ones were run.
    Complete,
    /// They came out so much alike that more would tell nothing new.
    Steady,
    /// One was OOM-killed.
    Killed,
    /// One did not become ready, or ended by itself.
    Failed,
    /// The run was asked to stop.
    Interrupted,
}

impl TrialsEnd {
    /// The name that `run.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Steady => "steady",
            Self::Killed => "killed",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}
