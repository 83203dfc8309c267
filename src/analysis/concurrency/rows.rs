//! What is kept of a phase: rows of bounded number for each source, on the run's clock.

use std::collections::BTreeMap;

use crate::analysis::columns::{Columns, LatencyCounts, Merge};
use crate::analysis::vitals::Moved;
use crate::clock::Moment;
use crate::event::{
    ErrorKind, FlowWindow, LifeId, MemoryWindow, Sockets, TrafficWindow, UserWindow, Vitals,
};
use crate::judge::float;

/// The most rows of a source; beyond it, rows are merged in pairs.
const MOST: usize = 600;
/// Rows of latency hold more, so there are fewer.
const MOST_LATENCY: usize = 240;
/// The width of rows at first, in nanoseconds.
const WIDTH_NS: u64 = 100_000_000;
/// Readings of vitals closer to one another say little, in nanoseconds.
const LEAST_NS: u64 = 100_000_000;

/// What is kept of a phase.
#[derive(Debug)]
pub(super) struct Rows {
    /// The life whose memory and vitals are kept: the last.
    pub(super) life: Option<LifeId>,
    pub(super) flow: Columns<FlowRow>,
    pub(super) users: Columns<UserRow>,
    pub(super) memory: Columns<MemoryRow>,
    pub(super) traffic: Columns<TrafficRow>,
    pub(super) vitals: Columns<VitalRow>,
}

/// A stretch of time, in seconds since the run started.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Span {
    pub(super) from: f64,
    pub(super) to: f64,
}

impl Span {
    fn new(from: Moment, to: Moment) -> Self {
        Self { from: from.as_secs_f64(), to: to.as_secs_f64() }
    }

    pub(super) fn seconds(self) -> f64 {
        (self.to - self.from).max(0.0)
    }

    pub(super) fn middle(self) -> f64 {
        f64::midpoint(self.from, self.to)
    }

    fn join(&mut self, later: Self) {
        (self.from, self.to) = (self.from.min(later.from), self.to.max(later.to));
    }
}

/// Requests as they flowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct FlowRow {
    pub(super) span: Span,
    pub(super) due: u64,
    pub(super) ended: u64,
    pub(super) failed: u64,
    pub(super) in_flight: u64,
}

/// Users who were there.
#[derive(Debug, Clone, Copy)]
pub(super) struct UserRow {
    pub(super) span: Span,
    pub(super) last: u32,
    pub(super) max: u32,
}

/// Memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct MemoryRow {
    pub(super) span: Span,
    /// Unreclaimable, lower bound, the most.
    pub(super) level: f64,
    /// Unreclaimable, upper bound, the most.
    pub(super) peak: f64,
}

/// Requests that ended.
#[derive(Debug, Clone)]
pub(super) struct TrafficRow {
    pub(super) span: Span,
    pub(super) latency: LatencyCounts,
    pub(super) ended: u64,
    pub(super) failed: u64,
    pub(super) answers: AnswerCounts,
}

/// Answers that tell of trouble.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct AnswerCounts {
    /// 429.
    pub(super) limited: u64,
    /// 503.
    pub(super) shed: u64,
    /// 502 and 504: a proxy that reached nobody.
    pub(super) gateway: u64,
    /// The other 5xx.
    pub(super) errors: u64,
    /// Timeouts, and connections that broke or were refused.
    pub(super) broken: u64,
}

/// Slow measures.
#[derive(Debug, Clone, Copy)]
pub(super) struct VitalRow {
    pub(super) span: Span,
    pub(super) threads: u32,
    pub(super) open_files: Option<u32>,
    pub(super) sockets: Option<u32>,
    pub(super) cpu: Moved,
    /// Of the core on which it ran most.
    pub(super) busiest_core: Moved,
    pub(super) throttled: Moved,
    pub(super) cpu_wait: Moved,
    pub(super) memory_wait: Moved,
    pub(super) io_wait: Moved,
    pub(super) major_faults: Moved,
}

impl Merge for FlowRow {
    fn merge(&mut self, later: &Self) -> bool {
        self.span.join(later.span);
        self.due += later.due;
        self.ended += later.ended;
        self.failed += later.failed;
        self.in_flight = self.in_flight.max(later.in_flight);
        true
    }
}

impl Merge for UserRow {
    fn merge(&mut self, later: &Self) -> bool {
        (self.last, self.max) = (later.last, self.max.max(later.max));
        self.span.join(later.span);
        true
    }
}

impl Merge for MemoryRow {
    fn merge(&mut self, later: &Self) -> bool {
        self.span.join(later.span);
        self.level = self.level.max(later.level);
        self.peak = self.peak.max(later.peak);
        true
    }
}

impl Merge for TrafficRow {
    fn merge(&mut self, later: &Self) -> bool {
        self.span.join(later.span);
        self.latency.merge(&later.latency);
        self.ended += later.ended;
        self.failed += later.failed;
        self.answers.add(later.answers);
        true
    }
}

impl Merge for VitalRow {
    fn merge(&mut self, later: &Self) -> bool {
        self.span.join(later.span);
        self.threads = self.threads.max(later.threads);
        self.open_files = self.open_files.max(later.open_files);
        self.sockets = self.sockets.max(later.sockets);
        let pairs = [
            (&mut self.cpu, later.cpu),
            (&mut self.busiest_core, later.busiest_core),
            (&mut self.throttled, later.throttled),
            (&mut self.cpu_wait, later.cpu_wait),
            (&mut self.memory_wait, later.memory_wait),
            (&mut self.io_wait, later.io_wait),
            (&mut self.major_faults, later.major_faults),
        ];
        for (mine, more) in pairs {
            mine.join(more);
        }
        true
    }
}

