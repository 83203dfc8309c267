//! `highwater compare`: two sides of runs, or runs against a baseline.

use std::io::{IsTerminal, Write as _};
use std::path::Path;

use super::options::Compare;
use super::print::{note, print_all};
use super::report::analyse;
use super::{Exit, Fault};
use crate::analysis::Verdict;
use crate::analysis::compare::{
    self, Baseline, BaselineError, Comparison, Refusal, Run, RunDocument, Settings, Shares,
};
use crate::record::RunDirectory;
use crate::report::{
    ComparisonJunit, ComparisonMarkdown, ComparisonText, Renderer, RunJson, comparison_json,
    write_text,
};

const RUN_JSON: &str = "run.json";
/// A `run.json` is some kilobytes for each phase; more than this is something else.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// `highwater compare`
pub(super) fn compare(options: &Compare) -> Result<Exit, Fault> {
    let settings = Settings { shares: shares(&options.share)?, anyway: options.anyway };
    // Before runs are analysed, which takes a while.
    let stored = options.baseline.as_deref().map(|path| stored(path, options.update_baseline));
    let stored = stored.transpose()?.flatten();
    let read = |paths: &[std::path::PathBuf]| -> Result<Vec<Run>, Fault> {
        paths.iter().map(|path| read_run(path, options.output.quiet)).collect()
    };
    on_one_side_only(options)?;
    let (base, new) = (read(&options.base)?, read(&options.new)?);
    let Some(path) = &options.baseline else {
        let comparison = compare::compare(&base, &new, &settings).map_err(|row| refused(&row))?;
        print_comparison(&comparison, options)?;
        return Ok(exit_of(&comparison));
    };
    let comparison = match &stored {
        None => None,
        Some(stored) => match stored.compare(&new, &settings) {
            // An update of other conditions begins anew.
            Err(Refusal::Unlike { .. } | Refusal::NothingInCommon) if options.update_baseline => {
                None
            }
            compared => Some(compared.map_err(|row| refused(&row))?),
        },
    };
    if options.update_baseline {
        update(path, stored, &new, &settings)?;
    }
    let Some(comparison) = comparison else { return Ok(Exit::Pass) };
    print_comparison(&comparison, options)?;
    // What is taken as the new reference is no failure.
    Ok(if options.update_baseline { Exit::Pass } else { exit_of(&comparison) })
}

/// A run is like itself: with one on both sides nothing would be a regression.
fn on_one_side_only(options: &Compare) -> Result<(), Fault> {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    let twice = options.new.iter().find(|new| {
        real(new).is_some_and(|new| options.base.iter().any(|base| real(base) == Some(new.clone())))
    });
    match twice {
        None => Ok(()),
        Some(path) => Err(Fault::plain(
            Exit::BadUse,
            &format!("the run `{}` is on both sides", path.display()),
            "name runs of the state before with --base, and of the state after with --new",
        )),
    }
}

pub(super) fn shares(texts: &[String]) -> Result<Shares, Fault> {
    let mut shares = Shares::default();
    for text in texts {
        shares.take(text).map_err(|error| {
            let help = "such as --share 5%, --share latency=20% or --share 'peak{phase:burst}=3%'";
            Fault::plain(Exit::BadUse, &format!("--share: {error}"), help)
        })?;
    }
    Ok(shares)
}

fn exit_of(comparison: &Comparison) -> Exit {
    match comparison.verdict() {
        Verdict::Pass => Exit::Pass,
        Verdict::Untrusted => Exit::Untrusted,
        _ => Exit::Fail,
    }
}

fn refused(refusal: &Refusal) -> Fault {
    Fault::new(Exit::BadUse, refusal, Some(refusal.help().to_owned()))
}

