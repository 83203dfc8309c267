//! From rows over time to levels of load.

use super::findings::{LoadAxis, LoadLevel};
use super::rows::{AnswerCounts, Rows, Span};
use crate::analysis::columns::LatencyCounts;
use crate::analysis::growth::median;
use crate::analysis::vitals::Moved;
use crate::judge::float;

/// The most levels.
const MOST: usize = 16;
/// The least that are tried.
const LEAST: usize = 8;
/// So many windows of memory a level are wanted.
const WINDOWS: usize = 3;
/// Rates are taken over so many seconds before and after.
const SMOOTH_S: f64 = 1.0;
/// The load counts as at its most from this share of it on.
const AT_MOST: f64 = 0.98;
/// A climb covers this share of the range at least.
const CLIMBS: f64 = 0.5;

/// The load over time: points of seconds since the run started, and load; between them it is a line.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Curve(Vec<(f64, f64)>);

impl Curve {
    pub(super) fn of(rows: &Rows, axis: LoadAxis) -> Self {
        match axis {
            LoadAxis::Users => Self::users(rows),
            LoadAxis::Rate => Self::rate(rows),
            LoadAxis::InFlight => {
                let rows = rows.flow.rows();
                Self(rows.map(|row| (row.span.middle(), float(row.in_flight))).collect())
            }
        }
    }

    fn users(rows: &Rows) -> Self {
        let points = rows.users.rows().map(|row| (row.span.to, f64::from(row.last)));
        let mut points: Vec<(f64, f64)> = points.collect();
        // What the first window began with is not told; a ramp goes on as it began.
        if let (Some(first), Some(second)) = (points.first().copied(), points.get(1).copied()) {
            let begun = rows.users.rows().next().map_or(first.0, |row| row.span.from);
            let slope = (second.1 - first.1) / (second.0 - first.0).max(1e-3);
            let load = (first.1 - slope * (first.0 - begun)).clamp(0.0, first.1.max(second.1));
            points.insert(0, (begun, load));
        }
        // The last window of a phase sees users leave.
        if let [.., (_, before), last] = points.as_mut_slice()
            && let Some(row) = rows.users.rows().last()
            && last.1 < *before
        {
            last.1 = f64::from(row.max).min(*before);
        }
        Self(points)
    }

    fn rate(rows: &Rows) -> Self {
        let rows: Vec<_> = rows.flow.rows().collect();
        let smooth = |at: f64| {
            let near = rows.iter().filter(|row| (row.span.middle() - at).abs() <= SMOOTH_S);
            // At the ends there is only one side: a sloping line through what there is.
            let near: Vec<(f64, f64)> =
                near.map(|row| (row.span.middle() - at, row.due_rate())).collect();
            line_at_zero(&near)
        };
        Self(rows.iter().map(|row| (row.span.middle(), smooth(row.span.middle()))).collect())
    }

    /// The load at a moment; none where there are no points.
    fn at(&self, seconds: f64) -> Option<f64> {
        let after = self.0.partition_point(|point| point.0 < seconds);
        let right = self.0.get(after).or(self.0.last())?;
        let left = self.0.get(after.saturating_sub(1)).or(self.0.first())?;
        let width = right.0 - left.0;
        if width <= 0.0 {
            return Some(right.1);
        }
        let share = ((seconds - left.0) / width).clamp(0.0, 1.0);
        Some(left.1 + share * (right.1 - left.1))
    }

    /// The mean load over a stretch of time.
    pub(super) fn over(&self, span: Span) -> Option<f64> {
        let at = |share: f64| self.at(span.from + share * span.seconds());
        let sum: Option<f64> = [0.1, 0.3, 0.5, 0.7, 0.9].into_iter().map(at).sum();
        sum.map(|sum| sum / 5.0)
    }

    /// The least and the most load in a stretch of time.
    pub(super) fn range(&self, within: Span) -> Option<(f64, f64)> {
        let loads = self.0.iter().filter(|row| row.0 >= within.from && row.0 <= within.to);
        loads.fold(None, |range: Option<(f64, f64)>, (_, load)| {
            Some(range.map_or((*load, *load), |(low, high)| (low.min(*load), high.max(*load))))
        })
    }

