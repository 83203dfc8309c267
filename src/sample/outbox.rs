//! The way out of the sampler: never blocks a tick, never grows without bound.

use std::collections::VecDeque;

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use crate::event::{Event, What};
use crate::plan::Budget;

/// Events that may wait while the session is busy: at one window and one block each 100 ms, some
/// 100 s.
const BACKLOG: usize = Budget::SAMPLER_BACKLOG;

/// Sends events, keeping back what does not fit in the channel.
#[derive(Debug)]
pub(super) struct Outbox {
    events: Sender<Event>,
    backlog: VecDeque<Event>,
    dropped: u64,
}

impl Outbox {
    pub(super) const fn new(events: Sender<Event>) -> Self {
        Self { events, backlog: VecDeque::new(), dropped: 0 }
    }

    /// Sends, or keeps for later. Where too much waits, the oldest raw ticks are given up.
    pub(super) fn send(&mut self, event: Event) {
        self.backlog.push_back(event);
        self.push();
        if self.backlog.len() > BACKLOG {
            let oldest_raw =
                self.backlog.iter().position(|event| matches!(event.what, What::Ticks(_)));
            self.backlog.remove(oldest_raw.unwrap_or(0));
            self.dropped += 1;
        }
    }

    fn push(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            if let Err(TrySendError::Full(event)) = self.events.try_send(event) {
                self.backlog.push_front(event);
                return;
            }
        }
    }

    /// Sends all that waits, however long the other side takes. Gives the number of events that
    /// were given up.
    pub(super) fn finish(mut self) -> u64 {
        for event in self.backlog.drain(..) {
            // An error means that the session is gone: then nobody wants the rest.
            if self.events.blocking_send(event).is_err() {
                break;
            }
        }
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;

    #[test]
    fn a_slow_reader_loses_nothing_within_the_bound() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(2);
        let mut outbox = Outbox::new(sender);
        for n in 0..100 {
            outbox.send(Event { at: Moment::from_millis(n), what: What::Drained });
        }
        let reader = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while let Some(event) = receiver.blocking_recv() {
                seen.push(event.at);
            }
            seen
        });
        assert_eq!(outbox.finish(), 0);
        let expected: Vec<_> = (0..100).map(Moment::from_millis).collect();
        assert_eq!(reader.join().unwrap(), expected);
    }

    #[test]
    fn beyond_the_bound_the_oldest_is_given_up_and_counted() {
        let (sender, _receiver) = tokio::sync::mpsc::channel(1);
        let mut outbox = Outbox::new(sender);
        for n in 0..(BACKLOG as u64 + 11) {
            outbox.send(Event { at: Moment::from_millis(n), what: What::Drained });
        }
        assert_eq!(outbox.backlog.len(), BACKLOG);
        assert_eq!(outbox.dropped, 10);
    }
}
