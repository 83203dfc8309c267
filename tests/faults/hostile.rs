//! Targets that answer, print or name themselves so as to harm.

use serde_json::Value;

use crate::run::{Done, MIB, idle, run, says};
use crate::support::harness::{Bench, Runtime};
use crate::{Fault, When};

pub(crate) const FAULTS: &[Fault] = &[
    Fault { name: "hostile/answers", when: When::Always, make: answers },
    Fault { name: "hostile/markup-native", when: When::Always, make: || markup(Runtime::Native) },
    Fault {
        name: "hostile/markup-docker",
        when: When::OnRequest,
        make: || markup(Runtime::Docker),
    },
    Fault { name: "hostile/names", when: When::Always, make: names },
    Fault { name: "hostile/fork-bomb-docker", when: When::Always, make: || bomb(Runtime::Docker) },
    Fault {
        name: "hostile/fork-bomb-native",
        when: When::OnRequest,
        make: || bomb(Runtime::Native),
    },
    Fault {
        name: "hostile/thousands-docker",
        when: When::OnRequest,
        make: || thousands(Runtime::Docker),
    },
    Fault {
        name: "hostile/thousands-native",
        when: When::OnRequest,
        make: || thousands(Runtime::Native),
    },
];

/// Each of these fails, however it is answered: nothing of it is what was asked for.
const ANSWERS: [&str; 9] = [
    "/endless",
    "/until-close",
    "/interim",
    "/head",
    "/headers",
    "/bomb",
    "/markup",
    "/statuses",
    "/cookies",
];

