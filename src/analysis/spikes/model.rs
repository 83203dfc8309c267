//! What is told of spikes.

use std::time::Duration;

use crate::clock::Moment;
use crate::event::PrintedLine;
use crate::units::Bytes;

/// A spike, and what was going on.
#[derive(Debug, Clone, PartialEq)]
pub struct SpikeFinding {
    /// The tick at which its peak was read.
    pub at: Moment,
    /// The phase's name, where it was in one.
    pub phase: Option<String>,
    /// Its height above the level before.
    pub rise: Bytes,
    /// The charged peak.
    pub peak: Bytes,
    /// From the last tick before the rise to the first that had fallen back.
    pub length: Duration,
    /// Requests in flight around it, an upper bound; none where the flow isn't known.
    pub in_flight: Option<u64>,
    /// The steps in flight, the likeliest cause first.
    pub suspects: Vec<Suspect>,
    /// What changed from the reading before it to the one after; none where one is missing.
    pub change: Option<Change>,
    /// What happened within a second of it, in words.
    pub near: Vec<String>,
    /// The lines that the target printed nearest to its begin, within a second.
    pub lines: Vec<PrintedLine>,
    /// What replaying the first suspect alone showed; none where that was not done.
    pub confirmed: Option<Confirmed>,
}

/// What changed between two readings of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The time between them.
    pub over: Duration,
    /// Threads, more or fewer.
    pub threads: i64,
    /// Open descriptors, more or fewer.
    pub open_files: Option<i64>,
    /// Bytes printed.
    pub log_bytes: Option<u64>,
}

/// What came of replaying a spike's first suspect alone, in a fresh container.
#[derive(Debug, Clone, PartialEq)]
pub struct Confirmed {
    /// So many of it were sent at once.
    pub wanted: u64,
    /// So many were in flight at once; none where other steps were sent, too, and hide it.
    pub in_flight: Option<u64>,
    /// By how much memory rose; none where that can't be told.
    pub rise: Option<Bytes>,
    /// That as a share of the spike's rise.
    pub share: Option<f64>,
    /// Whether the suspect was the cause.
    pub was_it: WasIt,
    /// What it rests on, where it is unclear or something else was sent, too.
    pub why: Option<String>,
}

/// Whether a suspect was the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WasIt {
    /// Alone it makes memory rise as much.
    Yes,
    /// Alone it does not.
    No,
    /// It can't be told.
    Unclear,
}

impl WasIt {
    /// The name that `run.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unclear => "unclear",
        }
    }
}

/// A step that was in flight at a spike.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspect {
    /// The scenario's name.
    pub scenario: String,
    /// The step's name.
    pub step: String,
    /// Its share of what was in flight, 0 to 1.
    pub share: f64,
    /// How many times as much of it there was as in windows of equal load without a spike: in
    /// flight, started, or bytes, whichever was most unusual; none where too few were calm.
    pub lift: Option<f64>,
    /// The most in flight at once.
    pub in_flight: u64,
    /// Requests that were sent in its busiest window.
    pub starts: u64,
    /// Bytes of their bodies.
    pub body_bytes_sent: Bytes,
    /// Bytes of its answers that ended in a window.
    pub bytes_received: Bytes,
    /// What its excess over the usual explains of the rise, where its cost is known.
    pub explains: Option<Bytes>,
}
