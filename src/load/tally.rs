//! What one worker counts. Only its own thread touches a tally; finished windows leave as whole
//! values, so that nothing is shared while requests run.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::clock::Moment;
use crate::event::{Counts, ErrorKind, Histogram, MetricSums, Request, Status, StepFlow};
use crate::load::iterations::{Iterations, Present, Users};
use crate::load::kept::{Keeper, Kept};
use crate::load::reply::Checked;
use crate::load::socket::Wire;
use crate::load::statuses::Statuses;

/// The sums of one step in one phase. Memory is kept from window to window.
#[derive(Debug, Default)]
pub(super) struct StepTally {
    pub(super) counts: Counts,
    pub(super) status: BTreeMap<u16, u64>,
    pub(super) errors: BTreeMap<ErrorKind, u64>,
    pub(super) statuses: Statuses,
    pub(super) lateness_us: Histogram,
    pub(super) request_bytes: Histogram,
    pub(super) response_bytes: Histogram,
    /// What its answers gave to metrics of the scenario's own.
    pub(super) metrics: BTreeMap<u16, MetricSums>,
    /// Runs of the scenario whose first step it is.
    pub(super) iterations: Iterations,
}

impl StepTally {
    /// Takes in another's sums.
    pub(super) fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        for (status, count) in &other.status {
            *self.status.entry(*status).or_default() += count;
        }
        for (kind, count) in &other.errors {
            *self.errors.entry(*kind).or_default() += count;
        }
        self.statuses.add(&other.statuses);
        for (mine, theirs) in [
            (&mut self.lateness_us, &other.lateness_us),
            (&mut self.request_bytes, &other.request_bytes),
            (&mut self.response_bytes, &other.response_bytes),
        ] {
            if !theirs.is_empty() {
                mine.add(theirs);
            }
        }
        for (metric, sums) in &other.metrics {
            self.metrics.entry(*metric).or_default().add(*sums);
        }
        self.iterations.add(&other.iterations);
    }

    /// Forgets everything and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.counts = Counts::default();
        self.status.clear();
        self.errors.clear();
        self.statuses.clear();
        self.lateness_us.clear();
        self.request_bytes.clear();
        self.response_bytes.clear();
        self.metrics.clear();
        self.iterations.clear();
    }
}

/// Which phase and step a sum belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) phase: u16,
    pub(super) step: u16,
}

/// Traffic of a window, by the time at which things happened.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) counts: Counts,
    pub(super) steps: BTreeMap<u16, StepFlow>,
    pub(super) users: Users,
}

impl Flow {
    /// Takes in the window after this one.
    pub(super) fn follow(&mut self, later: &Self) {
        self.counts.add(&later.counts);
        self.users.follow(&later.users);
        for (step, later) in &later.steps {
            let mine = self.entry(*step);
            mine.sent += later.sent;
            mine.ended += later.ended;
            mine.in_flight_max = mine.in_flight_max.max(later.in_flight_max);
            mine.in_flight_end = later.in_flight_end;
            add_flow(mine, later);
        }
    }

    /// Takes in another worker's window of the same time.
    pub(super) fn beside(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        self.users.beside(&other.users);
        for (step, other) in &other.steps {
            let mine = self.entry(*step);
            mine.sent += other.sent;
            mine.ended += other.ended;
            mine.in_flight_max += other.in_flight_max;
            mine.in_flight_end += other.in_flight_end;
            add_flow(mine, other);
        }
    }

    fn entry(&mut self, step: u16) -> &mut StepFlow {
        self.steps.entry(step).or_insert(no_flow(step))
    }
}

const fn no_flow(step: u16) -> StepFlow {
    StepFlow {
        step,
        sent: 0,
        ended: 0,
        in_flight_max: 0,
        in_flight_end: 0,
        in_flight_us: None,
        body_bytes_sent: 0,
        bytes_received: 0,
    }
}

/// What sums up alike over time and over workers.
fn add_flow(mine: &mut StepFlow, other: &StepFlow) {
    let sum = [mine.in_flight_us, other.in_flight_us];
    mine.in_flight_us = sum.iter().any(Option::is_some).then(|| sum.iter().flatten().sum());
    mine.body_bytes_sent += other.body_bytes_sent;
    mine.bytes_received += other.bytes_received;
}

/// One step in the open window, of one worker.
#[derive(Debug)]
struct Live {
    flow: StepFlow,
    /// The sum of the times at which requests ended, less that of the times at which they were
    /// sent, in nanoseconds since the window began. Together with how many are in flight in the
    /// end it gives their time in the window, in whatever order the times are told.
    turned_ns: i64,
}

/// The tallies of a step in a phase, on their way to or from the collector.
pub(super) type Tallies = Vec<(Key, StepTally)>;

