//! Raw ticks around the largest spikes, for a close look at each.
//!
//! Blocks of ticks come before the spikes that are found in them, so the last blocks are remembered
//! until then. What comes after a spike is taken in as it comes. All is bounded: the blocks that are
//! remembered, the spikes, and the columns of each.

use std::collections::VecDeque;
use std::time::Duration;

use super::columns::{Columns, Merge};
use crate::clock::Moment;
use crate::event::{LifeId, Spike, Tick, TickBlock};
use crate::units::Bytes;

/// Spikes that are shown closely, the largest.
const MOST: usize = 200;
/// Columns of one spike; beyond it neighbours become one.
const COLUMNS: usize = 240;
/// Blocks that are remembered: some ten seconds of a level that moves.
const BLOCKS: usize = 128;
/// What is shown before and after a spike: so much, or half of its length where that is more.
const AROUND: Duration = Duration::from_millis(60);

/// Raw ticks around a spike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// The tick at which the spike's peak was read.
    pub at: Moment,
    /// The ticks, oldest first; several in one where there are many.
    pub ticks: Vec<TickColumn>,
}

/// One or more raw ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickColumn {
    /// When the first was read.
    pub at: Moment,
    /// The least level.
    pub least: Bytes,
    /// The greatest level.
    pub most: Bytes,
    /// The highest charged peak between two ticks.
    pub peak: Bytes,
}

impl Merge for TickColumn {
    fn merge(&mut self, later: &Self) -> bool {
        self.least = self.least.min(later.least);
        self.most = self.most.max(later.most);
        self.peak = self.peak.max(later.peak);
        true
    }
}

/// Collects clips while events come in.
#[derive(Debug, Default)]
pub(super) struct Clips {
    /// The last blocks, with when each was told: after its last tick.
    recent: VecDeque<(Moment, TickBlock)>,
    /// By rise, the largest first.
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    life: LifeId,
    spike: Spike,
    from: Moment,
    to: Moment,
    columns: Columns<TickColumn>,
    over: bool,
}

impl Row {
    fn take(&mut self, block: &TickBlock) {
        if self.over || block.life != self.life {
            return;
        }
        for tick in block.unpack().unwrap_or_default() {
            if tick.at > self.to {
                self.over = true;
                return;
            }
            if tick.at >= self.from {
                self.columns.add(tick.at, column(&tick));
            }
        }
    }
}

fn column(tick: &Tick) -> TickColumn {
    TickColumn { at: tick.at, least: tick.usage, most: tick.usage, peak: tick.peak }
}

impl Clips {
    pub(super) fn ticks(&mut self, at: Moment, block: &TickBlock) {
        for row in self.rows.iter_mut().filter(|row| !row.over) {
            row.take(block);
        }
        if self.recent.len() == BLOCKS {
            self.recent.pop_front();
        }
        self.recent.push_back((at, block.clone()));
    }

    /// A spike that has ended; its ticks are among those that came last.
    pub(super) fn spike(&mut self, life: LifeId, spike: &Spike, tick_ns: u64) {
        let place = self.rows.partition_point(|row| row.spike.rise >= spike.rise);
        if place >= MOST {
            return;
        }
        let around = AROUND.max(spike.end.since(spike.begin) / 2);
        let mut row = Row {
            life,
            spike: *spike,
            from: spike.begin.before(around),
            to: spike.end + around,
            columns: Columns::new(COLUMNS, tick_ns.max(1)),
            over: false,
        };
        let from = row.from;
        for (_, block) in self.recent.iter().filter(|(told, _)| *told >= from) {
            row.take(block);
        }
        self.rows.insert(place, row);
        self.rows.truncate(MOST);
    }

    /// The target's own program begins: what was found before is the container runtime's.
    pub(super) fn exec(&mut self, life: LifeId) {
        self.rows.retain(|row| row.life != life);
    }

    pub(super) fn finish(self) -> Vec<Clip> {
        let rows = self.rows.into_iter();
        let clips = rows.map(|row| Clip { at: row.spike.at, ticks: row.columns.into_rows() });
        let mut clips: Vec<Clip> = clips.filter(|clip| !clip.ticks.is_empty()).collect();
        clips.sort_by_key(|clip| clip.at);
        clips
    }
}
