//! `highwater clean`: removes what a killed run left behind, and nothing of a live one.

use super::options::Clean;
use super::{Exit, Fault};
use crate::runtime;

/// `highwater clean`
pub(super) fn clean(options: &Clean) -> Result<Exit, Fault> {
    let tokio = super::run::tokio_runtime()?;
    let found = tokio
        .block_on(runtime::leftovers())
        .map_err(|error| Fault::new(Exit::HostCannot, &error, error.help()))?;
    if found.is_empty() {
        println!("nothing is left behind");
        return Ok(Exit::Pass);
    }
    for leftover in &found {
        println!("{} {leftover}", if options.dry_run { "would remove" } else { "removing" });
    }
    if !options.dry_run {
        tokio
            .block_on(runtime::remove_leftovers(&found))
            .map_err(|error| Fault::new(Exit::HostCannot, &error, error.help()))?;
    }
    Ok(Exit::Pass)
}