/// How a request ended.
#[derive(Debug)]
pub(super) struct End {
    /// When it was due; none where users wait for answers, so that due and sent are the same.
    pub(super) due: Option<Moment>,
    pub(super) sent: Option<Moment>,
    pub(super) first_byte: Option<Moment>,
    pub(super) ended: Moment,
    pub(super) status: Option<u16>,
    pub(super) error: Option<ErrorKind>,
    pub(super) checked: Checked,
    pub(super) written: u64,
    pub(super) read: u64,
    /// The size of the request's body.
    pub(super) request_bytes: u64,
    /// The size of the answer's body, where it came whole.
    pub(super) response_bytes: u64,
}

impl End {
    /// The request as it is kept.
    fn request(&self, key: Key) -> Request {
        Request {
            phase: key.phase,
            step: key.step,
            due: self.due,
            sent: self.sent,
            first_byte: self.first_byte,
            ended: self.ended,
            status: self.status,
            error: self.error,
            sent_bytes: self.written,
            received_bytes: self.read,
        }
    }

    /// Sorts the request by its answer.
    fn record(&self, statuses: &mut Statuses) {
        let status = self.status.map_or(Status::None, Status::Code);
        let expected = self.status.is_some() && self.error != Some(ErrorKind::Status);
        let row = statuses.of(status, expected);
        row.count += 1;
        row.failed += u64::from(self.error.is_some());
        let cut = matches!(self.error, Some(ErrorKind::Timeout | ErrorKind::Unfinished));
        if self.status.is_none() && !cut {
            return;
        }
        if let Some(from) = self.due.or(self.sent) {
            row.latency_us.record(micros(from, self.ended));
        }
        if let Some(sent) = self.sent {
            row.duration_us.record(micros(sent, self.ended));
            // Who was cut off before the first byte has waited until then.
            row.waiting_us.record(micros(sent, self.first_byte.unwrap_or(self.ended)));
        }
        if let Some(first) = self.first_byte {
            row.receiving_us.record(micros(first, self.ended));
        }
    }
}

/// One worker's counts.
#[derive(Debug)]
pub(super) struct Tally {
    steps: usize,
    /// By phase and step.
    table: Vec<Option<StepTally>>,
    spare: Vec<StepTally>,
    counts: Counts,
    live: Vec<Live>,
    /// When the open window of the timeline began.
    flow_since: Moment,
    /// By phase.
    users: Vec<Present>,
    wire: Rc<Wire>,
    written: u64,
    read: u64,
    keeper: Keeper,
}

impl Tally {
    pub(super) fn new(phases: usize, steps: usize, wire: Rc<Wire>, keeper: Keeper) -> Self {
        let live = (0..steps).map(|step| {
            let step = u16::try_from(step).expect("steps are counted by u16");
            Live { flow: no_flow(step), turned_ns: 0 }
        });
        Self {
            steps,
            table: (0..phases * steps).map(|_| None).collect(),
            spare: Vec::new(),
            counts: Counts::default(),
            live: live.collect(),
            flow_since: Moment::START,
            users: vec![Present::default(); phases],
            wire,
            written: 0,
            read: 0,
            keeper,
        }
    }

    fn of(&mut self, key: Key) -> &mut StepTally {
        let index = usize::from(key.phase) * self.steps + usize::from(key.step);
        let spare = &mut self.spare;
        self.table[index].get_or_insert_with(|| spare.pop().unwrap_or_default())
    }

    /// A request fell due.
    pub(super) fn due(&mut self, key: Key) {
        self.of(key).counts.due += 1;
        self.counts.due += 1;
    }

    /// A request that fell due will never be sent.
    pub(super) fn unsent(&mut self, key: Key) {
        self.of(key).counts.unsent += 1;
        self.counts.unsent += 1;
    }

    /// A run of the scenario with this first step begins.
    pub(super) fn run_began(&mut self, first: Key) {
        self.of(first).iterations.begun += 1;
    }

    /// A run ended that began then.
    pub(super) fn run_ended(&mut self, first: Key, began: Moment, ended: Moment) {
        let runs = &mut self.of(first).iterations;
        runs.ended += 1;
        runs.duration_us.record(micros(began, ended));
    }

    /// An arrival could not begin its run.
    pub(super) fn run_dropped(&mut self, first: Key) {
        self.of(first).iterations.dropped += 1;
    }

    /// A user came for a phase.
    pub(super) fn user_came(&mut self, phase: u16) {
        let users = &mut self.users[usize::from(phase)];
        users.last += 1;
        users.most = users.most.max(users.last);
    }

    /// A user who had come for a phase left.
    pub(super) fn user_left(&mut self, phase: u16) {
        self.users[usize::from(phase)].last -= 1;
    }

