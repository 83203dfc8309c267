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
    /// The longest answer body of which anything is kept in memory.
    pub kept_answer: Bytes,
    /// How often events are committed to disk.
    pub commit_every: Duration,
    /// The most events in one commit: a crowd of them is committed before the time is up.
    pub commit_events: u32,
    /// Packed raw ticks around spikes, beyond which no more are recorded.
    pub raw_ticks: Bytes,
    /// Packed requests that were to be kept one by one, beyond which no more are recorded.
    pub requests: Bytes,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            event_queue: 4096,
            target_output: Bytes::from_mib(8),
            quoted_log_lines: 20,
            kept_answer: Bytes::from_kib(64),
            commit_every: Duration::from_millis(250),
            commit_events: 1024,
            raw_ticks: Bytes::from_mib(64),
            requests: Bytes::from_mib(256),
        }
    }
}
