//! A week's soak in minutes: 604.8 million simulated ticks, 6,048,000 windows, through what a run
//! has them go through.
//!
//! `week_of_soak [DAYS]`. Two weeks, each in a process of its own that does what a session does:
//! ticks go through the sampler's windows into the flight recorder, from there to the threshold
//! rules, the progress lines, the gauges of `/metrics` and the recording's writer.
//!
//! - `quiet`: memory and vitals, 400 spikes a day;
//! - `traffic`: the same, with the traffic of three steps at 1000 requests/s beside it.
//!
//! At each day's end the resident set is noted, and another process makes all reports of the
//! recording as it is by then, while it is being written.
//!
//! Goals: the resident set is flat (the last day's is at most 2 MiB above the first's), the
//! recording is at most 1 GiB.

mod common;
#[path = "common/soak.rs"]
mod soak;

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use common::report::Report;
use common::{clean, float, number_argument};
use highwater::analysis;
use highwater::clock::Clock;
use highwater::event::{Event, RunFacts};
use highwater::judge::{FlightRecorder, Thresholds};
use highwater::live::{Gauges, Progress};
use highwater::plan::{Budget, Outline, Rule};
use highwater::record::{Header, Recorder, Recording, RunDirectory};
use highwater::report::write_all;
use serde_json::{Value, json};
use soak::{Day, Simulated, file_mib, outline, status_mib};

const RSS_GROWTH_MAX_MIB: f64 = 2.0;
const RECORDING_MAX_MIB: f64 = 1024.0;

const WEEKS: [(Day, &str); 2] = [(Day::Quiet, "quiet"), (Day::Traffic, "traffic")];

const RULES: [(&str, &str); 3] = [
    ("memory", "max<80MiB"),
    ("memory", "slope<1MiB/h over 30m"),
    ("http_req_duration", "p(99)<500"),
];

fn main() {
    let named = std::env::args().nth(1).unwrap_or_default();
    if named == "render" {
        print(&render(Path::new(&std::env::args().nth(2).expect("a directory"))));
    } else if let Some((week, _)) = WEEKS.iter().find(|row| row.1 == named) {
        print(&simulate(*week, number_argument(1, 7)));
    } else {
        clean::after(all_weeks);
    }
}

#[expect(clippy::print_stdout, reason = "the child's result")]
fn print(result: &Value) {
    println!("{result}");
}

fn child(arguments: &[&str]) -> Value {
    let own = std::env::current_exe().expect("a process has an executable");
    let output = Command::new(own).args(arguments).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("it failed: {text}"))
}

fn all_weeks() {
    let days = number_argument(0, 7);
    let mut report = Report::new("week_of_soak");
    let mut details = Vec::new();
    for (_, name) in WEEKS {
        let result = child(&[name, &days.to_string()]);
        tell(&mut report, name, &result);
        details.push(json!({ "week": name, "result": result }));
    }
    report.finish(&json!({ "days": days, "weeks": details }));
}

fn tell(report: &mut Report, name: &str, result: &Value) {
    let days = result["days"].as_array().expect("days");
    let column =
        |key: &str| -> Vec<f64> { days.iter().filter_map(|day| day[key].as_f64()).collect() };
    let ends = |values: &[f64]| {
        let end = |value: Option<&f64>| value.copied().unwrap_or(f64::NAN);
        (end(values.first()), end(values.last()))
    };
    let ticks = result["ticks"].as_f64().unwrap_or(f64::NAN);
    let seconds = result["seconds"].as_f64().unwrap_or(f64::NAN);
    report
        .say(format!("{name}: simulated"), format!("{:.1} M ticks in {seconds:.0} s", ticks / 1e6));
    let (first, last) = ends(&column("rss_mib"));
    report.goal(
        format!("{name}: resident set, first to last day"),
        format!("{first:.1} to {last:.1} MiB"),
        format!("≤ +{RSS_GROWTH_MAX_MIB} MiB"),
        last - first <= RSS_GROWTH_MAX_MIB,
    );
    let recording = result["recording_mib"].as_f64().unwrap_or(f64::NAN);
    report.goal(
        format!("{name}: recording"),
        format!("{recording:.1} MiB"),
        format!("≤ {RECORDING_MAX_MIB} MiB"),
        recording <= RECORDING_MAX_MIB,
    );
    let (seconds, resident) = (column("report_seconds"), column("report_rss_mib"));
    let ((one, week), (small, large)) = (ends(&seconds), ends(&resident));
    report.say(
        format!("{name}: all reports, of one day and of all"),
        format!("{one:.1} s and {week:.1} s; {small:.0} MiB and {large:.0} MiB resident"),
    );
    let sizes = &result["report"]["sizes"];
    let kib = |key: &str| sizes[key].as_f64().unwrap_or(f64::NAN) / 1024.0;
    report.say(
        format!("{name}: report.html, timeline.svg"),
        format!("{:.0} KiB, {:.0} KiB", kib("report.html"), kib("timeline.svg")),
    );
    report.say(
        format!("{name}: spikes"),
        format!("{} found, {} made", result["report"]["spikes"], result["spikes_made"]),
    );
}

