//! Requests that wait for a connection, first come first served: whichever is there first, a
//! connection that falls idle or one that is being made.
//!
//! To hold each to the connection that was begun for it would make one hiccup of a busy target
//! last: hundreds of new connections overrun its queue of those not yet accepted, and a lost one is
//! tried again by the kernel after 1, 3 and 7 s, while others lie idle.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::load::connection::{Connection, Failure};
use crate::load::deadline::Slot;

/// The waiting requests of one worker.
#[derive(Debug, Default)]
pub(super) struct Line(RefCell<VecDeque<Rc<Place>>>);

/// One waiting request's place.
#[derive(Debug, Default)]
pub(super) struct Place(RefCell<Waiting>);

#[derive(Debug, Default)]
enum Waiting {
    #[default]
    Unseen,
    Asleep(Waker),
    Given(Result<Connection, Failure>),
    /// It has what it waited for, or does not want it any more.
    Over,
}

impl Line {
    /// A place at the end.
    pub(super) fn join(&self) -> Rc<Place> {
        let place = Rc::new(Place::default());
        let mut line = self.0.borrow_mut();
        // Those who gave up don't pile up.
        while line.front().is_some_and(|first| first.is_over()) {
            line.pop_front();
        }
        line.push_back(Rc::clone(&place));
        place
    }

    /// Gives a connection to whoever has waited longest; gives it back where nobody waits.
    pub(super) fn serve(&self, mut connection: Connection) -> Option<Connection> {
        let mut line = self.0.borrow_mut();
        while let Some(next) = line.pop_front() {
            match next.give(Ok(connection)) {
                Some(Ok(given)) => connection = given,
                None | Some(Err(_)) => return None,
            }
        }
        Some(connection)
    }
}

impl Place {
    fn is_over(&self) -> bool {
        matches!(*self.0.borrow(), Waiting::Over)
    }

    /// Gives a connection, or the reason why there is none; gives it back where nobody waits here.
    pub(super) fn give(
        &self,
        given: Result<Connection, Failure>,
    ) -> Option<Result<Connection, Failure>> {
        let mut waiting = self.0.borrow_mut();
        match std::mem::replace(&mut *waiting, Waiting::Over) {
            Waiting::Unseen => *waiting = Waiting::Given(given),
            Waiting::Asleep(waker) => {
                *waiting = Waiting::Given(given);
                waker.wake();
            }
            Waiting::Given(earlier) => {
                *waiting = Waiting::Given(earlier);
                return Some(given);
            }
            Waiting::Over => return Some(given),
        }
        None
    }

    /// Waits for a connection, unless the slot's deadline passes before.
    pub(super) async fn wait(&self, slot: &Slot) -> Result<Connection, Failure> {
        poll_fn(|cx| {
            let mut waiting = self.0.borrow_mut();
            match std::mem::replace(&mut *waiting, Waiting::Over) {
                Waiting::Given(given) => Poll::Ready(given),
                _ => match slot.poll_cut(cx) {
                    Poll::Ready(cut) => Poll::Ready(Err(Failure::Cut(cut))),
                    Poll::Pending => {
                        *waiting = Waiting::Asleep(cx.waker().clone());
                        Poll::Pending
                    }
                },
            }
        })
        .await
    }
}
