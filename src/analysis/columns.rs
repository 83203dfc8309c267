//! What pictures are drawn from: columns of a timeline, bounded whatever the run's length.

mod series;

use std::collections::BTreeMap;
use std::time::Duration;

pub(super) use series::{Columns, LatencyCounts, Merge};

use super::float;
use crate::clock::{Moment, nanos};
use crate::event::{Band, FlowWindow, MemoryWindow, TrafficWindow, Vitals};
use crate::units::Bytes;

/// The most columns of a series; beyond it, columns are merged in pairs.
const MOST: usize = 6000;
/// Columns of latency hold a histogram each, so there are fewer.
const MOST_LATENCY: usize = 1000;
/// Windows of traffic are a second long, each step's on its own beat: a column holds them all.
const LEAST_LATENCY_NS: u64 = 1_000_000_000;
/// Readings of vitals come once a second.
const MOST_VITALS: usize = 2000;
/// Between two readings of vitals that make a column.
const LEAST_VITALS_NS: u64 = 100_000_000;
/// Kills and lives that a picture shows.
const MOST_MARKS: usize = 200;

/// The main container's lives on one time axis.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    /// When the axis begins: the first main life's start.
    pub start: Moment,
    /// The last thing seen.
    pub end: Moment,
    /// Memory, oldest first; columns without a window are left out.
    pub memory: Vec<MemoryColumn>,
    /// Traffic as it flowed.
    pub flow: Vec<FlowColumn>,
    /// Latency of what ended.
    pub latency: Vec<LatencyColumn>,
    /// Use of CPU, waiting, threads and descriptors.
    pub vitals: Vec<VitalColumn>,
    /// OOM kills, the first ones.
    pub kills: Vec<Moment>,
    /// Raw ticks around the largest spikes, in order of time.
    pub clips: Vec<super::Clip>,
}

impl Timeline {
    /// The same in at most so many columns a series, for a picture that has no room for more.
    #[must_use]
    pub fn in_columns(&self, most: usize) -> Self {
        let span = nanos(self.end.since(self.start));
        let width = span.div_ceil(most.max(1) as u64).max(1);
        Self {
            start: self.start,
            end: self.end,
            memory: merged(&self.memory, most, width, |row| row.start),
            flow: merged(&self.flow, most, width, |row| row.start),
            latency: self.latency.clone(),
            vitals: merged(&self.vitals, most, width, |row| row.start),
            kills: self.kills.clone(),
            clips: Vec::new(),
        }
    }
}

fn merged<T: Merge + Copy>(
    rows: &[T],
    most: usize,
    width: u64,
    start: impl Fn(&T) -> Moment,
) -> Vec<T> {
    let mut columns = Columns::new(most, width);
    for row in rows {
        columns.add(start(row), *row);
    }
    columns.into_rows()
}

/// Memory in one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryColumn {
    /// The first window's start.
    pub start: Moment,
    /// The last window's end.
    pub end: Moment,
    /// The life that was sampled; a column never holds two.
    pub life: u32,
    /// Charged memory at ticks.
    pub usage: Band,
    /// The highest charged peak, and the tick at which it was read.
    pub peak: Bytes,
    /// When that peak was read.
    pub peak_at: Moment,
    /// `anon`.
    pub rss: Band,
    /// Unreclaimable memory, lower bound.
    pub low: Band,
    /// Unreclaimable memory, upper bound.
    pub high: Band,
    /// Page cache that can be dropped.
    pub cache: Band,
    /// Charges that met the limit in it.
    pub hits: u64,
}

/// Traffic in one column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlowColumn {
    /// The first window's start.
    pub start: Moment,
    /// The last window's end.
    pub end: Moment,
    /// The least and the greatest rate of sending in a window, in requests per second.
    pub rate: (f64, f64),
    /// The most requests in flight.
    pub in_flight: u64,
    /// Failed requests.
    pub failed: u64,
}

/// Use of CPU, waiting and counts in one column, each the greatest between two readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VitalColumn {
    /// The first reading's time.
    pub start: Moment,
    /// The last reading's time.
    pub end: Moment,
    /// The life that was read; a column never holds two.
    pub life: u32,
    /// CPU time per wall time.
    pub cores: Option<f64>,
    /// Share of time in which some task waited for memory, in percent.
    pub memory: Option<f64>,
    /// The same for a CPU.
    pub cpu: Option<f64>,
    /// The same for I/O.
    pub io: Option<f64>,
    /// Threads.
    pub threads: Option<u32>,
    /// Open descriptors.
    pub open_files: Option<u32>,
}

