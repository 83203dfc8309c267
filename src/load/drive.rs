//! The drivers: what makes the requests of one load fall due, in one worker.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_local;

use crate::clock::Moment;
use crate::load::Error;
use crate::load::connection::Connection;
use crate::load::deadline::Slot;
use crate::load::draw::Draw;
use crate::load::exchange::{Order, Outcome, Shop};
use crate::load::feed::Feeder;
use crate::load::pace::Pacer;
use crate::load::session::Session;
use crate::load::step::{Made, MakeError, Recorded, Scenario, Step};
use crate::load::tally::Key;
use crate::load::template::Shared;
use crate::plan::{Iterations, OpenLoad, Replay, ScenarioChoice, Schedule, Think, UserCurve};

/// Arrivals that are behind time let other tasks run after so many.
const BATCH: u32 = 32;
/// How often the number of users is looked at.
const USERS_EVERY: Duration = Duration::from_millis(10);
/// How long a user waits after a connection was refused or broken, or a request could not be made,
/// at least and at most.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(100)];

/// A phase's end, as its tasks see it: nothing falls due from then on.
#[derive(Debug, Default)]
pub(super) struct Gate {
    end: Cell<Option<Moment>>,
    closed: Notify,
}

impl Gate {
    /// A gate whose end is known; it may still be closed earlier.
    pub(super) fn until(end: Moment) -> Self {
        Self { end: Cell::new(Some(end)), closed: Notify::new() }
    }

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
    /// What runs beside the loads of phases: it has no end of its own.
    fn aside(shop: &Rc<Shop>, phase: u16) -> Self {
        Self {
            shop: Rc::clone(shop),
            gate: Rc::default(),
            phase,
            number: u64::MAX,
            choice: ScenarioChoice::Mix,
            start: shop.clock.now(),
            length: Duration::ZERO,
        }
    }

    fn draw(&self, user: u64, run: u64) -> Draw {
        let parts = [u64::from(self.phase), self.number, user, run];
        Draw::new(self.shop.seed, &parts)
    }

    const fn key(&self, step: &Step) -> Key {
        Key { phase: self.phase, step: step.id }
    }

