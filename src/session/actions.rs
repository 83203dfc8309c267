//! What a phase does at set times, beside its traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::{Clock, Moment};
use crate::event::{ActionBegan, ActionEnded, ActionKind, Event, What};
use crate::plan::{ActionPlan, Deed, PhasePlan};
use crate::runtime::Hand;

/// What all actions of a run share.
#[derive(Debug, Clone)]
pub(super) struct Acting {
    /// Reaches the life that runs; none while there is none.
    hand: watch::Sender<Option<Hand>>,
    /// Actions so far.
    count: Arc<AtomicU32>,
    clock: Clock,
    events: Sender<Event>,
}

impl Acting {
    pub(super) fn new(clock: Clock, events: Sender<Event>) -> Self {
        Self { hand: watch::Sender::new(None), count: Arc::default(), clock, events }
    }

    /// Which life the next actions are for.
    pub(super) fn reach(&self, hand: Option<Hand>) {
        self.hand.send_replace(hand);
    }

    /// Does what a phase that begins at a moment has to do, until what is given is dropped.
    pub(super) fn begin(&self, phase: &PhasePlan, begins: Moment) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for action in &phase.actions {
            tasks.spawn(self.clone().repeat(action.clone(), begins, phase.length));
        }
        tasks
    }

    async fn repeat(self, action: ActionPlan, begins: Moment, length: Duration) {
        let times = action.times().take_while(|at| *at < length);
        for due in times.map(|at| begins + at) {
            let late = self.clock.now().since(due);
            tokio::time::sleep(due.since(self.clock.now())).await;
            let number = self.count.fetch_add(1, Ordering::Relaxed);
            let (kind, text) = (kind_of(&action.deed), action.describe());
            self.send(What::ActionBegan(ActionBegan { number, kind, text })).await;
            let failed = if action.every.is_some_and(|every| late >= every) {
                Some("left out: the one before was not over".to_owned())
            } else {
                self.perform(&action.deed).await.err()
            };
            self.send(What::ActionEnded(ActionEnded { number, failed })).await;
        }
    }

    async fn perform(&self, deed: &Deed) -> Result<(), String> {
        let hand = self.hand.borrow().clone();
        let hand = hand.ok_or_else(|| "the target was not running".to_owned());
        match deed {
            Deed::Exec(words) => hand?.exec(words).await,
            Deed::Signal(name) => hand?.signal(name).await,
            // The load engine sends it.
            Deed::Request { .. } => Ok(()),
        }
    }

    async fn send(&self, what: What) {
        // An error means that nobody listens any more.
        let _ = self.events.send(Event { at: self.clock.now(), what }).await;
    }
}

const fn kind_of(deed: &Deed) -> ActionKind {
    match deed {
        Deed::Exec(_) => ActionKind::Exec,
        Deed::Signal(_) => ActionKind::Signal,
        Deed::Request { .. } => ActionKind::Request,
    }
}
