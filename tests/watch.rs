//! `highwater watch` on containers, cgroups and processes that the test itself started.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::harness::{Bench, Runtime, left_behind};

const MIB: u64 = 1024 * 1024;

/// Spikes of 2 MiB that last no longer than their pages take to be touched.
const SPIKY: [&str; 9] =
    ["spiky", "--size-kib", "2048", "--hold-us", "0", "--every-ms", "50", "--after-ms", "0"];

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().expect("docker runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "docker {args:?}: {error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// An image with the fixture services and what they are linked with, removed at a test's end.
struct Image(String);

impl Image {
    fn make() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let binary = support::fixtures();
        let listed = Command::new("ldd").arg(binary).output().expect("ldd runs");
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let dir = tempfile::tempdir().unwrap();
        for file in text.split_whitespace().filter(|word| word.starts_with('/')) {
            let to = dir.path().join(file.trim_start_matches('/'));
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(file, to).unwrap();
        }
        std::fs::copy(binary, dir.path().join("service")).unwrap();
        let archive = dir.path().join("image.tar");
        let packed = Command::new("tar")
            .args(["--exclude=image.tar", "-cf"])
            .args([&archive, Path::new("-C"), dir.path(), Path::new(".")])
            .status();
        assert!(packed.unwrap().success());
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hww-test-{}:{number}", std::process::id());
        let entry = "ENTRYPOINT [\"/service\"]";
        docker(&["import", "--change", entry, archive.to_str().unwrap(), &name]);
        Self(name)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", "--force", &self.0]).output();
    }
}

/// A container of the test's own, removed at its end.
struct Container {
    name: String,
}

impl Container {
    fn start(image: &Image, name: &str, options: &[&str], service: &[&str]) -> Self {
        let name = format!("hww-test-{}-{name}", std::process::id());
        let _ = Command::new("docker").args(["rm", "--force", &name]).output();
        let head = ["run", "--detach", "--name", &name];
        docker(&[&head, options, &[&image.0], service].concat());
        Self { name }
    }

    /// The directory of its memory, as the kernel tells it.
    fn memory_dir(&self) -> PathBuf {
        let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &self.name]);
        memory_dir_of(pid.parse().unwrap())
    }

    fn is_running(&self) -> bool {
        docker(&["inspect", "--format", "{{.State.Running}}", &self.name]) == "true"
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", &self.name]).output();
    }
}

fn is_v1() -> bool {
    Path::new("/sys/fs/cgroup/memory/memory.usage_in_bytes").exists()
}

fn memory_dir_of(pid: u32) -> PathBuf {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let row = text.lines().find_map(|line| {
        let (before, group) = line.rsplit_once(':').unwrap();
        (before.ends_with(":memory") || (!is_v1() && before == "0:")).then_some(group)
    });
    let root = if is_v1() { "/sys/fs/cgroup/memory" } else { "/sys/fs/cgroup" };
    Path::new(root).join(row.unwrap().trim_start_matches('/'))
}

/// A cgroup of the test's own with a limit and a process in it.
struct Group {
    dir: PathBuf,
    child: Child,
}

