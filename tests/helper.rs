//! The ways of those who may use Docker and not the host: a helper container, reading only, Docker's
//! stats.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::harness::{Bench, Ended, Runtime, left_behind};

const MIB: u64 = 1024 * 1024;

/// A user that is in no group but Docker's.
const NOBODY: &str = "65534";

fn bytes(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no size"))
}

/// A service with 50 spikes of 1 MiB, given back at once, 40 ms apart.
fn spiky(bench: &Bench) {
    let spikes = ["--size-kib", "1024", "--hold-us", "0", "--every-ms", "40", "--count", "50"];
    let service: Vec<&str> =
        ["spiky"].into_iter().chain(spikes).chain(["--after-ms", "1000"]).collect();
    bench.scenario(
        &service,
        "limits = { memory = \"64MiB\" }\n[startup]\ntrials = 1\nsettle = \"300ms\"\n\
         [[scenario]]\nname = \"get\"\n[[scenario.step]]\nget = \"/\"\n\
         [[phase]]\nname = \"steady\"\nrate = 20\nfor = \"4s\"\n",
    );
}

fn spikes_of_a_mebibyte(json: &Value) -> usize {
    let allowed = 512 * 1024 + 252 * 1024 * bytes(&json["host"]["cpus"]);
    let spikes = json["spikes"].as_array().unwrap();
    spikes.iter().filter(|spike| bytes(&spike["rise_bytes"]).abs_diff(MIB) <= allowed).count()
}

fn run_via(bench: &Bench, via: &str) -> Ended {
    bench.run(&["run", "--runtime", "docker", "--via", via, "--out", "out", "--json"])
}

