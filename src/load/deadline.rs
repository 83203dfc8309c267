//! Deadlines without a timer each: a sweep every few milliseconds looks at what is in flight.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::clock::Moment;

/// Why a wait was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// The deadline passed.
    Timeout,
    /// The engine stops.
    Abandoned,
}

/// The deadlines of one worker's tasks.
#[derive(Debug, Default, Clone)]
pub(super) struct Deadlines(Rc<RefCell<Table>>);

#[derive(Debug, Default)]
struct Table {
    entries: Vec<Entry>,
    free: Vec<usize>,
    abandoned: bool,
}

#[derive(Debug, Default)]
struct Entry {
    deadline: Option<Moment>,
    passed: bool,
    waker: Option<Waker>,
}

impl Deadlines {
    /// A place for one task's deadlines, given back when it is dropped.
    pub(super) fn slot(&self) -> Slot {
        let mut table = self.0.borrow_mut();
        let index = table.free.pop().unwrap_or_else(|| {
            table.entries.push(Entry::default());
            table.entries.len() - 1
        });
        Slot { table: Rc::clone(&self.0), index }
    }

    /// Wakes every task whose deadline has passed.
    pub(super) fn sweep(&self, now: Moment) {
        for entry in &mut self.0.borrow_mut().entries {
            if entry.deadline.is_some_and(|deadline| deadline <= now) {
                entry.deadline = None;
                entry.passed = true;
                if let Some(waker) = entry.waker.take() {
                    waker.wake();
                }
            }
        }
    }

    /// Cuts short whatever waits now or later.
    pub(super) fn abandon(&self) {
        let mut table = self.0.borrow_mut();
        table.abandoned = true;
        for entry in &mut table.entries {
            if let Some(waker) = entry.waker.take() {
                waker.wake();
            }
        }
    }
}

/// One task's deadline.
#[derive(Debug)]
pub(super) struct Slot {
    table: Rc<RefCell<Table>>,
    index: usize,
}

impl Slot {
    /// Sets the deadline anew.
    pub(super) fn arm(&self, deadline: Moment) {
        let entry = &mut self.table.borrow_mut().entries[self.index];
        entry.deadline = Some(deadline);
        entry.passed = false;
    }

    /// No deadline until it is armed again.
    pub(super) fn disarm(&self) {
        let entry = &mut self.table.borrow_mut().entries[self.index];
        entry.deadline = None;
        entry.passed = false;
    }

    /// Pending as long as the deadline has not passed; then the task will be woken.
    pub(super) fn poll_cut(&self, cx: &Context<'_>) -> Poll<Cut> {
        let table = &mut *self.table.borrow_mut();
        let entry = &mut table.entries[self.index];
        if table.abandoned {
            return Poll::Ready(Cut::Abandoned);
        }
        if entry.passed {
            return Poll::Ready(Cut::Timeout);
        }
        match &mut entry.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.table.borrow_mut();
        table.entries[self.index] = Entry::default();
        table.free.push(self.index);
    }
}
