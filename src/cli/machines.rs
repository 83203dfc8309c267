//! What other programs are given of a run: `JUnit`, Prometheus, `OpenTelemetry`, GitHub Actions, and
//! `/metrics` while it goes on.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;

use super::print::note;
use super::{Exit, Fault};
use crate::analysis::Findings;
use crate::clock::Anchor;
use crate::event::Event;
use crate::live::{Gauges, Scraped, serve};
use crate::metrics::{Collector, Resource, otlp_json, prometheus_text, push};
use crate::plan::Outline;
use crate::report::{self, Junit, Renderer};

/// How often a collector is told how a run stands that goes on.
const TELL_EVERY: Duration = Duration::from_secs(15);

/// What other programs are given when a run has ended.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ForMachines {
    /// Write thresholds, checks and verdict as `JUnit` XML
    #[arg(long, value_name = "FILE", env = "HIGHWATER_JUNIT")]
    pub(super) junit: Option<PathBuf>,
    /// Write the results as Prometheus text, whole or not at all: for a textfile collector (*.prom)
    #[arg(long, value_name = "FILE", env = "HIGHWATER_PROMETHEUS")]
    pub(super) prometheus: Option<PathBuf>,
    /// Send the results to an `OpenTelemetry` collector, as OTLP over HTTP; and how it stands every
    /// 15 s while it goes on
    #[arg(long, value_name = "URL", env = "HIGHWATER_OTLP")]
    pub(super) otlp: Option<Collector>,
}

impl ForMachines {
    /// Looks whether files can be where they are to be, before a long run rather than after it.
    pub(super) fn check(&self) -> Result<(), Fault> {
        self.junit.iter().chain(&self.prometheus).try_for_each(|path| can_be_written(path))
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

/// Whether a file can be there.
pub(super) fn can_be_written(path: &Path) -> Result<(), Fault> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    if path.is_dir() || !parent.is_dir() {
        let text = format!("`{}` can't be written", path.display());
        let help = "name a file in a directory that is there";
        return Err(Fault::plain(Exit::BadUse, &text, help));
    }
    Ok(())
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
        now_unix_ns(),
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

/// Who is told of a run while it goes on.
pub(super) struct Asked<'a> {
    /// The port of 127.0.0.1 that `/metrics` is served on; 0 is any.
    pub(super) port: Option<u16>,
    /// The collector that is told now and then.
    pub(super) collector: Option<&'a Collector>,
    /// The run's id, which the collector knows it by.
    pub(super) run_id: &'a str,
}

/// What scrapers and collectors see of a run that goes on; nothing where nobody asked.
#[derive(Clone, Default)]
pub(super) struct Watchers(Option<Arc<Mutex<Gauges>>>);

impl Watchers {
    /// Serves `/metrics`, and tells the collector, for as long as the runtime lives.
    pub(super) async fn serve(
        asked: Asked<'_>,
        outline: &Outline,
        anchor: Anchor,
    ) -> Result<Self, Fault> {
        if asked.port.is_none() && asked.collector.is_none() {
            return Ok(Self::default());
        }
        let gauges = Arc::new(Mutex::new(Gauges::new(outline.clone())));
        let scraped = Scraped { gauges: Arc::clone(&gauges), anchor };
        if let Some(port) = asked.port {
            let listener = listen(port).await?;
            tokio::spawn(serve(listener, scraped.clone()));
        }
        if let Some(collector) = asked.collector {
            let resource = Resource {
                service: outline.name.clone(),
                run_id: asked.run_id.to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            };
            tokio::spawn(tell(collector.clone(), resource, scraped, TELL_EVERY));
        }
        Ok(Self(Some(gauges)))
    }

    /// Takes in an event.
    pub(super) fn take(&self, event: &Event) {
        if let Some(gauges) = &self.0 {
            gauges.lock().expect("counting never panics").take(event);
        }
    }
}

async fn listen(port: u16) -> Result<tokio::net::TcpListener, Fault> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let refused = |error: std::io::Error| {
        let text = format!("failed to listen on {address} for `--metrics-port`: {error}");
        Fault::plain(Exit::HostCannot, &text, "another port, or 0 for any that is free")
    };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    note(&format!("metrics at http://{address}/metrics"));
    Ok(listener)
}

/// Tells a collector how the run stands, one message at a time. One that does not arrive is left
/// behind, for the next is newer; whether the last one arrives is told at the end.
async fn tell(collector: Collector, resource: Resource, scraped: Scraped, every: Duration) {
    let Scraped { gauges, anchor } = scraped;
    loop {
        tokio::time::sleep(every).await;
        let families = gauges.lock().expect("counting never panics").families(anchor);
        let _ =
            push(&collector, &otlp_json(&families, &resource, anchor.unix_ns, now_unix_ns())).await;
    }
}

fn now_unix_ns() -> u64 {
    jiff::Timestamp::now().as_nanosecond().try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::clock::{Clock, Moment};
    use crate::event::{Finish, What};
    use crate::plan::{LimitsOutline, PhaseOutline};
    use crate::scenario::Words;
    use crate::units::Limit;

    /// Takes a message, and answers it; gives its name and whether it says that the run goes on.
    fn taken(listener: &TcpListener) -> (String, Option<String>) {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut text, mut part) = (String::new(), [0; 8192]);
        let message: serde_json::Value = loop {
            let read = stream.read(&mut part).unwrap();
            text.push_str(&String::from_utf8_lossy(&part[..read]));
            let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            if let Ok(message) = serde_json::from_str(body) {
                break message;
            }
        };
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
        let all = &message["resourceMetrics"][0];
        let metrics = all["scopeMetrics"][0]["metrics"].as_array().unwrap();
        let active = metrics.iter().find(|metric| metric["name"] == "highwater.run.active");
        let active = active.and_then(|row| row["gauge"]["dataPoints"][0]["asInt"].as_str());
        let name = &all["resource"]["attributes"][0]["value"]["stringValue"];
        (name.as_str().unwrap_or_default().to_owned(), active.map(str::to_owned))
    }

    #[test]
    fn a_collector_is_told_how_a_run_stands_while_it_goes_on() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let collector: Collector = format!("http://{address}").parse().unwrap();
        let outline = Outline {
            name: "shop".to_owned(),
            limits: LimitsOutline { memory: Limit::Unlimited, cpus: None, pids: None },
            tick_ns: 1_000_000,
            window_ns: 100_000_000,
            settle_ns: 0,
            phases: vec![PhaseOutline { name: "soak".to_owned(), ..PhaseOutline::default() }],
            steps: Vec::new(),
            thresholds: Vec::new(),
            words: Words::default(),
        };
        let gauges = Arc::new(Mutex::new(Gauges::new(outline)));
        let scraped = Scraped { gauges: Arc::clone(&gauges), anchor: Clock::start().anchor() };
        let resource = Resource {
            service: "shop".to_owned(),
            run_id: "r1".to_owned(),
            version: "0".to_owned(),
        };
        let tokio = super::super::run::tokio_runtime().unwrap();
        tokio.spawn(tell(collector, resource, scraped, Duration::from_millis(20)));
        assert_eq!(taken(&listener), ("shop".to_owned(), Some("1".to_owned())));
        let what = What::Finished(Finish::Completed);
        gauges.lock().unwrap().take(&Event { at: Moment::START, what });
        // What was made before may still be on its way.
        let _ = (taken(&listener), taken(&listener));
        assert_eq!(taken(&listener).1.as_deref(), Some("0"));
        tokio.shutdown_background();
    }
}
