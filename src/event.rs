//! The one vocabulary of a run: what producers send, recordings hold and the analysis reads.
//!
//! An [`Event`] is something that was seen at a [`Moment`]. Each container the run starts is a
//! [`LifeId`]: counters and levels belong to one life and are never compared across two. Ticks of
//! the sampler do not travel one by one: a [`MemoryWindow`] sums them up, and a [`TickBlock`]
//! holds them packed where they are worth keeping.
//!
//! Serialised forms grow only by addition: new variants, and new fields with a default. What there
//! is much of is written as a row without names, and read with names too.

mod actions;
mod answers;
#[cfg(test)]
pub(crate) mod arbitrary;
mod facts;
mod histogram;
mod life;
mod memory;
mod printed;
mod requests;
mod spikes;
mod ticks;
mod traffic;
pub(crate) mod varint;
mod vitals;
mod watch;

use serde::{Deserialize, Serialize};
use serde_tuple::Serialize_tuple;

use crate::clock::Moment;
use crate::units::Bytes;

pub use actions::{ActionBegan, ActionEnded, ActionKind};
pub use answers::{Answers, IterationWindow, Status, StatusWindow, UserWindow};
pub use facts::{HarnessReport, HostFacts, ProgramFacts, ReleaseBuild, RunFacts, temporary_prefix};
pub use histogram::{Histogram, HistogramError};
pub use life::{Evidence, Exit, LifeId, LifeRole, LifeStart, OomKill, TrialsDone, TrialsEnd};
pub use memory::{
    Band, KernelBands, KernelParts, MemoryWindow, PeakMethod, SamplerReport, SamplingStart,
    SchedulingClass,
};
pub use printed::{PrintedLine, PrintedNear};
pub use requests::{Request, RequestBlock};
pub use spikes::{Spike, SpikeBatch};
pub use ticks::{Tick, TickBlock, UnpackError};
pub use traffic::{
    Counts, ErrorKind, FlowWindow, GeneratorPath, GeneratorReport, MetricSums, StepFlow,
    TrafficWindow,
};
pub use vitals::{BlockIo, IoSource, Others, ProcessRss, Sockets, TaskIo, Vitals};
pub use watch::{WatchKind, WatchStart};

/// Something that was seen at a moment. Written as a row.
#[derive(Debug, Clone, PartialEq, Serialize_tuple, Deserialize)]
pub struct Event {
    /// When it was seen; for windows, when they ended.
    pub at: Moment,
    /// What was seen.
    pub what: What,
}

