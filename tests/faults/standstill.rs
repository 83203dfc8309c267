//! Targets that stand still, and a harness that does: told apart from what a service is to blame for.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::run::{
    Going, command, docker, docker_says, let_phase_begin, main_container, says, wait_for,
};
use crate::support::harness::{Bench, Runtime};
use crate::{Fault, When};

pub(crate) const FAULTS: &[Fault] = &[
    Fault { name: "standstill/paused", when: When::Always, make: paused },
    Fault { name: "standstill/frozen-to-the-end", when: When::OnRequest, make: frozen },
    Fault {
        name: "standstill/stopped-native",
        when: When::OnRequest,
        make: || stopped(Runtime::Native),
    },
    Fault {
        name: "standstill/stopped-docker",
        when: When::OnRequest,
        make: || stopped(Runtime::Docker),
    },
    Fault { name: "standstill/harness", when: When::OnRequest, make: harness },
];

/// Traffic all the time, which fails while nobody answers.
pub(crate) fn traffic(seconds: u32) -> String {
    format!(
        "limits = {{ memory = \"64MiB\" }}\nready = {{ http = \"/health\" }}\n\
         [startup]\ntrials = 0\n[traffic]\ntimeout = \"1s\"\n\
         [[scenario]]\nname = \"get\"\n[[scenario.step]]\nget = \"/\"\n\
         [[phase]]\nname = \"steady\"\nrate = 50\nfor = \"{seconds}s\"\n"
    )
}

fn paused() -> Option<String> {
    if !Runtime::Docker.is_there() {
        return None;
    }
    let bench = Bench::new();
    bench.scenario(&["steady"], &traffic(8));
    let going = Going::start(command(&bench, Runtime::Docker));
    let name = main_container(&docker);
    let_phase_begin();
    docker_says(&docker, &["pause", &name]);
    std::thread::sleep(Duration::from_millis(2500));
    docker_says(&docker, &["unpause", &name]);
    let done = going.wait(&bench);
    done.expect_clean();
    let json = done.ended.json();
    assert!(says(&json, "somebody paused the container"), "{:#}", json["notes"]);
    assert!(says(&json, "the container went on after a pause of"), "{:#}", json["notes"]);
    assert!(!says(&json, "ended by itself"), "{:#}", json["reasons"]);
    let traffic = &json["phases"][0]["traffic"];
    let timeouts = traffic["errors"]["timeout"].as_u64().unwrap_or_default();
    assert!(timeouts > 20, "requests to a paused target time out: {traffic:#}");
    Some(format!("{}, pause and its end told, {timeouts} requests timed out", done.told()))
}

/// Somebody freezes the container's cgroup by hand and never lets it go.
fn frozen() -> Option<String> {
    if !Runtime::Docker.is_there() {
        return None;
    }
    let bench = Bench::new();
    bench.scenario(&["steady"], &traffic(5));
    let going = Going::start(command(&bench, Runtime::Docker));
    let name = main_container(&docker);
    let pid = docker_says(&docker, &["inspect", "--format", "{{.State.Pid}}", &name]);
    let_phase_begin();
    let (file, word) = freezer(&pid);
    std::fs::write(&file, word).expect("the cgroup can be frozen");
    let done = going.wait(&bench);
    done.expect_clean();
    let json = done.ended.json();
    assert!(says(&json, "nothing in the target could run"), "{:#}", json["notes"]);
    let took = done.took.as_secs_f64();
    assert!(took < 60.0, "it took {took} s to get rid of what is frozen");
    Some(format!("{}, told, and cleared away after {took:.1} s in all", done.told()))
}

/// What freezes the cgroup of a process: v1 has a hierarchy for that.
fn freezer(pid: &str) -> (PathBuf, &'static str) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    let group = |wanted: &str| {
        text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, group) = rest.split_once(':')?;
            (controllers == wanted).then(|| group.trim_start_matches('/').to_owned())
        })
    };
    match group("freezer") {
        Some(group) => {
            let root = PathBuf::from("/sys/fs/cgroup/freezer");
            (root.join(group).join("freezer.state"), "FROZEN")
        }
        None => {
            let group = group("").expect("a cgroup");
            (PathBuf::from("/sys/fs/cgroup").join(group).join("cgroup.freeze"), "1")
        }
    }
}

fn stopped(runtime: Runtime) -> Option<String> {
    if !runtime.is_there() {
        return None;
    }
    let bench = Bench::new();
    bench.scenario(&["steady"], &traffic(9));
    let going = Going::start(command(&bench, runtime));
    let pid = match runtime {
        Runtime::Docker => {
            let name = main_container(&docker);
            let pid = docker_says(&docker, &["inspect", "--format", "{{.State.Pid}}", &name]);
            Pid::from_raw(pid.parse().expect("a pid"))
        }
        Runtime::Native => child_of(going.pid()),
    };
    let_phase_begin();
    kill(pid, Signal::SIGSTOP).expect("it runs");
    std::thread::sleep(Duration::from_millis(3500));
    kill(pid, Signal::SIGCONT).expect("it stands");
    let done = going.wait(&bench);
    done.expect_clean();
    let json = done.ended.json();
    assert!(says(&json, "nothing in the target could run"), "{:#}", json["notes"]);
    assert!(says(&json, "the target ran on"), "{:#}", json["notes"]);
    Some(format!("{}, standstill and its end told", done.told()))
}

/// The process that a run has started.
pub(crate) fn child_of(parent: Pid) -> Pid {
    wait_for("the target", || {
        let output = Command::new("ps")
            .args(["-o", "pid=,comm=", "--ppid", &parent.to_string()])
            .output()
            .expect("ps runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.contains("highwater-fix"))?;
        Some(Pid::from_raw(line.split_whitespace().next()?.parse().ok()?))
    })
}

/// As when a machine is suspended: the harness itself stops for a while.
fn harness() -> Option<String> {
    if !Runtime::Docker.is_there() {
        return None;
    }
    let bench = Bench::new();
    bench.scenario(
        &["steady"],
        &format!("{}[thresholds]\n\"memory\" = [\"max<80%\"]\n", traffic(9)),
    );
    let going = Going::start(command(&bench, Runtime::Docker));
    main_container(&docker);
    let_phase_begin();
    going.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(3));
    going.signal(Signal::SIGCONT);
    let done = going.wait(&bench);
    done.expect_clean();
    let json = done.ended.json();
    let (missed, ticks) = (&json["sampler"]["missed_ticks"], &json["sampler"]["ticks"]);
    assert!(missed.as_u64().unwrap_or_default() >= 2500, "{missed} of {ticks} ticks missed");
    assert!(says(&json, "no ticks were read for"), "{:#}", json["notes"]);
    assert_eq!(json["thresholds"][0]["pass"], true, "{json:#}");
    assert_ne!(json["verdict"], "fail", "{:#}", json["reasons"]);
    assert_ne!(json["verdict"], "error", "{:#}", json["reasons"]);
    let traffic = &json["phases"][0]["traffic"];
    let sum = |key: &str| traffic[key].as_u64().unwrap_or_default();
    assert_eq!(sum("requests") + sum("unsent"), 450, "{traffic:#}");
    let verdict = &json["verdict"];
    Some(format!("{}, {missed} missed ticks told, verdict {verdict}", done.told()))
}
