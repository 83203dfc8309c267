//! The sampler against a real cgroup of this host and services of known memory.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use highwater::cgroup::{Place, Version};
use highwater::clock::Clock;
use highwater::event::{Event, LifeId, SamplerReport, Tick, What};
use highwater::plan::SamplingPlan;
use highwater::sample::{Sampler, SamplerJob};
use highwater::units::Bytes;

/// Nested v1 cgroups of a test's own, removed at its end.
struct Nest {
    root: PathBuf,
    place: Place,
}

impl Nest {
    fn new(name: &str) -> Option<Self> {
        let memory = Path::new("/sys/fs/cgroup/memory");
        if !support::is_root() || !memory.join("memory.usage_in_bytes").exists() {
            support::skip("needs root and cgroup v1 for memory");
            return None;
        }
        // Built before anything is sampled.
        support::fixtures();
        let root = memory.join(format!("highwater-test-{name}-{}", std::process::id()));
        let resets = vec![root.join("a"), root.join("a/b")];
        let leaf = root.join("a/b/app");
        fs::create_dir_all(&leaf).unwrap();
        let place = Place { version: Version::V1, lifetime: Some(root.clone()), resets, leaf };
        Some(Self { root, place })
    }

    /// Runs a fixture service inside, from its first instruction on.
    fn run(&self, arguments: &[&str]) -> Child {
        let enter = format!("echo 0 > {}/cgroup.procs; exec \"$@\"", self.place.leaf.display());
        Command::new("sh")
            .args(["-c", &enter, "sh"])
            .arg(support::fixtures())
            .args(["--bind", "127.0.0.1", "--port", "0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        for dir in [&self.place.leaf, &self.place.resets[1], &self.place.resets[0], &self.root] {
            for _ in 0..100 {
                if fs::remove_dir(dir).is_ok() || !dir.exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

struct Sampled {
    ticks: Vec<Tick>,
    report: SamplerReport,
    slack: Bytes,
    clock: Clock,
    log: Vec<serde_json::Value>,
}

/// Samples a fixture service for a while, then stops it by its id.
fn sample(nest: &Nest, arguments: &[&str], length: Duration) -> Sampled {
    let clock = Clock::start();
    let (sender, mut receiver) = tokio::sync::mpsc::channel(4096);
    let job = SamplerJob {
        life: LifeId(0),
        place: nest.place.clone(),
        sampling: SamplingPlan {
            tick: Duration::from_millis(1),
            window: Duration::from_millis(100),
        },
        keep_all_ticks: true,
        may_reset: true,
        limit: highwater::units::Limit::Unlimited,
        raw_ticks: Bytes::from_mib(16),
    };
    let sampler = Sampler::start(job, clock.clone(), sender).unwrap();
    let child = nest.run(arguments);
    std::thread::sleep(length);
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    sampler.stop().unwrap();
    let mut events: Vec<Event> = Vec::new();
    while let Ok(event) = receiver.try_recv() {
        events.push(event);
    }
    let mut sampled = Sampled {
        ticks: Vec::new(),
        report: events
            .iter()
            .find_map(|event| match &event.what {
                What::SamplerDone(report) => Some(report.clone()),
                _ => None,
            })
            .unwrap(),
        slack: Bytes::ZERO,
        clock,
        log: String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    };
    for event in events {
        match event.what {
            What::Ticks(block) => sampled.ticks.extend(block.unpack().unwrap()),
            What::Sampling(start) => sampled.slack = start.charge_slack,
            _ => {}
        }
    }
    sampled
}

/// The rise that the ticks show for a spike of the service's own log.
fn rise_seen(sampled: &Sampled, spike: &serde_json::Value) -> Bytes {
    let origin = sampled.clock.anchor().monotonic_ns;
    let time = |key: &str| spike[key].as_u64().unwrap() - origin;
    let (start, end) = (time("start_ns"), time("end_ns"));
    let after = sampled.ticks.partition_point(|tick| tick.at.as_nanos() < start);
    let floor = sampled.ticks[after.saturating_sub(3)..after]
        .iter()
        .map(|tick| tick.usage)
        .min()
        .unwrap_or_default();
    let last = sampled.ticks.partition_point(|tick| tick.at.as_nanos() <= end);
    let top = sampled.ticks[after..=last.min(sampled.ticks.len() - 1)]
        .iter()
        .map(|tick| tick.peak)
        .max()
        .unwrap();
    top - floor
}

#[test]
fn every_spike_of_a_mebibyte_is_seen_with_its_height() {
    let Some(nest) = Nest::new("spikes") else {
        return;
    };
    let arguments = [
        "spiky",
        "--size-kib",
        "1024",
        "--hold-us",
        "0",
        "--every-ms",
        "25",
        "--count",
        "50",
        "--after-ms",
        "200",
    ];
    let sampled = sample(&nest, &arguments, Duration::from_secs(2));
    let spikes: Vec<_> = sampled.log.iter().filter(|line| line["event"] == "spike").collect();
    assert_eq!(spikes.len(), 50);
    let allowed = (Bytes::from_kib(512) + sampled.slack).get();
    for spike in spikes {
        let seen = rise_seen(&sampled, spike).get();
        let true_rise = spike["bytes"].as_u64().unwrap();
        assert!(
            seen.abs_diff(true_rise) <= allowed,
            "spike {}: rise of {seen} seen, {true_rise} true",
            spike["n"]
        );
    }
}

#[test]
fn ticks_read_and_missed_add_up_to_the_time_sampled() {
    let Some(nest) = Nest::new("count") else {
        return;
    };
    let sampled = sample(&nest, &["steady"], Duration::from_millis(500));
    let report = &sampled.report;
    let first = sampled.ticks.first().unwrap().at;
    let last = sampled.ticks.last().unwrap().at;
    let due = u64::try_from(last.since(first).as_millis()).unwrap() + 1;
    let counted = report.ticks + report.missed_ticks;
    assert!(counted.abs_diff(due) <= 1, "{counted} ticks counted, {due} due");
    assert_eq!(sampled.ticks.len() as u64, report.ticks);
}
