//! Startup trials: each a fresh container, watched from before its first instruction until it has
//! settled.

use crate::event::{Finish, LifeId, LifeRole};
use crate::runtime;
use crate::session::{Error, Opened, Session};
use crate::units::Limit;

/// How one trial ended.
enum Trial {
    Settled,
    Killed,
    Failed(String),
    Stopped,
}

/// Runs the plan's trials. Gives the reason to end the run where there is one: a trial killed
/// under its limit (which is then repeated without one), a target that does not become ready, or
/// being asked to stop.
///
/// # Errors
/// When the runtime, the sampler or the recording fails.
pub async fn trials(session: &mut Session) -> Result<Option<Finish>, Error> {
    let plan = session.plan();
    for number in 1..=plan.startup.trials {
        match trial(session, LifeRole::Trial { number }, plan.target.limits.memory).await? {
            Trial::Settled => {}
            Trial::Killed => {
                return Ok(Some(repeat_without_limit(session, number).await?));
            }
            Trial::Failed(text) => return Ok(Some(Finish::TargetFailed { text })),
            Trial::Stopped => return Ok(Some(Finish::Interrupted)),
        }
    }
    Ok(None)
}

/// What would it have needed? The killed trial once more, with nothing in its way.
async fn repeat_without_limit(session: &mut Session, number: u32) -> Result<Finish, Error> {
    match trial(session, LifeRole::Unlimited { number }, Limit::Unlimited).await? {
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
