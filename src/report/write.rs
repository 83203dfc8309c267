//! Writing reports into a run's directory.

use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{
    ConcurrencySvg, Error, Markdown, Renderer, ReportHtml, RunJson, SizingSvg, Snippet, StartupSvg,
    TimelineSvg,
};
use crate::analysis::Findings;
use crate::event::temporary_prefix;

/// Stands for the id of a run in names of files that belong to none.
const UNNAMED: &str = "file";

/// The reports that were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// `run.json`.
    pub run_json: PathBuf,
    /// `timeline.svg`, where the main container ran.
    pub timeline: Option<PathBuf>,
    /// `startup.svg`, where there were trials.
    pub startup: Option<PathBuf>,
    /// `concurrency.svg`, where a load climbed.
    pub concurrency: Option<PathBuf>,
    /// `sizing.svg`, where a search was made.
    pub sizing: Option<PathBuf>,
    /// `report.html`.
    pub html: PathBuf,
    /// `report.md`.
    pub markdown: PathBuf,
}

/// Writes all reports into `directory`, each whole or not at all.
///
/// # Errors
/// When a file can't be written.
pub fn write_all(directory: &Path, findings: &Findings) -> Result<Written, Error> {
    let write = |name: &str, renderer: &dyn Renderer| write_of(directory, name, renderer, findings);
    let has_timeline = !findings.timeline.memory.is_empty() || !findings.timeline.flow.is_empty();
    let has_startup = findings.startup.is_some();
    for row in &findings.watched {
        if let Some(name) =
            row.timeline.as_deref().filter(|_| !row.findings.timeline.memory.is_empty())
        {
            write_of(directory, name, &TimelineSvg, &row.findings)?;
        }
    }
    let has_search = findings.sizing.as_ref().is_some_and(|sizing| sizing.search.is_some());
    if has_search {
        snippets(directory, findings)?;
    }
    Ok(Written {
        sizing: has_search.then(|| write("sizing.svg", &SizingSvg)).transpose()?,
        timeline: has_timeline.then(|| write("timeline.svg", &TimelineSvg)).transpose()?,
        concurrency: ConcurrencySvg::has_any(findings)
            .then(|| write("concurrency.svg", &ConcurrencySvg))
            .transpose()?,
        startup: has_startup.then(|| write("startup.svg", &StartupSvg)).transpose()?,
        html: write("report.html", &ReportHtml)?,
        markdown: write("report.md", &Markdown)?,
        // Last: where it is, the others are.
        run_json: write("run.json", &RunJson)?,
    })
}

/// Writes a text to `path`, whole or not at all.
///
/// # Errors
/// When it can't be written.
pub fn write_text(path: &Path, text: &str) -> Result<(), Error> {
    replace(UNNAMED, path, text).map_err(|source| Error { path: path.to_owned(), source })
}

/// The limit as other tools want it, or none of these files where there is none.
fn snippets(directory: &Path, findings: &Findings) -> Result<(), Error> {
    for (snippet, name) in Snippet::FILES {
        let path = directory.join(name);
        let written = match snippet.text(findings) {
            Some(text) => replace(&findings.facts.run_id, &path, &text),
            // Of an earlier rendering, which knew one.
            None => std::fs::remove_file(&path).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
        };
        written.map_err(|source| Error { path, source })?;
    }
    Ok(())
}

fn write_of(
    directory: &Path,
    name: &str,
    renderer: &dyn Renderer,
    findings: &Findings,
) -> Result<PathBuf, Error> {
    let path = directory.join(name);
    match replace(&findings.facts.run_id, &path, &renderer.render(findings)) {
        Ok(()) => Ok(path),
        Err(source) => Err(Error { path, source }),
    }
}

/// Puts a text in the place of a file, whole or not at all; who may read it stays the same.
///
/// # Errors
/// When the file can't be written.
pub fn replace_file(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = beside(path, UNNAMED)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::fs::metadata(path)?.permissions())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// A file that is to take the place of another, and tells by its name whose it is.
fn beside(path: &Path, run_id: &str) -> std::io::Result<NamedTempFile> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    let prefix = temporary_prefix(run_id);
    builder.prefix(&prefix).tempfile_in(directory.unwrap_or(Path::new(".")))
}

fn replace(run_id: &str, path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = beside(path, run_id)?;
    file.write_all(text.as_bytes())?;
    readable_by_all(&file)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// A temporary file is its owner's alone; a report is not.
fn readable_by_all(file: &NamedTempFile) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(mode)
}
