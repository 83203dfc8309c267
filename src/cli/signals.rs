//! SIGINT, SIGTERM and SIGHUP: once to stop and report, twice to end now.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for signals that ask the program to end.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    count: u32,
}

impl Signals {
    /// Takes over the signals; within a tokio runtime.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            count: 0,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
        self.count += 1;
    }

    /// How many there were.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// Whether the program shall end now.
    pub(super) const fn is_urgent(&self) -> bool {
        self.count > 1
    }
}
