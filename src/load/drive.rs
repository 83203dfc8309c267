//! The drivers: what makes the requests of one load fall due, in one worker.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_local;

use crate::clock::Moment;
use crate::load::Error;
use crate::load::draw::Draw;
use crate::load::exchange::{Outcome, Shop};
use crate::load::pace::Pacer;
use crate::load::run::{Run, RunKind};
use crate::load::session::Session;
use crate::load::step::{Recorded, Step};
use crate::load::tally::Key;
use crate::load::template::Shared;
use crate::plan::{OpenLoad, Replay, ScenarioChoice, Schedule, Think};

/// Arrivals that are behind time let other tasks run after so many.
const BATCH: u32 = 32;

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

    pub(super) fn is_open_at(&self, due: Moment) -> bool {
        self.end.get().is_none_or(|end| due < end)
    }

    /// Runs `wait` unless the gate closes before; tells whether something may fall due at `due`.
    pub(super) async fn wait<T>(&self, due: Moment, wait: impl Future<Output = T>) -> Option<T> {
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
    pub(super) fn aside(shop: &Rc<Shop>, phase: u16) -> Self {
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

    pub(super) fn draw(&self, user: u64, run: u64) -> Draw {
        let parts = [u64::from(self.phase), self.number, user, run];
        Draw::new(self.shop.seed, &parts)
    }

    pub(super) const fn key(&self, step: &Step) -> Key {
        Key { phase: self.phase, step: step.id }
    }

    /// Waits out a step's pause; gives when the step is due, unless the phase is over by then.
    pub(super) async fn think(
        &self,
        think: Think,
        session: &mut Session,
        draw: &mut Draw,
    ) -> Option<Moment> {
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

/// Makes this worker's share of the runs that are due at set times: at `first`, and perhaps at each
/// `every` from there on.
pub(super) async fn drive_timed(
    load: Rc<Load>,
    (first, every): (Duration, Option<Duration>),
    pacer: Pacer,
    late: impl Fn(Duration),
) {
    let next = move |at: &Duration| every.map(|every| *at + every);
    let times = std::iter::successors(Some(first), next).take_while(|at| *at < load.length);
    let schedule = times.map(|at| (at, ()));
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

/// Starts a recorded request that is due; each is a run of its scenario.
fn replay_one(load: &Rc<Load>, replay: &Rc<Replay>, which: usize, index: u64, due: Moment) {
    let shop = &load.shop;
    let mut draw = load.draw(u64::MAX, index);
    let number = shop.scenarios.choose(load.choice, &mut draw);
    let Some(scenario) = shop.scenarios.get(number) else { return };
    let recorded = replay.requests[which];
    let (first, step) = (scenario.steps.first(), scenario.steps.get(usize::from(recorded.step)));
    let Some((first, step)) = first.zip(step) else { return };
    if shop.admit(load.key(step)) {
        let (load, replay) = (Rc::clone(load), Rc::clone(replay));
        let session = shop.session(u64::MAX, index, number);
        spawn_local(async move {
            run_recorded(&load, number, &replay, which, session, draw, due).await;
        });
    } else {
        shop.tally.borrow_mut().run_dropped(load.key(first));
    }
}

async fn run_recorded(
    load: &Load,
    number: usize,
    replay: &Replay,
    which: usize,
    mut session: Session,
    mut draw: Draw,
    due: Moment,
) {
    let shop = &load.shop;
    let Some(scenario) = shop.scenarios.get(number) else { return };
    let request = replay.requests[which];
    let step = &scenario.steps[usize::from(request.step)];
    let path = replay.paths.get(request.path as usize).map_or("/", String::as_str);
    let recorded = Recorded { path, body_bytes: request.body_bytes };
    let made = shop.scenarios.replayed(step, &recorded, &session.values, &mut draw);
    let (slot, mut own) = (shop.deadlines.slot(), None);
    shop.tally.borrow_mut().user_came(load.phase);
    let mut run = Run {
        load,
        session: &mut session,
        own: &mut own,
        slot: &slot,
        draw: &mut draw,
        kind: RunKind::Arrival { admitted: None },
    };
    run.counted(scenario, async |run| run.exchange(step, made, Some(due)).await).await;
    shop.tally.borrow_mut().user_left(load.phase);
    shop.keep(own);
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
