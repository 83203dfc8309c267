//! What is usual: windows without a spike, by how much traffic they had.

use std::collections::BTreeMap;

use crate::analysis::float;
use crate::event::{FlowWindow, StepFlow};

/// So many windows of equal load tell what is usual at that load; of fewer, all do.
const LEAST_WINDOWS: u64 = 20;

/// Levels of one step in a window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Levels {
    /// The most in flight.
    pub(super) in_flight: f64,
    /// Requests that were sent.
    pub(super) starts: f64,
    /// Bytes of the bodies sent.
    pub(super) sent: f64,
    /// Bytes of the answers that ended.
    pub(super) received: f64,
}

impl Levels {
    pub(super) fn of(step: &StepFlow) -> Self {
        Self {
            in_flight: f64::from(step.in_flight_max),
            starts: f64::from(step.sent),
            sent: float(step.body_bytes_sent),
            received: float(step.bytes_received),
        }
    }

    /// Both, each level by itself.
    pub(super) fn with(self, other: Self, both: fn(f64, f64) -> f64) -> Self {
        Self {
            in_flight: both(self.in_flight, other.in_flight),
            starts: both(self.starts, other.starts),
            sent: both(self.sent, other.sent),
            received: both(self.received, other.received),
        }
    }
}

/// Sums over windows of about equal load.
#[derive(Debug, Default)]
pub(super) struct Sums {
    windows: u64,
    steps: BTreeMap<u16, Levels>,
}

impl Sums {
    fn add(&mut self, window: &FlowWindow) {
        self.windows += 1;
        for step in &window.steps {
            let sum = self.steps.entry(step.step).or_default();
            *sum = sum.with(Levels::of(step), |a, b| a + b);
        }
    }

    /// A step's mean levels.
    pub(super) fn mean(&self, step: u16) -> Levels {
        let sum = self.steps.get(&step).copied().unwrap_or_default();
        let windows = float(self.windows.max(1));
        let each = Levels { in_flight: windows, starts: windows, sent: windows, received: windows };
        sum.with(each, |sum, windows| sum / windows)
    }
}

/// Collects windows without a spike.
#[derive(Debug, Default)]
pub(super) struct Usual {
    /// By the load's power of two, so there are 65 at most.
    by_load: BTreeMap<u32, Sums>,
    /// Of all windows; summed up at the end.
    all: Sums,
}

impl Usual {
    pub(super) fn add(&mut self, window: &FlowWindow) {
        self.by_load.entry(bits(load(window))).or_default().add(window);
    }

    /// Takes in that no further window comes.
    pub(super) fn close(&mut self) {
        for sums in self.by_load.values() {
            self.all.windows += sums.windows;
            for (step, levels) in &sums.steps {
                let sum = self.all.steps.entry(*step).or_default();
                *sum = sum.with(*levels, |a, b| a + b);
            }
        }
    }

    /// What is usual at a load; none where too little was calm.
    pub(super) fn at(&self, load: u64) -> Option<&Sums> {
        let equal = self.by_load.get(&bits(load));
        let equal = equal.filter(|sums| sums.windows >= LEAST_WINDOWS);
        equal.or_else(|| Some(&self.all).filter(|sums| sums.windows >= LEAST_WINDOWS))
    }
}

/// Requests that were sent in a window.
pub(super) fn load(window: &FlowWindow) -> u64 {
    window.steps.iter().map(|step| u64::from(step.sent)).sum()
}

const fn bits(load: u64) -> u32 {
    u64::BITS - load.leading_zeros()
}