/// Runs the binary as an ordinary user in Docker's group.
fn as_ordinary_user(bench: &Bench, args: &[&str]) -> Command {
    let group = std::fs::metadata("/var/run/docker.sock")
        .map(|socket| std::os::unix::fs::MetadataExt::gid(&socket).to_string());
    std::fs::set_permissions(bench.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let inner = bench.command(args);
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", NOBODY, "--regid", NOBODY, "--groups", &group.unwrap(), "--"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(bench.path())
        .stdin(std::process::Stdio::null());
    command
}

fn docker_as_root() -> bool {
    Runtime::Docker.is_there() && Runtime::Native.is_there()
}

#[test]
fn an_ordinary_user_in_dockers_group_misses_no_spike() {
    if !docker_as_root() {
        return;
    }
    let bench = Bench::new();
    spiky(&bench);
    let output = as_ordinary_user(&bench, &["run", "--out", "out", "--json"]).output().unwrap();
    let ended = bench.ended(&output);
    let json = ended.expect_code(0).json();
    assert_eq!(json["sampler"]["via"], "helper", "{json:#}");
    assert!(json["sampler"]["peak_method"].as_str().unwrap().ends_with("-reset"), "{json:#}");
    assert_eq!(json["generator"]["path"], "netns");
    assert!(spikes_of_a_mebibyte(&json) >= 50, "{:#}", json["spikes"]);
    assert_eq!(json["phases"][0]["traffic"]["requests"], 80);
    assert_eq!(json["phases"][0]["traffic"]["failed"], 0);
    assert!(bytes(&json["startup"]["trials"][0]["before_exec_bytes"]) > 0);
    assert_eq!(left_behind(), Vec::<String>::new());
}

#[test]
fn an_oom_kill_is_seen_through_the_helper() {
    if !docker_as_root() {
        return;
    }
    let bench = Bench::new();
    bench.scenario(
        &["oom", "--after-ms", "1500"],
        "limits = { memory = \"32MiB\" }\n[startup]\ntrials = 0\n\
         [[phase]]\nname = \"idle\"\nfor = \"10s\"\n",
    );
    let ended = run_via(&bench, "helper");
    let json = ended.expect_code(1).json();
    let kill = json["reasons"].as_array().unwrap().iter().find(|r| r["id"] == "oom_kill").unwrap();
    assert!(kill["at_ms"].as_f64().unwrap() > 1000.0, "{kill}");
    assert!(json["memory"]["oom_evidence"].as_array().unwrap().contains(&"events".into()));
    assert_eq!(left_behind(), Vec::<String>::new());
}

#[test]
fn poorer_ways_say_what_they_cannot_see() {
    if !docker_as_root() {
        return;
    }
    let bench = Bench::new();
    spiky(&bench);
    let stats = run_via(&bench, "docker-stats");
    let json = stats.expect_code(0).json();
    assert_eq!(json["sampler"]["peak_method"], "docker-stats");
    assert_eq!(json["sampler"]["via"], "docker-stats");
    assert!(stats.stderr.contains("THIS SEES NO SPIKES"), "{}", stats.stderr);
    assert!(bytes(&json["sampler"]["ticks"]) >= 3, "{:#}", json["sampler"]);
    assert!(bytes(&json["memory"]["peak_bytes"]) > 0);
    assert_eq!(json["phases"][0]["traffic"]["requests"], 80);
    assert_eq!(json["generator"]["path"], "published");
    std::fs::remove_dir_all(&stats.out).unwrap();

    let output = as_ordinary_user(&bench, &["run", "--via", "read-only", "--out", "out", "--json"])
        .output()
        .unwrap();
    let read_only = bench.ended(&output);
    let json = read_only.expect_code(0).json();
    let method = json["sampler"]["peak_method"].as_str().unwrap();
    assert!(["lifetime", "sampled"].contains(&method), "{method}");
    assert!(read_only.stderr.contains("peaks can't be reset from here"), "{}", read_only.stderr);
    assert_eq!(left_behind(), Vec::<String>::new());
}

#[test]
fn a_killed_harness_leaves_no_helper_and_no_cgroup() {
    if !docker_as_root() {
        return;
    }
    let bench = Bench::new();
    spiky(&bench);
    let mut child = as_ordinary_user(&bench, &["run", "--out", "out", "-q"]).spawn().unwrap();
    let began = Instant::now();
    while !bench.path().join("out/target-main.log").exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never got so far");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(1));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let left = left_behind();
    assert!(
        !left.iter().any(|name| name.contains("cgroup") || name.contains("-helper")),
        "{left:?}"
    );
    let cleaned = as_ordinary_user(&bench, &["clean"]).output().unwrap();
    assert!(cleaned.status.success(), "{}", String::from_utf8_lossy(&cleaned.stderr));
    assert_eq!(left_behind(), Vec::<String>::new());
}

#[test]
fn a_helper_that_is_killed_ends_the_run_with_what_it_had_measured() {
    if !docker_as_root() {
        return;
    }
    let bench = Bench::new();
    bench.scenario(
        &["steady"],
        "limits = { memory = \"64MiB\" }\n[startup]\ntrials = 0\n\
         [[phase]]\nname = \"long\"\nfor = \"120s\"\n",
    );
    let child =
        bench.spawn(&["run", "--runtime", "docker", "--via", "helper", "--out", "out", "--json"]);
    let began = Instant::now();
    while !bench.path().join("out/target-main.log").exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never got so far");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(2));
    let run_id = highwater::record::Recording::open(
        &highwater::record::RunDirectory::open(&bench.path().join("out")).unwrap(),
    );
    let run_id = run_id.unwrap().header().facts.run_id.clone();
    let name = format!("highwater-{run_id}-helper");
    assert!(Command::new("docker").args(["kill", &name]).output().unwrap().status.success());
    let ended = bench.ended(&child.wait_with_output().unwrap());
    assert!(began.elapsed() < Duration::from_secs(60), "it ends soon");
    let json = ended.expect_code(3).json();
    let reasons = json["reasons"].as_array().unwrap();
    let text = reasons.iter().find(|r| r["id"] == "host").unwrap()["text"].as_str().unwrap();
    assert!(text.contains("in phase long at ") && text.contains("helper container"), "{text}");
    assert!(bytes(&json["memory"]["peak_bytes"]) > 0);
    assert_eq!(left_behind(), Vec::<String>::new());
}

/// Passes connections on to the engine's socket, as a remote engine's port would.
fn remote_engine() -> (std::net::SocketAddr, tokio::runtime::Runtime) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = tokio::net::UnixStream::connect("/var/run/docker.sock").await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    (address, runtime)
}

