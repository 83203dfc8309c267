//! The run directory and the recording in it: append-only, versioned, readable after a kill and
//! while it is written.
//!
//! A recording is an `SQLite` database, `recording.db`. Its `meta` table holds JSON documents: what
//! the run is ([`Outline`]), where it ran ([`RunFacts`]) and its clock's anchor. Its `batch` table
//! holds events in order, a quarter of a second of them a row: a `MessagePack` array with field
//! names, deflated, with a checksum (since format 2). Each minute these rows are packed into one, in
//! which windows of memory and of traffic stand as rows of differences before the other events
//! (since format 3). Each batch is one transaction, so that a killed run loses at most what was not
//! yet committed. A recording appears as a whole, header and all, or not at all; room held back on
//! the disk lets a run tell how it ended when that is full; and of a damaged one everything is read
//! that its checksums say is right.
//!
//! Rejected: one row an event (a day's soak is then mostly row overhead), and `JSON` (five times
//! the size before compression).

mod checkpoint;
mod directory;
mod error;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod opening;
mod packing;
mod reader;
mod recorded;
mod recorder;
mod reserve;
mod store;
mod unpack;
mod windows;
mod writer;

pub use directory::RunDirectory;
pub use error::Error;
pub use reader::{Events, Recording};
pub use recorded::Recorded;
pub use recorder::{LastWords, Recorder};

use serde::{Deserialize, Serialize};

use crate::clock::Anchor;
use crate::event::RunFacts;
use crate::plan::Outline;

/// The version of the recording's format that this program writes.
pub const FORMAT: u32 = 3;

/// What a recording says of its run beside the events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The run's start on the machine's own clocks.
    pub anchor: Anchor,
    /// What was planned.
    pub outline: Outline,
    /// Where it ran, and what was run.
    pub facts: RunFacts,
}

#[cfg(test)]
mod fixtures {
    use super::Header;
    use crate::clock::Clock;
    use crate::event::RunFacts;
    use crate::plan::{LimitsOutline, Outline, Words};
    use crate::units::Limit;

    /// A header for tests.
    pub(super) fn header() -> Header {
        let limits = LimitsOutline { memory: Limit::Unlimited, cpus: None, pids: None };
        let outline = Outline {
            name: "test".to_owned(),
            limits,
            tick_ns: 1_000_000,
            window_ns: 100_000_000,
            settle_ns: 0,
            phases: Vec::new(),
            steps: Vec::new(),
            thresholds: Vec::new(),
            words: Words::default(),
        };
        Header { anchor: Clock::start().anchor(), outline, facts: RunFacts::default() }
    }
}
