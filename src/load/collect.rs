//! Merges the workers' windows and sends them on: the one thread that may wait for the session.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use crate::clock::{Clock, Moment, nanos};
use crate::event::{
    Counts, Event, FlowWindow, GeneratorPath, GeneratorReport, IterationWindow, RequestBlock,
    TrafficWindow, UserWindow, What,
};
use crate::load::iterations::Users;
use crate::load::kept::Kept;
use crate::load::tally::{Flow, Key, StepTally, Tallies};
use crate::plan::Budget;

/// Windows that may wait for a worker that is behind. Its counts then go into a later one.
const BEHIND_MAX: usize = Budget::WINDOWS_BEHIND;
/// How often users are told.
const USERS_EVERY: Duration = Duration::from_secs(1);

/// What one worker hands over at the end of a window.
#[derive(Debug)]
pub(super) struct Handover {
    pub(super) worker: usize,
    /// The window's number since the engine started.
    pub(super) window: u64,
    pub(super) flow: Flow,
    pub(super) tallies: Tallies,
    /// Requests that were kept one by one.
    pub(super) kept: Kept,
    /// Set in a worker's last one.
    pub(super) account: Option<Account>,
}

impl Handover {
    /// Takes in this worker's next one, because this one didn't leave in time.
    pub(super) fn follow(&mut self, later: Self) -> Tallies {
        self.window = later.window;
        self.flow.follow(&later.flow);
        self.account = later.account;
        self.kept.add(later.kept);
        let mut emptied = Vec::new();
        for (key, mut tally) in later.tallies {
            match self.tallies.iter_mut().find(|(mine, _)| *mine == key) {
                Some((_, mine)) => {
                    mine.add(&tally);
                    tally.clear();
                    emptied.push((key, tally));
                }
                None => self.tallies.push((key, tally)),
            }
        }
        emptied
    }
}

/// A worker's account of itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Account {
    pub(super) cpu_ns: u64,
    /// Seconds in which arrivals fell due, and those of them in which the worker was too slow.
    pub(super) busy_seconds: u64,
    pub(super) late_seconds: u64,
}

/// What the collector is made of.
pub(super) struct Collector {
    pub(super) clock: Clock,
    pub(super) origin: Moment,
    pub(super) window: Duration,
    pub(super) path: GeneratorPath,
    /// The way back for emptied tallies, by worker.
    pub(super) emptied: Vec<SyncSender<Tallies>>,
    /// Takes the events; may wait for room.
    pub(super) tell: Tell,
}

/// Takes events.
pub(super) type Tell = Box<dyn Fn(Event) + Send>;

#[derive(Debug, Default)]
struct Merged {
    flow: Flow,
    tallies: BTreeMap<Key, StepTally>,
    kept: Kept,
}

/// The windows not yet sent, from the number `first` on.
#[derive(Debug)]
struct Pending {
    first: u64,
    windows: VecDeque<Merged>,
    /// The number after the last window that each worker has handed over.
    handed: Vec<Option<u64>>,
    traffic_since: u64,
    /// Users, by phase, since the window of this number.
    users: BTreeMap<u16, UserWindow>,
    users_since: u64,
}

impl Collector {
    /// Works until every worker has given its account. Gives the engine's.
    pub(super) fn run(self, handovers: &Receiver<Handover>) -> GeneratorReport {
        let mut collecting = Collecting::new(self);
        while let Ok(handover) = handovers.recv() {
            crate::tripwire::pass("load-collect");
            collecting.take(handover);
        }
        collecting.finish()
    }

    fn moment(&self, window: u64) -> Moment {
        let offset = nanos(self.window).saturating_mul(window);
        self.origin + Duration::from_nanos(offset)
    }

    /// Sends the window before `pending.first`. Where nobody listens any more, it is lost.
    fn send(&self, pending: &mut Pending, merged: Merged) {
        let at = self.moment(pending.first).min(self.clock.now());
        let flow = What::Flow(FlowWindow {
            start: self.moment(pending.first - 1),
            counts: merged.flow.counts,
            steps: merged.flow.steps.into_values().collect(),
        });
        (self.tell)(Event { at, what: flow });
        pending.count_users(&merged.flow.users, self.moment(pending.users_since));
        let last = self.moment(pending.first).since(self.moment(pending.users_since));
        if last >= USERS_EVERY {
            self.send_users(pending);
        }
        self.send_kept(at, merged.kept);
        if merged.tallies.is_empty() {
            return;
        }
        let start = self.moment(pending.traffic_since);
        pending.traffic_since = pending.first;
        for (key, tally) in merged.tallies {
            for what in told(start, key, tally).into_iter().flatten() {
                (self.tell)(Event { at, what });
            }
        }
    }

    /// Sends requests that were kept, in the order in which they ended.
    fn send_kept(&self, at: Moment, mut kept: Kept) {
        if !kept.requests.is_empty() {
            kept.requests.sort_unstable_by_key(|request| request.ended);
            let what = What::Requests(RequestBlock::pack(&kept.requests, kept.of));
            (self.tell)(Event { at, what });
        }
    }

    /// Sends who was there since the last time.
    fn send_users(&self, pending: &mut Pending) {
        let at = self.moment(pending.first).min(self.clock.now());
        pending.users_since = pending.first;
        for window in std::mem::take(&mut pending.users).into_values() {
            (self.tell)(Event { at, what: What::Users(window) });
        }
    }

