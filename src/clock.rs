//! One monotonic clock for everything.
//!
//! Every time in a run is a [`Moment`]: nanoseconds of `CLOCK_MONOTONIC` since the run started.
//! Wall time is read once, at the start, and kept beside it as the [`Anchor`]. Tests drive a
//! [`Clock::by_hand`].

use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A point in a run: nanoseconds since its start.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Moment(u64);

impl Moment {
    /// The start of the run.
    pub const START: Self = Self(0);

    /// `nanos` nanoseconds after the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// `millis` milliseconds after the start.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Milliseconds since the start, with fractions.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "2^53 ns are 104 days, and only prints lose")]
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Seconds since the start, with fractions.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.as_millis_f64() / 1e3
    }

    /// The time from `earlier` to here; zero where `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The last whole multiple of `step` since the start that is not after this point.
    #[must_use]
    pub fn floor_to(self, step: Duration) -> Self {
        Self(self.0 - self.0 % nanos(step).max(1))
    }

    /// The point `by` before this one; the start where that would be earlier.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(by)))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }
}

/// A duration in nanoseconds; 584 years at most.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What the start of a run was on the machine's own clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// `CLOCK_MONOTONIC` at the start, in nanoseconds.
    pub monotonic_ns: u64,
    /// Nanoseconds from the Unix epoch to the start.
    pub unix_ns: u64,
}

/// The clock of one run. Clones tell the same time.
#[derive(Debug, Clone)]
pub struct Clock {
    anchor: Anchor,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Monotonic,
    Hand(Arc<AtomicU64>),
    /// The time of a tokio runtime, which tests may pause.
    #[cfg(test)]
    Tokio(tokio::time::Instant),
}

/// Moves a [`Clock::by_hand`].
#[derive(Debug, Clone)]
pub struct Hand(Arc<AtomicU64>);

impl Hand {
    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(nanos(by), Ordering::SeqCst);
    }
}

impl Clock {
    /// Starts a run: this instant is [`Moment::START`].
    #[must_use]
    pub fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let anchor = Anchor { monotonic_ns: monotonic_ns(), unix_ns: nanos(unix) };
        Self { anchor, source: Source::Monotonic }
    }

    /// The clock of a run that was started elsewhere: `anchor` is its start on this machine's
    /// clocks.
    #[must_use]
    pub const fn started_at(anchor: Anchor) -> Self {
        Self { anchor, source: Source::Monotonic }
    }

    /// A clock that stands still until its [`Hand`] moves it.
    #[must_use]
    pub fn by_hand() -> (Self, Hand) {
        let shared = Arc::new(AtomicU64::new(0));
        let anchor = Anchor { monotonic_ns: 0, unix_ns: 0 };
        (Self { anchor, source: Source::Hand(shared.clone()) }, Hand(shared))
    }

    /// A clock that starts now and goes by the time of the tokio runtime around it.
    #[cfg(test)]
    pub(crate) fn of_tokio() -> Self {
        let anchor = Anchor { monotonic_ns: 0, unix_ns: 1_795_395_600_000_000_000 };
        Self { anchor, source: Source::Tokio(tokio::time::Instant::now()) }
    }

    /// The time since the start.
    #[must_use]
    pub fn now(&self) -> Moment {
        match &self.source {
            Source::Monotonic => Moment(monotonic_ns().saturating_sub(self.anchor.monotonic_ns)),
            Source::Hand(time) => Moment(time.load(Ordering::SeqCst)),
            #[cfg(test)]
            Source::Tokio(start) => Moment(nanos(start.elapsed())),
        }
    }

    /// The start on the machine's own clocks.
    #[must_use]
    pub const fn anchor(&self) -> Anchor {
        self.anchor
    }
}

/// `CLOCK_MONOTONIC` now, in nanoseconds.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux always has CLOCK_MONOTONIC");
    nanos(Duration::from(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_driven_time_moves_only_by_hand() {
        let (clock, hand) = Clock::by_hand();
        assert_eq!(clock.now(), Moment::START);
        hand.advance(Duration::from_millis(3));
        assert_eq!(clock.now(), Moment::from_millis(3));
        assert_eq!(clock.clone().now(), Moment::from_millis(3));
    }

    #[test]
    fn real_time_starts_near_zero_and_never_goes_back() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(first.since(Moment::START) < Duration::from_secs(1));
        assert!(clock.now() >= first);
    }
}
