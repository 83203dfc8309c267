//! A worker: one thread with its own event loop, connections and counts.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use crate::clock::{Clock, Moment, nanos};
use crate::event::Histogram;
use crate::load::collect::{Account, Handover};
use crate::load::deadline::Deadlines;
use crate::load::drive::{Gate, Load, drive_open, drive_replay, drive_timed, set_up};
use crate::load::exchange::Shop;
use crate::load::handing::Handing;
use crate::load::kept::Keeper;
use crate::load::line::Line;
use crate::load::pace::Pacer;
use crate::load::socket::Wire;
use crate::load::step::{Common, Scenarios};
use crate::load::tally::{Tallies, Tally};
use crate::load::template::Shared;
use crate::load::users::{Quota, drive_closed, let_go};
use crate::load::{Endpoint, Error};
use crate::plan::{LoadModel, PhasePlan, ScenarioPlan, TrafficPlan, UserCurve};

/// How often deadlines are looked at, at the most and at the least often.
const SWEEP: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];
/// How long requests that were given up may take to end.
const ABANDONED_WITHIN: Duration = Duration::from_secs(10);
/// How often idle connections are looked at.
const PRUNE: Duration = Duration::from_secs(1);
/// A worker was too slow in a second where arrivals were later than this at the 99th percentile …
const LATE_US: u64 = 10_000;
/// … while its thread used more of the time than this.
const BUSY_PERCENT: u64 = 90;

/// What the engine asks of a worker. At most a few for each phase, so their queue needs no bound.
pub(super) enum Command {
    Begin { phase: u16, at: Moment },
    End { phase: u16, at: Moment },
    Endpoint(Arc<Endpoint>, SyncSender<Result<(), Error>>),
    Finish { drain: Duration },
}

/// What a worker is made of.
pub(super) struct Setup {
    pub(super) clock: Clock,
    pub(super) origin: Moment,
    pub(super) window: Duration,
    pub(super) worker: u32,
    pub(super) workers: u32,
    pub(super) traffic: Arc<TrafficPlan>,
    pub(super) phases: Arc<[PhasePlan]>,
    pub(super) common: Common,
    pub(super) endpoint: Arc<Endpoint>,
    /// By phase and load.
    pub(super) quotas: Vec<Vec<Option<Quota>>>,
    pub(super) commands: UnboundedReceiver<Command>,
    pub(super) handovers: SyncSender<Handover>,
    pub(super) emptied: Receiver<Tallies>,
    /// By phase, the workers whose loads have nothing more to start.
    pub(super) spent: Arc<watch::Sender<Vec<usize>>>,
    /// What the setups have captured, by scenario: the first worker's to find out, before any
    /// phase begins.
    pub(super) shared: Arc<OnceLock<Vec<Shared>>>,
}

impl Setup {
    /// Keeps what this worker is to keep of its requests.
    fn keeper(&self) -> Keeper {
        let traffic = &self.traffic;
        Keeper::new(traffic.samples, traffic.seed, self.worker, self.workers)
    }
}

struct Worker {
    setup: Setup,
    shop: Rc<Shop>,
    gates: Vec<Option<Rc<Gate>>>,
    /// How late arrivals were noticed in the present second.
    lateness_us: Rc<RefCell<Histogram>>,
    handing: Handing,
    account: Account,
    /// The CPU time by when tallies were last handed over.
    tallies_cpu_ns: u64,
}

/// A worker's whole life. `ready` hears whether it could begin.
pub(super) fn run(setup: Setup, ready: &SyncSender<Result<(), Error>>) {
    let begun = enter(&setup.endpoint).and_then(|()| {
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let runtime = runtime.map_err(Error::Runtime)?;
        let host = &setup.endpoint.host;
        let scenarios = Scenarios::new(&setup.traffic, host, &setup.common)?;
        let worker = Worker::new(setup, scenarios);
        runtime.block_on(worker.set_up())?;
        Ok((runtime, worker))
    });
    match begun {
        Ok((runtime, worker)) => {
            // The engine waits for this, and takes a worker that is gone for a failed one.
            let _ = ready.send(Ok(()));
            let (handovers, last) = runtime.block_on(worker.work());
            // Nothing runs any more that waiting for room could delay.
            let _ = handovers.send(last);
        }
        Err(error) => {
            let _ = ready.send(Err(error));
        }
    }
}

/// Moves this thread, and so all connections that it opens, into the endpoint's network.
fn enter(endpoint: &Endpoint) -> Result<(), Error> {
    match &endpoint.netns {
        Some(namespace) => setns(namespace, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| Error::Namespace(errno.into())),
        None => Ok(()),
    }
}

/// How often deadlines are looked at: a timeout comes a fiftieth of the shortest one late.
fn sweep_pace(traffic: &TrafficPlan) -> Duration {
    let steps = traffic.scenarios.iter().flat_map(ScenarioPlan::all_steps);
    let timeouts = steps.filter_map(|step| step.transfer.timeout);
    let [least, most] = SWEEP;
    (timeouts.fold(traffic.timeout, Duration::min) / 50).clamp(least, most)
}

