//! Bounds on what the harness itself uses: the one place where they are set.
//!
//! Every queue, buffer and list that a run, a target or a recording feeds is bounded by one of
//! these. What lies under a bound of another kind is not listed: buffers for files whose length the
//! kernel bounds (`cgroup`), files that the user's own scenario names, histograms and the columns of
//! pictures, which are of a fixed size.

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

/// The runtime.
impl Budget {
    /// News of one target that may wait for the session.
    pub const TARGET_NEWS: usize = 64;
    /// A line of a target's output is cut to so many bytes where it is quoted or matched.
    pub const LOG_LINE: usize = 4096;
    /// The last lines of a target's output that are kept until the spikes beside them are known.
    pub const RECENT_LINES: usize = 512;
    /// Such a line is cut to so many bytes.
    pub const RECENT_LINE: usize = 512;
    /// Lines that are told of one spike.
    pub const LINES_NEAR_SPIKE: usize = 5;
    /// Spikes of one run whose lines are told: the largest so far, each as it comes.
    pub const SPIKES_WITH_LINES: usize = 2000;
}

/// The sampler.
impl Budget {
    /// Events that a sampler keeps while the session is behind; of more, raw ticks are dropped.
    pub const SAMPLER_BACKLOG: usize = 2048;
    /// Processes that are looked at one by one.
    pub const PROCESSES: usize = 512;
    /// Processes that are named.
    pub const NAMED_PROCESSES: usize = 16;
    /// Characters of a process's name.
    pub const PROCESS_NAME: usize = 32;
    /// The longest table of sockets that is read, in bytes: some 400,000.
    pub const SOCKET_TABLE: u64 = 64 << 20;
    /// The longest list of processes that is read, in bytes.
    pub const PROCESS_LIST: u64 = 1 << 20;
    /// The longest list of mappings that is read, in bytes.
    pub const MAPPINGS: u64 = 4 << 20;
    /// The largest section of a program that is searched, in bytes.
    pub const PROGRAM_SECTION: u64 = 64 << 20;
}

/// The load.
impl Budget {
    /// The longest head of an answer, and the longest trailer and chunk extensions, in bytes.
    pub const ANSWER_HEAD: usize = 128 << 10;
    /// Header lines of an answer.
    pub const ANSWER_HEADERS: usize = 256;
    /// Cookies of one user.
    pub const COOKIES: usize = 50;
    /// The longest cookie, in bytes.
    pub const COOKIE: usize = 4096;
    /// Windows of one worker that may wait for the collector; then they go into one.
    pub const HANDOVERS: usize = 64;
    /// Windows that wait for a worker that is behind.
    pub const WINDOWS_BEHIND: usize = 10;
}

/// The helper.
impl Budget {
    /// Orders that may wait for the connection to a helper.
    pub const HELPER_ORDERS: usize = 64;
    /// Events and words that may wait in a helper.
    pub const HELPER_WORDS: usize = 4096;
    /// The longest frame, in bytes: an order to send traffic carries the scenario's files.
    pub const HELPER_FRAME: usize = 512 << 20;
}

/// Recordings.
impl Budget {
    /// Events after which small batches are packed into a large one.
    pub const PACKED_EVENTS: u32 = 2048;
    /// The most that one batch may hold once inflated, in bytes: a damaged one must not fill the
    /// memory.
    pub const BATCH: u64 = 256 << 20;
    /// Batches that are unpacked ahead of the analysis.
    pub const BATCHES_AHEAD: usize = 4;
    /// Spikes that are told one by one; of later ones only those that are among the largest.
    pub const SPIKES_TOLD: u64 = 100_000;
    /// Notes to the reader that a report shows.
    pub const NOTES: usize = 100;
}

/// What shows a run in progress.
impl Budget {
    /// Connections to a live page that are served at once.
    pub const PAGE_CONNECTIONS: usize = 16;
    /// Lines of the log on the screen that are kept.
    pub const SCREEN_LOG: usize = 200;
    /// Points of the whole run on the screen, and of its recent past.
    pub const SCREEN_POINTS: [usize; 2] = [1024, 600];
    /// Watched targets that the screen tells apart.
    pub const SCREEN_TARGETS: usize = 256;
}
