//! The whole program on real containers and processes, against services of known memory.

mod support;

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::harness::{Bench, Runtime, left_behind};

const QUICK_STARTUP: &str = "[startup]\ntrials = 1\nsettle = \"300ms\"\n";

fn idle_phase(seconds: u32) -> String {
    format!("[[phase]]\nname = \"idle\"\nfor = \"{seconds}s\"\n")
}

fn reason<'a>(json: &'a Value, id: &str) -> Option<&'a Value> {
    json["reasons"].as_array()?.iter().find(|reason| reason["id"] == id)
}

fn on_each_runtime(test: impl Fn(Runtime, &Bench)) {
    for runtime in Runtime::BOTH.into_iter().filter(|runtime| runtime.is_there()) {
        let bench = Bench::in_company();
        test(runtime, &bench);
        assert_eq!(left_behind(), Vec::<String>::new(), "left behind by {runtime:?}");
    }
}

fn bytes(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no size"))
}

const MIB: u64 = 1024 * 1024;

#[test]
fn a_healthy_service_passes_and_every_part_is_filled() {
    on_each_runtime(|runtime, bench| {
        bench.scenario(
            &["mixed", "--startup-peak-mib", "48", "--startup-hold-ms", "300"],
            "limits = { memory = \"128MiB\" }\nready = { http = \"/health\" }\n\
                 [startup]\ntrials = 2\nsettle = \"500ms\"\n\
                 [[scenario]]\nname = \"upload\"\n[[scenario.step]]\npost = \"/upload\"\n\
                 body = { size = \"200KiB\" }\ntags = { kind = \"large\" }\n\
                 metrics = { held = { counter = \"json:$.held\" }, \
                 large = { rate = \"json:$.held\", min = 204800 } }\n\
                 [[phase]]\nname = \"ramp\"\nusers = { from = 0, to = 8 }\nfor = \"2s\"\n\
                 [[phase]]\nname = \"burst\"\nrate = 40\nburst = { every = \"1s\", size = 30 }\n\
                 for = \"3s\"\n\
                 [thresholds]\n\"memory\" = [\"max<80%\", \"oom_kills==0\"]\n\
                 \"http_req_failed{kind:large}\" = [\"rate<0.01\"]\n\
                 \"large{phase:burst}\" = [\"rate==1\"]\n\"held\" = [\"count>1\"]\n",
        );
        let ended = bench.run_scenario(runtime);
        let json = ended.expect_code(0).json();
        assert_eq!(json["verdict"], "pass", "{json:#}");
        assert_eq!(json["target"]["runtime"], runtime.name());
        assert_eq!(json["target"]["limit_bytes"], 128 * MIB);
        let trials = json["startup"]["trials"].as_array().unwrap();
        assert_eq!(trials.len(), 2);
        for trial in trials {
            let peak = bytes(&trial["peak_bytes"]);
            assert!((48 * MIB..56 * MIB).contains(&peak), "startup peak {peak}");
            assert!(bytes(&trial["settled_bytes"]) < 12 * MIB, "{trial}");
            assert!(trial["ready_ms"].as_f64().unwrap() >= 300.0, "{trial}");
        }
        let burst = &json["phases"][1];
        // 40/s for 3 s, and three bursts of 30.
        assert_eq!(bytes(&burst["traffic"]["requests"]), 210, "{burst:#}");
        assert_eq!(bytes(&burst["traffic"]["failed"]), 0);
        assert!(bytes(&burst["traffic"]["bytes_sent"]) > 210 * 200 * 1024);
        let metrics = burst["traffic"]["metrics"].as_array().unwrap();
        assert_eq!((&metrics[1]["metric"], &metrics[1]["kind"]), (&"large".into(), &"rate".into()));
        assert_eq!((&metrics[1]["answers"], &metrics[1]["rate"]), (&210.into(), &1.0.into()));
        assert_eq!(burst["traffic"]["steps"][0]["tags"]["kind"], "large");
        assert!(bytes(&json["memory"]["peak_bytes"]) > bytes(&json["memory"]["rss_peak_bytes"]));
        assert_eq!(json["memory"]["oom_kills"], 0);
        assert!(json["thresholds"].as_array().unwrap().iter().all(|rule| rule["pass"] == true));
        assert!(json["sampler"]["peak_method"].as_str().unwrap().ends_with("-reset"));
        assert!(ended.out.join("timeline.svg").exists());
        assert!(ended.out.join("recording.db").exists());
    });
}

