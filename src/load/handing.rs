//! Cuts what one worker has counted into windows, which leave in time or together with later ones.

use std::time::Duration;

use crate::clock::{Moment, nanos};
use crate::load::collect::Handover;
use crate::load::kept::Kept;
use crate::load::tally::{Tallies, Tally};

/// How long tallies add up before they are handed over: a killed run loses those of that time.
const TALLIES_EVERY: Duration = Duration::from_millis(500);

/// What one worker has handed over, and what it could not.
#[derive(Debug)]
pub(super) struct Handing {
    worker: usize,
    origin: Moment,
    length: Duration,
    /// A handover that found no room.
    kept: Option<Handover>,
    /// The number of the window that comes next.
    next: u64,
    tallies_at: Moment,
}

impl Handing {
    pub(super) const fn new(worker: usize, origin: Moment, length: Duration) -> Self {
        Self { worker, origin, length, kept: None, next: 0, tallies_at: origin }
    }

    /// When tallies were last handed over.
    pub(super) const fn tallies_at(&self) -> Moment {
        self.tallies_at
    }

    /// Whether tallies are handed over with the window that has just ended.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        now.since(self.tallies_at) + self.length / 2 >= TALLIES_EVERY
    }

    /// All that was counted up to now, with what found no room before.
    pub(super) fn cut(&mut self, tally: &mut Tally, now: Moment, with_tallies: bool) -> Handover {
        let ended = nanos(now.since(self.origin)) / nanos(self.length).max(1);
        let window = ended.saturating_sub(1).max(self.next);
        self.next = window + 1;
        let tallies = if with_tallies { tally.cut_tallies() } else { Tallies::new() };
        let next = Handover {
            worker: self.worker,
            window,
            flow: tally.cut_flow(now),
            tallies,
            kept: if with_tallies { tally.cut_kept() } else { Kept::default() },
            account: None,
        };
        if with_tallies {
            self.tallies_at = now;
        }
        match self.kept.take() {
            Some(mut kept) => {
                tally.reuse(kept.follow(next));
                kept
            }
            None => next,
        }
    }

    /// Keeps a handover for the next time.
    pub(super) fn keep(&mut self, unsent: Handover) {
        self.kept = Some(unsent);
    }
}
