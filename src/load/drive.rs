//! The drivers: what makes the requests of one load fall due, in one worker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_local;

use crate::clock::Moment;
use crate::load::draw::Draw;
use crate::load::exchange::{Order, Outcome, Shop};
use crate::load::pace::Pacer;
use crate::load::step::Step;
use crate::load::tally::Key;
use crate::plan::{OpenLoad, ScenarioChoice, Schedule, Think, UserCurve};

/// Arrivals that are behind time let other tasks run after so many.
const BATCH: u32 = 32;
/// How often the number of users is looked at.
const USERS_EVERY: Duration = Duration::from_millis(10);
/// How long a user waits after a connection was refused or broken, at least and at most.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(100)];

/// A phase's end, as its tasks see it: nothing falls due from then on.
#[derive(Debug, Default)]
pub(super) struct Gate {
    end: Cell<Option<Moment>>,
    closed: Notify,
}

impl Gate {
    /// Sets the end; what was due before it still counts, however late.
    pub(super) fn close(&self, end: Moment) {
        let end = self.end.get().map_or(end, |earlier| earlier.min(end));
        self.end.set(Some(end));
        self.closed.notify_waiters();
    }

    fn is_open_at(&self, due: Moment) -> bool {
        self.end.get().is_none_or(|end| due < end)
    }

    /// Runs `wait` unless the gate closes before; tells whether something may fall due at `due`.
    async fn wait<T>(&self, due: Moment, wait: impl Future<Output = T>) -> Option<T> {
        if !self.is_open_at(due) {
            return None;
        }
        let mut wait = std::pin::pin!(wait);
        loop {
            tokio::select! {
                biased;
                done = &mut wait => return self.is_open_at(due).then_some(done),
                () = self.closed.notified() => {
                    if !self.is_open_at(due) {
                        return None;
                    }
                }
            }
        }
    }
}

/// What both kinds of load know.
pub(super) struct Load {
    pub(super) shop: Rc<Shop>,
    pub(super) gate: Rc<Gate>,
    pub(super) phase: u16,
    /// The load's number in its phase.
    pub(super) number: u64,
    pub(super) choice: ScenarioChoice,
    pub(super) start: Moment,
    pub(super) length: Duration,
}

impl Load {
    fn draw(&self, user: u64, run: u64) -> Draw {
        let parts = [u64::from(self.phase), self.number, user, run];
        Draw::new(self.shop.seed, &parts)
    }

    const fn key(&self, step: &Step) -> Key {
        Key { phase: self.phase, step: step.id }
    }

    /// Waits out a step's pause; gives when the step is due, unless the phase is over by then.
    async fn think(&self, from: Moment, think: Think, draw: &mut Draw) -> Option<Moment> {
        let due = from + draw.between(think.min, think.max);
        // `from` is now, but for the time that a few lines take.
        let pause = due.since(from);
        if pause.is_zero() {
            return self.gate.is_open_at(due).then_some(due);
        }
        self.gate.wait(due, tokio::time::sleep(pause)).await.map(|()| due)
    }
}

/// Makes this worker's share of an open load's arrivals.
pub(super) async fn drive_open(
    load: Rc<Load>,
    open: OpenLoad,
    pacer: Pacer,
    late: impl Fn(Duration),
) {
    let shop = &load.shop;
    let seed = Draw::new(shop.seed, &[u64::from(load.phase), load.number]).next();
    let schedule = Schedule::new(&open, load.length, seed);
    let (share, offset) = (u64::from(shop.workers), u64::from(shop.worker));
    let mut at_once = 0;
    for (index, due) in (0_u64..).zip(schedule) {
        if index % share != offset {
            continue;
        }
        let due = load.start + due;
        let now = if due <= shop.clock.now() {
            if !load.gate.is_open_at(due) {
                return;
            }
            at_once += 1;
            if at_once % BATCH == 0 {
                tokio::task::yield_now().await;
            }
            shop.clock.now()
        } else {
            at_once = 0;
            match load.gate.wait(due, pacer.until(due)).await {
                Some(now) => now,
                None => return,
            }
        };
        late(now.since(due));
        arrive(&load, index, due);
    }
    // Runs that have begun go on with their later steps until the load is over.
    let end = load.start + load.length;
    load.gate.wait(end, pacer.until(end)).await;
}

/// Starts one arrival's scenario run, whose first request is due.
fn arrive(load: &Rc<Load>, index: u64, due: Moment) {
    let mut draw = load.draw(u64::MAX, index);
    let steps = load.shop.scenarios.choose(load.choice, &mut draw);
    let Some(first) = steps.first() else { return };
    // A pause before the first step would only shift the whole schedule.
    if load.shop.admit(load.key(first)) {
        let load = Rc::clone(load);
        spawn_local(async move { run_arrival(&load, draw, index, due).await });
    }
}