/// The kinds of things that are seen.
#[expect(
    clippy::large_enum_variant,
    reason = "windows of memory are most of what there is; a box for each would only cost"
)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// A container is about to be started; its cgroup may exist already.
    Life(LifeStart),
    /// How the sampler reads this life's memory.
    Sampling(SamplingStart),
    /// The runtime reports the container as started.
    Started {
        /// The life that started.
        life: LifeId,
    },
    /// The target's own program was seen for the first time, in place of the runtime's.
    Exec {
        /// The life that it belongs to.
        life: LifeId,
        /// The charged peak before, which is the runtime's own share.
        before_exec: Bytes,
    },
    /// The target answered its readiness check.
    Ready {
        /// The life that became ready.
        life: LifeId,
    },
    /// The wait for the target to settle after becoming ready is over.
    Settled {
        /// The life that settled.
        life: LifeId,
    },
    /// The container ended.
    Ended {
        /// The life that ended.
        life: LifeId,
        /// How it ended.
        exit: Exit,
        /// The charged peak of the whole life as its outer cgroup kept it, where one did.
        lifetime_peak: Option<Bytes>,
    },
    /// The kernel killed a process of the container for want of memory.
    OomKill(OomKill),
    /// A phase of the scenario begins. Indexes count from 0 in the plan's order.
    PhaseBegin {
        /// Which phase.
        phase: u16,
    },
    /// A phase of the scenario ended: nothing further falls due in it.
    PhaseEnd {
        /// Which phase.
        phase: u16,
    },
    /// Requests in flight after the last phase were waited for, up to the drain time.
    Drained,
    /// A window of memory samples.
    Memory(MemoryWindow),
    /// Raw ticks: all, as the sampler sends them; in a recording those worth keeping.
    Ticks(TickBlock),
    /// Spikes that ended.
    Spikes(SpikeBatch),
    /// Slow measures of the target: CPU, pressure, I/O, sockets, processes.
    Vitals(Box<Vitals>),
    /// What the target's largest process turned out to be.
    Program(ProgramFacts),
    /// All that the target printed in a life, known at its end.
    Logged {
        /// The life that printed it.
        life: LifeId,
        /// Bytes of standard output and standard error.
        bytes: Bytes,
    },
    /// What a container's writable layer held at the end of a life.
    Layer {
        /// The life that wrote it.
        life: LifeId,
        /// Its size, as the engine counts.
        bytes: Bytes,
    },
    /// Traffic in a window of the timeline, over all workers.
    Flow(FlowWindow),
    /// Traffic of one step, as counted in the phase in which it was due.
    Traffic(Box<TrafficWindow>),
    /// The sampler of a life stopped and gives account of itself.
    SamplerDone(SamplerReport),
    /// The load generator stopped and gives account of itself.
    GeneratorDone(GeneratorReport),
    /// Something the reader of the report should know.
    Note {
        /// A sentence.
        text: String,
    },
    /// The run is over. A recording without this event was cut off.
    Finished(Finish),
    /// The life of this id is of something that is only watched.
    Watched(WatchStart),
    /// Runs of one scenario.
    Iterations(IterationWindow),
    /// Users who were there.
    Users(UserWindow),
    /// No further startup trial follows.
    TrialsDone(TrialsDone),
    /// Requests one by one, where they were to be kept.
    Requests(RequestBlock),
    /// What a recording held here can't be read any more. Told by the reader; never recorded.
    Lost {
        /// From when on, at the latest, it is lost.
        from: Moment,
        /// Until when; to the recording's end where nothing readable follows.
        until: Option<Moment>,
    },
    /// Something that was to be done at a set time begins.
    ActionBegan(ActionBegan),
    /// It is done.
    ActionEnded(ActionEnded),
    /// What the harness's own process has used; told as the run ends.
    Harness(HarnessReport),
    /// What the target printed around a spike.
    Printed(PrintedNear),
}

impl What {
    /// The life that it belongs to, where it is of one.
    #[must_use]
    pub const fn life(&self) -> Option<LifeId> {
        match self {
            Self::Life(start) => Some(start.life),
            Self::Sampling(start) => Some(start.life),
            Self::Started { life }
            | Self::Exec { life, .. }
            | Self::Ready { life }
            | Self::Settled { life }
            | Self::Ended { life, .. }
            | Self::Layer { life, .. } => Some(*life),
            Self::OomKill(kill) => Some(kill.life),
            Self::Memory(window) => Some(window.life),
            Self::Ticks(block) => Some(block.life),
            Self::Spikes(batch) => Some(batch.life),
            Self::Printed(near) => Some(near.life),
            Self::Vitals(vitals) => vitals.life,
            Self::SamplerDone(report) => Some(report.life),
            Self::Watched(start) => Some(start.life),
            _ => None,
        }
    }
}

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// Everything planned was done.
    Completed,
    /// A signal asked it to stop.
    Interrupted,
    /// The target was OOM-killed and the scenario says to stop then.
    OomKilled,
    /// The target ended by itself in mid-run.
    TargetEnded,
    /// The target did not build, start or become ready.
    TargetFailed {
        /// The whole explanation, with the last log lines.
        text: String,
    },
    /// A threshold with `abort` was broken.
    Aborted {
        /// The rule as written.
        rule: String,
    },
    /// The harness itself could not go on.
    Failed {
        /// The whole explanation.
        text: String,
    },
}
