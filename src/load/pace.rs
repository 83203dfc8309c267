//! Waking on time, finer than the event loop's timers of 1 ms.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::clock::{Clock, Moment};

/// How long before the due time to wake, at most and at first.
const EARLY_MAX: Duration = Duration::from_micros(50);
/// By how much that becomes more after a wake that took longer, and less after one that did not:
/// so it goes to the 5th percentile of what waking takes.
const LEARNED: [Duration; 2] = [Duration::from_nanos(50), Duration::from_nanos(950)];

/// A timer of its own for one driver of arrivals.
#[derive(Debug)]
pub(super) struct Pacer {
    clock: Clock,
    timer: AsyncFd<Timer>,
    /// How long this machine takes to wake at the least. To wake that much earlier makes work as
    /// punctual as it can be without waiting, busily, for what is left: that would take the
    /// target's CPU.
    early: Cell<Duration>,
}

#[derive(Debug)]
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Pacer {
    /// A timer on this thread's event loop.
    pub(super) fn new(clock: Clock) -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = Timer(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?);
        #[expect(
            deprecated,
            reason = "its successor is `unsafe` for types that may close their descriptor or name \
                      another one meanwhile; a `Timer` owns its own until it is dropped"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self { clock, timer, early: Cell::new(EARLY_MAX) })
    }

    /// Waits until `due`; gives the time at which it went on, which is never before.
    ///
    /// May be dropped half-way and called again. Needs a clock that runs by itself.
    pub(super) async fn until(&self, due: Moment) -> Moment {
        let mut now = self.clock.now();
        let early = self.early.get();
        if due.since(now) > early {
            let wake = due.before(early);
            // Where the timer fails, waiting out the whole time is still right, only costly.
            let _ = self.sleep_until(wake).await;
            now = self.clock.now();
            self.learn(now.since(wake));
        }
        while now < due {
            tokio::task::yield_now().await;
            now = self.clock.now();
        }
        now
    }

    /// Goes a step towards the least that waking takes: one long wait weighs no more than any
    /// other.
    fn learn(&self, took: Duration) {
        let (early, [more, less]) = (self.early.get(), LEARNED);
        let next = if took > early { early + more } else { early.saturating_sub(less) };
        self.early.set(next.min(EARLY_MAX));
    }

    async fn sleep_until(&self, wake: Moment) -> io::Result<()> {
        let on_machine = self.clock.anchor().monotonic_ns + wake.as_nanos();
        let at = Expiration::OneShot(Duration::from_nanos(on_machine).into());
        self.timer.get_ref().0.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        // Setting the timer again takes back its last ring, so that it is never read. A ring of an
        // earlier wait, which was given up, is told by the clock.
        while self.clock.now() < wake {
            self.timer.readable().await?.clear_ready();
        }
        Ok(())
    }
}
