//! One request from due to ended, whatever happens to it on the way; connections are found, made
//! and kept here.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use hyper::header::{LOCATION, SET_COOKIE};
use tokio::sync::Notify;

use crate::clock::{Clock, Moment};
use crate::event::ErrorKind;
use crate::load::connection::{Connection, Failure};
use crate::load::deadline::{Cut, Deadlines, Slot};
use crate::load::line::{Line, Place};
use crate::load::reply::{Answer, Checked};
use crate::load::session::Session;
use crate::load::socket::Wire;
use crate::load::step::{Made, Scenarios, Step};
use crate::load::tally::{End, Key, Tally};
use crate::load::template::{Shared, Values};

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
    /// Requests that wait for a connection.
    pub(super) line: Line,
    pub(super) deadlines: Deadlines,
    pub(super) tally: RefCell<Tally>,
    pub(super) wire: Rc<Wire>,
    /// What the setup of each scenario has captured.
    pub(super) shared: RefCell<Vec<Shared>>,
    /// Users at work, by load and number; each says when it parts.
    pub(super) at_work: RefCell<BTreeMap<(u64, u64), Rc<Notify>>>,
    /// Users between two phases, by load, number and scenario.
    pub(super) parked: RefCell<BTreeMap<(u64, u64, usize), Session>>,
    /// Whether no phase comes any more.
    pub(super) closing: Cell<bool>,
    /// Users who are there, those at their last steps among them.
    pub(super) present: Cell<usize>,
}

/// One request that is to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) step: &'a Step,
    pub(super) key: Key,
    /// When it was due; none where users wait for answers.
    pub(super) due: Option<Moment>,
    pub(super) made: &'a Made,
    /// Whether a redirect is followed.
    pub(super) follows: bool,
}

/// What a request came to.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) outcome: Outcome,
    /// The request that a redirect asks for.
    pub(super) next: Option<Made>,
}

/// How a request ended, as far as its user cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Good,
    /// There was an answer, or too long none.
    Failed,
    /// The target can't be reached or breaks connections, or there was nothing that could be sent:
    /// trying again at once would spin.
    Futile,
}

/// What is known of a request under way.
#[derive(Debug, Default)]
struct Progress {
    sent: Option<Moment>,
    first_byte: Option<Moment>,
    last_read: Option<Moment>,
    written: u64,
    read: u64,
    request_bytes: u64,
}

/// How a request ended.
#[derive(Debug)]
struct Ended {
    at: Moment,
    status: Option<u16>,
    error: Option<ErrorKind>,
    checked: Checked,
    response_bytes: u64,
}

impl Ended {
    fn at(at: Moment) -> Self {
        Self { at, status: None, error: None, checked: Checked::default(), response_bytes: 0 }
    }
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

    /// Counts a request as due and as never sent.
    pub(super) fn refuse(&self, key: Key) {
        let mut tally = self.tally.borrow_mut();
        tally.due(key);
        tally.unsent(key);
    }

    /// Counts an admitted request that could not even be made.
    pub(super) fn fail_to_make(&self, key: Key, due: Option<Moment>) -> Outcome {
        self.in_flight.set(self.in_flight.get() - 1);
        let now = self.clock.now();
        let end = Ended { error: Some(ErrorKind::Template), ..Ended::at(now) };
        self.count(key, due, &Progress::default(), end);
        Outcome::Futile
    }

    /// Makes an admitted request, reads its answer and counts how it ends.
    pub(super) async fn perform(
        self: &Rc<Self>,
        order: Order<'_>,
        session: &mut Session,
        own: &mut Option<Connection>,
        slot: &Slot,
    ) -> Done {
        let mut progress = Progress::default();
        let result = self.attempt(order, session, own, slot, &mut progress).await;
        slot.disarm();
        self.in_flight.set(self.in_flight.get() - 1);
        match result {
            Ok(answer) => self.take_answer(order, session, &progress, &answer),
            Err(failure) => {
                let outcome = self.count_failure(order, &progress, failure);
                Done { outcome, next: None }
            }
        }
    }

