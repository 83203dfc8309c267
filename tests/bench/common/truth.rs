//! What the `spiky` service says it did, and whether a sampler saw it.

use highwater::event::{Spike, Tick};
use highwater::judge::SpikeDetector;
use highwater::units::Bytes;
use serde_json::Value;

/// A spike that was made; times on the run's clock, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Truth {
    pub(crate) start: u64,
    /// From here on less was lacking than the kernel's slack.
    pub(crate) nearly: u64,
    pub(crate) top: u64,
    pub(crate) fall: u64,
    pub(crate) end: u64,
    pub(crate) bytes: u64,
    /// The longest time without a new page while it rose.
    pub(crate) pause: u64,
}

impl Truth {
    /// The spikes of a service's log, in order; `origin` is the run's start on `CLOCK_MONOTONIC`.
    pub(crate) fn of_log<'a>(lines: impl IntoIterator<Item = &'a Value>, origin: u64) -> Vec<Self> {
        let lines = lines.into_iter().filter(|line| line["event"] == "spike");
        let spike = |line: &Value| {
            let number = |key: &str| line[key].as_u64().expect("the service logs it");
            let time = |key: &str| number(key).saturating_sub(origin);
            Self {
                start: time("start_ns"),
                nearly: time("nearly_ns"),
                top: time("top_ns"),
                fall: time("fall_ns"),
                end: time("end_ns"),
                bytes: number("bytes"),
                pause: number("pause_ns"),
            }
        };
        lines.map(spike).collect()
    }

    /// What is charged for it: its pages, and a page of page tables for each 2 MiB of them.
    pub(crate) const fn height(&self) -> u64 {
        self.bytes + self.bytes.div_ceil(2 << 20) * 4096
    }

    /// By how much a height may be off: 1 %, or the kernel's slack where that is more.
    fn tolerance(&self, slack: u64) -> u64 {
        slack.max(self.height() / 100)
    }

    /// How far off a height is.
    pub(crate) const fn height_error(&self, rise: u64) -> u64 {
        rise.abs_diff(self.height())
    }

    /// Whether a height is as near as can be known.
    pub(crate) fn is_right(&self, rise: u64, slack: u64) -> bool {
        self.height_error(rise) <= self.tolerance(slack)
    }

    /// How far a time lies from that in which the spike was at its full height, which is charged
    /// up to the slack ahead of use.
    pub(crate) const fn away(&self, at: u64) -> u64 {
        if at < self.nearly { self.nearly - at } else { at.saturating_sub(self.fall) }
    }
}

/// What the ticks show of a spike.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    /// The least level of the three ticks before.
    pub(crate) floor: u64,
    /// The height above it.
    pub(crate) rise: u64,
    /// The tick with the highest peak.
    pub(crate) at: u64,
    /// Ticks since the spike before whose whole interval lay between the two.
    pub(crate) idle_ticks: usize,
}

/// What the ticks show of each spike, by the peaks alone.
pub(crate) fn shown(ticks: &[Tick], truth: &[Truth]) -> Vec<Option<Shown>> {
    let after = |time: u64| ticks.partition_point(|tick| tick.at.as_nanos() <= time);
    let mut before_end = 0;
    let rows = truth.iter().map(|spike| {
        let first = after(spike.start);
        let last = after(spike.end).min(ticks.len().saturating_sub(1));
        // The first tick after the end of the spike before holds some of it.
        let idle_ticks = first.saturating_sub(after(before_end) + 1);
        before_end = spike.end;
        let floor = ticks[first.saturating_sub(3)..first].iter().map(|tick| tick.usage).min()?;
        let mut top = ticks.get(first..=last)?.first()?;
        for tick in &ticks[first..=last] {
            if tick.peak > top.peak {
                top = tick;
            }
        }
        let rise = (top.peak - floor).get();
        Some(Shown { floor: floor.get(), rise, at: top.at.as_nanos(), idle_ticks })
    });
    rows.collect()
}

/// The spikes that the judge finds in ticks.
pub(crate) fn judge(ticks: &[Tick], tick_ns: u64, slack: u64) -> Vec<Spike> {
    let mut detector = SpikeDetector::new(tick_ns, Bytes::new(slack));
    let mut found = Vec::new();
    for tick in ticks {
        detector.tick(tick, &mut found);
    }
    detector.finish(&mut found);
    found.sort_by_key(|spike| spike.at);
    found
}

/// For each spike that was made, the judge's own, where there is one that no other was made for;
/// and how many the judge found that were never made. `late` is how long after a spike's end its
/// tick may come.
pub(crate) fn matched(
    found: &[Spike],
    truth: &[Truth],
    late: u64,
) -> (Vec<Option<Spike>>, Vec<Spike>) {
    let mut rest: Vec<Spike> = Vec::new();
    let mut rows = vec![None; truth.len()];
    for spike in found {
        let at = spike.at.as_nanos();
        let next = truth.partition_point(|row| row.start < at);
        let own = next.checked_sub(1).filter(|row| at <= truth[*row].end + late);
        match own {
            Some(row) if rows[row].is_none() => rows[row] = Some(*spike),
            _ => rest.push(*spike),
        }
    }
    (rows, rest)
}
