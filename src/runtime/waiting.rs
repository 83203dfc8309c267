//! The wait for a target that starts.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Error, Runtime, Target, ready};
use crate::clock::{Clock, Moment};
use crate::event::GeneratorPath;
use crate::plan::{ReadyCheck, ReadyPlan};
use crate::units::Human;

/// What a readiness check made elsewhere will find: the moment at which the target proved ready,
/// or what the last try found.
pub type Proof = BoxFuture<'static, Result<Moment, String>>;

impl Runtime {
    /// Waits until the target is ready, by `proof` where the check is made elsewhere. Gives the
    /// moment at which it proved so.
    ///
    /// # Errors
    /// When it ends before, or is not ready in time.
    pub async fn wait_ready(
        &self,
        target: &Target,
        plan: &ReadyPlan,
        clock: &Clock,
        proof: Option<Proof>,
    ) -> Result<Moment, Error> {
        let mut proving = match proof {
            Some(proof) => Proving::Elsewhere(proof),
            None if target.lost && !matches!(plan.check, ReadyCheck::Log { .. }) => Proving::Never,
            None => Proving::Here(ready::Probing::start(ready::Probe {
                check: plan.check.clone(),
                address: target.address,
                netns: target.netns(),
                proxied: target.path == GeneratorPath::Published,
                output: Some(target.output.clone()),
                clock: clock.clone(),
            })?),
        };
        let mut ended = target.ended.clone();
        let has_ended = async {
            match ended.wait_for(Option::is_some).await {
                Ok(exit) => *exit,
                Err(_) => None,
            }
        };
        let within = plan.within + proving.grace();
        let not_ready = |check: String| Error::NotReady {
            within: Human(plan.within).to_string(),
            check,
            log: target.output.quote(),
        };
        let waited = tokio::select! {
            found = proving.ready() => Some(found),
            exit = has_ended => {
                if let Some(text) = target.blame() {
                    return Err(Error::Taken { text });
                }
                let code = exit.and_then(|exit| exit.code);
                let code = code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
                return Err(Error::EndedEarly { code, log: target.output.quote() });
            }
            () = tokio::time::sleep(within) => None,
        };
        waited.unwrap_or_else(|| Err(proving.last_try())).map_err(not_ready)
    }
}

/// Who checks readiness.
enum Proving {
    Here(ready::Probing),
    Elsewhere(Proof),
    /// Nobody: there is no network to look into.
    Never,
}

impl Proving {
    async fn ready(&mut self) -> Result<Moment, String> {
        match self {
            Self::Here(probing) => Ok(probing.ready().await),
            Self::Elsewhere(proof) => proof.await,
            Self::Never => std::future::pending().await,
        }
    }

    fn last_try(&self) -> String {
        match self {
            Self::Here(probing) => probing.last_try(),
            Self::Elsewhere(_) => "its helper container did not answer".to_owned(),
            Self::Never => "its network was gone before it could be entered".to_owned(),
        }
    }

    /// Time for an answer from elsewhere to arrive.
    const fn grace(&self) -> Duration {
        match self {
            Self::Here(_) | Self::Never => Duration::ZERO,
            Self::Elsewhere(_) => Duration::from_secs(2),
        }
    }
}
