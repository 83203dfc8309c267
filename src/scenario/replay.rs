//! Recorded requests that are made again.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Recorded requests, in the order in which they fall due.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The requests; times ascend.
    pub requests: Arc<[Replayed]>,
    /// The paths, each once.
    pub paths: Arc<[String]>,
    /// After how long it begins anew; none: it is made once.
    pub again_after: Option<Duration>,
}

/// One recorded request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// When it is due, from the load's start.
    pub at: Duration,
    /// Which of its scenario's steps it belongs to, by its index there.
    pub step: u16,
    /// Its path, by its index in [`Replay::paths`].
    pub path: u32,
    /// The size of its body in bytes, where known; else drawn from those that are.
    pub body_bytes: Option<u32>,
}

impl Replay {
    /// How long one round of it takes.
    #[must_use]
    pub fn span(&self) -> Duration {
        let last = self.requests.last().map_or(Duration::ZERO, |last| last.at);
        self.again_after.unwrap_or(last).max(last)
    }

    /// Due times from the load's start with what is due then, by its index; without an end where
    /// it begins anew.
    pub fn schedule(&self) -> impl Iterator<Item = (Duration, usize)> + use<> {
        let (requests, again) = (Arc::clone(&self.requests), self.again_after);
        let rounds = if again.is_some() { u32::MAX } else { 1 };
        let rounds = if requests.is_empty() { 0 } else { rounds };
        (0..rounds).flat_map(move |round| {
            let begins = again.unwrap_or_default() * round;
            let requests = Arc::clone(&requests);
            (0..requests.len()).map(move |index| (begins + requests[index].at, index))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(again_after: Option<Duration>) -> Replay {
        let at =
            |ms| Replayed { at: Duration::from_millis(ms), step: 0, path: 0, body_bytes: None };
        Replay {
            requests: [at(0), at(10), at(30)].into(),
            paths: ["/".to_owned()].into(),
            again_after,
        }
    }

    #[test]
    fn rounds_follow_each_other() {
        let once: Vec<_> = replay(None).schedule().collect();
        let ms = Duration::from_millis;
        assert_eq!(once, [(ms(0), 0), (ms(10), 1), (ms(30), 2)]);
        let again: Vec<_> = replay(Some(ms(40))).schedule().take(5).collect();
        assert_eq!(again[3..], [(ms(40), 0), (ms(50), 1)]);
        assert_eq!(Replay::default().schedule().count(), 0);
    }
}
