//! One row a cycle: the floor, and what went on beside it.

use std::collections::VecDeque;
use std::time::Duration;

use super::class::Floors;
use super::seconds;
use crate::clock::Moment;
use crate::event::{MemoryWindow, Sockets, Vitals};
use crate::judge::float;
use crate::units::Bytes;

/// Rows that are kept; beyond it neighbours become one.
const MOST: usize = 512;
/// The first length of a part of steady traffic.
const PART: Duration = Duration::from_millis(500);
/// So many parts are compared.
const PARTS: usize = 24;
/// After a burst begins, memory of before it may still be read for so long.
const SKIPPED: Duration = Duration::from_millis(100);
/// A last cycle counts from this share of its length on.
const LEAST_OF_LAST: f64 = 0.4;

/// Rows of equal length from an origin on, doubling in length as there get too many.
#[derive(Debug)]
pub(super) struct Cycles {
    start: Moment,
    origin: Moment,
    width_ns: u64,
    by_bursts: bool,
    /// The floor before the first burst.
    before: Option<f64>,
    rows: VecDeque<Row>,
    end: Moment,
    counters: Option<(Counters, Counters)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    floor: Option<f64>,
    peak: f64,
    requests: u64,
    in_flight: u64,
    open_files: Option<u32>,
    threads: Option<u32>,
    sockets: Option<u32>,
    /// Bytes printed and written since the life began, at the last reading.
    log: Option<u64>,
    disk: Option<u64>,
}

/// What was printed and written at a moment.
#[derive(Debug, Clone, Copy)]
struct Counters {
    at: Moment,
    log: Option<u64>,
    disk: Option<u64>,
}

/// Floors of a count.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) name: &'static str,
    pub(super) floors: Floors,
    /// Requests that had ended before each floor.
    pub(super) requests: Vec<f64>,
}

/// What the rows come to.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) floors: Floors,
    /// Requests that had ended before each floor.
    pub(super) requests: Vec<f64>,
    /// The highest unreclaimable peak (upper bound) in the last quarter of the cycles, in bytes.
    pub(super) last_peak: f64,
    pub(super) cycle: Duration,
    pub(super) resources: Vec<Resource>,
    /// What was printed, and what was written to block devices, summed up since the first cycle.
    pub(super) written: Vec<Resource>,
    /// Bytes printed a second.
    pub(super) log_rate: Option<f64>,
    /// Bytes written to block devices a second.
    pub(super) disk_rate: Option<f64>,
}

impl Row {
    fn merge(&mut self, later: &Self) {
        self.floor = least(self.floor, later.floor);
        self.peak = self.peak.max(later.peak);
        self.requests += later.requests;
        self.in_flight = self.in_flight.max(later.in_flight);
        self.open_files = least_count(self.open_files, later.open_files);
        self.threads = least_count(self.threads, later.threads);
        self.sockets = least_count(self.sockets, later.sockets);
        self.log = later.log.or(self.log);
        self.disk = later.disk.or(self.disk);
    }
}

fn least(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    [a, b].into_iter().flatten().reduce(f64::min)
}

fn least_count(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    [a, b].into_iter().flatten().min()
}

impl Cycles {
    /// One row from each burst to the next.
    pub(super) fn of_bursts(start: Moment, first: Duration, every_ns: u64) -> Self {
        let origin = Moment::from_nanos(start.as_nanos() + crate::clock::nanos(first));
        Self::new(start, origin, every_ns, true)
    }

    /// Equal parts of steady traffic.
    pub(super) fn of_parts(start: Moment) -> Self {
        Self::new(start, start, crate::clock::nanos(PART), false)
    }

    const fn new(start: Moment, origin: Moment, width_ns: u64, by_bursts: bool) -> Self {
        Self {
            start,
            origin,
            width_ns,
            by_bursts,
            before: None,
            rows: VecDeque::new(),
            end: start,
            counters: None,
        }
    }

