//! Users of closed loads: who come, do their scenario again and again, and leave.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_local;

use crate::load::draw::Draw;
use crate::load::drive::Load;
use crate::load::exchange::{Outcome, Shop};
use crate::load::feed::Feeder;
use crate::load::pace::Pacer;
use crate::load::run::{Run, RunKind};
use crate::load::session::Session;
use crate::load::step::Scenario;
use crate::plan::{Iterations, UserCurve};

/// How often the number of users is looked at.
const USERS_EVERY: Duration = Duration::from_millis(10);
/// How long a user waits after a connection was refused or broken, or a request could not be made,
/// at least and at most.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(100)];

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