/// Latency in one column: from due to the last byte, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyColumn {
    /// The first window's start.
    pub start: Moment,
    /// The last window's end.
    pub end: Moment,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Merge for MemoryColumn {
    fn merge(&mut self, later: &Self) -> bool {
        if self.life != later.life {
            return false;
        }
        self.end = later.end;
        self.usage.merge(&later.usage);
        self.rss.merge(&later.rss);
        self.low.merge(&later.low);
        self.high.merge(&later.high);
        self.cache.merge(&later.cache);
        self.hits += later.hits;
        if later.peak > self.peak {
            (self.peak, self.peak_at) = (later.peak, later.peak_at);
        }
        true
    }
}

impl Merge for VitalColumn {
    fn merge(&mut self, later: &Self) -> bool {
        if self.life != later.life {
            return false;
        }
        let most = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::max);
        self.end = later.end;
        self.cores = most(self.cores, later.cores);
        self.memory = most(self.memory, later.memory);
        self.cpu = most(self.cpu, later.cpu);
        self.io = most(self.io, later.io);
        self.threads = self.threads.max(later.threads);
        self.open_files = self.open_files.max(later.open_files);
        true
    }
}

impl Merge for FlowColumn {
    fn merge(&mut self, later: &Self) -> bool {
        self.end = later.end;
        self.rate.0 = self.rate.0.min(later.rate.0);
        self.rate.1 = self.rate.1.max(later.rate.1);
        self.in_flight = self.in_flight.max(later.in_flight);
        self.failed += later.failed;
        true
    }
}

/// Collects the columns while events come in.
#[derive(Debug)]
pub(super) struct TimelineBuilder {
    start: Option<Moment>,
    end: Moment,
    memory: Columns<MemoryColumn>,
    flow: Columns<FlowColumn>,
    latency: Columns<LatencyCounts>,
    vitals: Columns<VitalColumn>,
    kills: Vec<Moment>,
    /// The limit's counter as last read, by life.
    hits: BTreeMap<u32, u64>,
}

impl TimelineBuilder {
    pub(super) fn new(window_ns: u64) -> Self {
        let width = window_ns.max(1_000_000);
        Self {
            start: None,
            end: Moment::START,
            memory: Columns::new(MOST, width),
            flow: Columns::new(MOST, width),
            latency: Columns::new(MOST_LATENCY, width * LEAST_LATENCY_NS.div_ceil(width)),
            vitals: Columns::new(MOST_VITALS, width),
            kills: Vec::new(),
            hits: BTreeMap::new(),
        }
    }

    pub(super) fn begin(&mut self, at: Moment) {
        self.start.get_or_insert(at);
    }

    pub(super) fn kill(&mut self, at: Moment) {
        self.end = self.end.max(at);
        if self.kills.len() < MOST_MARKS {
            self.kills.push(at);
        }
    }

    pub(super) fn memory(&mut self, at: Moment, window: &MemoryWindow) {
        self.end = self.end.max(at);
        let hits = window.limit_hits.map_or(0, |now| {
            let before = self.hits.insert(window.life.0, now).unwrap_or(0);
            now.saturating_sub(before)
        });
        let column = MemoryColumn {
            start: window.start,
            end: at,
            life: window.life.0,
            usage: window.usage,
            peak: window.peak,
            peak_at: window.peak_at,
            rss: window.rss,
            low: window.unreclaimable_low,
            high: window.unreclaimable_high,
            cache: window.cache,
            hits,
        };
        self.memory.add(window.start, column);
    }

    pub(super) fn flow(&mut self, at: Moment, window: &FlowWindow) {
        self.end = self.end.max(at);
        let seconds = at.since(window.start).max(Duration::from_millis(1));
        let rate = float(window.counts.sent) / seconds.as_secs_f64();
        let in_flight = window.steps.iter().map(|row| u64::from(row.in_flight_max));
        let column = FlowColumn {
            start: window.start,
            end: at,
            rate: (rate, rate),
            in_flight: in_flight.sum(),
            failed: window.counts.failed,
        };
        self.flow.add(window.start, column);
    }

    pub(super) fn traffic(&mut self, at: Moment, window: &TrafficWindow, counts: LatencyCounts) {
        if window.latency_us.count() == 0 {
            return;
        }
        let middle = window.start + Duration::from_nanos(nanos(at.since(window.start)) / 2);
        self.latency.add(middle, counts);
    }