    /// Waits out a step's pause; gives when the step is due, unless the phase is over by then.
    async fn think(&self, think: Think, session: &mut Session, draw: &mut Draw) -> Option<Moment> {
        let now = self.shop.clock.now();
        let due = match think {
            Think::None => now,
            Think::Paced(every) => {
                let due = session.paced.map_or(now, |before| now.max(before + every));
                session.paced = Some(due);
                due
            }
            drawn => now + drawn.at(draw.unit()),
        };
        let pause = due.since(now);
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
    let seed = Draw::new(load.shop.seed, &[u64::from(load.phase), load.number]).next();
    let schedule = Schedule::new(&open, load.length, seed).map(|at| (at, ()));
    drive(&load, schedule, &pacer, late, |index, due, ()| arrive(&load, index, due)).await;
}

/// Makes this worker's share of recorded requests.
pub(super) async fn drive_replay(
    load: Rc<Load>,
    replay: Replay,
    pacer: Pacer,
    late: impl Fn(Duration),
) {
    let replay = Rc::new(replay);
    let schedule = replay.schedule().take_while(|(at, _)| *at < load.length);
    drive(&load, schedule, &pacer, late, |index, due, which| {
        replay_one(&load, &replay, which, index, due);
    })
    .await;
}

/// Makes what is due on a schedule, as far as it is this worker's share.
async fn drive<T>(
    load: &Load,
    schedule: impl Iterator<Item = (Duration, T)>,
    pacer: &Pacer,
    late: impl Fn(Duration),
    make: impl Fn(u64, Moment, T),
) {
    let shop = &load.shop;
    let (share, offset) = (u64::from(shop.workers), u64::from(shop.worker));
    let mut at_once = 0;
    for (index, (due, what)) in (0_u64..).zip(schedule) {
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
        make(index, due, what);
    }
    // Runs that have begun go on with their later steps until the load is over.
    let end = load.start + load.length;
    load.gate.wait(end.before(Duration::from_nanos(1)), pacer.until(end)).await;
}

/// Starts one arrival's scenario run, whose first request is due.
fn arrive(load: &Rc<Load>, index: u64, due: Moment) {
    let shop = &load.shop;
    let mut draw = load.draw(u64::MAX, index);
    let number = shop.scenarios.choose(load.choice, &mut draw);
    let Some(scenario) = shop.scenarios.get(number) else { return };
    let Some(first) = scenario.on_start.first().or(scenario.steps.first()) else { return };
    let mut session = shop.session(u64::MAX, index, number);
    if let Some(feeder) = &scenario.feeder {
        let Some(record) = feeder.next(&mut draw) else {
            shop.refuse(load.key(first));
            return;
        };
        session.values_mut().record = Some(record);
    }
    // A pause before the first step would only shift the whole schedule.
    if shop.admit(load.key(first)) {
        let load = Rc::clone(load);
        spawn_local(async move { run_arrival(&load, number, session, draw, due).await });
    } else if let Some(first) = scenario.steps.first() {
        shop.tally.borrow_mut().run_dropped(load.key(first));
    }
}

/// Starts a recorded request that is due.
fn replay_one(load: &Rc<Load>, replay: &Rc<Replay>, which: usize, index: u64, due: Moment) {
    let shop = &load.shop;
    let mut draw = load.draw(u64::MAX, index);
    let number = shop.scenarios.choose(load.choice, &mut draw);
    let recorded = replay.requests[which];
    let step_of = |shop: &Shop| -> Option<u16> {
        Some(shop.scenarios.get(number)?.steps.get(usize::from(recorded.step))?.id)
    };
    let Some(step) = step_of(shop) else { return };
    if !shop.admit(Key { phase: load.phase, step }) {
        return;
    }
    let (load, replay) = (Rc::clone(load), Rc::clone(replay));
    spawn_local(async move {
        let shop = &load.shop;
        let Some(scenario) = shop.scenarios.get(number) else { return };
        let step = &scenario.steps[usize::from(recorded.step)];
        let mut session = shop.session(u64::MAX, index, number);
        let (slot, mut own) = (shop.deadlines.slot(), None);
        let path = replay.paths.get(recorded.path as usize).map_or("/", String::as_str);
        let recorded = Recorded { path, body_bytes: recorded.body_bytes };
        let made = shop.scenarios.replayed(step, &recorded, &session.values, &mut draw);
        let mut run = Run {
            load: &load,
            session: &mut session,
            own: &mut own,
            slot: &slot,
            draw: &mut draw,
            kind: RunKind::Arrival { admitted: None },
        };
        run.exchange(step, made, Some(due)).await;
        shop.keep(own);
    });
}

async fn run_arrival(
    load: &Load,
    number: usize,
    mut session: Session,
    mut draw: Draw,
    due: Moment,
) {
    let shop = &load.shop;
    let Some(scenario) = shop.scenarios.get(number) else { return };
    let slot = shop.deadlines.slot();
    let mut own = None;
    shop.tally.borrow_mut().user_came(load.phase);
    let mut run = Run {
        load,
        session: &mut session,
        own: &mut own,
        slot: &slot,
        draw: &mut draw,
        kind: RunKind::Arrival { admitted: Some(due) },
    };
    if run.steps(&scenario.on_start).await == Outcome::Good {
        run.iteration(scenario).await;
        run.steps(&scenario.on_stop).await;
    }
    shop.tally.borrow_mut().user_left(load.phase);
    shop.keep(own);
}

/// Steps that are done one after another for one user.
pub(super) struct Run<'a> {
    load: &'a Load,
    session: &'a mut Session,
    own: &'a mut Option<Connection>,
    slot: &'a Slot,
    draw: &'a mut Draw,
    kind: RunKind,
}

/// How a run's requests are counted.
enum RunKind {
    /// Requests fall due whatever the target does, and may be too many. The first was counted as
    /// due already.
    Arrival { admitted: Option<Moment> },
    /// A user waits for answers; due is when it is sent.
    User,
}