#[test]
fn every_spike_of_a_mebibyte_is_in_the_report() {
    on_each_runtime(|runtime, bench| {
        bench.scenario(
            &[
                "spiky",
                "--size-kib",
                "1024",
                "--hold-us",
                "0",
                "--every-ms",
                "40",
                "--count",
                "50",
                "--after-ms",
                "1000",
            ],
            &format!("limits = {{ memory = \"64MiB\" }}\n[startup]\ntrials = 0\n{}", idle_phase(4)),
        );
        let ended = bench.run_scenario(runtime);
        let json = ended.expect_code(0).json();
        let log = std::fs::read_to_string(ended.out.join("target-main.log")).unwrap();
        let truth: Vec<Value> = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &Value| line["event"] == "spike")
            .collect();
        assert_eq!(truth.len(), 50, "{log}");
        let seen = json["spikes"].as_array().unwrap();
        let allowed = 512 * 1024 + 252 * 1024 * bytes(&json["host"]["cpus"]);
        let right = seen
            .iter()
            .filter(|spike| bytes(&spike["rise_bytes"]).abs_diff(MIB) <= allowed)
            .count();
        assert!(right >= 50, "{right} of 50 spikes found on {runtime:?}: {seen:#?}");
        assert!(seen.len() <= 52, "spikes that were none: {seen:#?}");
        let said_so = seen.iter().filter(|spike| is_printed_beside(spike)).count();
        assert!(said_so >= 48, "{said_so} of 50 have what was printed beside them: {seen:#?}");
    });
}

/// Whether the service's own word on a spike is told with it: it prints one after each.
fn is_printed_beside(spike: &Value) -> bool {
    let at = spike["at_ms"].as_f64().unwrap();
    spike["log_lines"].as_array().unwrap().iter().any(|line| {
        let is_its_word = line["text"].as_str().unwrap().starts_with("{\"event\":\"spike\"");
        let after = line["at_ms"].as_f64().unwrap() - at;
        is_its_word && (-5.0..35.0).contains(&after)
    })
}

#[test]
fn an_oom_kill_fails_with_its_time_and_phase() {
    on_each_runtime(|runtime, bench| {
        bench.scenario(
            &["oom", "--after-ms", "1500", "--mib-per-s", "200"],
            &format!(
                "limits = {{ memory = \"48MiB\" }}\n[startup]\ntrials = 0\n{}",
                idle_phase(20)
            ),
        );
        let begun = Instant::now();
        let json = bench.run_scenario(runtime).expect_code(1).json();
        assert!(begun.elapsed() < Duration::from_secs(15), "the run stops at the kill");
        assert_eq!(json["verdict"], "fail");
        let kill = reason(&json, "oom_kill").expect("a reason");
        assert!(kill["at_ms"].as_f64().unwrap() > 1000.0, "{kill}");
        assert!(kill["text"].as_str().unwrap().contains("idle"), "{kill}");
        assert_eq!(json["memory"]["oom_kills"], 1);
        assert!(!json["memory"]["oom_evidence"].as_array().unwrap().is_empty());
    });
}

#[test]
fn a_killed_target_is_started_again_where_the_scenario_says_so() {
    on_each_runtime(|runtime, bench| {
        bench.scenario(
            &["oom", "--after-ms", "1500", "--mib-per-s", "100"],
            "limits = { memory = \"48MiB\" }\n[startup]\ntrials = 0\n\
             [[scenario]]\nname = \"get\"\n[[scenario.step]]\nget = \"/\"\n\
             [[phase]]\nname = \"first\"\nrate = 50\nfor = \"4s\"\n\
             [[phase]]\nname = \"second\"\nrate = 50\nfor = \"3s\"\n",
        );
        let path = bench.path().join("highwater.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("on-oom = \"restart\"\n{text}")).unwrap();
        let json = bench.run_scenario(runtime).expect_code(1).json();
        let lives = json["lives"].as_array().unwrap();
        assert!(lives.len() >= 3, "{lives:#?}");
        for life in &lives[..lives.len() - 1] {
            assert_eq!(life["oom_kills"], 1, "{lives:#?}");
            assert!(bytes(&life["peak_bytes"]) > 40 * MIB, "{lives:#?}");
        }
        let starts: Vec<f64> = lives.iter().map(|l| l["start_ms"].as_f64().unwrap()).collect();
        assert!(starts.is_sorted(), "{starts:?}");
        assert!(bytes(&json["memory"]["oom_kills"]) >= 2, "{:#}", json["memory"]);
        for (phase, due) in [(0, 200), (1, 150)] {
            let traffic = &json["phases"][phase]["traffic"];
            let (sent, unsent) = (bytes(&traffic["requests"]), bytes(&traffic["unsent"]));
            // The target's deaths shrink nothing: what can't be sent is counted.
            assert_eq!(sent + unsent, due, "{traffic:#}");
            assert!(bytes(&traffic["status"]["200"]) > 20, "{traffic:#}");
        }
    });
}

