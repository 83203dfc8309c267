//! Levels of the target, as its windows and readings tell them.

use crate::clock::Moment;
use crate::event::{Band, MemoryWindow, Vitals};
use crate::judge::float;
use crate::judge::gauge::{Stretch, speed};
use crate::plan::Metric;

pub(super) fn stretch(window: &MemoryWindow, end: Moment, band: Band) -> Stretch {
    Stretch {
        start: window.start,
        end,
        min: band.min.as_f64(),
        max: band.max.as_f64(),
        last: band.last.as_f64(),
    }
}

pub(super) fn main_level(metric: Metric, window: &MemoryWindow, at: Moment) -> Option<Stretch> {
    let band = match metric {
        Metric::Memory => window.unreclaimable_high,
        Metric::MemoryUsage => window.usage,
        Metric::MemoryRss => window.rss,
        Metric::MemoryWorkingSet => window.working_set,
        Metric::MemoryChargedPeak => Band::of(window.peak),
        _ => return None,
    };
    Some(stretch(window, at, band))
}

/// How fast a counter moved since the reading before, of the same life.
pub(super) fn movement(
    metric: Metric,
    before: Option<&(Moment, Vitals)>,
    now: &Vitals,
    at: Moment,
) -> Option<Stretch> {
    let (then, before) = before?;
    let speed_of =
        |counter: fn(&Vitals) -> Option<u64>| speed((*then, counter(before)?), (at, counter(now)?));
    let value = match metric {
        Metric::Cpu => speed_of(|row| row.cpu_ns)? / 1e9,
        Metric::Throttled => speed_of(|row| row.throttled_ns)? / 1e9 * 100.0,
        Metric::PsiMemory => float(now.psi_some_us?.checked_sub(before.psi_some_us?)?) / 1e3,
        _ => return None,
    };
    Some(Stretch { start: *then, ..Stretch::point(at, value) })
}

/// A level at a reading; of what was written, all since the life began.
pub(super) fn vital_level(metric: Metric, now: &Vitals) -> Option<f64> {
    Some(match metric {
        Metric::Threads => f64::from(now.threads),
        Metric::OpenFiles => f64::from(now.open_files?),
        Metric::DiskWritten => float(now.disk()?.1.written_bytes),
        Metric::LogBytes => float(now.log_bytes?),
        _ => return None,
    })
}