    /// What the first failures counted so far were, in words.
    pub(super) fn last_failure(&self) -> String {
        let all = self.table.iter().flatten();
        let mut said: Vec<String> = all
            .clone()
            .flat_map(|step| step.errors.keys())
            .filter(|kind| **kind != ErrorKind::Status)
            .map(|kind| kind.words().to_owned())
            .collect();
        let bad = all.flat_map(|step| &step.status).filter(|(status, _)| **status >= 400);
        said.extend(bad.map(|(status, _)| format!("it answered {status}")));
        if said.is_empty() { "its answer was not as expected".to_owned() } else { said.join(", ") }
    }

    /// A request's first byte was written; its body is so large.
    pub(super) fn sent(&mut self, key: Key, at: Moment, body_bytes: u64) {
        self.of(key).counts.sent += 1;
        self.counts.sent += 1;
        let live = &mut self.live[usize::from(key.step)];
        live.turned_ns -= nanos_between(self.flow_since, at);
        let flow = &mut live.flow;
        flow.sent += 1;
        flow.body_bytes_sent += body_bytes;
        flow.in_flight_end += 1;
        flow.in_flight_max = flow.in_flight_max.max(flow.in_flight_end);
    }

    /// A request ended, well or badly. What was sent or not must have been told before.
    ///
    /// Latency and duration count complete answers whatever their status, and requests cut short
    /// by a timeout or by the end with the time they had waited by then: leaving those out would
    /// make a target that never answers look fast. Refused and broken ones have no time.
    pub(super) fn ended(&mut self, key: Key, end: &End) {
        let step = self.of(key);
        step.counts.ended += 1;
        step.counts.failed += u64::from(end.error.is_some());
        step.counts.bytes_sent += end.written;
        step.counts.bytes_received += end.read;
        step.counts.checks_passed += u64::from(end.checked.passed);
        step.counts.checks_failed += u64::from(end.checked.failed);
        if let Some(status) = end.status {
            *step.status.entry(status).or_default() += 1;
        }
        if let Some(kind) = end.error {
            *step.errors.entry(kind).or_default() += 1;
        }
        for (metric, sums) in &end.checked.metrics {
            step.metrics.entry(*metric).or_default().add(*sums);
        }
        end.record(&mut step.statuses);
        if end.request_bytes > 0 && end.sent.is_some() {
            step.request_bytes.record(end.request_bytes);
        }
        if end.response_bytes > 0 {
            step.response_bytes.record(end.response_bytes);
        }
        if let (Some(due), Some(sent)) = (end.due, end.sent) {
            step.lateness_us.record(micros(due, sent));
        }
        self.keeper.take(end.request(key));
        self.counts.ended += 1;
        self.counts.failed += u64::from(end.error.is_some());
        self.counts.checks_passed += u64::from(end.checked.passed);
        self.counts.checks_failed += u64::from(end.checked.failed);
        if end.sent.is_some() {
            let live = &mut self.live[usize::from(key.step)];
            live.turned_ns += nanos_between(self.flow_since, end.ended);
            live.flow.ended += 1;
            live.flow.bytes_received += end.read;
            live.flow.in_flight_end -= 1;
        }
    }

    /// Ends the window of the timeline.
    pub(super) fn cut_flow(&mut self, now: Moment) -> Flow {
        let mut counts = std::mem::take(&mut self.counts);
        let (written, read) = (self.wire.written.get(), self.wire.read.get());
        counts.bytes_sent = written - self.written;
        counts.bytes_received = read - self.read;
        (self.written, self.read) = (written, read);
        let mut steps = BTreeMap::new();
        let length = nanos_between(self.flow_since, now);
        self.flow_since = now;
        for live in &mut self.live {
            let flow = live.flow;
            if flow.sent > 0 || flow.ended > 0 || flow.in_flight_max > 0 {
                let ns = i64::from(flow.in_flight_end) * length + live.turned_ns;
                let in_flight_us = u64::try_from(ns / 1000).unwrap_or(0);
                steps.insert(flow.step, StepFlow { in_flight_us: Some(in_flight_us), ..flow });
            }
            let left = flow.in_flight_end;
            live.flow = StepFlow { in_flight_end: left, in_flight_max: left, ..no_flow(flow.step) };
            live.turned_ns = 0;
        }
        Flow { counts, steps, users: Users::cut(&mut self.users) }
    }

    /// Ends the window of the tallies.
    pub(super) fn cut_tallies(&mut self) -> Tallies {
        let steps = self.steps;
        let taken = self.table.iter_mut().enumerate().filter_map(|(index, cell)| {
            let part = |number: usize| u16::try_from(number).expect("counted by u16");
            let (phase, step) = (part(index / steps), part(index % steps));
            Some((Key { phase, step }, cell.take()?))
        });
        taken.collect()
    }

