//! How memory went, in as many pieces as a screen can show.
//!
//! Every piece keeps the greatest of what it sums up, never a mean: a spike of one window is as
//! high after a night as in its second.

use std::collections::VecDeque;

use crate::event::MemoryWindow;
use crate::plan::Budget;
use crate::units::Bytes;

/// Pieces of the whole: twice the columns of the widest screens.
const WHOLE_MAX: usize = Budget::SCREEN_POINTS[0];
/// Windows of the recent past: a minute, at the usual length.
const RECENT_MAX: usize = Budget::SCREEN_POINTS[1];

/// The greatest values in a piece of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Piece {
    /// Unreclaimable memory, its upper bound.
    pub(super) unreclaimable: Bytes,
    /// Charged memory at ticks.
    pub(super) usage: Bytes,
    /// The charged peak.
    pub(super) peak: Bytes,
    /// Whether the kernel killed something.
    pub(super) killed: bool,
}

impl Piece {
    const fn of(window: &MemoryWindow) -> Self {
        Self {
            unreclaimable: window.unreclaimable_high.max,
            usage: window.usage.max,
            peak: window.peak,
            killed: false,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.unreclaimable = self.unreclaimable.max(other.unreclaimable);
        self.usage = self.usage.max(other.usage);
        self.peak = self.peak.max(other.peak);
        self.killed |= other.killed;
    }
}

/// Memory since the beginning, and of late.
#[derive(Debug, Clone)]
pub(super) struct History {
    whole: Vec<Piece>,
    /// Windows in each piece of the whole, and in the last one so far.
    windows: u32,
    filled: u32,
    recent: VecDeque<Piece>,
}

impl History {
    pub(super) fn new() -> Self {
        Self { whole: Vec::new(), windows: 1, filled: 0, recent: VecDeque::new() }
    }

    /// Takes in the next window.
    pub(super) fn add(&mut self, window: &MemoryWindow) {
        let piece = Piece::of(window);
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(piece);
        match self.whole.last_mut().filter(|_| self.filled < self.windows) {
            Some(last) => {
                last.merge(&piece);
                self.filled += 1;
            }
            None => {
                if self.whole.len() == WHOLE_MAX {
                    self.fold();
                }
                self.whole.push(piece);
                self.filled = 1;
            }
        }
    }

    /// Marks the last piece as one in which something was killed.
    pub(super) fn kill(&mut self) {
        for last in self.whole.last_mut().into_iter().chain(self.recent.back_mut()) {
            last.killed = true;
        }
    }

    /// Halves the number of pieces.
    fn fold(&mut self) {
        let folded = self.whole.chunks(2).map(|pair| {
            let mut piece = pair[0];
            pair[1..].iter().for_each(|other| piece.merge(other));
            piece
        });
        self.whole = folded.collect();
        self.windows = self.windows.saturating_mul(2);
    }

    /// How many windows are shown: of the whole, or of late.
    pub(super) fn windows(&self, recent: bool) -> u64 {
        if recent {
            return self.recent.len() as u64;
        }
        let full = (self.whole.len() as u64).saturating_sub(1) * u64::from(self.windows);
        full + u64::from(self.filled)
    }

    /// At most `columns` pieces, the oldest first.
    pub(super) fn columns(&self, recent: bool, columns: usize) -> Vec<Piece> {
        let all: Vec<Piece> =
            if recent { self.recent.iter().copied().collect() } else { self.whole.clone() };
        if all.len() <= columns || columns == 0 {
            return all;
        }
        (0..columns)
            .map(|column| {
                let from = column * all.len() / columns;
                let to = ((column + 1) * all.len() / columns).max(from + 1);
                let mut piece = all[from];
                all[from + 1..to].iter().for_each(|other| piece.merge(other));
                piece
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::window;
    use super::*;

    #[test]
    fn a_spike_is_as_high_after_a_day_and_the_pieces_stay_few() {
        let mut history = History::new();
        for number in 0..864_000_u64 {
            let peak = if number == 4321 { 200 } else { 20 };
            history.add(&window(number * 100, 10, peak));
        }
        assert!(history.whole.len() <= WHOLE_MAX && history.recent.len() == RECENT_MAX);
        assert_eq!(history.windows(false), 864_000);
        for columns in [1, 7, 80, 300, 5000] {
            let shown = history.columns(false, columns);
            assert!(shown.len() <= columns.max(1));
            let peak = shown.iter().map(|piece| piece.peak).max();
            assert_eq!(peak, Some(Bytes::from_mib(200)), "{columns} columns");
            assert_eq!(shown.iter().filter(|piece| piece.peak > Bytes::from_mib(20)).count(), 1);
        }
    }
}
