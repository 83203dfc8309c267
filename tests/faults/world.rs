//! Faults of what a run stands on: the clock, the cgroups, the network.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::run::{
    Going, command, docker, docker_says, left_by, let_phase_begin, main_container, run, says,
};
use crate::shim;
use crate::standstill::traffic;
use crate::support::harness::{Bench, Runtime};
use crate::{Fault, When};

pub(crate) const FAULTS: &[Fault] = &[
    Fault { name: "world/clock-back-an-hour", when: When::Always, make: || clock(-3600) },
    Fault { name: "world/clock-on-by-an-hour", when: When::OnRequest, make: || clock(3600) },
    Fault { name: "world/cgroups-read-only-native", when: When::Always, make: read_only_native },
    Fault { name: "world/cgroups-read-only-docker", when: When::OnRequest, make: read_only_docker },
    Fault { name: "world/network-gone-at-start", when: When::Always, make: lure },
    Fault { name: "world/loopback-down", when: When::OnRequest, make: loopback },
];

fn clock(seconds: i64) -> Option<String> {
    if !Runtime::Native.is_there() {
        return None;
    }
    let bench = Bench::new();
    let library = shim::build(bench.path());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let mut date = Command::new("date");
    let shown = shim::jump(date.arg("+%s"), &library, seconds, 0).output().expect("date runs");
    let shown: u64 = String::from_utf8_lossy(&shown.stdout).trim().parse().expect("a time");
    let jumped = now().abs_diff(shown);
    assert!(jumped.abs_diff(3600) < 60, "the shim moves a clock by {jumped} s");

    bench.scenario(&["steady"], &traffic(6));
    let mut command = command(&bench, Runtime::Native);
    shim::jump(&mut command, &library, seconds, 3000);
    let before = now();
    let done = Going::start(command).wait(&bench);
    done.expect_clean();
    let json = done.ended.expect_code(0).json();
    let phase = &json["phases"][0];
    let length = phase["end_ms"].as_f64()? - phase["start_ms"].as_f64()?;
    assert!((5990.0..6500.0).contains(&length), "the phase took {length} ms");
    assert_eq!(phase["traffic"]["requests"], 300, "{phase:#}");
    let started: jiff::Timestamp = json["started_at"].as_str()?.parse().expect("RFC 3339");
    let late = started.as_second().unsigned_abs().abs_diff(before);
    assert!(late < 60, "it began {late} s from the wall clock's time");
    let again = bench.run(&["report", "out", "--json"]);
    assert_eq!(again.expect_code(0).json()["phases"], json["phases"]);
    Some(format!("{}, the phase took {length:.0} of 6000 ms", done.told()))
}

/// The command of a run in a mount namespace in which every cgroup hierarchy is read-only.
fn read_only(bench: &Bench, runtime: Runtime) -> Command {
    let script = "mount --make-rprivate / && for m in $(awk '$3 ~ /^cgroup/ {print $2}' /proc/mounts); \
                  do mount -o remount,bind,ro \"$m\" || exit 99; done; exec \"$0\" \"$@\"";
    let inner = command(bench, runtime);
    let mut outer = Command::new("unshare");
    outer.args(["--mount", "--", "sh", "-c", script]).arg(inner.get_program());
    outer.args(inner.get_args()).current_dir(bench.path()).stdin(std::process::Stdio::null());
    outer
}

fn read_only_native() -> Option<String> {
    if !Runtime::Native.is_there() {
        return None;
    }
    let bench = Bench::new();
    bench.scenario(&["steady"], &traffic(3));
    let output = read_only(&bench, Runtime::Native).output().expect("unshare runs");
    let ended = bench.ended(&output);
    ended.expect_code(3);
    let told = &ended.stderr;
    assert!(told.contains("/sys/fs/cgroup") && told.contains("ead-only file system"), "{told}");
    assert!(told.contains("help:"), "{told}");
    assert_eq!(left_by(&ended.out), Vec::<String>::new());
    Some(format!("exit 3: {}", told.trim()))
}

fn read_only_docker() -> Option<String> {
    if !Runtime::Docker.is_there() || !crate::support::is_root() {
        return None;
    }
    let bench = Bench::new();
    bench.scenario(&["steady"], &traffic(3));
    let done = Going::start(read_only(&bench, Runtime::Docker)).wait(&bench);
    done.expect_clean();
    let json = done.ended.expect_code(0).json();
    assert!(says(&json, "ead-only file system"), "{:#}", json["notes"]);
    let method = json["sampler"]["peak_method"].as_str().unwrap_or_default().to_owned();
    assert!(!method.ends_with("-reset"), "{method}");
    assert!(json["memory"]["peak_bytes"].as_u64().unwrap_or_default() > 0);
    assert_eq!(json["phases"][0]["traffic"]["requests"], 150, "{json:#}");
    Some(format!("{}, peaks by `{method}`, why is told", done.told()))
}

/// A target that is gone before its network can be entered, while somebody else listens on its port
/// on this host: not a byte may go there.
fn lure() -> Option<String> {
    let calls = Arc::new(AtomicU32::new(0));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let seen = calls.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            seen.fetch_add(1, Ordering::Relaxed);
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let mut tried = 0;
    for runtime in Runtime::BOTH.into_iter().filter(|runtime| runtime.is_there()) {
        for _ in 0..2 {
            let bench = Bench::new();
            let path = bench.scenario(&["hostile", "--exit", "0"], &traffic(3));
            let text = std::fs::read_to_string(&path).expect("just written");
            let text = text.replace("port = 8080", &format!("port = {port}"));
            std::fs::write(&path, text).expect("it can be written");
            let done = run(&bench, runtime);
            done.expect_clean();
            done.ended.expect_code(4);
            tried += 1;
        }
    }
    let calls = calls.load(Ordering::Relaxed);
    assert_eq!(calls, 0, "requests went to somebody else");
    (tried > 0).then(|| format!("{tried} targets that end at once, no request to the other"))
}

/// The loopback interface inside the container goes down for a while.
fn loopback() -> Option<String> {
    if !Runtime::Docker.is_there() || !crate::support::is_root() {
        return None;
    }
    let bench = Bench::new();
    bench.scenario(&["steady"], &traffic(9));
    let going = Going::start(command(&bench, Runtime::Docker));
    let name = main_container(&docker);
    let pid = docker_says(&docker, &["inspect", "--format", "{{.State.Pid}}", &name]);
    let link = |state: &str| {
        let words = ["--net", "--target", &pid, "ip", "link", "set", "lo", state];
        assert!(Command::new("nsenter").args(words).status().expect("nsenter runs").success());
    };
    let_phase_begin();
    link("down");
    std::thread::sleep(Duration::from_secs(2));
    link("up");
    let done = going.wait(&bench);
    done.expect_clean();
    let json = done.ended.json();
    let traffic = &json["phases"][0]["traffic"];
    let sum = |key: &str| traffic[key].as_u64().unwrap_or_default();
    assert!(sum("failed") > 20, "{traffic:#}");
    assert_eq!(sum("requests") + sum("unsent"), 450, "{traffic:#}");
    assert!(traffic["status"]["200"].as_u64().unwrap_or_default() > 200, "{traffic:#}");
    Some(format!("{}, failed: {}", done.told(), traffic["errors"]))
}