/// A run's directory, which is analysed again, or its `run.json`.
fn read_run(path: &Path, quiet: bool) -> Result<Run, Fault> {
    let name = path.display().to_string();
    if RunDirectory::open(path).is_ok() {
        if !quiet {
            note(&format!("analysing {name}"));
        }
        let findings = analyse(&RunDirectory::open(path)?)?;
        let document = RunDocument::read(&RunJson.render(&findings))
            .map_err(|error| Fault::new(Exit::Bug, &error, None))?;
        return Ok(Run { name, document });
    }
    let file = if path.is_dir() { path.join(RUN_JSON) } else { path.to_owned() };
    let text = read_text(&file).map_err(|error| {
        let text = format!("failed to read the run `{name}`: {error}");
        let help = "name a run's directory (reports/…), or its run.json";
        Fault::plain(Exit::BadUse, &text, help)
    })?;
    let document = RunDocument::read(&text).map_err(|error| {
        let inner = std::error::Error::source(&error).map(ToString::to_string);
        let inner = inner.map_or_else(String::new, |inner| format!(": {inner}"));
        let text = format!("`{}`: {error}{inner}", file.display());
        let help = "name a run's directory (reports/…), or a run.json of schema 1";
        Fault::plain(Exit::BadUse, &text, help)
    })?;
    Ok(Run { name, document })
}

fn read_text(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > MOST_BYTES {
        return Err(std::io::Error::other("it is too large for what it should be"));
    }
    std::fs::read_to_string(path)
}

/// The baseline in a file; none where there is none yet and one is to be made.
pub(super) fn stored(path: &Path, may_be_made: bool) -> Result<Option<Baseline>, Fault> {
    let shown = path.display();
    let text = match read_text(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && may_be_made => {
            return Ok(None);
        }
        Err(error) => {
            let text = format!("failed to read the baseline `{shown}`: {error}");
            let help = "make it with --update-baseline from runs that you trust";
            return Err(Fault::plain(Exit::BadUse, &text, help));
        }
    };
    let baseline = Baseline::read(&text).map_err(|error| {
        let inner = std::error::Error::source(&error).map(ToString::to_string);
        let inner = inner.map_or_else(String::new, |inner| format!(": {inner}"));
        let text = format!("`{shown}`: {error}{inner}");
        let help = match error {
            BaselineError::Run => "name the baseline's own file",
            BaselineError::Later { .. } => "update Highwater, or make the baseline anew",
            _ => {
                "take it back from version control, or remove it and make it anew with \
                  --update-baseline"
            }
        };
        Fault::plain(Exit::BadUse, &text, help)
    })?;
    Ok(Some(baseline))
}

/// Makes or updates the baseline's file.
pub(super) fn update(
    path: &Path,
    stored: Option<Baseline>,
    new: &[Run],
    settings: &Settings,
) -> Result<(), Fault> {
    let not_taken = |row: &Refusal| {
        let help = "make the baseline from runs that passed, or add --anyway";
        Fault::new(Exit::BadUse, row, Some(help.to_owned()))
    };
    let (baseline, notes) = match stored {
        None => (Baseline::of(new, settings).map_err(|row| not_taken(&row))?, Vec::new()),
        Some(mut baseline) => {
            let updated = baseline.update(new, settings).map_err(|row| not_taken(&row))?;
            (baseline, updated.notes)
        }
    };
    write_text(path, &baseline.text()).map_err(|error| {
        Fault::new(Exit::HostCannot, &error, Some("is the directory writable?".to_owned()))
    })?;
    for text in notes {
        note(&format!("baseline: {text}"));
    }
    note(&format!("baseline: written to {}", path.display()));
    Ok(())
}

fn print_comparison(comparison: &Comparison, options: &Compare) -> Result<(), Fault> {
    let write = |path: &Path, text: &str| {
        write_text(path, text).map_err(|error| {
            Fault::new(Exit::HostCannot, &error, Some("is the place writable?".to_owned()))
        })
    };
    if let Some(path) = &options.markdown {
        write(path, &ComparisonMarkdown.render(comparison))?;
    }
    if let Some(path) = &options.junit {
        write(path, &ComparisonJunit.render(comparison))?;
    }
    if options.output.json {
        return print_all(comparison_json(comparison).trim_end());
    }
    let color = !options.output.no_color && std::io::stdout().is_terminal();
    let text = ComparisonText { color, all: options.all };
    std::io::stderr().flush().ok();
    print_all(text.render(comparison).trim_end())
}
