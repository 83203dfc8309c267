//! Docker's engine stops, restarts or dies in the middle of a run.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::daemon::Daemon;
use crate::run::{Done, Going, command, let_phase_begin, main_container, says};
use crate::standstill::traffic;
use crate::support::harness::{Bench, Runtime};
use crate::{Fault, When};

pub(crate) const FAULTS: &[Fault] = &[
    Fault { name: "engine/restarts-live-restore", when: When::OnRequest, make: restarts },
    Fault { name: "engine/killed-live-restore", when: When::OnRequest, make: killed },
    Fault { name: "engine/stops-with-the-container", when: When::OnRequest, make: stops },
    Fault { name: "engine/stays-away", when: When::OnRequest, make: stays_away },
    Fault { name: "engine/restarts-under-a-helper", when: When::OnRequest, make: helper },
    Fault { name: "engine/ports-stolen", when: When::OnRequest, make: ports },
];

const LIVE: [&str; 2] = ["--bridge=none", "--live-restore"];

/// Starts a run on an engine of its own, and lets its phase begin.
fn begin(bench: &Bench, daemon: &Daemon, seconds: u32, more: &[&str]) -> Going {
    bench.scenario(&["steady"], &traffic(seconds));
    let mut command = command(bench, Runtime::Docker);
    command.env("DOCKER_HOST", daemon.host()).args(more);
    let going = Going::start(command);
    main_container(&daemon.docker());
    let_phase_begin();
    going
}

fn assert_lived_on(done: &Done, daemon: &Daemon, due: u64) -> String {
    let json = done.ended.expect_code(0).json();
    assert!(says(&json, "Docker's engine did not answer any more"), "{:#}", json["notes"]);
    assert!(says(&json, "Docker's engine was back after"), "{:#}", json["notes"]);
    let traffic = &json["phases"][0]["traffic"];
    assert_eq!(traffic["status"]["200"].as_u64(), Some(due), "{traffic:#}");
    assert_eq!(daemon.containers(), Vec::<String>::new());
    let missed = &json["sampler"]["missed_ticks"];
    format!("{}, all {due} requests answered, {missed} ticks missed, reattached", done.told())
}

fn restarts() -> Option<String> {
    let mut daemon = Daemon::start(&LIVE)?;
    let bench = Bench::new();
    let going = begin(&bench, &daemon, 20, &[]);
    daemon.end(Signal::SIGTERM);
    std::thread::sleep(Duration::from_secs(2));
    daemon.begin();
    let done = going.wait(&bench);
    done.expect_clean();
    Some(assert_lived_on(&done, &daemon, 1000))
}

fn killed() -> Option<String> {
    let mut daemon = Daemon::start(&LIVE)?;
    let bench = Bench::new();
    let going = begin(&bench, &daemon, 20, &[]);
    daemon.end(Signal::SIGKILL);
    std::thread::sleep(Duration::from_secs(2));
    daemon.begin();
    let done = going.wait(&bench);
    done.expect_clean();
    Some(assert_lived_on(&done, &daemon, 1000))
}

/// Without `live-restore` an engine takes its containers with it.
fn stops() -> Option<String> {
    let mut daemon = Daemon::start(&["--bridge=none"])?;
    let bench = Bench::new();
    let going = begin(&bench, &daemon, 60, &[]);
    daemon.end(Signal::SIGTERM);
    daemon.begin();
    let done = going.wait(&bench);
    done.expect_clean();
    let json = done.ended.expect_code(3).json();
    assert!(says(&json, "while Docker's engine was stopped"), "{:#}", json["reasons"]);
    let requests = json["phases"][0]["traffic"]["requests"].as_u64().unwrap_or_default();
    assert!(requests > 30, "{json:#}");
    assert_eq!(daemon.containers(), Vec::<String>::new());
    Some(format!("{}, told, {requests} requests are kept", done.told()))
}

/// The engine never comes back while the run goes on: what was measured is whole, and what can't be
/// cleared away is told, and goes by `clean`.
fn stays_away() -> Option<String> {
    let mut daemon = Daemon::start(&LIVE)?;
    let bench = Bench::new();
    let going = begin(&bench, &daemon, 8, &[]);
    daemon.end(Signal::SIGKILL);
    let done = going.wait(&bench);
    let stderr = &done.ended.stderr;
    assert_eq!(done.ended.code, 3, "{stderr}");
    assert!(stderr.contains("highwater clean"), "{stderr}");
    let json = bench.run(&["report", "out", "--json"]).json();
    let traffic = &json["phases"][0]["traffic"];
    assert_eq!(traffic["status"]["200"], 400, "{json:#}");
    assert!(says(&json, "Docker's engine did not answer any more"), "{:#}", json["notes"]);
    daemon.begin();
    let mut clean = bench.command(&["clean"]);
    let cleaned = clean.env("DOCKER_HOST", daemon.host()).output().expect("the binary runs");
    assert!(cleaned.status.success(), "{}", String::from_utf8_lossy(&cleaned.stderr));
    assert_eq!(daemon.containers(), Vec::<String>::new());
    done.expect_clean();
    Some(format!("{}, all 400 requests are kept, `clean` left nothing", done.told()))
}

/// A helper hears us through the engine: it ends with the connection, and says so.
fn helper() -> Option<String> {
    let mut daemon = Daemon::start(&LIVE)?;
    let bench = Bench::new();
    let going = begin(&bench, &daemon, 20, &["--via", "helper"]);
    daemon.end(Signal::SIGTERM);
    daemon.begin();
    let done = going.wait(&bench);
    done.expect_clean();
    let json = done.ended.expect_code(3).json();
    assert!(says(&json, "helper container ended"), "{:#}", json["reasons"]);
    let requests = json["phases"][0]["traffic"]["requests"].as_u64().unwrap_or_default();
    assert!(requests > 10, "{json:#}");
    assert_eq!(daemon.containers(), Vec::<String>::new());
    Some(format!("{}, told, {requests} requests are kept", done.told()))
}

/// Every port that Docker might publish is somebody else's.
fn ports() -> Option<String> {
    let daemon = Daemon::start_with_ports(&["--bip=10.213.7.1/24"], "41000 41003")?;
    let bench = Bench::new();
    bench.scenario(&["steady"], &traffic(3));
    // In the engine's own network: a range of four ports, all of which are taken.
    let script = "for p in 41000 41001 41002 41003; do
                      python3 -c 'import socket,sys,time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((\"127.0.0.1\", int(sys.argv[1])))
s.listen()
time.sleep(60)' $p >/dev/null 2>&1 & pids=\"$pids $!\"; done
                  sleep 2; \"$@\"; code=$?; kill $pids; exit $code";
    let inner = command(&bench, Runtime::Docker);
    let namespace = format!("--net=/proc/{}/ns/net", daemon.pid());
    let mut outer = Command::new("nsenter");
    outer.args([&namespace, "--", "sh", "-c", script, "sh"]).arg(inner.get_program());
    outer.args(inner.get_args()).args(["--via", "read-only"]);
    outer.current_dir(bench.path()).env("DOCKER_HOST", daemon.host());
    let output = outer.output().expect("nsenter runs");
    let ended = bench.ended(&output);
    ended.expect_code(3);
    assert!(ended.stderr.contains("found no free port on 127.0.0.1"), "{}", ended.stderr);
    assert_eq!(daemon.containers(), Vec::<String>::new());
    Some(format!("exit 3: {}", ended.stderr.lines().take(3).collect::<Vec<_>>().join(" ")))
}
