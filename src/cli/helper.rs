//! `highwater helper`: what runs in a container of our own, at the other end of
//! [`crate::helper::Helper`].

use super::options::Helper;
use super::{Exit, Fault};
use crate::cgroup::{self, Hierarchies};
use crate::helper;

/// `highwater helper`
pub(super) fn helper(options: &Helper) -> Result<Exit, Fault> {
    let failed = |error: &dyn std::error::Error| Fault::new(Exit::HostCannot, error, None);
    if let Some(run_id) = &options.remove {
        let hierarchies = Hierarchies::discover().map_err(|error| failed(&error))?;
        cgroup::remove_run(&hierarchies, run_id).map_err(|error| failed(&error))?;
        return Ok(Exit::Pass);
    }
    let tokio = super::run::tokio_runtime()?;
    let served = tokio.block_on(helper::serve(tokio::io::stdin(), tokio::io::stdout()));
    // Standard input is read by a thread that can't be ended: it is not waited for.
    tokio.shutdown_background();
    served.map_err(|error| failed(&error))?;
    Ok(Exit::Pass)
}
