//! Windows of memory with the traffic of the same time.

use std::collections::VecDeque;

use super::blocks::{Blocks, Row, StepRow};
use crate::clock::Moment;
use crate::event::{FlowWindow, LifeId, StepFlow};
use crate::judge::float;
use crate::units::Bytes;

/// Windows that wait for what belongs to them; beyond it the oldest goes without.
const WAITING: usize = 256;
/// Traffic has to be known for so much of a window of memory.
const LEAST_COVERED: f64 = 0.98;
/// So little of a window of traffic says nothing of its most in flight.
const SLIVER: f64 = 0.1;
/// A mean in flight above the most in flight by more than this share was handed over late: it is
/// of a longer time.
const LATE_SHARE: f64 = 0.1;

/// Pairs windows as they come, in whatever order.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    memory: VecDeque<Memory>,
    flow: VecDeque<Flow>,
    /// Room of a window that went, for the next one.
    spare: Option<Vec<StepFlow>>,
}

#[derive(Debug)]
struct Memory {
    life: LifeId,
    start: Moment,
    end: Moment,
    mean: Bytes,
    top: Bytes,
}

#[derive(Debug)]
struct Flow {
    start: Moment,
    end: Moment,
    /// Each step's own; none where the window doesn't tell.
    steps: Option<Vec<StepFlow>>,
}

impl Pairs {
    pub(super) fn memory(
        &mut self,
        life: LifeId,
        (start, end): (Moment, Moment),
        (mean, top): (Bytes, Bytes),
        blocks: &mut Blocks,
    ) {
        if self.memory.len() == WAITING {
            self.memory.pop_front();
        }
        self.memory.push_back(Memory { life, start, end, mean, top });
        self.pair(false, blocks);
    }

    pub(super) fn flow(&mut self, end: Moment, window: &FlowWindow, blocks: &mut Blocks) {
        if self.flow.len() == WAITING {
            self.flow.pop_front();
        }
        let start = window.start;
        let steps = is_whole(window, end).then(|| {
            let mut steps = self.spare.take().unwrap_or_default();
            steps.clone_from(&window.steps);
            steps
        });
        self.flow.push_back(Flow { start, end, steps });
        self.pair(false, blocks);
    }

    pub(super) fn finish(&mut self, blocks: &mut Blocks) {
        self.pair(true, blocks);
    }

    /// Pairs all windows of memory whose traffic is known.
    fn pair(&mut self, all: bool, blocks: &mut Blocks) {
        let known = self.flow.back().map(|flow| flow.end);
        while let Some(memory) = self.memory.front() {
            if !(all || known.is_some_and(|known| known >= memory.end)) {
                return;
            }
            while self.flow.front().is_some_and(|flow| flow.end <= memory.start) {
                self.spare = self.flow.pop_front().and_then(|flow| flow.steps);
            }
            if let Some(row) = row(memory, &self.flow) {
                blocks.add(row);
            }
            self.memory.pop_front();
        }
    }
}

/// Whether a window of traffic tells the time in flight, and of itself only.
fn is_whole(window: &FlowWindow, end: Moment) -> bool {
    let us = end.since(window.start).as_secs_f64() * 1e6;
    window.steps.iter().all(|step| {
        let most = f64::from(step.in_flight_max) * us * (1.0 + LATE_SHARE);
        step.in_flight_us.is_some_and(|sum| float(sum) <= most)
    })
}

/// The traffic over a window of memory, by the time that windows have in common.
fn row(memory: &Memory, flow: &VecDeque<Flow>) -> Option<Row> {
    let length = memory.end.since(memory.start).as_secs_f64();
    let mut row = Row {
        life: memory.life,
        start: memory.start,
        end: memory.end,
        bytes: memory.mean.as_f64(),
        top: memory.top.as_f64(),
        steps: Vec::with_capacity(
            flow.front().and_then(|row| row.steps.as_ref()).map_or(0, Vec::len),
        ),
    };
    let mut covered = 0.0;
    for window in flow.iter().take_while(|window| window.start < memory.end) {
        let both = window.end.min(memory.end).since(window.start.max(memory.start)).as_secs_f64();
        let own = window.end.since(window.start).as_secs_f64();
        if both <= 0.0 || own <= 0.0 {
            continue;
        }
        covered += both;
        let share = both / own;
        for step in window.steps.as_ref()? {
            let index = row.steps.iter().position(|mine| mine.step == step.step);
            let index = index.unwrap_or_else(|| {
                let step = step.step;
                row.steps.push(StepRow { step, in_flight: 0.0, most: 0.0, ended: 0.0 });
                row.steps.len() - 1
            });
            let mine = &mut row.steps[index];
            let seconds = float(step.in_flight_us.unwrap_or(0)) / 1e6;
            mine.in_flight += share * seconds / length;
            mine.ended += share * f64::from(step.ended);
            // Windows end a tick apart: a sliver of the next one is no part of this.
            if share > SLIVER {
                mine.most = mine.most.max(f64::from(step.in_flight_max));
            }
        }
    }
    (length > 0.0 && covered >= LEAST_COVERED * length).then_some(row)
}