    pub(super) fn memory(&mut self, window: &MemoryWindow) {
        self.end = self.end.max(window.start);
        let floor = window.unreclaimable_low.min.as_f64();
        let by_bursts = self.by_bursts;
        let begins = self.begins(window.start);
        let Some(row) = self.row(window.start) else {
            self.before = least(self.before, Some(floor));
            return;
        };
        row.peak = row.peak.max(window.unreclaimable_high.max.as_f64());
        if !(by_bursts && begins) {
            row.floor = least(row.floor, Some(floor));
        }
    }

    pub(super) fn flow(&mut self, at: Moment, ended: u64, in_flight: u64) {
        if let Some(row) = self.row(at) {
            row.requests += ended;
            row.in_flight = row.in_flight.max(in_flight);
        }
    }

    pub(super) fn vitals(&mut self, at: Moment, now: &Vitals) {
        let block = now.block.map(|block| block.written_bytes);
        let disk = block.or(now.task_io.map(|io| io.written_bytes));
        let counters = Counters { at, log: now.log_bytes, disk };
        let first = self.counters.map_or(counters, |row| row.0);
        self.counters = Some((first, counters));
        let sockets = now.sockets.as_ref().map(open_sockets);
        let threads = now.threads;
        if let Some(row) = self.row(at) {
            row.open_files = least_count(row.open_files, now.open_files);
            row.threads = least_count(row.threads, Some(threads));
            row.sockets = least_count(row.sockets, sockets);
            row.log = counters.log.or(row.log);
            row.disk = counters.disk.or(row.disk);
        }
    }

    /// Requests that ended.
    pub(super) fn requests(&self) -> u64 {
        self.rows.iter().map(|row| row.requests).sum()
    }

    /// From the phase's start to the last window.
    pub(super) fn length(&self) -> Duration {
        self.end.since(self.start)
    }

    /// When the phase began.
    pub(super) const fn begun(&self) -> Moment {
        self.start
    }

    /// Whether a moment lies where memory of before the cycle's burst may be read.
    fn begins(&self, at: Moment) -> bool {
        let since = at.since(self.origin);
        at >= self.origin
            && crate::clock::nanos(since) % self.width_ns < crate::clock::nanos(SKIPPED)
    }

    /// The row of a moment; none before the first burst.
    fn row(&mut self, at: Moment) -> Option<&mut Row> {
        if at < self.origin {
            return None;
        }
        let mut index = self.index(at);
        while index >= MOST {
            self.halve();
            index = self.index(at);
        }
        if self.rows.len() <= index {
            self.rows.resize(index + 1, Row::default());
        }
        self.rows.get_mut(index)
    }

    fn index(&self, at: Moment) -> usize {
        let since = crate::clock::nanos(at.since(self.origin));
        usize::try_from(since / self.width_ns).unwrap_or(usize::MAX)
    }

    /// Neighbours become one.
    fn halve(&mut self) {
        self.width_ns *= 2;
        self.rows = merged(&self.rows, 2).into();
    }

    /// What the rows come to; none where there is none.
    pub(super) fn series(&self) -> Option<Series> {
        let mut rows: VecDeque<Row> = self.rows.clone();
        let last_begins =
            self.origin.as_nanos() + self.width_ns * (rows.len() as u64).saturating_sub(1);
        let of_last = float(self.end.as_nanos().saturating_sub(last_begins));
        if of_last < LEAST_OF_LAST * float(self.width_ns) {
            rows.pop_back();
        }
        let fold = if self.by_bursts { 1 } else { rows.len().div_ceil(PARTS).max(1) };
        // A last part that is shorter than the others is left out.
        rows.truncate(rows.len() / fold * fold);
        let rows = merged(&rows, fold);
        let width_ns = self.width_ns * fold as u64;
        let begin = seconds(self.origin.as_nanos() - self.start.as_nanos());
        let points = points(&rows, begin, width_ns);
        // A cycle without a reading, as of a target that was frozen, is left out.
        let seen = || points.iter().filter_map(|point| Some((point, point.row.floor?)));
        let floors = Floors {
            values: seen().map(|(_, floor)| floor).collect(),
            times: seen().map(|(point, _)| point.time_s).collect(),
            in_flight: seen().map(|(point, _)| float(point.row.in_flight)).collect(),
            before: self.before.filter(|_| self.by_bursts),
            slack: 0.0,
        };
        let late = &rows[rows.len() - rows.len().div_ceil(4)..];
        (!floors.values.is_empty()).then(|| Series {
            requests: seen().map(|(point, _)| point.requests).collect(),
            last_peak: late.iter().map(|row| row.peak).fold(0.0, f64::max),
            cycle: Duration::from_nanos(width_ns),
            resources: resources(&points),
            written: written(&points),
            log_rate: self.rate(|counters| counters.log),
            disk_rate: self.rate(|counters| counters.disk),
            floors,
        })
    }

