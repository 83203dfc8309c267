//! Runs of scenarios, and users, as one worker counts them.

use std::collections::BTreeMap;

use crate::event::Histogram;

/// Runs of one scenario in one phase. Memory is kept from window to window.
#[derive(Debug, Default)]
pub(super) struct Iterations {
    pub(super) begun: u64,
    pub(super) ended: u64,
    pub(super) dropped: u64,
    pub(super) duration_us: Histogram,
}

impl Iterations {
    pub(super) const fn is_empty(&self) -> bool {
        self.begun == 0 && self.ended == 0 && self.dropped == 0
    }

    /// Takes in another's sums.
    pub(super) fn add(&mut self, other: &Self) {
        self.begun += other.begun;
        self.ended += other.ended;
        self.dropped += other.dropped;
        if other.ended > 0 {
            self.duration_us.add(&other.duration_us);
        }
    }

    /// Forgets everything and keeps the memory.
    pub(super) fn clear(&mut self) {
        (self.begun, self.ended, self.dropped) = (0, 0, 0);
        self.duration_us.clear();
    }
}

/// Users of one phase in a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Present {
    /// The most at once.
    pub(super) most: u32,
    /// At its end.
    pub(super) last: u32,
}

/// Users in a window, by phase; a phase without any is left out.
#[derive(Debug, Default)]
pub(super) struct Users(BTreeMap<u16, Present>);

impl Users {
    /// Cuts a worker's present users, by phase; those who stay are there in the next window too.
    pub(super) fn cut(present: &mut [Present]) -> Self {
        let mut users = BTreeMap::new();
        for (phase, present) in (0_u16..).zip(present) {
            if present.most > 0 {
                users.insert(phase, *present);
            }
            present.most = present.last;
        }
        Self(users)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, Present)> {
        self.0.iter().map(|(phase, present)| (*phase, *present))
    }

    /// Takes in the window after this one.
    pub(super) fn follow(&mut self, later: &Self) {
        for present in self.0.values_mut() {
            present.last = 0;
        }
        for (phase, later) in later.iter() {
            let mine = self.0.entry(phase).or_default();
            *mine = Present { most: mine.most.max(later.most), last: later.last };
        }
    }

    /// Takes in another worker's window of the same time.
    pub(super) fn beside(&mut self, other: &Self) {
        for (phase, other) in other.iter() {
            let mine = self.0.entry(phase).or_default();
            mine.most += other.most;
            mine.last += other.last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_who_stay_are_in_the_next_window_and_phases_without_any_in_none() {
        let mut present = [Present { most: 3, last: 2 }, Present::default()];
        let mut first = Users::cut(&mut present);
        let second = Users::cut(&mut present);
        assert_eq!(second.iter().collect::<Vec<_>>(), [(0, Present { most: 2, last: 2 })]);
        first.beside(&second);
        assert_eq!(first.iter().collect::<Vec<_>>(), [(0, Present { most: 5, last: 4 })]);
        first.follow(&second);
        assert_eq!(first.iter().collect::<Vec<_>>(), [(0, Present { most: 5, last: 2 })]);
        first.follow(&Users::default());
        assert_eq!(first.iter().collect::<Vec<_>>(), [(0, Present { most: 5, last: 0 })]);
    }
}