#[test]
fn a_kill_in_startup_is_repeated_without_a_limit() {
    on_each_runtime(|runtime, bench| {
        bench.scenario(
            &["startup", "--peak-mib", "80", "--hold-ms", "100"],
            &format!("limits = {{ memory = \"32MiB\" }}\n{QUICK_STARTUP}{}", idle_phase(2)),
        );
        let json = bench.run_scenario(runtime).expect_code(1).json();
        let trials = json["startup"]["trials"].as_array().unwrap();
        assert_eq!(trials.len(), 2, "{trials:#?}");
        assert_eq!(trials[0]["killed"], true);
        assert_eq!(trials[1]["killed"], false);
        assert!(bytes(&trials[1]["peak_bytes"]) >= 80 * MIB);
    });
}

#[test]
fn trials_that_come_out_alike_are_enough_and_a_number_asked_for_is_kept() {
    on_each_runtime(|runtime, bench| {
        bench.scenario(
            &["startup", "--peak-mib", "60", "--hold-ms", "800", "--settled-mib", "9"],
            "limits = { memory = \"128MiB\" }\nready = { http = \"/health\" }\n\
             [startup]\ntrials = 6\nsettle = \"300ms\"\n",
        );
        let startup = |more: &[&str]| {
            let args = ["startup", "--runtime", runtime.name(), "--out", "out", "--json"];
            let _ = std::fs::remove_dir_all(bench.path().join("out"));
            bench.run(&[&args[..], more].concat()).expect_code(0).json()["startup"].clone()
        };
        let alike = startup(&[]);
        let trials = alike["trials"].as_array().unwrap().len();
        assert!((2..6).contains(&trials), "{trials} trials: {alike:#}");
        assert_eq!((&alike["planned_trials"], &alike["stopped"]), (&6.into(), &"steady".into()));
        // 60 MiB and what the server takes itself, over 9 MiB and that.
        let ratio = alike["ratio"].as_f64().unwrap();
        assert!((4.5..6.8).contains(&ratio), "{alike:#}");
        let percent = alike["limit_percent"].as_f64().unwrap();
        assert!((46.0..54.0).contains(&percent), "{alike:#}");
        assert!(alike["ready_ms"]["min"].as_f64().unwrap() >= 800.0, "{alike:#}");
        assert_eq!(alike["run_peak_bytes"], Value::Null, "nothing else ran");
        let exact = startup(&["--trials", "3"]);
        assert_eq!(exact["trials"].as_array().unwrap().len(), 3);
        assert_eq!(exact["stopped"], "complete");
    });
}

#[test]
fn a_killed_child_in_a_living_container_is_found() {
    on_each_runtime(|runtime, bench| {
        bench.scenario(
            &["forking", "--after-ms", "1000"],
            &format!("limits = {{ memory = \"48MiB\" }}\n[startup]\ntrials = 0\n{}", idle_phase(5)),
        );
        let json = bench.run_scenario(runtime).expect_code(1).json();
        assert!(reason(&json, "oom_kill").is_some(), "{json:#}");
    });
}

#[test]
fn a_kill_by_another_signal_is_no_oom_kill() {
    on_each_runtime(|runtime, bench| {
        bench.scenario(
            &["exits", "--signal", "9", "--after-ms", "1000"],
            &format!("limits = {{ memory = \"64MiB\" }}\n{QUICK_STARTUP}{}", idle_phase(30)),
        );
        let ended = bench.run_scenario(runtime);
        let json = ended.expect_code(4).json();
        assert!(reason(&json, "oom_kill").is_none(), "{json:#}");
        assert_eq!(json["memory"]["oom_kills"].as_u64().unwrap_or(0), 0);
    });
}

