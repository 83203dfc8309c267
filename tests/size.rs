//! `highwater size` on real containers: a service of known need, an interruption, bad input.

mod support;

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::harness::{Bench, Runtime, left_behind};

const MIB: u64 = 1024 * 1024;

/// A service that holds 24 MiB, and 40 MiB while it starts.
fn startup_service(bench: &Bench, limits: &str, phase: &str) {
    bench.scenario(
        &["startup", "--peak-mib", "40", "--base-mib", "16", "--hold-ms", "100"],
        &format!(
            "{limits}ready = {{ http = \"/health\" }}\n\
             [startup]\ntrials = 1\nsettle = \"100ms\"\n\
             [[scenario]]\nname = \"get\"\n[[scenario.step]]\nget = \"/\"\n{phase}"
        ),
    );
}

const BURST: &str = "[[phase]]\nname = \"burst\"\nrate = 20\n\
                     burst = { every = \"500ms\", size = 5 }\nfor = \"1s\"\n";

#[test]
fn a_limit_is_proved_above_what_is_needed_and_goes_on_after_an_interruption() {
    if !Runtime::Docker.is_there() {
        return;
    }
    let bench = Bench::in_company();
    // Too little: upwards first.
    startup_service(&bench, "limits = { memory = \"24MiB\" }\n", BURST);
    let args = ["size", "--runtime", "docker", "--out", "out", "--json", "--max", "512MiB"];
    let child = bench.spawn(&args);
    let state = bench.path().join("out/size.jsonl");
    let runs = || std::fs::read_to_string(&state).map_or(0, |text| text.lines().count());
    let began = Instant::now();
    while runs() < 3 && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    let stopped = bench.ended(&child.wait_with_output().unwrap());
    let json = stopped.expect_code(130).json();
    assert_eq!(json["verdict"], "interrupted", "{json:#}");
    assert_eq!(json["sizing"]["finished"], false);
    assert_eq!(left_behind(), Vec::<String>::new());
    let made = runs();
    assert!(made >= 3, "a header and two runs");

    let ended = bench.run(&args);
    let json = ended.expect_code(0).json();
    let sizing = &json["sizing"];
    assert_eq!((&sizing["verified"], &sizing["finished"]), (&true.into(), &true.into()));
    let limit = sizing["recommended_limit_bytes"].as_u64().unwrap();
    assert!((40 * MIB..56 * MIB).contains(&limit), "{limit}: {sizing:#}");
    assert!(sizing["request_bytes"].as_u64().unwrap() <= limit);
    assert!(sizing["runs"].as_u64().unwrap() <= 12, "{sizing:#}");
    let killed = sizing["killed_limit_bytes"].as_u64().unwrap();
    assert!((24 * MIB..limit).contains(&killed), "{sizing:#}");
    for file in ["sizing.svg", "kubernetes.yaml", "compose.yaml", "docker-run.txt", "report.md"] {
        assert!(ended.out.join(file).exists(), "{file}");
    }
    assert_eq!(left_behind(), Vec::<String>::new());

    // All is there: nothing is run again.
    let again = bench.run(&["report", "out", "--json"]);
    assert_eq!(again.expect_code(0).json()["sizing"], *sizing);
    let manifest = "kind: Pod\nspec:\n  containers:\n  - name: shop # ours\n    image: shop\n";
    bench.write("pod.yaml", manifest);
    let patch = ["size", "--runtime", "docker", "--out", "out", "--max", "512MiB"];
    let patched = bench.run(&[&patch[..], &["--manifest", "pod.yaml"]].concat());
    assert!(patched.expect_code(0).stdout.contains("+      limits:"), "{}", patched.stdout);

    let written = [&patch[..], &["--manifest", "pod.yaml", "--write"]].concat();
    bench.run(&written).expect_code(0);
    let text = std::fs::read_to_string(bench.path().join("pod.yaml")).unwrap();
    assert!(text.starts_with("kind: Pod\nspec:\n  containers:\n  - name: shop # ours\n"), "{text}");
    let quantity = if limit.is_multiple_of(MIB) {
        format!("{}Mi", limit / MIB)
    } else {
        format!("{}Ki", limit / 1024)
    };
    assert!(text.contains(&format!("limits:\n        memory: {quantity}\n")), "{text}");

    startup_service(&bench, "limits = { memory = \"64MiB\" }\n", BURST);
    let another = bench.run(&args);
    assert!(another.expect_code(2).stderr.contains("another scenario"), "{}", another.stderr);
}

/// The same need is found whichever way the service is run and its cgroup read.
fn is_proved_by(args: &[&str]) {
    let bench = Bench::in_company();
    startup_service(&bench, "limits = { memory = \"24MiB\" }\n", BURST);
    let ended = bench.run(&[&["size", "--out", "out", "--json", "--max", "512MiB"], args].concat());
    let json = ended.expect_code(0).json();
    let sizing = &json["sizing"];
    assert_eq!((&sizing["verified"], &sizing["finished"]), (&true.into(), &true.into()));
    let limit = sizing["recommended_limit_bytes"].as_u64().unwrap();
    assert!((40 * MIB..56 * MIB).contains(&limit), "{limit}: {sizing:#}");
    let killed = sizing["killed_limit_bytes"].as_u64().unwrap();
    assert!((24 * MIB..limit).contains(&killed), "{sizing:#}");
    assert!(sizing["runs"].as_u64().unwrap() <= 12, "{sizing:#}");
    assert_eq!(left_behind(), Vec::<String>::new());
}