impl Run<'_> {
    /// Does a scenario's steps once, and counts that as a run of it. What the end of the phase
    /// cuts short is none.
    async fn iteration(&mut self, scenario: &Scenario) -> Outcome {
        let (load, shop) = (self.load, &self.load.shop);
        let Some(first) = scenario.steps.first() else { return Outcome::Good };
        let began = shop.clock.now();
        shop.tally.borrow_mut().run_began(load.key(first));
        let outcome = self.steps(&scenario.steps).await;
        let ended = shop.clock.now();
        if outcome == Outcome::Good || load.gate.is_open_at(ended) {
            shop.tally.borrow_mut().run_ended(load.key(first), began, ended);
        }
        outcome
    }

    /// Does steps until one fails or the phase is over.
    async fn steps(&mut self, steps: &[Step]) -> Outcome {
        for step in steps {
            let Some(due) = self.admit(step).await else { return Outcome::Failed };
            let outcome = self.step(step, due).await;
            if !matches!(self.kind, RunKind::User) {
                // Whoever comes next takes the connection that was used last.
                self.load.shop.keep(self.own.take());
            }
            if outcome != Outcome::Good {
                return outcome;
            }
        }
        Outcome::Good
    }

    /// Waits until a step is due, and counts it as that. None where it is not to be sent.
    async fn admit(&mut self, step: &Step) -> Option<Option<Moment>> {
        let (load, shop) = (self.load, &self.load.shop);
        match &mut self.kind {
            RunKind::User => {
                load.think(step.think, self.session, self.draw).await?;
                shop.admit_user(load.key(step));
                Some(None)
            }
            RunKind::Arrival { admitted } => match admitted.take() {
                Some(due) => Some(Some(due)),
                None => {
                    let due = load.think(step.think, self.session, self.draw).await?;
                    shop.admit(load.key(step)).then_some(Some(due))
                }
            },
        }
    }

    /// Makes one request, and those that redirects ask for.
    async fn step(&mut self, step: &Step, due: Option<Moment>) -> Outcome {
        let made = self.load.shop.scenarios.make(step, &self.session.values, self.draw);
        self.exchange(step, made, due).await
    }

    async fn exchange(
        &mut self,
        step: &Step,
        made: Result<Made, MakeError>,
        mut due: Option<Moment>,
    ) -> Outcome {
        let (load, shop) = (self.load, &self.load.shop);
        let key = load.key(step);
        let Ok(mut made) = made else { return shop.fail_to_make(key, due) };
        let mut left = step.reading.redirects;
        loop {
            let order = Order { step, key, due, made: &made, follows: left > 0 };
            let done = shop.perform(order, self.session, self.own, self.slot).await;
            let Some(next) = done.next else { return done.outcome };
            (left, made) = (left - 1, next);
            match self.kind {
                RunKind::User => shop.admit_user(key),
                RunKind::Arrival { .. } => {
                    due = Some(shop.clock.now());
                    if !shop.admit(key) {
                        return Outcome::Failed;
                    }
                }
            }
        }
    }
}

/// Does the setup of all scenarios; gives what each has captured.
pub(super) async fn set_up(shop: Rc<Shop>) -> Result<Vec<Shared>, Error> {
    let mut captured = Vec::new();
    let load = Load::aside(&shop, 0);
    let (slot, mut own) = (shop.deadlines.slot(), None);
    for (number, scenario) in shop.scenarios.iter().enumerate() {
        let (mut session, mut draw) = (Session::default(), load.draw(0, number as u64));
        for step in &scenario.setup {
            let mut run = Run {
                load: &load,
                session: &mut session,
                own: &mut own,
                slot: &slot,
                draw: &mut draw,
                kind: RunKind::User,
            };
            if run.steps(std::slice::from_ref(step)).await != Outcome::Good {
                return Err(Error::Setup {
                    step: step.label.clone(),
                    why: shop.tally.borrow().last_failure(),
                });
            }
        }
        captured.push(Arc::new(std::mem::take(&mut session.values_mut().own)));
    }
    Ok(captured)
}

/// Lets users go who waited for a next phase: their last steps, counted in `phase`.
pub(super) fn let_go(shop: &Rc<Shop>, phase: u16) {
    shop.closing.set(true);
    for ((_, _, number), session) in shop.parked.take() {
        let load = Load::aside(shop, phase);
        let draw = load.draw(session.values.user, u64::MAX);
        leave(Rc::new(load), number, session, draw);
    }
}