#[test]
fn page_cache_at_the_limit_is_no_risk() {
    on_each_runtime(|runtime, bench| {
        bench.scenario(
            &["cachey", "--file-mib", "160", "--every-ms", "500"],
            &format!(
                "limits = {{ memory = \"48MiB\" }}\nready = {{ tcp = true, within = \"60s\" }}\n\
                 [startup]\ntrials = 0\n{}\
                 [thresholds]\n\"memory\" = [\"max<80%\"]\n",
                idle_phase(5)
            ),
        );
        let json = bench.run_scenario(runtime).expect_code(0).json();
        assert_eq!(json["verdict"], "pass", "{json:#}");
        assert!(bytes(&json["memory"]["peak_bytes"]) > 40 * MIB, "the cache fills the limit");
        let risk = bytes(&json["memory"]["unreclaimable_peak_bytes"]);
        assert!(risk < 24 * MIB, "{risk} called unreclaimable");
    });
}

#[test]
fn ctrl_c_stops_reports_and_leaves_nothing() {
    on_each_runtime(|runtime, bench| {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let _ = std::fs::remove_dir_all(bench.path().join("out"));
            bench.scenario(
                &["steady"],
                &format!("limits = {{ memory = \"64MiB\" }}\n{QUICK_STARTUP}{}", idle_phase(60)),
            );
            let child =
                bench.spawn(&["run", "--runtime", runtime.name(), "--out", "out", "--json"]);
            std::thread::sleep(Duration::from_secs(4));
            kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
            let ended = bench.ended(&child.wait_with_output().unwrap());
            let json = ended.expect_code(130).json();
            assert_eq!(json["verdict"], "interrupted");
            assert_eq!(left_behind(), Vec::<String>::new());
        }
    });
}

#[test]
fn an_old_run_is_reported_again_with_the_same_numbers() {
    on_each_runtime(|runtime, bench| {
        bench.scenario(
            &["steady", "--base-mib", "20"],
            &format!("limits = {{ memory = \"64MiB\" }}\n{QUICK_STARTUP}{}", idle_phase(1)),
        );
        let first = bench.run_scenario(runtime);
        let again = bench.run(&["report", "out", "--json"]);
        assert_eq!(first.expect_code(0).json(), again.expect_code(0).json());
    });
}

