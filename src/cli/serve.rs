//! `highwater serve`, and the page that `--live` shows: the report of a run that may still go on.

use std::time::{Duration, SystemTime};

use super::options::Serve;
use super::print::note;
use super::signals::Signals;
use super::{Exit, Fault};
use crate::analysis::{self, Findings};
use crate::clock::Moment;
use crate::event::{Event, Finish, What};
use crate::live::{LivePage, LiveReport};
use crate::record::{Events, Recorded, Recording, RunDirectory};
use crate::report::{Renderer, ReportHtml};
use crate::runtime;

/// A recording without an end that nothing was written to for so long belongs to a run that was
/// killed.
const SILENT: Duration = Duration::from_secs(30);

/// `highwater serve DIR`
pub(super) fn serve(options: &Serve) -> Result<Exit, Fault> {
    let directory = RunDirectory::open(&options.directory)?;
    // What is no recording is told here, and not in a browser.
    Recording::open(&directory)?;
    let failed = |error: std::io::Error| Fault::new(Exit::HostCannot, &error, None);
    let tokio = super::run::tokio_runtime()?;
    let mut signals = {
        let _inside = tokio.enter();
        Signals::new().map_err(failed)?
    };
    let page = start(directory, options.port)?;
    note(&format!("live page: {}\nCtrl-C ends it", page.url()));
    tokio.block_on(signals.next());
    Ok(Exit::Pass)
}

/// Serves the page of a run's directory until it is dropped.
pub(super) fn start(directory: RunDirectory, port: u16) -> Result<LivePage, Fault> {
    let make = Box::new(move || report(&directory));
    LivePage::start(port, make).map_err(|error| {
        let text = format!("failed to serve the live page on 127.0.0.1:{port}: {error}");
        Fault::plain(Exit::HostCannot, &text, "give another port, or none to have any that is free")
    })
}

/// The report as it stands.
fn report(directory: &RunDirectory) -> Result<LiveReport, String> {
    if !directory.recording().exists() {
        return Err("the target is being built, nothing is recorded yet".to_owned());
    }
    let (findings, running) = findings(directory).map_err(|error| runtime::explain(&error))?;
    Ok(LiveReport { html: ReportHtml.render(&findings), running })
}

/// What can be said so far, and whether the run goes on.
fn findings(directory: &RunDirectory) -> Result<(Findings, bool), crate::record::Error> {
    let recording = Recording::open(directory)?;
    let header = recording.header();
    let mut so_far = SoFar {
        events: recording.events(),
        last: Moment::START,
        ended: false,
        silent: is_silent(directory),
        running: false,
    };
    let findings = analysis::analyse(&header.outline, &header.facts, header.anchor, &mut so_far);
    Ok((findings, so_far.running))
}

/// The events of a recording that may still be written: an end is put to what is there, for that
/// more is to come is no fault of it.
struct SoFar<'a> {
    events: Events<'a>,
    last: Moment,
    ended: bool,
    silent: bool,
    running: bool,
}

impl Iterator for SoFar<'_> {
    type Item = Recorded;

    fn next(&mut self) -> Option<Recorded> {
        let next = self.events.next().map(|event| match event {
            Err(crate::record::Error::Lost { from, until, .. }) => {
                Event { at: from, what: What::Lost { from, until } }.into()
            }
            Ok(event) => event,
            Err(_) => {
                let what = What::Lost { from: self.last, until: None };
                Event { at: self.last, what }.into()
            }
        });
        match next {
            Some(event) => {
                self.last = self.last.max(event.at);
                self.ended |= matches!(event.what, What::Finished(_));
                Some(event)
            }
            _ if self.ended || self.silent => None,
            _ => {
                (self.ended, self.running) = (true, true);
                Some(Event { at: self.last, what: What::Finished(Finish::Completed) }.into())
            }
        }
    }
}

/// Whether nothing was written for so long that nobody writes any more.
fn is_silent(directory: &RunDirectory) -> bool {
    let file = directory.recording();
    let mut log = file.clone().into_os_string();
    log.push("-wal");
    let written = [file, log.into()].into_iter().filter_map(|path| path.metadata().ok());
    let last = written.filter_map(|file| file.modified().ok()).max();
    last.is_none_or(|last| SystemTime::now().duration_since(last).is_ok_and(|since| since > SILENT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_finished_recording_is_one_document_and_does_not_go_on() {
        let first = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recordings/first");
        let directory = RunDirectory::open(&first).unwrap();
        let report = report(&directory).unwrap();
        assert!(!report.running);
        // The very page that is written into the run's directory.
        let (findings, _) = findings(&directory).unwrap();
        assert!(report.html == ReportHtml.render(&findings));
        assert!(report.html.contains("<svg") && report.html.contains("id=\"chart\""));
        // Nothing that a browser would fetch.
        for word in [" src=", "url(http", "@import", "<link"] {
            assert!(!report.html.contains(word), "{word}");
        }
    }

    #[test]
    fn before_there_is_a_recording_that_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let directory = RunDirectory::create(dir.path()).unwrap();
        assert!(report(&directory).unwrap_err().contains("nothing is recorded yet"));
    }
}