#[test]
fn a_remote_engine_gets_the_same_record() {
    if !docker_as_root() {
        return;
    }
    let bench = Bench::new();
    spiky(&bench);
    let (address, _runtime) = remote_engine();
    let mut command = bench.command(&["run", "--runtime", "docker", "--out", "out", "--json"]);
    let output = command.env("DOCKER_HOST", format!("tcp://{address}")).output().unwrap();
    let json = bench.ended(&output).expect_code(0).json();
    assert_eq!(json["sampler"]["via"], "helper", "{json:#}");
    assert!(spikes_of_a_mebibyte(&json) >= 50, "{:#}", json["spikes"]);
    assert_eq!(json["phases"][0]["traffic"]["failed"], 0);
    assert_eq!(left_behind(), Vec::<String>::new());
}

/// An image with Highwater and the fixture services in it, removed at its end.
struct Image(String);

impl Image {
    fn new() -> Self {
        let binary = std::path::PathBuf::from(env!("CARGO_BIN_EXE_highwater"));
        let fixtures = support::fixtures().to_owned();
        let mut archive = tar::Builder::new(Vec::new());
        archive.sparse(false);
        let linked = [&binary, &fixtures].map(|path| support::libraries(path).unwrap());
        let linked: std::collections::BTreeSet<_> = linked.into_iter().flatten().collect();
        for path in linked {
            archive.append_path_with_name(&path, path.strip_prefix("/").unwrap()).unwrap();
        }
        archive.append_path_with_name(&binary, "bin/highwater").unwrap();
        archive.append_path_with_name(&fixtures, "bin/highwater-fixtures").unwrap();
        archive.append_dir("tmp", "/tmp").unwrap();
        let bytes = archive.into_inner().unwrap();
        let name = format!("highwater-test-self:{}", std::process::id());
        let mut import = Command::new("docker")
            .args(["import", "-", &name])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut pipe = import.stdin.take().unwrap();
        std::io::Write::write_all(&mut pipe, &bytes).unwrap();
        drop(pipe);
        assert!(import.wait().unwrap().success());
        Self(name)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", "--force", &self.0]).output();
    }
}

#[test]
fn in_a_container_with_the_socket_mounted_it_does_the_same() {
    if !docker_as_root() {
        return;
    }
    let bench = Bench::new();
    spiky(&bench);
    let path = bench.path().join("highwater.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let outside = support::fixtures().to_string_lossy().into_owned();
    std::fs::write(&path, text.replace(&outside, "/bin/highwater-fixtures")).unwrap();
    let image = Image::new();
    let output = Command::new("docker")
        .args(["run", "--rm", "--volume", "/var/run/docker.sock:/var/run/docker.sock"])
        .args(["--volume", &format!("{}:/work", bench.path().display()), "--workdir", "/work"])
        .args([&image.0, "/bin/highwater", "run", "--out", "out", "--json"])
        .output()
        .unwrap();
    let ended = bench.ended(&output);
    let json = ended.expect_code(0).json();
    assert_eq!(json["sampler"]["via"], "helper", "{json:#}");
    assert_eq!(json["host"]["in_container"], true, "{:#}", json["host"]);
    assert!(spikes_of_a_mebibyte(&json) >= 50, "{:#}", json["spikes"]);
    assert!(ended.out.join("timeline.svg").exists());
    assert_eq!(left_behind(), Vec::<String>::new());
}