impl AnswerCounts {
    fn of(status: &BTreeMap<u16, u64>, errors: &BTreeMap<ErrorKind, u64>) -> Self {
        let code = |code: u16| status.get(&code).copied().unwrap_or(0);
        let server: u64 = status.range(500..600).map(|row| row.1).sum();
        let kinds = [
            ErrorKind::Timeout,
            ErrorKind::Refused,
            ErrorKind::Reset,
            ErrorKind::CutShort,
            ErrorKind::Connect,
        ];
        let broken = kinds.into_iter().filter_map(|kind| errors.get(&kind)).sum();
        let (shed, gateway) = (code(503), code(502) + code(504));
        let others = server.saturating_sub(shed + gateway);
        Self { limited: code(429), shed, gateway, errors: others, broken }
    }

    pub(super) const fn add(&mut self, other: Self) {
        self.limited += other.limited;
        self.shed += other.shed;
        self.gateway += other.gateway;
        self.errors += other.errors;
        self.broken += other.broken;
    }
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            life: None,
            flow: Columns::new(MOST, WIDTH_NS),
            users: Columns::new(MOST, WIDTH_NS),
            memory: Columns::new(MOST, WIDTH_NS),
            traffic: Columns::new(MOST_LATENCY, WIDTH_NS),
            vitals: Columns::new(MOST, WIDTH_NS),
        }
    }
}

impl Rows {
    pub(super) fn memory(&mut self, at: Moment, window: &MemoryWindow) {
        self.of(window.life);
        let row = MemoryRow {
            span: Span::new(window.start, at),
            level: window.unreclaimable_low.max.as_f64(),
            peak: window.unreclaimable_high.max.as_f64(),
        };
        self.memory.add(window.start, row);
    }

    pub(super) fn flow(&mut self, at: Moment, window: &FlowWindow) {
        let in_flight = window.steps.iter().map(|row| u64::from(row.in_flight_max));
        let row = FlowRow {
            span: Span::new(window.start, at),
            due: window.counts.due,
            ended: window.counts.ended,
            failed: window.counts.failed,
            in_flight: in_flight.sum(),
        };
        self.flow.add(window.start, row);
    }

    pub(super) fn users(&mut self, at: Moment, window: &UserWindow) {
        let (last, max) = (window.last, window.max);
        self.users.add(window.start, UserRow { span: Span::new(window.start, at), last, max });
    }

    pub(super) fn traffic(&mut self, at: Moment, window: &TrafficWindow, latency: LatencyCounts) {
        let row = TrafficRow {
            span: Span::new(window.start, at),
            latency,
            ended: window.counts.ended,
            failed: window.counts.failed,
            answers: AnswerCounts::of(&window.status, &window.errors),
        };
        self.traffic.add(window.start, row);
    }

    /// Takes in a reading, and the one before it of the same life.
    pub(super) fn vitals(&mut self, before: &(Moment, Vitals), at: Moment, now: &Vitals) {
        let (start, before) = before;
        let ns = at.as_nanos().saturating_sub(start.as_nanos());
        let Some(life) = now.life.filter(|_| ns >= LEAST_NS) else { return };
        self.of(life);
        let moved = |of: fn(&Vitals) -> Option<u64>| {
            let mut moved = Moved::default();
            moved.add(of(before), of(now), ns);
            moved
        };
        let row = VitalRow {
            span: Span::new(*start, at),
            threads: now.threads,
            open_files: now.open_files,
            sockets: now.sockets.as_ref().map(open_sockets),
            cpu: moved(|row| row.cpu_ns),
            busiest_core: busiest_core(before, now, ns),
            throttled: moved(|row| row.throttled_ns),
            cpu_wait: moved(|row| row.cpu_psi_us),
            memory_wait: moved(|row| row.psi_some_us),
            io_wait: moved(|row| row.io_psi_us),
            major_faults: moved(|row| row.major_faults),
        };
        self.vitals.add(*start, row);
    }

    /// Only the last life is of interest: one that was started again is at its beginning.
    fn of(&mut self, life: LifeId) {
        if self.life.replace(life).is_some_and(|before| before != life) {
            self.memory = Columns::new(MOST, WIDTH_NS);
            self.vitals = Columns::new(MOST, WIDTH_NS);
        }
    }
}

/// Sockets but for those that only wait for their time to run out.
fn open_sockets(sockets: &Sockets) -> u32 {
    let tcp = sockets.tcp.iter().filter(|(state, _)| *state != "time_wait");
    let tcp: u32 = tcp.map(|row| row.1).sum();
    tcp + sockets.udp.unwrap_or(0) + sockets.unix.unwrap_or(0)
}

impl FlowRow {
    /// What fell due a second.
    pub(super) fn due_rate(&self) -> f64 {
        float(self.due) / self.span.seconds().max(1e-3)
    }
}

/// How far the core that moved most did.
fn busiest_core(before: &Vitals, now: &Vitals, ns: u64) -> Moved {
    let mut moved = Moved::default();
    if let (Some(before), Some(now)) = (&before.cpu_per_core_ns, &now.cpu_per_core_ns) {
        let each = before.iter().zip(now).map(|(before, now)| now.saturating_sub(*before));
        moved.add(Some(0), each.max(), ns);
    }
    moved
}
