//! From a day's recording to all reports: 864,000 windows and 500 spikes.
//!
//! `render_day [HOURS]`. Two days are recorded, each then read back, analysed and rendered by
//! processes of their own, five times in turns:
//!
//! - `memory`: memory and the target's vitals, nothing else;
//! - `traffic`: the same, with the traffic of three steps at 20 requests/s each beside it.
//!
//! Goals: at most 2 s and 150 MiB resident from the recording to all files (the median of the
//! rounds), `report.html` at most 3 MiB, `timeline.svg` at most 300 KiB, and the peak of `run.json`
//! in both by name.

mod common;
#[path = "../support/made.rs"]
mod made;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use common::report::Report;
use common::{clean, float, number_argument};
use highwater::analysis;
use highwater::record::{Recording, RunDirectory};
use highwater::report::write_all;
use highwater::units::Bytes;
use made::MadeRun;
use serde_json::{Value, json};

const SPIKES_A_DAY: u64 = 500;
const ROUNDS: usize = 5;
const SECONDS_MAX: f64 = 2.0;
const RSS_MAX_MIB: f64 = 150.0;
const HTML_MAX: u64 = 3 << 20;
const SVG_MAX: u64 = 300 << 10;

const DAYS: [(&str, Option<u64>); 2] = [("memory", None), ("traffic", Some(20))];

fn main() {
    let named = std::env::args().nth(1).unwrap_or_default();
    if named == "render" {
        print(&render(Path::new(&std::env::args().nth(2).expect("a directory"))));
    } else {
        clean::after(all_days);
    }
}

#[expect(clippy::print_stdout, reason = "the child's result")]
fn print(result: &Value) {
    println!("{result}");
}

fn all_days() {
    let hours = number_argument(0, 24);
    let mut report = Report::new("render_day");
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, rate) in DAYS {
        let spikes = SPIKES_A_DAY * hours / 24;
        let run = MadeRun { seconds: hours * 3600, spikes, rate, name: "day".to_owned() };
        run.record(&directory.path().join(name));
    }
    let mut rounds: Vec<Vec<Value>> = vec![Vec::new(); DAYS.len()];
    for _ in 0..ROUNDS {
        for ((name, _), rounds) in DAYS.iter().zip(&mut rounds) {
            rounds.push(child(&directory.path().join(name)));
        }
    }
    for ((name, _), rounds) in DAYS.iter().zip(&rounds) {
        tell(&mut report, name, rounds);
    }
    report.finish(&json!({ "hours": hours, "rounds": rounds }));
}

fn child(directory: &Path) -> Value {
    let own = std::env::current_exe().expect("a process has an executable");
    let output = Command::new(own).arg("render").arg(directory).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("it failed: {text}"))
}

fn median(rounds: &[Value], key: &str) -> f64 {
    let mut values: Vec<f64> = rounds.iter().filter_map(|row| row[key].as_f64()).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn tell(report: &mut Report, name: &str, rounds: &[Value]) {
    let seconds = median(rounds, "seconds");
    let analysis = median(rounds, "analysis_seconds");
    let range = |key: &str| {
        let values = || rounds.iter().filter_map(|row| row[key].as_f64());
        (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max))
    };
    let (least, most) = range("seconds");
    report.goal(
        format!("{name}: from the recording to all files"),
        format!("{seconds:.2} s ({least:.2} to {most:.2}), {analysis:.2} s of it analysis"),
        format!("≤ {SECONDS_MAX} s"),
        seconds <= SECONDS_MAX,
    );
    let rss = median(rounds, "rss_mib");
    let goal = format!("≤ {RSS_MAX_MIB} MiB");
    report.goal(format!("{name}: resident"), format!("{rss:.0} MiB"), goal, rss <= RSS_MAX_MIB);
    for (key, most) in [("report.html", HTML_MAX), ("timeline.svg", SVG_MAX)] {
        let size = rounds[0]["sizes"][key].as_u64().expect("it was written");
        let (value, goal) = (Bytes::new(size).to_string(), format!("≤ {}", Bytes::new(most)));
        report.goal(format!("{name}: {key}"), value, goal, size <= most);
    }
    let same = rounds.iter().all(|row| row["same_peak"] == true);
    report.goal(format!("{name}: the peak"), same.to_string(), "the same in all", same);
    let made = [&rounds[0]["recording_mib"], &rounds[0]["windows"], &rounds[0]["spikes"]];
    report.say(
        format!("{name}: recording"),
        format!(
            "{:.1} MiB, {} columns drawn, {} spikes",
            made[0].as_f64().unwrap_or(0.0),
            made[1],
            made[2]
        ),
    );
}

fn render(path: &Path) -> Value {
    let began = Instant::now();
    let run = RunDirectory::open(path).expect("the directory opens");
    let recording = Recording::open(&run).expect("the recording opens");
    let header = recording.header();
    let events = recording.events().map(|event| event.expect("the recording reads back"));
    let findings = analysis::analyse(&header.outline, &header.facts, header.anchor, events);
    let analysis_seconds = began.elapsed().as_secs_f64();
    write_all(path, &findings).expect("the reports are written");
    let seconds = began.elapsed().as_secs_f64();
    let rss = status_mib("VmHWM");
    let read = |name: &str| fs::read_to_string(path.join(name)).expect("it was written");
    let size = |name: &str| fs::metadata(path.join(name)).expect("it was written").len();
    let run: Value = serde_json::from_str(&read("run.json")).expect("JSON");
    let peak = run["memory"]["peak_bytes"].as_u64().expect("a peak");
    let named = format!("peak {}", Bytes::new(peak));
    let exact = format!("\"bytes\":{peak}");
    let html = read("report.html");
    let same_peak =
        read("timeline.svg").contains(&named) && html.contains(&named) && html.contains(&exact);
    json!({
        "seconds": seconds,
        "analysis_seconds": analysis_seconds,
        "rss_mib": rss,
        "recording_mib": float(size("recording.db")) / float(1 << 20),
        "windows": findings.timeline.memory.len(),
        "spikes": findings.spikes_total,
        "same_peak": same_peak,
        "sizes": {
            "report.html": size("report.html"),
            "timeline.svg": size("timeline.svg"),
            "run.json": size("run.json"),
            "report.md": size("report.md"),
        },
    })
}

/// A number of `/proc/self/status`, in MiB.
fn status_mib(key: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with(key)).expect("Linux has the line");
    let kib = line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    float(kib.expect("a number")) / 1024.0
}