/// A user's last steps, in a task of their own.
fn leave(load: Rc<Load>, number: usize, mut session: Session, mut draw: Draw) {
    let scenario = load.shop.scenarios.get(number);
    if !session.started || scenario.is_none_or(|scenario| scenario.on_stop.is_empty()) {
        return;
    }
    load.shop.present.set(load.shop.present.get() + 1);
    spawn_local(async move {
        let (shop, mut own) = (&load.shop, None);
        let slot = shop.deadlines.slot();
        let mut run = Run {
            load: &load,
            session: &mut session,
            own: &mut own,
            slot: &slot,
            draw: &mut draw,
            kind: RunKind::User,
        };
        if let Some(scenario) = shop.scenarios.get(number) {
            run.steps(&scenario.on_stop).await;
        }
        shop.keep(own);
        shop.present.set(shop.present.get() - 1);
    });
}

/// Scenario runs that the users of a load may begin.
#[derive(Debug, Clone)]
pub(super) enum Quota {
    /// All users together, in all workers.
    Shared { begun: Arc<AtomicU64>, bound: u64 },
    /// Each user.
    Each(u64),
}

impl Quota {
    pub(super) fn new(iterations: Iterations) -> Self {
        match iterations {
            Iterations::Shared(bound) => Self::Shared { begun: Arc::default(), bound },
            Iterations::Each(bound) => Self::Each(bound),
        }
    }

    /// Takes a run for a user who has begun so many; tells whether there was one.
    fn take(&self, begun_by_user: u64) -> bool {
        match self {
            Self::Shared { begun, bound } => begun.fetch_add(1, Ordering::Relaxed) < *bound,
            Self::Each(bound) => begun_by_user < *bound,
        }
    }
}

/// Whether a user is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Absent,
    /// Perhaps still finishing its scenario.
    There,
    /// Has done all its runs.
    Done,
}

/// The users of one load in one worker.
struct Users {
    load: Rc<Load>,
    quota: Option<Quota>,
    /// How many of this worker's users are wanted now.
    wanted: Cell<u32>,
    exhausted: Cell<bool>,
    presence: RefCell<Vec<Presence>>,
    left: Notify,
}