async fn run_arrival(load: &Load, mut draw: Draw, index: u64, mut due: Moment) {
    let shop = &load.shop;
    let steps = shop.scenarios.choose(load.choice, &mut load.draw(u64::MAX, index));
    let slot = shop.deadlines.slot();
    for (number, step) in steps.iter().enumerate() {
        let key = load.key(step);
        if number > 0 {
            let Some(next) = load.think(shop.clock.now(), step.think, &mut draw).await else {
                return;
            };
            due = next;
            if !shop.admit(key) {
                return;
            }
        }
        let drawn = step.draw(&mut draw);
        let order = Order { step, key, due: Some(due), drawn };
        let mut own = None;
        let outcome = shop.perform(order, &mut own, &slot).await;
        shop.keep(own);
        if outcome != Outcome::Good {
            return;
        }
    }
}

/// Scenario runs that all users of a load, in all workers, may still begin.
#[derive(Debug, Clone)]
pub(super) struct Iterations {
    pub(super) begun: Arc<AtomicU64>,
    pub(super) bound: u64,
}

impl Iterations {
    fn take(&self) -> bool {
        self.begun.fetch_add(1, Ordering::Relaxed) < self.bound
    }
}

/// The users of one load in one worker.
struct Users {
    load: Rc<Load>,
    iterations: Option<Iterations>,
    /// How many of this worker's users are wanted now.
    wanted: Cell<u32>,
    exhausted: Cell<bool>,
    /// Whether each is there, perhaps still finishing its scenario.
    there: RefCell<Vec<bool>>,
    left: Notify,
}

/// Keeps as many users at work as the curve wants.
pub(super) async fn drive_closed(
    load: Rc<Load>,
    curve: UserCurve,
    iterations: Option<Iterations>,
    pacer: Pacer,
) {
    let users = Rc::new(Users {
        load: Rc::clone(&load),
        iterations,
        wanted: Cell::new(0),
        exhausted: Cell::new(false),
        there: RefCell::new(Vec::new()),
        left: Notify::new(),
    });
    let shop = &load.shop;
    let mut next = load.start;
    while load.gate.wait(next, pacer.until(next)).await.is_some() {
        let offset = shop.clock.now().since(load.start);
        if users.exhausted.get() || offset >= load.length {
            break;
        }
        let all = curve.at(offset);
        users.want((all + shop.workers - 1 - shop.worker) / shop.workers);
        next = shop.clock.now() + USERS_EVERY;
        let woken = tokio::select! {
            _ = pacer.until(next) => false,
            () = users.left.notified() => true,
        };
        if woken {
            next = shop.clock.now();
        }
    }
    users.wanted.set(0);
    while users.there.borrow().contains(&true) {
        users.left.notified().await;
    }
}

impl Users {
    fn want(self: &Rc<Self>, wanted: u32) {
        self.wanted.set(wanted);
        let mut there = self.there.borrow_mut();
        let wanted = usize::try_from(wanted).expect("a count of tasks");
        if there.len() < wanted {
            there.resize(wanted, false);
        }
        for (number, present) in (0_u32..).zip(&mut there[..wanted]) {
            if !*present {
                *present = true;
                let users = Rc::clone(self);
                spawn_local(async move {
                    users.be(number).await;
                    users.there.borrow_mut()[number as usize] = false;
                    users.left.notify_one();
                });
            }
        }
    }

    /// One user's life: scenario after scenario, until it is no longer wanted.
    async fn be(&self, number: u32) {
        let load = &self.load;
        let shop = &load.shop;
        let slot = shop.deadlines.slot();
        let mut own = None;
        let user = u64::from(number) * u64::from(shop.workers) + u64::from(shop.worker);
        for run in 0.. {
            if number >= self.wanted.get() || !load.gate.is_open_at(shop.clock.now()) {
                break;
            }
            if self.iterations.as_ref().is_some_and(|iterations| !iterations.take()) {
                self.exhausted.set(true);
                break;
            }
            let mut draw = load.draw(user, run);
            for step in shop.scenarios.choose(load.choice, &mut draw) {
                let now = shop.clock.now();
                if load.think(now, step.think, &mut draw).await.is_none() {
                    break;
                }
                let key = load.key(step);
                shop.admit_user(key);
                let drawn = step.draw(&mut draw);
                let order = Order { step, key, due: None, drawn };
                let outcome = shop.perform(order, &mut own, &slot).await;
                if outcome == Outcome::Unreachable {
                    let pause = draw.between(BACK_OFF[0], BACK_OFF[1]);
                    let now = shop.clock.now();
                    load.gate.wait(now, tokio::time::sleep(pause)).await;
                }
                if outcome != Outcome::Good {
                    break;
                }
            }
        }
        shop.keep(own);
    }
}