    /// What moved between two readings of one life.
    pub(super) fn vitals(&mut self, before: &(Moment, Vitals), at: Moment, now: &Vitals) {
        let (start, before) = before;
        let ns = at.as_nanos().saturating_sub(start.as_nanos());
        // Two readings in a row, one of them out of turn: their counters say little.
        if ns < LEAST_VITALS_NS {
            return;
        }
        self.end = self.end.max(at);
        let per_ns = |of: fn(&Vitals) -> Option<u64>| {
            let moved = of(now)?.checked_sub(of(before)?)?;
            Some(float(moved) / float(ns))
        };
        let percent = |of| per_ns(of).map(|us_per_ns| (us_per_ns * 1e5).min(100.0));
        let column = VitalColumn {
            start: *start,
            end: at,
            life: now.life.map_or(0, |life| life.0),
            cores: per_ns(|row| row.cpu_ns),
            memory: percent(|row| row.psi_some_us),
            cpu: percent(|row| row.cpu_psi_us),
            io: percent(|row| row.io_psi_us),
            threads: Some(now.threads),
            open_files: now.open_files,
        };
        self.vitals.add(*start, column);
    }

    pub(super) fn finish(self, clips: Vec<super::Clip>) -> Timeline {
        let mut latency: Vec<_> = self.latency.rows().map(LatencyCounts::column).collect();
        // Windows reach beyond their columns.
        for place in 1..latency.len() {
            latency[place].start = latency[place].start.max(latency[place - 1].end);
        }
        Timeline {
            start: self.start.unwrap_or_default(),
            end: self.end.max(self.start.unwrap_or_default()),
            memory: self.memory.into_rows(),
            flow: self.flow.into_rows(),
            latency,
            vitals: self.vitals.into_rows(),
            kills: self.kills,
            clips,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Histogram;

    fn flow(n: u64) -> FlowColumn {
        let start = Moment::from_millis(n * 100);
        FlowColumn {
            start,
            end: start + Duration::from_millis(100),
            rate: (float(n), float(n)),
            in_flight: n,
            failed: 1,
        }
    }

    #[test]
    fn a_day_stays_bounded_and_keeps_its_extremes() {
        let mut columns = Columns::new(MOST, 100_000_000);
        for n in 0..864_000 {
            columns.add(flow(n).start, flow(n));
        }
        assert!((MOST / 2..=MOST).contains(&columns.rows().count()));
        let rows = || columns.rows();
        assert_eq!(rows().map(|row| row.in_flight).max(), Some(863_999));
        assert_eq!(rows().map(|row| row.failed).sum::<u64>(), 864_000);
        assert_eq!(columns.rows().next().unwrap().start, Moment::START);
    }

    #[test]
    fn steps_on_different_beats_are_in_one_column() {
        let mut timeline = TimelineBuilder::new(100_000_000);
        for half in 0..40 {
            let start = Moment::from_millis(200 + 500 * half);
            let mut latency_us = Histogram::new();
            (0..9).for_each(|_| latency_us.record(if half % 2 == 0 { 100 } else { 40_000 }));
            let window = TrafficWindow { start, latency_us, ..TrafficWindow::default() };
            let at = start + Duration::from_secs(1);
            timeline.traffic(at, &window, LatencyCounts::of(at, &window));
        }
        let rows = timeline.finish(Vec::new()).latency;
        assert_eq!(rows.len(), 21);
        for pair in rows.windows(2) {
            assert!(pair[0].end <= pair[1].start && pair[1].start < pair[1].end, "{pair:?}");
        }
        let inner = &rows[1..rows.len() - 1];
        assert!(inner.iter().all(|row| row.p50 < 0.2 && row.p99 > 30.0), "{inner:?}");
    }

    #[test]
    fn coarse_percentiles_are_within_a_sixteenth_of_an_octave() {
        let mut histogram = Histogram::new();
        (1..=10_000_u64).for_each(|us| histogram.record(us * 10));
        let mut counts = LatencyCounts::default();
        counts.add(&histogram);
        let column = counts.column();
        assert!((column.p50 / 50.0 - 1.0).abs() < 0.05, "{column:?}");
        assert!((column.p99 / 99.0 - 1.0).abs() < 0.05, "{column:?}");
        assert!((column.max / 100.0 - 1.0).abs() < 0.002, "{column:?}");
    }
}