    /// The stretch in which the load climbs to its most (what follows shows what is left, not what
    /// is needed), or else falls from it; all of it where it does neither.
    pub(super) fn climb(&self) -> Option<Span> {
        let (first, last) = (*self.0.first()?, *self.0.last()?);
        let whole = Span { from: first.0, to: last.0 };
        let (low, high) = self.range(whole)?;
        let at_most = || self.0.iter().filter(|row| row.1 >= low + AT_MOST * (high - low));
        let (begins, ends) = (at_most().next()?.0, at_most().next_back()?.0);
        let covers = |load: f64| high - load >= CLIMBS * (high - low) && high > low;
        if covers(first.1) {
            Some(Span { to: ends, ..whole })
        } else if covers(last.1) {
            Some(Span { from: begins, ..whole })
        } else {
            Some(whole)
        }
    }
}

/// Where a straight line through points crosses zero of x (least squares); zero of none.
fn line_at_zero(points: &[(f64, f64)]) -> f64 {
    let count = float(points.len().max(1) as u64);
    let mean_x = points.iter().map(|point| point.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.1).sum::<f64>() / count;
    let square: f64 = points.iter().map(|point| (point.0 - mean_x).powi(2)).sum();
    let both: f64 = points.iter().map(|point| (point.0 - mean_x) * (point.1 - mean_y)).sum();
    if square <= 0.0 {
        return mean_y;
    }
    (mean_y - both / square * mean_x).max(0.0)
}

/// Sums of one level.
#[derive(Debug)]
struct Heap {
    load: Vec<f64>,
    memory: Vec<f64>,
    memory_peak: Option<f64>,
    in_flight: Vec<f64>,
    threads: Vec<f64>,
    open_files: Vec<f64>,
    sockets: Vec<f64>,
    succeeded: u64,
    seconds: f64,
    latency: LatencyCounts,
    requests: u64,
    failed: u64,
    answers: AnswerCounts,
    cpu: Moved,
    busiest_core: Moved,
    throttled: Moved,
    cpu_wait: Moved,
    memory_wait: Moved,
    io_wait: Moved,
    major_faults: Moved,
}

impl Default for Heap {
    fn default() -> Self {
        Self {
            load: Vec::new(),
            memory: Vec::new(),
            memory_peak: None,
            in_flight: Vec::new(),
            threads: Vec::new(),
            open_files: Vec::new(),
            sockets: Vec::new(),
            succeeded: 0,
            seconds: 0.0,
            latency: LatencyCounts::default(),
            requests: 0,
            failed: 0,
            answers: AnswerCounts::default(),
            cpu: Moved::default(),
            busiest_core: Moved::default(),
            throttled: Moved::default(),
            cpu_wait: Moved::default(),
            memory_wait: Moved::default(),
            io_wait: Moved::default(),
            major_faults: Moved::default(),
        }
    }
}

/// The levels of a stretch of time, from the least load to the most; those without a reading of
/// memory or of requests are left out.
pub(super) fn levels(rows: &Rows, curve: &Curve, within: Span) -> Vec<LoadLevel> {
    let inside = |span: Span| span.middle() >= within.from && span.middle() <= within.to;
    let windows = rows.memory.rows().filter(|row| inside(row.span)).count();
    let count = (windows / WINDOWS).clamp(LEAST, MOST);
    let Some((low, high)) = curve.range(within) else { return Vec::new() };
    let mut heaps: Vec<Heap> = Vec::new();
    heaps.resize_with(count, Heap::default);
    let place = |span: Span| {
        let load = curve.over(span).filter(|_| inside(span))?;
        let share = ((load - low) / (high - low).max(1e-9)).clamp(0.0, 1.0);
        Some((index(share * float(count as u64)).min(count - 1), load))
    };
    fill(rows, &mut heaps, place);
    heaps.into_iter().filter(|heap| !heap.load.is_empty()).map(Heap::level).collect()
}

/// A single level of all that is in a stretch of time.
pub(super) fn single(rows: &Rows, curve: &Curve, within: Span) -> Option<LoadLevel> {
    let inside = |span: Span| span.middle() >= within.from && span.middle() <= within.to;
    let mut heaps = [Heap::default()];
    fill(rows, &mut heaps, |span| Some((0, curve.over(span).filter(|_| inside(span))?)));
    let [heap] = heaps;
    (!heap.load.is_empty()).then(|| heap.level())
}

