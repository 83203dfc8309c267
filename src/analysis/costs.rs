//! What a request costs: memory while it is in flight, and memory that it leaves behind.
//!
//! The mean memory of a window is linear in the mean number of requests in flight, however short
//! they are. So windows of memory are set against what was in flight in the same time, and one
//! non-negative regression over all steps tells what one request of each holds. What memory does
//! beside that (a leak, a cache that fills up, buffers that are kept) is allowed for: each stretch
//! of [`blocks::ROWS`] windows has a level and a slope of its own. Intervals come from leaving out
//! one stretch at a time, for neighbouring windows are no independent witnesses.
//!
//! In flight is what the client sees: from the first byte sent to the last byte read. What is told is
//! what a request holds while it holds it, which is what adds up when many come at once; [`lag`]
//! tells how much of its time that is.

mod blocks;
mod fit;
mod lag;
mod left;
mod linear;
mod pairs;
mod refuse;
mod tops;

use std::collections::BTreeMap;

use blocks::Blocks;
use pairs::Pairs;

use super::float;
use super::growth::Growth;
use super::model::StepName;
use crate::clock::Moment;
use crate::event::FlowWindow;
use crate::judge::Placed;
use crate::plan::Outline;
use crate::units::{Bytes, Limit};

/// What one request costs, by step.
#[derive(Debug, Clone, PartialEq)]
pub struct Costs {
    /// The steps that were sent, in the plan's order.
    pub steps: Vec<StepCost>,
    /// Memory with nothing in flight, towards the run's end.
    pub floor: Option<Bytes>,
    /// Windows of memory that could be set against traffic.
    pub windows: u64,
    /// Why nothing can be said of any step, and what would help.
    pub refused: Option<String>,
}

/// What one request of a step costs.
#[derive(Debug, Clone, PartialEq)]
pub struct StepCost {
    /// Which step.
    pub name: StepName,
    /// Bytes held while one is in flight; none where that can't be told.
    pub in_flight: Option<Estimate>,
    /// Why not, and what would help.
    pub why: Option<String>,
    /// Bytes that stay behind for good, a request; none where nothing stays, or where it can't be
    /// told whose it is.
    pub left: Option<Estimate>,
    /// Where something is lost and it can't be told whose it is: why, and what would help.
    pub left_why: Option<String>,
    /// Windows in which the step was in flight.
    pub samples: u64,
    /// So many at once fill the room between the floor and the limit, with nothing else in flight.
    pub at_once: Option<AtOnce>,
    /// Its mean memory as a share of that of all steps, 0 to 1.
    pub share: Option<f64>,
}

/// A value and the interval in which it lies with 95 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The most likely.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// How many requests fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtOnce {
    /// By the estimate.
    pub likely: u64,
    /// By the upper end of its interval.
    pub at_least: u64,
}

impl Costs {
    /// What one request of a step holds, by the step's index in the plan.
    #[must_use]
    pub fn by_step(&self, outline: &Outline) -> BTreeMap<u16, Estimate> {
        let index = |name: &StepName| {
            let found = outline.steps.iter().position(|step| name.is_of(step));
            found.and_then(|index| u16::try_from(index).ok())
        };
        self.steps.iter().filter_map(|row| Some((index(&row.name)?, row.in_flight?))).collect()
    }
}

/// Collects windows while events come in.
#[derive(Debug, Default)]
pub(super) struct Costing {
    pairs: Pairs,
    blocks: Blocks,
    any_traffic: bool,
    any_means: bool,
}

impl Costing {
    /// Takes in a window of a main life.
    pub(super) fn memory(&mut self, placed: &Placed<'_>) {
        let window = placed.window;
        let (Some(mean), true) = (window.held_mean, placed.phase.is_some()) else { return };
        self.any_means = true;
        let top = window.unreclaimable_high.max;
        self.pairs.memory(window.life, (window.start, placed.at), (mean, top), &mut self.blocks);
    }

    pub(super) fn flow(&mut self, at: Moment, window: &FlowWindow) {
        self.any_traffic |= window.counts.sent > 0;
        self.pairs.flow(at, window, &mut self.blocks);
    }

    /// What requests cost; none where there was no traffic or no memory to set against it.
    pub(super) fn finish(
        mut self,
        outline: &Outline,
        limit: Limit,
        growth: Option<&Growth>,
    ) -> Option<Costs> {
        if !self.any_traffic {
            return None;
        }
        self.pairs.finish(&mut self.blocks);
        let blocks = self.blocks.finish();
        if !self.any_means || blocks.rows == 0 {
            let refused = Some(refuse::no_means().to_owned());
            return Some(Costs { steps: Vec::new(), floor: None, windows: 0, refused });
        }
        let fit = fit::fit(&blocks);
        let floor = fit.as_ref().and_then(|fit| blocks.floor(&fit.means));
        let room = limit.bytes().zip(floor).map(|(limit, floor)| limit.as_f64() - floor);
        let names = |index: usize| {
            let step = outline.steps.get(usize::from(blocks.steps[index]))?;
            Some(StepName::of(step))
        };
        let left = left::left(&blocks, fit.as_ref(), growth, &names);
        let mut rows: Vec<(u16, StepCost)> = Vec::new();
        for (index, step) in blocks.steps.iter().enumerate() {
            let Some(name) = names(index) else { continue };
            let answer = match &fit {
                Some(fit) => refuse::judge(fit, index, &blocks, &names),
                None => Err(refuse::too_short(&blocks)),
            };
            let in_flight = answer.as_ref().ok().copied();
            let left = left.get(index).cloned().flatten().transpose();
            let cost = StepCost {
                name,
                in_flight,
                why: answer.err(),
                left_why: left.as_ref().err().cloned(),
                left: left.ok().flatten(),
                samples: blocks.samples[index],
                at_once: room.zip(in_flight).and_then(|(room, each)| at_once(room, &each)),
                share: fit.as_ref().and_then(|fit| fit.share(index, &blocks)),
            };
            rows.push((*step, cost));
        }
        rows.sort_by_key(|row| row.0);
        let steps: Vec<StepCost> = rows.into_iter().map(|row| row.1).collect();
        let refused = refuse::all(&steps, blocks.beyond);
        let floor = floor.map(whole);
        Some(Costs { steps, floor, windows: blocks.rows, refused })
    }
}

/// How many of this cost fit into the room; none where one costs nothing that could be measured.
fn at_once(room: f64, each: &Estimate) -> Option<AtOnce> {
    let fit = |bytes: f64| whole(room.max(0.0) / bytes).get();
    (each.value >= 1.0).then(|| AtOnce { likely: fit(each.value), at_least: fit(each.high) })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at 0")]
fn whole(bytes: f64) -> Bytes {
    Bytes::new(bytes as u64)
}

fn count(number: usize) -> f64 {
    float(number as u64)
}

#[cfg(test)]
mod tests;
