//! One request from due to ended, whatever happens to it on the way; connections are found, made
//! and kept here.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock::{Clock, Moment};
use crate::event::ErrorKind;
use crate::load::body::Drawn;
use crate::load::connection::{Connection, Failure};
use crate::load::deadline::{Cut, Deadlines, Slot};
use crate::load::socket::Totals;
use crate::load::step::{Scenarios, Step};
use crate::load::tally::{End, Key, Tally};

/// How long an idle connection is kept, as Go's and most browsers' pools do.
const IDLE_MAX: Duration = Duration::from_secs(90);

/// What all tasks of one worker share. One thread only, so cells and no locks.
#[derive(Debug)]
pub(super) struct Shop {
    pub(super) clock: Clock,
    pub(super) seed: u64,
    /// This worker's number, and how many there are.
    pub(super) worker: u32,
    pub(super) workers: u32,
    pub(super) scenarios: Scenarios,
    pub(super) timeout: Duration,
    pub(super) max_in_flight: usize,
    pub(super) in_flight: Cell<usize>,
    pub(super) address: Cell<SocketAddr>,
    pub(super) idle: RefCell<Vec<Connection>>,
    pub(super) deadlines: Deadlines,
    pub(super) tally: RefCell<Tally>,
    pub(super) totals: Rc<Totals>,
}

/// One request that is to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) step: &'a Step,
    pub(super) key: Key,
    /// When it was due; none where users wait for answers.
    pub(super) due: Option<Moment>,
    pub(super) drawn: Drawn,
}

/// How a request ended, as far as its user cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Good,
    /// There was an answer, or too long none.
    Failed,
    /// The target can't be reached or breaks connections: trying again at once would spin.
    Unreachable,
}

/// What is known of a request under way.
#[derive(Debug, Default)]
struct Progress {
    sent: Option<Moment>,
    written: u64,
    read: u64,
}

impl Shop {
    /// Counts a request as due and as in flight, unless there are too many: then as unsent.
    pub(super) fn admit(&self, key: Key) -> bool {
        let mut tally = self.tally.borrow_mut();
        tally.due(key);
        if self.in_flight.get() >= self.max_in_flight {
            tally.unsent(key);
            return false;
        }
        self.in_flight.set(self.in_flight.get() + 1);
        true
    }

    /// Counts a user's request as due and as in flight: users bound themselves.
    pub(super) fn admit_user(&self, key: Key) {
        self.tally.borrow_mut().due(key);
        self.in_flight.set(self.in_flight.get() + 1);
    }

    /// Makes an admitted request and counts how it ends.
    pub(super) async fn perform(
        &self,
        order: Order<'_>,
        own: &mut Option<Connection>,
        slot: &Slot,
    ) -> Outcome {
        let mut progress = Progress::default();
        let result = self.attempt(order, own, slot, &mut progress).await;
        slot.disarm();
        self.in_flight.set(self.in_flight.get() - 1);
        self.count(order, &progress, result)
    }

    async fn attempt(
        &self,
        order: Order<'_>,
        own: &mut Option<Connection>,
        slot: &Slot,
        progress: &mut Progress,
    ) -> Result<u16, Failure> {
        slot.arm(self.clock.now() + self.timeout);
        let mut kept = self.find(own).await;
        loop {
            let mut connection = if let Some(connection) = kept.take() {
                connection
            } else {
                let (clock, totals) = (self.clock.clone(), Rc::clone(&self.totals));
                Connection::open(self.address.get(), clock, totals, slot).await?
            };
            let reused = connection.used;
            let request = order.step.request(order.drawn);
            let on_sent = |at| {
                if progress.sent.replace(at).is_none() {
                    self.tally.borrow_mut().sent(order.key);
                }
                slot.arm(at + self.timeout);
            };
            let result = connection.exchange(request, slot, on_sent).await;
            progress.written += connection.meter.written();
            progress.read += connection.meter.read();
            match result {
                Ok(status) => {
                    *own = Some(connection);
                    return Ok(status);
                }
                // The server closed an idle connection just as it was taken up again: that is no
                // failure of this request. A fresh connection is never tried twice.
                Err(Failure::Error(ErrorKind::Reset)) if reused && connection.meter.read() == 0 => {
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn count(
        &self,
        order: Order<'_>,
        progress: &Progress,
        result: Result<u16, Failure>,
    ) -> Outcome {
        let mut tally = self.tally.borrow_mut();
        let (status, error, outcome) = match result {
            Ok(status) if order.step.expects(status) => (Some(status), None, Outcome::Good),
            Ok(status) => (Some(status), Some(ErrorKind::Status), Outcome::Failed),
            Err(Failure::Cut(Cut::Abandoned)) if progress.sent.is_none() => {
                tally.unsent(order.key);
                return Outcome::Failed;
            }
            Err(Failure::Cut(Cut::Abandoned)) => {
                (None, Some(ErrorKind::Unfinished), Outcome::Failed)
            }
            Err(Failure::Cut(Cut::Timeout)) => (None, Some(ErrorKind::Timeout), Outcome::Failed),
            Err(Failure::Error(kind)) => (None, Some(kind), Outcome::Unreachable),
        };
        tally.ended(
            order.key,
            &End {
                due: order.due,
                sent: progress.sent,
                ended: self.clock.now(),
                status,
                error,
                written: progress.written,
                read: progress.read,
            },
        );
        outcome
    }

    /// An open connection: the user's own, or the one that became idle last.
    async fn find(&self, own: &mut Option<Connection>) -> Option<Connection> {
        poll_fn(|cx| {
            let mut found = own.take();
            loop {
                match found {
                    Some(mut connection) => {
                        if connection.is_usable(cx) {
                            return Poll::Ready(Some(connection));
                        }
                        found = None;
                    }
                    None => match self.idle.borrow_mut().pop() {
                        Some(connection) => found = Some(connection),
                        None => return Poll::Ready(None),
                    },
                }
            }
        })
        .await
    }

    /// Keeps a connection for whoever comes next.
    pub(super) fn keep(&self, connection: Option<Connection>) {
        if let Some(mut connection) = connection {
            connection.idle_since = self.clock.now();
            self.idle.borrow_mut().push(connection);
        }
    }

    /// Gives up idle connections that the server has closed or that nobody wanted for long.
    pub(super) fn prune(&self) {
        let now = self.clock.now();
        let mut cx = Context::from_waker(Waker::noop());
        self.idle.borrow_mut().retain_mut(|connection| {
            now.since(connection.idle_since) < IDLE_MAX && connection.is_usable(&mut cx)
        });
    }
}