impl Worker {
    fn new(setup: Setup, scenarios: Scenarios) -> Self {
        let (max, workers) = (setup.traffic.max_in_flight, setup.workers as usize);
        let wire = Rc::new(Wire::of(workers));
        let shop = Shop {
            clock: setup.clock.clone(),
            seed: setup.traffic.seed,
            worker: setup.worker,
            workers: setup.workers,
            timeout: setup.traffic.timeout,
            max_in_flight: (max + workers - 1 - setup.worker as usize) / workers,
            in_flight: Cell::new(0),
            address: Cell::new(setup.endpoint.address),
            line: Line::default(),
            idle: RefCell::new(Vec::new()),
            deadlines: Deadlines::default(),
            tally: RefCell::new(Tally::new(
                setup.phases.len(),
                scenarios.steps(),
                Rc::clone(&wire),
                setup.keeper(),
            )),
            scenarios,
            wire,
            shared: RefCell::default(),
            at_work: RefCell::default(),
            parked: RefCell::default(),
            closing: Cell::new(false),
            present: Cell::new(0),
        };
        Self {
            shop: Rc::new(shop),
            gates: setup.phases.iter().map(|_| None).collect(),
            lateness_us: Rc::default(),
            handing: Handing::new(setup.worker as usize, setup.origin, setup.window),
            account: Account::default(),
            tallies_cpu_ns: 0,
            setup,
        }
    }

    /// Does the scenarios' setups, if this is the first worker and there are any. What is done
    /// there belongs to no phase and is not counted.
    async fn set_up(&self) -> Result<(), Error> {
        let any = self.setup.traffic.scenarios.iter().any(|scenario| !scenario.setup.is_empty());
        if self.setup.worker > 0 || !any {
            return Ok(());
        }
        let mut sweeps = interval(sweep_pace(&self.setup.traffic));
        let mut work = std::pin::pin!(set_up(Rc::clone(&self.shop)));
        let captured = loop {
            tokio::select! {
                captured = &mut work => break captured?,
                _ = sweeps.tick() => self.shop.deadlines.sweep(self.shop.clock.now()),
            }
        };
        let (wire, steps) = (Rc::clone(&self.shop.wire), self.shop.scenarios.steps());
        wire.forget();
        let keeper = self.setup.keeper();
        self.shop.tally.replace(Tally::new(self.setup.phases.len(), steps, wire, keeper));
        // Nobody else sets it.
        let _ = self.setup.shared.set(captured);
        Ok(())
    }

    /// Works until told to finish; gives what is still to be handed over.
    async fn work(mut self) -> (SyncSender<Handover>, Handover) {
        let window = self.setup.window;
        let past = nanos(self.shop.clock.now().since(self.setup.origin)) % nanos(window).max(1);
        let first = Instant::now() + window - Duration::from_nanos(past);
        let mut windows = interval_at(first, window);
        windows.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut sweeps = interval(sweep_pace(&self.setup.traffic));
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut prunes = interval(PRUNE);
        prunes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut finish_by = None;
        loop {
            if finish_by.is_some_and(|by| self.shop.is_idle() || self.shop.clock.now() >= by) {
                break;
            }
            tokio::select! {
                command = self.setup.commands.recv() => match command {
                    // Told again, it may only be sooner.
                    Some(Command::Finish { drain }) => {
                        let by = self.close_all() + drain;
                        finish_by = Some(finish_by.map_or(by, |earlier: Moment| earlier.min(by)));
                    }
                    // The engine was dropped: nobody wants to know more.
                    None => finish_by = Some(self.close_all()),
                    Some(command) => self.obey(command),
                },
                _ = windows.tick() => self.hand_over(),
                _ = sweeps.tick() => self.shop.deadlines.sweep(self.shop.clock.now()),
                _ = prunes.tick() => self.shop.prune(),
                () = tokio::time::sleep(Duration::from_millis(2)), if finish_by.is_some() => {}
            }
        }
        self.shop.deadlines.abandon();
        let patience = Instant::now() + ABANDONED_WITHIN;
        while self.shop.in_flight.get() > 0 {
            // Only a task that is gone without a word keeps its request in flight.
            assert!(Instant::now() < patience, "a task of the load engine stopped working");
            tokio::task::yield_now().await;
        }
        self.last_handover()
    }

