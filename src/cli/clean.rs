//! `highwater clean`: removes what a killed run left behind, and nothing of a live one.

use super::options::Clean;
use super::print::{note, print_all};
use super::{Exit, Fault};
use crate::runtime::{self, Leftover, Leftovers};

/// `highwater clean`
pub(super) fn clean(options: &Clean) -> Result<Exit, Fault> {
    let tokio = super::run::tokio_runtime()?;
    let found = tokio
        .block_on(runtime::leftovers())
        .map_err(|error| Fault::new(Exit::HostCannot, &error, error.help()))?;
    let chosen = chosen(options, &found)?;
    for leftover in &found.unknown {
        if !chosen.contains(leftover) {
            note(&unsure(leftover));
        }
    }
    if chosen.is_empty() {
        print_all("nothing is left behind")?;
        return Ok(Exit::Pass);
    }
    let verb = if options.dry_run { "would remove" } else { "removing" };
    let lines: Vec<String> = chosen.iter().map(|leftover| format!("{verb} {leftover}")).collect();
    // What can't be told is removed all the same.
    let printed = print_all(&lines.join("\n"));
    if !options.dry_run {
        tokio
            .block_on(runtime::remove_leftovers(&chosen))
            .map_err(|error| Fault::new(Exit::HostCannot, &error, error.help()))?;
    }
    printed.map(|()| Exit::Pass)
}

/// What is to be removed: of all dead runs, or of the one that was named.
fn chosen(options: &Clean, found: &Leftovers) -> Result<Vec<Leftover>, Fault> {
    let Some(run_id) = &options.run else { return Ok(found.dead.clone()) };
    if found.live.contains(run_id) {
        let text = format!("run {run_id} goes on");
        return Err(Fault::plain(Exit::BadUse, &text, "end it first: Ctrl-C stops and reports"));
    }
    let all = found.dead.iter().chain(&found.unknown);
    Ok(all.filter(|leftover| leftover.run_id() == run_id).cloned().collect())
}

fn unsure(leftover: &Leftover) -> String {
    let run_id = leftover.run_id();
    format!(
        "note: not touched: {leftover}; whether that run goes on can't be told from here. If it \
         does not: `highwater clean --run {run_id}`"
    )
}

/// Tells of what killed runs left, where there is anything.
pub(super) async fn tell_of_leftovers() {
    // A run that can't look for what others left is still a run.
    let Ok(found) = runtime::leftovers().await else { return };
    let dead: Vec<String> = found.dead.iter().map(ToString::to_string).collect();
    if !dead.is_empty() {
        let left = dead.join("; ");
        note(&format!(
            "note: killed runs left something behind, `highwater clean` removes it: {left}"
        ));
    }
}
