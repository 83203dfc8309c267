//! `clean` beside what it must not touch: a run that goes on, and what only looks like one's.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::support::harness::{Bench, Runtime};
use super::{left, on_each_runtime};

pub(crate) fn trials() -> Vec<Trial> {
    on_each_runtime("clean_takes_what_is_dead_and_nothing_else", cleans)
}

fn scenario(bench: &Bench, length: u32) {
    let mark = left::mark(bench);
    bench.scenario(
        &["steady"],
        &format!(
            "limits = {{ memory = \"64MiB\" }}\nenv = {{ {} = {mark:?} }}\n\
             [startup]\ntrials = 0\n[[phase]]\nname = \"long\"\nfor = \"{length}s\"\n",
            left::MARK
        ),
    );
}

fn wait_for(path: &Path) {
    let begun = Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never got so far");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn cleans(runtime: Runtime, bench: &Bench) {
    scenario(bench, 120);
    let args = |out: &'static str| ["run", "--runtime", runtime.name(), "--out", out];
    let mut dead = bench.spawn(&args("out"));
    wait_for(&bench.path().join("out/target-main.log"));
    std::thread::sleep(Duration::from_secs(1));
    let dead_id = left::runs_of(dead.id()).pop().expect("it has noted itself");
    let refused = bench.run(&["clean", "--run", &dead_id]);
    refused.expect_code(2);
    assert!(refused.stderr.contains("goes on"), "{}", refused.stderr);
    kill(Pid::from_raw(dead.id().cast_signed()), Signal::SIGKILL).expect("it is there");
    // Dead from now on, though nobody has asked for its exit code yet.
    std::thread::sleep(Duration::from_millis(300));
    assert_ne!(left::of_run(&dead_id, &bench.path().join("out")), Vec::<String>::new());
    // The next run says so, and is not touched by what comes.
    scenario(bench, 4);
    let live = bench.spawn(&args("live"));
    wait_for(&bench.path().join("live/target-main.log"));
    let foreign = (runtime == Runtime::Docker).then(|| Foreign::new(&dead_id));
    let dry = bench.run(&["clean", "--dry-run"]);
    assert!(dry.stdout.contains(&format!("would remove run {dead_id}: ")), "{}", dry.stdout);
    let live_id = left::runs_of(live.id()).pop().expect("it has noted itself");
    assert!(!dry.stdout.contains(&live_id), "{}", dry.stdout);
    bench.run(&["clean", "--run", &dead_id]).expect_code(0);
    assert_eq!(
        left::of_run_but(&dead_id, &bench.path().join("out"), "foreign"),
        Vec::<String>::new()
    );
    if let Some(foreign) = foreign {
        assert!(foreign.is_there(), "what only looks like ours is not touched");
    }
    let ended = bench.ended(&live.wait_with_output().expect("it ends"));
    assert!(ended.stderr.contains(&dead_id), "the next run tells: {}", ended.stderr);
    ended.expect_code(0);
    dead.wait().expect("it has ended");
}

/// A container of somebody else's, with a name and a label like those of a run.
struct Foreign(String);

impl Foreign {
    fn new(run_id: &str) -> Self {
        let name = format!("foreign-highwater-{run_id}-main");
        let image = format!("highwater-{run_id}:target");
        let made = Command::new("docker")
            .args(["create", "--name", &name, "--label", &format!("highwater.run={run_id}")])
            .args([&image, "steady"])
            .output()
            .expect("docker runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self(name)
    }

    fn is_there(&self) -> bool {
        let output = Command::new("docker").args(["inspect", &self.0]).output();
        output.is_ok_and(|output| output.status.success())
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", &self.0]).output();
    }
}
