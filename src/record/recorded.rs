//! Events as they are read: together in a batch, which goes back to the thread that made it.
//!
//! A day's recording has some millions of events. Moved one by one, and given back to the allocator
//! by another thread than the one that took them from it, they cost as much as all the analysis.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::event::Event;

/// An event that was read.
#[derive(Clone)]
pub struct Recorded {
    batch: Arc<Vec<Event>>,
    place: usize,
}

impl Recorded {
    /// The event at a place of a batch, which there must be.
    pub(super) const fn new(batch: Arc<Vec<Event>>, place: usize) -> Self {
        Self { batch, place }
    }

    /// The event itself.
    #[must_use]
    pub fn into_event(self) -> Event {
        self.deref().clone()
    }
}

impl From<Event> for Recorded {
    fn from(event: Event) -> Self {
        Self::new(Arc::new(vec![event]), 0)
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.deref().fmt(f)
    }
}

impl Deref for Recorded {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.batch[self.place]
    }
}

impl Borrow<Event> for Recorded {
    fn borrow(&self) -> &Event {
        self
    }
}