fn fill(rows: &Rows, heaps: &mut [Heap], place: impl Fn(Span) -> Option<(usize, f64)>) {
    for row in rows.flow.rows() {
        let Some((level, load)) = place(row.span) else { continue };
        let heap = &mut heaps[level];
        heap.load.push(load);
        heap.in_flight.push(float(row.in_flight));
        heap.succeeded += row.ended.saturating_sub(row.failed);
        heap.seconds += row.span.seconds();
    }
    for row in rows.memory.rows() {
        let Some((level, load)) = place(row.span) else { continue };
        let heap = &mut heaps[level];
        heap.load.push(load);
        heap.memory.push(row.level);
        heap.memory_peak = Some(heap.memory_peak.map_or(row.peak, |peak| peak.max(row.peak)));
    }
    for row in rows.traffic.rows() {
        let Some((level, _)) = place(row.span) else { continue };
        let heap = &mut heaps[level];
        heap.latency.join(&row.latency);
        heap.requests += row.ended;
        heap.failed += row.failed;
        heap.answers.add(row.answers);
    }
    for row in rows.vitals.rows() {
        let Some((level, _)) = place(row.span) else { continue };
        let heap = &mut heaps[level];
        heap.threads.push(f64::from(row.threads));
        heap.open_files.extend(row.open_files.map(f64::from));
        heap.sockets.extend(row.sockets.map(f64::from));
        heap.cpu.join(row.cpu);
        heap.busiest_core.join(row.busiest_core);
        heap.throttled.join(row.throttled);
        heap.cpu_wait.join(row.cpu_wait);
        heap.memory_wait.join(row.memory_wait);
        heap.io_wait.join(row.io_wait);
        heap.major_faults.join(row.major_faults);
    }
}

impl Heap {
    fn level(self) -> LoadLevel {
        let percent = |moved: Moved| moved.share().map(|share| (1e2 * share).min(100.0));
        // Time waited is counted in microseconds, time itself in nanoseconds.
        let waited = |moved: Moved| moved.share().map(|share| (1e5 * share).min(100.0));
        let answered = self.latency.count() > 0;
        LoadLevel {
            load: median(&self.load).unwrap_or(0.0),
            in_flight: median(&self.in_flight),
            memory: median(&self.memory),
            memory_peak: self.memory_peak,
            threads: median(&self.threads),
            open_files: median(&self.open_files),
            sockets: median(&self.sockets),
            throughput: (self.seconds > 0.0).then(|| float(self.succeeded) / self.seconds),
            requests: self.requests,
            failed: self.failed,
            turned_away: self.answers.limited + self.answers.shed,
            p50_ms: answered.then(|| self.latency.percentile_ms(0.5)),
            p99_ms: answered.then(|| self.latency.percentile_ms(0.99)),
            cpu_cores: self.cpu.share(),
            busiest_core: self.busiest_core.share(),
            throttled: percent(self.throttled),
            cpu_wait: waited(self.cpu_wait),
            memory_wait: waited(self.memory_wait),
            io_wait: waited(self.io_wait),
            major_faults: self.major_faults.share().map(|share| 1e9 * share),
        }
    }
}

/// Latency under the lower and the upper third of the load, and how many requests each holds.
pub(super) fn thirds(rows: &Rows, curve: &Curve, within: Span) -> [LatencyCounts; 2] {
    let mut ends = [LatencyCounts::default(), LatencyCounts::default()];
    let Some((low, high)) = curve.range(within) else { return ends };
    for row in rows.traffic.rows() {
        let inside = row.span.middle() >= within.from && row.span.middle() <= within.to;
        let Some(load) = curve.over(row.span).filter(|_| inside) else { continue };
        let share = (load - low) / (high - low).max(1e-9);
        if share <= 1.0 / 3.0 {
            ends[0].join(&row.latency);
        } else if share >= 2.0 / 3.0 {
            ends[1].join(&row.latency);
        }
    }
    ends
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at 0")]
fn index(position: f64) -> usize {
    position as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_climb_is_what_leads_to_the_most() {
        let curve =
            |loads: &[f64]| Curve((0..).map(f64::from).zip(loads.iter().copied()).collect());
        let climb = |loads: &[f64]| curve(loads).climb().map(|span| (span.from, span.to)).unwrap();
        assert_eq!(climb(&[0.0, 5.0, 10.0]), (0.0, 2.0));
        assert_eq!(climb(&[0.0, 5.0, 10.0, 10.0, 5.0, 0.0]), (0.0, 3.0));
        assert_eq!(climb(&[10.0, 5.0, 0.0]), (0.0, 2.0));
        assert_eq!(climb(&[4.0, 4.0, 4.0]), (0.0, 2.0));
        assert_eq!(Curve::default().climb(), None);
        let up = curve(&[0.0, 10.0]);
        assert_eq!(up.over(Span { from: 0.0, to: 1.0 }), Some(5.0));
        assert_eq!(up.at(7.0), Some(10.0));
    }
}
