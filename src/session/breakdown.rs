//! Threads of our own that break down while a run goes on.

use tokio::sync::watch;

use super::Error;

/// A thread that broke down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breakdown {
    /// The thread's name.
    pub thread: String,
    /// What it said, and where.
    pub text: String,
}

impl Breakdown {
    /// Whether a run means nothing without that thread.
    pub(super) fn is_fatal(&self) -> bool {
        ["sampler", "load-", "recorder"].iter().any(|name| self.thread.starts_with(name))
    }

    /// What is noted where the run goes on without it.
    pub(super) fn told(&self) -> String {
        let Self { thread, text } = self;
        format!("a part of Highwater broke down (thread `{thread}`), the run goes on: {text}")
    }
}

impl From<Breakdown> for Error {
    fn from(Breakdown { thread, text }: Breakdown) -> Self {
        Self::BrokeDown { thread, text }
    }
}

/// Tells a run of threads that broke down. Clones share it.
#[derive(Debug, Clone)]
pub struct BreakdownHandle(watch::Sender<Option<Breakdown>>);

impl BreakdownHandle {
    /// Tells of one.
    pub fn tell(&self, breakdown: Breakdown) {
        self.0.send_replace(Some(breakdown));
    }
}

/// Hears of threads that broke down.
#[derive(Debug, Clone)]
pub struct Breakdowns(watch::Receiver<Option<Breakdown>>);

impl Breakdowns {
    /// The handle that tells, and what hears.
    #[must_use]
    pub fn new() -> (BreakdownHandle, Self) {
        let (sender, receiver) = watch::channel(None);
        (BreakdownHandle(sender), Self(receiver))
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Breakdown {
        loop {
            if self.0.changed().await.is_err() {
                // Nobody is left who could tell.
                std::future::pending::<()>().await;
            }
            if let Some(breakdown) = self.0.borrow_and_update().clone() {
                return breakdown;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_is_heard_of_once() {
        let (handle, mut heard) = Breakdowns::new();
        let broken = |thread: &str| Breakdown { thread: thread.to_owned(), text: "x".to_owned() };
        handle.tell(broken("sampler"));
        assert!(heard.next().await.is_fatal());
        handle.tell(broken("vitals"));
        assert!(!heard.next().await.is_fatal());
        let none = tokio::time::timeout(std::time::Duration::from_millis(20), heard.next()).await;
        assert!(none.is_err());
    }
}