    fn close_all(&self) -> Moment {
        let now = self.shop.clock.now();
        for gate in self.gates.iter().flatten() {
            gate.close(now);
        }
        let last = self.gates.iter().rposition(Option::is_some);
        if let Some(last) = last.and_then(|last| u16::try_from(last).ok()) {
            let_go(&self.shop, last);
        }
        now
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Begin { phase, at } => self.begin(phase, at),
            Command::End { phase, at } => {
                if let Some(gate) = self.gates.get(usize::from(phase)).and_then(Option::as_ref) {
                    gate.close(at);
                }
            }
            Command::Endpoint(endpoint, reply) => {
                let entered = enter(&endpoint);
                if entered.is_ok() {
                    self.shop.idle.borrow_mut().clear();
                    self.shop.address.set(endpoint.address);
                }
                let _ = reply.send(entered);
            }
            Command::Finish { .. } => {}
        }
    }

    fn begin(&mut self, phase: u16, at: Moment) {
        let number = usize::from(phase);
        let Some(plan) = self.setup.phases.get(number) else {
            return;
        };
        if let Some(shared) = self.setup.shared.get() {
            self.shop.shared.replace(shared.clone());
        }
        let gate = Rc::new(Gate::until(at + plan.length));
        if let Some(earlier) = self.gates[number].replace(Rc::clone(&gate)) {
            earlier.close(at);
        }
        let at_work = Rc::new(Cell::new(plan.traffic().count()));
        if at_work.get() == 0 {
            self.setup.spent.send_modify(|spent| spent[number] += 1);
        }
        for (index, plan_of_load) in plan.loads.iter().enumerate() {
            let load = Rc::new(Load {
                shop: Rc::clone(&self.shop),
                gate: Rc::clone(&gate),
                phase,
                number: index as u64,
                choice: plan_of_load.scenario,
                start: at + plan_of_load.start_after,
                length: plan.length.saturating_sub(plan_of_load.start_after),
            });
            let quota = self.setup.quotas[number][index].clone();
            let drive = self.driver(load, &plan_of_load.model, quota);
            let (at_work, spent) = (Rc::clone(&at_work), Arc::clone(&self.setup.spent));
            let counts = !plan_of_load.is_timed();
            spawn_local(async move {
                drive.await;
                if !counts {
                    return;
                }
                at_work.set(at_work.get() - 1);
                if at_work.get() == 0 {
                    spent.send_modify(|spent| spent[number] += 1);
                }
            });
        }
    }

    fn driver(
        &self,
        load: Rc<Load>,
        model: &LoadModel,
        quota: Option<Quota>,
    ) -> impl Future<Output = ()> + 'static {
        let pacer = Pacer::new(self.shop.clock.clone());
        let lateness_us = Rc::clone(&self.lateness_us);
        let model = model.clone();
        async move {
            // Without a descriptor for the timer there would be none for connections either.
            let Ok(pacer) = pacer else { return };
            match model {
                LoadModel::Open(open) => {
                    let late = move |late: Duration| {
                        lateness_us.borrow_mut().record(nanos(late) / 1000);
                    };
                    drive_open(load, open, pacer, late).await;
                }
                LoadModel::Replay(replay) => {
                    let late = move |late: Duration| {
                        lateness_us.borrow_mut().record(nanos(late) / 1000);
                    };
                    drive_replay(load, replay, pacer, late).await;
                }
                LoadModel::Timed { first, every } => {
                    let late = move |late: Duration| {
                        lateness_us.borrow_mut().record(nanos(late) / 1000);
                    };
                    drive_timed(load, (first, every), pacer, late).await;
                }
                LoadModel::Closed { stages, .. } => {
                    drive_closed(load, UserCurve::new(&stages), quota, pacer).await;
                }
            }
        }
    }

    /// Hands over the window that has just ended, or keeps it for the next time.
    fn hand_over(&mut self) {
        crate::tripwire::pass("load");
        let now = self.shop.clock.now();
        let next = self.cut(now, self.handing.is_due(now));
        let Err(error) = self.setup.handovers.try_send(next) else {
            return;
        };
        let (TrySendError::Full(handover) | TrySendError::Disconnected(handover)) = error;
        self.handing.keep(handover);
    }

    fn last_handover(mut self) -> (SyncSender<Handover>, Handover) {
        let mut last = self.cut(self.shop.clock.now(), true);
        self.account.cpu_ns = thread_cpu_ns();
        last.account = Some(self.account);
        (self.setup.handovers.clone(), last)
    }

    /// All that was counted up to now.
    fn cut(&mut self, now: Moment, with_tallies: bool) -> Handover {
        let mut tally = self.shop.tally.borrow_mut();
        while let Ok(tallies) = self.setup.emptied.try_recv() {
            tally.reuse(tallies);
        }
        let before = self.handing.tallies_at();
        let whole = self.handing.cut(&mut tally, now, with_tallies);
        drop(tally);
        if with_tallies {
            self.judge_second(now.since(before));
        }
        whole
    }

    /// Whether this worker, not the target, set the pace in the second that has ended.
    fn judge_second(&mut self, length: Duration) {
        let cpu_ns = thread_cpu_ns();
        let mut lateness_us = self.lateness_us.borrow_mut();
        if let Some(late) = lateness_us.percentile(99.0) {
            let used = (cpu_ns - self.tallies_cpu_ns).saturating_mul(100);
            let busy = used > nanos(length).saturating_mul(BUSY_PERCENT);
            self.account.busy_seconds += 1;
            self.account.late_seconds += u64::from(busy && late > LATE_US);
            lateness_us.clear();
        }
        self.tallies_cpu_ns = cpu_ns;
    }
}

/// CPU time that this thread has used.
fn thread_cpu_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0, |time| nanos(Duration::from(time)))
}
