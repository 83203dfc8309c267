//! What the harness's own process uses.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

use crate::clock::{Clock, Moment, nanos};
use crate::event::{Event, HarnessReport, What};

/// What this process had used when a run began.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnUse {
    cpu_ns: u64,
    began: Moment,
}

impl OwnUse {
    /// To be called as the run begins.
    pub(super) fn begin(clock: &Clock) -> Self {
        Self { cpu_ns: cpu_ns(), began: clock.now() }
    }

    /// What was used since.
    pub(super) fn event(&self, clock: &Clock) -> Event {
        let at = clock.now();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let report = HarnessReport {
            cpu_ns: cpu_ns().saturating_sub(self.cpu_ns),
            wall_ns: nanos(at.since(self.began)),
            rss: size(&status, "VmRSS:"),
            rss_peak: size(&status, "VmHWM:"),
        };
        Event { at, what: What::Harness(report) }
    }
}

/// CPU time of all threads of this process, those that have ended too.
fn cpu_ns() -> u64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return 0 };
    let of = |time: nix::sys::time::TimeVal| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        let micros = u64::try_from(time.tv_usec()).unwrap_or(0);
        nanos(Duration::from_secs(seconds) + Duration::from_micros(micros))
    };
    of(usage.user_time()) + of(usage.system_time())
}

/// A size of `/proc/self/status`; 0 where the kernel does not say.
fn size(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map_or(0, |kib| kib.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_uses_is_told_since_the_run_began() {
        let clock = Clock::start();
        let begun = OwnUse::begin(&clock);
        let held = vec![1_u8; 8 << 20];
        let mut sum = 0_u64;
        while clock.now().since(begun.began) < Duration::from_millis(60) {
            sum = held.iter().step_by(4096).fold(sum, |sum, byte| sum + u64::from(*byte));
        }
        assert!(sum > 0);
        let What::Harness(report) = begun.event(&clock).what else { unreachable!() };
        assert!(report.cpu_ns > 0 && report.wall_ns >= 60_000_000, "{report:?}");
        assert!(report.rss_peak >= report.rss && report.rss > 8 << 20, "{report:?}");
    }
}
