//! The engine's own accounts, kept of requests that a test makes up: the tallies, handovers and the
//! collector are those of the real engine, only sockets and threads are left out.

use std::rc::Rc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Moment};
use crate::event::{ErrorKind, Event, GeneratorPath};
use crate::load::collect::{Account, Collecting, Collector};
use crate::load::handing::Handing;
use crate::load::kept::Keeper;
use crate::load::reply::Checked;
use crate::load::socket::Wire;
use crate::load::tally::{End, Key, Tallies, Tally};
use crate::plan::Samples;

/// A request that a test makes up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    pub(crate) phase: u16,
    pub(crate) step: u16,
    pub(crate) due: Moment,
    pub(crate) sent: Option<Moment>,
    pub(crate) ended: Moment,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<ErrorKind>,
    pub(crate) written: u64,
    pub(crate) read: u64,
}

impl Made {
    const fn key(&self) -> Key {
        Key { phase: self.phase, step: self.step }
    }
}

struct Worker {
    tally: Tally,
    wire: Rc<Wire>,
    handing: Handing,
    emptied: Receiver<Tallies>,
}

/// An engine without sockets and threads.
pub(crate) struct Accounts {
    workers: Vec<Worker>,
    collecting: Collecting,
    told: Arc<Mutex<Vec<Event>>>,
}

impl Accounts {
    pub(crate) fn new(
        clock: &Clock,
        window: Duration,
        (phases, steps): (usize, usize),
        workers: usize,
    ) -> Self {
        let origin = clock.now().floor_to(window);
        let told = Arc::<Mutex<Vec<Event>>>::default();
        let (mut all, mut emptied) = (Vec::new(), Vec::new());
        for worker in 0..workers {
            let (back, empty) = sync_channel(4);
            emptied.push(back);
            let wire = Rc::new(Wire::of(2));
            let number = u32::try_from(worker).expect("few workers");
            let keeper = Keeper::new(Samples::PerSecond(20), 1, number, 2);
            all.push(Worker {
                tally: Tally::new(phases, steps, Rc::clone(&wire), keeper),
                wire,
                handing: Handing::new(worker, origin, window),
                emptied: empty,
            });
        }
        let telling = Arc::clone(&told);
        let collector = Collector {
            clock: clock.clone(),
            origin,
            window,
            path: GeneratorPath::Native,
            emptied,
            tell: Box::new(move |event| {
                telling.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            }),
        };
        Self { workers: all, collecting: Collecting::new(collector), told }
    }

    pub(crate) fn due(&mut self, worker: usize, made: &Made) {
        self.workers[worker].tally.due(made.key());
    }

    pub(crate) fn unsent(&mut self, worker: usize, made: &Made) {
        self.workers[worker].tally.unsent(made.key());
    }

    pub(crate) fn sent(&mut self, worker: usize, made: &Made, at: Moment) {
        let Worker { tally, wire, .. } = &mut self.workers[worker];
        tally.sent(made.key(), at, made.written / 2);
        wire.written.set(wire.written.get() + made.written);
    }

    pub(crate) fn ended(&mut self, worker: usize, made: &Made) {
        let Worker { tally, wire, .. } = &mut self.workers[worker];
        wire.read.set(wire.read.get() + made.read);
        let end = End {
            due: Some(made.due),
            sent: made.sent,
            first_byte: made.status.and(made.sent),
            ended: made.ended,
            status: made.status,
            error: made.error,
            checked: Checked { passed: 1, ..Checked::default() },
            written: made.written,
            read: made.read,
            request_bytes: made.written / 2,
            response_bytes: made.read / 2,
        };
        tally.ended(made.key(), &end);
    }

    /// A worker's window has ended; where there is `room`, it is handed over, else kept.
    pub(crate) fn window(&mut self, worker: usize, now: Moment, room: bool) {
        let Worker { tally, handing, emptied, .. } = &mut self.workers[worker];
        while let Ok(tallies) = emptied.try_recv() {
            tally.reuse(tallies);
        }
        let due = handing.is_due(now);
        let handover = handing.cut(tally, now, due);
        if room {
            self.collecting.take(handover);
        } else {
            handing.keep(handover);
        }
    }

    /// What the engine has told since the last time.
    pub(crate) fn told(&mut self) -> Vec<Event> {
        std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the engine; gives the last that it tells.
    pub(crate) fn finish(mut self, now: Moment) -> Vec<Event> {
        let mut before = self.told();
        let Self { workers, mut collecting, told } = self;
        for Worker { mut tally, mut handing, .. } in workers {
            let mut last = handing.cut(&mut tally, now, true);
            last.account = Some(Account::default());
            collecting.take(last);
        }
        collecting.finish();
        before.append(&mut told.lock().unwrap_or_else(PoisonError::into_inner));
        before
    }
}
