//! What is watched without having been started by us.

use serde::{Deserialize, Serialize};

use super::life::LifeId;
use crate::units::Bytes;

/// What a watched target was named by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WatchKind {
    /// A container of an engine.
    Container,
    /// A process; its cgroup is what is read.
    Pid,
    /// A cgroup.
    Cgroup,
}

impl WatchKind {
    /// The name that `run.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Pid => "pid",
            Self::Cgroup => "cgroup",
        }
    }
}

/// A life that is watched: something that runs anyhow. Comes before its `Life`.
///
/// A container that is started again has a new cgroup, and so a new life of the same target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchStart {
    /// The life.
    pub life: LifeId,
    /// Its target, counted from 0.
    pub target: u32,
    /// The target's name for people.
    pub name: String,
    /// What it was named by.
    pub kind: WatchKind,
    /// The container's id.
    pub id: Option<String>,
    /// Its image, or the executable of its process.
    pub program: Option<String>,
    /// Its cgroup in the hierarchy that accounts for memory.
    pub group: String,
    /// The charged peak that the kernel knew of when the watch began: since the cgroup was made,
    /// or since somebody reset it.
    pub peak_before: Option<Bytes>,
}

#[cfg(test)]
mod tests {
    use super::super::{Event, What};
    use super::*;
    use crate::clock::Moment;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_stored_start_reads_back(
            life: u32, target: u32, name: String, id: Option<String>, peak: Option<u64>,
        ) {
            let start = WatchStart {
                life: LifeId(life),
                target,
                name: name.clone(),
                kind: WatchKind::Cgroup,
                id,
                program: None,
                group: name,
                peak_before: peak.map(Bytes::new),
            };
            let event = Event { at: Moment::START, what: What::Watched(start) };
            let stored = rmp_serde::to_vec_named(&event).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<Event>(&stored).unwrap(), event);
        }
    }
}
