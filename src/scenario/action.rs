//! What is done at a set time, beside the traffic.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Place;

/// Something that is done at a set time, beside the traffic.
#[derive(Debug, Clone)]
pub struct Action {
    /// When it is first done, from the start of its phase, or of the first phase.
    pub when: Duration,
    /// The time from one to the next; none: it is done once.
    pub every: Option<Duration>,
    /// The phase that it belongs to, by name; none: the time of the whole run.
    pub phase: Option<String>,
    /// What is done.
    pub deed: Deed,
    /// Where it stands.
    pub place: Place,
}

/// What an action does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// Runs a program beside the target: in its container, or in its cgroup and network.
    Exec(Vec<String>),
    /// Sends a signal to the target's first process.
    Signal(String),
    /// Sends a request: the only step of a scenario of its own.
    Request {
        /// That scenario's index.
        flow: usize,
        /// What it is called.
        label: String,
    },
}
