//! `highwater clean`: removes what a killed run left behind, and nothing of a live one.

use super::options::Clean;
use super::print::print_all;
use super::{Exit, Fault};
use crate::runtime;

/// `highwater clean`
pub(super) fn clean(options: &Clean) -> Result<Exit, Fault> {
    let tokio = super::run::tokio_runtime()?;
    let found = tokio
        .block_on(runtime::leftovers())
        .map_err(|error| Fault::new(Exit::HostCannot, &error, error.help()))?;
    if found.is_empty() {
        print_all("nothing is left behind")?;
        return Ok(Exit::Pass);
    }
    let verb = if options.dry_run { "would remove" } else { "removing" };
    let lines: Vec<String> = found.iter().map(|leftover| format!("{verb} {leftover}")).collect();
    // What can't be told is removed all the same.
    let printed = print_all(&lines.join("\n"));
    if !options.dry_run {
        tokio
            .block_on(runtime::remove_leftovers(&found))
            .map_err(|error| Fault::new(Exit::HostCannot, &error, error.help()))?;
    }
    printed.map(|()| Exit::Pass)
}
