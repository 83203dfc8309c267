//! The load engine: drives HTTP/1.1 traffic at a target on a schedule, and counts what happens.
//!
//! One worker per core, each a thread of its own with its own event loop, connections and counts;
//! arrivals and users are shared out among them by number, so that nothing is shared while
//! requests run. It promises that
//!
//! - open loads follow their schedule whatever the target does: latency counts from *due*, and
//!   what can't be sent is counted as unsent, so that always, once the engine has finished,
//!   `due = ended + unsent`;
//! - *sent* is when the first byte was written to the socket;
//! - a request counts in the phase in which it was due, however late it ends;
//! - memory is bounded: answers are read to the end and thrown away, bodies are cut out of shared
//!   pools, counts are histograms, and every queue has a bound.
//!
//! Workers hand their counts to a collector thread, which merges them and sends
//! [`crate::event::What::Flow`] every window and [`crate::event::What::Traffic`] every half second.
//! Only the collector ever waits for the receiver of events.
//!
//! When phases begin and end is the session's to say. Chance is fixed by the plan's seed and
//! doesn't depend on the number of workers.

mod body;
mod collect;
mod connection;
mod deadline;
mod descriptors;
mod draw;
mod drive;
mod error;
mod exchange;
mod feed;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod handing;
mod incoming;
mod iterations;
mod kept;
mod line;
mod pace;
mod payload;
mod pool;
mod reply;
mod run;
#[cfg(test)]
pub(crate) mod scripted;
mod session;
mod socket;
mod statuses;
mod step;
mod tally;
mod template;
mod users;
mod worker;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{Sender, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};

use crate::clock::{Clock, Moment};
use crate::event::{Event, GeneratorPath, GeneratorReport};
use crate::load::collect::Collector;
use crate::load::users::Quota;
use crate::load::worker::{Command, Setup};
use crate::plan::{Budget, LoadModel, PhasePlan, Plan, TrafficPlan};

pub use descriptors::allow_connections;
pub use error::{Error, SETUP};
pub use step::MakeError;

/// Handovers that may wait for the collector, for each worker.
const HANDOVERS: usize = Budget::HANDOVERS;

/// What is to be driven.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// Scenarios, timeout, seed and bounds.
    pub traffic: Arc<TrafficPlan>,
    /// The phases; [`Engine::begin_phase`] names them by index.
    pub phases: Arc<[PhasePlan]>,
    /// The length of a window of the timeline.
    pub window: Duration,
}

impl Job {
    /// The traffic of a whole plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        Self {
            traffic: Arc::new(plan.traffic.clone()),
            phases: plan.phases.clone().into(),
            window: plan.sampling.window,
        }
    }
}

/// Where the target listens, and the way there.
#[derive(Debug)]
pub struct Endpoint {
    /// Its address, as seen from `netns` where there is one.
    pub address: SocketAddr,
    /// What the `host` header says.
    pub host: String,
    /// The network namespace to connect in; none: the harness's own.
    pub netns: Option<OwnedFd>,
    /// What to report as the way there.
    pub path: GeneratorPath,
}

/// The load engine at work. Dropped unfinished it stops at once and counts no further.
#[derive(Debug)]
pub struct Engine {
    clock: Clock,
    workers: Vec<UnboundedSender<Command>>,
    threads: Vec<JoinHandle<()>>,
    spent: watch::Receiver<Vec<usize>>,
    report: oneshot::Receiver<GeneratorReport>,
}

impl Engine {
    /// Starts `workers` threads (at least one) and the collector. Windows come from now on,
    /// traffic when a phase begins.
    ///
    /// The clock must run by itself. Raises the process's soft limit of open files to the hard
    /// one. Waits for the threads to be up, some milliseconds.
    ///
    /// # Errors
    /// When a thread, its event loop or its network namespace can't be had, when there are more
    /// users than open files allowed, or when a step is no HTTP.
    pub fn start(
        job: &Job,
        endpoint: Endpoint,
        clock: Clock,
        workers: usize,
        events: Sender<Event>,
    ) -> Result<Self, Error> {
        let workers = workers.max(1);
        allow_connections(&job.phases, workers)?;
        // Windows begin at whole multiples of their length, as the sampler's do: what was in
        // flight in one can be set against the memory in the same time.
        let origin = clock.now().floor_to(job.window);
        let (handovers, collected) = sync_channel(HANDOVERS * workers);
        let (spent, spent_seen) = watch::channel(vec![0; job.phases.len()]);
        let (spent, endpoint) = (Arc::new(spent), Arc::new(endpoint));
        let common = step::Common::new(&job.traffic);
        let shared = Arc::default();
        let quotas = quotas(&job.phases);
        let (ready, is_ready) = sync_channel(workers);
        let (mut threads, mut commands, mut emptied) = (Vec::new(), Vec::new(), Vec::new());
        for worker in (0_u32..).take(workers) {
            let (command, commands_seen) = unbounded_channel();
            let (emptied_back, emptied_seen) = sync_channel(4);
            let setup = Setup {
                clock: clock.clone(),
                origin,
                window: job.window,
                worker,
                workers: u32::try_from(workers).unwrap_or(u32::MAX),
                traffic: Arc::clone(&job.traffic),
                phases: Arc::clone(&job.phases),
                common: common.clone(),
                endpoint: Arc::clone(&endpoint),
                quotas: quotas.clone(),
                commands: commands_seen,
                handovers: handovers.clone(),
                emptied: emptied_seen,
                spent: Arc::clone(&spent),
                shared: Arc::clone(&shared),
            };
            let ready = ready.clone();
            let name = format!("load-{worker}");
            threads.push(spawn(name, move || worker::run(setup, &ready))?);
            commands.push(command);
            emptied.push(emptied_back);
        }
        drop((handovers, ready));
        await_all(&is_ready, workers)?;
        let collector = Collector {
            clock: clock.clone(),
            origin,
            window: job.window,
            path: endpoint.path,
            emptied,
            // Where nobody listens any more, it is lost.
            tell: Box::new(move |event| drop(events.blocking_send(event))),
        };
        let (done, report) = oneshot::channel();
        threads.push(spawn("load-collect".to_owned(), move || {
            // Dropped engines don't listen.
            let _ = done.send(collector.run(&collected));
        })?);
        Ok(Self { clock, workers: commands, threads, spent: spent_seen, report })
    }

