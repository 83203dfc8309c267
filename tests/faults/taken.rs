//! Containers that others take away in the middle of a run.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::run::{
    Done, Going, command, docker, docker_says, let_phase_begin, main_container, says,
};
use crate::standstill::traffic;
use crate::support::harness::{Bench, Runtime};
use crate::{Fault, When};

pub(crate) const FAULTS: &[Fault] = &[
    Fault { name: "taken/removed", when: When::Always, make: removed },
    Fault { name: "taken/restarted-by-policy", when: When::Always, make: by_policy },
    Fault { name: "taken/restarted-by-hand", when: When::OnRequest, make: by_hand },
    Fault { name: "taken/limits-changed", when: When::OnRequest, make: limits },
];

/// A run whose container somebody meddles with once its phase has begun.
fn meddled(seconds: u32, meddle: impl FnOnce(&str)) -> Option<Done> {
    if !Runtime::Docker.is_there() {
        return None;
    }
    let bench = Bench::new();
    bench.scenario(&["steady"], &traffic(seconds));
    let going = Going::start(command(&bench, Runtime::Docker));
    let name = main_container(&docker);
    let_phase_begin();
    meddle(&name);
    let done = going.wait(&bench);
    done.expect_clean();
    Some(done)
}

/// What was measured until then is there, and the run says who ended it.
fn expect_taken(done: &Done, words: &str) -> String {
    let json = done.ended.expect_code(3).json();
    assert_eq!(json["verdict"], "error");
    assert!(says(&json, words), "{:#}", json["reasons"]);
    assert!(!says(&json, "ended by itself"), "{:#}", json["reasons"]);
    let requests = json["phases"][0]["traffic"]["requests"].as_u64().unwrap_or_default();
    assert!(requests > 10, "{json:#}");
    assert!(json["memory"]["peak_bytes"].as_u64().unwrap_or_default() > 0);
    format!("{}, who ended it is told, {requests} requests are kept", done.told())
}

fn removed() -> Option<String> {
    let done = meddled(30, |name| {
        docker_says(&docker, &["rm", "--force", name]);
    })?;
    Some(expect_taken(&done, "removed by somebody else"))
}

fn by_policy() -> Option<String> {
    let done = meddled(30, |name| {
        docker_says(&docker, &["update", "--restart", "always", name]);
        let pid = docker_says(&docker, &["inspect", "--format", "{{.State.Pid}}", name]);
        kill(Pid::from_raw(pid.parse().expect("a pid")), Signal::SIGKILL).expect("it runs");
    })?;
    Some(expect_taken(&done, "Docker has started it again"))
}

fn by_hand() -> Option<String> {
    let done = meddled(30, |name| {
        docker_says(&docker, &["restart", "--time", "1", name]);
    })?;
    Some(expect_taken(&done, "Docker has started it again"))
}

fn limits() -> Option<String> {
    let done = meddled(5, |name| {
        docker_says(&docker, &["update", "--memory", "128m", "--memory-swap", "128m", name]);
    })?;
    let json = done.ended.expect_code(0).json();
    assert!(says(&json, "changed the container's limits"), "{:#}", json["notes"]);
    Some(format!("{}, told", done.told()))
}
