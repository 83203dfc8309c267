//! Bounds on what the harness itself uses: the one place where they are set.

use std::time::Duration;

use crate::units::Bytes;

/// Bounds on the harness's own memory, disk and sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Events that may wait between a producer and the session.
    pub event_queue: usize,
    /// How much of the target's output is kept, the first half from its start and the rest from
    /// its end.
    pub target_output: Bytes,
    /// Log lines quoted in an error.
    pub quoted_log_lines: usize,
    /// The longest answer body that is kept until it has been looked into; a longer one is
    /// `too_large`.
    pub answer: Bytes,
    /// All bodies that are kept for that at one time.
    pub answers: Bytes,
    /// What an answer may take once it is parsed: JSON of many small parts takes far more than its
    /// text.
    pub parsed_answer: Bytes,
    /// The longest value that a user captures and keeps.
    pub captured: Bytes,
    /// How often events are committed to disk.
    pub commit_every: Duration,
    /// The most events in one commit: a crowd of them is committed before the time is up.
    pub commit_events: u32,
    /// Packed raw ticks around spikes, beyond which no more are recorded.
    pub raw_ticks: Bytes,
    /// Packed requests that were to be kept one by one, beyond which no more are recorded.
    pub requests: Bytes,
    /// What all of this comes to: the most resident memory that the harness takes with two workers of
    /// load, whatever a target does. Nothing sets it; tests of hostile targets hold runs to it.
    pub harness_rss: Bytes,
}

impl Budget {
    /// What holds where nothing else is said.
    pub const DEFAULT: Self = Self {
        event_queue: 4096,
        target_output: Bytes::from_mib(8),
        quoted_log_lines: 20,
        answer: Bytes::from_mib(8),
        answers: Bytes::from_mib(64),
        parsed_answer: Bytes::from_mib(32),
        captured: Bytes::from_kib(64),
        commit_every: Duration::from_millis(250),
        commit_events: 1024,
        raw_ticks: Bytes::from_mib(64),
        requests: Bytes::from_mib(256),
        harness_rss: Bytes::from_mib(192),
    };
}

impl Default for Budget {
    fn default() -> Self {
        Self::DEFAULT
    }
}
