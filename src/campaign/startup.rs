//! Startup trials: each a fresh container, watched from before its first instruction until it has
//! settled.

use std::sync::{Arc, Mutex, PoisonError};

use crate::analysis::StartupWatch;
use crate::event::{Event, Finish, LifeId, LifeRole, TrialsDone, TrialsEnd};
use crate::runtime;
use crate::session::{Error, Observer, Opened, Session};
use crate::units::Limit;

/// How one trial ended.
enum Trial {
    Settled,
    Killed,
    Failed(String),
    Stopped,
}

/// Looks at the trials' events as they come in.
#[derive(Debug, Clone, Default)]
pub struct Trialling(Arc<Mutex<Option<StartupWatch>>>);

impl Trialling {
    /// An observer that shows each event to this first, and then to `next`.
    pub(super) fn before(&self, mut next: Observer) -> Observer {
        let watch = Arc::clone(&self.0);
        *watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(StartupWatch::default());
        Box::new(move |event: &Event| {
            if let Some(watch) = &mut *watch.lock().unwrap_or_else(PoisonError::into_inner) {
                watch.feed(event);
            }
            next(event);
        })
    }

    fn enough(&self) -> bool {
        let watch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watch.as_ref().is_some_and(StartupWatch::enough)
    }

    /// The phases' events tell nothing of startups.
    fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Runs the plan's trials, or fewer where the plan allows that and they come out alike. Gives the
/// reason to end the run where there is one: a trial killed under its limit (which is then repeated
/// without one), a target that does not become ready, or being asked to stop.
///
/// # Errors
/// When the runtime, the sampler or the recording fails.
pub async fn trials(session: &mut Session, trialling: &Trialling) -> Result<Option<Finish>, Error> {
    let plan = session.plan();
    let planned = plan.startup.trials;
    let (mut end, mut finish) = (TrialsEnd::Complete, None);
    for number in 1..=planned {
        match Box::pin(trial(session, LifeRole::Trial { number }, plan.target.limits.memory))
            .await?
        {
            Trial::Settled if number == planned => {}
            Trial::Settled if plan.startup.stop_early && trialling.enough() => {
                end = TrialsEnd::Steady;
                break;
            }
            Trial::Settled => continue,
            Trial::Killed => {
                finish = Some(Box::pin(repeat_without_limit(session, number)).await?);
                end = TrialsEnd::Killed;
            }
            Trial::Failed(text) => {
                (end, finish) = (TrialsEnd::Failed, Some(Finish::TargetFailed { text }));
            }
            Trial::Stopped => {
                (end, finish) = (TrialsEnd::Interrupted, Some(Finish::Interrupted));
            }
        }
        break;
    }
    trialling.end();
    if planned > 0 {
        session.trials_done(TrialsDone { planned, end }).await?;
    }
    Ok(finish)
}

/// What would it have needed? The killed trial once more, with nothing in its way.
async fn repeat_without_limit(session: &mut Session, number: u32) -> Result<Finish, Error> {
    match Box::pin(trial(session, LifeRole::Unlimited { number }, Limit::Unlimited)).await? {
        Trial::Settled | Trial::Killed => {}
        Trial::Failed(text) => {
            session.note(format!("without a limit, trial {number} failed: {text}")).await?;
        }
        Trial::Stopped => return Ok(Finish::Interrupted),
    }
    Ok(Finish::OomKilled)
}

async fn trial(session: &mut Session, role: LifeRole, limit: Limit) -> Result<Trial, Error> {
    match session.open(role, limit).await? {
        Opened::Ready(life) => {
            let id = life.id;
            let settled = session.settle(&life).await?;
            let ended = session.end_of(id);
            session.close(life).await?;
            Ok(judge(session, id, settled, ended))
        }
        Opened::Killed(life) => {
            session.close(life).await?;
            Ok(Trial::Killed)
        }
        Opened::Failed(life, error) => {
            session.close(life).await?;
            Ok(Trial::Failed(runtime::explain(&error)))
        }
        Opened::Stopped(life) => {
            session.close(life).await?;
            Ok(Trial::Stopped)
        }
    }
}

fn judge(session: &Session, id: LifeId, settled: bool, ended: Option<crate::event::Exit>) -> Trial {
    if session.is_killed(id) {
        Trial::Killed
    } else if settled {
        Trial::Settled
    } else if let Some(exit) = ended {
        let code = exit.code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
        Trial::Failed(format!("the target ended with exit code {code} while it was to settle"))
    } else {
        Trial::Stopped
    }
}