    /// Floors by when they were, counted from the run's start.
    pub(super) fn placed(&self, floors: &Floors) -> Vec<(Duration, Bytes)> {
        let start = self.start.since(Moment::START);
        let at = |seconds: f64| start + Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let rows = floors.times.iter().zip(&floors.values);
        rows.map(|(time, value)| (at(*time), super::whole(*value))).collect()
    }

    fn rate(&self, of: impl Fn(&Counters) -> Option<u64>) -> Option<f64> {
        let (first, last) = self.counters?;
        let seconds = last.at.since(first.at).as_secs_f64();
        let bytes = of(&last)?.saturating_sub(of(&first)?);
        (seconds >= 1.0).then(|| float(bytes) / seconds)
    }
}

/// Rows joined in groups of so many.
fn merged(rows: &VecDeque<Row>, group: usize) -> Vec<Row> {
    let mut joined: Vec<Row> = Vec::with_capacity(rows.len() / group + 1);
    for (index, row) in rows.iter().enumerate() {
        match joined.last_mut() {
            Some(last) if index % group != 0 => last.merge(row),
            _ => joined.push(*row),
        }
    }
    joined
}

/// A row on its axes.
struct Point<'a> {
    time_s: f64,
    /// Requests that had ended before it.
    requests: f64,
    row: &'a Row,
}

fn points(rows: &[Row], begin_s: f64, width_ns: u64) -> Vec<Point<'_>> {
    let mut requests = 0.0;
    let mut points = Vec::with_capacity(rows.len());
    for (index, row) in (0..).zip(rows) {
        points.push(Point { time_s: begin_s + seconds(width_ns * index), requests, row });
        requests += float(row.requests);
    }
    points
}

/// Sockets but for those that only wait for their time to run out.
fn open_sockets(sockets: &Sockets) -> u32 {
    let tcp = sockets.tcp.iter().filter(|(state, _)| *state != "time_wait");
    let tcp: u32 = tcp.map(|row| row.1).sum();
    tcp + sockets.udp.unwrap_or(0) + sockets.unix.unwrap_or(0)
}

/// One measure of the cycles in which it was read.
fn resource(
    points: &[Point<'_>],
    name: &'static str,
    get: impl Fn(&Row) -> Option<f64>,
) -> Resource {
    let seen = || points.iter().filter_map(|point| Some((point, get(point.row)?)));
    let floors = Floors {
        values: seen().map(|(_, value)| value).collect(),
        times: seen().map(|(point, _)| point.time_s).collect(),
        ..Floors::default()
    };
    let requests = seen().map(|(point, _)| point.requests).collect();
    Resource { name, floors, requests }
}

/// The counts that were read at all.
fn resources(points: &[Point<'_>]) -> Vec<Resource> {
    let of =
        |name, get: fn(&Row) -> Option<u32>| resource(points, name, |row| get(row).map(f64::from));
    let rows = [
        of("open_files", |row| row.open_files),
        of("threads", |row| row.threads),
        of("sockets", |row| row.sockets),
    ];
    rows.into_iter().filter(|row| !row.floors.values.is_empty()).collect()
}

/// What was written at all, from nothing at the first cycle on.
fn written(points: &[Point<'_>]) -> Vec<Resource> {
    let of = |name, get: fn(&Row) -> Option<u64>| {
        let first = points.iter().find_map(|point| get(point.row)).unwrap_or(0);
        resource(points, name, |row| Some(float(get(row)?.saturating_sub(first))))
    };
    let rows = [of("log_bytes", |row| row.log), of("disk_bytes", |row| row.disk)];
    rows.into_iter().filter(|row| !row.floors.values.is_empty()).collect()
}
