//! Nested v1 cgroups of a benchmark's own, with a fixture service inside.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use highwater::cgroup::{Place, Version};
use highwater::clock::Clock;
use highwater::event::{Event, LifeId, SamplerReport, What};
use highwater::plan::SamplingPlan;
use highwater::sample::{Sampler, SamplerJob};
use highwater::units::Limit;

use super::{Ending, clean};

/// The groups; removed by [`clean::after`].
pub(crate) struct Nest {
    pub(crate) place: Place,
}

/// A service in a [`Nest`].
pub(crate) struct Service {
    child: Ending,
    log: std::thread::JoinHandle<Vec<serde_json::Value>>,
}

impl Nest {
    /// Makes the groups. Needs root and cgroup v1 for memory.
    pub(crate) fn new(name: &str) -> Self {
        let memory = Path::new("/sys/fs/cgroup/memory");
        assert!(memory.join("memory.usage_in_bytes").exists(), "needs cgroup v1 for memory");
        let root = memory.join(format!("highwater-bench-{name}-{}", std::process::id()));
        let resets = vec![root.join("a"), root.join("a/b")];
        let leaf = root.join("a/b/app");
        fs::create_dir_all(&leaf).expect("needs root");
        clean::later(&root);
        let place = Place { version: Version::V1, lifetime: Some(root), resets, leaf };
        Self { place }
    }

    /// Runs a fixture service inside, from its first instruction on. It dies with this thread.
    pub(crate) fn run(&self, fixtures: &Path, arguments: &[&str]) -> Service {
        let enter = format!("echo 0 > {}/cgroup.procs; exec \"$@\"", self.place.leaf.display());
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "sh", "-c", &enter, "sh"])
            .arg(fixtures)
            .args(["--bind", "127.0.0.1", "--port", "0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the service starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let log = std::thread::spawn(move || {
            let lines = out.lines().map_while(Result::ok);
            lines.filter_map(|line| serde_json::from_str(&line).ok()).collect()
        });
        Service { child: Ending(child), log }
    }

    /// What a sampler of these groups is told.
    pub(crate) fn job(&self, tick: Duration) -> SamplerJob {
        SamplerJob {
            life: LifeId(0),
            place: self.place.clone(),
            sampling: SamplingPlan { tick, window: Duration::from_millis(100) },
            may_reset: true,
            limit: Limit::Unlimited,
        }
    }
}

impl Service {
    /// Ends the service and gives the lines that it logged.
    pub(crate) fn stop(self) -> Vec<serde_json::Value> {
        drop(self.child);
        self.log.join().expect("reading a pipe does not panic")
    }
}

/// What one sampler sent.
pub(crate) struct Sampled {
    pub(crate) events: Vec<Event>,
    pub(crate) report: SamplerReport,
}

/// Samples while `meanwhile` runs; events are received on a thread of their own.
pub(crate) fn sample(job: SamplerJob, clock: &Clock, meanwhile: impl FnOnce()) -> Sampled {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(4096);
    let receiving = std::thread::spawn(move || {
        let mut events: Vec<Event> = Vec::new();
        while let Some(event) = receiver.blocking_recv() {
            events.push(event);
        }
        events
    });
    let sampler = Sampler::start(job, clock.clone(), sender).expect("the sampler starts");
    meanwhile();
    sampler.stop().expect("the sampler stops");
    let events = receiving.join().expect("receiving does not panic");
    let report = events.iter().find_map(|event| match &event.what {
        What::SamplerDone(report) => Some(report.clone()),
        _ => None,
    });
    Sampled { report: report.expect("the sampler gives account"), events }
}

/// A directory as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("cgroup paths are text")
}
