//! `highwater doctor`: what this host can do, one line per capability, each with the way out.

mod host;

use serde_json::{Value, json};

use super::options::Doctor;
use super::print::print_all;
use super::{Exit, Fault};
use crate::cgroup::{Hierarchies, Version};
use crate::event::SchedulingClass;
use crate::plan::Budget;
use crate::runtime::{self, Choice, Runtime, Via};
use crate::session::{self, Survey};

/// One capability.
struct Line {
    /// Whether it is there; none: there, with less than the best.
    good: Option<bool>,
    what: &'static str,
    found: String,
    /// What to do where it is not the best.
    fix: Option<String>,
}

impl Line {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { good: Some(true), what, found: found.into(), fix: None }
    }

    fn poor(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { good: None, what, found: found.into(), fix: Some(fix.into()) }
    }

    fn bad(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { good: Some(false), what, found: found.into(), fix: Some(fix.into()) }
    }

    /// What is printed of it, on one line or two.
    fn text(&self) -> String {
        let mark = match self.good {
            Some(true) => "✓",
            None => "–",
            Some(false) => "✗",
        };
        let fix = self.fix.as_ref();
        let fix = fix.map_or_else(String::new, |fix| format!("\n  {:<11} → {fix}", ""));
        format!("{mark} {:<11} {}{fix}", self.what, self.found)
    }

    fn json(&self) -> Value {
        let state = match self.good {
            Some(true) => "good",
            None => "poor",
            Some(false) => "missing",
        };
        json!({ "name": self.what, "state": state, "found": self.found, "fix": self.fix })
    }
}

/// `highwater doctor`
pub(super) fn doctor(options: &Doctor) -> Result<Exit, Fault> {
    let tokio = super::run::tokio_runtime()?;
    let run_id = format!("{:08x}", rand::random::<u32>());
    let mut lines = vec![cgroups()];
    let docker = tokio.block_on(docker(options.via.into(), &run_id, &mut lines));
    let native = tokio.block_on(native(&mut lines));
    lines.extend(host::lines());
    let can_run = docker || native;
    let text = if options.json {
        let capabilities: Vec<_> = lines.iter().map(Line::json).collect();
        let all = json!({ "can_run": can_run, "capabilities": capabilities });
        format!("{all:#}")
    } else {
        lines.iter().map(Line::text).collect::<Vec<_>>().join("\n")
    };
    print_all(&text)?;
    Ok(if can_run { Exit::Pass } else { Exit::HostCannot })
}

fn cgroups() -> Line {
    match Hierarchies::discover() {
        Ok(found) => {
            let version = match found.version() {
                Version::V1 => "v1",
                Version::V2 => "v2",
            };
            let root = found.memory_dir("/");
            let kernel = runtime::bare_host_facts().kernel;
            let text =
                format!("{version} accounts for memory at {}, Linux {kernel}", root.display());
            Line::good("cgroups", text)
        }
        Err(error) => {
            let fix =
                "boot with the memory controller, or mount /sys/fs/cgroup into this container";
            Line::bad("cgroups", runtime::explain(&error), fix)
        }
    }
}

/// Docker, and the way to its containers. Gives whether runs can use it.
async fn docker(wanted: Option<Via>, run_id: &str, lines: &mut Vec<Line>) -> bool {
    let mut runtime = match Runtime::connect(Choice::Docker, run_id, &Budget::default()).await {
        Ok(runtime) => runtime,
        Err(error) => {
            let fix = "start Docker, set DOCKER_HOST, or join the group `docker`; without it the \
                       target runs in a cgroup of our own, which takes root";
            lines.push(Line::bad("Docker", runtime::explain(&error), fix));
            return false;
        }
    };
    let facts = runtime.host_facts();
    let (version, driver) = (facts.docker.unwrap_or_default(), facts.cgroup_driver);
    let driver = driver.unwrap_or_else(|| "unknown".to_owned());
    lines.push(Line::good("Docker", format!("{version}, cgroup driver {driver}")));
    let found = session::find_way(&mut runtime, wanted, run_id).await;
    let can = match found {
        Ok((way, notes)) => {
            lines.push(way_line(way.via(), &notes));
            lines.push(network_line(way.via()));
            match session::survey(&way, run_id).await {
                Ok(Some(survey)) => sampler_lines(&survey, lines),
                Ok(None) => {}
                Err(error) => {
                    let fix = "run it with `--via` another way to see what that gives";
                    lines.push(Line::bad("sampler", runtime::explain(&error), fix));
                }
            }
            true
        }
        Err(error) => {
            let fix = "leave out `--via`: the best way that can be had is taken";
            lines.push(Line::bad("way", runtime::explain(&error), fix));
            false
        }
    };
    if let Err(error) = runtime.clean_up().await {
        lines.push(Line::bad("clean-up", runtime::explain(&error), "run `highwater clean`"));
    }
    can
}

