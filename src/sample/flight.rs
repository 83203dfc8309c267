//! The flight recorder: which raw ticks are worth keeping.
//!
//! In startup all are. Otherwise the ticks of a window are kept when memory makes an excursion in
//! it, with the window before (the level it rose from) and the one after (the level it fell to).

use crate::event::{LifeId, Tick, TickBlock};
use crate::units::Bytes;

/// Decides, window by window, which raw ticks leave as blocks.
#[derive(Debug)]
pub struct FlightRecorder {
    life: LifeId,
    keep_all: bool,
    excursion: Bytes,
    budget: u64,
    current: Vec<Tick>,
    before: Vec<Tick>,
    post_roll: bool,
}

/// Packed size that a tick is reckoned with against the budget.
const PACKED_TICK: u64 = 6;

impl FlightRecorder {
    /// A recorder that keeps all ticks, or only those around rises of at least `excursion`, up to
    /// about `budget` packed bytes in all.
    #[must_use]
    pub fn new(life: LifeId, keep_all: bool, excursion: Bytes, budget: Bytes) -> Self {
        let (current, before) = (Vec::new(), Vec::new());
        let budget = budget.get();
        Self { life, keep_all, excursion, budget, current, before, post_roll: false }
    }

    /// Takes in one tick of the present window.
    pub fn tick(&mut self, tick: Tick) {
        self.current.push(tick);
    }

    /// Ends the present window: gives the block that is worth keeping, if any.
    pub fn end_window(&mut self) -> Option<TickBlock> {
        let exciting = self.is_exciting();
        let keep = self.keep_all || exciting || self.post_roll;
        let block = if keep { self.take_block(exciting) } else { None };
        self.post_roll = exciting;
        std::mem::swap(&mut self.before, &mut self.current);
        self.current.clear();
        if keep {
            self.before.clear();
        }
        block
    }

    fn is_exciting(&self) -> bool {
        let ticks = || self.before.iter().chain(&self.current);
        let floor = ticks().map(|tick| tick.usage).min().unwrap_or_default();
        let top = self.current.iter().map(|tick| tick.peak).max().unwrap_or_default();
        top - floor >= self.excursion
    }

    /// Packs the present window; with the one before where that was not kept and is wanted.
    fn take_block(&mut self, with_pre_roll: bool) -> Option<TickBlock> {
        let mut ticks = if with_pre_roll { std::mem::take(&mut self.before) } else { Vec::new() };
        ticks.extend_from_slice(&self.current);
        let cost = ticks.len() as u64 * PACKED_TICK;
        if ticks.is_empty() || cost > self.budget {
            return None;
        }
        self.budget -= cost;
        Some(TickBlock::pack(self.life, &ticks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;

    fn window(recorder: &mut FlightRecorder, number: u64, peak_kib: u64) -> Vec<u64> {
        for n in 0..10 {
            let at = Moment::from_millis(number * 10 + n);
            let usage = Bytes::from_kib(1000);
            let peak = if n == 5 { Bytes::from_kib(peak_kib) } else { usage };
            recorder.tick(Tick { at, usage, peak });
        }
        let block = recorder.end_window();
        let ticks = block.map(|block| block.unpack().unwrap()).unwrap_or_default();
        ticks.iter().map(|tick| tick.at.as_nanos() / 1_000_000).collect()
    }

    #[test]
    fn keeps_the_windows_around_an_excursion() {
        let mut recorder =
            FlightRecorder::new(LifeId(0), false, Bytes::from_kib(512), Bytes::from_mib(1));
        assert!(window(&mut recorder, 0, 1100).is_empty());
        assert!(window(&mut recorder, 1, 1100).is_empty());
        assert_eq!(window(&mut recorder, 2, 3000), (10..30).collect::<Vec<_>>());
        assert_eq!(window(&mut recorder, 3, 1000), (30..40).collect::<Vec<_>>());
        assert!(window(&mut recorder, 4, 1000).is_empty());
        assert_eq!(window(&mut recorder, 5, 3000), (40..60).collect::<Vec<_>>());
        assert_eq!(window(&mut recorder, 6, 3000), (60..70).collect::<Vec<_>>());
    }

    #[test]
    fn keeps_everything_when_told_and_nothing_beyond_the_budget() {
        let mut recorder =
            FlightRecorder::new(LifeId(0), true, Bytes::from_kib(512), Bytes::new(100));
        assert_eq!(window(&mut recorder, 0, 1000).len(), 10);
        assert!(window(&mut recorder, 1, 1000).is_empty());
    }
}
