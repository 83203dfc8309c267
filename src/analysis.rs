//! What a run's events say: one pass over them makes the [`Findings`], which all reports render.
//!
//! Pure: no files, no tasks, no clock reads. Memory stays bounded over a day's run: what is needed
//! for pictures is kept in columns that double their width when there are too many, as extremes
//! and never as means; raw ticks go through the spike detector and are forgotten.

mod actions;
mod checklist;
mod clips;
mod collect;
mod columns;
pub mod compare;
mod concurrency;
mod confirm;
mod costs;
mod growth;
mod lives;
mod model;
mod phases;
mod reach;
mod recovery;
mod sizing;
mod spikes;
mod startup;
mod timed;
mod verdict;
mod vitals;
mod watch;

pub use actions::{ActionFinding, Actions};
pub use clips::{Clip, TickColumn};
pub use columns::{FlowColumn, LatencyColumn, MemoryColumn, Timeline, VitalColumn};
pub use concurrency::{
    Binding, Bound, Concurrency, Dependence, DependenceClass, Divergence, FailureKind,
    FailurePattern, LoadAxis, LoadLevel, Overload, Refusal, Saturation,
};
pub use confirm::{confirm, suspect};
pub use costs::{AtOnce, Costs, Estimate, StepCost};
pub use growth::{Driver, Growth, GrowthClass, ResourceGrowth};
pub use lives::LifeFinding;
pub use model::{
    Answer, AnswerTraffic, CheckItem, Composition, CustomTraffic, Findings, GeneratorAccount,
    Level, Memory, Phase, PhaseMemory, ProcessPeak, Reason, SamplerAccount, ScenarioTraffic, Sizes,
    StepName, StepTraffic, TimedRequests, Times, Traffic, Verdict, Vital, Watched, Written,
};

use std::borrow::Borrow;

use crate::clock::Anchor;
use crate::event::{Event, RunFacts};
use crate::plan::Outline;

pub use recovery::{Back, Recovery};
pub use sizing::{SizeEnding, SizePhase, SizeRun, SizeSearch, SizeTrial, Sizing};
pub use spikes::{Change, Confirmed, SpikeFinding, Suspect, WasIt};
pub use startup::{Spread, Startup, StartupSpread, StartupWatch, Trial};

pub use crate::judge::Measured;
pub(crate) use crate::judge::float;
pub(crate) use growth::median;
pub(crate) use verdict::value_cell;

/// Analyses a run: what was planned, where it ran, and everything that was seen.
#[must_use]
pub fn analyse(
    outline: &Outline,
    facts: &RunFacts,
    anchor: Anchor,
    events: impl IntoIterator<Item: Borrow<Event>>,
) -> Findings {
    let mut run = watch::Run::new(outline);
    for event in events {
        run.feed(event.borrow());
    }
    run.finish(facts, anchor)
}

#[cfg(test)]
pub(crate) mod synthetic;
#[cfg(test)]
mod tests;
