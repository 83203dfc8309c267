//! Renderers over made-up runs.

use std::collections::BTreeSet;

use serde_json::Value;

use super::html::tests::data_of;
use super::*;
use crate::analysis::synthetic::{ANCHOR, Script, facts};
use crate::analysis::{Level, Reason};
use crate::analysis::{analyse, float};
use crate::event::{Event, Finish};
use crate::units::{Bytes, Limit};

pub(super) fn killed() -> Script {
    Script {
        kill: Some(0.93),
        phases: vec![("ramp", 30, false), ("burst", 95, true)],
        finish: Some(Finish::OomKilled),
        thresholds: vec![("memory", "max<80%"), ("http_req_duration", "p(95)<200")],
        ..Script::default()
    }
}

/// The findings of a quiet run, with these reasons instead of its own.
pub(super) fn findings_with(reasons: &[(Level, &'static str, &str)]) -> Findings {
    let mut findings = Script::default().findings();
    findings.name = "a, b: c".to_owned();
    let reason = |(level, id, text): &(Level, &'static str, &str)| Reason {
        id,
        level: *level,
        text: (*text).to_owned(),
        at: None,
        next: None,
    };
    findings.reasons = reasons.iter().map(reason).collect();
    findings
}

/// The sample of the contract, value by value; only its keys and nesting are compared.
const SAMPLE: &str = r#"{ "schema": 1, "name": "", "started_at": "", "highwater": "",
  "verdict": "", "exit_code": 0,
  "reasons": [ { "id": "", "level": "", "text": "", "at_ms": null } ],
  "target":  { "runtime": "", "image": "", "limit_bytes": 0, "cgroup": "", "release_build": "", "allocator": "", "allocator_evidence": "" },
  "startup": { "trials": [ { "ready_ms": 0, "peak_bytes": 0, "rss_peak_bytes": 0, "settled_bytes": 0, "before_exec_bytes": 0, "killed": false, "major_faults": 0, "cache_bytes": 0 } ],
               "peak_bytes": 0, "settled_bytes": 0 },
  "phases":  [ { "name": "", "start_ms": 0, "end_ms": 0,
                 "memory":  { "peak_bytes": 0, "rss_peak_bytes": 0, "unreclaimable_peak_bytes": 0, "unreclaimable_peak_low_bytes": 0,
                              "start_bytes": 0, "end_bytes": 0 },
                 "target":  { "cpu_cores": 0.0, "throttled_percent": 0.0, "threads_max": 0, "open_files_max": 0, "psi_some_ms": 0,
                               "psi_full_ms": 0, "cpu_psi_ms": 0, "io_psi_ms": 0, "cpu_per_core": [], "read_bytes": 0, "written_bytes": 0,
                               "io_source": "", "log_bytes": 0, "page_faults": 0, "major_faults": 0, "high_events": 0, "max_events": 0,
                               "swap_peak_bytes": 0, "processes_max": 0, "sockets_max": { "established": 0, "listen": 0, "udp": 0, "unix": 0 } },
                 "traffic": { "requests": 0, "failed": 0, "unsent": 0, "rate": 0.0, "bytes_sent": 0, "bytes_received": 0,
                              "latency_ms": { "p50": 0, "p95": 0, "p99": 0, "max": 0 },
                              "duration_ms": { "p50": 0, "p95": 0, "p99": 0, "max": 0 },
                              "send_lateness_us": { "p50": 0, "p99": 0 }, "status": {}, "errors": {},
                              "waiting_ms": null, "answers": [],
                              "scenarios": [ { "scenario": "", "requests": 0, "failed": 0, "latency_ms": { "p50": 0 },
                                               "duration_ms": { "p50": 0 }, "waiting_ms": null } ],
                              "steps": [ { "scenario": "", "step": "", "waiting_ms": null, "answers": [] } ] },
                 "recovery_ms": null } ],
  "memory":  { "peak_bytes": 0, "rss_peak_bytes": 0, "unreclaimable_peak_bytes": 0, "unreclaimable_peak_low_bytes": 0, "limit_bytes": 0,
               "headroom_percent": 0.0, "oom_kills": 0, "limit_hits": 0, "oom_evidence": [] },
  "processes": [ { "pid": 0, "name": "", "rss_peak_bytes": 0, "at_ms": 0 } ],
  "written": { "log_bytes": 0, "layer_bytes": 0, "disk_bytes": 0, "disk_source": "" },
  "spikes":  [ { "at_ms": 0, "phase": "", "rise_bytes": 0, "peak_bytes": 0, "in_flight": 0,
                 "suspects": [ { "scenario": "", "step": "", "share": 0.0 } ] } ],
  "spikes_total": 0, "growth": null, "costs": null, "sizing": null,
  "sampler": { "tick_us": 1000, "ticks": 0, "missed_ticks": 0, "lateness_us": { "p50": 0, "p99": 0 }, "scheduling": "",
               "peak_method": "", "cpu_percent": 0.0 },
  "generator": { "cpu_percent": 0.0, "rss_peak_bytes": 0, "saturated": false, "path": "" },
  "thresholds": [ { "metric": "", "rule": "", "value": 0.0, "pass": true, "at_ms": null } ],
  "checklist": [ { "question": "", "answer": "", "evidence": "" } ],
  "host":    { "kernel": "", "cpus": 0, "cgroup_driver": "", "thp": "", "docker": "", "thp_defrag": "", "memory_bytes": 0,
               "swap_bytes": 0, "cgroup": "", "in_container": false } }"#;

/// All paths to keys, lists by their first row.
fn keys(value: &Value, before: &str, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = format!("{before}.{key}");
                keys(value, &path, out);
                out.insert(path);
            }
        }
        Value::Array(rows) => rows.iter().take(1).for_each(|row| keys(row, before, out)),
        _ => {}
    }
}

