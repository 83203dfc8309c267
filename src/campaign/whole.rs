//! The run as a whole: build, startup trials, phases, and everything cleared away.

use std::sync::Arc;

use super::startup::{self, Trialling};
use crate::clock::Clock;
use crate::event::{Finish, RunFacts};
use crate::plan::Plan;
use crate::record::{Header, LastWords, Recorder, RunDirectory};
use crate::runtime::{Built, Runtime};
use crate::session::{Breakdowns, Error, Observer, Parts, Session, StopSignal, Way};

/// What one run works with.
pub struct Job {
    /// What is to be done.
    pub plan: Arc<Plan>,
    /// Where the target runs.
    pub runtime: Arc<Runtime>,
    /// Who samples memory and sends traffic.
    pub way: Way,
    /// What the reader of the report should know of that.
    pub notes: Vec<String>,
    /// The target, built.
    pub built: Built,
    /// The run's id, which labels everything that it makes.
    pub run_id: String,
    /// Where the recording goes.
    pub directory: RunDirectory,
    /// The run's clock.
    pub clock: Clock,
    /// Asks the run to stop early.
    pub stop: StopSignal,
    /// Is shown each event.
    pub observer: Observer,
    /// Whether only the startup trials are run.
    pub startup_only: bool,
    /// How the recording ends where the run can't say so itself any more.
    pub last_words: LastWords,
    /// Tells of threads that broke down.
    pub breakdowns: Breakdowns,
}

/// Runs trials and phases and ends the recording. What the run made is still to be cleared away by
/// [`Runtime::clean_up`], whether this succeeds or not.
///
/// # Errors
/// When the runtime, the sampler, the load or the recording fails.
pub async fn run(job: Job) -> Result<Finish, Error> {
    let header =
        Header { anchor: job.clock.anchor(), outline: job.plan.outline(), facts: facts(&job) };
    let recorder = Recorder::begin(&job.directory, &header, &job.plan.budget, job.last_words)?;
    let notes = [job.runtime.notes(), job.notes].concat();
    let trialling = Trialling::default();
    let mut session = Session::new(Parts {
        plan: job.plan,
        runtime: job.runtime,
        way: job.way,
        built: job.built,
        clock: job.clock,
        recorder,
        stop: job.stop,
        breakdowns: job.breakdowns,
        observer: trialling.before(job.observer),
    });
    session.join_helper().await?;
    for note in notes {
        session.note(note).await?;
    }
    let finish = match Box::pin(steps(&mut session, &trialling, job.startup_only)).await {
        Ok(finish) => finish,
        Err(error) => {
            // What was measured so far is kept: the recording ends with the reason.
            let text = crate::runtime::explain(&error);
            // Whether that can be written or not, this error is the one to tell.
            let _ = session.finish(Finish::Failed { text }).await;
            return Err(error);
        }
    };
    session.finish(finish.clone()).await?;
    Ok(finish)
}

async fn steps(
    session: &mut Session,
    trialling: &Trialling,
    startup_only: bool,
) -> Result<Finish, Error> {
    if let Some(early) = startup::trials(session, trialling).await? {
        return Ok(early);
    }
    if startup_only || session.plan().phases.is_empty() {
        return Ok(Finish::Completed);
    }
    Box::pin(session.run_phases()).await
}

fn facts(job: &Job) -> RunFacts {
    let host = job.runtime.host_facts();
    RunFacts {
        run_id: job.run_id.clone(),
        highwater: env!("CARGO_PKG_VERSION").to_owned(),
        runtime: job.runtime.name().to_owned(),
        image: Some(job.built.label().to_owned()),
        release: job.built.release(),
        release_evidence: job.built.release_evidence().to_owned(),
        cgroup: job.runtime.cgroup_version().to_owned(),
        host,
        via: job.way.via().name().to_owned(),
    }
}
