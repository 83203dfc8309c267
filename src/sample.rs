//! The sampler: one thread on absolute time that reads a container's memory at every tick.
//!
//! It promises that every tick is read or counted as missed, that every charged peak is in the
//! record with its true height where the kernel lets peaks be reset, and that memory and queue
//! stay bounded. Ticks leave as windows, and packed, a block a window; which blocks are recorded is
//! decided later. Slow measures come from a second thread
//! ([`VitalsSampler`]), so that a walk through `/proc` can't delay a tick.
//!
//! What the levels mean is in [`crate::event::MemoryWindow`].

mod exec;
mod files;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod outbox;
mod pace;
mod processes;
mod program;
mod sockets;
mod thread;
mod vitals;
mod window;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Sender;

use crate::cgroup::Place;
use crate::clock::Clock;
use crate::event::{Event, LifeId};
use crate::plan::SamplingPlan;
use crate::units::Limit;

pub use vitals::{VitalsJob, VitalsSampler};
pub use window::WindowBuilder;

/// What one sampler is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SamplerJob {
    /// The life that it samples.
    pub life: LifeId,
    /// Where the container lives or will live.
    pub place: Place,
    /// Tick and window.
    pub sampling: SamplingPlan,
    /// Whether peaks may be reset. Others who read the same cgroup notice a reset on v1.
    pub may_reset: bool,
    /// The container's memory limit.
    pub limit: Limit,
}

/// A sampler at work.
#[derive(Debug)]
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Why a sampler can't work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The thread can't be made.
    #[error("failed to start the sampler's thread")]
    Thread(#[source] std::io::Error),
    /// The container's memory can't be read.
    #[error("failed to read memory in `{path}`")]
    Open {
        /// The cgroup's directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The thread panicked.
    #[error("the sampler stopped working")]
    Panicked,
}

impl Sampler {
    /// Starts sampling. Where the place has cgroups of our own, they are read from now on, before
    /// the container starts; else as soon as the container's own appears.
    ///
    /// # Errors
    /// When our own cgroups can't be read, or no thread can be made.
    pub fn start(job: SamplerJob, clock: Clock, events: Sender<Event>) -> Result<Self, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let work = thread::Work::new(job, clock, events, Arc::clone(&stop))?;
        let thread = std::thread::Builder::new()
            .name("sampler".to_owned())
            .spawn(move || work.run())
            .map_err(Error::Thread)?;
        Ok(Self { stop, thread })
    }

    /// Stops at the next tick, after sending what is left and the account of itself.
    ///
    /// # Errors
    /// When the thread had panicked.
    pub fn stop(self) -> Result<(), Error> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().map_err(|_| Error::Panicked)
    }
}