#[test]
fn a_limit_is_proved_in_a_cgroup_of_our_own() {
    if Runtime::Native.is_there() {
        is_proved_by(&["--runtime", "native"]);
    }
}

#[test]
fn a_limit_is_proved_through_the_helper() {
    if Runtime::Docker.is_there() {
        is_proved_by(&["--runtime", "docker", "--via", "helper"]);
    }
}

/// A service that lives on its page cache: a tenth of the file is enough to survive.
#[test]
fn a_limit_under_which_a_service_only_thrashes_is_too_low() {
    if !Runtime::Docker.is_there() {
        return;
    }
    let bench = Bench::in_company();
    bench.scenario(
        &["cachey", "--file-mib", "96", "--every-ms", "0", "--read-kib", "4096", "--mapped"],
        &format!(
            "limits = {{ memory = \"160MiB\" }}\nready = {{ http = \"/health\" }}\n\
             [startup]\ntrials = 1\nsettle = \"100ms\"\n\
             [[scenario]]\nname = \"get\"\n[[scenario.step]]\nget = \"/\"\n{BURST}"
        ),
    );
    let ended = bench.run(&["size", "--runtime", "docker", "--out", "out", "--json"]);
    let json = ended.expect_code(0).json();
    let sizing = &json["sizing"];
    let thrashed = sizing["thrashed_limit_bytes"].as_u64().unwrap_or(0);
    let limit = sizing["recommended_limit_bytes"].as_u64().unwrap_or(0);
    assert!(thrashed > 16 * MIB && limit > thrashed, "{sizing:#}");
    assert!((48 * MIB..136 * MIB).contains(&limit), "{sizing:#}");
    assert!(sizing["runs"].as_u64().unwrap() <= 12, "{sizing:#}");
    let told = std::fs::read_to_string(ended.out.join("report.md")).unwrap();
    assert!(told.contains("with room"), "{told}");
}

#[test]
fn what_can_not_be_searched_is_told_at_once() {
    if !Runtime::Docker.is_there() {
        return;
    }
    let bench = Bench::in_company();
    startup_service(&bench, "", "[[phase]]\nname = \"calm\"\nrate = 5\nfor = \"1s\"\n");
    let calm = bench.run(&["size", "--runtime", "docker", "--out", "out"]);
    let text = &calm.expect_code(2).stderr;
    assert!(text.contains("no phase") && text.contains("size = true"), "{text}");
    assert!(!bench.path().join("out").exists());
    startup_service(&bench, "", BURST);
    let low = bench.run(&["size", "--runtime", "docker", "--max", "1MiB"]);
    assert!(low.expect_code(2).stderr.contains("6 MiB"), "{}", low.stderr);
    bench.write("service.yaml", "kind: Service\n");
    let none = bench.run(&["size", "--runtime", "docker", "--manifest", "service.yaml"]);
    assert!(none.expect_code(2).stderr.contains("no container"), "{}", none.stderr);
}

#[test]
fn out_of_time_what_is_known_is_told_and_it_goes_on_with_other_bounds() {
    if !Runtime::Docker.is_there() {
        return;
    }
    let bench = Bench::in_company();
    let rule = "[thresholds]\nhttp_req_duration = [\"p(50)<0.001\"]\n";
    startup_service(&bench, "", &format!("{BURST}{rule}"));
    let args = ["size", "--runtime", "docker", "--out", "out", "--json"];
    let ended = bench.run(&[&args[..], &["--budget", "1500ms"]].concat());
    let json = ended.expect_code(1).json();
    assert_eq!(json["sizing"]["recommended_limit_bytes"], serde_json::Value::Null);
    let text = json["reasons"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("the time was used up after 1 runs"), "{text}");

    // Its runs are used up before it has come to the edge, and no limit mends the rule.
    let ended = bench.run(&[&args[..], &["--trials", "3", "--max", "300MiB"]].concat());
    let json = ended.expect_code(1).json();
    let sizing = &json["sizing"];
    assert_eq!((&sizing["runs"], &sizing["finished"]), (&3.into(), &false.into()), "{sizing:#}");
    assert!(sizing["recommended_limit_bytes"].as_u64().unwrap() >= 40 * MIB, "{sizing:#}");
    let reasons = &json["reasons"];
    assert_eq!((&json["verdict"], &reasons[0]["id"]), (&"fail".into(), &"threshold".into()));
    assert!(reasons[0]["text"].as_str().unwrap().contains("p(50)<0.001 was broken in every run"));
    assert!(reasons[1]["next"].as_str().unwrap().contains("more `--trials`"), "{reasons:#}");
}