    /// Begins a phase: its loads start at `at`, which should lie a few milliseconds ahead.
    pub fn begin_phase(&self, phase: u16, at: Moment) {
        self.tell_all(|| Command::Begin { phase, at });
    }

    /// Ends a phase: nothing falls due in it from `at` on. What was due before is still sent and
    /// waited for, and counts in that phase; scenario runs are not gone on with, users go.
    pub fn end_phase(&self, phase: u16, at: Moment) {
        self.tell_all(|| Command::End { phase, at });
    }

    /// Waits until the loads of a phase are over: their time is up, or all their iterations are
    /// done. Requests of open loads may still be in flight.
    pub fn phase_spent(&self, phase: u16) -> impl Future<Output = ()> + Send + use<> {
        let workers = self.workers.len();
        let mut spent = self.spent.clone();
        async move {
            let is_spent = |spent: &Vec<usize>| {
                spent.get(usize::from(phase)).is_none_or(|count| *count >= workers)
            };
            // An error means that all workers are gone: nothing more will start.
            let _ = spent.wait_for(is_spent).await;
        }
    }

    /// Sends what comes from now on to another place, as after a restart of the target. Idle
    /// connections are given up; the `host` header stays as it was. Waits some microseconds.
    ///
    /// # Errors
    /// When the new network namespace can't be entered.
    pub fn set_endpoint(&self, endpoint: Endpoint) -> Result<(), Error> {
        let (reply, replies) = sync_channel(self.workers.len());
        let endpoint = Arc::new(endpoint);
        self.tell_all(|| Command::Endpoint(Arc::clone(&endpoint), reply.clone()));
        drop(reply);
        await_all(&replies, self.workers.len())
    }

    /// Ends all phases, waits for requests in flight for `drain` at most, counts the rest as
    /// unfinished, and sends the last windows and the account of the engine, which it also gives.
    ///
    /// Events must be received meanwhile: the collector waits for room.
    ///
    /// # Errors
    /// When a worker had panicked.
    pub async fn finish(self, drain: Duration) -> Result<GeneratorReport, Error> {
        self.finish_or_hurry(drain, std::future::pending()).await
    }

    /// Does what [`Self::finish`] does, and waits for no request any longer once `hurry` is over.
    ///
    /// # Errors
    /// When a worker had panicked.
    pub async fn finish_or_hurry(
        mut self,
        drain: Duration,
        hurry: impl Future<Output = ()>,
    ) -> Result<GeneratorReport, Error> {
        self.tell_all(|| Command::Finish { drain });
        let report = tokio::select! {
            report = &mut self.report => report,
            () = hurry => {
                self.tell_all(|| Command::Finish { drain: Duration::ZERO });
                (&mut self.report).await
            }
        };
        for thread in self.threads {
            thread.join().map_err(|_| Error::Panicked)?;
        }
        report.map_err(|_| Error::Panicked)
    }

    /// The time by the clock that the engine runs on.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            // A worker that is gone has panicked, which `finish` tells.
            let _ = worker.send(command());
        }
    }
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    std::thread::Builder::new().name(name).spawn(work).map_err(Error::Thread)
}

fn await_all(answers: &Receiver<Result<(), Error>>, count: usize) -> Result<(), Error> {
    (0..count).try_for_each(|_| answers.recv().unwrap_or(Err(Error::Panicked)))
}

/// The counters of loads with a bound of iterations, shared by all workers.
fn quotas(phases: &[PhasePlan]) -> Vec<Vec<Option<Quota>>> {
    let of_load = |model: &LoadModel| match model {
        LoadModel::Closed { iterations: Some(bound), .. } => Some(Quota::new(*bound)),
        _ => None,
    };
    let of_phase =
        |phase: &PhasePlan| phase.loads.iter().map(|load| of_load(&load.model)).collect();
    phases.iter().map(of_phase).collect()
}
