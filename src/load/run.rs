//! Steps, done one after another for one user.

use crate::clock::Moment;
use crate::load::connection::Connection;
use crate::load::deadline::Slot;
use crate::load::draw::Draw;
use crate::load::drive::Load;
use crate::load::exchange::{Order, Outcome};
use crate::load::session::Session;
use crate::load::step::{Made, MakeError, Scenario, Step};

/// Steps that are done one after another for one user.
pub(super) struct Run<'a> {
    pub(super) load: &'a Load,
    pub(super) session: &'a mut Session,
    pub(super) own: &'a mut Option<Connection>,
    pub(super) slot: &'a Slot,
    pub(super) draw: &'a mut Draw,
    pub(super) kind: RunKind,
}

/// How a run's requests are counted.
pub(super) enum RunKind {
    /// Requests fall due whatever the target does, and may be too many. The first was counted as
    /// due already.
    Arrival { admitted: Option<Moment> },
    /// A user waits for answers; due is when it is sent.
    User,
}

impl Run<'_> {
    /// Does a scenario's steps once, and counts that as a run of it.
    pub(super) async fn iteration(&mut self, scenario: &Scenario) -> Outcome {
        self.counted(scenario, async |run| run.steps(&scenario.steps).await).await
    }

    /// Counts what is done as a run of a scenario. What the end of the phase cuts short is none.
    pub(super) async fn counted(
        &mut self,
        scenario: &Scenario,
        work: impl AsyncFnOnce(&mut Self) -> Outcome,
    ) -> Outcome {
        let (load, shop) = (self.load, &self.load.shop);
        let Some(first) = scenario.steps.first() else { return Outcome::Good };
        let began = shop.clock.now();
        shop.tally.borrow_mut().run_began(load.key(first));
        let outcome = work(self).await;
        let ended = shop.clock.now();
        if outcome == Outcome::Good || load.gate.is_open_at(ended) {
            shop.tally.borrow_mut().run_ended(load.key(first), began, ended);
        }
        outcome
    }

    /// Does steps until one fails or the phase is over.
    pub(super) async fn steps(&mut self, steps: &[Step]) -> Outcome {
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

    pub(super) async fn exchange(
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
