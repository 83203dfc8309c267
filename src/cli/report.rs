//! `highwater report`: reads a recording back, analyses it, renders it. A fresh run ends here too.

use std::io::IsTerminal;
use std::path::Path;

use super::baseline::{Held, held};
use super::options::{FailOn, Output, Report};
use super::print::{note, print_all};
use super::{Exit, Fault};
use crate::analysis::{self, Findings, Verdict};
use crate::campaign::size::Search;
use crate::record::{Recording, RunDirectory};
use crate::report::{self, Renderer, RunJson, Summary};

/// `highwater report DIR`
pub(super) fn report(options: &Report) -> Result<Exit, Fault> {
    options.output.machines.check()?;
    if Search::is_in(&options.directory) {
        return super::size::report_again(&options.directory, &options.output);
    }
    let directory = RunDirectory::open(&options.directory)?;
    let held = held(&options.against)?;
    render(&directory, &options.output, held)
}

/// Analyses a run's recording, holds it against a baseline where there is one, writes its reports,
/// and prints the verdict.
pub(super) fn render(
    directory: &RunDirectory,
    output: &Output,
    held: Option<Held<'_>>,
) -> Result<Exit, Fault> {
    let mut findings = analyse(directory)?;
    if let Some(held) = held {
        held.judge(directory, &mut findings);
    }
    write_all(directory, &findings)?;
    print_rendered(&findings, directory.path(), output)
}

/// Prints findings whose reports are in a directory, and gives the exit code that goes with them.
pub(super) fn print_rendered(
    findings: &Findings,
    directory: &Path,
    output: &Output,
) -> Result<Exit, Fault> {
    if output.json {
        print_json(findings)?;
    } else {
        let color = !output.no_color && std::io::stdout().is_terminal();
        let summary = Summary { color, directory: Some(directory) };
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
    report::write_all(directory.path(), findings).map(drop).map_err(|error| {
        Fault::new(Exit::HostCannot, &error, Some("is the directory writable?".to_owned()))
    })
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
    let mut damage = None;
    let events = recording.events().map_while(|event| match event {
        Ok(event) => Some(event),
        Err(error) => {
            damage = Some(error);
            None
        }
    });
    let findings = analysis::analyse(&header.outline, &header.facts, header.anchor, events);
    if let Some(error) = damage {
        // What comes before the damage is still reported.
        note(&format!("warning: {error}; the report covers what comes before"));
    }
    Ok(findings)
}