    fn report(&self, accounts: &[Account]) -> GeneratorReport {
        let sum = |of: fn(&Account) -> u64| accounts.iter().map(of).sum::<u64>();
        let (busy, late) = (sum(|each| each.busy_seconds), sum(|each| each.late_seconds));
        GeneratorReport {
            cpu_ns: sum(|each| each.cpu_ns),
            wall_ns: nanos(self.clock.now().since(self.origin)),
            workers: u32::try_from(self.emptied.len()).unwrap_or(u32::MAX),
            rss_peak: rss_peak(),
            saturated: late * 20 > busy,
            path: self.path,
        }
    }
}

/// The events of a step's sums: requests, and runs of the scenario that begins with it.
fn told(start: Moment, key: Key, tally: StepTally) -> [Option<What>; 2] {
    let Key { phase, step } = key;
    let runs = tally.iterations;
    let iterations = (!runs.is_empty()).then_some(What::Iterations(IterationWindow {
        start,
        phase,
        step,
        begun: runs.begun,
        ended: runs.ended,
        dropped: runs.dropped,
        duration_us: runs.duration_us,
    }));
    let traffic = (tally.counts != Counts::default()).then(|| {
        let (times, by_status) = tally.statuses.finish();
        What::Traffic(Box::new(TrafficWindow {
            start,
            phase,
            step,
            counts: tally.counts,
            status: tally.status,
            errors: tally.errors,
            latency_us: times.latency_us,
            duration_us: times.duration_us,
            lateness_us: tally.lateness_us,
            request_bytes: tally.request_bytes,
            response_bytes: tally.response_bytes,
            waiting_us: times.waiting_us,
            receiving_us: times.receiving_us,
            by_status,
            metrics: tally.metrics,
        }))
    });
    [traffic, iterations]
}

/// A collector at work.
pub(super) struct Collecting {
    collector: Collector,
    pending: Pending,
    accounts: Vec<Account>,
}

impl Collecting {
    pub(super) fn new(collector: Collector) -> Self {
        let workers = collector.emptied.len();
        let pending = Pending {
            first: 0,
            windows: VecDeque::new(),
            handed: vec![Some(0); workers],
            traffic_since: 0,
            users: BTreeMap::new(),
            users_since: 0,
        };
        Self { collector, pending, accounts: Vec::with_capacity(workers) }
    }

    /// Takes what a worker hands over, and sends the windows that are complete.
    pub(super) fn take(&mut self, mut handover: Handover) {
        let (worker, tallies) = (handover.worker, self.pending.take(&mut handover));
        self.accounts.extend(handover.account);
        // A worker that can't take them back just now makes new ones.
        let _ = self.collector.emptied[worker].try_send(tallies);
        while let Some(merged) = self.pending.next_complete() {
            self.collector.send(&mut self.pending, merged);
        }
    }

    /// Sends what is left and the engine's account, which it also gives.
    pub(super) fn finish(self) -> GeneratorReport {
        let Self { collector, mut pending, accounts } = self;
        while let Some(merged) = pending.windows.pop_front() {
            pending.first += 1;
            collector.send(&mut pending, merged);
        }
        collector.send_users(&mut pending);
        let report = collector.report(&accounts);
        (collector.tell)(Event { at: collector.clock.now(), what: What::GeneratorDone(report) });
        report
    }
}

impl Pending {
    /// Takes in who was there in a window.
    fn count_users(&mut self, users: &Users, start: Moment) {
        for (phase, present) in users.iter() {
            let window = self.users.entry(phase).or_insert(UserWindow {
                start,
                phase,
                min: 0,
                max: 0,
                last: 0,
            });
            window.max = window.max.max(present.most);
            if present.last > 0 {
                let least = if window.min == 0 { present.last } else { window.min };
                window.min = least.min(present.last);
                window.last = present.last;
            }
        }
    }

    /// Merges a handover into its window; gives its tallies back emptied.
    fn take(&mut self, handover: &mut Handover) -> Tallies {
        let handed = &mut self.handed[handover.worker];
        *handed = handover.account.is_none().then_some(handover.window + 1);
        let index = handover.window.saturating_sub(self.first);
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        while self.windows.len() <= index {
            self.windows.push_back(Merged::default());
        }
        let merged = &mut self.windows[index];
        merged.flow.beside(&handover.flow);
        merged.kept.add(std::mem::take(&mut handover.kept));
        let mut tallies = std::mem::take(&mut handover.tallies);
        for (key, tally) in &mut tallies {
            merged.tallies.entry(*key).or_default().add(tally);
            tally.clear();
        }
        tallies
    }

    /// Takes out the first window, if every worker has handed it over or there is no more waiting.
    fn next_complete(&mut self) -> Option<Merged> {
        let slowest = self.handed.iter().flatten().min();
        let complete = slowest.is_none_or(|slowest| *slowest > self.first);
        if !complete && self.windows.len() <= BEHIND_MAX {
            return None;
        }
        let merged = self.windows.pop_front()?;
        self.first += 1;
        Some(merged)
    }
}

/// The process's greatest resident set; 0 where the kernel doesn't say.
fn rss_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map_or(0, |kib| kib << 10)
}