fn json(findings: &Findings) -> Value {
    serde_json::from_str(&RunJson.render(findings)).unwrap()
}

#[test]
fn run_json_has_every_key_of_the_contract() {
    let (mut wanted, mut got) = (BTreeSet::new(), BTreeSet::new());
    keys(&serde_json::from_str(SAMPLE).unwrap(), "", &mut wanted);
    keys(&json(&killed().findings()), "", &mut got);
    let missing: Vec<_> = wanted.difference(&got).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn parts_that_were_not_done_are_null() {
    let findings = analyse(&Script::default().outline(), &facts(), ANCHOR, [] as [Event; 0]);
    let json = json(&findings);
    for key in [
        "startup",
        "memory",
        "processes",
        "written",
        "spikes_total",
        "sampler",
        "generator",
        "growth",
        "costs",
        "sizing",
    ] {
        assert_eq!(json[key], Value::Null, "{key}");
    }
    assert_eq!(json["verdict"], "interrupted");
    assert_eq!(json["exit_code"], 130);
    assert_eq!(json["started_at"], "2026-11-23T01:00:00.000Z");
}

#[test]
fn every_report_shows_the_same_peak() {
    let findings = killed().findings();
    let peak = findings.memory.as_ref().unwrap().peak;
    assert_eq!(json(&findings)["memory"]["peak_bytes"], peak.get());
    let named = format!("peak {peak}");
    let html = ReportHtml.render(&findings);
    let texts = [&TimelineSvg.render(&findings), &Summary::default().render(&findings), &html];
    for text in texts {
        assert!(text.contains(&named), "{named}");
    }
    let data = data_of(&html);
    assert_eq!(data["peak"]["bytes"], peak.get());
    // What is drawn from adds up to the same: the highest of the column of peaks.
    let column = &data["memory"]["peak"];
    let mut at = 0;
    let steps = column["d"].as_array().unwrap().iter().map(|step| step.as_i64().unwrap());
    let highest = steps
        .map(|step| {
            at += step;
            at
        })
        .max()
        .unwrap();
    let unit = column["unit"].as_f64().unwrap();
    assert!((float(highest.unsigned_abs()) * unit - peak.as_f64()).abs() < 0.5);
    assert!(Markdown.render(&findings).contains(&peak.to_string()));
}

pub(super) fn check_svg(svg: &str) {
    let document = roxmltree::Document::parse(svg).unwrap();
    let root = document.root_element();
    assert_eq!(root.tag_name().name(), "svg");
    let names = ["title", "desc"];
    for name in names {
        assert!(root.children().any(|node| node.tag_name().name() == name));
    }
    let scripts = root.descendants().filter(|node| node.tag_name().name() == "script");
    assert_eq!(scripts.count(), 0);
    assert!(svg.len() <= 300 * 1024, "{} bytes", svg.len());
}

#[test]
fn the_slow_measures_are_in_json_table_and_picture() {
    let findings = killed().findings();
    let json = json(&findings);
    let target = &json["phases"][0]["target"];
    // 29 of the phase's 30 readings have one before them.
    assert_eq!(target["written_bytes"], 29 << 20, "{target:#}");
    assert_eq!(target["io_source"], "proc");
    assert_eq!(target["cpu_psi_ms"], 725.0);
    assert_eq!(target["sockets_max"]["established"], 12);
    assert_eq!(target["cpu_per_core"], Value::Null);
    assert_eq!(target["high_events"], Value::Null);
    assert_eq!(json["processes"][1]["name"], "worker");
    assert_eq!(json["written"]["disk_source"], "proc");
    let markdown = Markdown.render(&findings);
    assert!(markdown.contains("| disk written | 29 MiB | "), "{markdown}");
    assert!(markdown.contains("| worker (4101) | 12 MiB |"), "{markdown}");
    assert!(!markdown.contains("swap"), "there was none: {markdown}");
    let picture = TimelineSvg.render(&findings);
    assert!(picture.contains("CPU, cores in use") && picture.contains("Waiting, %"));
    assert!(picture.contains("Threads and descriptors") && picture.contains("page cache"));
}

#[test]
fn pictures_are_well_formed_whatever_the_run() {
    let empty = analyse(&Script::default().outline(), &facts(), ANCHOR, [] as [Event; 0]);
    let unlimited = Script { limit: Limit::Unlimited, ..Script::default() };
    let far = Script { limit: Limit::Bytes(Bytes::from_mib(64 << 10)), ..Script::default() };
    let all = [empty, killed().findings(), unlimited.findings(), far.findings()];
    for findings in all {
        check_svg(&TimelineSvg.render(&findings));
        check_svg(&StartupSvg.render(&findings));
    }
}

#[test]
fn a_long_run_makes_no_larger_picture() {
    let script = Script { phases: vec![("soak", 600, true)], ..Script::default() };
    let svg = TimelineSvg.render(&script.findings());
    check_svg(&svg);
}

#[test]
fn hostile_names_stay_text() {
    let script = Script {
        name: "<script>alert(1)</script>\u{1b}[2J\u{0}&\"'".to_owned(),
        phases: vec![("</text><script>\u{202e}x", 20, true)],
        step: "POST /<img src=x onerror=y>|`a`\u{7}",
        thresholds: vec![("memory{phase:</svg>}", "max<80%")],
        ..Script::default()
    };
    let findings = script.findings();
    for svg in [TimelineSvg.render(&findings), StartupSvg.render(&findings)] {
        check_svg(&svg);
        assert!(!svg.contains("<script"));
        assert!(!svg.chars().any(|c| c.is_control() && c != '\n'));
    }
    let html = ReportHtml.render(&findings);
    assert_eq!(html.matches("<script").count(), 2, "the data block and ours");
    assert!(!html.contains("<img") && !html.contains("</svg>}"));
    assert!(!html.chars().any(|c| c.is_control() && c != '\n'));
    assert_eq!(data_of(&html)["phases"][0]["name"], "</text><script>\u{fffd}x");
    let summary = Summary::default().render(&findings);
    assert!(!summary.chars().any(|c| c.is_control() && c != '\n'));
    let markdown = Markdown.render(&findings);
    assert!(!markdown.contains("<script") && !markdown.contains("<img"));
    assert_eq!(json(&findings)["name"], script.name.as_str());
}

#[test]
fn the_summary_fits_eighty_columns_and_says_the_verdict_first() {
    for script in [killed(), Script::default()] {
        let findings = script.findings();
        let summary = Summary::default().render(&findings);
        for line in summary.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(summary.starts_with(&findings.verdict.name().to_uppercase()));
    }
    let plain = Summary::default().render(&killed().findings());
    let color = Summary { color: true, ..Summary::default() };
    let painted = color.render(&killed().findings());
    assert!(painted.contains("\u{1b}[1;31mFAIL\u{1b}[0m") && !plain.contains('\u{1b}'));
}

#[test]
fn the_summary_of_a_killed_run() {
    insta::assert_snapshot!(Summary::default().render(&killed().findings()), @r"
    FAIL  shop-api
      OOM-killed in phase burst at 129.2 s under 256 MiB
       → find the limit that survives with `highwater size`; what was in flight is
           told with the last spikes
      threshold broken: http_req_duration p(95)<200, was 217.1 ms
       → see which step was slow, and whether it waited for CPU or memory

    Thresholds
      ok            memory max<80%                                         187 MiB
      BROKEN        http_req_duration p(95)<200                           217.1 ms

    Startup  3 trials, ready in 600 ms, peak 80.5 MiB, settled 60.8 MiB
             68.5 MiB while starting, 60.7 MiB after it (1.1 ×), 26.8 % of the
               limit, less than the run's own peak of 187 MiB
    Memory   charged peak 199 MiB of 256 MiB, 26.8 % headroom
             unreclaimable peak 187 MiB (at least 92.2 MiB), RSS peak 82.2 MiB
             1 OOM kill, 0 limit hits

    Phase              peak unreclaim.  requests  failed      p50      p95      p99
    ramp           75.2 MiB   62.9 MiB      1498    0.0%   2.4 ms   3.8 ms   4.0 ms
    burst           199 MiB    187 MiB      8703    0.5%    54 ms   221 ms   236 ms

    Failed requests
      burst: 45 × another status

    Spikes   9 in all, the 5 largest:
        00:55    +99 MiB to 199 MiB   burst        180 in flight: POST /orders (24×)
        02:05    +89 MiB to 192 MiB   burst        180 in flight: POST /orders (24×)
        01:15    +86 MiB to 190 MiB   burst        180 in flight: POST /orders (24×)
        01:45    +77 MiB to 181 MiB   burst        180 in flight: POST /orders (24×)
        01:55    +77 MiB to 180 MiB   burst        180 in flight: POST /orders (24×)

    Growth
      settles in burst: the floor moved by +6 MiB over 22 parts of 4.0 s, in the end
        hardly any more

    Costs
      the recording holds no means of memory and traffic for the same time

    Sizing
      no limit can be recommended: it was OOM-killed, so what it would have needed
        is not known: `highwater size` finds a limit that survives

    Sampler  1000 ticks, 3 missed, p99 120 µs late, peaks by v2-reset
    Load     30 % CPU, not saturated
    ");
}

#[test]
fn reports_are_written_whole_and_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let findings = Script::default().findings();
    let first = write_all(directory.path(), &findings).unwrap();
    assert_eq!(write_all(directory.path(), &findings).unwrap(), first);
    let mut names: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["report.html", "report.md", "run.json", "startup.svg", "timeline.svg"]);
    assert!(write_all(std::path::Path::new("/nonexistent"), &findings).is_err());
}

