//! Ticks on absolute time, missed ones counted, and the thread's scheduling class.

use std::io::Write;
use std::time::Duration;

use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

use crate::cgroup::Hierarchies;
use crate::clock::{Anchor, Clock, Moment, nanos};
use crate::event::SchedulingClass;

/// Ticks at `start + n × interval`, whatever a reading takes.
#[derive(Debug)]
pub(super) struct Pace {
    start: Moment,
    interval_ns: u64,
    next: u64,
}

/// A tick that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// How late the thread woke for the tick that it reads.
    pub(super) lateness: Duration,
    /// Ticks that fell due since the one before and can't be read any more.
    pub(super) missed: u64,
}

impl Pace {
    /// The first tick is due at `start`.
    pub(super) fn new(start: Moment, interval: Duration) -> Self {
        Self { start, interval_ns: nanos(interval).max(1), next: 0 }
    }

    /// When the next tick is due.
    pub(super) fn next_due(&self) -> Moment {
        Moment::from_nanos(self.start.as_nanos() + self.next * self.interval_ns)
    }

    /// Counts the tick that is read at `now`, which is not before [`Self::next_due`].
    pub(super) fn wake(&mut self, now: Moment) -> Due {
        let index = (now.as_nanos().saturating_sub(self.start.as_nanos())) / self.interval_ns;
        let index = index.max(self.next);
        let missed = index - self.next;
        let due = Moment::from_nanos(self.start.as_nanos() + index * self.interval_ns);
        self.next = index + 1;
        Due { lateness: now.since(due), missed }
    }
}

/// Sleeps until a moment of the run's clock.
pub(super) fn sleep_until(clock: &Clock, anchor: Anchor, until: Moment) {
    let wake = Duration::from_nanos(anchor.monotonic_ns + until.as_nanos());
    while clock.now() < until {
        // A signal may cut the sleep short: then it goes on until the same absolute time.
        let _ = clock_nanosleep(
            ClockId::CLOCK_MONOTONIC,
            ClockNanosleepFlags::TIMER_ABSTIME,
            &wake.into(),
        );
    }
}

/// CPU time that this thread has used.
pub(super) fn thread_cpu_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0, |time| nanos(Duration::from(time)))
}

/// Makes this thread wake on time: timer slack of 1 ns, and the best scheduling class to be had.
pub(super) fn sharpen_this_thread() -> SchedulingClass {
    let _ = nix::sys::prctl::set_timerslack(1);
    if take_fifo() || (leave_cpu_group().is_some() && take_fifo()) {
        return SchedulingClass::Fifo;
    }
    let this_thread = rustix::thread::gettid();
    match rustix::process::setpriority_process(Some(this_thread), -20) {
        Ok(()) => SchedulingClass::Nice,
        Err(_) => SchedulingClass::Normal,
    }
}

fn take_fifo() -> bool {
    let lowest = ThreadPriorityValue::try_from(1_u8).map(ThreadPriority::Crossplatform);
    let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let set = |priority| set_thread_priority_and_policy(thread_native_id(), priority, fifo);
    lowest.is_ok_and(|priority| set(priority).is_ok())
}

/// Moves this thread alone to the root group of v1's `cpu` hierarchy. Other groups have no
/// real-time share of their own unless somebody gave them one
/// (`Documentation/scheduler/sched-rt-group.rst`), so a container's threads can't be FIFO.
fn leave_cpu_group() -> Option<()> {
    let root = Hierarchies::discover().ok()?.dir_with("cpu", "/")?;
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    std::fs::OpenOptions::new()
        .write(true)
        .open(root.join("tasks"))
        .ok()
        .and_then(|mut tasks| tasks.write_all(thread.as_bytes()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn late_wakes_count_the_ticks_they_slept_through() {
        let mut pace = Pace::new(Moment::from_millis(10), Duration::from_millis(1));
        assert_eq!(pace.next_due(), Moment::from_millis(10));
        let due = pace.wake(Moment::from_nanos(10_080_000));
        assert_eq!(due, Due { lateness: Duration::from_micros(80), missed: 0 });
        let due = pace.wake(Moment::from_nanos(14_500_000));
        assert_eq!(due, Due { lateness: Duration::from_micros(500), missed: 3 });
        assert_eq!(pace.next_due(), Moment::from_millis(15));
    }

    proptest! {
        #[test]
        fn read_and_missed_ticks_add_up_to_those_due(delays in prop::collection::vec(0_u64..20_000_000, 1..100)) {
            let mut pace = Pace::new(Moment::START, Duration::from_millis(1));
            let (mut read, mut missed, mut now) = (0, 0, Moment::START);
            for delay in delays {
                now = pace.next_due().max(now) + Duration::from_nanos(delay);
                missed += pace.wake(now).missed;
                read += 1;
            }
            prop_assert_eq!(read + missed, now.as_nanos() / 1_000_000 + 1);
        }
    }
}