impl Group {
    fn start(name: &str, limit: Option<u64>, service: &[&str]) -> Self {
        let root = if is_v1() { "/sys/fs/cgroup/memory" } else { "/sys/fs/cgroup" };
        let dir = Path::new(root).join(format!("hww-test-{}-{name}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        if let Some(limit) = limit {
            let file = if is_v1() { "memory.limit_in_bytes" } else { "memory.max" };
            std::fs::write(dir.join(file), limit.to_string()).unwrap();
        }
        let enter = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
        let child = Command::new("sh")
            .args(["-c", enter])
            .arg(&dir)
            .arg(support::fixtures())
            .args(service)
            .args(["--port", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let group = Self { dir, child };
        let begun = Instant::now();
        let exe = format!("/proc/{}/exe", group.child.id());
        while std::fs::read_link(&exe).ok().as_deref() != Some(support::fixtures()) {
            assert!(begun.elapsed() < Duration::from_secs(5), "the service starts");
            std::thread::sleep(Duration::from_millis(10));
        }
        group
    }

    fn name(&self) -> String {
        self.dir.file_name().unwrap().to_string_lossy().into_owned()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for _ in 0..100 {
            if std::fs::remove_dir(&self.dir).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn bytes(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no size"))
}

fn reason<'a>(json: &'a Value, id: &str) -> Option<&'a Value> {
    json["reasons"].as_array()?.iter().find(|reason| reason["id"] == id)
}

fn watched<'a>(json: &'a Value, name: &str) -> &'a Value {
    let rows = json["watched"].as_array().expect("a watch has targets");
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name} in {rows:#?}"))
}

fn spikes_of(json: &Value, size: u64) -> usize {
    let slack = 512 * 1024 + 252 * 1024 * bytes(&json["host"]["cpus"]);
    let rows = json["spikes"].as_array().unwrap().iter();
    rows.filter(|spike| bytes(&spike["rise_bytes"]).abs_diff(size) <= slack).count()
}

fn peak_file(dir: &Path) -> u64 {
    let name = if is_v1() { "memory.max_usage_in_bytes" } else { "memory.peak" };
    std::fs::read_to_string(dir.join(name)).unwrap().trim().parse().unwrap()
}

#[test]
fn a_container_is_watched_and_not_disturbed() {
    if !Runtime::Docker.is_there() {
        return;
    }
    let bench = Bench::in_company();
    let image = Image::make();
    let service = ["startup", "--peak-mib", "48", "--hold-ms", "100"];
    let target = Container::start(&image, "calm", &["--memory", "128m"], &service);
    let dir = target.memory_dir();
    std::thread::sleep(Duration::from_millis(1500));
    let before = peak_file(&dir);
    assert!(before > 48 * MIB, "{before}");
    let short = &docker(&["inspect", "--format", "{{.Id}}", &target.name])[..12];
    for what in [target.name.as_str(), short] {
        let _ = std::fs::remove_dir_all(bench.path().join("out"));
        let ended = bench.run(&["watch", what, "--for", "2s", "--out", "out", "--json"]);
        let json = ended.expect_code(0).json();
        assert_eq!(json["verdict"], "pass", "{json:#}");
        assert_eq!(json["name"], target.name);
        assert_eq!(json["target"]["image"], image.0);
        assert_eq!(json["memory"]["limit_bytes"], 128 * MIB);
        let length = json["phases"][0]["end_ms"].as_f64().unwrap();
        assert!((1900.0..2600.0).contains(&length), "{length}");
        for part in ["startup", "generator", "growth", "costs", "sizing"] {
            assert!(json[part].is_null(), "{part} of a watch: {json:#}");
        }
        assert!(json["phases"][0]["traffic"].is_null());
        assert!(bytes(&json["phases"][0]["target"]["threads_max"]) > 0, "{json:#}");
        let row = watched(&json, &target.name);
        assert_eq!(row["kind"], "container");
        assert!(row["end_ms"].is_null());
        // What it held before the watch is told apart.
        assert_eq!(row["peak_before_bytes"], before);
        assert!(bytes(&row["peak_bytes"]) < 30 * MIB, "{row:#}");
        assert!(row["cgroup"].as_str().unwrap().contains(short));
        let method = if is_v1() { "lifetime" } else { "v2-reset" };
        assert_eq!(json["sampler"]["peak_method"], method);
        assert_eq!(ended.stderr.contains("--reset-peaks"), is_v1(), "{}", ended.stderr);
        assert!(ended.out.join("timeline.svg").exists());
        let again = bench.run(&["report", "out", "--json"]);
        assert_eq!(again.expect_code(0).json(), json);
    }
    assert!(target.is_running());
    assert_eq!(peak_file(&dir), before, "the mark was not reset");
    let _ = std::fs::remove_dir_all(bench.path().join("out"));
    let args = ["watch", &target.name, "--for", "500ms", "--out", "out", "--reset-peaks"];
    bench.run(&args).expect_code(0);
    assert_eq!(peak_file(&dir) < before, is_v1(), "on v1 a reset is everybody's, as it says");
    assert_eq!(left_behind(), Vec::<String>::new());
}

#[test]
fn with_reset_peaks_every_spike_has_its_height() {
    if !Runtime::Docker.is_there() {
        return;
    }
    let bench = Bench::in_company();
    let image = Image::make();
    let target = Container::start(&image, "exact", &["--memory", "128m"], &SPIKY);
    std::thread::sleep(Duration::from_millis(500));
    let args = ["watch", &target.name, "--for", "4s", "--out", "out", "--json", "--reset-peaks"];
    let ended = bench.run(&args);
    let json = ended.expect_code(0).json();
    assert!(json["sampler"]["peak_method"].as_str().unwrap().ends_with("-reset"));
    let found = spikes_of(&json, 2 * MIB);
    assert!((76..=82).contains(&found), "{found} of about 80 spikes");
    assert_eq!(ended.stderr.contains("whoever else reads"), is_v1(), "{}", ended.stderr);
    assert!(target.is_running());
}

#[test]
fn an_oom_kill_fails_with_its_time_and_the_watch_ends_with_the_container() {
    if !Runtime::Docker.is_there() {
        return;
    }
    let bench = Bench::in_company();
    let image = Image::make();
    let service = ["oom", "--after-ms", "2500", "--mib-per-s", "200"];
    let target = Container::start(&image, "oom", &["--memory", "48m"], &service);
    let begun = Instant::now();
    let json = bench.run(&["watch", &target.name, "--out", "out", "--json"]).expect_code(1).json();
    assert!(begun.elapsed() < Duration::from_secs(15), "the watch ends with the container");
    assert_eq!(json["verdict"], "fail");
    let killed = reason(&json, "oom_kill").expect("a reason");
    assert!(killed["at_ms"].as_f64().unwrap() > 1000.0, "{killed}");
    assert_eq!(json["memory"]["oom_kills"], 1);
    let row = watched(&json, &target.name);
    assert_eq!(row["exit_code"], 137);
    let (end, kill) = (row["end_ms"].as_f64().unwrap(), killed["at_ms"].as_f64().unwrap());
    assert!((0.0..1000.0).contains(&(end - kill)), "killed at {kill}, ended at {end}");
}

#[test]
fn kills_and_hits_from_before_the_watch_are_not_its_own() {
    if !Runtime::Native.is_there() {
        return;
    }
    let bench = Bench::in_company();
    let group = Group::start("earlier", Some(64 * MIB), &["forking", "--after-ms", "0"]);
    let begun = Instant::now();
    let killed = || {
        let file = if is_v1() { "memory.oom_control" } else { "memory.events" };
        let text = std::fs::read_to_string(group.dir.join(file)).unwrap();
        text.lines().any(|line| line.starts_with("oom_kill ") && !line.ends_with(" 0"))
    };
    while !killed() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the child is killed");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(300));
    let args = ["watch", &group.name(), "--for", "1500ms", "--out", "out", "--json"];
    let ended = bench.run(&args);
    let json = ended.expect_code(0).json();
    assert_eq!(json["memory"]["oom_kills"], 0, "{json:#}");
    assert!(reason(&json, "oom_kill").is_none());
    assert!(bytes(&watched(&json, &group.name())["peak_before_bytes"]) > 60 * MIB);
}

#[test]
fn several_containers_are_watched_by_label_each_on_its_own() {
    if !Runtime::Docker.is_there() {
        return;
    }
    let bench = Bench::in_company();
    let image = Image::make();
    let label = format!("hww-test={}", std::process::id());
    let one = Container::start(
        &image,
        "one",
        &["--label", &label, "--memory", "128m"],
        &["steady", "--base-mib", "20"],
    );
    let two = Container::start(
        &image,
        "two",
        &["--label", &label, "--memory", "64m"],
        &["steady", "--base-mib", "40"],
    );
    std::thread::sleep(Duration::from_millis(500));
    let args = ["watch", "--label", &label, "--for", "4s", "--out", "out", "--json"];
    let child = bench.spawn(&args);
    std::thread::sleep(Duration::from_millis(1500));
    let late =
        Container::start(&image, "late", &["--label", &label], &["steady", "--base-mib", "10"]);
    let ended = bench.ended(&child.wait_with_output().unwrap());
    let json = ended.expect_code(0).json();
    assert_eq!(json["watched"].as_array().unwrap().len(), 3, "{json:#}");
    for (target, base, limit) in [(&one, 20, Some(128)), (&two, 40, Some(64)), (&late, 10, None)] {
        let row = watched(&json, &target.name);
        let peak = bytes(&row["unreclaimable_peak_bytes"]);
        assert!((base * MIB..(base + 8) * MIB).contains(&peak), "{row:#}");
        assert_eq!(row["limit_bytes"].as_u64(), limit.map(|limit| limit * MIB));
        assert_eq!(row["headroom_percent"].is_null(), limit.is_none());
        assert!(ended.out.join(row["timeline"].as_str().unwrap()).exists());
        assert!(target.is_running());
    }
    // The one with the least headroom speaks for all.
    assert_eq!(json["memory"]["limit_bytes"], 64 * MIB);
    assert_eq!(
        json["memory"]["unreclaimable_peak_bytes"],
        watched(&json, &two.name)["unreclaimable_peak_bytes"]
    );
}

#[test]
fn all_containers_and_rules_for_each() {
    if !Runtime::Docker.is_there() {
        return;
    }
    let bench = Bench::new();
    let image = Image::make();
    let small = Container::start(&image, "small", &[], &["steady", "--base-mib", "10"]);
    let large = Container::start(&image, "large", &[], &["steady", "--base-mib", "60"]);
    std::thread::sleep(Duration::from_millis(500));
    let rule = "memory: max<40MiB";
    let args = ["watch", "--all", "--for", "1s", "--out", "out", "--json", "--threshold", rule];
    let json = bench.run(&args).expect_code(1).json();
    watched(&json, &small.name);
    watched(&json, &large.name);
    let rows = json["thresholds"].as_array().unwrap();
    let row = |name: &str| {
        let metric = format!("memory{{target:{name}}}");
        rows.iter().find(|row| row["metric"] == metric.as_str()).expect("a rule for each")
    };
    assert_eq!(row(&small.name)["pass"], true);
    assert_eq!(row(&large.name)["pass"], false);
}

#[test]
fn a_restarted_container_is_a_new_life_of_the_same_target() {
    if !Runtime::Docker.is_there() {
        return;
    }
    let bench = Bench::in_company();
    let image = Image::make();
    let options = ["--memory", "64m", "--restart", "always"];
    let service = ["exits", "--code", "3", "--after-ms", "1500"];
    let target = Container::start(&image, "again", &options, &service);
    let args = ["watch", &target.name, "--for", "5s", "--out", "out", "--json"];
    let json = bench.run(&args).expect_code(0).json();
    let row = watched(&json, &target.name);
    assert!(bytes(&row["lives"]) >= 2, "{row:#}");
    // Its second life is seen from near its start on: the gap is short.
    assert!(bytes(&row["ticks"]) > 3500, "{row:#}");
    assert_eq!(json["watched"].as_array().unwrap().len(), 1);
    assert_eq!(json["memory"]["oom_kills"], 0);
}

#[test]
fn a_cgroup_is_watched_until_it_is_gone() {
    if !Runtime::Native.is_there() {
        return;
    }
    let bench = Bench::in_company();
    let group = Group::start("cgroup", Some(96 * MIB), &["steady", "--base-mib", "30"]);
    for what in [group.dir.to_string_lossy().into_owned(), group.name()] {
        let _ = std::fs::remove_dir_all(bench.path().join("out"));
        let ended = bench.run(&["watch", &what, "--for", "1s", "--out", "out", "--json"]);
        let json = ended.expect_code(0).json();
        assert_eq!(json["memory"]["limit_bytes"], 96 * MIB);
        assert!(bytes(&json["memory"]["unreclaimable_peak_bytes"]) > 30 * MIB);
        assert_eq!(watched(&json, &group.name())["kind"], "cgroup");
    }
    let _ = std::fs::remove_dir_all(bench.path().join("out"));
    let args = ["watch", &group.name(), "--for", "500ms", "--raw", "--out", "out", "--json"];
    let json = bench.run(&args).expect_code(0).json();
    assert_eq!(json["spikes_total"], 0, "every tick was kept, and none shows a spike");
    let _ = std::fs::remove_dir_all(bench.path().join("out"));
    let child = bench.spawn(&["watch", &group.name(), "--out", "out", "--json"]);
    std::thread::sleep(Duration::from_millis(1500));
    let name = group.name();
    drop(group);
    let ended = bench.ended(&child.wait_with_output().unwrap());
    let json = ended.expect_code(0).json();
    assert!(watched(&json, &name)["end_ms"].as_f64().unwrap() > 500.0, "{json:#}");
    assert!(reason(&json, "ended").is_some());
}

#[test]
fn a_process_is_watched_with_its_cgroup_and_ctrl_c_is_a_normal_end() {
    if !Runtime::Native.is_there() {
        return;
    }
    let bench = Bench::in_company();
    let group = Group::start("pid", None, &["steady", "--base-mib", "30"]);
    let mut beside = Command::new("sleep").arg("60").spawn().unwrap();
    std::fs::write(group.dir.join("cgroup.procs"), beside.id().to_string()).unwrap();
    let pid = group.child.id().to_string();
    let child = bench.spawn(&["watch", &pid, "--out", "out", "--json"]);
    std::thread::sleep(Duration::from_secs(2));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let ended = bench.ended(&child.wait_with_output().unwrap());
    let json = ended.expect_code(0).json();
    assert_eq!(json["verdict"], "pass");
    assert!(
        json["memory"]["limit_bytes"].is_null() && json["memory"]["headroom_percent"].is_null()
    );
    assert!(ended.stderr.contains("1 other process"), "{}", ended.stderr);
    assert_eq!(json["watched"][0]["kind"], "pid");
    assert!(bytes(&json["memory"]["rss_peak_bytes"]) > 30 * MIB);
    // It ends with the process, even where its cgroup stays.
    let _ = std::fs::remove_dir_all(bench.path().join("out"));
    let child = bench.spawn(&["watch", &pid, "--out", "out", "--json"]);
    std::thread::sleep(Duration::from_millis(1500));
    kill(Pid::from_raw(group.child.id().cast_signed()), Signal::SIGKILL).unwrap();
    let ended = bench.ended(&child.wait_with_output().unwrap());
    beside.kill().unwrap();
    beside.wait().unwrap();
    let json = ended.expect_code(0).json();
    assert!(reason(&json, "oom_kill").is_none(), "a kill by another signal is no OOM kill");
    assert!(json["watched"][0]["end_ms"].as_f64().is_some());
}

#[test]
fn what_can_not_be_watched_is_told_with_the_way_out() {
    if !Runtime::Docker.is_there() || !Runtime::Native.is_there() {
        return;
    }
    let bench = Bench::in_company();
    let image = Image::make();
    let target = Container::start(&image, "named", &[], &["steady"]);
    let stopped =
        Container::start(&image, "stopped", &[], &["exits", "--code", "0", "--after-ms", "0"]);
    docker(&["wait", &stopped.name]);
    let almost = &target.name[..target.name.len() - 1];
    let wrong = format!("{}x", &almost[..almost.len() - 1]);
    for (args, code, words) in [
        (
            vec!["watch", &wrong],
            2,
            vec![wrong.as_str(), "no container", "did you mean", &target.name],
        ),
        (vec!["watch", &stopped.name], 2, vec!["does not run", "exited", "docker start"]),
        (vec!["watch", "1"], 2, vec!["root cgroup", "systemd-run"]),
        (vec!["watch", "/"], 2, vec!["`/`", "root cgroup"]),
        (vec!["watch", "pid:4194303"], 2, vec!["no process has the id"]),
        (vec!["watch", "no/such/group"], 2, vec!["no directory"]),
        (vec!["watch", "--label", "hww=nobody"], 2, vec!["`hww=nobody`", "docker ps"]),
        (vec!["watch"], 2, vec!["--all"]),
        (
            vec!["watch", &target.name, "--threshold", "memory: max<80%"],
            2,
            vec!["share of the memory limit", "max<200MiB"],
        ),
        (vec!["watch", &target.name, "--threshold", "http_reqs: count>1"], 2, vec!["no traffic"]),
        (vec!["watch", &target.name, "--tick", "1us"], 2, vec!["--tick"]),
    ] {
        let ended = bench.run(&args);
        assert_eq!(ended.code, code, "{args:?}: {}", ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "{args:?} lacks `{word}`: {}", ended.stderr);
        }
    }
    assert!(!bench.path().join("reports").exists(), "nothing was measured");
}