#[test]
fn numbers_in_run_json_are_finite() {
    fn check(value: &Value) {
        match value {
            Value::Number(number) => assert!(number.as_f64().unwrap().is_finite()),
            Value::Array(rows) => rows.iter().for_each(check),
            Value::Object(fields) => fields.values().for_each(check),
            _ => {}
        }
    }
    let mut findings = killed().findings();
    findings.thresholds[0].value = Some(f64::NAN);
    findings.phases[0].target.as_mut().unwrap().cpu_cores = Some(float(1) / 0.0);
    let json = json(&findings);
    check(&json);
    assert_eq!(json["thresholds"][0]["value"], Value::Null);
    assert_eq!(json["phases"][0]["target"]["cpu_cores"], Value::Null);
}

#[test]
#[ignore = "writes pictures to look at, into the directory HIGHWATER_PICTURES"]
fn pictures_to_look_at() {
    let directory = std::env::var("HIGHWATER_PICTURES").unwrap();
    let directory = std::path::Path::new(&directory);
    let soak = Script {
        base: 20,
        phases: vec![("ramp", 60, false), ("burst", 120, true), ("soak", 600, true)],
        ..Script::default()
    };
    for (name, script) in [("killed", killed()), ("soak", soak), ("pass", Script::default())] {
        let findings = script.findings();
        let target = directory.join(name);
        std::fs::create_dir_all(&target).unwrap();
        write_all(&target, &findings).unwrap();
        let summary = Summary::default().render(&findings);
        std::fs::write(target.join("summary.txt"), summary).unwrap();
    }
}