/// What a session does with events.
struct Session {
    flight: FlightRecorder,
    rules: Thresholds,
    progress: Progress,
    gauges: Gauges,
    recorder: Recorder,
}

impl Session {
    fn new(outline: &Outline, recorder: Recorder, budget: &Budget) -> Self {
        let rules = RULES.iter().map(|(selector, rule)| {
            Rule::parse(selector, rule, None).expect("the rules are well-formed")
        });
        Self {
            flight: FlightRecorder::new(false, budget.raw_ticks),
            rules: Thresholds::new(rules.collect(), outline),
            progress: Progress::lines(outline.clone(), Box::new(std::io::sink())),
            gauges: Gauges::new(outline.clone()),
            recorder,
        }
    }

    async fn take(&mut self, event: Event, worth_it: &mut Vec<Event>) {
        self.rules.feed(&event);
        self.progress.take(&event);
        self.gauges.take(&event);
        self.flight.take(event, worth_it);
        for event in worth_it.drain(..) {
            self.recorder.record(event).await.expect("the recording takes it");
        }
    }
}

/// Takes events until there are no more.
fn run_session(mut session: Session, mut events: tokio::sync::mpsc::Receiver<Event>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("event loop");
    let mut worth_it = Vec::new();
    runtime.block_on(async {
        while let Some(event) = events.recv().await {
            session.take(event, &mut worth_it).await;
        }
    });
    session.recorder.finish().expect("the recording ends");
}

fn simulate(week: Day, days: u64) -> Value {
    let began = Instant::now();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let run = RunDirectory::create(dir.path()).expect("a directory for the run");
    // A commit holds what half a second of a real run brings.
    let commit_events = if week == Day::Traffic { 12 } else { 6 };
    let budget =
        Budget { commit_every: Duration::from_secs(3600), commit_events, ..Budget::default() };
    let outline = outline(days * 24);
    let facts = RunFacts::default();
    let header = Header { anchor: Clock::start().anchor(), outline: outline.clone(), facts };
    let recorder = Recorder::create(&run, &header, &budget).expect("a recording begins");
    let session = Session::new(&outline, recorder, &budget);
    let (sender, receiver) = tokio::sync::mpsc::channel::<Event>(budget.event_queue);
    let session = std::thread::spawn(move || run_session(session, receiver));
    let mut service = Simulated::new(week, days * 24, sender);
    service.begin();
    let mut rows = Vec::new();
    let (asks, reports) = reporter(dir.path());
    for day in 1..=days {
        for _ in 0..24 {
            service.hour();
        }
        let rss = status_mib("VmRSS");
        asks.send(()).expect("the reporter listens");
        let report = reports.recv().expect("the reporter answers");
        rows.push(json!({
            "day": day,
            "rss_mib": rss,
            "rss_anonymous_mib": status_mib("RssAnon"),
            "recording_mib": file_mib(&run.recording()),
            "report_seconds": report["seconds"],
            "report_rss_mib": report["rss_mib"],
        }));
    }
    let (ticks, spikes_made) = service.end();
    session.join().expect("the session's part does not panic");
    let seconds = began.elapsed().as_secs_f64();
    json!({
        "ticks": ticks,
        "seconds": seconds,
        "days": rows,
        "recording_mib": file_mib(&run.recording()),
        "spikes_made": spikes_made,
        "report": child(&["render", &dir.path().display().to_string()]),
    })
}

/// Has reports made by another process when asked.
fn reporter(directory: &Path) -> (Sender<()>, Receiver<Value>) {
    let ((asks, asked), (answers, reports)) = (channel(), channel());
    let directory = directory.display().to_string();
    std::thread::spawn(move || {
        for () in asked {
            answers.send(child(&["render", &directory])).expect("somebody asked");
        }
    });
    (asks, reports)
}

fn render(path: &Path) -> Value {
    let began = Instant::now();
    let run = RunDirectory::open(path).expect("the directory opens");
    let recording = Recording::open(&run).expect("the recording opens");
    let header = recording.header();
    let events = recording.events().map(|event| event.expect("the recording reads back"));
    let findings = analysis::analyse(&header.outline, &header.facts, header.anchor, events);
    let analysis_seconds = began.elapsed().as_secs_f64();
    let reports = tempfile::tempdir().expect("a temporary directory");
    write_all(reports.path(), &findings).expect("the reports are written");
    let seconds = began.elapsed().as_secs_f64();
    let size = |name: &str| std::fs::metadata(reports.path().join(name)).map_or(0, |it| it.len());
    json!({
        "seconds": seconds,
        "analysis_seconds": analysis_seconds,
        "rss_mib": status_mib("VmHWM"),
        "spikes": findings.spikes_total,
        "sizes": {
            "report.html": size("report.html"),
            "timeline.svg": size("timeline.svg"),
            "run.json": size("run.json"),
        },
    })
}
