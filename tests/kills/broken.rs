//! Highwater's own threads break down: the data stays, the reason is told, nothing is left.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::Value;

use super::recorded::Recorded;
use super::support::harness::{Bench, Runtime};
use super::{left, on_each_runtime, reported};

pub(crate) fn trials() -> Vec<Trial> {
    on_each_runtime("a_breakdown_keeps_the_data_and_leaves_nothing", breaks)
}

/// Which thread panics, and how the run ends.
const BROKEN: [(&str, i32); 6] = [
    ("sampler", 3),
    ("load", 3),
    ("load-collect", 3),
    ("recorder", 3),
    ("session", 101),
    ("vitals", 0),
];

fn breaks(runtime: Runtime, bench: &Bench) {
    let mark = left::mark(bench);
    // Half of them on each runtime.
    let odd = usize::from(runtime == Runtime::Native);
    for (thread, code) in BROKEN.iter().skip(odd).step_by(2) {
        let _ = std::fs::remove_dir_all(bench.path().join("out"));
        // What may go on does so for a moment only.
        let length = if *code == 0 { 4 } else { 120 };
        bench.scenario(
            &["steady"],
            &format!(
                "limits = {{ memory = \"64MiB\" }}\nenv = {{ {} = {mark:?} }}\n\
                 [startup]\ntrials = 0\n[[scenario]]\nname = \"get\"\n[[scenario.step]]\n\
                 get = \"/\"\n[[phase]]\nname = \"long\"\nrate = 50\nfor = \"{length}s\"\n",
                left::MARK
            ),
        );
        let begun = Instant::now();
        let mut command =
            bench.command(&["run", "--runtime", runtime.name(), "--out", "out", "--json"]);
        let output = command.env("HIGHWATER_TRIPWIRE", format!("{thread}@1500")).output();
        let ended = bench.ended(&output.expect("it runs"));
        assert!(begun.elapsed() < Duration::from_secs(60), "{thread}: the run ends soon");
        assert_eq!(ended.code, *code, "{thread}: {}\n{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains("tripwire"), "{thread}: {}", ended.stderr);
        let recorded = Recorded::read(&ended.out).expect("it is readable");
        assert!(recorded.finished, "{thread}: the recording says how it ended");
        let again = reported(bench, &[]);
        if *code == 0 {
            let text = std::fs::read_to_string(ended.out.join("report.html")).expect("a report");
            assert!(text.contains("broke down (thread `vitals`), the run goes on"), "not told");
        } else {
            tells(thread, &ended.json());
            tells(thread, &again.json());
        }
        left::nothing_of(bench);
    }
}

fn tells(thread: &str, json: &Value) {
    let peak = json["memory"]["peak_bytes"].as_u64();
    assert!(peak.is_some_and(|peak| peak > 0), "{thread}: {json:#}");
    let reasons = json["reasons"].as_array().expect("reasons");
    let reason = reasons.iter().find(|reason| reason["id"] == "host").expect("the reason");
    let text = reason["text"].as_str().unwrap_or_default();
    assert!(text.contains("in phase long at") && text.contains("broke down"), "{thread}: {text}");
    assert!(text.contains("tripwire"), "{thread}: {text}");
}
