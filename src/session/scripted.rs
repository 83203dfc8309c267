//! Hands that follow a script, in the place of those that sample and send: for tests of whole runs.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::clock::{Clock, Moment};
use crate::event::{Event, LifeId};
use crate::load::Job;
use crate::runtime::Proof;
use crate::sample::SamplerJob;

/// Whoever samples memory and sends traffic.
pub trait Hands: Debug + Send + Sync {
    /// Finds out when a life is ready.
    fn proof(&self, life: LifeId) -> Proof;
    /// Samples a life.
    fn sample(&self, job: SamplerJob, clock: Clock, events: Sender<Event>) -> Sampling;
    /// Sends traffic.
    fn drive(&self, job: Job, clock: Clock, events: Sender<Event>) -> Box<dyn Traffic>;
}

/// Memory that is being sampled by a task, until that is told to stop.
#[derive(Debug)]
pub struct Sampling {
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<()>,
}

impl Sampling {
    pub(super) async fn stop(self) {
        // Gone where it has stopped by itself.
        let _ = self.stop.send(());
        self.task.await.expect("a scripted sampler does not panic");
    }
}

/// Traffic that is being sent.
pub trait Traffic: Debug + Send + Sync {
    /// As [`crate::load::Engine::begin_phase`].
    fn begin_phase(&self, phase: u16, at: Moment);
    /// As [`crate::load::Engine::end_phase`].
    fn end_phase(&self, phase: u16, at: Moment);
    /// Sends what comes from now on to another life.
    fn redirect(&self, life: LifeId);
    /// As [`crate::load::Engine::finish`].
    fn finish(self: Box<Self>, drain: Duration) -> BoxFuture<'static, ()>;
}