    /// The requests that were kept since the last time.
    pub(super) fn cut_kept(&mut self) -> Kept {
        self.keeper.cut()
    }

    /// Takes emptied tallies back for later.
    pub(super) fn reuse(&mut self, tallies: Tallies) {
        self.spare.extend(tallies.into_iter().map(|(_, tally)| tally));
    }
}

/// From one moment to another, which may lie before it.
fn nanos_between(from: Moment, to: Moment) -> i64 {
    to.as_nanos().cast_signed().wrapping_sub(from.as_nanos().cast_signed())
}

fn micros(from: Moment, to: Moment) -> u64 {
    to.since(from).as_nanos().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { phase: 1, step: 2 };

    fn tally() -> Tally {
        let keeper = Keeper::new(crate::plan::Samples::None, 1, 0, 1);
        Tally::new(2, 3, Rc::new(Wire::of(1)), keeper)
    }

    fn end(error: Option<ErrorKind>) -> End {
        let at = Moment::from_millis;
        End {
            due: Some(at(10)),
            sent: Some(at(11)),
            first_byte: error.is_none().then(|| at(12)),
            ended: at(15),
            status: error.is_none().then_some(200),
            error,
            checked: Checked { passed: 2, failed: 1, ..Checked::default() },
            written: 10,
            read: 20,
            request_bytes: 0,
            response_bytes: 0,
        }
    }

    #[test]
    fn latency_runs_from_due_and_duration_from_sent() {
        let mut tally = tally();
        tally.due(KEY);
        tally.sent(KEY, Moment::from_millis(11), 100);
        tally.ended(KEY, &end(None));
        let (key, step) = tally.cut_tallies().remove(0);
        assert_eq!(key, KEY);
        assert_eq!((step.counts.checks_passed, step.counts.checks_failed), (2, 1));
        let (times, rows) = step.statuses.finish();
        assert!(rows.is_empty());
        assert_eq!(times.latency_us.max().map(|us| us / 100), Some(50));
        assert_eq!(times.duration_us.max().map(|us| us / 100), Some(40));
        assert_eq!(times.waiting_us.max().map(|us| us / 100), Some(10));
        assert_eq!(times.receiving_us.max().map(|us| us / 100), Some(30));
        assert_eq!(step.lateness_us.max().map(|us| us / 100), Some(10));
        assert!(tally.cut_tallies().is_empty());
    }

    #[test]
    fn timeouts_have_a_latency_and_resets_have_none() {
        let mut tally = tally();
        for kind in [ErrorKind::Timeout, ErrorKind::Reset] {
            tally.due(KEY);
            tally.sent(KEY, Moment::from_millis(11), 100);
            tally.ended(KEY, &end(Some(kind)));
        }
        let step = tally.cut_tallies().remove(0).1;
        assert_eq!((step.counts.failed, step.lateness_us.count()), (2, 2));
        let (times, _) = step.statuses.finish();
        assert_eq!((times.latency_us.count(), times.waiting_us.count()), (1, 1));
    }

    #[test]
    fn times_in_flight_add_up_in_whatever_order_they_are_told() {
        let mut tally = tally();
        let at = Moment::from_millis;
        tally.cut_flow(at(100));
        // Sent before the window was cut, told after it.
        tally.sent(KEY, at(99), 0);
        tally.sent(KEY, at(150), 0);
        for ended in [180, 160] {
            tally.ended(KEY, &End { ended: at(ended), ..end(None) });
        }
        assert_eq!(tally.cut_flow(at(200)).steps[&2].in_flight_us, Some(91_000));
    }

    #[test]
    fn what_is_in_flight_goes_on_into_the_next_window() {
        let mut tally = tally();
        tally.sent(KEY, Moment::from_millis(11), 100);
        tally.sent(KEY, Moment::from_millis(11), 100);
        tally.ended(KEY, &end(None));
        let mut first = tally.cut_flow(Moment::from_millis(31));
        let second = tally.cut_flow(Moment::from_millis(41));
        let of = |flow: &Flow| (flow.steps[&2].in_flight_max, flow.steps[&2].in_flight_end);
        assert_eq!(of(&first), (2, 1));
        assert_eq!(of(&second), (1, 1));
        // One from 11 to 31 ms, one from 11 to 15 ms; then one all the time.
        let row = first.steps[&2];
        assert_eq!((row.in_flight_us, row.body_bytes_sent), (Some(24_000), 200));
        assert_eq!((row.bytes_received, second.steps[&2].in_flight_us), (20, Some(10_000)));
        first.beside(&second);
        assert_eq!(of(&first), (3, 2));
        assert_eq!(first.steps[&2].in_flight_us, Some(34_000));
        first.follow(&second);
        assert_eq!(of(&first), (3, 1));
    }
}
