//! The sampler on cgroups of a test's own, with services of known memory inside.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use highwater::cgroup::{self, Hierarchies, Place, Tree};
use highwater::clock::Clock;
use highwater::event::{Event, LifeId, SamplerReport, SamplingStart, Tick, What};
use highwater::plan::SamplingPlan;
use highwater::sample::{Sampler, SamplerJob};
use highwater::units::{Bytes, Limit};

/// Nested cgroups of a test's own, removed at its end.
pub(crate) struct Nest {
    tree: Tree,
    pub(crate) place: Place,
}

impl Nest {
    /// Cgroups in whichever version accounts for memory here.
    pub(crate) fn new(name: &str) -> Result<Self, cgroup::Error> {
        let hierarchies = Hierarchies::discover()?;
        let tree = Tree::create(&hierarchies, &format!("{name}-{}", std::process::id()))?;
        let place = tree.nest("life")?.place(&hierarchies, "app");
        fs::create_dir_all(&place.leaf).expect("a group below our own can be made");
        Ok(Self { tree, place })
    }

    /// Runs a fixture service inside, from its first instruction on.
    pub(crate) fn run(&self, fixtures: &Path, arguments: &[&str]) -> Child {
        let procs = self.place.leaf.join("cgroup.procs");
        let mut command = Command::new(fixtures);
        command.args(["--bind", "0.0.0.0", "--port", "0"]).args(arguments).stdout(Stdio::piped());
        enter_before_exec(&mut command, &procs);
        command.spawn().expect("the fixtures run")
    }
}

#[expect(unsafe_code, reason = "only so a child is in its cgroup before its first instruction")]
fn enter_before_exec(command: &mut Command, procs: &Path) {
    use std::io::Write;
    use std::os::unix::process::CommandExt;
    let mut file = fs::OpenOptions::new().write(true).open(procs).expect("our own group");
    // SAFETY: between fork and exec only a write to a descriptor that is open already.
    unsafe { command.pre_exec(move || file.write_all(b"0")) };
}

impl Drop for Nest {
    fn drop(&mut self) {
        if let Err(error) = self.tree.remove() {
            assert!(std::thread::panicking(), "cgroups stay: {error}");
        }
    }
}

/// What the sampler saw of a service.
pub(crate) struct Sampled {
    pub(crate) ticks: Vec<Tick>,
    pub(crate) report: SamplerReport,
    pub(crate) start: SamplingStart,
    pub(crate) clock: Clock,
    pub(crate) log: Vec<serde_json::Value>,
}

/// Samples a fixture service for a while, then stops it by its id.
pub(crate) fn sample(
    nest: &Nest,
    fixtures: &Path,
    arguments: &[&str],
    length: Duration,
) -> Sampled {
    let clock = Clock::start();
    let (sender, mut receiver) = tokio::sync::mpsc::channel(4096);
    let job = SamplerJob {
        life: LifeId(0),
        place: nest.place.clone(),
        sampling: SamplingPlan {
            tick: Duration::from_millis(1),
            window: Duration::from_millis(100),
        },
        may_reset: true,
        limit: Limit::Unlimited,
    };
    let sampler = Sampler::start(job, clock.clone(), sender).unwrap();
    let child = nest.run(fixtures, arguments);
    std::thread::sleep(length);
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    sampler.stop().unwrap();
    let mut events: Vec<Event> = Vec::new();
    while let Ok(event) = receiver.try_recv() {
        events.push(event);
    }
    let report = events.iter().find_map(|event| match &event.what {
        What::SamplerDone(report) => Some(report.clone()),
        _ => None,
    });
    let start = events.iter().find_map(|event| match &event.what {
        What::Sampling(start) => Some(*start),
        _ => None,
    });
    let blocks = events.iter().filter_map(|event| match &event.what {
        What::Ticks(block) => Some(block.unpack().unwrap()),
        _ => None,
    });
    Sampled {
        ticks: blocks.flatten().collect(),
        report: report.unwrap(),
        start: start.unwrap(),
        clock,
        log: String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    }
}

impl Sampled {
    /// The spikes of the service's own log.
    pub(crate) fn true_spikes(&self) -> Vec<&serde_json::Value> {
        self.log.iter().filter(|line| line["event"] == "spike").collect()
    }

    /// The rise that the ticks show for one of them.
    pub(crate) fn rise_seen(&self, spike: &serde_json::Value) -> Bytes {
        let origin = self.clock.anchor().monotonic_ns;
        let time = |key: &str| spike[key].as_u64().unwrap() - origin;
        let (start, end) = (time("start_ns"), time("end_ns"));
        let ticks = &self.ticks;
        let after = ticks.partition_point(|tick| tick.at.as_nanos() < start);
        let floor = ticks[after.saturating_sub(3)..after]
            .iter()
            .map(|tick| tick.usage)
            .min()
            .unwrap_or_default();
        let last = ticks.partition_point(|tick| tick.at.as_nanos() <= end);
        let top =
            ticks[after..=last.min(ticks.len() - 1)].iter().map(|tick| tick.peak).max().unwrap();
        top - floor
    }
}