    async fn attempt(
        self: &Rc<Self>,
        order: Order<'_>,
        session: &Session,
        own: &mut Option<Connection>,
        slot: &Slot,
        progress: &mut Progress,
    ) -> Result<Answer, Failure> {
        let transfer = &order.step.transfer;
        let timeout = transfer.timeout.unwrap_or(self.timeout);
        slot.arm(self.clock.now() + timeout);
        let drain = transfer.drain_rate;
        // A slow reader has a connection of its own, made for that.
        let mut kept = if drain.is_none() { self.find(own) } else { None };
        loop {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None if drain.is_some() => self.dial(drain, slot).await?,
                None => {
                    let place = self.line.join();
                    tokio::task::spawn_local(Rc::clone(self).dial_for(Rc::clone(&place), timeout));
                    place.wait(slot).await?
                }
            };
            let reused = connection.used;
            let (host, path) = order.step.place(order.made);
            let cookies = session.cookies(host, path);
            let request = order.step.request(order.made, cookies.as_ref(), connection.head());
            progress.request_bytes = request.payload.left();
            let body_bytes = progress.request_bytes;
            let on_sent = |at| {
                if progress.sent.replace(at).is_none() {
                    self.tally.borrow_mut().sent(order.key, at, body_bytes);
                }
                slot.arm(at + timeout);
            };
            let result = connection.exchange(request, slot, on_sent).await;
            let meter = connection.meter;
            progress.written += meter.written;
            progress.read += meter.read;
            progress.first_byte = meter.first_byte;
            progress.last_read = meter.last_read;
            match result {
                Ok(answer) => {
                    if drain.is_none() {
                        *own = Some(connection);
                    }
                    return Ok(answer);
                }
                // The server closed an idle connection just as it was taken up again: that is no
                // failure of this request. A fresh connection is never tried twice.
                Err(Failure::Error(ErrorKind::Reset)) if reused && meter.read == 0 => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Judges a complete answer, keeps what it gives, and counts it.
    fn take_answer(
        &self,
        order: Order<'_>,
        session: &mut Session,
        progress: &Progress,
        answer: &Answer,
    ) -> Done {
        let (step, status) = (order.step, answer.status);
        if let (Some(host), path) = step.place(order.made)
            && answer.headers.contains_key(SET_COOKIE)
        {
            session.take_cookies(&answer.headers, host, path);
        }
        let at = progress.last_read.unwrap_or_else(|| self.clock.now());
        let response_bytes = answer.body_bytes;
        let mut end = Ended { status: Some(status), response_bytes, ..Ended::at(at) };
        let next = (order.follows && (300..400).contains(&status))
            .then(|| {
                step.redirected(order.made, status, answer.headers.get(LOCATION)?.to_str().ok()?)
            })
            .flatten();
        if next.is_none() {
            end.error = (!step.expects(status)).then_some(ErrorKind::Status);
            if !step.reading.is_empty() {
                let took = progress.sent.map_or(Duration::ZERO, |sent| end.at.since(sent));
                end.checked = step.reading.read(answer, took, &mut session.values_mut().own);
                end.error = end.error.or(end.checked.error);
            }
            if step.checks_status() {
                let expected = step.expects(status);
                end.checked.passed += u32::from(expected);
                end.checked.failed += u32::from(!expected);
            }
        }
        let is_good = end.error.is_none();
        self.count(order.key, order.due, progress, end);
        let outcome = if is_good { Outcome::Good } else { Outcome::Failed };
        Done { outcome, next }
    }

    fn count_failure(&self, order: Order<'_>, progress: &Progress, failure: Failure) -> Outcome {
        let (error, outcome) = match failure {
            Failure::Cut(Cut::Abandoned) if progress.sent.is_none() => {
                self.tally.borrow_mut().unsent(order.key);
                return Outcome::Failed;
            }
            Failure::Cut(Cut::Abandoned) => (ErrorKind::Unfinished, Outcome::Failed),
            Failure::Cut(Cut::Timeout) => (ErrorKind::Timeout, Outcome::Failed),
            Failure::Error(kind) => (kind, Outcome::Futile),
        };
        let end = Ended { error: Some(error), ..Ended::at(self.clock.now()) };
        self.count(order.key, order.due, progress, end);
        outcome
    }

    fn count(&self, key: Key, due: Option<Moment>, progress: &Progress, end: Ended) {
        self.tally.borrow_mut().ended(
            key,
            &End {
                due,
                sent: progress.sent,
                first_byte: progress.first_byte,
                ended: end.at,
                status: end.status,
                error: end.error,
                checked: end.checked,
                written: progress.written,
                read: progress.read,
                request_bytes: progress.request_bytes,
                response_bytes: end.response_bytes,
            },
        );
    }

    /// Whether nobody waits for an answer, nor is there to ask for more.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.get() == 0 && self.present.get() == 0
    }

    /// A user of a scenario, as it was in an earlier phase, or a new one.
    pub(super) fn session(&self, load: u64, user: u64, scenario: usize) -> Session {
        let parked = self.parked.borrow_mut().remove(&(load, user, scenario));
        parked.unwrap_or_else(|| {
            let shared = self.shared.borrow().get(scenario).cloned().unwrap_or_default();
            Session::new(Values { user, shared, ..Values::default() })
        })
    }

    /// An open connection: the user's own, or the one that became idle last.
    fn find(&self, own: &mut Option<Connection>) -> Option<Connection> {
        if own.as_ref().is_some_and(Connection::is_usable) {
            return own.take();
        }
        *own = None;
        let mut idle = self.idle.borrow_mut();
        while let Some(connection) = idle.pop() {
            if connection.is_usable() {
                return Some(connection);
            }
        }
        None
    }

    async fn dial(&self, drain: Option<u64>, slot: &Slot) -> Result<Connection, Failure> {
        let (clock, wire) = (self.clock.clone(), Rc::clone(&self.wire));
        Connection::open(self.address.get(), clock, wire, drain, slot).await
    }

    /// Makes a connection for whoever waits longest by then; where that fails, `place` is told.
    async fn dial_for(self: Rc<Self>, place: Rc<Place>, timeout: Duration) {
        let slot = self.deadlines.slot();
        slot.arm(self.clock.now() + timeout);
        let address = self.address.get();
        match self.dial(None, &slot).await {
            // The target has another address by now.
            Ok(_) if address != self.address.get() => {
                let _ = place.give(Err(Failure::Error(ErrorKind::Reset)));
            }
            Ok(connection) => self.keep(Some(connection)),
            // Whoever was served meanwhile has no use for this.
            Err(failure) => drop(place.give(Err(failure))),
        }
    }

    /// Keeps a connection for whoever waits for one, or comes next.
    pub(super) fn keep(&self, connection: Option<Connection>) {
        let Some(connection) = connection.filter(Connection::is_usable) else { return };
        if let Some(mut connection) = self.line.serve(connection) {
            connection.idle_since = self.clock.now();
            self.idle.borrow_mut().push(connection);
        }
    }

    /// Gives up idle connections that the server has closed or that nobody wanted for long.
    pub(super) fn prune(&self) {
        let now = self.clock.now();
        self.idle.borrow_mut().retain(|connection| {
            now.since(connection.idle_since) < IDLE_MAX && connection.is_usable()
        });
    }
}