#[test]
fn a_target_on_the_command_line_needs_no_scenario() {
    on_each_runtime(|runtime, bench| {
        let binary = support::fixtures().to_string_lossy();
        let ended = bench.run(&[
            "run",
            "--runtime",
            runtime.name(),
            "--out",
            "out",
            "--json",
            "--bin",
            &binary,
            "--port",
            "8080",
            "--memory",
            "96MiB",
            "--path",
            "/upload",
            "--body-size",
            "50KiB",
            "--for",
            "3s",
            "--",
            "mixed",
            "--base-mib",
            "10",
        ]);
        let json = ended.expect_code(0).json();
        let names: Vec<&str> =
            json["phases"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
        assert_eq!(names, ["ramp", "burst"]);
        let trials = json["startup"]["trials"].as_array().unwrap().len();
        assert!((2..=3).contains(&trials), "{trials} trials");
        // 20/s for 2 s, and four bursts of 50.
        assert_eq!(bytes(&json["phases"][1]["traffic"]["requests"]), 240, "{json:#}");
        assert_eq!(bytes(&json["phases"][1]["traffic"]["failed"]), 0);
    });
}

#[test]
fn a_reader_that_closes_the_pipe_takes_nothing_from_the_verdict() {
    let bench = Bench::in_company();
    let example = support::root().join("reports/example");
    let copy = bench.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(example.join("recording.db"), copy.join("recording.db")).unwrap();
    let mut child = bench.spawn(&["report", "copy"]);
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A phase of a minute whose requests are no success, and a rule about that.
fn aborted_by(runtime: Runtime, bench: &Bench, rule: &str) -> (f64, Value) {
    let _ = std::fs::remove_dir_all(bench.path().join("out"));
    bench.scenario(
        &["steady"],
        &format!(
            "limits = {{ memory = \"64MiB\" }}\n[startup]\ntrials = 0\n\
             [[scenario]]\nname = \"get\"\n[[scenario.step]]\nget = \"/\"\n\
             expect = {{ status = 404 }}\n\
             [[phase]]\nname = \"bad\"\nrate = 20\nfor = \"60s\"\n[thresholds]\n{rule}\n"
        ),
    );
    let json = bench.run_scenario(runtime).expect_code(1).json();
    let phase = &json["phases"][0];
    let seconds = |key: &str| phase[key].as_f64().expect("a time") / 1000.0;
    (seconds("end_ms") - seconds("start_ms"), json)
}

#[test]
fn an_abort_waits_for_its_delay_and_then_comes_soon() {
    on_each_runtime(|runtime, bench| {
        // Traffic is looked at every 2 s, and told within 2 s.
        let failing = "{ rule = \"rate<0.01\", abort = true, delay = \"4s\" }";
        let failing = format!("\"http_req_failed\" = {failing}");
        // Memory is looked at in each window.
        let large = "\"memory\" = { rule = \"max<1KiB\", abort = true, delay = \"2s\" }";
        for (rule, metric, least, most) in
            [(failing.as_str(), "http_req_failed", 4.0, 10.0), (large, "memory", 2.0, 4.0)]
        {
            let (took, json) = aborted_by(runtime, bench, rule);
            assert!((least..most).contains(&took), "{rule} on {runtime:?}: {took} s");
            let text = reason(&json, "aborted").expect("a reason")["text"].clone();
            assert!(text.as_str().unwrap().contains(metric), "{text}");
        }
    });
}

const PATTERNED: &str = "limits = { memory = \"64MiB\" }\n[startup]\ntrials = 0\n\
    [[scenario]]\nname = \"get\"\n[[scenario.step]]\nget = \"/\"\n\
    [[phase]]\nname = \"own\"\nrate = 5\nfor = \"60s\"\n\
    [thresholds]\n\"http_req_failed{phase:own}\" = \"rate<0.5\"\n\"memory\" = \"max<90%\"\n";

#[test]
fn a_pattern_takes_the_place_of_the_phases() {
    on_each_runtime(|runtime, bench| {
        bench.scenario(&["steady"], PATTERNED);
        let sets = [
            "phase.baseline.for=1s",
            "phase.ramp.stages.0.for=1s",
            "phase.ramp.stages.1.for=1s",
            "phase.spike.surge={ to = \"10x\", at = \"500ms\", for = \"500ms\" }",
            "phase.spike.for=2s",
            "phase.soak.for=1s",
        ];
        let mut args =
            vec!["run", "--runtime", runtime.name(), "--out", "out", "--json", "--pattern", "full"];
        args.extend(["--expected", "100/s"]);
        args.extend(sets.iter().flat_map(|set| ["--set", set]));
        let ended = bench.run(&args);
        let json = ended.expect_code(0).json();
        assert!(ended.stderr.contains("[[phase]]\nname = \"spike\""), "{}", ended.stderr);
        let phases = json["phases"].as_array().unwrap();
        let names: Vec<&str> = phases.iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["baseline", "ramp", "spike", "soak"]);
        let requests =
            |index: usize| phases[index]["traffic"]["requests"].as_u64().unwrap_or_default();
        // 0 to 200/s in 1 s and 1 s there; 100/s for 1.5 s and 1000/s for 0.5 s; 80/s.
        assert_eq!((requests(1), requests(2), requests(3)), (300, 650, 80));
    });
}

#[test]
fn a_bad_baseline_ends_the_run_early() {
    on_each_runtime(|runtime, bench| {
        bench.scenario(
            &["steady"],
            &PATTERNED.replace("get = \"/\"", "get = \"/\"\nexpect = { status = [404] }"),
        );
        let ended = bench.run(&[
            "run",
            "--runtime",
            runtime.name(),
            "--out",
            "out",
            "--json",
            "--pattern",
            "full",
            "--expected",
            "100/s",
            "--set",
            "phase.baseline.for=2500ms",
        ]);
        let json = ended.expect_code(1).json();
        let aborted = reason(&json, "aborted").expect("a reason");
        assert!(aborted["text"].as_str().unwrap().contains("http_req_failed{phase:baseline}"));
        assert!(json["phases"][1]["traffic"].is_null(), "{}", json["phases"][1]);
    });
}

#[test]
fn a_pattern_needs_to_know_the_peak() {
    let bench = Bench::in_company();
    bench.scenario(&["steady"], PATTERNED);
    let ended = bench.run(&["run", "--pattern", "spike", "--out", "out"]);
    ended.expect_code(2);
    let (shown, fault) = ended.stderr.split_once("`100%` of what?").expect("a fault");
    assert!(shown.contains("stands for:\n\n[[phase]]\nname = \"spike\""), "{}", ended.stderr);
    assert!(fault.contains("--expected 200/s"), "{}", ended.stderr);
    let ended = bench.run(&["run", "--pattern", "spoke"]);
    ended.expect_code(2);
    assert!(ended.stderr.contains("no pattern is called `spoke`"), "{}", ended.stderr);
}

#[test]
fn what_is_due_at_a_set_time_is_done_told_and_held_against_spikes() {
    on_each_runtime(|runtime, bench| {
        let program = match runtime {
            Runtime::Docker => "/app/highwater-fixtures".to_owned(),
            Runtime::Native => support::fixtures().display().to_string(),
        };
        bench.scenario(
            &["payload", "--base-mib", "4"],
            &format!(
                "limits = {{ memory = \"128MiB\" }}\n[startup]\ntrials = 0\n\
                 [[at]]\nwhen = \"1s\"\npost = \"/batch?factor=24&hold_ms=400\"\n\
                 body = {{ size = \"1MiB\" }}\n\
                 [[at]]\nwhen = \"500ms\"\nevery = \"1s\"\nexec = [{program:?}, \"--version\"]\n\
                 [[at]]\nphase = \"idle\"\nwhen = \"1700ms\"\nexec = [\"/no/such/program\"]\n\
                 [[at]]\nwhen = \"2s\"\nsignal = \"urg\"\n{}",
                idle_phase(3)
            ),
        );
        let ended = bench.run_scenario(runtime);
        let json = ended.expect_code(0).json();
        let rows = json["actions"].as_array().unwrap();
        assert_eq!(json["actions_total"], 6, "{rows:#?}");
        let kinds: Vec<_> = rows.iter().map(|row| row["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["exec", "request", "exec", "exec", "signal", "exec"], "{rows:#?}");
        let failed: Vec<_> = rows.iter().filter(|row| !row["failed"].is_null()).collect();
        assert!(matches!(failed[..], [row] if row["text"] == "exec /no/such/program"), "{rows:#?}");
        assert_eq!(json["verdict"], "warn");
        assert!(reason(&json, "action").is_some(), "{:#}", json["reasons"]);
        // The request holds 24 MiB, and is told as what caused it.
        let spikes = json["spikes"].as_array().unwrap();
        let large = spikes.iter().find(|spike| bytes(&spike["rise_bytes"]) > 20 * MIB);
        let large = large.unwrap_or_else(|| panic!("no spike of 24 MiB: {spikes:#?}"));
        assert_eq!(large["suspects"][0]["scenario"], "at", "{large:#}");
        let traffic = &json["phases"][0]["traffic"];
        assert_eq!((&traffic["requests"], &traffic["failed"]), (&1.into(), &0.into()));
    });
}

#[test]
fn a_suspect_is_replayed_alone_and_the_report_of_the_directory_says_so_again() {
    if !Runtime::Docker.is_there() {
        return;
    }
    let bench = Bench::in_company();
    let step = |name: &str, query: &str| {
        format!(
            "[[scenario]]\nname = \"{name}\"\n[[scenario.step]]\npost = \"/{name}?{query}\"\n\
             body = {{ size = \"100KiB\" }}\n"
        )
    };
    let loads = "load = [{ scenario = \"light\", rate = 40 }, \
                 { scenario = \"heavy\", burst = { every = \"2s\", size = 6 } }]\n";
    bench.scenario(
        &["payload", "--base-mib", "4"],
        &format!(
            "limits = {{ memory = \"128MiB\" }}\n[startup]\ntrials = 0\n{}{}\
             [[phase]]\nname = \"mixed\"\nfor = \"4s\"\n{loads}",
            step("light", "factor=1&hold_ms=2"),
            step("heavy", "factor=30&hold_ms=200")
        ),
    );
    let ended = bench.run(&["run", "--runtime", "docker", "--out", "out", "--json", "--confirm"]);
    let json = ended.expect_code(0).json();
    let spike = &json["spikes"][0];
    assert_eq!(spike["suspects"][0]["scenario"], "heavy", "{spike:#}");
    assert_eq!(spike["confirmed"]["was_it"], "yes", "{spike:#}");
    assert_eq!(left_behind(), Vec::<String>::new());
    let again = bench.run(&["report", "out", "--json"]);
    assert_eq!(again.expect_code(0).json()["spikes"], json["spikes"]);
}
