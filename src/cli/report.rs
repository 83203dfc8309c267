//! `highwater report`: reads a recording back, analyses it, renders it. A fresh run ends here too.

use std::io::IsTerminal;
use std::path::Path;

use super::baseline::{Held, held};
use super::options::{FailOn, Output, Report};
use super::print::{note, print_all};
use super::{Exit, Fault};
use crate::analysis::{self, Findings, Verdict};
use crate::campaign::size::Search;
use crate::clock::Moment;
use crate::event::{Event, What};
use crate::record::{Error, Recorded, Recording, RunDirectory};
use crate::report::{self, Renderer, RunJson, Summary};
use crate::runtime;

/// So many parts that can't be read are told one by one.
const MOST_WARNINGS: usize = 10;

/// `highwater report DIR`
pub(super) fn report(options: &Report) -> Result<Exit, Fault> {
    options.output.machines.check()?;
    if Search::is_in(&options.directory) {
        let to = options.out.as_ref().unwrap_or(&options.directory);
        make(to)?;
        return super::size::report_again(&options.directory, to, &options.output);
    }
    let directory = RunDirectory::open(&options.directory)?;
    let held = held(&options.against)?;
    let Some(out) = &options.out else {
        return match rendered(&directory, directory.path(), &options.output, held)? {
            (exit, Err(error)) if is_read_only(&error) => {
                let place = directory.path().display();
                note(&format!(
                    "note: no reports are written, for `{place}` is read-only: `--out DIR` puts \
                     them elsewhere"
                ));
                Ok(exit)
            }
            (exit, written) => written.map(|()| exit).map_err(|error| unwritten(&error)),
        };
    };
    make(out)?;
    let (exit, written) = rendered(&directory, out, &options.output, held)?;
    written.map(|()| exit).map_err(|error| unwritten(&error))
}

fn make(place: &Path) -> Result<(), Fault> {
    std::fs::create_dir_all(place).map_err(|error| {
        let text = format!("failed to make the directory `{}`: {error}", place.display());
        Fault::plain(Exit::HostCannot, &text, "choose a writable place with `--out DIR`")
    })
}

/// Analyses a run's recording, holds it against a baseline where there is one, writes its reports,
/// and prints the verdict.
pub(super) fn render(
    directory: &RunDirectory,
    output: &Output,
    held: Option<Held<'_>>,
) -> Result<Exit, Fault> {
    let (exit, written) = rendered(directory, directory.path(), output, held)?;
    written.map(|()| exit).map_err(|error| unwritten(&error))
}

/// The same, with the reports in a place of their own. What was found is printed, whether they
/// could be written or not.
fn rendered(
    directory: &RunDirectory,
    place: &Path,
    output: &Output,
    held: Option<Held<'_>>,
) -> Result<(Exit, Result<(), report::Error>), Fault> {
    let mut findings = analyse(directory)?;
    let not_updated = held.and_then(|held| held.judge(directory, &mut findings));
    let written = report::write_all(place, &findings).map(drop);
    let exit = print_found(&findings, Some(place).filter(|_| written.is_ok()), output)?;
    let exit = not_updated.filter(|_| exit == Exit::Pass).unwrap_or(exit);
    Ok((exit, written))
}

/// Whether a report could not be written because nobody may write there.
fn is_read_only(error: &report::Error) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.source.kind(), PermissionDenied | ReadOnlyFilesystem)
}

fn unwritten(error: &report::Error) -> Fault {
    Fault::new(Exit::HostCannot, error, Some("is there room, and may you write there?".to_owned()))
}

/// Prints findings whose reports are in a directory, and gives the exit code that goes with them.
pub(super) fn print_rendered(
    findings: &Findings,
    directory: &Path,
    output: &Output,
) -> Result<Exit, Fault> {
    print_found(findings, Some(directory), output)
}

fn print_found(
    findings: &Findings,
    directory: Option<&Path>,
    output: &Output,
) -> Result<Exit, Fault> {
    if output.json {
        print_json(findings)?;
    } else {
        let color = !output.no_color && std::io::stdout().is_terminal();
        let summary = Summary { color, directory };
        print_all(summary.render(findings).trim_end())?;
    }
    give(findings, output)?;
    Ok(exit_of(findings, output))
}

/// Gives the findings to the programs that were named, after what was printed.
pub(super) fn give(findings: &Findings, output: &Output) -> Result<(), Fault> {
    output.machines.give(findings, output.fail_on == FailOn::Warn)
}

/// Analyses a run's recording and writes its reports.
pub(super) fn write_reports(directory: &RunDirectory) -> Result<Findings, Fault> {
    let findings = analyse(directory)?;
    write_all(directory, &findings)?;
    Ok(findings)
}

fn write_all(directory: &RunDirectory, findings: &Findings) -> Result<(), Fault> {
    report::write_all(directory.path(), findings).map(drop).map_err(|error| unwritten(&error))
}

/// The exit code that belongs to the findings.
pub(super) fn exit_of(findings: &Findings, output: &Output) -> Exit {
    let exit = Exit::from_code(findings.exit_code);
    let strict = output.fail_on == FailOn::Warn && findings.verdict == Verdict::Warn;
    if exit == Exit::Pass && strict { Exit::Fail } else { exit }
}

/// Prints `run.json` on standard output.
pub(super) fn print_json(findings: &Findings) -> Result<(), Fault> {
    print_all(RunJson.render(findings).trim_end())
}

/// The folder of a run's directory in which its suspect's replay was recorded.
pub(super) const CONFIRM: &str = "confirm";

/// Sets the greatest spike against its suspect's replay, where there was one.
fn confirm(directory: &RunDirectory, findings: &mut Findings) {
    let Ok(within) = RunDirectory::open(&directory.path().join(CONFIRM)) else { return };
    let alone = match read(&within) {
        Ok(alone) => alone,
        Err(fault) => return fault.print(),
    };
    if let Some(spike) = findings.spikes.first_mut() {
        spike.confirmed = analysis::confirm(spike, &alone);
    }
}

/// Analyses a run's recording, and sets it against its suspect's replay.
pub(super) fn analyse(directory: &RunDirectory) -> Result<Findings, Fault> {
    let mut findings = read(directory)?;
    confirm(directory, &mut findings);
    Ok(findings)
}

fn read(directory: &RunDirectory) -> Result<Findings, Fault> {
    let recording = Recording::open(directory)?;
    let header = recording.header();
    let mut damage = Vec::new();
    let events =
        recording.events().map(|event| event.unwrap_or_else(|error| lost(error, &mut damage)));
    let mut findings = analysis::analyse(&header.outline, &header.facts, header.anchor, events);
    let cut_off = findings.reasons.iter_mut().find(|reason| reason.id == "cut_off");
    if let Some(reason) = cut_off
        && runtime::goes_on(&header.facts.run_id)
    {
        let so_far = reason.at.unwrap_or_default().as_secs_f64();
        reason.text = format!("the run still goes on: what follows covers it up to {so_far:.1} s");
    }
    for error in damage.iter().take(MOST_WARNINGS) {
        // What can be read is still reported.
        note(&format!("warning: {error}"));
    }
    Ok(findings)
}

/// What stands in the place of events that can't be read.
fn lost(error: Error, damage: &mut Vec<Error>) -> Recorded {
    let (from, until) = match error {
        Error::Lost { from, until, .. } => (from, until),
        _ => (Moment::START, None),
    };
    damage.push(error);
    Event { at: from, what: What::Lost { from, until } }.into()
}
