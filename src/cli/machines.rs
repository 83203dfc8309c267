//! What other programs are given of a run: `JUnit`, Prometheus, `OpenTelemetry`, GitHub Actions, and
//! `/metrics` while it goes on.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::Args;

use super::print::note;
use super::{Exit, Fault};
use crate::analysis::Findings;
use crate::clock::Anchor;
use crate::event::Event;
use crate::live::{Gauges, Scraped, serve};
use crate::metrics::{Collector, otlp_json, prometheus_text, push};
use crate::plan::Outline;
use crate::report::{self, Junit, Renderer};

/// What other programs are given when a run has ended.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ForMachines {
    /// Write thresholds, checks and verdict as `JUnit` XML
    #[arg(long, value_name = "FILE", env = "HIGHWATER_JUNIT")]
    pub(super) junit: Option<PathBuf>,
    /// Write the results as Prometheus text, whole or not at all: for a textfile collector (*.prom)
    #[arg(long, value_name = "FILE", env = "HIGHWATER_PROMETHEUS")]
    pub(super) prometheus: Option<PathBuf>,
    /// Send the results to an `OpenTelemetry` collector, as OTLP over HTTP
    #[arg(long, value_name = "URL", env = "HIGHWATER_OTLP")]
    pub(super) otlp: Option<Collector>,
}

impl ForMachines {
    /// Looks whether files can be where they are to be, before a long run rather than after it.
    pub(super) fn check(&self) -> Result<(), Fault> {
        for path in self.junit.iter().chain(&self.prometheus) {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new("."));
            if path.is_dir() || !parent.is_dir() {
                let text = format!("`{}` can't be written", path.display());
                let help = "name a file in a directory that is there";
                return Err(Fault::plain(Exit::BadUse, &text, help));
            }
        }
        Ok(())
    }

    /// Gives the findings to all who were named, and to GitHub Actions where that is around us.
    /// What can't be sent is a note: the verdict stays.
    pub(super) fn give(&self, findings: &Findings, strict: bool) -> Result<(), Fault> {
        if let Some(path) = &self.junit {
            write(path, &Junit { strict }.render(findings))?;
        }
        if let Some(path) = &self.prometheus {
            write(path, &prometheus_text(&report::families(findings)))?;
        }
        if let Some(collector) = &self.otlp {
            send(collector, findings);
        }
        in_github_actions(findings);
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> Result<(), Fault> {
    report::write_text(path, text).map_err(|error| {
        Fault::new(Exit::HostCannot, &error, Some("is the directory writable?".to_owned()))
    })
}

fn send(collector: &Collector, findings: &Findings) {
    let message = otlp_json(
        &report::families(findings),
        &report::resource(findings),
        findings.anchor.unix_ns,
        jiff::Timestamp::now().as_nanosecond().try_into().unwrap_or(findings.anchor.unix_ns),
    );
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let sent = match tokio {
        Ok(tokio) => {
            let sent = tokio.block_on(push(collector, &message));
            // A name that is still looked up is not waited for.
            tokio.shutdown_background();
            sent.map_err(|error| error.to_string())
        }
        Err(error) => Err(format!("failed to send metrics: {error}")),
    };
    if let Err(why) = sent {
        note(&format!("note: {why}"));
    }
}

/// Annotations on standard error, where GitHub reads them too and `--json` is not disturbed, and
/// `report.md` in the job's summary.
fn in_github_actions(findings: &Findings) {
    if std::env::var_os("GITHUB_ACTIONS").is_none_or(|value| value != "true") {
        return;
    }
    let lines = report::annotations(findings);
    if !lines.is_empty() {
        note(lines.trim_end());
    }
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else {
        return;
    };
    let appended =
        std::fs::OpenOptions::new().append(true).create(true).open(&path).and_then(|mut file| {
            std::io::Write::write_all(&mut file, report::step_summary(findings).as_bytes())
        });
    if let Err(error) = appended {
        let path = path.to_string_lossy();
        note(&format!("note: failed to append the summary to `{path}`: {error}"));
    }
}

/// What scrapers see of a run that goes on; nothing where nobody asked.
#[derive(Clone, Default)]
pub(super) struct Watchers(Option<Arc<Mutex<Gauges>>>);

impl Watchers {
    /// Serves `/metrics` on this port of 127.0.0.1 for as long as the runtime lives; 0 is any.
    pub(super) async fn serve(
        port: Option<u16>,
        outline: &Outline,
        anchor: Anchor,
    ) -> Result<Self, Fault> {
        let Some(port) = port else { return Ok(Self::default()) };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let refused = |error: std::io::Error| {
            let text = format!("failed to listen on {address} for `--metrics-port`: {error}");
            Fault::plain(Exit::HostCannot, &text, "another port, or 0 for any that is free")
        };
        let listener = tokio::net::TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        note(&format!("metrics at http://{address}/metrics"));
        let gauges = Arc::new(Mutex::new(Gauges::new(outline.clone())));
        tokio::spawn(serve(listener, Scraped { gauges: Arc::clone(&gauges), anchor }));
        Ok(Self(Some(gauges)))
    }

    /// Takes in an event.
    pub(super) fn take(&self, event: &Event) {
        if let Some(gauges) = &self.0 {
            gauges.lock().expect("counting never panics").take(event);
        }
    }
}