/// Keeps as many users at work as the curve wants.
pub(super) async fn drive_closed(
    load: Rc<Load>,
    curve: UserCurve,
    quota: Option<Quota>,
    pacer: Pacer,
) {
    let users = Rc::new(Users {
        load: Rc::clone(&load),
        quota,
        wanted: Cell::new(0),
        exhausted: Cell::new(false),
        presence: RefCell::new(Vec::new()),
        left: Notify::new(),
    });
    let shop = &load.shop;
    let mine = |all: u32| (all + shop.workers - 1 - shop.worker) / shop.workers;
    let most = mine(curve.max());
    let mut next = load.start;
    while load.gate.wait(next, pacer.until(next)).await.is_some() {
        let offset = shop.clock.now().since(load.start);
        if users.exhausted.get() || users.done() == most || offset >= load.length {
            break;
        }
        users.want(mine(curve.at(offset)));
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
    while users.presence.borrow().contains(&Presence::There) {
        users.left.notified().await;
    }
}

impl Users {
    fn want(self: &Rc<Self>, wanted: u32) {
        self.wanted.set(wanted);
        let mut presence = self.presence.borrow_mut();
        let wanted = usize::try_from(wanted).expect("a count of tasks");
        if presence.len() < wanted {
            presence.resize(wanted, Presence::Absent);
        }
        for (number, presence) in (0_u32..).zip(&mut presence[..wanted]) {
            if *presence == Presence::Absent {
                *presence = Presence::There;
                let users = Rc::clone(self);
                spawn_local(async move {
                    let left = users.come_and_go(number).await;
                    users.presence.borrow_mut()[number as usize] = left;
                    users.left.notify_one();
                });
            }
        }
    }

    /// How many have done all their runs.
    fn done(&self) -> u32 {
        let presence = self.presence.borrow();
        let done = presence.iter().filter(|presence| **presence == Presence::Done).count();
        u32::try_from(done).expect("a count of tasks")
    }

    /// A user comes, lives and goes. It may have been at work in the phase before and wait for an
    /// answer still; then it comes when it has that.
    async fn come_and_go(&self, number: u32) -> Presence {
        let (load, shop) = (&self.load, &self.load.shop);
        let user = u64::from(number) * u64::from(shop.workers) + u64::from(shop.worker);
        let place = (load.number, user);
        shop.present.set(shop.present.get() + 1);
        loop {
            let at_work = shop.at_work.borrow().get(&place).cloned();
            let Some(at_work) = at_work else { break };
            let now = shop.clock.now();
            if load.gate.wait(now, at_work.notified()).await.is_none() {
                shop.present.set(shop.present.get() - 1);
                return Presence::Absent;
            }
        }
        let gone = Rc::new(Notify::new());
        shop.at_work.borrow_mut().insert(place, Rc::clone(&gone));
        shop.tally.borrow_mut().user_came(load.phase);
        let left = self.be(number, user).await;
        shop.tally.borrow_mut().user_left(load.phase);
        shop.at_work.borrow_mut().remove(&place);
        gone.notify_one();
        shop.present.set(shop.present.get() - 1);
        left
    }

    /// One user's life: scenario after scenario, until it is no longer wanted.
    async fn be(&self, number: u32, user: u64) -> Presence {
        let load = &self.load;
        let shop = &load.shop;
        let slot = shop.deadlines.slot();
        let mut own = None;
        let mut sessions = BTreeMap::new();
        let (mut begun, mut left) = (0, Presence::Absent);
        for run in 0.. {
            if number >= self.wanted.get() || !load.gate.is_open_at(shop.clock.now()) {
                break;
            }
            let mut draw = load.draw(user, run);
            let chosen = shop.scenarios.choose(load.choice, &mut draw);
            let Some(scenario) = shop.scenarios.get(chosen) else { break };
            let session =
                sessions.entry(chosen).or_insert_with(|| shop.session(load.number, user, chosen));
            if !Self::feed(scenario, session, &mut draw) {
                if scenario.feeder.as_ref().is_some_and(Feeder::is_kept) {
                    // There is no record for this user; others have theirs.
                    left = Presence::Done;
                } else {
                    self.exhausted.set(true);
                }
                break;
            }
            let mut steps = Run {
                load,
                session,
                own: &mut own,
                slot: &slot,
                draw: &mut draw,
                kind: RunKind::User,
            };
            if !steps.session.started {
                let outcome = steps.steps(&scenario.on_start).await;
                if outcome != Outcome::Good {
                    let [least, most] = BACK_OFF;
                    self.pause(draw.between(least, most)).await;
                    continue;
                }
                steps.session.started = true;
            }
            if self.quota.as_ref().is_some_and(|quota| !quota.take(begun)) {
                left = Presence::Done;
                self.exhausted.set(matches!(self.quota, Some(Quota::Shared { .. })));
                break;
            }
            begun += 1;
            if scenario.is_templated {
                steps.session.values_mut().iteration = run;
            }
            if steps.iteration(scenario).await == Outcome::Futile {
                let [least, most] = BACK_OFF;
                self.pause(draw.between(least, most)).await;
            }
        }
        shop.keep(own);
        self.part(user, sessions);
        left
    }

    async fn pause(&self, pause: Duration) {
        let now = self.load.shop.clock.now();
        self.load.gate.wait(now, tokio::time::sleep(pause)).await;
    }

    /// Gives a user the record of its next run; tells whether there was one.
    fn feed(scenario: &Scenario, session: &mut Session, draw: &mut Draw) -> bool {
        let Some(feeder) = &scenario.feeder else { return true };
        if feeder.is_kept() && session.values.record.is_some() {
            return true;
        }
        let record = feeder.next(draw);
        let given = record.is_some();
        session.values_mut().record = record;
        given
    }

    /// What becomes of a user's sessions: they wait for a next phase, or are over.
    fn part(&self, user: u64, sessions: BTreeMap<usize, Session>) {
        let (load, shop) = (&self.load, &self.load.shop);
        // Whoever isn't wanted any more while the phase goes on leaves for good.
        let goes = shop.closing.get() || load.gate.is_open_at(shop.clock.now());
        for (number, session) in sessions {
            if goes {
                let aside = Rc::new(Load::aside(shop, load.phase));
                let draw = load.draw(user, u64::MAX);
                leave(aside, number, session, draw);
            } else {
                shop.parked.borrow_mut().insert((load.number, user, number), session);
            }
        }
    }
}