fn way_line(via: Via, notes: &[String]) -> Line {
    match via {
        Via::Direct => Line::good("way", "direct: cgroups and networks are handled from here"),
        Via::Helper => Line::good(
            "way",
            "helper: a container of Highwater's own samples and sends traffic, as exact as root",
        ),
        Via::ReadOnly => Line::poor(
            "way",
            format!("read-only: {}", notes.join("; ")),
            "let Docker start a privileged helper, or run as root on Docker's host",
        ),
        Via::DockerStats => Line::bad(
            "way",
            format!("docker-stats: {}", notes.join("; ")),
            "let Docker start a privileged helper of this architecture, or run on Docker's host",
        ),
    }
}

/// How traffic gets to a container.
fn network_line(via: Via) -> Line {
    match via {
        Via::Direct | Via::Helper => {
            let found =
                "traffic is sent within the container's own network: nothing stands between";
            Line::good("network", found)
        }
        Via::ReadOnly | Via::DockerStats => {
            let found = "traffic goes through a published port, and Docker's proxy is measured too";
            Line::poor("network", found, "as for the way: a helper or root enters the network")
        }
    }
}

fn sampler_lines(survey: &Survey, lines: &mut Vec<Line>) {
    let method = survey.method.name();
    lines.push(if survey.method.is_interval_exact() {
        Line::good("peaks", format!("{method}: every spike between two ticks, with its height"))
    } else {
        let fix = "on cgroup v2 peaks can be reset since Linux 6.12, on v1 always";
        Line::poor("peaks", format!("{method}: spikes that set no record may be missed"), fix)
    });
    let report = &survey.report;
    let found = format!(
        "{} ticks read, {} missed, p99 {:.0} µs late",
        report.ticks, report.missed_ticks, report.lateness_us_p99
    );
    lines.push(match report.scheduling {
        SchedulingClass::Fifo => Line::good("scheduling", format!("SCHED_FIFO: {found}")),
        SchedulingClass::Nice => {
            let fix = "give CAP_SYS_NICE and a real-time share (cpu.rt_runtime_us) for SCHED_FIFO";
            Line::poor("scheduling", format!("nice: {found}"), fix)
        }
        SchedulingClass::Normal => {
            let fix = "give CAP_SYS_NICE: a busy machine delays ticks, though none of the peaks";
            Line::poor("scheduling", format!("normal: {found}"), fix)
        }
    });
}

/// A cgroup of our own, without Docker.
async fn native(lines: &mut Vec<Line>) -> bool {
    let run_id = format!("{:08x}", rand::random::<u32>());
    let line = match Runtime::connect(Choice::Native, &run_id, &Budget::default()).await {
        Ok(runtime) => {
            let cleaned = runtime.clean_up().await;
            match cleaned {
                Ok(()) => Line::good("native", "targets can run in a cgroup of our own"),
                Err(error) => Line::bad("native", runtime::explain(&error), "`highwater clean`"),
            }
        }
        Err(error) => {
            let fix = "not needed where Docker answers; else run as root";
            Line::poor("native", runtime::explain(&error), fix)
        }
    };
    let good = line.good == Some(true);
    lines.push(line);
    good
}
