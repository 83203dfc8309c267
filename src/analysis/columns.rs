//! What pictures are drawn from: columns of a timeline, bounded whatever the run's length.

use std::time::Duration;

use super::float;
use crate::clock::{Moment, nanos};
use crate::event::{Band, FlowWindow, Histogram, MemoryWindow, TrafficWindow, Vitals};
use crate::units::Bytes;

/// The most columns of a series; beyond it, columns are merged in pairs.
const MOST: usize = 1200;
/// Columns of latency hold a histogram each, so there are fewer.
const MOST_LATENCY: usize = 400;
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
    /// Use of CPU, and waiting.
    pub vitals: Vec<VitalColumn>,
    /// OOM kills, the first ones.
    pub kills: Vec<Moment>,
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

/// Use of CPU and waiting in one column, each the greatest between two readings.
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

/// What a column can take in.
pub(super) trait Merge {
    /// Takes in a later one; false where they must stay apart.
    fn merge(&mut self, later: &Self) -> bool;
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

/// Times in buckets of a sixteenth of an octave: coarse, small, and mergeable.
#[derive(Debug, Clone, Default)]
pub(super) struct LatencyCounts {
    start: Moment,
    end: Moment,
    buckets: Vec<u32>,
    max_us: u64,
}

const PER_OCTAVE: f64 = 16.0;

impl LatencyCounts {
    pub(super) const fn new(start: Moment, end: Moment) -> Self {
        Self { start, end, buckets: Vec::new(), max_us: 0 }
    }

    /// How many times there are.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().map(|count| u64::from(*count)).sum()
    }

    pub(super) fn add(&mut self, histogram: &Histogram) {
        for (us, count) in histogram.counts() {
            let bucket = bucket(us);
            if self.buckets.len() <= bucket {
                self.buckets.resize(bucket + 1, 0);
            }
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            self.buckets[bucket] = self.buckets[bucket].saturating_add(count);
        }
        self.max_us = self.max_us.max(histogram.max().unwrap_or(0));
    }

    /// Takes in another's times.
    pub(super) fn join(&mut self, other: &Self) {
        self.end = self.end.max(other.end);
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (mine, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine = mine.saturating_add(*more);
        }
        self.max_us = self.max_us.max(other.max_us);
    }

    pub(super) fn percentile_ms(&self, share: f64) -> f64 {
        let total: u64 = self.buckets.iter().map(|count| u64::from(*count)).sum();
        let wanted = share * float(total);
        let mut seen = 0_u64;
        for (bucket, count) in (0_u32..).zip(&self.buckets) {
            seen += u64::from(*count);
            if float(seen) >= wanted {
                let us = ((f64::from(bucket) + 0.5) / PER_OCTAVE).exp2();
                return us.min(float(self.max_us)) / 1e3;
            }
        }
        float(self.max_us) / 1e3
    }

    fn column(&self) -> LatencyColumn {
        LatencyColumn {
            start: self.start,
            end: self.end,
            p50: self.percentile_ms(0.50),
            p95: self.percentile_ms(0.95),
            p99: self.percentile_ms(0.99),
            max: float(self.max_us) / 1e3,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "16 × log2 of an u64 lies between 0 and 1024"
)]
fn bucket(us: u64) -> usize {
    (float(us.max(1)).log2() * PER_OCTAVE) as usize
}

impl Merge for LatencyCounts {
    fn merge(&mut self, later: &Self) -> bool {
        self.join(later);
        true
    }
}

/// A series of bounded length: each entry covers one stretch of equal width.
#[derive(Debug)]
pub(super) struct Columns<T> {
    most: usize,
    width: u64,
    /// Which stretch, and what was in it.
    rows: Vec<(u64, T)>,
}

impl<T: Merge> Columns<T> {
    pub(super) const fn new(most: usize, width: u64) -> Self {
        Self { most, width, rows: Vec::new() }
    }

    /// The rows, oldest first.
    pub(super) fn rows(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.rows.iter().map(|row| &row.1)
    }

    pub(super) fn add(&mut self, at: Moment, row: T) {
        let index = at.as_nanos() / self.width;
        match self.rows.last_mut() {
            Some((last, before)) if *last >= index => {
                if !before.merge(&row) {
                    self.rows.push((index, row));
                }
            }
            _ => self.rows.push((index, row)),
        }
        // Lives that must stay apart can keep some pairs apart, so try a few widths.
        for _ in 0..8 {
            if self.rows.len() <= self.most {
                break;
            }
            self.double();
        }
    }

    fn double(&mut self) {
        self.width *= 2;
        let mut merged: Vec<(u64, T)> = Vec::with_capacity(self.most + 1);
        for (index, row) in self.rows.drain(..) {
            match merged.last_mut() {
                Some((last, before)) if *last == index / 2 => {
                    if !before.merge(&row) {
                        merged.push((index / 2, row));
                    }
                }
                _ => merged.push((index / 2, row)),
            }
        }
        self.rows = merged;
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
}

impl TimelineBuilder {
    pub(super) fn new(window_ns: u64) -> Self {
        let width = window_ns.max(1_000_000);
        Self {
            start: None,
            end: Moment::START,
            memory: Columns::new(MOST, width),
            flow: Columns::new(MOST, width),
            latency: Columns::new(MOST_LATENCY, width),
            vitals: Columns::new(MOST_LATENCY, width),
            kills: Vec::new(),
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

    pub(super) fn traffic(&mut self, at: Moment, window: &TrafficWindow) {
        if window.latency_us.count() == 0 {
            return;
        }
        let mut counts =
            LatencyCounts { start: window.start, end: at, buckets: Vec::new(), max_us: 0 };
        counts.add(&window.latency_us);
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
        };
        self.vitals.add(*start, column);
    }

    pub(super) fn finish(self) -> Timeline {
        fn rows<T>(columns: Columns<T>) -> Vec<T> {
            columns.rows.into_iter().map(|row| row.1).collect()
        }
        let latency = self.latency.rows.iter();
        let latency = latency.map(|row| row.1.column()).collect();
        Timeline {
            start: self.start.unwrap_or_default(),
            end: self.end.max(self.start.unwrap_or_default()),
            memory: rows(self.memory),
            flow: rows(self.flow),
            latency,
            vitals: rows(self.vitals),
            kills: self.kills,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!((MOST / 2..=MOST).contains(&columns.rows.len()));
        let rows = || columns.rows.iter().map(|row| row.1);
        assert_eq!(rows().map(|row| row.in_flight).max(), Some(863_999));
        assert_eq!(rows().map(|row| row.failed).sum::<u64>(), 864_000);
        assert_eq!(columns.rows[0].1.start, Moment::START);
    }

    #[test]
    fn coarse_percentiles_are_within_a_sixteenth_of_an_octave() {
        let mut histogram = Histogram::new();
        (1..=10_000_u64).for_each(|us| histogram.record(us * 10));
        let mut counts = LatencyCounts {
            start: Moment::START,
            end: Moment::START,
            buckets: Vec::new(),
            max_us: 0,
        };
        counts.add(&histogram);
        let column = counts.column();
        assert!((column.p50 / 50.0 - 1.0).abs() < 0.05, "{column:?}");
        assert!((column.p99 / 99.0 - 1.0).abs() < 0.05, "{column:?}");
        assert!((column.max / 100.0 - 1.0).abs() < 0.002, "{column:?}");
    }
}