fn answers() -> Option<String> {
    if !Runtime::Native.is_there() {
        return None;
    }
    let bench = Bench::new();
    // Whatever is captured has to be kept in memory first.
    let steps = ANSWERS.iter().map(|path| {
        format!(
            "[[scenario]]\nname = \"{path}\"\n[[scenario.step]]\nget = \"{path}\"\n\
             expect = {{ status = [200] }}\ncapture = {{ a = \"json:$.a\" }}\n"
        )
    });
    let rest = format!(
        "limits = {{ memory = \"256MiB\" }}\nready = {{ http = \"/health\" }}\n\
         [startup]\ntrials = 0\n[traffic]\ntimeout = \"700ms\"\n{}\
         [[phase]]\nname = \"bad\"\nusers = 30\nfor = \"5s\"\n",
        steps.collect::<String>()
    );
    bench.scenario(&["hostile"], &rest);
    let done = run(&bench, Runtime::Native);
    done.expect_clean();
    let json = done.ended.json();
    let traffic = &json["phases"][0]["traffic"];
    for row in traffic["steps"].as_array().expect("steps") {
        let (requests, failed) = (count(&row["requests"]), count(&row["failed"]));
        assert!(requests > 0 && failed == requests, "{row:#}");
    }
    let errors = traffic["errors"].as_object().expect("errors");
    // Without an end; no head; no JSON, whatever a bomb would inflate to; another status.
    for kind in ["timeout", "protocol", "capture", "status"] {
        assert!(errors.get(kind).is_some_and(|number| count(number) > 0), "{kind}: {errors:#?}");
    }
    let received = count(&traffic["bytes_received"]);
    assert!(received > 50 * MIB, "only {received} bytes came: {traffic:#}");
    assert_harmless(&done, &bench);
    let errors = &traffic["errors"];
    Some(format!("{}, {} MiB of answers read, errors {errors}", done.told(), received / MIB))
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

const SAID: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>\u{1b}[2J\u{1b}]0;bad\u{7}\
                    \u{9b}31m\u{202e}\n::error::bad\n![x](http://bad.example/x)";

/// What no report may hold as it is, but for the target's own log.
const HARMFUL: [&str; 8] = [
    "<script>alert",
    "<img src=x",
    "\u{1b}",
    "\u{7}",
    "\u{9b}",
    "\u{202e}",
    "![x](http",
    "\n::error::bad",
];

/// Of these, what is text like any other on a terminal and in JSON.
const MARKUP: [&str; 3] = ["<script>alert", "<img src=x", "![x](http"];

/// Asserts that nothing that the target wrote does anything in a report or on a terminal.
fn assert_harmless(done: &Done, bench: &Bench) {
    let harmful = |name: &str, text: &str, but: &[&str]| {
        for word in HARMFUL.iter().filter(|word| !but.contains(word)) {
            assert!(!text.contains(word), "{name} holds {word:?}");
        }
    };
    harmful("standard error", &done.ended.stderr, &MARKUP);
    harmful("standard output", &done.ended.stdout, &MARKUP);
    for path in crate::run::files(bench.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        match name.as_str() {
            name if name.starts_with("target-") || name == "highwater.toml" => {}
            "run.json" => harmful("run.json", &text, &MARKUP),
            "report.md" => harmful("report.md", &text, &[]),
            // Markdown is nothing there.
            name => harmful(name, &text, &["![x](http"]),
        }
    }
}

fn markup(runtime: Runtime) -> Option<String> {
    if !runtime.is_there() {
        return None;
    }
    let name = "<b>\u{1b}[31m)\n";
    // Once it ends before it is ready, so that its last lines are quoted …
    let bench = Bench::new();
    bench.scenario(&["hostile", "--name", name, "--say", SAID, "--exit", "3"], &idle(LIMITS, 2));
    let done = run(&bench, runtime);
    done.expect_clean();
    assert_eq!(done.ended.code, 4, "{}", done.ended.stderr);
    assert!(done.ended.stderr.contains("<script>alert(1)"), "quoted: {}", done.ended.stderr);
    let reason = done.ended.json()["reasons"].to_string();
    assert!(reason.contains("alert(1)"), "{reason}");
    assert_harmless(&done, &bench);
    drop(bench);
    // … and once it runs, with children, so that processes are named; with every renderer.
    let bench = Bench::new();
    let service = ["hostile", "--name", name, "--say", SAID, "--children", "2"];
    bench.scenario(&service, &idle(LIMITS, 3));
    let mut command = crate::run::command(&bench, runtime);
    command.args(["--junit", "junit.xml", "--prometheus", "metrics.prom"]);
    let done = crate::run::Going::start(command).wait(&bench);
    done.expect_clean();
    assert_eq!(done.ended.code, 0, "{}", done.ended.stderr);
    let processes = &done.ended.json()["processes"];
    assert_eq!(processes[0]["name"], "<b>[31m)", "{processes:#}");
    assert_eq!(processes.as_array().map(Vec::len), Some(3), "{processes:#}");
    assert_harmless(&done, &bench);
    let told = bench.run(&["report", "out"]);
    for word in HARMFUL.iter().filter(|word| !word.contains("x](") && !word.starts_with('<')) {
        assert!(!told.stdout.contains(*word), "the summary holds {word:?}");
    }
    Some(format!("{}, all reports harmless", done.told()))
}

const LIMITS: &str = "limits = { memory = \"256MiB\", pids = 4096 }";

/// Names that break whoever splits `/proc/<pid>/stat` at spaces, parentheses or lines, and such as
/// pretend to be the container runtime.
fn names() -> Option<String> {
    if !Runtime::Docker.is_there() {
        return None;
    }
    let mut told = Vec::new();
    for name in ["a) R 1 2 (b", "x\n9 9 9\n", "runc:[2:INIT]"] {
        let bench = Bench::new();
        let service = ["hostile", "--name", name, "--base-mib", "24"];
        let rest = format!(
            "{LIMITS}\n[startup]\ntrials = 1\nsettle = \"300ms\"\n\
             [[phase]]\nname = \"idle\"\nfor = \"2s\"\n"
        );
        bench.scenario(&service, &rest);
        let done = run(&bench, Runtime::Docker);
        done.expect_clean();
        let json = done.ended.expect_code(0).json();
        let shown: String = name.chars().filter(|c| !c.is_control()).take(15).collect();
        let process = &json["processes"][0];
        assert_eq!(process["name"], shown, "{process:#}");
        let rss = count(&process["rss_peak_bytes"]);
        assert!((24 * MIB..40 * MIB).contains(&rss), "{process:#}");
        // Startup is told apart from the runtime's own share.
        let trial = &json["startup"]["trials"][0];
        let (before, peak) = (count(&trial["before_exec_bytes"]), count(&trial["peak_bytes"]));
        assert!(before > 0 && before < 16 * MIB && peak > 24 * MIB, "{name:?}: {trial:#}");
        told.push(shown);
    }
    Some(format!("named right, startup told from the runtime's share: {}", told.join(" · ")))
}

fn bomb(runtime: Runtime) -> Option<String> {
    if !runtime.is_there() {
        return None;
    }
    let bench = Bench::new();
    bench.scenario(
        &["hostile", "--fork-bomb"],
        &idle("limits = { memory = \"256MiB\", pids = 96 }\nready = { http = \"/health\" }", 3),
    );
    let done = run(&bench, runtime);
    done.expect_clean();
    let json = done.ended.expect_code(0).json();
    let threads = count(&json["phases"][0]["target"]["threads_max"]);
    assert!((60..=96).contains(&threads), "{threads} threads of 96 allowed");
    Some(format!(
        "{}, {threads} of 96 threads, all gone after {:.1} s",
        done.told(),
        seconds(&done)
    ))
}

fn seconds(done: &Done) -> f64 {
    done.took.as_secs_f64()
}

fn thousands(runtime: Runtime) -> Option<String> {
    if !runtime.is_there() {
        return None;
    }
    let bench = Bench::new();
    let limits = "limits = { memory = \"2GiB\", pids = 4096 }\n\
                  ready = { http = \"/health\", within = \"60s\" }";
    bench.scenario(&["hostile", "--children", "2500"], &idle(limits, 4));
    let done = run(&bench, runtime);
    done.expect_clean();
    let json = done.ended.expect_code(0).json();
    let threads = count(&json["phases"][0]["target"]["threads_max"]);
    assert!((2500..2600).contains(&threads), "{threads} threads of 2500 processes");
    let named = json["processes"].as_array().map_or(0, Vec::len);
    assert!(named < 100, "{named} processes are named");
    let missed = count(&json["sampler"]["missed_ticks"]);
    assert!(!says(&json, "no ticks were read"), "{json:#}");
    Some(format!("{}, {threads} threads seen, {missed} ticks missed", done.told()))
}
