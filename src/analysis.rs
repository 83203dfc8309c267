//! What a run's events say: one pass over them makes the [`Findings`], which all reports render.
//!
//! Pure: no files, no tasks, no clock reads. Memory stays bounded over a day's run: what is needed
//! for pictures is kept in columns that double their width when there are too many, as extremes
//! and never as means; raw ticks go through the spike detector and are forgotten.

mod checklist;
mod collect;
mod columns;
mod model;
mod phases;
mod spikes;
mod startup;
mod verdict;

pub use columns::{FlowColumn, LatencyColumn, MemoryColumn, Timeline};
pub use model::{
    Answer, CheckItem, Findings, GeneratorAccount, Level, Memory, Phase, PhaseMemory, Reason,
    SamplerAccount, SpikeFinding, Startup, StepTraffic, Suspect, Times, Traffic, Trial, Verdict,
    Vital,
};

use crate::clock::Anchor;
use crate::event::{Event, RunFacts};
use crate::plan::Outline;

pub use crate::judge::Measured;
pub(crate) use crate::judge::float;
pub(crate) use verdict::value_text;

/// Analyses a run: what was planned, where it ran, and everything that was seen.
#[must_use]
pub fn analyse(
    outline: &Outline,
    facts: &RunFacts,
    anchor: Anchor,
    events: impl IntoIterator<Item = Event>,
) -> Findings {
    let mut collector = collect::Collector::new(outline);
    for event in events {
        collector.feed(&event);
    }
    collector.finish(facts, anchor)
}

#[cfg(test)]
pub(crate) mod synthetic;
#[cfg(test)]
mod tests;
